"""Which pods nobody else will clean up, and how they are marked. Pure.

Source: upstream's ``pkg/controller/podgc``.
"""

from __future__ import annotations

from collections.abc import Sequence

from pybernetes.api.meta import Object, get_condition, is_deleting, metadata, uid_of
from pybernetes.api.time import format_time
from pybernetes.controllers import pods as podstate
from pybernetes.controllers.nodelifecycle.plan import OUT_OF_SERVICE, ready_status, taints_of

QUARANTINE_SECONDS = 40.0
"""How long a node must be gone before its pods are given up: it may be registered anew."""


def disruption_condition(reason: str, message: str, now: float) -> Object:
    return {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": reason,
        "message": message,
        "lastProbeTime": None,
        "lastTransitionTime": format_time(now),
    }


def disruption_patch(pod: Object, reason: str, message: str, now: float, *, fail: bool = False) -> Object:
    """A strategic merge patch of the status: the condition DisruptionTarget and, with `fail`, the phase Failed."""
    status: Object = {}
    if reason and (get_condition(pod, "DisruptionTarget") or {}).get("reason") != reason:
        status["conditions"] = [disruption_condition(reason, message, now)]
    if fail and not podstate.is_terminal(pod):
        status["phase"] = "Failed"
    return {"metadata": {"uid": uid_of(pod)}, "status": status}


def surplus_terminated(terminated: Sequence[Object], threshold: int) -> list[Object]:
    """The finished pods beyond the threshold: evicted ones first, then the oldest. A threshold of 0 keeps all."""
    count = len(terminated) - threshold
    if threshold <= 0 or count <= 0:
        return []

    def order(pod: Object) -> tuple[bool, str]:
        evicted = (pod.get("status") or {}).get("reason") == "Evicted"
        return not evicted, str(metadata(pod).get("creationTimestamp") or "")

    return sorted(terminated, key=order)[:count]


def is_unscheduled_and_leaving(pod: Object) -> bool:
    return is_deleting(pod) and not podstate.node_name_of(pod)


def is_out_of_service(pod: Object, node: Object | None) -> bool:
    """Whether the pod waits for the kubelet of a node that was declared out of service."""
    return (
        node is not None
        and is_deleting(pod)
        and ready_status(node) != "True"
        and any(t.get("key") == OUT_OF_SERVICE for t in taints_of(node))
    )
