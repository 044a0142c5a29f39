"""Watches every resource, keeps the owner graph and deletes, orphans or unblocks what the graph says.

Keys are uids. Before anything is deleted, the object and its owners are read live; deletions carry the uid as a
precondition. Owners found absent are remembered (bounded): a uid never comes back.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from pybernetes.api import errors
from pybernetes.api.meta import (
    Object,
    is_deleting,
    metadata,
    name_of,
    namespace_of,
    object_reference,
    uid_of,
)
from pybernetes.api.resources import EVENTS, Resource
from pybernetes.client.events import WARNING
from pybernetes.client.informer import Handler
from pybernetes.client.interface import MERGE_PATCH
from pybernetes.controllers.catalog import is_deletable, is_watchable
from pybernetes.controllers.controller import Context, QueueController
from pybernetes.controllers.garbagecollector import plan as p
from pybernetes.controllers.garbagecollector.graph import (
    FOREGROUND,
    ORPHAN,
    Graph,
    Node,
    deletes_dependents,
    orphans_dependents,
    owners_of,
)

_ABSENT_REMEMBERED = 2000
_PATCH_TRIES = 5


class GarbageCollector(QueueController):
    name = "garbagecollector"
    workers = 20

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.graph = Graph()
        self._absent: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._unresolved: set[str] = set()
        self._added = False
        context.catalog.listen(self._on_resource_added, self._on_resource_removed)
        self._added = True

    def _on_resource_added(self, resource: Resource) -> None:
        if not is_watchable(resource) or not is_deletable(resource) or resource.storage_id == EVENTS.storage_id:
            return
        # Nobody waits for a custom resource's first list: absent owners are read live anyway.
        informer = self.context.informers.for_(resource) if self._added else self.watch(resource)
        informer.add_handler(self._on_object(resource))
        for uid in self._unresolved:
            self.queue.add(uid)
        self._unresolved.clear()

    def _on_resource_removed(self, resource: Resource) -> None:
        for obj in self.context.informers.for_(resource).cache:
            self._look(self.graph.remove(obj))

    def _on_object(self, resource: Resource) -> Handler:
        put, remove = self.graph.put, self.graph.remove

        def handle(old: Object | None, new: Object | None) -> None:
            if new is None:
                assert old is not None
                self._look(remove(old))
                return
            if old is not None and uid_of(old) != uid_of(new):
                # Deleted and made again while the watch was away.
                self._look(remove(old))
            self._look(put(resource, new))

        return handle

    def _look(self, uids: list[str]) -> None:
        for uid in uids:
            self.queue.add(uid)

    async def reconcile(self, key: str) -> None:
        node = self.graph.get(key)
        if node is None:
            return
        if is_deleting(node.obj) and not deletes_dependents(node.obj) and not orphans_dependents(node.obj):
            return
        live = await self._read(node.resource, namespace_of(node.obj), name_of(node.obj))
        if live is None or uid_of(live) != key:
            return
        node = Node(node.resource, live)
        if orphans_dependents(live):
            await self._orphan(node)
        elif deletes_dependents(live):
            await self._delete_dependents(node)
        elif not is_deleting(live):
            await self._judge(node)

    async def _read(self, resource: Resource, namespace: str, name: str) -> Object | None:
        try:
            return await self.client.get(resource, name, namespace)
        except errors.NotFound:
            return None

    async def _judge(self, node: Node) -> None:
        obj, uid = node.obj, uid_of(node.obj)
        states = {str(ref.get("uid")): await self._owner_state(ref, obj, node) for ref in owners_of(obj)}
        in_foreground = any(deletes_dependents(d.obj) for d in self.graph.dependents(uid))
        action = p.plan(
            obj,
            states,
            has_dependents=self.graph.has_dependents(uid),
            has_dependents_in_foreground=in_foreground,
        )
        if p.OwnerState.UNKNOWN in states.values():
            self._unresolved.add(uid)
        match action:
            case p.DropReferences(uids):
                await self._patch(node, lambda live: p.drop_references(live, uids))
            case p.DeleteObject(propagation, unblock_owners):
                if unblock_owners:
                    await self._patch(node, p.unblock_references)
                try:
                    await self.client.delete(
                        node.resource, name_of(obj), namespace_of(obj), propagation=propagation, uid=uid
                    )
                except errors.NotFound:
                    return

    async def _owner_state(self, ref: Object, obj: Object, node: Node) -> p.OwnerState:
        uid = str(ref.get("uid"))
        resource = self.context.catalog.by_kind(str(ref.get("apiVersion")), str(ref.get("kind")))
        if resource is None or (resource.namespaced and not node.resource.namespaced):
            return p.OwnerState.UNKNOWN
        namespace = namespace_of(obj) if resource.namespaced else ""
        if (uid, namespace) in self._absent:
            return p.OwnerState.ABSENT
        if self.graph.is_in_wrong_namespace(ref, obj):
            self.events.event(
                object_reference(obj, node.resource.api_version, node.resource.kind),
                WARNING,
                "OwnerRefInvalidNamespace",
                f'ownerRef {p.describe_reference(ref, namespace)} does not exist in namespace "{namespace}"',
            )
        state = p.owner_state(await self._read(resource, namespace, str(ref.get("name"))), uid)
        if state is p.OwnerState.ABSENT and self.graph.get(uid) is None:
            self._absent[(uid, namespace)] = None
            if len(self._absent) > _ABSENT_REMEMBERED:
                self._absent.popitem(last=False)
        return state

    async def _delete_dependents(self, node: Node) -> None:
        """A foreground deletion: starts the dependents that block, lets the owner go when none is left."""
        blocking = self.graph.blocking(uid_of(node.obj))
        if not blocking:
            await self._patch(node, lambda live: p.drop_finalizer(live, FOREGROUND))
            return
        for dependent in self.graph.dependents(uid_of(node.obj)):
            if not is_deleting(dependent.obj):
                self.queue.add(uid_of(dependent.obj))

    async def _orphan(self, node: Node) -> None:
        """Takes the owner out of all its dependents' references, then lets the owner go."""
        uid = uid_of(node.obj)
        dependents = list(self.graph.dependents(uid))
        await asyncio.gather(
            *(self._patch(dependent, lambda live: p.drop_references(live, (uid,))) for dependent in dependents)
        )
        await self._patch(node, lambda live: p.drop_finalizer(live, ORPHAN))

    async def _patch(self, node: Node, make: Callable[[Object], Object]) -> None:
        """Patches the object as it is live; read again where somebody wrote in between."""
        uid = uid_of(node.obj)
        for _ in range(_PATCH_TRIES):
            live = await self._read(node.resource, namespace_of(node.obj), name_of(node.obj))
            if live is None or uid_of(live) != uid:
                return
            patch = make(live)
            if all(metadata(live).get(k) == v for k, v in patch["metadata"].items()):
                return
            try:
                await self.client.patch(node.resource, name_of(live), patch, namespace_of(live), patch_type=MERGE_PATCH)
            except errors.NotFound:
                return
            except errors.Conflict:
                continue
            return
        raise errors.conflict(node.resource.group, node.resource.plural, name_of(node.obj), errors.MODIFIED)
