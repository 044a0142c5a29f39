"""Watches nodes and their leases; writes Unknown conditions and taints.

A heartbeat costs one dictionary write. Each node has one timer: when it fires and heartbeats came in between, it is
set again for the rest. Nodes are tainted NoExecute at a limited rate by zone, and not at all while no node is ready.
"""

from __future__ import annotations

from pybernetes.api import errors
from pybernetes.api.meta import (
    Object,
    clone,
    get_condition,
    metadata,
    name_of,
    namespace_of,
    object_reference,
)
from pybernetes.api.resources import LEASES, NODES, PODS
from pybernetes.api.time import format_time
from pybernetes.client.events import NORMAL, WARNING
from pybernetes.client.interface import MERGE_PATCH
from pybernetes.controllers import pods as podstate
from pybernetes.controllers.controller import Context, QueueController, updated_status
from pybernetes.controllers.nodelifecycle import plan

LEASE_NAMESPACE = "kube-node-lease"


class NodeLifecycleController(QueueController):
    name = "nodelifecycle"
    workers = 8

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._nodes = self.watch(NODES)
        self._pods = self.watch(PODS)
        self._leases = self.watch(LEASES)
        self._pods.cache.add_index(podstate.NODE_INDEX, podstate.by_node)
        self._seen: dict[str, float] = {}
        self._next_eviction: dict[str, float] = {}
        self._down = False
        self._held: set[str] = set()
        self._nodes.add_handler(self._on_node)
        self._leases.add_handler(self._on_lease)

    def _on_node(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            assert old is not None
            name = name_of(old)
            self._seen.pop(name, None)
            self._event(old, NORMAL, "RemovingNode", f"Node {name} event: Removing Node {name} from Controller")
            return
        name = name_of(new)
        if old is None:
            self._event(new, NORMAL, "RegisteredNode", f"Node {name} event: Registered Node {name} in Controller")
        if _is_sign_of_life(old, new):
            self._seen[name] = self.now()
        if old is not None and plan.ready_status(old) != plan.ready_status(new):
            # A zone's state may have changed with it: look again at who waits for that.
            for held in self._held:
                self.queue.add(held)
            self._held.clear()
        if old is None or _matters(old) != _matters(new):
            self.queue.add(name)

    def _on_lease(self, old: Object | None, new: Object | None) -> None:
        if new is None or namespace_of(new) != LEASE_NAMESPACE:
            return
        before = ((old or {}).get("spec") or {}).get("renewTime")
        after = (new.get("spec") or {}).get("renewTime")
        if after and after != before:
            self._seen[name_of(new)] = self.now()

    def _event(self, node: Object, type_: str, reason: str, message: str) -> None:
        about = object_reference(node, "v1", "Node")
        self.events.event(about, NORMAL if type_ == NORMAL else WARNING, reason, message)

    async def reconcile(self, key: str) -> None:
        node = self._nodes.cache.get(key)
        if node is None:
            self._seen.pop(key, None)
            return
        now = self.now()
        config = self.context.config
        health = plan.plan_health(
            node, self._seen.get(key), now, config.node_monitor_grace_seconds, config.node_startup_grace_seconds
        )
        went_silent = False
        if health.conditions is not None:
            status = {**(node.get("status") or {}), "conditions": health.conditions}
            went_silent = plan.ready_status(node) == "True"
            try:
                node = await self.client.update(NODES, updated_status(node, status), subresource="status")
            except errors.NotFound:
                return
        await self._taint(key, node, now)
        if went_silent:
            self._event(node, NORMAL, "NodeNotReady", f"Node {key} status is now: NodeNotReady")
        if plan.ready_status(node) == "Unknown":
            await self._mark_pods_not_ready(key)
        self.queue.add_after(key, max(0.1, health.check_at - now))

    async def _taint(self, key: str, node: Object, now: float) -> None:
        evict = self._may_evict(key, node, now)
        taints = plan.plan_taints(node, now, evict=evict)
        labels = plan.plan_labels(node)
        if taints is None and not labels:
            return
        patch: Object = {"metadata": {"resourceVersion": metadata(node)["resourceVersion"]}}
        if labels:
            patch["metadata"]["labels"] = labels
        if taints is not None:
            patch["spec"] = {"taints": taints or None}
        try:
            await self.client.patch(NODES, key, patch, patch_type=MERGE_PATCH)
        except errors.NotFound:
            return
        if evict and plan.wants_new_eviction(node):
            rate = self.context.config.node_eviction_rate_per_second
            self._next_eviction[plan.zone_of(node)] = now + (1 / rate if rate else 0.0)

    def _may_evict(self, key: str, node: Object, now: float) -> bool | None:
        """For `plan_taints`: whether the NoExecute taint may come now. Rate-limited, the key comes back."""
        if plan.ready_status(node) == "True" and not self._down:
            return True
        states = plan.zone_disruptions(node if name_of(other) == key else other for other in self._nodes.cache)
        down = plan.is_cluster_down(states)
        if down != self._down:
            self._down = down
            for other in self._nodes.cache.all_keys():
                self.queue.add(other)
        if down:
            return False
        if not plan.wants_new_eviction(node):
            return True
        zone = plan.zone_of(node)
        state, size = states[zone]
        rate = plan.eviction_rate_per_second(state, size, self.context.config.node_eviction_rate_per_second)
        if not rate:
            self._held.add(key)
            return None
        due = self._next_eviction.get(zone, 0.0)
        if now < due:
            self.queue.add_after(key, due - now)
            return None
        return True

    async def _mark_pods_not_ready(self, key: str) -> None:
        """The pods of a silent node are no longer ready for anybody."""
        for pod in self._pods.cache.by_index(podstate.NODE_INDEX, key):
            if not podstate.is_ready(pod):
                continue
            status = clone(pod.get("status") or {})
            condition = get_condition({"status": status}, "Ready")
            assert condition is not None
            condition["status"] = "False"
            condition["lastTransitionTime"] = format_time(self.now())
            try:
                await self.client.update(PODS, updated_status(pod, status), subresource="status")
            except (errors.NotFound, errors.Conflict):
                # Gone, or written by somebody in between: the next look at this node judges it again.
                self.queue.add_after(key, 1.0)
                continue
            self.events.event(object_reference(pod, "v1", "Pod"), WARNING, "NodeNotReady", "Node is not ready")


def _is_sign_of_life(old: Object | None, new: Object) -> bool:
    if old is None:
        # The first look at a node gives it a full grace period, as it does after a restart.
        return bool(plan.ready_status(new))
    return plan.ready_status(new) != "Unknown" and _heartbeat(old) != _heartbeat(new)


def _heartbeat(node: Object | None) -> object:
    condition = get_condition(node, "Ready") if node is not None else None
    if condition is None:
        return None
    return condition.get("lastHeartbeatTime"), condition.get("status")


def _matters(node: Object) -> object:
    """What conditions, taints and labels are planned from."""
    conditions = [(c.get("type"), c.get("status")) for c in (node.get("status") or {}).get("conditions") or ()]
    spec = node.get("spec") or {}
    return conditions, spec.get("taints"), spec.get("unschedulable"), metadata(node).get("labels")
