"""Empties namespaces that are going away: pods first, then everything else; then finalizes them.

Woken by the namespace itself and by each deletion inside it; content that goes away without an event it sees (there
is none of that) would be found by a look after fifteen seconds. Reads are live: a namespace is let go only when the
store has nothing of it left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pybernetes.api import errors
from pybernetes.api.meta import Object, is_deleting, name_of, namespace_of
from pybernetes.api.resources import NAMESPACES, PODS, Resource
from pybernetes.controllers.catalog import is_deletable, is_watchable
from pybernetes.controllers.controller import Context, QueueController, updated_status
from pybernetes.controllers.namespace.plan import Findings, is_finalized, plan_conditions, without_finalizer

_RESOURCES_AT_ONCE = 8
_LOOK_AGAIN_SECONDS = 15.0
_PAGE = 500


class NamespaceController(QueueController):
    name = "namespace"
    workers = 10

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._namespaces = self.watch(NAMESPACES)
        self._terminating: set[str] = set()
        self._resources: list[Resource] = []
        self._namespaces.add_handler(self._on_namespace)
        context.catalog.listen(self._on_resource_added, self._on_resource_removed)

    def _on_resource_added(self, resource: Resource) -> None:
        if not resource.namespaced or not is_deletable(resource) or not is_watchable(resource):
            return
        self._resources.append(resource)
        self.context.informers.for_(resource).add_handler(self._on_content(resource))

    def _on_content(self, resource: Resource) -> Callable[[Object | None, Object | None], None]:
        def handle(old: Object | None, new: Object | None) -> None:
            if not self._terminating:
                return
            obj = new or old
            if obj is not None and namespace_of(obj) in self._terminating and (new is None or old is None):
                self.queue.add(namespace_of(obj))

        return handle

    def _on_resource_removed(self, resource: Resource) -> None:
        if resource in self._resources:
            self._resources.remove(resource)
            for namespace in self._terminating:
                self.queue.add(namespace)

    def _on_namespace(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            self._terminating.discard(name_of(old or {}))
        elif is_deleting(new) and not is_finalized(new):
            self._terminating.add(name_of(new))
            self.queue.add(name_of(new))

    async def reconcile(self, key: str) -> None:
        try:
            namespace = await self.client.get(NAMESPACES, key)
        except errors.NotFound:
            self._terminating.discard(key)
            return
        if not is_deleting(namespace) or is_finalized(namespace):
            return
        findings = await self._empty(key)
        conditions = plan_conditions(namespace, findings, self.now())
        status = namespace.get("status") or {}
        if conditions != (status.get("conditions") or []) and not (findings.is_empty and not status.get("conditions")):
            namespace = await self.client.update(
                NAMESPACES, updated_status(namespace, {**status, "conditions": conditions}), subresource="status"
            )
        if not findings.is_empty:
            self.queue.add_after(key, _LOOK_AGAIN_SECONDS)
            return
        try:
            await self.client.update(NAMESPACES, without_finalizer(namespace), subresource="finalize")
        except errors.NotFound:
            return

    async def _empty(self, namespace: str) -> Findings:
        findings = Findings()
        await self._delete(namespace, PODS, findings)
        if not findings.is_empty:
            # Pods may need their volumes, secrets and policies to the end.
            return findings
        limit = asyncio.Semaphore(_RESOURCES_AT_ONCE)

        async def delete(resource: Resource) -> None:
            async with limit:
                await self._delete(namespace, resource, findings)

        await asyncio.gather(*(delete(r) for r in list(self._resources) if r != PODS))
        return findings

    async def _delete(self, namespace: str, resource: Resource, findings: Findings) -> None:
        try:
            if not await self._content(namespace, resource):
                return
            if "deletecollection" in resource.verbs:
                await self.client.delete_collection(resource, namespace, propagation="Background")
            else:
                for obj in await self._content(namespace, resource):
                    await self._delete_one(namespace, resource, obj)
            findings.remain(resource, await self._content(namespace, resource))
        except errors.NotFound:
            # The resource itself is served no more.
            return
        except errors.ApiError as error:
            findings.failures.append(error.message)

    async def _delete_one(self, namespace: str, resource: Resource, obj: Object) -> None:
        try:
            await self.client.delete(resource, name_of(obj), namespace, propagation="Background")
        except errors.NotFound:
            return

    async def _content(self, namespace: str, resource: Resource) -> list[Object]:
        items: list[Object] = []
        token = ""
        while True:
            page = await self.client.list(resource, namespace, limit=_PAGE, continue_token=token)
            items += page.items
            token = page.continue_token
            if not token:
                return items
