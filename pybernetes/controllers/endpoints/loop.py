"""Watches Services and their pods and writes the Service's Endpoints object.

The object is one for all pods, so a Service of a thousand pods costs a thousand addresses a write: large ones are
written at a bounded rate, small ones at once.
"""

from __future__ import annotations

from pybernetes.api import errors
from pybernetes.api.meta import Object, is_deleting, key_of, name_of, namespace_of, object_reference, split_key
from pybernetes.api.resources import ENDPOINTS, PODS, SERVICES
from pybernetes.client.events import WARNING
from pybernetes.controllers.controller import Context, QueueController, is_namespace_terminating
from pybernetes.controllers.endpoints.plan import plan
from pybernetes.controllers.endpointslice.endpoint import is_selected
from pybernetes.controllers.endpointslice.selected import ServicePods
from pybernetes.controllers.endpointslice.triggers import TriggerTimes
from pybernetes.controllers.freshness import Freshness

STALE_RETRY_SECONDS = 30.0
_SECONDS_PER_ADDRESS = 0.0005
"""After a write of so many addresses the next one waits so long: half a second for a thousand."""
_SMALL = 50


class EndpointsController(QueueController):
    name = "endpoints"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._services = self.watch(SERVICES)
        self.watch(PODS)
        self._selection = context.informers.shared(ServicePods)
        self._selection.listen(self.queue.add)
        self._endpoints = self.watch(ENDPOINTS)
        self._written = Freshness(self._endpoints, context.clock)
        self._triggers = TriggerTimes()
        self._not_before: dict[str, float] = {}
        self._endpoints.add_handler(self._on_endpoints)

    def _on_endpoints(self, old: Object | None, new: Object | None) -> None:
        obj = new or old
        assert obj is not None
        key = key_of(obj)
        if key in self._services.cache and self._written.wakes(key, new):
            self.queue.add(key)

    async def reconcile(self, key: str) -> None:
        service = self._services.cache.get(key)
        if service is None:
            self._written.forget(key)
            self._triggers.forget(key)
            self._not_before.pop(key, None)
            await self._delete(key)
            return
        if not is_selected(service) or is_deleting(service):
            return
        if not self._written.is_fresh(key):
            self.queue.add_after(key, STALE_RETRY_SECONDS)
            return
        now = self.context.clock.monotonic()
        wait = self._not_before.get(key, 0.0) - now
        if wait > 0:
            self.queue.add_after(key, wait)
            return
        pods = self._selection.pods_of(service)
        if len(pods) > _SMALL:
            self._not_before[key] = now + len(pods) * _SECONDS_PER_ADDRESS
        else:
            self._not_before.pop(key, None)
        current = self._endpoints.cache.get(key)
        wanted = plan(service, pods, current, self._triggers.changed_at(service, pods))
        if wanted is None:
            return
        verb = "update" if current is not None else "create"
        try:
            if current is not None:
                self._written.wrote(key, await self.client.update(ENDPOINTS, wanted))
            else:
                self._written.wrote(key, await self.client.create(ENDPOINTS, wanted, namespace_of(service)))
        except (errors.Conflict, errors.AlreadyExists):
            raise
        except errors.ApiError as error:
            if is_namespace_terminating(error):
                return
            self.events.event(
                object_reference(current or service, "v1", "Endpoints" if current is not None else "Service"),
                WARNING,
                f"FailedTo{verb.capitalize()}Endpoint",
                f"Failed to {verb} endpoint for service {namespace_of(service)}/{name_of(service)}: {error.message}",
            )
            raise

    async def _delete(self, key: str) -> None:
        """The Service is gone: so is its Endpoints object, also one that was made by hand."""
        if key not in self._endpoints.cache:
            return
        namespace, name = split_key(key)
        try:
            await self.client.delete(ENDPOINTS, name, namespace)
        except errors.NotFound:
            return
