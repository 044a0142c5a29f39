"""Cached objects and their changes, each with the bytes that everybody shares. Immutable once made, but for forms
that are made on first use and kept."""

from __future__ import annotations

from typing import Literal

from pybernetes.api.meta import Object
from pybernetes.api.resources import Resource
from pybernetes.apiserver import conversion, encoding
from pybernetes.client.interface import WatchEvent

ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]


class Entry:
    """One object at one revision: decoded, encoded, and converted to other served versions on demand."""

    __slots__ = ("_others", "key", "name", "namespace", "obj", "raw", "revision")

    def __init__(self, key: str, obj: Object, raw: bytes, revision: int) -> None:
        self.key = key
        namespace, sep, name = key.partition("/")
        self.namespace, self.name = (namespace, name) if sep else ("", namespace)
        self.obj = obj
        self.raw = raw
        self.revision = revision
        self._others: dict[Resource, tuple[Object, bytes]] | None = None

    @property
    def node_name(self) -> str:
        """Of a pod: the node it is bound to."""
        return (self.obj.get("spec") or {}).get("nodeName") or ""

    def object_as(self, resource: Resource) -> Object:
        """The object in the resource's version."""
        if self.obj["apiVersion"] == resource.api_version:
            return self.obj
        return self._other(resource)[0]

    def raw_as(self, resource: Resource) -> bytes:
        """The served bytes in the resource's version."""
        if self.obj["apiVersion"] == resource.api_version:
            return self.raw
        return self._other(resource)[1]

    def _other(self, resource: Resource) -> tuple[Object, bytes]:
        if self._others is None:
            self._others = {}
        found = self._others.get(resource)
        if found is None:
            obj = conversion.from_storage(resource, self.obj)
            raw = encoding.with_version(encoding.encode_stored(resource.api_version, resource.kind, obj), self.revision)
            found = self._others[resource] = (obj, raw)
        return found

    def tombstone(self, revision: int) -> Entry:
        """The last state of an object deleted at `revision`, which is its resourceVersion from then on."""
        obj = dict(self.obj)
        obj["metadata"] = {**obj["metadata"], "resourceVersion": str(revision)}
        return Entry(self.key, obj, encoding.replace_version(self.raw, revision), revision)


class Frame:
    """One watch event as a watcher gets it. Shared by all watchers that get the same."""

    __slots__ = ("_event", "_lines", "entry", "type")

    def __init__(self, type_: ChangeType, entry: Entry) -> None:
        self.type = type_
        self.entry = entry
        self._lines: dict[str, bytes] | None = None
        self._event: WatchEvent | None = None

    def event(self, resource: Resource) -> WatchEvent:
        """The event decoded, in the resource's version."""
        obj = self.entry.object_as(resource)
        event = self._event
        if event is None or event.object is not obj:
            event = self._event = WatchEvent(self.type, obj)
        return event

    def line(self, resource: Resource) -> bytes:
        """The event's line in the resource's version, encoded once."""
        lines = self._lines
        if lines is None:
            lines = self._lines = {}
        line = lines.get(resource.api_version)
        if line is None:
            line = lines[resource.api_version] = encoding.watch_frame(self.type, self.entry.raw_as(resource))
        return line


class Change:
    """One change of one object. Of a deletion, `entry` is the tombstone and `previous` the state before."""

    __slots__ = ("_entered", "_left", "_plain", "entry", "previous", "revision", "time", "type")

    def __init__(self, type_: ChangeType, entry: Entry, previous: Entry | None) -> None:
        self.type = type_
        self.entry = entry
        self.previous = previous
        self.revision = entry.revision
        self.time = 0.0
        self._plain: Frame | None = None
        self._entered: Frame | None = None
        self._left: Frame | None = None

    def plain(self) -> Frame:
        """The change as it is."""
        if self._plain is None:
            self._plain = Frame(self.type, self.entry)
        return self._plain

    def entered(self) -> Frame:
        """For a watcher whose selector the object begins to match: ADDED."""
        if self.type == "ADDED":
            return self.plain()
        if self._entered is None:
            self._entered = Frame("ADDED", self.entry)
        return self._entered

    def left(self) -> Frame:
        """For a watcher whose selector the object ceases to match: DELETED, with the last state that matched, at
        the change's revision."""
        if self.type == "DELETED":
            return self.plain()
        if self._left is None:
            assert self.previous is not None
            self._left = Frame("DELETED", self.previous.tombstone(self.revision))
        return self._left
