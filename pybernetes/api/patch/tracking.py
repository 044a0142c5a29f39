"""Field managers at plain writes: whose fields are whose after a creation, an update or a patch. Pure.

Every write of every object comes through here, so it costs in proportion to what changed: a creation looks its set of
fields up by the object's structure (`created`), an update walks down to what differs and touches the managers of just
that; what stays is the same objects as before.

Source: ``k8s.io/apimachinery/pkg/util/managedfields`` and ``sigs.k8s.io/structured-merge-diff`` (merge/update.go).
"""

from __future__ import annotations

from collections.abc import Callable

from pybernetes.api.meta import Object
from pybernetes.api.patch import managed
from pybernetes.api.patch.compare import compare
from pybernetes.api.patch.created import fields_of
from pybernetes.api.patch.elements import TypedError
from pybernetes.api.patch.fields import FieldPath, FieldSet, contains, difference, from_paths, union
from pybernetes.api.patch.managed import Entry, Key, Managed, Manager
from pybernetes.api.patch.scope import NOBODYS, Scope
from pybernetes.api.schema.nodes import ObjectNode

_NOTHING: Object = {"metadata": {}}

Converter = Callable[[str], "tuple[Object | None, Object, ObjectNode] | None"]
"""From an apiVersion to the old object, the new one and their type in it; None where that version is not served."""


def unserved(api_version: str) -> None:
    """The `Converter` of what has one version."""


def managers_of_new(
    new: Object, scope: Scope, manager: str, now: float, convert: Converter = unserved, spec_text: bytes = b""
) -> list[Object]:
    """The ``managedFields`` of an object that `manager` creates; empty where it sets nothing. `spec_text` is as
    `fields_of` has it.

    What the object says itself of its managers counts as far as the creator does not set those fields.
    """
    given = new["metadata"].get("managedFields")
    if given and given != managed.RESET:
        return managers_of_changed(None, new, scope, manager, now, convert)
    try:
        fields = fields_of(new, scope.node, scope.reset_fields, spec_text)
    except TypedError:
        return []
    if not fields:
        return []
    return [
        {
            "manager": manager,
            "operation": "Update",
            "apiVersion": scope.api_version,
            "time": managed.now_text(now),
            "fieldsType": "FieldsV1",
            "fieldsV1": fields,
        }
    ]


def managers_of_changed(
    old: Object | None, new: Object, scope: Scope, manager: str, now: float, convert: Converter = unserved
) -> list[Object]:
    """The ``managedFields`` after `manager` made `new` of `old`.

    An object without managers stays without until it is applied by the server. One whose lists cannot be compared
    (items without their keys) loses them, as upstream.
    """
    state = managed.of(old, new, ignore_new=bool(scope.subresource))
    if not state and old is not None:
        return []
    try:
        update(state, old, new, scope, manager, now, convert)
    except TypedError:
        return []
    managed.cap(state)
    return managed.encode(state)


def update(
    state: Managed,
    old: Object | None,
    new: Object,
    scope: Scope,
    manager: str,
    now: float,
    convert: Converter = unserved,
) -> None:
    """Brings `state` from `old` to `new`. Raises `TypedError`."""
    who = Manager(manager, "Update", scope.api_version, scope.subresource)
    comparison = compare(old if old is not None else _NOTHING, new, scope.node, scope.reset_fields)
    changed = scope.changes(comparison.modified + comparison.added)
    taken = [p for p in changed if p not in NOBODYS]
    known = state.get(who) if taken else None
    # What the manager held already and sets again stays its own: it is not taken and given back.
    take(state, changed, scope.changes(comparison.removed), scope, who.key if known is not None else None, convert)
    if not taken:
        return
    if known is None:
        state.set(who, from_paths(taken), managed.now_text(now))
        return
    own = _without(known.fields, comparison.removed)
    missing = [p for p in taken if not contains(own, p)]
    state.set(who, union(own, from_paths(missing)) if missing else own, managed.now_text(now))


def _without(fields: FieldSet, gone: list[FieldPath]) -> FieldSet:
    hits = [p for p in gone if contains(fields, p)]
    return difference(fields, from_paths(hits)) if hits else fields


def take(
    state: Managed,
    changed: list[FieldPath],
    removed: list[FieldPath],
    scope: Scope,
    keep: Key | None,
    convert: Converter = unserved,
) -> None:
    """Takes changed and removed fields from all managers but `keep`. Those of versions that are no longer served go."""
    sets: dict[str, list[FieldPath]] = {}
    for key, entry in list(state.entries.items()):
        if key == keep:
            continue
        version = entry.manager.api_version
        gone = sets.get(version)
        if gone is None:
            if version == scope.api_version:
                gone = changed + removed
            else:
                there = convert(version)
                if there is None:
                    del state.entries[key]
                    continue
                old, new, node = there
                comparison = compare(old if old is not None else _NOTHING, new, node, scope.reset_fields)
                gone = comparison.modified + comparison.added + comparison.removed
            sets[version] = gone
        left = _without(entry.fields, gone)
        if not left:
            del state.entries[key]
        elif left is not entry.fields:
            state.entries[key] = Entry(entry.manager, left, entry.time)
