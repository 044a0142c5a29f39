"""Strategic merge patches from two objects, as kubectl makes them (two-way): what carries the one to the other."""

from __future__ import annotations

from typing import Any

from pybernetes.api.patch.typed import member
from pybernetes.api.schema.nodes import ListNode, Node, ObjectNode


def diff(old: dict[str, Any], new: dict[str, Any], node: ObjectNode) -> dict[str, Any]:
    return _maps(old, new, node)


def _maps(old: dict[str, Any], new: dict[str, Any], node: Node) -> dict[str, Any]:
    patch: dict[str, Any] = {}
    for key in old.keys() - new.keys():
        patch[key] = None
    for key, value in new.items():
        before = old.get(key)
        if before == value:
            continue
        below, declared = member(node, key)
        strategies = declared.patch_strategies if declared is not None else frozenset()
        if isinstance(value, dict) and isinstance(before, dict):
            if "replace" in strategies:
                patch[key] = value
                continue
            patch[key] = _maps(before, value, below)
            if "retainKeys" in strategies:
                patch[key] = _retaining(patch[key], value)
        elif isinstance(value, list) and isinstance(before, list) and _merges(below):
            assert isinstance(below, ListNode)
            patch |= _lists(key, before, value, below)
        else:
            patch[key] = value
    return patch


def _retaining(patch: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    """The patch with the keys that are to stay in place of nulls for those that are to go."""
    return {**{k: v for k, v in patch.items() if v is not None}, "$retainKeys": sorted(value)}


def _merges(node: Node) -> bool:
    return isinstance(node, ListNode) and "merge" in node.patch_strategies


def _lists(key: str, old: list[Any], new: list[Any], node: ListNode) -> dict[str, Any]:
    merge_key = node.merge_key
    if not merge_key:
        patch = {f"$setElementOrder/{key}": new}
        if gone := [v for v in old if v not in new]:
            patch[f"$deleteFromPrimitiveList/{key}"] = gone
        if added := [v for v in new if v not in old]:
            patch[key] = added
        return patch
    before = {item[merge_key]: item for item in old}
    after = {item[merge_key]: item for item in new}
    changes: list[Any] = []
    for name, item in after.items():
        if name not in before:
            changes.append(item)
        elif item != before[name]:
            change = _maps(before[name], item, node.items)
            if "retainKeys" in node.patch_strategies:
                change = _retaining(change, item)
            changes.append({**change, merge_key: name})
    changes += [{"$patch": "delete", merge_key: name} for name in before if name not in after]
    patch = {f"$setElementOrder/{key}": [{merge_key: name} for name in after]}
    if changes:
        patch[key] = changes
    return patch
