"""A watch cache in memory: what a test puts is there at once, and subscribers hear of it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence

from pybernetes.api.meta import Object, name_of, namespace_of
from pybernetes.api.resources import Resource

Handler = Callable[[Object | None, Object | None], None]


class MemoryReader:
    """An `ObservableReader` that a test fills."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[tuple[str, str], Object]] = {}
        self._handlers: dict[str, list[Handler]] = {}
        self._revision = 0
        self.arriving: list[tuple[Resource, Object]] = []
        """What the store holds already and `find` waits for."""

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        return self._objects.get(resource.storage_id, {}).get((namespace, name))

    def list(self, resource: Resource, namespace: str = "") -> Sequence[Object]:
        return [
            o for (ns, _), o in self._objects.get(resource.storage_id, {}).items() if not namespace or ns == namespace
        ]

    def subscribe(self, resource: Resource, handler: Handler) -> Callable[[], None]:
        handlers = self._handlers.setdefault(resource.storage_id, [])
        handlers.append(handler)
        for obj in self.list(resource):
            handler(None, obj)
        return lambda: handlers.remove(handler)

    async def find(self, resource: Resource, namespace: str, name: str) -> Object | None:
        while self.get(resource, namespace, name) is None and self.arriving:
            self.put(*self.arriving.pop())
        return self.get(resource, namespace, name)

    def put(self, resource: Resource, obj: Object) -> Object:
        self._revision += 1
        meta = obj.setdefault("metadata", {})
        meta.setdefault("uid", str(uuid.uuid4()))
        meta["resourceVersion"] = str(self._revision)
        key = (namespace_of(obj), name_of(obj))
        kind = self._objects.setdefault(resource.storage_id, {})
        old = kind.get(key)
        kind[key] = obj
        for handler in list(self._handlers.get(resource.storage_id, ())):
            handler(old, obj)
        return obj

    def remove(self, resource: Resource, namespace: str, name: str) -> None:
        old = self._objects[resource.storage_id].pop((namespace, name))
        for handler in list(self._handlers.get(resource.storage_id, ())):
            handler(old, None)

    def make(self, resource: Resource, name: str, namespace: str = "", **fields: object) -> Object:
        """Puts an object of that name with those top-level fields."""
        meta: Object = {"name": name}
        if namespace:
            meta["namespace"] = namespace
        meta.update(fields.pop("metadata", {}))  # type: ignore[call-overload]
        return self.put(
            resource, {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": meta, **fields}
        )
