"""Watches Services, their pods and their slices, and applies the plan.

A Service is planned only when the slice informer shows the last writes made for it; its own writes do not wake it.
"""

from __future__ import annotations

from pybernetes.api import errors
from pybernetes.api.meta import (
    Object,
    is_deleting,
    key_of,
    labels_of,
    metadata,
    name_of,
    namespace_of,
    object_reference,
)
from pybernetes.api.meta import uid_of as uid
from pybernetes.api.resources import ENDPOINTSLICES, NODES, PODS, SERVICES
from pybernetes.client.events import WARNING
from pybernetes.controllers import pods as podstate
from pybernetes.controllers.controller import Context, QueueController, is_namespace_terminating
from pybernetes.controllers.endpointslice.endpoint import is_selected
from pybernetes.controllers.endpointslice.packing import Changes
from pybernetes.controllers.endpointslice.plan import MANAGED_BY, MANAGED_BY_LABEL, SERVICE_NAME_LABEL, plan
from pybernetes.controllers.endpointslice.selected import ServicePods
from pybernetes.controllers.endpointslice.triggers import ANNOTATION, TriggerTimes
from pybernetes.controllers.freshness import Freshness

SLICE_INDEX = "controllers/slices-of-service"
STALE_RETRY_SECONDS = 30.0


def by_service(slice_: Object) -> list[str]:
    """Index under the manager, namespace and Service."""
    labels = labels_of(slice_)
    name = labels.get(SERVICE_NAME_LABEL)
    return [f"{labels.get(MANAGED_BY_LABEL, '')}/{namespace_of(slice_)}/{name}"] if name else []


class SliceWriter:
    """Applies changes of slices and remembers them until the informer shows them."""

    def __init__(self, controller: QueueController, manager: str) -> None:
        self._controller = controller
        self._manager = manager
        self.informer = controller.watch(ENDPOINTSLICES)
        self.informer.cache.add_index(SLICE_INDEX, by_service)
        self.written = Freshness(self.informer, controller.context.clock)
        self.informer.add_handler(self._on_slice)

    def existing(self, key: str) -> list[Object]:
        slices = self.informer.cache.by_index(SLICE_INDEX, f"{self._manager}/{key}")
        return [s for s in slices if not is_deleting(s)]

    def is_fresh(self, key: str) -> bool:
        """Whether the cache shows our own writes; where not, their arrival wakes the key."""
        if self.written.is_fresh(key):
            return True
        self._controller.queue.add_after(key, STALE_RETRY_SECONDS)
        return False

    def forget(self, key: str) -> None:
        self.written.forget(key)

    def _on_slice(self, old: Object | None, new: Object | None) -> None:
        for obj in (old, new):
            labels = labels_of(obj) if obj is not None else {}
            if obj is None or labels.get(MANAGED_BY_LABEL) != self._manager or SERVICE_NAME_LABEL not in labels:
                continue
            key = f"{namespace_of(obj)}/{labels[SERVICE_NAME_LABEL]}"
            if self.written.wakes(key, new):
                self._controller.queue.add(key)

    async def apply(self, key: str, changes: Changes) -> None:
        client = self._controller.client
        for slice_ in changes.create:
            try:
                self.written.wrote(key, await client.create(ENDPOINTSLICES, slice_, namespace_of(slice_)))
            except errors.ApiError as error:
                if is_namespace_terminating(error):
                    return
                raise
        for slice_ in changes.update:
            self.written.wrote(key, await client.update(ENDPOINTSLICES, slice_))
        for slice_ in changes.delete:
            try:
                await client.delete(ENDPOINTSLICES, name_of(slice_), namespace_of(slice_), uid=uid(slice_))
            except errors.NotFound:
                continue
            self.written.deleted(key, slice_)


class EndpointSliceController(QueueController):
    name = "endpointslice"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._services = self.watch(SERVICES)
        self._pods = self.watch(PODS)
        self._nodes = self.watch(NODES)
        self._pods.cache.add_index(podstate.NODE_INDEX, podstate.by_node)
        self._selection = context.informers.shared(ServicePods)
        self._selection.listen(self.queue.add)
        self._slices = SliceWriter(self, MANAGED_BY)
        self._triggers = TriggerTimes()
        self._nodes.add_handler(self._on_node)

    def _on_node(self, old: Object | None, new: Object | None) -> None:
        if old is None and new is not None and self._nodes.has_synced:
            # Pods whose node was not known were left out.
            for pod in self._pods.cache.by_index(podstate.NODE_INDEX, name_of(new)):
                for service in self._selection.services_of(pod):
                    self.queue.add(key_of(service))

    async def reconcile(self, key: str) -> None:
        service = self._services.cache.get(key)
        if service is None:
            self._slices.forget(key)
            self._triggers.forget(key)
            return
        if not is_selected(service) or is_deleting(service):
            return
        if not self._slices.is_fresh(key):
            return
        pods = self._selection.pods_of(service)
        changed_at = self._triggers.changed_at(service, pods)
        planned = plan(service, pods, self._nodes.cache.get, self._slices.existing(key))
        for slice_ in (*planned.changes.create, *planned.changes.update):
            _annotate(slice_, changed_at)
        try:
            await self._slices.apply(key, planned.changes)
        except errors.Conflict:
            raise
        except errors.ApiError as error:
            self.events.event(
                object_reference(service, "v1", "Service"),
                WARNING,
                "FailedToUpdateEndpointSlices",
                f"Error updating Endpoint Slices for Service {key}: {error.message}",
            )
            raise


def _annotate(slice_: Object, changed_at: str) -> None:
    """Writes when the change happened; the slice is a private copy, but its metadata may be shared."""
    annotations = {k: v for k, v in (metadata(slice_).get("annotations") or {}).items() if k != ANNOTATION}
    if changed_at:
        annotations[ANNOTATION] = changed_at
    meta = {k: v for k, v in metadata(slice_).items() if k != "annotations"}
    if annotations:
        meta["annotations"] = annotations
    slice_["metadata"] = meta
