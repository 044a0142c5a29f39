"""Watches quotas and everything they may limit, and recounts a namespace when something in it comes or goes.

A namespace without quotas costs one index look-up an event. Admission charges creations; this puts right what
admission cannot know: deletions, finished pods, new quotas.
"""

from __future__ import annotations

from pybernetes.api import errors
from pybernetes.api import quota as q
from pybernetes.api.meta import Object, key_of, namespace_of
from pybernetes.api.resources import EVENTS, PODS, RESOURCEQUOTAS, Resource
from pybernetes.client.informer import Handler, by_namespace
from pybernetes.controllers.catalog import is_watchable
from pybernetes.controllers.controller import Context, QueueController, updated_status
from pybernetes.controllers.resourcequota.plan import counted, plan_status

NAMESPACE_INDEX = "controllers/namespace"


class ResourceQuotaController(QueueController):
    name = "resourcequota"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._quotas = self.watch(RESOURCEQUOTAS)
        self._quotas.cache.add_index(NAMESPACE_INDEX, by_namespace)
        self._resources: list[Resource] = []
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
        if new is not None and (
            old is None or old.get("spec") != new.get("spec") or old.get("status") != new.get("status")
        ):
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
                if counted(quota, (resource,)):
                    self.queue.add(key_of(quota))

        return handle

    async def reconcile(self, key: str) -> None:
        quota = self._quotas.cache.get(key)
        if quota is None:
            return
        namespace = namespace_of(quota)

        def objects(resource: Resource) -> list[Object]:
            cache = self.context.informers.for_(resource).cache
            cache.add_index(NAMESPACE_INDEX, by_namespace)
            return cache.by_index(NAMESPACE_INDEX, namespace)

        for resource in counted(quota, self._resources):
            await self.context.informers.for_(resource).synced()
        now = self.now()
        status = plan_status(quota, self._resources, objects, now)
        if status != (quota.get("status") or {}):
            try:
                await self.client.update(RESOURCEQUOTAS, updated_status(quota, status), subresource="status")
            except errors.NotFound:
                return
        if counted(quota, (PODS,)):
            # A pod counts until its grace period is over, even if nobody ever says that it ended.
            ends = [end for pod in objects(PODS) if (end := q.counts_until(pod)) is not None and end >= now]
            if ends:
                self.queue.add_after(key, min(ends) - now + 1)
