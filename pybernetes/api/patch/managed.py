"""``metadata.managedFields``: which manager set which fields, and when. Pure.

Entries are values and shared with stored objects: they are replaced, never changed.
Source: the API reference of ManagedFieldsEntry and ``k8s.io/apimachinery/pkg/util/managedfields``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import orjson

from pybernetes.api.json_values import same_types
from pybernetes.api.meta import Object, metadata
from pybernetes.api.patch.fields import FieldSet, parse, union
from pybernetes.api.time import format_time
from pybernetes.lib.records import record

Operation = Literal["Apply", "Update"]
Key = tuple[str, str, str, str]

MAX_UPDATE_MANAGERS = 10
"""Managers by update that are kept apart; the oldest of more become one."""

ANCIENT = "ancient-changes"
BEFORE_FIRST_APPLY = "before-first-apply"

_OPERATIONS = frozenset({"Apply", "Update"})
_MANAGERS_MAX = 4096


@dataclass(frozen=True, slots=True)
class Manager:
    """Who manages fields. An applier is one manager whatever version it applies."""

    name: str
    operation: Operation
    api_version: str = ""
    subresource: str = ""

    @property
    def key(self) -> Key:
        return self.name, self.operation, "" if self.operation == "Apply" else self.api_version, self.subresource

    def __str__(self) -> str:
        """As conflicts name it."""
        text = orjson.dumps(self.name).decode()
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        return f"{text} using {self.api_version}" if self.operation == "Update" else text


@record
class Entry:
    """One manager's fields, and when it set one last (as text, empty for unknown)."""

    manager: Manager
    fields: FieldSet
    time: str = ""
    raw: Object | None = None
    """The entry as it was read: what nobody changed is not written anew."""


class Managed:
    """All managers of one object, by `Manager.key`. Private to one write."""

    __slots__ = ("entries",)

    def __init__(self) -> None:
        self.entries: dict[Key, Entry] = {}

    def get(self, manager: Manager) -> Entry | None:
        return self.entries.get(manager.key)

    def set(self, manager: Manager, fields: FieldSet, time: str = "") -> None:
        """Puts the manager's fields in place; a manager without any goes."""
        if fields:
            self.entries[manager.key] = Entry(manager, fields, time)
        else:
            self.entries.pop(manager.key, None)

    def __bool__(self) -> bool:
        return bool(self.entries)


@lru_cache(maxsize=_MANAGERS_MAX)
def _manager(name: str, operation: Operation, api_version: str, subresource: str) -> tuple[Manager, Key]:
    manager = Manager(name, operation, api_version, subresource)
    return manager, manager.key


def decode(raw: Any) -> Managed:
    """The managers of a stored object's ``managedFields``, which a server wrote; one without fields is none."""
    managed = Managed()
    entries = managed.entries
    for item in raw or ():
        get = item.get
        fields = get("fieldsV1")
        if not fields:
            continue
        manager, key = _manager(
            get("manager") or "", get("operation") or "Update", get("apiVersion") or "", get("subresource") or ""
        )
        entries[key] = Entry(manager, fields, get("time") or "", item)
    return managed


def decode_given(raw: Any) -> Managed:
    """The managers of a client's list. Raises `ValueError` where one entry is malformed: then none of them counts."""
    managed = Managed()
    for item in raw:
        if not isinstance(item, Mapping):
            raise ValueError("an entry is an object")
        operation = item.get("operation")
        if operation not in _OPERATIONS:
            raise ValueError(f"operation must be `Apply` or `Update`, but is {operation}")
        if not item.get("apiVersion"):
            raise ValueError("apiVersion must not be empty")
        if item.get("fieldsType") != "FieldsV1":
            raise ValueError(f"invalid fieldsType {item.get('fieldsType')}")
        manager, key = _manager(
            str(item.get("manager") or ""),
            operation,
            str(item.get("apiVersion") or ""),
            str(item.get("subresource") or ""),
        )
        fields = parse(item.get("fieldsV1") or {})
        if fields:
            managed.entries[key] = Entry(manager, fields, str(item.get("time") or ""))
    return managed


