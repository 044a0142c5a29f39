"""Well-typed objects of any built-in kind, as the decoder would let them through: most of them invalid."""

from __future__ import annotations

import random
from typing import Any

from pybernetes.api.meta import Object
from pybernetes.api.resources import Resource
from pybernetes.api.schema import Field, ListNode, MapNode, Node, ObjectNode, Scalar, UnionNode, type_of

_STRINGS = (
    "", "a", "web", "Web_1", "10.0.0.1", "fd00::1", "10.0.0.0/24", "example.com/x", "a/b/c", "TCP", "ClusterIP",
    "None", "Always", "Never", "RollingUpdate", "Exists", "In", "nginx:1.25", "/path", "../up", "*.example.com", "é",
    "$(A)", "NotIn", "x" * 70,
)  # fmt: skip
_NUMBERS = (-1, 0, 1, 2, 80, 600, 70000, 2**31 - 1)
_QUANTITIES = ("0", "1", "500m", "1Gi", "-1", "1e3", "1.5", "100n", "not one")
_TIMES = ("2026-01-02T03:04:05Z",)
_MAX_DEPTH = 9


def _value(pick: random.Random, node: Node, depth: int) -> Any:
    if isinstance(node, Scalar):
        return _scalar(pick, node)
    if isinstance(node, UnionNode):
        return True
    if isinstance(node, ListNode):
        return [_value(pick, node.items, depth + 1) for _ in range(pick.choice((0, 1, 1, 2)))]
    if isinstance(node, MapNode):
        keys = pick.sample(("a", "cpu", "memory", "example.com/gpu", "hugepages-2Mi", "B c"), pick.choice((0, 1, 2)))
        return {k: _value(pick, node.values, depth + 1) for k in keys}
    return _object(pick, node, depth)


def _scalar(pick: random.Random, node: Scalar) -> Any:
    match node.kind:
        case "string":
            return pick.choice(_STRINGS)
        case "int32" | "int64" | "number":
            return pick.choice(_NUMBERS)
        case "boolean":
            return pick.random() < 0.5
        case "quantity":
            return pick.choice(_QUANTITIES)
        case "intorstring":
            return pick.choice((0, 1, 80, "25%", "101%", "http", ""))
        case "bytes":
            return pick.choice(("", "eA==", "aGVsbG8="))
        case "time" | "microtime":
            return pick.choice(_TIMES)
    return {"x": 1}


def _object(pick: random.Random, node: ObjectNode, depth: int) -> Object:
    out: Object = {}
    for name, field in node.fields.items():
        if depth >= _MAX_DEPTH and not isinstance(field.node, Scalar):
            continue
        if pick.random() < _likelihood(field, depth):
            out[name] = _value(pick, field.node, depth + 1)
    return out


def _likelihood(field: Field, depth: int) -> float:
    if field.required:
        return 0.9
    if field.name in ("spec", "template", "jobTemplate", "containers", "rules", "webhooks", "volumes"):
        return 0.95
    return 0.35 if depth < 5 else 0.2


def arbitrary(resource: Resource, seed: int) -> Object:
    """The same object for the same seed."""
    obj = _object(random.Random(f"{resource.storage_id}{seed}"), type_of(resource), 0)
    obj["apiVersion"], obj["kind"] = resource.api_version, resource.kind
    return obj
