"""TaintToleration: NoSchedule and NoExecute taints keep pods away that do not tolerate them; PreferNoSchedule taints
make a node a worse choice."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from pybernetes.api.meta import Object
from pybernetes.scheduler.framework import Change, Cycle, Resolution, Scores, Verdict, normalise

Taint = tuple[str, str, str]
"""(key, value, effect)."""


def tolerates(tolerations: Iterable[Object], taint: Taint) -> bool:
    """Whether any of the tolerations covers the taint."""
    key, value, effect = taint
    for toleration in tolerations:
        if toleration.get("effect") and toleration["effect"] != effect:
            continue
        if toleration.get("key") and toleration["key"] != key:
            continue
        operator = toleration.get("operator") or "Equal"
        if operator == "Exists" or (toleration.get("key") and (toleration.get("value") or "") == value):
            return True
    return False


class TaintToleration:
    name = "TaintToleration"
    events = Change.NODE_ADD | Change.NODE_TAINTS | Change.POD_SPEC
    weight = 3.0

    def filter(self, cycle: Cycle) -> Verdict | None:
        table = cycle.table
        tolerations = cycle.pod["spec"].get("tolerations") or ()
        # One look at each distinct taint list, however many nodes share it.
        untolerated = [
            next((t for t in taints if t[2] in ("NoSchedule", "NoExecute") and not tolerates(tolerations, t)), None)
            for taints in table.taint_sets
        ]
        if not any(untolerated):
            return None
        fits = np.array([t is None for t in untolerated])[table.taint_set]
        reasons: dict[str, NDArray[np.bool_]] = {}
        for index, taint in enumerate(untolerated):
            if taint is not None:
                text = f"node(s) had untolerated taint {{{taint[0]}: {taint[1]}}}"
                mask = table.taint_set == index
                reasons[text] = reasons[text] | mask if text in reasons else mask
        return Verdict(fits, list(reasons.items()), Resolution.UNRESOLVABLE)

    def score(self, cycle: Cycle, candidates: NDArray[np.intp]) -> Scores | None:
        table = cycle.table
        tolerations = cycle.pod["spec"].get("tolerations") or ()
        counts = np.array(
            [
                sum(1 for t in taints if t[2] == "PreferNoSchedule" and not tolerates(tolerations, t))
                for taints in table.taint_sets
            ],
            dtype=float,
        )
        if not counts.any():
            return None
        return normalise(counts[table.taint_set[candidates]], reverse=True)
