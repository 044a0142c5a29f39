"""Sets of fields, in the form in which ``metadata.managedFields`` keeps them (``FieldsV1``).

A set is a trie of nested dictionaries that is the JSON itself: keys are path elements, an empty dictionary is a field
that belongs to the set, and where such a field has others below it, a ``.`` says so. Sets are values: they are shared
between objects and caches and never change; every operation returns a set that shares what it can, and the very same
one where nothing changes. Elements are kept in upstream's order.

Path elements: ``f:NAME`` a member of a map or struct, ``k:{...}`` an item of a list by its keys, ``v:...`` an item of
a set by its value, ``i:N`` an item by its place. A path is a tuple of elements.
Source: ``sigs.k8s.io/structured-merge-diff`` (fieldpath) and the API reference of ManagedFieldsEntry.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import orjson

from pybernetes.lib.memo import Memo

FieldSet = dict[str, Any]
FieldPath = tuple[str, ...]

SELF = "."
EMPTY: FieldSet = {}
"""The one leaf of all sets that are made here."""

_DEPTH_MAX = 128
"""Of a set that a client sends."""
_RANKS_MAX = 8192
_PARSED_BYTES_MAX = 4 * 1024 * 1024
_parsed: Memo[FieldSet] = Memo(_PARSED_BYTES_MAX)


# ---- order ------------------------------------------------------------------------------------------------------


def _rank_value(value: Any) -> tuple[int, Any]:
    if isinstance(value, bool):
        return 2, value
    if isinstance(value, (int, float)):
        return 0, value
    return (1, value) if isinstance(value, str) else (3, orjson.dumps(value))


@lru_cache(maxsize=_RANKS_MAX)
def rank(element: str) -> tuple[Any, ...]:
    """The sort key of a path element among its siblings: fields, then items by key, then by value, then by place."""
    kind = element[:2]
    if kind == "f:":
        return (0, element)
    if kind == "k:":
        return (1, *((k, *_rank_value(v)) for k, v in sorted(orjson.loads(element[2:]).items())))
    if kind == "v:":
        return (2, *_rank_value(orjson.loads(element[2:])))
    return (3, int(element[2:])) if kind == "i:" else (-1,)


def in_order(elements: Iterable[str]) -> list[str]:
    """Path elements as upstream writes them, one after the other."""
    return sorted(elements, key=rank)


# ---- members ----------------------------------------------------------------------------------------------------


def contains(fields: FieldSet, path: FieldPath) -> bool:
    at: FieldSet | None = fields
    for element in path:
        if at is None:
            return False
        at = at.get(element)
    return at is not None and (not at or SELF in at)


def paths(fields: FieldSet, prefix: FieldPath = ()) -> Iterator[FieldPath]:
    """Every member, in order."""
    for element in in_order(fields):
        if element == SELF:
            continue
        below = fields[element]
        path = (*prefix, element)
        if not below or SELF in below:
            yield path
        if below:
            yield from paths(below, path)


def paths_by_level(fields: FieldSet, prefix: FieldPath = ()) -> Iterator[FieldPath]:
    """Every member, those of a place before those below them, as upstream lists them in messages."""
    elements = [e for e in in_order(fields) if e != SELF]
    for element in elements:
        below = fields[element]
        if not below or SELF in below:
            yield (*prefix, element)
    for element in elements:
        if fields[element]:
            yield from paths_by_level(fields[element], (*prefix, element))


def from_paths(members: Iterable[FieldPath]) -> FieldSet:
    """The set of those paths, each of at least one element."""
    root: FieldSet = {}
    for path in members:
        at = root
        for element in path:
            at = at.setdefault(element, {})
        at[SELF] = EMPTY
    return _tidy(root) or EMPTY


def _tidy(fields: FieldSet) -> FieldSet:
    """In order, with `EMPTY` for what is a member alone."""
    if fields.keys() == {SELF}:
        return EMPTY
    return {e: _tidy(fields[e]) if fields[e] else EMPTY for e in in_order(fields)}


# ---- operations -------------------------------------------------------------------------------------------------


def _as_member(fields: FieldSet) -> FieldSet:
    """A place in a set, as a member of it."""
    return fields if not fields or SELF in fields else {SELF: EMPTY, **fields}


def _below(a: FieldSet, b: FieldSet) -> FieldSet:
    """The union of what is at one place in two sets."""
    if a is b:
        return a
    if not a:
        return _as_member(b)
    return union(a, b) if b else _as_member(a)


def union(a: FieldSet, b: FieldSet) -> FieldSet:
    """What is in `a` or in `b`; `a` itself where that is all."""
    if a is b or not b:
        return a
    if not a:
        return b
    out: FieldSet | None = None
    is_new = False
    for element, other in b.items():
        own = a.get(element)
        if own is None:
            is_new = True
            joined = other
        else:
            joined = _below(own, other)
            if joined is own:
                continue
        if out is None:
            out = dict(a)
        out[element] = joined
    if out is None:
        return a
    return {e: out[e] for e in in_order(out)} if is_new else out


def _left(a: FieldSet, b: FieldSet) -> FieldSet | None:
    """What `b` leaves of what is at one place in `a`; None for nothing."""
    if not a:
        return None if not b or SELF in b else a
    if not b:
        return {e: v for e, v in a.items() if e != SELF} if SELF in a else a
    left = difference(a, b)
    if not left:
        return None
    return EMPTY if left.keys() == {SELF} else left


def difference(a: FieldSet, b: FieldSet) -> FieldSet:
    """What is in `a` and not in `b`; `a` itself where that is all."""
    if not a or not b:
        return a
    out: FieldSet | None = None
    for element, other in b.items():
        own = a.get(element)
        if own is None:
            continue
        left = _left(own, other)
        if left is own:
            continue
        if out is None:
            out = dict(a)
        if left is None:
            del out[element]
        else:
            out[element] = left
    return a if out is None else out


def without_below(fields: FieldSet, prefix: FieldPath) -> FieldSet:
    """The set without a path and everything below it."""
    element = prefix[0]
    own = fields.get(element)
    if own is None:
        return fields
    left = without_below(own, prefix[1:]) if len(prefix) > 1 else EMPTY
    if left is own and len(prefix) > 1:
        return fields
    out = dict(fields)
    if len(prefix) == 1 or not left:
        del out[element]
    else:
        out[element] = EMPTY if left.keys() == {SELF} else left
    return out


# ---- what clients send ------------------------------------------------------------------------------------------


def parse(raw: Any) -> FieldSet:
    """A client's JSON as a set. Raises `ValueError` where it is none.

    Clients that put whole objects back send the same sets again and again: what a text came to is kept.
    """
    if not isinstance(raw, dict):
        raise ValueError("a set of fields is an object")
    try:
        text = orjson.dumps(raw)
    except orjson.JSONEncodeError as error:
        raise ValueError(f"no set of fields: {error}") from error
    known = _parsed.get(text)
    if known is None:
        known = _parse(raw, 0)
        _parsed.put(text, known)
    return known


def _parse(raw: dict[str, Any], depth: int) -> FieldSet:
    if depth > _DEPTH_MAX:
        raise ValueError("a set of fields that is too deep")
    found: FieldSet = {}
    for element, below in raw.items():
        if not isinstance(below, dict):
            raise ValueError(f"no object below {element}")
        found[_canonical(element)] = _parse(below, depth + 1) if below else EMPTY
    if not depth:
        found.pop(SELF, None)
    elif found.keys() == {SELF}:
        return EMPTY
    return {e: found[e] for e in in_order(found)}


def _canonical(element: str) -> str:
    kind, text = element[:2], element[2:]
    if element == SELF or kind == "f:":
        return element
    if kind == "k:":
        keys = orjson.loads(text)
        if not isinstance(keys, dict) or not keys:
            raise ValueError(f"no keys: {element}")
        return kind + orjson.dumps(keys, option=orjson.OPT_SORT_KEYS).decode()
    if kind == "v:":
        return kind + orjson.dumps(orjson.loads(text)).decode()
    if kind == "i:":
        return f"i:{int(text)}"
    raise ValueError(f"missing colon or unknown path element: {element}")


# ---- messages ---------------------------------------------------------------------------------------------------


def show(path: FieldPath) -> str:
    """A path as messages show it: ``.spec.containers[name="web"].image``."""
    out = []
    for element in path:
        kind, text = element[:2], element[2:]
        if kind == "f:":
            out.append("." + text)
        elif kind == "k:":
            keys = sorted(orjson.loads(text).items())
            out.append("[" + ",".join(f"{k}={orjson.dumps(v).decode()}" for k, v in keys) + "]")
        elif kind == "v:":
            out.append(f"[={text}]")
        else:
            out.append(f"[{text}]")
    return "".join(out)
