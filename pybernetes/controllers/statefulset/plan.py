"""What a StatefulSet needs done: in order, one at a time unless its policy is Parallel. Pure.

Source: upstream's ``pkg/controller/statefulset/stateful_set_control.go``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pybernetes.api.intstr import scaled_value
from pybernetes.api.meta import Object, is_deleting, labels_of, metadata, name_of
from pybernetes.controllers import pods as podstate
from pybernetes.controllers.history import HASH_LABEL
from pybernetes.controllers.statefulset import identity


@dataclass(frozen=True, slots=True)
class CreatePod:
    """Create the pod of an ordinal, and before it its claims."""

    ordinal: int
    revision: str


@dataclass(frozen=True, slots=True)
class DeletePod:
    pod: Object
    reason: str = ""
    """``RecreatingFailedPod`` or ``RecreatingTerminatedPod`` where it is to be made again."""


@dataclass(frozen=True, slots=True)
class EnsureClaims:
    """Create the missing claims of a pod that waits for them."""

    ordinal: int


@dataclass(frozen=True, slots=True)
class FixLabels:
    """Give a pod the labels of its identity back."""

    pod: Object
    labels: dict[str, str]


Action = CreatePod | DeletePod | EnsureClaims | FixLabels


@dataclass(frozen=True, slots=True)
class Plan:
    actions: tuple[Action, ...]
    status: Object
    condemned: tuple[Object, ...]
    """Pods beyond the wanted ordinals."""


def revision_of(pod: Object) -> str:
    return labels_of(pod).get(HASH_LABEL, "")


def min_ready_seconds(sts: Object) -> int:
    return int(sts["spec"].get("minReadySeconds") or 0)


def is_parallel(sts: Object) -> bool:
    return bool(sts["spec"].get("podManagementPolicy") == "Parallel")


def is_rolling_update(sts: Object) -> bool:
    return bool((sts["spec"].get("updateStrategy") or {}).get("type", "RollingUpdate") == "RollingUpdate")


def partition(sts: Object) -> int:
    rolling = (sts["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
    return int(rolling.get("partition") or 0)


def max_unavailable(sts: Object) -> int:
    """How many pods a rolling update may take at once; at least one."""
    rolling = (sts["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
    value = rolling.get("maxUnavailable")
    if value is None:
        return 1
    return max(1, scaled_value(value, identity.replicas(sts), round_up=True))


def is_running_and_ready(pod: Object) -> bool:
    return podstate.phase_of(pod) == "Running" and podstate.is_ready(pod)


class _Pass:
    """One look at one StatefulSet."""

    def __init__(self, sts: Object, pods: Sequence[Object], current: str, update: str, now: float) -> None:
        self.sts = sts
        self.now = now
        self.current = current
        self.update = update
        self.min_ready = min_ready_seconds(sts)
        self.first = identity.start_ordinal(sts)
        self.count = identity.replicas(sts)
        self.by_ordinal: dict[int, Object] = {}
        for pod in pods:
            ordinal = identity.ordinal_of(sts, pod)
            if ordinal is not None:
                self.by_ordinal[ordinal] = pod
        self.wanted = range(self.first, self.first + self.count)
        self.condemned = [self.by_ordinal[o] for o in sorted(self.by_ordinal, reverse=True) if o not in self.wanted]
        self.actions: list[Action] = []

    def is_available(self, pod: Object) -> bool:
        return is_running_and_ready(pod) and podstate.is_available(pod, self.min_ready, self.now)

    def is_healthy(self, pod: Object) -> bool:
        return self.is_available(pod) and not is_deleting(pod)

    def revision_for(self, ordinal: int) -> str:
        """The revision of which a missing pod is made."""
        if not is_rolling_update(self.sts):
            return self.update
        rolling = (self.sts["spec"].get("updateStrategy") or {}).get("rollingUpdate")
        if rolling is None:
            kept = int((self.sts.get("status") or {}).get("currentReplicas") or 0)
        else:
            kept = partition(self.sts)
        return self.current if ordinal < self.first + kept else self.update

    def run(self) -> None:
        """Collects the actions of this pass, stopping where the order says to wait."""
        monotonic = not is_parallel(self.sts)
        for ordinal in self.wanted:
            if self._replica(ordinal, monotonic):
                return
        unhealthy = next(
            (
                p
                for p in (*(self.by_ordinal.get(o) for o in self.wanted), *reversed(self.condemned))
                if p is not None and not self.is_healthy(p)
            ),
            None,
        )
        for pod in self.condemned:
            if self._condemned(pod, monotonic, unhealthy):
                return
        if is_rolling_update(self.sts):
            self._roll()

    def _replica(self, ordinal: int, monotonic: bool) -> bool:
        """Whether the pass ends here."""
        pod = self.by_ordinal.get(ordinal)
        if pod is None:
            self.actions.append(CreatePod(ordinal, self.revision_for(ordinal)))
            return monotonic
        if podstate.is_terminal(pod):
            if not is_deleting(pod):
                failed = podstate.phase_of(pod) == "Failed"
                self.actions.append(DeletePod(pod, "RecreatingFailedPod" if failed else "RecreatingTerminatedPod"))
            return monotonic
        if podstate.phase_of(pod) in ("", "Pending") and identity.claim_templates(self.sts):
            self.actions.append(EnsureClaims(ordinal))
        if monotonic and not self.is_healthy(pod):
            return True
        labels = identity.identity_labels(self.sts, ordinal)
        if not is_deleting(pod) and any(labels_of(pod).get(k) != v for k, v in labels.items()):
            self.actions.append(FixLabels(pod, labels))
        return False

    def _condemned(self, pod: Object, monotonic: bool, unhealthy: Object | None) -> bool:
        if is_deleting(pod):
            return monotonic
        if monotonic and not self.is_available(pod) and pod is not unhealthy:
            return True
        self.actions.append(DeletePod(pod))
        return monotonic

    def _roll(self) -> None:
        limit = max_unavailable(self.sts)
        lowest = self.first + partition(self.sts)
        if limit == 1:
            for ordinal in reversed(self.wanted):
                pod = self.by_ordinal.get(ordinal)
                if ordinal < lowest or pod is None:
                    return
                if revision_of(pod) != self.update and not is_deleting(pod):
                    self.actions.append(DeletePod(pod))
                    return
                if not self.is_healthy(pod):
                    return
            return
        present = [self.by_ordinal.get(o) for o in self.wanted]
        room = limit - sum(1 for p in present if p is None or not self.is_healthy(p))
        for ordinal in reversed(self.wanted):
            pod = self.by_ordinal.get(ordinal)
            if ordinal < lowest or room <= 0:
                return
            if pod is not None and revision_of(pod) != self.update and not is_deleting(pod):
                self.actions.append(DeletePod(pod))
                room -= 1

    def status(self) -> Object:
        pods = list(self.by_ordinal.values())
        # What this pass deletes counts no more: a pod that is gone at once is made anew from what the status says.
        doomed = {name_of(a.pod) for a in self.actions if isinstance(a, DeletePod)}
        alive = [p for p in pods if not is_deleting(p) and name_of(p) not in doomed]
        current = sum(1 for p in alive if revision_of(p) == self.current)
        updated = sum(1 for p in alive if revision_of(p) == self.update)
        ready = sum(1 for p in pods if is_running_and_ready(p))
        revision = self.current
        if is_rolling_update(self.sts) and updated == self.count == len(pods) == ready:
            # Rolled out: the update becomes the current revision.
            revision, current = self.update, updated
        old = self.sts.get("status") or {}
        optional = {
            "observedGeneration": metadata(self.sts).get("generation") or 0,
            "readyReplicas": ready,
            "currentReplicas": current,
            "updatedReplicas": updated,
            "currentRevision": revision,
            "updateRevision": self.update,
        }
        status: Object = {"replicas": len(pods), **{k: v for k, v in optional.items() if v}}
        status["availableReplicas"] = sum(1 for p in pods if self.is_available(p))
        # A pointer upstream: always there, also as 0.
        status["collisionCount"] = int(old.get("collisionCount") or 0)
        if old.get("conditions"):
            status["conditions"] = old["conditions"]
        return status


def plan(sts: Object, pods: Sequence[Object], current: str, update: str, now: float) -> Plan:
    """`pods` are the owned pods, `current` and `update` the names of the revisions."""
    one = _Pass(sts, pods, current, update, now)
    if not is_deleting(sts):
        one.run()
    return Plan(tuple(one.actions), one.status(), tuple(one.condemned))


def next_available_at(sts: Object, pods: Sequence[Object], now: float) -> float | None:
    """When the next ready pod becomes available only by time passing (epoch seconds); None if none will."""
    min_ready = min_ready_seconds(sts)
    if not min_ready:
        return None
    times = (podstate.available_at(p, min_ready) for p in pods)
    return min((t for t in times if t is not None and t > now), default=None)
