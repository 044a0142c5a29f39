"""Objects of any type, made at random from its schema: well-typed, not valid."""

from __future__ import annotations

from random import Random
from typing import Any

from pybernetes.api.schema.nodes import Field, ListNode, MapNode, Node, ObjectNode, Scalar, UnionNode

_SCALARS: dict[str, tuple[Any, ...]] = {
    "string": ("a", "b", "c"),
    "boolean": (True, False),
    "int32": (1, 2, 3),
    "int64": (1, 2, 3),
    "number": (1, 2),
    "time": ("2026-01-02T03:04:05Z", "2026-01-02T03:04:06Z"),
    "microtime": ("2026-01-02T03:04:05.000001Z",),
    "quantity": ("1", "2Gi"),
    "intorstring": (1, "a"),
    "bytes": ("YQ==", "Yg=="),
    "any": ("x", 1),
}


def _value(node: Node, random: Random, depth: int) -> Any:
    if isinstance(node, UnionNode):
        node = node.object
    if isinstance(node, Scalar):
        return random.choice(_SCALARS[node.kind])
    if isinstance(node, MapNode):
        return {k: _value(node.values, random, depth - 1) for k in random.sample("xyz", random.randint(1, 2))}
    if isinstance(node, ListNode):
        items = [_value(node.items, random, depth - 1) for _ in range(random.randint(1, 3))]
        return _unique(node, items, random)
    return _struct(node, random, depth)


def _unique(node: ListNode, items: list[Any], random: Random) -> list[Any]:
    """The items of an associative list, each with a key of its own; the same for strategic merge patch's key."""
    if "merge" in node.patch_strategies:
        items = _unique_to_patches(node, items, random)
    if node.list_type == "atomic":
        return items
    found: dict[Any, Any] = {}
    for item in items:
        if node.list_type == "map":
            fields = node.items.fields if isinstance(node.items, ObjectNode) else {}
            for key in node.map_keys:
                if key not in item and fields[key].default is None:
                    item[key] = _value(fields[key].node, random, 0)
            found[tuple(item.get(k, fields[k].default) for k in node.map_keys)] = item
        else:
            found[item] = item
    return list(found.values())


def _unique_to_patches(node: ListNode, items: list[Any], random: Random) -> list[Any]:
    if not node.merge_key:
        return list(dict.fromkeys(items))
    fields = node.items.fields if isinstance(node.items, ObjectNode) else {}
    found: dict[Any, Any] = {}
    for item in items:
        if node.merge_key not in item:
            item[node.merge_key] = _value(fields[node.merge_key].node, random, 0)
        found[item[node.merge_key]] = item
    return list(found.values())


def _struct(node: ObjectNode, random: Random, depth: int) -> dict[str, Any]:
    names = [n for n, f in node.fields.items() if depth > 0 or _is_leaf(f)]
    chosen = random.sample(names, min(len(names), random.randint(0, 4)))
    return {n: _value(node.fields[n].node, random, depth - 1) for n in chosen}


def _is_leaf(field: Field) -> bool:
    return isinstance(field.node, Scalar)


def make(node: ObjectNode, random: Random, api_version: str, kind: str, depth: int = 7) -> dict[str, Any]:
    """An object of a top-level type."""
    obj = _struct(node, random, depth)
    for part in ("spec", "status"):
        if part in node.fields and random.random() < 0.8:
            obj[part] = _value(node.fields[part].node, random, depth)
    meta = {k: v for k, v in (obj.get("metadata") or {}).items() if k != "managedFields"}
    return {**obj, "apiVersion": api_version, "kind": kind, "metadata": {**meta, "name": "n"}}
