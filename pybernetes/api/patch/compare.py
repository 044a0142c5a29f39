"""How two objects of one type differ, field by field. Pure; inputs are never changed.

Equal parts are passed over at the speed of dictionary comparison, so the cost follows the differences.
Source: ``sigs.k8s.io/structured-merge-diff`` (typed/compare.go).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pybernetes.api.json_values import same_types
from pybernetes.api.patch.elements import elements_of
from pybernetes.api.patch.fields import FieldPath
from pybernetes.api.patch.typed import UNMANAGED_METADATA, is_associative, is_atomic, is_map, member
from pybernetes.api.schema.nodes import ANY, Field, ListNode, MapNode, Node, ObjectNode, Scalar, UnionNode

_ABSENT: Any = object()
_TYPE_META = frozenset({"apiVersion", "kind"})


@dataclass(slots=True)
class Comparison:
    """The fields in which a new value differs from an old one."""

    added: list[FieldPath] = field(default_factory=list)
    removed: list[FieldPath] = field(default_factory=list)
    modified: list[FieldPath] = field(default_factory=list)
    strict: bool = False
    """Whether the type has fields of any JSON, in which true is not 1 though Python finds them equal."""

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.modified)


def _virtual(declared: Field | None) -> Any:
    """What an absent member of a struct that is there counts as."""
    if declared is not None:
        if declared.struct:
            return {} if isinstance(declared.node, ObjectNode) else None
        if declared.required and isinstance(declared.node, (ListNode, MapNode)):
            return [] if isinstance(declared.node, ListNode) else {}
    return _ABSENT


_structs: dict[ObjectNode, tuple[str, ...]] = {}


def structs_of(node: Node) -> tuple[str, ...]:
    """The fields of a struct that are there as soon as it is."""
    if isinstance(node, UnionNode):
        node = node.object
    if not isinstance(node, ObjectNode):
        return ()
    found = _structs.get(node)
    if found is None:
        found = _structs[node] = tuple(f.name for f in node.fields.values() if f.struct)
    return found


def _walk(old: Any, new: Any, node: Node, declared: Field | None, path: FieldPath, out: Comparison) -> None:
    if old is new or (old == new and type(old) is type(new) and (not out.strict or same_types(old, new))):
        return
    present = new if old is _ABSENT or old is None else old
    same_form = old is _ABSENT or new is _ABSENT or old is None or new is None or type(old) is type(new)
    walked = False
    if same_form and type(present) in (dict, list):
        empty = (old is _ABSENT or not old) and (new is _ABSENT or not new)
        if type(present) is list:
            if not empty and is_associative(node):
                assert isinstance(node, ListNode)
                walked = True
                _walk_items(old, new, node, path, out)
        elif is_map(node, present) and not is_atomic(node, declared) and not (empty and not structs_of(node)):
            walked = True
            _walk_members(old, new, node, path, out)
    if not path:
        return
    if old is _ABSENT:
        out.added.append(path)
    elif new is _ABSENT:
        out.removed.append(path)
    elif not walked:
        out.modified.append(path)


def _walk_members(old: Any, new: Any, node: Node, path: FieldPath, out: Comparison) -> None:
    before = old if type(old) is dict else {}
    after = new if type(new) is dict else {}
    strict = out.strict
    for key, b in after.items():
        a = before.get(key, _ABSENT)
        if a is b or (a == b and (not strict or same_types(a, b))):
            continue
        child, declared = member(node, key)
        if a is _ABSENT and old is not _ABSENT:
            a = _virtual(declared)
        _walk(a, b, child, declared, (*path, "f:" + key), out)
    for key, a in before.items():
        if key not in after:
            child, declared = member(node, key)
            _walk(a, _virtual(declared) if new is not _ABSENT else new, child, declared, (*path, "f:" + key), out)
    if old is _ABSENT or new is _ABSENT:
        # A struct inside one that comes or goes does so too, though nobody wrote it down.
        for key in structs_of(node):
            if key not in before and key not in after:
                child, declared = member(node, key)
                here = _virtual(declared)
                a, b = (old, here) if old is _ABSENT else (here, new)
                _walk(a, b, child, declared, (*path, "f:" + key), out)


def _walk_items(old: Any, new: Any, node: ListNode, path: FieldPath, out: Comparison) -> None:
    elements = elements_of(node)
    before: list[Any] = old if type(old) is list else []
    after: list[Any] = new if type(new) is list else []
    before_names, after_names = elements.of_items(before, path), elements.of_items(after, path)
    by_old = dict(zip(before_names, before, strict=True))
    by_new = dict(zip(after_names, after, strict=True))
    if len(by_old) != len(before) or len(by_new) != len(after):
        _walk_duplicates(before_names, before, after_names, after, node, path, out)
        return
    for name, item in by_old.items():
        _walk(item, by_new.get(name, _ABSENT), node.items, None, (*path, name), out)
    for name, item in by_new.items():
        if name not in by_old:
            _walk(_ABSENT, item, node.items, None, (*path, name), out)


def _walk_duplicates(
    before_names: list[str],
    before: list[Any],
    after_names: list[str],
    after: list[Any],
    node: ListNode,
    path: FieldPath,
    out: Comparison,
) -> None:
    """Lists in which several items have the same key: those are one field as a whole."""
    by_old: dict[str, list[Any]] = {}
    by_new: dict[str, list[Any]] = {}
    for names, items, by in ((before_names, before, by_old), (after_names, after, by_new)):
        for name, item in zip(names, items, strict=True):
            by.setdefault(name, []).append(item)
    for name in dict.fromkeys((*by_old, *by_new)):
        a, b = by_old.get(name, []), by_new.get(name, [])
        below = (*path, name)
        if len(a) <= 1 and len(b) <= 1:
            _walk(a[0] if a else _ABSENT, b[0] if b else _ABSENT, node.items, None, below, out)
        elif a == b and (not out.strict or same_types(a, b)):
            continue
        elif not a:
            out.added.append(below)
        elif not b:
            out.removed.append(below)
        elif len(a) > 1 and len(b) > 1:
            out.modified.append(below)
        elif len(b) == 1:
            _walk(_ABSENT, b[0], node.items, None, below, out)
        else:
            _walk(a[0], _ABSENT, node.items, None, below, out)
            out.removed.remove(below)
            out.modified.append(below)


def _managed_metadata(meta: Any) -> dict[str, Any]:
    """Of metadata, which may be absent or null."""
    return {k: v for k, v in meta.items() if k not in UNMANAGED_METADATA} if isinstance(meta, dict) else {}


_holding: dict[ObjectNode, bool] = {}


def holds_any_json(node: ObjectNode) -> bool:
    """Whether objects of a type have fields that may hold any JSON, aside from what the managers manage."""
    found = _holding.get(node)
    if found is None:
        found = _holding[node] = _holds(node, set())
    return found


def _holds(node: Node, seen: set[Node]) -> bool:
    if isinstance(node, UnionNode):
        node = node.object
    if isinstance(node, Scalar):
        return node is ANY
    if node in seen:
        return False
    seen.add(node)
    if isinstance(node, ListNode):
        return _holds(node.items, seen)
    if isinstance(node, MapNode):
        return _holds(node.values, seen)
    return any(_holds(f.node, seen) for f in node.fields.values() if f.name not in ("metadata", "managedFields"))


def compare(
    old: dict[str, Any], new: dict[str, Any], node: ObjectNode, skip: frozenset[str] = frozenset()
) -> Comparison:
    """The fields by which the object `new` differs from `old`, but for those below the top-level ones of `skip` and
    for what is nobody's: apiVersion, kind, the metadata that names the object or that the server sets.

    Raises `TypedError` for list items without their keys.
    """
    out = Comparison(strict=holds_any_json(node))
    fields = node.fields
    keys = dict.fromkeys(old)
    keys.update(dict.fromkeys(new))
    for key in keys:
        if key in _TYPE_META or key in skip:
            continue
        a, b = old.get(key, _ABSENT), new.get(key, _ABSENT)
        if key == "metadata":
            a, b = _managed_metadata(a), _managed_metadata(b)
        if a is b or (a == b and (not out.strict or same_types(a, b))):
            continue
        child, declared = member(node, key)
        _walk(
            _virtual(fields.get(key)) if a is _ABSENT else a,
            _virtual(fields.get(key)) if b is _ABSENT else b,
            child,
            declared,
            ("f:" + key,),
            out,
        )
    return out
