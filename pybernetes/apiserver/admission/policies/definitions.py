"""Policies and bindings, parsed once when they change. Expressions compile when the first request needs them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pybernetes.api import resources
from pybernetes.api.cel.expression import LazyProgram
from pybernetes.api.cel.policies import PolicyExpressions
from pybernetes.api.meta import Object, name_of
from pybernetes.api.resources import Resource
from pybernetes.apiserver.admission.dynamic.conditions import MatchConditions
from pybernetes.apiserver.admission.dynamic.matching import Criteria


class ConfigurationError(Exception):
    """A policy or binding that cannot be carried out. `of` says which."""

    def __init__(self, why: str, of: str = "binding") -> None:
        super().__init__(f"failed to configure {of}: {why}")
        self.of = of


@dataclass(frozen=True, slots=True)
class Validation:
    program: LazyProgram
    message: str
    message_program: LazyProgram | None
    reason: str


@dataclass(frozen=True, slots=True)
class AuditAnnotation:
    key: str
    program: LazyProgram


@dataclass(frozen=True, slots=True)
class Mutation:
    """`result` is OBJECT for an apply configuration, JSON_PATCHES for a JSON patch."""

    program: LazyProgram
    result: str


@dataclass(frozen=True, slots=True)
class Policy:
    name: str
    criteria: Criteria
    fails_open: bool
    conditions: MatchConditions | None
    param_kind: Mapping[str, str] | None
    validations: tuple[Validation, ...]
    annotations: tuple[AuditAnnotation, ...]
    mutations: tuple[Mutation, ...]
    reinvoked: bool

    @classmethod
    def of(cls, policy: Object) -> Policy:
        spec = policy.get("spec") or {}
        expressions = PolicyExpressions(spec)
        constraints = spec.get("matchConstraints") or {}
        conditions = spec.get("matchConditions")
        fails_open = spec.get("failurePolicy") == "Ignore"
        return cls(
            name_of(policy),
            _criteria(constraints, constraints.get("resourceRules") or ()),
            fails_open,
            MatchConditions.of(conditions, fails_open=fails_open, scope=expressions.scope) if conditions else None,
            spec.get("paramKind"),
            tuple(
                Validation(
                    LazyProgram(expressions.validation(v)),
                    str(v.get("message") or "").strip(),
                    LazyProgram(expressions.message(v)) if v.get("messageExpression") else None,
                    str(v.get("reason") or "Invalid"),
                )
                for v in spec.get("validations") or ()
            ),
            tuple(
                AuditAnnotation(str(a["key"]), LazyProgram(expressions.annotation(a)))
                for a in spec.get("auditAnnotations") or ()
            ),
            tuple(
                Mutation(LazyProgram(e), e.result)
                for e in (expressions.mutation(m) for m in spec.get("mutations") or ())
            ),
            spec.get("reinvocationPolicy") == "IfNeeded",
        )


@dataclass(frozen=True, slots=True)
class Binding:
    name: str
    policy: str
    criteria: Criteria | None
    """None where the binding does not narrow the policy."""
    param_ref: Mapping[str, Any] | None
    actions: tuple[str, ...]

    @classmethod
    def of(cls, binding: Object) -> Binding:
        spec = binding.get("spec") or {}
        matching = spec.get("matchResources")
        return cls(
            name_of(binding),
            str(spec.get("policyName") or ""),
            _criteria(matching, matching.get("resourceRules") or None) if matching else None,
            spec.get("paramRef"),
            tuple(spec.get("validationActions") or ()),
        )


def _criteria(matching: Mapping[str, Any], rules: Any) -> Criteria:
    return Criteria(
        rules,
        exclude=matching.get("excludeResourceRules") or (),
        match_policy=str(matching.get("matchPolicy") or "Equivalent"),
        namespace_selector=matching.get("namespaceSelector"),
        object_selector=matching.get("objectSelector"),
    )


def param_resource(kind: Mapping[str, str]) -> Resource | None:
    """The served resource of a paramKind."""
    return next(
        (r for r in _with_objects() if r.api_version == kind.get("apiVersion") and r.kind == kind.get("kind")), None
    )


def _with_objects() -> Iterator[Resource]:
    return (r for r in resources.BUILTIN if "get" in r.verbs)
