"""An API server reduced to what informers need: objects in memory, listed and watched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from pybernetes.api.meta import Object, clone, key_of, metadata
from pybernetes.api.resources import Resource
from pybernetes.client.interface import ObjectList, WatchEvent


class Watchable:
    """Implements the client's `list` and `watch`; tests change objects with `put` and `remove`."""

    def __init__(self) -> None:
        self._objects: dict[Resource, dict[str, Object]] = {}
        self._watchers: dict[Resource, list[asyncio.Queue[WatchEvent]]] = {}
        self._revision = 0

    def put(self, resource: Resource, obj: Object) -> None:
        self._revision += 1
        stored = clone(obj)
        stored.setdefault("metadata", {})["resourceVersion"] = str(self._revision)
        known = self._objects.setdefault(resource, {})
        kind = "MODIFIED" if key_of(stored) in known else "ADDED"
        known[key_of(stored)] = stored
        self._tell(resource, WatchEvent(kind, stored))  # type: ignore[arg-type]

    def remove(self, resource: Resource, namespace: str, name: str) -> None:
        self._revision += 1
        gone = clone(self._objects[resource].pop(f"{namespace}/{name}" if namespace else name))
        metadata(gone)["resourceVersion"] = str(self._revision)
        self._tell(resource, WatchEvent("DELETED", gone))

    def _tell(self, resource: Resource, event: WatchEvent) -> None:
        for queue in self._watchers.get(resource, ()):
            queue.put_nowait(event)

    async def list(self, resource: Resource, namespace: str = "", **_: Any) -> ObjectList:
        return ObjectList(list(self._objects.get(resource, {}).values()), str(self._revision))

    async def watch(self, resource: Resource, namespace: str = "", **_: Any) -> AsyncIterator[WatchEvent]:
        queue: asyncio.Queue[WatchEvent] = asyncio.Queue()
        self._watchers.setdefault(resource, []).append(queue)
        # What changed between the list and this call is told again, which informers do not mind.
        for obj in self._objects.get(resource, {}).values():
            queue.put_nowait(WatchEvent("MODIFIED", obj))
        try:
            while True:
                yield await queue.get()
        finally:
            self._watchers[resource].remove(queue)
