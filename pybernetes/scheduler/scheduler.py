"""The scheduler: watches pods and nodes, decides one pod at a time, binds in the background.

A decision is synchronous and assumed at once, so that the next pod sees it; the binding is a request and runs beside
the next decisions (bounded). A binding that fails takes the assumption back and the pod is tried again. Scheduling
happens once: a bound pod is never looked at again.

Where no node fits, pods of lower priority may have to go (`preemption`). Until they are gone, the room that they leave
is kept for the pod, by its nomination; a pod of higher priority may take it all the same.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, replace

import structlog
from prometheus_client import Counter, Histogram

from pybernetes.api import errors
from pybernetes.api.meta import (
    Object,
    get_condition,
    is_condition_true,
    is_deleting,
    key_of,
    labels_of,
    name_of,
    namespace_of,
    object_reference,
    uid_of,
)
from pybernetes.api.resources import NAMESPACES, NODES, PODDISRUPTIONBUDGETS, PODS
from pybernetes.api.time import format_time
from pybernetes.client.events import EventRecorder
from pybernetes.client.informer import Informers
from pybernetes.client.interface import Client
from pybernetes.lib.clock import Clock, SystemClock
from pybernetes.lib.tasks import TaskSet
from pybernetes.scheduler.decide import Nominee, decide
from pybernetes.scheduler.framework import Change, Fit, NoFit
from pybernetes.scheduler.nodes import NodeTable, is_terminal
from pybernetes.scheduler.plugins.registry import Profile, default_profile
from pybernetes.scheduler.preemption import NEVER, TERMINATING, Preemption, preempt, priority_of
from pybernetes.scheduler.queue import SchedulingQueue, Waiting

DEFAULT_SCHEDULER = "default-scheduler"
_BINDINGS_MAX = 64

log = structlog.get_logger(__name__)

_ATTEMPTS = Counter("scheduler_schedule_attempts", "Attempts to schedule pods, by result.", ["result"])
_DURATION = Histogram("scheduler_scheduling_algorithm_duration_seconds", "Time of one decision.")

GATED_REASON = "SchedulingGated"
GATED_MESSAGE = "Scheduling is blocked due to non-empty scheduling gates"


@dataclass(frozen=True, slots=True)
class SchedulerConfig:
    name: str = DEFAULT_SCHEDULER


class Scheduler:
    """Schedules the pods of one scheduler name. `run` until cancelled."""

    def __init__(
        self,
        client: Client,
        *,
        config: SchedulerConfig | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        profile: Profile | None = None,
    ) -> None:
        self._client = client
        self._config = config or SchedulerConfig()
        self._clock = clock or SystemClock()
        self._rng = rng or random.Random()
        self._informers = Informers(client)
        self._namespaces = self._informers.for_(NAMESPACES)
        self._profile = profile or default_profile(self._namespace_labels)
        self.table = NodeTable()
        self.queue = SchedulingQueue(self._clock, {p.name: p.events for p in self._profile.plugins})
        self._recorder = EventRecorder(client, self._config.name, clock=self._clock)
        self._tasks = TaskSet("scheduler")
        self._bindings = asyncio.Semaphore(_BINDINGS_MAX)
        # Decided, not yet seen as bound: the watch may still show the pod without its node.
        self._assumed: dict[str, str] = {}
        # Pods that room is made for, and where; and the pods that go for them.
        self._nominated: dict[str, Nominee] = {}
        self._victims: set[str] = set()
        self._budgets = self._informers.for_(PODDISRUPTIONBUDGETS)

    def _namespace_labels(self, name: str) -> dict[str, str]:
        namespace = self._namespaces.cache.get(name)
        return labels_of(namespace) if namespace is not None else {}

    async def run(self) -> None:
        nodes, pods = self._informers.for_(NODES), self._informers.for_(PODS)
        nodes.add_handler(self._node_changed)
        pods.add_handler(self._pod_changed)
        self._informers.start()
        self._tasks.start(self._recorder.run(), name="events")
        try:
            await self._informers.synced()
            log.info("scheduler started", nodes=len(self.table), waiting=len(self.queue))
            while True:
                waiting = await self.queue.pop()
                await self._bindings.acquire()
                try:
                    self._schedule(waiting)
                except Exception:  # a fault in a plugin must not end scheduling; the pod is tried again
                    self._bindings.release()
                    log.exception("scheduling failed", pod=key_of(waiting.pod))
                    self.queue.requeue(waiting, frozenset())
        finally:
            self.queue.close()
            await self._tasks.cancel()
            await self._informers.stop()

    # --- what the watches say ------------------------------------------------------------------------------------

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            self.queue.happened(self.table.put_node(new))
        elif old is not None:
            self.table.remove_node(name_of(old))

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            assert old is not None
            key = key_of(old)
            self.queue.remove(key)
            self._assumed.pop(key, None)
            self._victims.discard(key)
            if self.table.remove_pod(key) or self._nominated.pop(key, None) is not None:
                self.queue.happened(Change.POD_GONE)
            return
        key = key_of(new)
        if new["spec"].get("nodeName"):
            self.queue.remove(key)
            confirmed = self._assumed.pop(key, None)
            self._nominated.pop(key, None)
            if is_terminal(new):
                self._victims.discard(key)
                if self.table.remove_pod(key):
                    self.queue.happened(Change.POD_GONE)
                return
            known = self.table.is_counted(new)
            if not known or confirmed is not None or (old is not None and _asks(old) != _asks(new)):
                self.table.add_pod(new)
            elif is_deleting(new):
                self.table.pods[key].pod = new
            change = Change(0) if known and confirmed is None else Change.POD_ASSIGNED
            if old is not None and labels_of(old) != labels_of(new):
                change |= Change.POD_LABELS
            self.queue.happened(change)
        elif is_terminal(new) or is_deleting(new):
            self.queue.remove(key)
            if self._nominated.pop(key, None) is not None:
                self.queue.happened(Change.POD_GONE)
        elif (new["spec"].get("schedulerName") or DEFAULT_SCHEDULER) == self._config.name and key not in self._assumed:
            if new["spec"].get("schedulingGates"):
                self.queue.remove(key)
                self._tasks.start(self._gated(new), name="gated")
            else:
                if old is None and (node := (new.get("status") or {}).get("nominatedNodeName")):
                    self._nominated[key] = (new, node)
                self.queue.put(new)

    # --- one pod -------------------------------------------------------------------------------------------------

    def _schedule(self, waiting: Waiting) -> None:
        """Decides for one pod, and starts what follows. Holds a place of the bindings, which the task gives back."""
        pod = waiting.pod
        key = key_of(pod)
        nominees = self._ahead_of(pod) if self._nominated else []
        nominated = self._nominated[key][1] if key in self._nominated else ""
        with _DURATION.time():
            decision = decide(pod, self.table, self._profile, self._rng, nominees, nominated)
        if isinstance(decision, Fit):
            self._nominated.pop(key, None)
            self._assumed[key] = decision.node
            self.table.add_pod(pod, decision.node)
            _ATTEMPTS.labels("scheduled").inc()
            self._tasks.start(self._bind(waiting, decision), name="bind")
        else:
            _ATTEMPTS.labels("unschedulable").inc()
            decision, preemption = self._preempt(pod, decision, nominees, nominated)
            self.queue.requeue(waiting, decision.plugins)
            self._tasks.start(self._report(pod, decision, preemption), name="report")

    def _ahead_of(self, pod: Object) -> list[Nominee]:
        """The pods that evictions make room for and that go before this one."""
        mine, key = priority_of(pod), key_of(pod)
        return [n for k, n in self._nominated.items() if k != key and priority_of(n[0]) >= mine]

    def _preempt(
        self, pod: Object, no_fit: NoFit, nominees: list[Nominee], nominated: str
    ) -> tuple[NoFit, Preemption | None]:
        """Chooses who must go for the pod, and keeps the room for it from now on."""
        key = key_of(pod)
        if pod["spec"].get("preemptionPolicy") == "Never":
            return replace(no_fit, preemption=NEVER), None
        if nominated and self._room_is_being_made(pod, nominated):
            return replace(no_fit, preemption=TERMINATING), None
        found = preempt(pod, no_fit, self.table, self._profile, self._rng, nominees, self._budgets.cache)
        if found is None:
            if self._nominated.pop(key, None) is not None:
                self._tasks.start(self._forget_nomination(pod), name="nomination")
            return no_fit, None
        self._nominated[key] = (pod, found.node)
        self._victims.update(key_of(v) for v in found.victims)
        # Those of lower priority that wait for room on this node must look again.
        mine = priority_of(pod)
        for other, (waiting, node) in list(self._nominated.items()):
            if node == found.node and priority_of(waiting) < mine:
                del self._nominated[other]
                self._tasks.start(self._forget_nomination(waiting), name="nomination")
        return replace(no_fit, preemption=""), found

    def _room_is_being_made(self, pod: Object, node: str) -> bool:
        """Whether pods of lower priority are about to leave the node."""
        row = self.table.row_of(node)
        if row is None:
            return False
        mine = priority_of(pod)
        return any(
            priority_of(a.pod) < mine and (is_deleting(a.pod) or key_of(a.pod) in self._victims)
            for a in self.table.pods_on(row)
        )

    async def _bind(self, waiting: Waiting, fit: Fit) -> None:
        pod = waiting.pod
        key = key_of(pod)
        binding: Object = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name_of(pod), "namespace": namespace_of(pod), "uid": uid_of(pod)},
            "target": {"apiVersion": "v1", "kind": "Node", "name": fit.node},
        }
        about = object_reference(pod, "v1", "Pod")
        try:
            await self._client.create(PODS, binding, namespace_of(pod), name=name_of(pod), subresource="binding")
        except errors.ApiError as error:
            if self._assumed.pop(key, None) is not None:
                self.table.remove_pod(key)
            if isinstance(error, errors.NotFound):
                self.queue.remove(key)
                return
            log.warning("binding failed", pod=key, node=fit.node, error=error.message)
            self._recorder.event(about, "Warning", "FailedScheduling", f"binding rejected: {error.message}")
            self.queue.requeue(waiting, frozenset())
            # What this pod no longer takes is free for others.
            self.queue.happened(Change.POD_GONE)
        else:
            self.queue.remove(key)
            self._recorder.event(
                about, "Normal", "Scheduled", f"Successfully assigned {key} to {fit.node}", action="Binding"
            )
        finally:
            self._bindings.release()

    async def _report(self, pod: Object, no_fit: NoFit, preemption: Preemption | None) -> None:
        try:
            about = object_reference(pod, "v1", "Pod")
            self._recorder.event(about, "Warning", "FailedScheduling", no_fit.message, action="Scheduling")
            if preemption is None:
                await self._set_condition(pod, "Unschedulable", no_fit.message)
                return
            # Said first: a scheduler that takes over must know whom the room is for.
            await self._set_condition(pod, "Unschedulable", no_fit.message, nominated=preemption.node)
            await asyncio.gather(*(self._evict(v, pod, preemption.node) for v in preemption.victims))
        finally:
            self._bindings.release()

    async def _evict(self, victim: Object, pod: Object, node: str) -> None:
        """Deletes a victim, with the reason in its status. If that fails, the pod is tried again at the next event."""
        condition: Object = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "PreemptionByScheduler",
            "message": f"{self._config.name}: preempting to accommodate a higher priority pod",
            "lastTransitionTime": format_time(self._clock.now()),
        }
        name, namespace = name_of(victim), namespace_of(victim)
        try:
            if not is_condition_true(victim, "DisruptionTarget"):
                await self._client.patch(
                    PODS, name, {"metadata": {"uid": uid_of(victim)}, "status": {"conditions": [condition]}},
                    namespace, subresource="status",
                )  # fmt: skip
            if not is_deleting(victim):
                await self._client.delete(PODS, name, namespace, uid=uid_of(victim))
        except errors.ApiError as error:
            self._victims.discard(key_of(victim))
            if not isinstance(error, (errors.NotFound, errors.Conflict)):
                log.warning("eviction failed", pod=key_of(victim), error=error.message)
            self.queue.happened(Change.POD_GONE)
        else:
            self._recorder.event(
                object_reference(victim, "v1", "Pod"),
                "Normal", "Preempted", f"Preempted by pod {uid_of(pod)} on node {node}", action="Preempting",
            )  # fmt: skip

    async def _forget_nomination(self, pod: Object) -> None:
        patch = {"metadata": {"uid": uid_of(pod)}, "status": {"nominatedNodeName": None}}
        try:
            await self._client.patch(PODS, name_of(pod), patch, namespace_of(pod), subresource="status")
        except errors.ApiError as error:
            log.debug("nomination not taken back", pod=key_of(pod), error=error.message)

    async def _gated(self, pod: Object) -> None:
        await self._set_condition(pod, GATED_REASON, GATED_MESSAGE)

    async def _set_condition(self, pod: Object, reason: str, message: str, *, nominated: str = "") -> None:
        """Writes PodScheduled=False, and the node that is nominated, where it does not say so already."""
        old = get_condition(pod, "PodScheduled") or {}
        said = (old.get("status"), old.get("reason"), old.get("message")) == ("False", reason, message)
        if said and nominated in ("", (pod.get("status") or {}).get("nominatedNodeName")):
            return
        now = format_time(self._clock.now())
        condition: Object = {
            "type": "PodScheduled",
            "status": "False",
            "reason": reason,
            "message": message,
            "lastProbeTime": None,
            "lastTransitionTime": old.get("lastTransitionTime", now) if old.get("status") == "False" else now,
        }
        status: Object = {"conditions": [condition]}
        if nominated:
            status["nominatedNodeName"] = nominated
        try:
            await self._client.patch(PODS, name_of(pod), {"status": status}, namespace_of(pod), subresource="status")
        except errors.NotFound:
            log.debug("pod gone before its condition was written", pod=key_of(pod))
        except errors.ApiError as error:
            log.warning("condition not written", pod=key_of(pod), error=error.message)


def _asks(pod: Object) -> list[object]:
    """What of a bound pod changes the room it takes (in-place resize)."""
    spec = pod["spec"]
    return [spec.get("resources"), *(c.get("resources") for c in spec["containers"])]
