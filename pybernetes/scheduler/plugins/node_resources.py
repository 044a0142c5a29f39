"""NodeResourcesFit and NodeResourcesBalancedAllocation: requests against what is allocatable. Limits and actual use
play no part."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pybernetes.api.pod_resources import non_zero_requests, pod_requests
from pybernetes.scheduler.framework import MAX_NODE_SCORE, Change, Cycle, Resolution, Scores, Verdict
from pybernetes.scheduler.nodes import CPU, MEMORY, PODS


class NodeResourcesFit:
    """Filters by free resources; scores the nodes with most left (LeastAllocated)."""

    name = "NodeResourcesFit"
    events = Change.NODE_ADD | Change.NODE_ALLOCATABLE | Change.POD_GONE | Change.POD_SPEC
    weight = 1.0

    def filter(self, cycle: Cycle) -> Verdict | None:
        table = cycle.table
        requests = table.vector({**pod_requests(cycle.pod), "pods": 1})
        asked = np.flatnonzero(requests)
        lacking = requests[asked] > table.allocatable[:, asked] - table.requested[:, asked]
        fits = np.logical_not(lacking.any(axis=1))
        names = list(table.resources)
        reasons = [
            ("Too many pods" if index == PODS else f"Insufficient {names[index]}", lacking[:, place])
            for place, index in enumerate(asked)
            if lacking[:, place].any()
        ]
        # No eviction helps a pod that asks for more than the whole node has.
        beyond = (requests[asked] > table.allocatable[:, asked])[table.active].any(axis=1)
        hopeless = bool(beyond.size) and bool(beyond.all())
        return Verdict(fits, reasons, Resolution.UNRESOLVABLE if hopeless else Resolution.UNSCHEDULABLE)

    def score(self, cycle: Cycle, candidates: NDArray[np.intp]) -> Scores | None:
        used, capacity = _usage(cycle, candidates)
        with np.errstate(divide="ignore", invalid="ignore"):
            free = np.where((capacity > 0) & (used <= capacity), (capacity - used) * MAX_NODE_SCORE / capacity, 0.0)
        return np.asarray(np.floor(free.mean(axis=1)))


class BalancedAllocation:
    """Prefers nodes where CPU and memory would be used to like degrees."""

    name = "NodeResourcesBalancedAllocation"
    events = Change(0)
    weight = 1.0

    def score(self, cycle: Cycle, candidates: NDArray[np.intp]) -> Scores | None:
        used, capacity = _usage(cycle, candidates)
        with np.errstate(divide="ignore", invalid="ignore"):
            fraction = np.where(capacity > 0, np.minimum(used / capacity, 1.0), 1.0)
        return np.asarray(np.floor((1.0 - fraction.std(axis=1)) * MAX_NODE_SCORE))


def _usage(cycle: Cycle, candidates: NDArray[np.intp]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """CPU and memory as they would be used with the pod there, and what is allocatable: arrays of [candidates, 2]."""
    table = cycle.table
    used = table.non_zero[candidates] + np.asarray(non_zero_requests(cycle.pod), dtype=float)
    return used, table.allocatable[candidates][:, [CPU, MEMORY]]
