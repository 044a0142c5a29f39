"""PodTopologySpread: spreads matching pods over topology domains, as required (Filter) and as preferred (Score).

A pod without constraints of its own that a Service, ReplicaSet or the like selects gets upstream's default ones
(host: 3, zone: 5, ScheduleAnyway); here they are taken from the pod's controller: its siblings share an owner.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pybernetes.api.meta import Object, controller_of, is_deleting, labels_of, namespace_of
from pybernetes.api.selectors import from_label_selector, from_set
from pybernetes.scheduler.framework import (
    MAX_NODE_SCORE,
    Change,
    Cycle,
    Mask,
    Resolution,
    Scores,
    Verdict,
)
from pybernetes.scheduler.plugins.taint_toleration import tolerates
from pybernetes.scheduler.selection import required_nodes

_REASON = "node(s) didn't match pod topology spread constraints"
_MISSING_LABEL = _REASON + " (missing required label)"
_DEFAULTS = (("kubernetes.io/hostname", 3), ("topology.kubernetes.io/zone", 5))


@dataclass(frozen=True, slots=True)
class _Constraint:
    key: str
    max_skew: int
    min_domains: int
    matches: Callable[[Object], bool]
    self_match: bool
    honor_affinity: bool
    honor_taints: bool


def _constraints(pod: Object, when: str) -> list[_Constraint]:
    found = []
    for c in pod["spec"].get("topologySpreadConstraints") or ():
        if c["whenUnsatisfiable"] != when:
            continue
        selector = from_label_selector(c.get("labelSelector"))
        extra = {k: labels_of(pod)[k] for k in c.get("matchLabelKeys") or () if k in labels_of(pod)}
        more = from_set(extra)

        def matches(other: Object, selector=selector, more=more) -> bool:  # type: ignore[no-untyped-def]
            return bool(selector.matches(labels_of(other)) and more.matches(labels_of(other)))

        found.append(
            _Constraint(
                c["topologyKey"],
                c["maxSkew"],
                c.get("minDomains") or 1,
                matches,
                matches(pod),
                (c.get("nodeAffinityPolicy") or "Honor") == "Honor",
                (c.get("nodeTaintsPolicy") or "Ignore") == "Honor",
            )
        )
    return found


def _default_constraints(pod: Object) -> list[_Constraint]:
    owner = controller_of(pod)
    if owner is None or pod["spec"].get("topologySpreadConstraints"):
        return []
    uid = owner["uid"]

    def is_sibling(other: Object) -> bool:
        ref = controller_of(other)
        return ref is not None and ref["uid"] == uid

    return [_Constraint(key, skew, 1, is_sibling, True, True, False) for key, skew in _DEFAULTS]


def _counts(cycle: Cycle, constraint: _Constraint, eligible: Mask) -> NDArray[np.float64]:
    """Matching pods a domain, indexed by the domain label's value id; -1 for a domain without an eligible node."""
    table, namespace = cycle.table, namespace_of(cycle.pod)
    column = table.label(constraint.key)
    counts = np.full(len(table.values) + 1, -1.0)
    counts[column[eligible & (column >= 0)]] = 0.0
    for assigned in table.pods.values():
        domain = column[assigned.row]
        if (
            domain >= 0
            and eligible[assigned.row]
            and namespace_of(assigned.pod) == namespace
            and not is_deleting(assigned.pod)
            and constraint.matches(assigned.pod)
        ):
            counts[domain] += 1
    return counts


def _eligible(cycle: Cycle, constraint: _Constraint) -> Mask:
    table, spec = cycle.table, cycle.pod["spec"]
    mask = required_nodes(table, spec) if constraint.honor_affinity else table.active.copy()
    if constraint.honor_taints:
        tolerations = spec.get("tolerations") or ()
        good = [
            all(t[2] == "PreferNoSchedule" or tolerates(tolerations, t) for t in taints) for taints in table.taint_sets
        ]
        mask &= np.array(good)[table.taint_set]
    return mask


class PodTopologySpread:
    name = "PodTopologySpread"
    events = (
        Change.NODE_ADD | Change.NODE_LABELS | Change.NODE_TAINTS | Change.POD_GONE | Change.POD_ASSIGNED
        | Change.POD_LABELS
    )  # fmt: skip
    weight = 2.0

    def filter(self, cycle: Cycle) -> Verdict | None:
        constraints = _constraints(cycle.pod, "DoNotSchedule")
        if not constraints:
            return None
        table = cycle.table
        fits = table.active.copy()
        missing = np.zeros(fits.shape, dtype=bool)
        for constraint in constraints:
            missing |= table.label(constraint.key) < 0
        for constraint in constraints:
            column = table.label(constraint.key)
            counts = _counts(cycle, constraint, _eligible(cycle, constraint) & ~missing)
            domains = counts[counts >= 0]
            least = domains.min() if domains.size >= constraint.min_domains else 0.0
            here = np.maximum(counts[np.maximum(column, 0)], 0.0)
            fits &= here + (1 if constraint.self_match else 0) - least <= constraint.max_skew
        fits &= ~missing
        return Verdict(fits, [(_MISSING_LABEL, missing), (_REASON, ~fits & ~missing)], Resolution.UNSCHEDULABLE)

    def score(self, cycle: Cycle, candidates: NDArray[np.intp]) -> Scores | None:
        constraints = _constraints(cycle.pod, "ScheduleAnyway") or _default_constraints(cycle.pod)
        table = cycle.table
        raw = np.zeros(len(candidates))
        used = False
        for constraint in constraints:
            column = table.label(constraint.key)[candidates]
            if (column < 0).all():
                continue
            used = True
            counts = _counts(cycle, constraint, _eligible(cycle, constraint))
            domains = int(np.count_nonzero(counts >= 0))
            here = np.where(column >= 0, np.maximum(counts[np.maximum(column, 0)], 0.0), counts.max())
            # Many small domains weigh as much as few large ones: upstream's log weight.
            raw += here * np.log(domains + 2) + (constraint.max_skew - 1)
        if not used:
            return None
        low, high = raw.min(), raw.max()
        if high == 0:
            return np.full(raw.shape, MAX_NODE_SCORE)
        return np.asarray(np.floor(MAX_NODE_SCORE * (high + low - raw) / high))
