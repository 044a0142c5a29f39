"""``metadata.managedFields``: which manager set which fields, and when. Pure.

Source: the API reference of ManagedFieldsEntry and ``k8s.io/apimachinery/pkg/util/managedfields``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pybernetes.api.meta import Object, clone, metadata
from pybernetes.api.patch.fields import FieldSet, insert, is_valid, ordered, paths
from pybernetes.api.time import format_time

Operation = Literal["Apply", "Update"]

MAX_UPDATE_MANAGERS = 10
"""Managers by update that are kept apart; the oldest of more become one."""

ANCIENT = "ancient-changes"
BEFORE_FIRST_APPLY = "before-first-apply"


@dataclass(frozen=True, slots=True)
class Manager:
    """Who manages fields. An applier is one manager whatever version it applies."""

    name: str
    operation: Operation
    api_version: str = ""
    subresource: str = ""

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.name, self.operation, "" if self.operation == "Apply" else self.api_version, self.subresource

    def __str__(self) -> str:
        """As conflicts name it."""
        text = f'"{self.name}"'
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        return f"{text} using {self.api_version}" if self.operation == "Update" else text


@dataclass(slots=True)
class Entry:
    """One manager's fields. `fields` may be shared with a stored object: replace it, do not change it."""

    manager: Manager
    fields: FieldSet
    time: str = ""
    raw: Object | None = None
    """The entry as it was read: what nobody changed is not written anew."""


@dataclass(slots=True)
class Managed:
    """All managers of one object, by `Manager.key`."""

    entries: dict[tuple[str, str, str, str], Entry] = field(default_factory=dict)

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


def decode(raw: Any, *, trusted: bool = False) -> Managed:
    """The managers of a ``managedFields`` list. What is malformed there is as if it were not.

    A list that this server stored is `trusted`, its sets are not looked through.
    """
    managed = Managed()
    if not isinstance(raw, list):
        return managed
    for item in raw:
        if not isinstance(item, Mapping) or not item.get("fieldsV1"):
            continue
        if not trusted and not is_valid(item["fieldsV1"]):
            continue
        operation = item.get("operation")
        if operation not in ("Apply", "Update"):
            continue
        manager = Manager(
            str(item.get("manager") or ""),
            operation,
            str(item.get("apiVersion") or ""),
            str(item.get("subresource") or ""),
        )
        managed.entries[manager.key] = Entry(manager, item["fieldsV1"], str(item.get("time") or ""), dict(item))
    return managed


def _cap(managed: Managed) -> None:
    """Joins the oldest managers by update, version by version, until not too many are left."""
    updaters = sorted(
        (e for e in managed.entries.values() if e.manager.operation == "Update" and e.manager.name != ANCIENT),
        key=lambda e: (e.time, e.manager.name),
    )
    buckets = sum(1 for e in managed.entries.values() if e.manager.name == ANCIENT)
    surplus = len(updaters) + buckets - MAX_UPDATE_MANAGERS
    for entry in updaters:
        if surplus <= 0:
            return
        bucket = Manager(ANCIENT, "Update", entry.manager.api_version, entry.manager.subresource)
        known = managed.get(bucket)
        fields = clone(known.fields if known else {})
        for path in paths(entry.fields):
            insert(fields, path)
        del managed.entries[entry.manager.key]
        managed.set(bucket, fields, max(entry.time, known.time if known else ""))
        surplus -= 1 if known else 0


def encode(managed: Managed) -> list[Object]:
    """The ``managedFields`` list, in upstream's order."""
    _cap(managed)
    entries = sorted(
        managed.entries.values(),
        key=lambda e: (e.manager.operation, e.time, e.manager.name, e.manager.api_version, e.manager.subresource),
    )
    out: list[Object] = []
    for e in entries:
        if e.raw is not None:
            out.append(e.raw)
            continue
        item: Object = {"manager": e.manager.name, "operation": e.manager.operation}
        if e.manager.api_version:
            item["apiVersion"] = e.manager.api_version
        if e.time:
            item["time"] = e.time
        item |= {"fieldsType": "FieldsV1", "fieldsV1": ordered(e.fields)}
        if e.manager.subresource:
            item["subresource"] = e.manager.subresource
        out.append(item)
    return out


def of(live: Object | None, new: Object, *, ignore_new: bool) -> Managed:
    """The managers before an update: those that the request names, or else the live object's. A client that does not
    know managedFields drops them without meaning to; ``[{}]`` is how one drops them on purpose."""
    of_live = metadata(live).get("managedFields") if live else None
    raw = metadata(new).get("managedFields")
    if ignore_new or not raw or raw == of_live:
        return decode(of_live, trusted=True)
    if raw == [{}]:
        return Managed()
    return decode(raw) or decode(of_live, trusted=True)


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


def now_text(now: float) -> str:
    return format_time(now)