def cap(managed: Managed) -> None:
    """Joins the oldest managers by update, version by version, until no more than `MAX_UPDATE_MANAGERS` are left."""
    entries = managed.entries
    if len(entries) <= MAX_UPDATE_MANAGERS:
        return
    updaters = [(key, e) for key, e in entries.items() if e.manager.operation == "Update"]
    left = len(updaters)
    if left <= MAX_UPDATE_MANAGERS:
        return
    updaters.sort(key=lambda pair: (pair[1].time, pair[0]))
    first: dict[str, Key] = {}
    for key, entry in updaters:
        if left <= MAX_UPDATE_MANAGERS:
            return
        version = entry.manager.api_version
        if version not in first:
            first[version] = key
            continue
        bucket = Manager(ANCIENT, "Update", version)
        known = entries.get(bucket.key) or entries.pop(first[version])
        entries[bucket.key] = Entry(bucket, union(known.fields, entry.fields), entry.time)
        if key != bucket.key:
            del entries[key]
        left -= 1


def encode(managed: Managed) -> list[Object]:
    """The ``managedFields`` list, in upstream's order."""
    entries = list(managed.entries.values())
    if len(entries) > 1:
        entries.sort(key=_place)
    return [e.raw if e.raw is not None else _encode(e) for e in entries]


def _place(entry: Entry) -> tuple[str, ...]:
    manager = entry.manager
    return manager.operation, entry.time, manager.name, manager.api_version, manager.subresource


def _encode(entry: Entry) -> Object:
    manager = entry.manager
    item: Object = {"manager": manager.name, "operation": manager.operation}
    if manager.api_version:
        item["apiVersion"] = manager.api_version
    if entry.time:
        item["time"] = entry.time
    item["fieldsType"] = "FieldsV1"
    item["fieldsV1"] = entry.fields
    if manager.subresource:
        item["subresource"] = manager.subresource
    return item


RESET: list[Object] = [{}]
"""What a client sets to drop all managers."""


def of(live: Object | None, new: Object, *, ignore_new: bool) -> Managed:
    """The managers before an update: those that the request names, or else the live object's. A client that does not
    know managedFields drops them without meaning to; `RESET` is how one drops them on purpose."""
    of_live = metadata(live).get("managedFields") if live else None
    raw = metadata(new).get("managedFields")
    if ignore_new or not raw or raw == of_live:
        return decode(of_live)
    if raw == RESET:
        return Managed()
    try:
        return decode_given(raw) or decode(of_live)
    except ValueError:
        return decode(of_live)


def put(obj: Object, managed: Managed) -> Object:
    """The object with those managers; its metadata is a new dictionary, the rest shared."""
    meta = {k: v for k, v in metadata(obj).items() if k != "managedFields"}
    if encoded := encode(managed):
        meta["managedFields"] = encoded
    return {**obj, "metadata": meta}


def strip(obj: Object) -> Object:
    """The object without its managers."""
    meta = metadata(obj)
    if "managedFields" not in meta:
        return obj
    return {**obj, "metadata": {k: v for k, v in meta.items() if k != "managedFields"}}


@lru_cache(maxsize=16)
def _second(seconds: int) -> str:
    return format_time(seconds)


def now_text(now: float) -> str:
    return _second(int(now))


def equal_but_for_time(a: Object, b: Object) -> bool:
    """Whether two objects are equal, but for when their managers set something: then nothing was written."""
    if a.keys() != b.keys():
        return False
    for key, value in a.items():
        if key != "metadata" and value != b[key]:
            return False
    return _same_metadata(a["metadata"], b["metadata"]) and all(
        value is b[key] or same_types(value, b[key]) for key, value in a.items() if key != "metadata"
    )


def _same_metadata(meta: Object, other: Object) -> bool:
    if meta == other:
        return True
    if meta.keys() != other.keys():
        return False
    for key, value in meta.items():
        if key != "managedFields" and value != other[key]:
            return False
    own, others = meta.get("managedFields") or (), other.get("managedFields") or ()
    if len(own) != len(others):
        return False
    theirs = {_identity(e): e.get("fieldsV1") for e in others}
    return all(theirs.get(_identity(e)) == e.get("fieldsV1") for e in own)


def _identity(entry: Object) -> tuple[str, ...]:
    get = entry.get
    return get("operation", ""), get("manager", ""), get("apiVersion", ""), get("subresource", "")
