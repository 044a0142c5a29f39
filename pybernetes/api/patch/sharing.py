"""Equal sets of fields are one object, in all objects that are kept.

The managers of one template's objects hold mostly the same fields, and a set is many times as large decoded as it is
encoded. What decoding and copying tore apart comes together again here, before an object is kept: whole sets by their
text, parts of new ones by their parts. Two bounded tables, the older half of which goes when they are full. One thread
at a time: the event loop's.
"""

from __future__ import annotations

from typing import Any

import orjson

from pybernetes.api.meta import Object
from pybernetes.api.patch.fields import EMPTY, FieldSet

SETS_MAX = 4096
"""Whole sets, about 1 KB of text each."""
PARTS_MAX = 32_768

_sets: dict[bytes, FieldSet] = {}
_known: dict[int, FieldSet] = {}
"""The sets of `_sets` by their identity, which their being kept here keeps theirs."""
_parts: dict[tuple[Any, ...], FieldSet] = {}


def _make_room(table: dict[Any, Any], limit: int) -> None:
    if len(table) >= limit:
        for key in list(table)[: limit // 2]:
            del table[key]


def _part(fields: FieldSet) -> FieldSet:
    """The same part of a set, its leaves and the parts below shared."""
    if not fields:
        return EMPTY
    own = {element: _part(below) if below else EMPTY for element, below in fields.items()}
    # Shared parts are told apart by identity: an entry's value keeps those of its key.
    key = (*own, *map(id, own.values()))
    known = _parts.get(key)
    if known is None:
        _make_room(_parts, PARTS_MAX)
        known = _parts[key] = own
    return known


def shared(fields: FieldSet) -> FieldSet:
    """The one set that is equal to this."""
    if _known.get(id(fields)) is fields:
        return fields
    text = orjson.dumps(fields)
    known = _sets.get(text)
    if known is None:
        if len(_sets) >= SETS_MAX:
            _make_room(_sets, SETS_MAX)
            _known.clear()
            _known.update((id(kept), kept) for kept in _sets.values())
        known = _sets[text] = _part(fields)
        _known[id(known)] = known
    return known


def share_fields(obj: Object) -> None:
    """Makes the sets of fields of an object's managers shared ones. The object and its metadata are private."""
    entries = obj["metadata"].get("managedFields")
    if not entries:
        return
    for entry in entries:
        if _known.get(id(entry.get("fieldsV1"))) is None:
            break
    else:
        return
    obj["metadata"]["managedFields"] = [
        {**entry, "fieldsV1": shared(entry["fieldsV1"])} if entry.get("fieldsV1") else entry for entry in entries
    ]
