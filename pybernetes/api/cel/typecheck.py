"""Type checking of validating policies against the schema: what fails for every object of a kind that a policy names.

Only rules that name groups, versions and resources outright are checked, as upstream, and at most ten kinds. The
schema's types become protobuf messages, so that the runtime's own checker does the work; quantities, numbers or strings
and free-form JSON stay dynamic.

Source: upstream's ``plugin/policy/validating/typechecking.go``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from pybernetes.api import resources
from pybernetes.api.cel.environment import Environment
from pybernetes.api.cel.errors import CompilationError
from pybernetes.api.cel.expression import Expression, Scope
from pybernetes.api.cel.messages import Types, scalar_types
from pybernetes.api.cel.policies import PolicyExpressions
from pybernetes.api.meta import Object
from pybernetes.api.resources import Resource
from pybernetes.api.schema.nodes import ListNode, MapNode, Node, ObjectNode, Scalar, type_of

KINDS_MAX = 10
_FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_STRUCT = re.compile(r" not found in struct '[^']*'")
_HEAD = "compilation failed: "


def expression_warnings(policy: Object) -> list[Object]:
    """The status' expressionWarnings."""
    spec = policy.get("spec") or {}
    expressions = PolicyExpressions(spec)
    params = _named_kind(spec.get("paramKind"))
    kinds = list(_kinds(spec))[:KINDS_MAX]
    found = []
    for path, expression in _checked(spec, expressions):
        faults = []
        for resource in kinds:
            fault = _fault(expression, resource, params)
            if fault:
                faults.append(f"{resource.api_version}, Kind={resource.kind}: {fault}")
        if faults:
            found.append({"fieldRef": path, "warning": "\n".join(faults)})
    return found


def _checked(spec: Mapping[str, Any], expressions: PolicyExpressions) -> Iterator[tuple[str, Expression]]:
    for i, validation in enumerate(spec.get("validations") or ()):
        yield f"spec.validations[{i}].expression", expressions.validation(validation)
        if validation.get("messageExpression"):
            yield f"spec.validations[{i}].messageExpression", expressions.message(validation)


def _fault(expression: Expression, resource: Resource, params: Resource | None) -> str:
    try:
        expression.compile(_environment(resource, params, expression.scope))
    except CompilationError as error:
        return _STRUCT.sub("", str(error)).removeprefix(_HEAD)
    return ""


def _kinds(spec: Mapping[str, Any]) -> Iterator[Resource]:
    seen: set[Resource] = set()
    for rule in (spec.get("matchConstraints") or {}).get("resourceRules") or ():
        names = [rule.get(field) or [] for field in ("apiGroups", "apiVersions", "resources")]
        if any("*" in value for values in names for value in values):
            continue
        for resource in resources.BUILTIN:
            if resource in seen or "get" not in resource.verbs:
                continue
            if resource.group in names[0] and resource.version in names[1] and resource.plural in names[2]:
                seen.add(resource)
                yield resource


def _named_kind(kind: Mapping[str, str] | None) -> Resource | None:
    if kind is None:
        return None
    return next(
        (r for r in resources.BUILTIN if (r.api_version, r.kind) == (kind.get("apiVersion"), kind.get("kind"))), None
    )


@lru_cache(maxsize=16)
def _environment(resource: Resource, params: Resource | None, scope: Scope) -> Environment:
    node = type_of(resource)
    messages: dict[str, dict[str, Any]] = {}
    _collect(node, messages)
    params_type = ""
    if params is not None:
        params_node = type_of(params)
        _collect(params_node, messages)
        params_type = f"schema.{_message_name(params_node)}"
    return Environment(
        scope, Types(schema=messages), object_type=f"schema.{_message_name(node)}", params_type=params_type
    )


def _message_name(node: ObjectNode) -> str:
    return node.name.replace(".", "_").replace("-", "_")


def _collect(node: ObjectNode, messages: dict[str, dict[str, Any]]) -> None:
    """Adds the message of a struct, and of all that it holds."""
    name = _message_name(node)
    if name in messages:
        return
    fields = messages[name] = {}
    for field in node.fields.values():
        if _FIELD_NAME.fullmatch(field.name):
            fields[field.name] = _type(field.node, messages)


def _type(node: Node, messages: dict[str, dict[str, Any]]) -> Any:
    if isinstance(node, ListNode):
        items = _type(node.items, messages)
        return [items] if not isinstance(items, (list, dict)) else scalar_types()["any"]
    if isinstance(node, MapNode):
        values = _type(node.values, messages)
        return {"": values} if not isinstance(values, (list, dict)) else scalar_types()["any"]
    if isinstance(node, ObjectNode):
        _collect(node, messages)
        return f".schema.{_message_name(node)}"
    if isinstance(node, Scalar):
        return scalar_types().get(node.kind, scalar_types()["any"])
    return scalar_types()["any"]
