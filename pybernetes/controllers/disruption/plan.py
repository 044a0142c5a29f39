"""The status of a PodDisruptionBudget. Pure. Source: upstream's ``pkg/controller/disruption``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pybernetes.api.intstr import scaled_value
from pybernetes.api.meta import Object, get_condition, is_deleting, metadata, name_of
from pybernetes.api.time import format_time, parse_time
from pybernetes.controllers import pods as podstate

DELETION_TIMEOUT_SECONDS = 120.0
"""How long an evicted pod may take to be marked as deleted before the eviction counts as not happened."""
STALE_CONDITION_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Scale:
    """How many pods the controllers of the budget's pods want."""

    expected: int
    unmanaged: int = 0
    """Pods without a controller, which no percentage can be taken of."""


@dataclass(frozen=True, slots=True)
class Plan:
    status: Object
    check_again_at: float | None


def needs_scale(pdb: Object) -> bool:
    """Whether the budget is about what controllers want rather than about what is there."""
    spec = pdb["spec"]
    return spec.get("maxUnavailable") is not None or isinstance(spec.get("minAvailable"), str)


def expected_counts(pdb: Object, pods: Sequence[Object], scale: Callable[[], Scale]) -> tuple[int, int]:
    """(expected pods, healthy ones wanted)."""
    spec = pdb["spec"]
    if spec.get("maxUnavailable") is not None:
        expected = scale().expected
        unavailable = scaled_value(spec["maxUnavailable"], expected, round_up=True)
        return expected, max(0, expected - unavailable)
    minimum = spec.get("minAvailable")
    if isinstance(minimum, str):
        expected = scale().expected
        return expected, scaled_value(minimum, expected, round_up=True)
    # Without either upstream wants one.
    return len(pods), 1 if minimum is None else int(minimum)


def _disrupted(pdb: Object, pods: Mapping[str, Object], now: float) -> tuple[dict[str, str], float | None]:
    """(evictions under way that still have to show, when to look again)."""
    kept: dict[str, str] = {}
    check: float | None = None
    for name, at in ((pdb.get("status") or {}).get("disruptedPods") or {}).items():
        pod = pods.get(name)
        due = parse_time(at) + DELETION_TIMEOUT_SECONDS
        if pod is None or is_deleting(pod) or due < now:
            continue
        kept[name] = at
        check = due if check is None else min(check, due)
    return kept, check


def plan(pdb: Object, pods: Sequence[Object], scale: Callable[[], Scale], now: float) -> Plan:
    """`pods` are the selected pods. Raises what `scale` raises, and ValueError for a percentage that is none."""
    old = pdb.get("status") or {}
    expected, desired = expected_counts(pdb, pods, scale)
    disrupted, check = _disrupted(pdb, {name_of(p): p for p in pods}, now)
    healthy = sum(1 for p in pods if not is_deleting(p) and name_of(p) not in disrupted and podstate.is_ready(p))
    allowed = max(0, healthy - desired) if expected > 0 else 0
    status: Object = {
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "expectedPods": expected,
        "disruptionsAllowed": allowed,
    }
    if disrupted:
        status["disruptedPods"] = disrupted
    if generation := metadata(pdb).get("generation"):
        status["observedGeneration"] = generation
    reason = "SufficientPods" if allowed else "InsufficientPods"
    status["conditions"] = _conditions(old, "True" if allowed else "False", reason, "", pdb, now)
    return Plan(status, check)


def failed(pdb: Object, message: str, now: float) -> Object:
    """The status where nobody can tell: nothing may be evicted."""
    status = {**(pdb.get("status") or {}), "disruptionsAllowed": 0}
    for field in ("currentHealthy", "desiredHealthy", "expectedPods"):
        status.setdefault(field, 0)
    status["conditions"] = _conditions(status, "False", "SyncFailed", message, pdb, now)
    return status


def _conditions(old: Object, value: str, reason: str, message: str, pdb: Object, now: float) -> list[Object]:
    others = [c for c in old.get("conditions") or () if c.get("type") != "DisruptionAllowed"]
    standing: Object = next((c for c in old.get("conditions") or () if c.get("type") == "DisruptionAllowed"), {})
    same = standing.get("status") == value
    condition: Object = {
        "type": "DisruptionAllowed",
        "status": value,
        "lastTransitionTime": standing["lastTransitionTime"] if same else format_time(now),
        "reason": reason,
        "message": message,
    }
    if generation := metadata(pdb).get("generation"):
        condition["observedGeneration"] = generation
    return [*others, condition]


def stale_condition_at(pod: Object) -> float | None:
    """When the pod's DisruptionTarget condition is to be taken back, None where it is not: the pod was to be
    evicted, but nobody deleted it."""
    condition = get_condition(pod, "DisruptionTarget")
    if (
        condition is None
        or condition.get("status") != "True"
        or is_deleting(pod)
        or podstate.is_terminal(pod)
        or not condition.get("lastTransitionTime")
    ):
        return None
    return parse_time(condition["lastTransitionTime"]) + STALE_CONDITION_SECONDS
