"""Watches quotas and everything they may limit, and recounts a namespace when something in it comes or goes.

A namespace without quotas costs one index look-up an event. Admission charges creations, in the transaction that
creates; this puts right what admission cannot know: deletions, finished pods, new quotas. It counts what the API server
lists and writes over the version it counted for, so it never takes back a charge that it has not seen.
"""

from __future__ import annotations

from pybernetes.api import errors
from pybernetes.api import quota as q
from pybernetes.api.meta import Object, key_of, namespace_of, split_key
from pybernetes.api.resources import EVENTS, PODS, RESOURCEQUOTAS, Resource
from pybernetes.client.informer import Handler, by_namespace
from pybernetes.controllers.catalog import is_watchable
from pybernetes.controllers.controller import Context, QueueController, updated_status
from pybernetes.controllers.resourcequota.plan import counted, plan_status

_PAUSE_FACTOR = 4.0
_PAUSE_SECONDS_MAX = 1.0
"""Between two counts: four times what the last one took, so that deletions in a crowded namespace are counted
together."""

NAMESPACE_INDEX = "controllers/namespace"


class ResourceQuotaController(QueueController):
    name = "resourcequota"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._quotas = self.watch(RESOURCEQUOTAS)
        self._quotas.cache.add_index(NAMESPACE_INDEX, by_namespace)
        self._resources: list[Resource] = []
        self._pause_seconds = 0.0
        self._quotas.add_handler(self._on_quota)
        context.catalog.listen(self._on_resource_added, self._on_resource_removed)

    def _on_resource_added(self, resource: Resource) -> None:
        if not resource.namespaced or not is_watchable(resource) or resource.storage_id == EVENTS.storage_id:
            return
        self._resources.append(resource)
        self.context.informers.for_(resource).add_handler(self._on_object(resource))

    def _on_resource_removed(self, resource: Resource) -> None:
        if resource in self._resources:
            self._resources.remove(resource)

    def _on_quota(self, old: Object | None, new: Object | None) -> None:
        # Admission's charges are not to be checked; what somebody else makes of the status is.
        if new is not None and (old is None or old.get("spec") != new.get("spec") or not is_counted_up(new)):
            self.queue.add(key_of(new))

    def _on_object(self, resource: Resource) -> Handler:
        quotas = self._quotas.cache

        def handle(old: Object | None, new: Object | None) -> None:
            obj = new or old
            assert obj is not None
            affected = quotas.by_index(NAMESPACE_INDEX, namespace_of(obj))
            if not affected:
                return
            now = self.now()
            if old is not None and new is not None and q.usage_of(resource, old, now) == q.usage_of(resource, new, now):
                return
            for quota in affected:
                if old is None and is_counted_up(quota):
                    # Charged with its creation.
                    continue
                if counted(quota, (resource,)):
                    self.queue.add_after(key_of(quota), self._pause_seconds)

        return handle

    async def reconcile(self, key: str) -> None:
        namespace, name = split_key(key)
        if self._quotas.cache.get(key) is None:
            return
        started = self.context.clock.monotonic()
        # Objects at least as new as the quota: what is charged to this version of it is among them. What is charged
        # meanwhile makes it another version, and the update a conflict.
        found = (await self.client.list(RESOURCEQUOTAS, namespace, field_selector=f"metadata.name={name}")).items
        if not found:
            return
        quota = found[0]
        objects: dict[Resource, list[Object]] = {}
        for resource in counted(quota, self._resources):
            objects[resource] = list((await self.client.list(resource, namespace)).items)
        now = self.now()
        status = plan_status(quota, self._resources, lambda r: objects[r], now)
        if status != (quota.get("status") or {}):
            try:
                await self.client.update(RESOURCEQUOTAS, updated_status(quota, status), subresource="status")
            except errors.NotFound:
                return
            if not is_counted_up(quota):
                # Until now admission charged nothing to it: count what came while this counted.
                self.queue.add(key)
        self._pause_seconds = min((self.context.clock.monotonic() - started) * _PAUSE_FACTOR, _PAUSE_SECONDS_MAX)
        if counted(quota, (PODS,)):
            # A pod counts until its grace period is over, even if nobody ever says that it ended.
            ends = [end for pod in objects[PODS] if (end := q.counts_until(pod)) is not None and end >= now]
            if ends:
                self.queue.add_after(key, min(ends) - now + 1)


def is_counted_up(quota: Object) -> bool:
    """Whether the status speaks of the spec: then admission charges every creation."""
    hard = (quota.get("spec") or {}).get("hard") or {}
    status = quota.get("status") or {}
    return status.get("hard") == hard and (status.get("used") or {}).keys() == hard.keys()
