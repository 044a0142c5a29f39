"""Watches DaemonSets, nodes, pods and revisions, and applies the plan.

Failed pods are replaced with back-off by node (one second, doubling, at most fifteen minutes).
"""

from __future__ import annotations

from dataclasses import dataclass

from pybernetes.api import errors
from pybernetes.api.meta import (
    Object,
    key_of,
    labels_of,
    metadata,
    name_of,
    namespace_of,
    new_controller_ref,
    object_reference,
    uid_of,
)
from pybernetes.api.resources import DAEMONSETS, NODES, PODS
from pybernetes.client.events import NORMAL, WARNING
from pybernetes.controllers import history
from pybernetes.controllers import pods as podstate
from pybernetes.controllers.adoption import claim_pods
from pybernetes.controllers.batches import all_at_once, slow_start
from pybernetes.controllers.controller import Context, QueueController, is_namespace_terminating, updated_status
from pybernetes.controllers.daemonset import plan as p
from pybernetes.controllers.freshness import Freshness
from pybernetes.controllers.podevents import OwnerEvents
from pybernetes.controllers.selection import SELECTOR_INDEX, is_empty, selectors_by_pair

BURST = 250
STALE_RETRY_SECONDS = 30.0
_BACKOFF_SECONDS = (1.0, 900.0)


@dataclass(slots=True)
class _Backoff:
    delay: float
    next_at: float


