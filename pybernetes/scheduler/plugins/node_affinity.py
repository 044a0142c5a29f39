"""NodeAffinity: ``spec.nodeSelector`` and node affinity, required (Filter) and preferred (Score)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pybernetes.scheduler.framework import Change, Cycle, Resolution, Scores, Verdict, normalise
from pybernetes.scheduler.selection import match_term, required_nodes

_REASON = "node(s) didn't match Pod's node affinity/selector"


class NodeAffinity:
    name = "NodeAffinity"
    events = Change.NODE_ADD | Change.NODE_LABELS | Change.POD_SPEC
    weight = 2.0

    def filter(self, cycle: Cycle) -> Verdict | None:
        spec = cycle.pod["spec"]
        affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
        if not spec.get("nodeSelector") and not affinity.get("requiredDuringSchedulingIgnoredDuringExecution"):
            return None
        fits = required_nodes(cycle.table, spec)
        return Verdict(fits, [(_REASON, np.logical_not(fits))], Resolution.UNRESOLVABLE)

    def score(self, cycle: Cycle, candidates: NDArray[np.intp]) -> Scores | None:
        affinity = (cycle.pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
        preferred = affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        if not preferred:
            return None
        raw = np.zeros(len(candidates))
        for term in preferred:
            raw += term["weight"] * match_term(cycle.table, term["preference"])[candidates]
        return normalise(raw)
