"""Sets of fields, in the form in which ``metadata.managedFields`` keeps them (``FieldsV1``).

A set is a trie of nested dictionaries that is the JSON itself: keys are path elements, an empty dictionary is a field
that belongs to the set, and where such a field has others below it, a ``.`` says so. Functions that change a set
change it in place; a set from a stored object is shared and must be cloned first.

Path elements: ``f:NAME`` a member of a map or struct, ``k:{...}`` an item of a list by its keys, ``v:...`` an item of
a set by its value. A path is a tuple of elements.
Source: ``sigs.k8s.io/structured-merge-diff`` and the API reference of ManagedFieldsEntry.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import orjson

FieldSet = dict[str, Any]
FieldPath = tuple[str, ...]

_SELF = "."


def insert(fields: FieldSet, path: FieldPath) -> None:
    """Adds a path that has at least one element."""
    at = fields
    for element in path[:-1]:
        below = at.get(element)
        if below is None:
            below = at[element] = {}
        elif not below:
            below[_SELF] = {}  # was a leaf, and stays a member now that others come below it
        at = below
    last = at.get(path[-1])
    if last is None:
        at[path[-1]] = {}
    elif last:
        last[_SELF] = {}


def contains(fields: FieldSet, path: FieldPath) -> bool:
    at: FieldSet | None = fields
    for element in path:
        if at is None:
            return False
        at = at.get(element)
    return at is not None and (not at or _SELF in at)


def remove(fields: FieldSet, path: FieldPath) -> None:
    """Takes a path out, if it is in; what is below it stays."""
    trail: list[tuple[FieldSet, str]] = []
    at = fields
    for element in path:
        below = at.get(element)
        if below is None:
            return
        trail.append((at, element))
        at = below
    if at:
        at.pop(_SELF, None)
        return
    while trail:
        parent, element = trail.pop()
        del parent[element]
        if parent.keys() == {_SELF}:
            del parent[_SELF]  # a member without anything below it is a leaf again
            return
        if parent:
            return


def remove_below(fields: FieldSet, path: FieldPath) -> None:
    """Takes out a path and everything below it."""
    trail: list[tuple[FieldSet, str]] = []
    at = fields
    for element in path:
        if element not in at:
            return
        trail.append((at, element))
        at = at[element]
    if not at:
        remove(fields, path)
        return
    at.clear()
    remove(fields, path)


def paths(fields: FieldSet, prefix: FieldPath = ()) -> Iterator[FieldPath]:
    """Every member, sorted."""
    for element in sorted(fields):
        if element == _SELF:
            continue
        below = fields[element]
        path = (*prefix, element)
        if not below or _SELF in below:
            yield path
        if below:
            yield from paths(below, path)


def from_paths(members: Iterable[FieldPath]) -> FieldSet:
    fields: FieldSet = {}
    for path in members:
        insert(fields, path)
    return fields


def ordered(fields: FieldSet) -> FieldSet:
    """The same set with its elements in order, as upstream writes them."""
    return {element: ordered(below) if below else {} for element, below in sorted(fields.items())}


def is_valid(fields: Any) -> bool:
    """Whether a client's JSON is a field set at all."""
    return isinstance(fields, dict) and all(
        isinstance(k, str) and (k == _SELF or k[:2] in ("f:", "k:", "v:", "i:")) and is_valid(v)
        for k, v in fields.items()
    )


# ---- path elements ----------------------------------------------------------------------------------------------


def key_element(keys: dict[str, Any]) -> str:
    return "k:" + orjson.dumps(keys, option=orjson.OPT_SORT_KEYS).decode()


def value_element(value: Any) -> str:
    return "v:" + orjson.dumps(value).decode()


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
