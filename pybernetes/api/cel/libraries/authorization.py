"""Authorization checks: ``authorizer.group("apps").resource("deployments").check("create").allowed()``.

Whom to ask is set for the time of one evaluation (`asking`), which is synchronous: expressions hold messages that
describe a check, never the authorizer itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from pybernetes.api.cel.expression import Authorize, Check
from pybernetes.api.cel.libraries import Declarer
from pybernetes.api.cel.messages import Types

_PACKAGE = "kubernetes.authorization."


_authorize: ContextVar[Authorize | None] = ContextVar("cel_authorize", default=None)


@contextmanager
def asking(authorize: Authorize | None) -> Iterator[None]:
    """Checks of expressions inside the block go to `authorize`. What that raises, the block raises at its end: the
    runtime, which is in between, makes values of all errors."""
    raised: list[Exception] = []

    def ask(check: Check) -> tuple[bool, str]:
        assert authorize is not None
        try:
            return authorize(check)
        except Exception as error:
            raised.append(error)
            raise

    token = _authorize.set(ask if authorize is not None else None)
    try:
        yield
    finally:
        _authorize.reset(token)
        if raised:
            raise raised[0]


def declare(d: Declarer, types: Types) -> None:
    authorizer, path_check, group_check, resource_check, decision = (
        d.message(_PACKAGE + name) for name in ("Authorizer", "PathCheck", "GroupCheck", "ResourceCheck", "Decision")
    )
    string, boolean = d.type.STRING, d.type.BOOL

    def step(kind: str, field: str) -> Callable[[Any, str], Any]:
        def go(before: Any, value: str) -> Any:
            fields = {f.name: v for f, v in before.ListFields()}
            return types.new(_PACKAGE + kind, **{**fields, field: value})

        return go

    def service_account(before: Any, namespace: str, name: str) -> Any:
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]
        user = f"system:serviceaccount:{namespace}:{name}"
        return types.new(_PACKAGE + "Authorizer", user=user, groups=groups)

    def check(asked: Any, verb: str) -> Any:
        authorize = _authorize.get()
        if authorize is None:
            return types.new(_PACKAGE + "Decision", error="no authorizer")
        allowed, reason = authorize(
            Check(
                verb, asked.user, tuple(asked.groups), asked.path, asked.group, asked.resource, asked.subresource,
                asked.namespace, asked.name, asked.fieldSelector, asked.labelSelector,
            )
        )  # fmt: skip
        return types.new(_PACKAGE + "Decision", allowed=allowed, reason=reason)

    d.add("path", [authorizer, string], path_check, step("PathCheck", "path"))
    d.add("group", [authorizer, string], group_check, step("GroupCheck", "group"))
    d.add("serviceAccount", [authorizer, string, string], authorizer, service_account)
    d.add("resource", [group_check, string], resource_check, step("ResourceCheck", "resource"))
    for name in ("subresource", "namespace", "name", "fieldSelector", "labelSelector"):
        d.add(name, [resource_check, string], resource_check, step("ResourceCheck", name))
    d.add("check", [path_check, string], decision, check)
    d.add("check", [resource_check, string], decision, check)
    d.add("allowed", [decision], boolean, lambda x: x.allowed)
    d.add("reason", [decision], string, lambda x: x.reason)
    d.add("errored", [decision], boolean, lambda x: bool(x.error))
    d.add("error", [decision], string, lambda x: x.error)
