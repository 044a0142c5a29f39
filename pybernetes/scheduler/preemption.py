"""Preemption: which pods must go from which node, so that a pod of higher priority fits. Pure: the table is the same
after as before.

On each node that evictions could help, all pods of lower priority are set aside; if the pod then fits, as many of
them as can stay are put back, the most important first, and those whose disruption budget would be violated before
all others. Of the nodes that remain, the one that loses least is taken, by upstream's order of criteria.
Source: "Pod Priority and Preemption" in the Kubernetes documentation.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from pybernetes.api.meta import Object, key_of, labels_of, name_of, namespace_of
from pybernetes.api.selectors import from_label_selector
from pybernetes.api.time import parse_time
from pybernetes.scheduler.decide import Nominee, feasible
from pybernetes.scheduler.framework import Change, NoFit
from pybernetes.scheduler.nodes import NodeTable
from pybernetes.scheduler.plugins.registry import Profile

CANDIDATES_MAX = 32
"""Nodes that are tried out for one pod, each by itself. Upstream takes a hundred at least, on many threads."""
WIDE_CANDIDATES_MAX = 4
"""The same where what happens on a node depends on pods elsewhere, so that all nodes are looked at each time."""

NEVER = "not eligible due to preemptionPolicy=Never."
TERMINATING = "not eligible due to a terminating pod on the nominated node."


@dataclass(frozen=True, slots=True)
class Preemption:
    """The pod is to go to `node` once the victims are gone."""

    node: str
    victims: tuple[Object, ...]


@dataclass(frozen=True, slots=True)
class _Candidate:
    node: str
    victims: tuple[Object, ...]
    violations: int

    @property
    def cost(self) -> tuple[float, ...]:
        """Less is better: violated budgets, the highest priority that goes, their sum, their number; then the node
        whose most important victim started last."""
        highest = max(priority_of(v) for v in self.victims)
        # The offset makes every priority positive, so that a victim more never makes the sum less.
        total = sum(priority_of(v) + 2**31 for v in self.victims)
        started = min(_started(v) for v in self.victims if priority_of(v) == highest)
        return (self.violations, highest, total, len(self.victims), -started)


def priority_of(pod: Object) -> int:
    return int(pod["spec"].get("priority") or 0)


def _started(pod: Object) -> float:
    time = (pod.get("status") or {}).get("startTime")
    return parse_time(time) if time else float("inf")


def preempt(
    pod: Object,
    no_fit: NoFit,
    table: NodeTable,
    profile: Profile,
    rng: random.Random,
    nominees: Sequence[Nominee] = (),
    budgets: Iterable[Object] = (),
) -> Preemption | None:
    """Who must go for the pod, or None where no eviction helps. `nominees` go before it and are reckoned with."""
    mine = priority_of(pod)
    rows = [r for r in no_fit.potential if any(priority_of(a.pod) < mine for a in table.pods_on(r))]
    wide = _depends_on_elsewhere(pod, table)
    rows_max = WIDE_CANDIDATES_MAX if wide else CANDIDATES_MAX
    if len(rows) > rows_max:
        rows = rng.sample(rows, rows_max)
    budgets = list(budgets)
    found = []
    with table.assuming(nominees):
        for row in rows:
            candidate = (
                _candidate(pod, row, table, profile, budgets)
                if wide
                else _candidate(pod, 0, table.only(row), profile, budgets)
            )
            if candidate is not None:
                found.append(candidate)
    if not found:
        return None
    best = min(found, key=lambda c: c.cost)
    return Preemption(best.node, best.victims)


def _depends_on_elsewhere(pod: Object, table: NodeTable) -> bool:
    """Whether pods on other nodes say where this one may go."""
    affinity = pod["spec"].get("affinity") or {}
    return bool(
        pod["spec"].get("topologySpreadConstraints")
        or affinity.get("podAffinity")
        or affinity.get("podAntiAffinity")
        or any((a.pod["spec"].get("affinity") or {}).get("podAntiAffinity") for a in table.pods.values())
    )


def _candidate(
    pod: Object, row: int, table: NodeTable, profile: Profile, budgets: Sequence[Object]
) -> _Candidate | None:
    mine = priority_of(pod)
    node = table.rows[row]
    assert node is not None, "a potential node is an active row"
    lower = sorted(
        (a.pod for a in table.pods_on(row) if priority_of(a.pod) < mine),
        key=lambda p: (-priority_of(p), _started(p), key_of(p)),
    )
    protected, others = _by_budget(lower, budgets)
    # A pod that is put back changes nothing for the filters that look at the node alone.
    of_pods = replace(profile, filters=[f for f in profile.filters if f.events & Change.POD_GONE])
    victims: list[Object] = []
    violations = 0
    with table.without(row, [key_of(p) for p in lower]) as put_back:
        if not feasible(pod, table, profile).fits[row]:
            return None
        for group in (protected, others):
            for victim in group:
                put_back(key_of(victim))
                if not feasible(pod, table, of_pods).fits[row]:
                    table.remove_pod(key_of(victim))
                    victims.append(victim)
                    violations += group is protected
    return _Candidate(node.name, tuple(victims), violations) if victims else None


def _by_budget(pods: Sequence[Object], budgets: Sequence[Object]) -> tuple[list[Object], list[Object]]:
    """The pods whose eviction would violate a disruption budget, if all were evicted in this order; and the others."""
    left = {id(b): int((b.get("status") or {}).get("disruptionsAllowed") or 0) for b in budgets}
    protected: list[Object] = []
    others: list[Object] = []
    for pod in pods:
        violates = False
        for budget in budgets:
            selector = (budget.get("spec") or {}).get("selector")
            if namespace_of(budget) != namespace_of(pod) or selector is None:
                continue
            if not from_label_selector(selector).matches(labels_of(pod)):
                continue
            if name_of(pod) in ((budget.get("status") or {}).get("disruptedPods") or {}):
                continue  # Reckoned with already.
            left[id(budget)] -= 1
            violates |= left[id(budget)] < 0
        (protected if violates else others).append(pod)
    return protected, others
