"""Where one pod goes: a pure function of the pod, the node table and the profile."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np

from pybernetes.api.meta import Object
from pybernetes.scheduler.framework import Cycle, Fit, NoFit, Resolution
from pybernetes.scheduler.nodes import NodeTable
from pybernetes.scheduler.plugins.registry import Profile

NO_NODES = "no nodes available to schedule pods"


def decide(pod: Object, table: NodeTable, profile: Profile, rng: random.Random) -> Fit | NoFit:
    """The best node for the pod; of equally good ones any. Changes nothing."""
    if not len(table):
        return NoFit(NO_NODES, frozenset(p.name for p in profile.plugins))
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
    candidates = np.flatnonzero(fits)
    if not candidates.size:
        return NoFit(_message(table, reasons, int(helpless.sum())), frozenset(rejecting), dict(reasons))
    if candidates.size == 1:
        chosen = int(candidates[0])
    else:
        total = np.zeros(candidates.size)
        for scorer in profile.scores:
            scores = scorer.score(cycle, candidates)
            if scores is not None:
                total += scorer.weight * scores
        chosen = int(rng.choice(candidates[total == total.max()]))
    row = table.rows[chosen]
    assert row is not None, "a candidate is an active row"
    return Fit(row.name, chosen, int(candidates.size))


def _message(table: NodeTable, reasons: Counter[str], helpless: int) -> str:
    """Upstream's text: how many nodes, why not, and whether preemption would help."""
    total = len(table)
    parts = sorted(f"{count} {text}" for text, count in reasons.items())
    message = f"0/{total} nodes are available: {', '.join(parts)}."
    preemption = []
    if total > helpless:
        preemption.append(f"{total - helpless} No preemption victims found for incoming pod")
    if helpless:
        preemption.append(f"{helpless} Preemption is not helpful for scheduling")
    return f"{message} preemption: 0/{total} nodes are available: {', '.join(sorted(preemption))}."
