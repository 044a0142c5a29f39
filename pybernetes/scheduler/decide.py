"""Where one pod goes: a pure function of the pod, the node table and the profile."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pybernetes.api.meta import Object
from pybernetes.scheduler.framework import Cycle, Fit, Mask, NoFit, Resolution
from pybernetes.scheduler.nodes import NodeTable
from pybernetes.scheduler.plugins.registry import Profile

NO_NODES = "no nodes available to schedule pods"
NO_VICTIMS = "No preemption victims found for incoming pod"
NOT_HELPFUL = "Preemption is not helpful for scheduling"

Nominee = tuple[Object, str]
"""A pod that evictions make room for, and the node where."""


@dataclass(frozen=True, slots=True)
class Feasibility:
    """What the filters say of all nodes."""

    cycle: Cycle
    fits: Mask
    reasons: Counter[str]
    rejecting: frozenset[str]
    helpless: Mask
    """Nodes that no eviction could make fit."""


def feasible(pod: Object, table: NodeTable, profile: Profile) -> Feasibility:
    cycle = Cycle(pod, table)
    fits = table.active.copy()
    reasons: Counter[str] = Counter()
    rejecting: set[str] = set()
    helpless = np.zeros(fits.shape, dtype=bool)
    for plugin in profile.filters:
        verdict = plugin.filter(cycle)
        if verdict is None:
            continue
        # As upstream, a node is refused by the first filter that does not take it, with that filter's reasons.
        refused = fits & ~verdict.fits
        if refused.any():
            rejecting.add(plugin.name)
            for text, mask in verdict.reasons:
                if count := int(np.count_nonzero(mask & refused)):
                    reasons[text] += count
            if verdict.resolution is Resolution.UNRESOLVABLE:
                helpless |= refused
            fits &= verdict.fits
    return Feasibility(cycle, fits, reasons, frozenset(rejecting), helpless)


def decide(
    pod: Object,
    table: NodeTable,
    profile: Profile,
    rng: random.Random,
    nominees: Sequence[Nominee] = (),
    nominated: str = "",
) -> Fit | NoFit:
    """The best node for the pod; of equally good ones any. `nominees` are the pods that evictions make room for and
    that go first; `nominated` is the node where room is made for this pod, which it takes if it fits. Changes nothing.
    """
    if not len(table):
        return NoFit(NO_NODES, frozenset(p.name for p in profile.plugins))
    found = feasible(pod, table, profile)
    fits = found.fits
    if nominees and fits.any():
        # It must fit beside them, and without them too: they may never come.
        with table.assuming(nominees):
            beside = feasible(pod, table, profile)
        fits = fits & beside.fits
        if not fits.any():
            found = replace(beside, rejecting=found.rejecting | beside.rejecting)
    candidates = np.flatnonzero(fits)
    if not candidates.size:
        return _no_fit(table, found)
    row_nominated = table.row_of(nominated) if nominated else None
    if row_nominated is not None and fits[row_nominated]:
        chosen = row_nominated
    elif candidates.size == 1:
        chosen = int(candidates[0])
    else:
        total = np.zeros(candidates.size)
        for scorer in profile.scores:
            scores = scorer.score(found.cycle, candidates)
            if scores is not None:
                total += scorer.weight * scores
        chosen = int(rng.choice(candidates[total == total.max()]))
    row = table.rows[chosen]
    assert row is not None, "a candidate is an active row"
    return Fit(row.name, chosen, int(candidates.size))


def _no_fit(table: NodeTable, found: Feasibility) -> NoFit:
    """Upstream's text: how many nodes, why not, and whether preemption would help."""
    total, helpless = len(table), int(found.helpless.sum())
    parts = sorted(f"{count} {text}" for text, count in found.reasons.items())
    preemption = []
    if total > helpless:
        preemption.append(f"{total - helpless} {NO_VICTIMS}")
    if helpless:
        preemption.append(f"{helpless} {NOT_HELPFUL}")
    available = f"0/{total} nodes are available: "
    return NoFit(
        f"{available}{', '.join(parts)}.",
        found.rejecting,
        dict(found.reasons),
        tuple(int(i) for i in np.flatnonzero(table.active & ~found.helpless)),
        f"{available}{', '.join(sorted(preemption))}.",
    )
