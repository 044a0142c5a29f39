"""Which pods go first when there are too many. Pure.

Source of the order: upstream's ``ActivePodsWithRanks`` and the documentation of ReplicaSet ("Scaling down").
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Iterable, Sequence

from pybernetes.api.meta import Object, annotations_of, metadata, uid_of
from pybernetes.api.time import parse_time
from pybernetes.controllers import pods as podstate

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"

_PHASE_ORDER = {"Pending": 0, "Unknown": 1, "Running": 2}


def deletion_cost(pod: Object) -> int:
    """The pod's deletion cost annotation; 0 where it is missing or no number."""
    text = annotations_of(pod).get(DELETION_COST, "")
    try:
        return int(text)
    except ValueError:
        return 0


def _restarts(pod: Object) -> tuple[int, int]:
    """The most restarts of a container, then of a restartable init container."""
    status = pod.get("status") or {}
    sidecars = {
        c.get("name") for c in (pod.get("spec") or {}).get("initContainers") or () if c.get("restartPolicy") == "Always"
    }
    regular = max((int(s.get("restartCount", 0)) for s in status.get("containerStatuses") or ()), default=0)
    init = max(
        (int(s.get("restartCount", 0)) for s in status.get("initContainerStatuses") or () if s.get("name") in sidecars),
        default=0,
    )
    return regular, init


def _age_rank(at: float, now: float) -> int:
    """The order of magnitude (base 2) of an age in nanoseconds: pods of like age are picked by uid, so that
    scaling down does not always hit the newest."""
    age = (now - at) * 1e9
    return int(math.log2(age)) if age > 0 else -1


def _compare_times(a: float, b: float, now: float) -> int | None:
    """Negative where a's time (0: unknown) says it goes first, None where their ages are alike."""
    if not a or not b:
        # An unknown time counts as the newest.
        return -1 if not a else 1
    difference = _age_rank(a, now) - _age_rank(b, now)
    return difference or None


def _created(pod: Object) -> float:
    text = metadata(pod).get("creationTimestamp")
    return parse_time(text) if text else 0.0


def _by_uid(a: Object, b: Object) -> int:
    return -1 if uid_of(a) < uid_of(b) else 1


def rank_for_deletion(candidates: Sequence[Object], related: Iterable[Object], now: float) -> list[Object]:
    """`candidates` with those to delete first in front. `related` are the pods of all ReplicaSets of the same
    owner (the candidates among them): of pods alike, one whose node holds more of them goes first."""
    on_node = Counter(podstate.node_name_of(p) for p in related if podstate.is_active(p))

    def compare(a: Object, b: Object) -> int:
        for value in (
            lambda p: bool(podstate.node_name_of(p)),
            lambda p: _PHASE_ORDER.get(podstate.phase_of(p), 0),
            podstate.is_ready,
            deletion_cost,
            lambda p: -on_node[podstate.node_name_of(p)],
        ):
            if difference := int(value(a)) - int(value(b)):
                return difference
        ready_a, ready_b = podstate.ready_since(a), podstate.ready_since(b)
        if ready_a is not None and ready_b is not None and ready_a != ready_b:
            difference_or_none = _compare_times(ready_a, ready_b, now)
            return _by_uid(a, b) if difference_or_none is None else difference_or_none
        for more, fewer in zip(_restarts(a), _restarts(b), strict=True):
            if more != fewer:
                return fewer - more
        created_a, created_b = _created(a), _created(b)
        if created_a != created_b:
            difference_or_none = _compare_times(created_a, created_b, now)
            return _by_uid(a, b) if difference_or_none is None else difference_or_none
        return 0

    return sorted(candidates, key=functools.cmp_to_key(compare))
