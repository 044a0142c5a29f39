"""A client that serves lists and watches from memory and takes what is created: what informers and recorders need."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

from pybernetes.api.meta import Object, key_of
from pybernetes.api.resources import Resource
from pybernetes.client.interface import ObjectList, WatchEvent


class Feed:
    def __init__(self) -> None:
        self.created: list[Object] = []
        self._objects: dict[str, dict[str, Object]] = {}
        self._watchers: dict[str, list[asyncio.Queue[WatchEvent]]] = {}
        self._versions = itertools.count(1)

    def put(self, resource: Resource, obj: Object) -> None:
        obj["metadata"]["resourceVersion"] = str(next(self._versions))
        known = self._objects.setdefault(resource.plural, {})
        kind = "MODIFIED" if key_of(obj) in known else "ADDED"
        known[key_of(obj)] = obj
        self._tell(resource, WatchEvent(kind, obj))  # type: ignore[arg-type]

    def remove(self, resource: Resource, key: str) -> None:
        self._tell(resource, WatchEvent("DELETED", self._objects[resource.plural].pop(key)))

    def _tell(self, resource: Resource, event: WatchEvent) -> None:
        for queue in self._watchers.get(resource.plural, []):
            queue.put_nowait(event)

    async def list(self, resource: Resource, namespace: str = "", **_: Any) -> ObjectList:
        # No await between this and the watch's first step may lose an event: both run in one loop turn.
        return ObjectList(list(self._objects.get(resource.plural, {}).values()), str(next(self._versions)))

    async def watch(self, resource: Resource, namespace: str = "", **_: Any) -> AsyncIterator[WatchEvent]:
        queue: asyncio.Queue[WatchEvent] = asyncio.Queue()
        self._watchers.setdefault(resource.plural, []).append(queue)
        while True:
            yield await queue.get()

    async def create(self, resource: Resource, obj: Object, namespace: str = "", **_: Any) -> Object:
        self.created.append(obj)
        return obj
