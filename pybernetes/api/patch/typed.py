"""Values walked along their types: which fields a value sets, how one merges into another, what is left without some
fields. The rules of server-side apply. Pure; inputs are never changed.

Structs and maps merge member by member unless they are atomic; lists are atomic unless they are sets, or maps with
keys. Where any JSON is allowed, objects merge and lists are atomic.
Source: ``sigs.k8s.io/structured-merge-diff/v6/typed`` and the documentation of server-side apply.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import orjson

from pybernetes.api.meta import clone
from pybernetes.api.patch.elements import TypedError, elements_of
from pybernetes.api.patch.fields import FieldPath, show
from pybernetes.api.patch.strategic import go_text
from pybernetes.api.schema.nodes import ANY, Field, ListNode, MapNode, Node, ObjectNode, Scalar, UnionNode

UNMANAGED_METADATA = frozenset(
    {
        "name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation", "managedFields",
        "resourceVersion",
    }
)  # fmt: skip
"""Metadata that no manager owns: what names the object, and what the server sets."""


# ---- types ------------------------------------------------------------------------------------------------------


def member(node: Node, key: str) -> tuple[Node, Field | None]:
    """(type, declared field) of a member of a struct, map or any JSON."""
    if isinstance(node, UnionNode):
        node = node.object
    if isinstance(node, ObjectNode):
        declared = node.fields.get(key)
        return (declared.node, declared) if declared else (ANY, None)
    return (node.values if isinstance(node, MapNode) else ANY), None


def is_atomic(node: Node, declared: Field | None) -> bool:
    """Whether a struct or map is one field as a whole."""
    return (declared is not None and declared.atomic) or (isinstance(node, (ObjectNode, MapNode)) and node.atomic)


def is_associative(node: Node) -> bool:
    return isinstance(node, ListNode) and node.list_type != "atomic"


def is_map(node: Node, value: Any) -> bool:
    """Whether a value of that type is walked into by its members."""
    return isinstance(value, dict) and not isinstance(node, ListNode)


def _several(names: list[str]) -> frozenset[str]:
    """The path elements that several items of a list have: each is one field as a whole."""
    if len(set(names)) == len(names):
        return frozenset()
    return frozenset(name for name, count in Counter(names).items() if count > 1)


# ---- which fields a value sets ----------------------------------------------------------------------------------


def _walk_set(value: Any, node: Node, declared: Field | None, path: FieldPath, out: set[FieldPath]) -> None:
    if is_associative(node) and isinstance(value, list):
        assert isinstance(node, ListNode)
        names = elements_of(node).of_items(value, path)
        several = _several(names)
        for name, item in zip(names, value, strict=True):
            below = (*path, name)
            if name not in several:
                _walk_set(item, node.items, None, below, out)
            out.add(below)
    elif is_map(node, value) and not is_atomic(node, declared):
        for key, v in value.items():
            below = (*path, "f:" + key)
            child, child_declared = member(node, key)
            _walk_set(v, child, child_declared, below, out)
            if v is None or v == {} or child_declared is None:
                out.add(below)
    elif path:
        out.add(path)


def field_set(value: dict[str, Any], node: ObjectNode) -> set[FieldPath]:
    """Every field that a value sets: leaves, atomic parts, items of lists and maps."""
    found: set[FieldPath] = set()
    _walk_set(value, node, None, (), found)
    return found


_EXPECTED: dict[str, tuple[tuple[type, ...], str]] = {
    "string": ((str,), "string"),
    "bytes": ((str,), "string"),
    "boolean": ((bool,), "boolean"),
    "int32": ((int, float), "numeric (int or float)"),
    "int64": ((int, float), "numeric (int or float)"),
    "number": ((int, float), "numeric (int or float)"),
}
_GO_TYPES: dict[type, str] = {str: "string", bool: "bool", int: "int64", float: "float64"}


def _check_scalar(value: Any, node: Scalar, path: FieldPath) -> Iterator[str]:
    """Of values of another type those that are scalars, too: decoding tells of lists and maps."""
    expected = _EXPECTED.get(node.kind)
    if expected is None or value is None or type(value) in expected[0] or type(value) not in _GO_TYPES:
        return
    found = _GO_TYPES[type(value)]
    if expected[1] in ("string", "boolean"):
        shown = orjson.dumps(value).decode()
        found = f"&value.valueUnstructured{{Value:{shown}}}"
    yield f"{show(path)}: expected {expected[1]}, got {found}"


def check(value: Any, node: Node, path: FieldPath = ()) -> Iterator[str]:
    """What is wrong with a configuration to be applied: undeclared fields, duplicate items, missing keys, values of
    another type."""
    if isinstance(node, Scalar):
        yield from _check_scalar(value, node, path)
    elif isinstance(node, ObjectNode) and isinstance(value, dict):
        for key, v in value.items():
            declared = node.fields.get(key)
            if declared is None:
                yield f"{show((*path, 'f:' + key))}: field not declared in schema"
            else:
                yield from check(v, declared.node, (*path, "f:" + key))
    elif isinstance(node, MapNode) and isinstance(value, dict):
        for key, v in value.items():
            yield from check(v, node.values, (*path, "f:" + key))
    elif isinstance(node, ListNode) and isinstance(value, list):
        seen: set[str] = set()
        for i, item in enumerate(value):
            if node.list_type == "atomic":
                yield from check(item, node.items, path)
                continue
            try:
                element = elements_of(node).of(item, i, path)
            except TypedError as e:
                yield str(e)
                continue
            if element in seen:
                yield f"{show(path)}: duplicate entries for key {show((element,))}"
            seen.add(element)
            yield from check(item, node.items, (*path, element))
    elif value is not None and isinstance(node, (ObjectNode, MapNode, ListNode)):
        wanted = "list" if isinstance(node, ListNode) else "map"
        yield f"{show(path)}: expected {wanted}, got &{{{go_text(value)}}}"


# ---- merging ----------------------------------------------------------------------------------------------------


def _merge_lists(live: list[Any], config: list[Any], node: ListNode, path: FieldPath) -> list[Any]:
    """Items of both: those of the configuration in its order, the others where they were among them. Of several with
    one key in the live list, the configuration's takes the place of all."""
    elements = elements_of(node)
    left, right = elements.of_items(live, path), elements.of_items(config, path)
    several = _several(left)
    live_by, config_by = dict(zip(left, live, strict=True)), dict(zip(right, config, strict=True))
    shared = [e for e in right if e in live_by]
    out: list[Any] = []
    i = j = k = 0

    def take(element: str) -> None:
        merged = config_by[element]
        if element in live_by and element not in several:
            merged = _walk_merge(live_by[element], merged, node.items, None, (*path, element))
        out.append(merged)

    while i < len(left) or j < len(right):
        wanted = shared[k] if k < len(shared) else None
        if i < len(left) and left[i] not in config_by:
            out.append(live[i])
            i += 1
        elif i < len(left) and left[i] != wanted:
            i += 1  # shared, and taken already or later, in the configuration's order
        elif j < len(right):
            element = right[j]
            take(element)
            j += 1
            if element == wanted:
                k += 1
                if i < len(left) and left[i] == element:
                    i += 1
        else:
            i += 1
    return out


