"""When a pod has to leave its node. Pure. Source: upstream's ``pkg/controller/tainteviction``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pybernetes.api.meta import Object, metadata
from pybernetes.api.time import parse_time


def tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    """Whether a toleration of a pod matches a taint."""
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("key") and toleration["key"] != taint.get("key"):
        return False
    operator = toleration.get("operator") or "Equal"
    if operator == "Exists":
        return True
    return bool(toleration.get("key")) and (toleration.get("value") or "") == (taint.get("value") or "")


def no_execute_taints(node: Object | None) -> list[Object]:
    return [t for t in ((node or {}).get("spec") or {}).get("taints") or () if t.get("effect") == "NoExecute"]


def _placed_at(pod: Object) -> float:
    """When the pod came to its node, as far as it says so."""
    started = (pod.get("status") or {}).get("startTime") or metadata(pod).get("creationTimestamp")
    return parse_time(started) if started else 0.0


def evict_at(pod: Object, taints: Sequence[Object], now: float, since: float) -> float | None:
    """When the pod must go (epoch seconds, `now` or before for at once), None where it may stay for ever.

    A toleration's seconds count from when the taint met the pod: from the later of the taint's timeAdded and the
    pod's start, so that a restart of the controller does not start them anew. A taint that does not say when it was
    added (those that people set do not) counts from `since`, when the pod was first seen to be under a taint.
    """
    due = math.inf
    tolerations = (pod.get("spec") or {}).get("tolerations") or ()
    for taint in taints:
        matching = [t for t in tolerations if tolerates(t, taint)]
        if not matching:
            return now
        seconds = [int(t["tolerationSeconds"]) for t in matching if t.get("tolerationSeconds") is not None]
        if not seconds:
            continue
        added = parse_time(taint["timeAdded"]) if taint.get("timeAdded") else since
        start = max(added, _placed_at(pod))
        due = min(due, now if min(seconds) <= 0 else start + min(seconds))
    return None if due == math.inf else due
