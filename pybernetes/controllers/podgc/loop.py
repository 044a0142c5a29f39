"""Watches pods and nodes, and deletes what nobody else will: pods of nodes that are gone, finished pods beyond the
threshold, pods that leave without ever having been placed, pods on nodes declared out of service.

Driven by events; the only timers are quarantines of pods whose node is gone.
"""

from __future__ import annotations

from pybernetes.api import errors
from pybernetes.api.meta import Object, key_of, name_of, namespace_of, uid_of
from pybernetes.api.resources import NODES, PODS
from pybernetes.controllers import pods as podstate
from pybernetes.controllers.controller import Context, QueueController
from pybernetes.controllers.nodelifecycle.plan import taints_of
from pybernetes.controllers.podgc import plan

TERMINATED_INDEX = "controllers/terminated"
_TERMINATED = "terminated pods"
"""A key that is no pod's: look at the number of finished pods."""


def by_terminated(pod: Object) -> list[str]:
    return ["yes"] if podstate.is_terminal(pod) else []


class PodGCController(QueueController):
    name = "podgc"
    workers = 4

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._pods = self.watch(PODS)
        self._nodes = self.watch(NODES)
        self._pods.cache.add_index(podstate.NODE_INDEX, podstate.by_node)
        self._pods.cache.add_index(TERMINATED_INDEX, by_terminated)
        self._gone_since: dict[str, float] = {}
        self._terminated = 0
        self._pods.add_handler(self._on_pod)
        self._nodes.add_handler(self._on_node)

    def _on_pod(self, old: Object | None, new: Object | None) -> None:
        was = old is not None and podstate.is_terminal(old)
        is_ = new is not None and podstate.is_terminal(new)
        self._terminated += is_ - was
        threshold = self.context.config.terminated_pod_gc_threshold
        if is_ and not was and self._terminated > threshold > 0:
            self.queue.add(_TERMINATED)
        if new is None:
            return
        node_name = podstate.node_name_of(new)
        if plan.is_unscheduled_and_leaving(new):
            self.queue.add(key_of(new))
        elif node_name:
            node = self._nodes.cache.get(node_name)
            if node is None or plan.is_out_of_service(new, node):
                self.queue.add(key_of(new))

    def _on_node(self, old: Object | None, new: Object | None) -> None:
        name = name_of(new or old or {})
        if new is None:
            self._gone_since[name] = self.now()
        else:
            self._gone_since.pop(name, None)
        if new is None or taints_of(new) != taints_of(old or {}):
            for pod in self._pods.cache.by_index(podstate.NODE_INDEX, name):
                if new is None or plan.is_out_of_service(pod, new):
                    self.queue.add(key_of(pod))
        if new is None and not self._pods.cache.by_index(podstate.NODE_INDEX, name):
            self._gone_since.pop(name, None)

    async def reconcile(self, key: str) -> None:
        if key == _TERMINATED:
            finished = self._pods.cache.by_index(TERMINATED_INDEX, "yes")
            for surplus in plan.surplus_terminated(finished, self.context.config.terminated_pod_gc_threshold):
                await self._delete(surplus, "", "")
            return
        pod = self._pods.cache.get(key)
        if pod is None:
            return
        if plan.is_unscheduled_and_leaving(pod):
            await self._delete(pod, "", "")
            return
        node_name = podstate.node_name_of(pod)
        node = self._nodes.cache.get(node_name)
        if plan.is_out_of_service(pod, node):
            await self._delete(pod, "DeletionByPodGC", "PodGC: node is out of service")
        elif node is None and node_name:
            await self._collect_orphan(key, pod, node_name)

    async def _collect_orphan(self, key: str, pod: Object, node_name: str) -> None:
        now = self.now()
        due = self._gone_since.setdefault(node_name, now) + plan.QUARANTINE_SECONDS
        if now < due:
            self.queue.add_after(key, due - now)
            return
        try:
            await self.client.get(NODES, node_name)
        except errors.NotFound:
            await self._delete(pod, "DeletionByPodGC", "PodGC: node no longer exists")
            left = self._pods.cache.by_index(podstate.NODE_INDEX, node_name)
            if all(key_of(p) == key for p in left):
                self._gone_since.pop(node_name, None)

    async def _delete(self, pod: Object, reason: str, message: str) -> None:
        """Marks the pod failed, for whoever counts on that, and removes it without waiting for a kubelet."""
        patch = plan.disruption_patch(pod, reason, message, self.now(), fail=True)
        try:
            if patch["status"]:
                await self.client.patch(PODS, name_of(pod), patch, namespace_of(pod), subresource="status")
            await self.client.delete(PODS, name_of(pod), namespace_of(pod), grace_period_seconds=0, uid=uid_of(pod))
        except errors.NotFound:
            return
