"""Watches Endpoints, Services and mirrored slices, and applies the plan."""

from __future__ import annotations

from pybernetes.api.meta import Object, key_of
from pybernetes.api.resources import ENDPOINTS, SERVICES
from pybernetes.controllers.controller import Context, QueueController
from pybernetes.controllers.endpointslice.loop import SliceWriter
from pybernetes.controllers.endpointslice.packing import Changes
from pybernetes.controllers.endpointslicemirroring.plan import MANAGED_BY, is_mirrored, plan


class EndpointSliceMirroringController(QueueController):
    name = "endpointslicemirroring"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._services = self.watch(SERVICES)
        self._endpoints = self.watch(ENDPOINTS)
        self._slices = SliceWriter(self, MANAGED_BY)
        self._services.add_handler(self._on_service)
        self._endpoints.add_handler(self._on_endpoints)

    def _on_service(self, old: Object | None, new: Object | None) -> None:
        obj = new or old
        assert obj is not None
        before = ((old or {}).get("spec") or {}).get("selector")
        after = ((new or {}).get("spec") or {}).get("selector")
        if old is None or new is None or before != after:
            self.queue.add(key_of(obj))

    def _on_endpoints(self, old: Object | None, new: Object | None) -> None:
        obj = new or old
        assert obj is not None
        service = self._services.cache.get(key_of(obj))
        # Endpoints of Services with a selector are the endpoints controller's: by far the most, none of ours.
        if service is None or new is None or is_mirrored(new, service) or self._slices.existing(key_of(obj)):
            self.queue.add(key_of(obj))

    async def reconcile(self, key: str) -> None:
        if not self._slices.is_fresh(key):
            return
        existing = self._slices.existing(key)
        endpoints = self._endpoints.cache.get(key)
        service = self._services.cache.get(key)
        if endpoints is not None and is_mirrored(endpoints, service):
            changes = plan(endpoints, existing)
        else:
            changes = Changes(delete=existing)
            if not existing:
                self._slices.forget(key)
        await self._slices.apply(key, changes)
