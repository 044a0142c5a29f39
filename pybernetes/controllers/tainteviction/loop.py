"""Watches nodes and pods, and deletes pods when their tolerations of a NoExecute taint run out.

A pod's key waits in the queue's timers until it is due; it is judged anew when it fires, so a taint that went away
in between costs nothing but the look.
"""

from __future__ import annotations

from pybernetes.api import errors
from pybernetes.api.meta import Object, is_deleting, key_of, name_of, namespace_of, object_reference, uid_of
from pybernetes.api.resources import NODES, PODS
from pybernetes.client.events import NORMAL
from pybernetes.controllers import pods as podstate
from pybernetes.controllers.controller import Context, QueueController
from pybernetes.controllers.podgc.plan import disruption_patch
from pybernetes.controllers.tainteviction.plan import evict_at, no_execute_taints


class TaintEvictionController(QueueController):
    name = "tainteviction"
    workers = 8

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._nodes = self.watch(NODES)
        self._pods = self.watch(PODS)
        self._pods.cache.add_index(podstate.NODE_INDEX, podstate.by_node)
        self._scheduled: dict[str, float] = {}
        """When each pod that has to go was first seen so (epoch seconds)."""
        self._nodes.add_handler(self._on_node)
        self._pods.add_handler(self._on_pod)

    def _on_node(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            return
        if no_execute_taints(old) != no_execute_taints(new):
            for pod in self._pods.cache.by_index(podstate.NODE_INDEX, name_of(new)):
                self.queue.add(key_of(pod))

    def _on_pod(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            assert old is not None
            self._scheduled.pop(key_of(old), None)
            return
        node_name = podstate.node_name_of(new)
        if not node_name or not no_execute_taints(self._nodes.cache.get(node_name)):
            return
        if (
            old is None
            or podstate.node_name_of(old) != node_name
            or old["spec"].get("tolerations") != new["spec"].get("tolerations")
        ):
            self.queue.add(key_of(new))

    async def reconcile(self, key: str) -> None:
        pod = self._pods.cache.get(key)
        if pod is None or is_deleting(pod):
            self._scheduled.pop(key, None)
            return
        taints = no_execute_taints(self._nodes.cache.get(podstate.node_name_of(pod)))
        now = self.now()
        due = evict_at(pod, taints, now, self._scheduled.get(key, now))
        about = object_reference(pod, "v1", "Pod")
        if due is None:
            if self._scheduled.pop(key, None) is not None:
                self.events.event(about, NORMAL, "TaintManagerEviction", f"Cancelling deletion of Pod {key}")
            return
        if due > now:
            self._scheduled.setdefault(key, now)
            self.queue.add_after(key, due - now)
            return
        self.events.event(about, NORMAL, "TaintManagerEviction", f"Marking for deletion Pod {key}")
        patch = disruption_patch(pod, "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint", now)
        try:
            if patch["status"]:
                await self.client.patch(PODS, name_of(pod), patch, namespace_of(pod), subresource="status")
            await self.client.delete(PODS, name_of(pod), namespace_of(pod), uid=uid_of(pod))
        except errors.NotFound:
            pass
        self._scheduled.pop(key, None)
