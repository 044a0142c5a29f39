"""InterPodAffinity: pods that want to be near, or away from, other pods; required (Filter) and preferred (Score)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pybernetes.api.meta import Object, labels_of, namespace_of
from pybernetes.api.selectors import LabelSelector, from_label_selector, from_set
from pybernetes.scheduler.framework import MAX_NODE_SCORE, Change, Cycle, Mask, Scores, Verdict

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_AFFINITY = "node(s) didn't match pod affinity rules"
_ANTI_AFFINITY = "node(s) didn't match pod anti-affinity rules"
_EXISTING = "node(s) didn't satisfy existing pods anti-affinity rules"

NamespaceLabels = Callable[[str], dict[str, str]]


@dataclass(frozen=True, slots=True)
class _Term:
    key: str
    selector: LabelSelector
    extra: LabelSelector
    namespaces: frozenset[str]
    namespace_selector: LabelSelector | None
    weight: float

    def matches(self, pod: Object, namespace_labels: NamespaceLabels) -> bool:
        namespace = namespace_of(pod)
        if namespace not in self.namespaces and (
            self.namespace_selector is None or not self.namespace_selector.matches(namespace_labels(namespace))
        ):
            return False
        labels = labels_of(pod)
        return self.selector.matches(labels) and self.extra.matches(labels)


def _terms(pod: Object, kind: str, when: str) -> list[_Term]:
    affinity = (pod["spec"].get("affinity") or {}).get(kind) or {}
    found = []
    for entry in affinity.get(when) or ():
        term, weight = (entry["podAffinityTerm"], entry["weight"]) if when == _PREFERRED else (entry, 1)
        namespaces = set(term.get("namespaces") or ())
        selector = term.get("namespaceSelector")
        if not namespaces and selector is None:
            namespaces = {namespace_of(pod)}
        keys = {k: labels_of(pod)[k] for k in term.get("matchLabelKeys") or () if k in labels_of(pod)}
        found.append(
            _Term(
                term["topologyKey"],
                from_label_selector(term.get("labelSelector")),
                from_set(keys),
                frozenset(namespaces),
                from_label_selector(selector) if selector is not None else None,
                float(weight),
            )
        )
    return found


class InterPodAffinity:
    name = "InterPodAffinity"
    events = Change.NODE_ADD | Change.NODE_LABELS | Change.POD_GONE | Change.POD_ASSIGNED | Change.POD_LABELS
    weight = 2.0

    def __init__(self, namespace_labels: NamespaceLabels) -> None:
        self._namespace_labels = namespace_labels

    def _near(self, cycle: Cycle, term: _Term) -> Mask:
        """Nodes in a domain that has a pod the term matches."""
        column = cycle.table.label(term.key)
        domains = {
            int(column[a.row])
            for a in cycle.table.pods.values()
            if column[a.row] >= 0 and term.matches(a.pod, self._namespace_labels)
        }
        return np.isin(column, list(domains))

    def filter(self, cycle: Cycle) -> Verdict | None:
        table, pod = cycle.table, cycle.pod
        reasons: list[tuple[str, Mask]] = []
        fits = table.active.copy()
        repelled = np.zeros(fits.shape, dtype=bool)
        for assigned in table.pods.values():
            if not assigned.pod["spec"].get("affinity"):
                continue
            for term in _terms(assigned.pod, "podAntiAffinity", _REQUIRED):
                column = table.label(term.key)
                if column[assigned.row] >= 0 and term.matches(pod, self._namespace_labels):
                    repelled |= column == column[assigned.row]
        wanted = _terms(pod, "podAffinity", _REQUIRED)
        if wanted:
            near = [self._near(cycle, term) for term in wanted]
            # The first pod of a group that wants its own kind near may go anywhere that has the topology.
            alone = not any(n.any() for n in near) and all(t.matches(pod, self._namespace_labels) for t in wanted)
            ok = table.active.copy()
            for term, mask in zip(wanted, near, strict=True):
                ok &= table.label(term.key) >= 0 if alone else mask
            reasons.append((_AFFINITY, ~ok))
            fits &= ok
        unwanted = np.zeros(fits.shape, dtype=bool)
        for term in _terms(pod, "podAntiAffinity", _REQUIRED):
            unwanted |= self._near(cycle, term)
        if unwanted.any():
            reasons.append((_ANTI_AFFINITY, unwanted & fits))
            fits &= ~unwanted
        if repelled.any():
            reasons.append((_EXISTING, repelled & fits))
            fits &= ~repelled
        return Verdict(fits, reasons) if reasons else None

    def score(self, cycle: Cycle, candidates: NDArray[np.intp]) -> Scores | None:
        table, pod = cycle.table, cycle.pod
        raw = np.zeros(len(table.rows))
        mine = [
            *((t, 1.0) for t in _terms(pod, "podAffinity", _PREFERRED)),
            *((t, -1.0) for t in _terms(pod, "podAntiAffinity", _PREFERRED)),
        ]
        for assigned in table.pods.values():
            for term, sign in mine:
                column = table.label(term.key)
                if column[assigned.row] >= 0 and term.matches(assigned.pod, self._namespace_labels):
                    raw += sign * term.weight * (column == column[assigned.row])
            if not assigned.pod["spec"].get("affinity"):
                continue
            theirs = [
                *((t, 1.0) for t in _terms(assigned.pod, "podAffinity", _PREFERRED)),
                *((t, -1.0) for t in _terms(assigned.pod, "podAntiAffinity", _PREFERRED)),
                *((t, 1.0) for t in _terms(assigned.pod, "podAffinity", _REQUIRED)),
            ]
            for term, sign in theirs:
                column = table.label(term.key)
                if column[assigned.row] >= 0 and term.matches(pod, self._namespace_labels):
                    raw += sign * term.weight * (column == column[assigned.row])
        scores = raw[candidates]
        low, high = scores.min(), scores.max()
        if low == high:
            return None
        return np.asarray(np.floor(MAX_NODE_SCORE * (scores - low) / (high - low)))
