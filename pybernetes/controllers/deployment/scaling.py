"""How many pods each ReplicaSet of a Deployment may have. Pure arithmetic over (size, availability).

Rolling is safe by two bounds: the sum of sizes stays at most replicas + maxSurge, and nothing is taken away that
would leave fewer than replicas - maxUnavailable available. Source: upstream's ``rolling.go``, ``sync.go`` and
``deployment_util.go``.
"""

from __future__ import annotations

from collections.abc import Sequence

from pybernetes.api.meta import Object, uid_of
from pybernetes.controllers.deployment import model

Sizes = dict[str, int]
"""ReplicaSet uid to its size to be."""


def new_size(d: Object, sets: Sequence[Object], current: int) -> int:
    """The new ReplicaSet's size as far as the surge allows; `sets` includes it if it exists, `current` is its size."""
    wanted = model.replicas(d)
    if not model.is_rolling_update(d):
        return wanted
    room = wanted + model.max_surge(d) - model.total_replicas(sets)
    if room <= 0:
        return current
    return current + min(room, max(0, wanted - current))


def _lasting(rs: Object) -> int:
    """The available pods that stay: a status that still counts pods which the size no longer allows promises
    nothing."""
    return min(model.replicas(rs), model.status_count(rs, "availableReplicas"))


def shrink_old(d: Object, new: Object | None, old: Sequence[Object]) -> Sizes:
    """Sizes of the old ReplicaSets after taking away what may go: unhealthy pods first, then available ones."""
    sizes = {uid_of(rs): model.replicas(rs) for rs in old}
    everything = [*old, *([new] if new is not None else [])]
    if not sum(sizes.values()):
        return {}
    min_available = model.replicas(d) - model.max_unavailable(d)
    new_unavailable = model.replicas(new) - _lasting(new) if new is not None else 0
    budget = model.total_replicas(everything) - min_available - new_unavailable
    if budget <= 0:
        return {}
    changed: Sizes = {}
    ordered = model.oldest_first(old)
    cleaned = 0
    for rs in ordered:
        size = sizes[uid_of(rs)]
        unhealthy = size - _lasting(rs)
        if cleaned >= budget:
            break
        if size == 0 or unhealthy <= 0:
            continue
        taken = min(budget - cleaned, unhealthy)
        cleaned += taken
        changed[uid_of(rs)] = sizes[uid_of(rs)] = size - taken
    spare = sum(_lasting(rs) for rs in everything) - min_available
    for rs in ordered:
        if spare <= 0:
            break
        size = sizes[uid_of(rs)]
        if size == 0:
            continue
        taken = min(size, spare)
        spare -= taken
        changed[uid_of(rs)] = sizes[uid_of(rs)] = size - taken
    return changed


def is_saturated(d: Object, new: Object | None) -> bool:
    """Whether the new ReplicaSet alone carries the whole Deployment."""
    if new is None:
        return False
    wanted = model.replicas(d)
    return (
        model.replicas(new) == wanted
        and model.annotated_number(new, model.DESIRED_REPLICAS) == wanted
        and model.status_count(new, "availableReplicas") == wanted
    )


def _fraction(d: Object, rs: Object) -> int:
    """By how much a ReplicaSet has to change to keep its share of the Deployment's new total."""
    size = model.replicas(rs)
    if model.replicas(d) == 0:
        return -size
    total = model.replicas(d) + model.max_surge(d)
    before = model.annotated_number(rs, model.MAX_REPLICAS) or model.status_count(d, "replicas")
    if not before:
        return 0
    # Halves round up; sizes are never negative.
    return int(size * total / before + 0.5) - size


def proportional(d: Object, new: Object | None, old: Sequence[Object]) -> Sizes:
    """Sizes after the Deployment itself was scaled, shared out in proportion; the largest takes the rounding."""
    sets = model.active([*old, new])
    allowed = model.replicas(d) + model.max_surge(d) if model.replicas(d) > 0 else 0
    to_add = allowed - model.total_replicas(sets)
    newest_first = to_add > 0
    by_age = sorted(sets, key=model.created_at, reverse=newest_first)
    ordered = sorted(by_age, key=model.replicas, reverse=True)
    sizes: Sizes = {}
    added = 0
    for rs in ordered:
        size = model.replicas(rs)
        share = 0
        if to_add and size and to_add != added:
            fraction = _fraction(d, rs)
            share = min(fraction, to_add - added) if to_add > 0 else max(fraction, to_add - added)
        sizes[uid_of(rs)] = size + share
        added += share
    if ordered and to_add:
        first = uid_of(ordered[0])
        sizes[first] = max(0, sizes[first] + to_add - added)
    return sizes


def active_or_latest(new: Object | None, old: Sequence[Object]) -> Object | None:
    """The one ReplicaSet to scale: the only active one, or the latest where none is; None where several are."""
    active = model.active([*old, new])
    if len(active) == 1:
        return active[0]
    if active:
        return None
    if new is not None:
        return new
    return max(old, key=model.created_at, default=None)


def scaled_sizes(d: Object, new: Object | None, old: Sequence[Object]) -> Sizes:
    """The sizes to be when the Deployment's own size changed, or while it is paused."""
    one = active_or_latest(new, old)
    if one is not None:
        return {uid_of(one): model.replicas(d)}
    if is_saturated(d, new):
        return {uid_of(rs): 0 for rs in model.active(old)}
    if model.is_rolling_update(d):
        return proportional(d, new, old)
    return {}


def was_scaled(d: Object, sets: Sequence[Object]) -> bool:
    """Whether an active ReplicaSet was last sized for another total of the Deployment."""
    return any(
        (noted := model.annotated_number(rs, model.DESIRED_REPLICAS)) is not None and noted != model.replicas(d)
        for rs in model.active(sets)
    )