class DaemonSetController(QueueController):
    name = "daemonset"
    workers = 2

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._sets = self.watch(DAEMONSETS)
        self._pods = self.watch(PODS)
        self._nodes = self.watch(NODES)
        self._sets.cache.add_index(SELECTOR_INDEX, selectors_by_pair)
        self._pods.cache.add_index(podstate.CONTROLLER_INDEX, podstate.by_controller, podstate.owners_part)
        self._written = Freshness(self._pods, context.clock)
        self._revisions = history.RevisionKeeper(self, DAEMONSETS)
        self._backoff: dict[tuple[str, str], _Backoff] = {}
        self._sets.add_handler(self._on_set)
        self._pods.add_handler(OwnerEvents(DAEMONSETS, self._sets.cache, self.queue.add))
        self._nodes.add_handler(self._on_node)

    def _on_set(self, old: Object | None, new: Object | None) -> None:
        obj = new or old
        assert obj is not None
        if new is None or (old is not None and uid_of(old) != uid_of(new)):
            self._forget(key_of(obj))
        self.queue.add(key_of(obj))

    def _forget(self, key: str) -> None:
        self._written.forget(key)
        self._revisions.written.forget(key)
        for entry in [e for e in self._backoff if e[0] == key]:
            del self._backoff[entry]

    def _on_node(self, old: Object | None, new: Object | None) -> None:
        if old is not None and new is not None and _placement_traits(old) == _placement_traits(new):
            return
        for key in self._sets.cache.all_keys():
            self.queue.add(key)

    async def reconcile(self, key: str) -> None:
        ds = self._sets.cache.get(key)
        if ds is None:
            self._forget(key)
            return
        about = object_reference(ds, "apps/v1", "DaemonSet")
        if is_empty(ds["spec"].get("selector")):
            self.events.event(
                about,
                WARNING,
                "SelectingAll",
                "This daemon set is selecting all pods. A non-empty selector is required.",
            )
            return
        if metadata(ds).get("deletionTimestamp"):
            return
        fresh = self._written.is_fresh(key)
        if not self._revisions.written.is_fresh(key) or not fresh:
            self.queue.add_after(key, STALE_RETRY_SECONDS)
            if not fresh:
                await self._write_status(ds, await self._owned(ds), self._hash(ds))
            return
        try:
            revisions = await self._revisions.sync(key, ds)
        except history.Collision:
            status = {**(ds.get("status") or {})}
            status["collisionCount"] = int(status.get("collisionCount") or 0) + 1
            await self.client.update(DAEMONSETS, updated_status(ds, status), subresource="status")
            return
        digest = history.hash_of(revisions.current)
        owned = await self._owned(ds)
        nodes = list(self._nodes.cache)
        pods = p.by_node(owned)
        now = self.now()
        planned = p.plan_placement(ds, nodes, pods, digest, now)
        error = await self._apply(key, ds, planned, digest, about)
        if error is None and self._written.is_fresh(key):
            update = p.plan_update(ds, nodes, pods, digest, now)
            error = await self._apply(key, ds, update, digest, about)
            in_use = {labels_of(pod).get(history.HASH_LABEL, "") for pod in owned}
            limit = ds["spec"].get("revisionHistoryLimit")
            await self._revisions.delete(key, history.surplus(revisions.old, in_use, limit))
        await self._write_status(ds, owned, digest)
        if error is not None:
            raise error
        due = p.next_available_at(ds, owned, now)
        if due is not None:
            self.queue.add_after(key, due - now)

    def _hash(self, ds: Object) -> str:
        current = history.matching(ds, self._revisions.of(ds))
        return history.hash_of(current) if current is not None else ""

    async def _owned(self, ds: Object) -> list[Object]:
        return await claim_pods(
            self.client, self._pods.cache, DAEMONSETS, ds, ds["spec"].get("selector"), adopt_finished=True
        )

    async def _write_status(self, ds: Object, owned: list[Object], digest: str) -> None:
        status = p.plan_status(ds, list(self._nodes.cache), p.by_node(owned), digest, self.now())
        if status == (ds.get("status") or {}):
            return
        try:
            await self.client.update(DAEMONSETS, updated_status(ds, status), subresource="status")
        except errors.NotFound:
            return

    async def _apply(self, key: str, ds: Object, planned: p.Plan, digest: str, about: Object) -> errors.ApiError | None:
        deletions = [*planned.delete, *self._due(key, planned.finished, about)][:BURST]
        ref = new_controller_ref(ds, "apps/v1", "DaemonSet")

        async def create(node_name: str) -> None:
            try:
                created = await self.client.create(PODS, p.new_pod(ds, ref, node_name, digest), namespace_of(ds))
            except errors.ApiError as error:
                if is_namespace_terminating(error):
                    return
                self.events.event(about, WARNING, "FailedCreate", f"Error creating: {error.message}")
                raise
            self._written.wrote(key, created)
            self.events.event(about, NORMAL, "SuccessfulCreate", f"Created pod: {name_of(created)}")

        async def delete(pod: Object) -> None:
            try:
                await self.client.delete(PODS, name_of(pod), namespace_of(pod), uid=uid_of(pod))
            except (errors.NotFound, errors.Conflict):
                return
            except errors.ApiError as error:
                self.events.event(about, WARNING, "FailedDelete", f"Error deleting: {error.message}")
                raise
            self._written.deleted(key, pod)
            self.events.event(about, NORMAL, "SuccessfulDelete", f"Deleted pod: {name_of(pod)}")

        _, created_error = await slow_start(planned.create[:BURST], create)
        deleted_error = await all_at_once(deletions, delete)
        return created_error or deleted_error

    def _due(self, key: str, finished: list[Object], about: Object) -> list[Object]:
        """The finished pods that may be replaced now; the others bring the key back when their time has come."""
        now = self.now()
        due: list[Object] = []
        for pod in finished:
            node_name = podstate.node_name_of(pod)
            where = f"{namespace_of(pod)}/{name_of(pod)} on node {node_name}"
            if podstate.phase_of(pod) == "Succeeded":
                text = f"Found succeeded daemon pod {where}, will try to delete it"
                self.events.event(about, NORMAL, "SucceededDaemonPod", text)
                due.append(pod)
                continue
            entry = self._backoff.get((key, node_name))
            if entry is not None and now < entry.next_at:
                self.queue.add_after(key, entry.next_at - now)
                continue
            start, limit = _BACKOFF_SECONDS
            # A node that was quiet for twice the longest delay starts anew.
            forgiven = entry is None or now - entry.next_at > 2 * limit
            delay = start if forgiven or entry is None else min(entry.delay * 2, limit)
            self._backoff[(key, node_name)] = _Backoff(delay, now + delay)
            text = f"Found failed daemon pod {where}, will try to kill it"
            self.events.event(about, WARNING, "FailedDaemonPod", text)
            due.append(pod)
        return due


def _placement_traits(node: Object) -> object:
    """What placement depends on."""
    return labels_of(node), (node.get("spec") or {}).get("taints"), uid_of(node)
