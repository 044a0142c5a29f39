"""Expressions held against the schema's types."""

from __future__ import annotations

from typing import Any

import pytest

from pybernetes.api.cel.typecheck import expression_warnings
from pybernetes.api.meta import Object
from pybernetes.api.resources import BUILTIN


def policy(expression: str, group: str = "apps", plural: str = "deployments", **spec: Any) -> Object:
    rule = {"apiGroups": [group], "apiVersions": ["v1"], "operations": ["*"], "resources": [plural]}
    validations = [{"expression": expression}]
    return {"spec": {"matchConstraints": {"resourceRules": [rule]}, "validations": validations, **spec}}


@pytest.mark.parametrize(
    "expression",
    [
        "oldObject == null || oldObject.spec.replicas != object.spec.replicas",
        "has(object.metadata.labels) && object.metadata.labels['a'] == 'b'",
        "object.spec.template.spec.containers.all(c, quantity(c.resources.limits['cpu']).isGreaterThan(quantity('1')))",
        "object.metadata.creationTimestamp < timestamp('2020-01-01T00:00:00Z')",
        "object.spec.strategy.rollingUpdate.maxSurge == 1 || object.spec.strategy.rollingUpdate.maxSurge == '25%'",
        "object.spec.paused && object.?status.?replicas.orValue(0) == 1",
        "variables.count > 2",
    ],
)
def test_well_typed(expression: str) -> None:
    variables = [{"name": "count", "expression": "object.spec.template.spec.containers.size()"}]
    assert expression_warnings(policy(expression, variables=variables)) == []


def test_parameters_have_types_too() -> None:
    kind = {"apiVersion": "v1", "kind": "ConfigMap"}
    assert expression_warnings(policy("params.data.max == 'x'", paramKind=kind)) == []
    (found,) = expression_warnings(policy("params.spec.max == 'x'", paramKind=kind))
    assert "undefined field 'spec'" in found["warning"]


def test_wildcards_are_not_checked() -> None:
    assert expression_warnings(policy("object.nope == 1", plural="*")) == []
    assert expression_warnings(policy("object.nope == 1", group="*")) == []


def test_every_kind_has_a_type() -> None:
    for resource in BUILTIN:
        if "get" not in resource.verbs or resource.version != "v1":
            continue
        asked = policy("object.metadata.name == 'x' && object.kind == 'X'", resource.group, resource.plural)
        assert expression_warnings(asked) == [], resource
        (found,) = expression_warnings(policy("object.metadata.nope == 1", resource.group, resource.plural))
        assert "undefined field 'nope'" in found["warning"], resource
