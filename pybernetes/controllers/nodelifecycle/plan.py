"""What a node's conditions and taints should be. Pure.

Source: upstream's ``pkg/controller/nodelifecycle`` and the well-known taints of the documentation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from pybernetes.api.meta import Object, clone, get_condition, labels_of, metadata
from pybernetes.api.time import format_time, parse_time

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"

_TAINT_OF_CONDITION = {
    ("Ready", "False"): NOT_READY,
    ("Ready", "Unknown"): UNREACHABLE,
    ("MemoryPressure", "True"): "node.kubernetes.io/memory-pressure",
    ("DiskPressure", "True"): "node.kubernetes.io/disk-pressure",
    ("NetworkUnavailable", "True"): "node.kubernetes.io/network-unavailable",
    ("PIDPressure", "True"): "node.kubernetes.io/pid-pressure",
}
_OWN_NO_SCHEDULE = frozenset((*_TAINT_OF_CONDITION.values(), UNSCHEDULABLE))
_MONITORED = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
_LABEL_COPIES = {"kubernetes.io/os": "beta.kubernetes.io/os", "kubernetes.io/arch": "beta.kubernetes.io/arch"}

UNHEALTHY_ZONE_THRESHOLD = 0.55
LARGE_CLUSTER_NODES = 50
SECONDARY_EVICTION_RATE_PER_SECOND = 0.01


class Disruption(Enum):
    """How bad a zone is off: with how much haste its nodes lose their pods."""

    NORMAL = "Normal"
    PARTIAL = "PartialDisruption"
    FULL = "FullDisruption"


@dataclass(frozen=True, slots=True)
class Health:
    conditions: list[Object] | None
    """The conditions to write, None where they stay."""
    check_at: float
    """When silence has lasted too long (epoch seconds)."""


def ready_status(node: Object) -> str:
    """``True``, ``False``, ``Unknown``, or empty where the kubelet never said."""
    return str((get_condition(node, "Ready") or {}).get("status") or "")


def created_at(node: Object) -> float:
    text = metadata(node).get("creationTimestamp")
    return parse_time(text) if text else 0.0


def plan_health(node: Object, last_seen: float | None, now: float, grace: float, startup_grace: float) -> Health:
    """`last_seen` is when a heartbeat last came (None: never); times in epoch seconds, graces in seconds."""
    if last_seen is None or not ready_status(node):
        since = last_seen if last_seen is not None else created_at(node)
        due = since + startup_grace
    else:
        due = last_seen + grace
    if now < due:
        return Health(None, due)
    conditions: list[Object] = clone((node.get("status") or {}).get("conditions") or [])
    known = {c.get("type"): c for c in conditions}
    changed = False
    for type_ in _MONITORED:
        condition = known.get(type_)
        if condition is None:
            conditions.append(
                {
                    "type": type_,
                    "status": "Unknown",
                    "reason": "NodeStatusNeverUpdated",
                    "message": "Kubelet never posted node status.",
                    "lastHeartbeatTime": metadata(node).get("creationTimestamp"),
                    "lastTransitionTime": format_time(now),
                }
            )
            changed = True
        elif condition.get("status") != "Unknown":
            condition |= {
                "status": "Unknown",
                "reason": "NodeStatusUnknown",
                "message": "Kubelet stopped posting node status.",
                "lastTransitionTime": format_time(now),
            }
            changed = True
    return Health(conditions if changed else None, now + grace)


def no_execute_key(node: Object) -> str:
    """The NoExecute taint that the node's readiness calls for; empty for none."""
    return {"False": NOT_READY, "Unknown": UNREACHABLE}.get(ready_status(node), "")


def wants_new_eviction(node: Object) -> bool:
    """Whether the node would get a NoExecute taint while it has none of ours: what is rate-limited."""
    return bool(no_execute_key(node)) and not any(
        t.get("effect") == "NoExecute" and t.get("key") in (NOT_READY, UNREACHABLE) for t in taints_of(node)
    )


def taints_of(node: Object) -> Sequence[Object]:
    return (node.get("spec") or {}).get("taints") or ()


def plan_taints(node: Object, now: float, *, evict: bool | None) -> list[Object] | None:
    """The taints to write, None where they stay. `evict`: True allows the NoExecute taint, False takes it away,
    None leaves new ones for later."""
    wanted: list[tuple[str, str]] = []
    for condition in (node.get("status") or {}).get("conditions") or ():
        key = _TAINT_OF_CONDITION.get((condition.get("type"), condition.get("status")))
        if key:
            wanted.append((key, "NoSchedule"))
    if (node.get("spec") or {}).get("unschedulable"):
        wanted.append((UNSCHEDULABLE, "NoSchedule"))
    key = no_execute_key(node)
    if key and (evict or (evict is None and not wants_new_eviction(node))):
        wanted.append((key, "NoExecute"))
    taints = []
    for taint in taints_of(node):
        pair = (taint.get("key"), taint.get("effect"))
        ours = (pair[1] == "NoSchedule" and pair[0] in _OWN_NO_SCHEDULE) or (
            pair[1] == "NoExecute" and pair[0] in (NOT_READY, UNREACHABLE)
        )
        if not ours or pair in wanted:
            taints.append(taint)
    present = {(t.get("key"), t.get("effect")) for t in taints}
    added = [
        {"key": k, "effect": e, "timeAdded": format_time(now)}
        for k, e in dict.fromkeys(wanted)
        if (k, e) not in present
    ]
    result = [*taints, *added]
    return None if len(result) == len(taints_of(node)) and not added else result


def plan_labels(node: Object) -> dict[str, str]:
    """The labels to set: the beta names of operating system and architecture."""
    labels = labels_of(node)
    return {
        beta: labels[stable]
        for stable, beta in _LABEL_COPIES.items()
        if stable in labels and labels.get(beta) != labels[stable]
    }


def zone_of(node: Object) -> str:
    labels = labels_of(node)
    return f"{labels.get('topology.kubernetes.io/region', '')}:{labels.get('topology.kubernetes.io/zone', '')}"


def zone_disruptions(nodes: Iterable[Object]) -> dict[str, tuple[Disruption, int]]:
    """By zone: its state and its size."""
    counts: dict[str, list[int]] = {}
    for node in nodes:
        counts.setdefault(zone_of(node), [0, 0])[0 if ready_status(node) == "True" else 1] += 1
    states: dict[str, tuple[Disruption, int]] = {}
    for zone, (ready, not_ready) in counts.items():
        if not ready and not_ready:
            state = Disruption.FULL
        elif not_ready > 2 and not_ready / (ready + not_ready) >= UNHEALTHY_ZONE_THRESHOLD:
            state = Disruption.PARTIAL
        else:
            state = Disruption.NORMAL
        states[zone] = (state, ready + not_ready)
    return states


def is_cluster_down(states: dict[str, tuple[Disruption, int]]) -> bool:
    """Whether no node at all is ready. Then it is rather the control plane that is cut off: nothing is evicted."""
    return bool(states) and all(state is Disruption.FULL for state, _ in states.values())


def eviction_rate_per_second(state: Disruption, zone_size: int, normal_rate: float) -> float:
    """How many nodes of a zone may be tainted NoExecute in a second; 0 for none."""
    if state is Disruption.PARTIAL:
        return SECONDARY_EVICTION_RATE_PER_SECOND if zone_size > LARGE_CLUSTER_NODES else 0.0
    return normal_rate