def _walk_merge(live: Any, config: Any, node: Node, declared: Field | None, path: FieldPath) -> Any:
    if is_associative(node) and isinstance(live, list) and isinstance(config, list):
        assert isinstance(node, ListNode)
        return _merge_lists(live, config, node, path)
    if is_map(node, live) and isinstance(config, dict) and config and not is_atomic(node, declared):
        out = dict(live)
        for key, value in config.items():
            child, child_declared = member(node, key)
            if key in live:
                out[key] = _walk_merge(live[key], value, child, child_declared, (*path, "f:" + key))
            else:
                out[key] = clone(value)
        return out
    if config is None and isinstance(live, (dict, list)) and live and not is_atomic(node, declared):
        return live if isinstance(live, dict) or is_associative(node) else None
    if config == {} and isinstance(live, dict) and not is_atomic(node, declared):
        return live
    if config == [] and isinstance(live, list) and is_associative(node):
        return live
    return clone(config)


def merge(live: dict[str, Any], config: dict[str, Any], node: ObjectNode) -> dict[str, Any]:
    """`live` with everything that `config` sets. A new object that may share parts with `live`."""
    merged: dict[str, Any] = _walk_merge(live, config, node, None, ())
    return merged


# ---- removing ---------------------------------------------------------------------------------------------------


def _trie(paths: set[FieldPath]) -> dict[str, Any]:
    root: dict[str, Any] = {}
    for path in paths:
        at = root
        for element in path:
            at = at.setdefault(element, {})
        at[""] = True
    return root


def _walk_remove(value: Any, gone: dict[str, Any], node: Node, declared: Field | None, path: FieldPath) -> Any:
    if is_associative(node) and isinstance(value, list):
        assert isinstance(node, ListNode)
        kept = []
        elements = elements_of(node)
        for i, item in enumerate(value):
            below = gone.get(elements.of(item, i, path))
            if below is None:
                kept.append(item)
            elif "" not in below:
                kept.append(_walk_remove(item, below, node.items, None, path))
        return kept or None
    if is_map(node, value) and value:
        if is_atomic(node, declared):
            return None
        out: dict[str, Any] = {}
        for key, v in value.items():
            below = gone.get("f:" + key)
            if below is None:
                out[key] = v
            elif "" not in below:
                child, child_declared = member(node, key)
                out[key] = _walk_remove(v, below, child, child_declared, path)
        return out or None
    return None if isinstance(value, list) and value else value


def without(value: dict[str, Any], gone: set[FieldPath], node: ObjectNode) -> dict[str, Any]:
    """`value` without those fields. What loses everything becomes null."""
    return _walk_remove(value, _trie(gone), node, None, ()) or {} if gone else value


def with_named_fields(fields: set[FieldPath], node: ObjectNode) -> set[FieldPath]:
    """The set, and every declared field above its members; not the maps' entries and lists' items."""
    out = set(fields)
    for path in fields:
        at: Node = node
        for depth, element in enumerate(path[:-1], 1):
            if element.startswith("f:"):
                at, declared = member(at, element[2:])
                if declared is not None:
                    out.add(path[:depth])
            elif isinstance(at, ListNode):
                at = at.items
            else:
                at = ANY
    return out
