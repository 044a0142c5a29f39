"""How a Deployment and its ReplicaSets are read: names, annotations, sums and bounds. Pure.

Source: upstream's ``pkg/controller/deployment/util``.
"""

from __future__ import annotations

from collections.abc import Iterable

from pybernetes.api.intstr import scaled_value
from pybernetes.api.meta import Object, annotations_of, is_deleting, labels_of, metadata, name_of

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED_REPLICAS = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS = "deployment.kubernetes.io/max-replicas"
REVISION_HISTORY_LIMIT_CHARS = 2000

NOT_COPIED = frozenset(
    (
        "kubectl.kubernetes.io/last-applied-configuration",
        REVISION,
        REVISION_HISTORY,
        DESIRED_REPLICAS,
        MAX_REPLICAS,
        "deprecated.deployment.rollback.to",
    )
)
"""Annotations of a Deployment that its ReplicaSets do not take over."""

NO_LIMIT = 2**31 - 1


def replicas(obj: Object) -> int:
    """spec.replicas of a Deployment or ReplicaSet; 1 where nobody said."""
    value = obj["spec"].get("replicas")
    return 1 if value is None else int(value)


def status_count(obj: Object, field: str) -> int:
    return int((obj.get("status") or {}).get(field) or 0)


def min_ready_seconds(obj: Object) -> int:
    return int(obj["spec"].get("minReadySeconds") or 0)


def is_rolling_update(d: Object) -> bool:
    return bool((d["spec"].get("strategy") or {}).get("type", "RollingUpdate") == "RollingUpdate")


def fenceposts(d: Object) -> tuple[int, int]:
    """(max surge, max unavailable) in pods: surge rounded up, unavailable down, and never both zero."""
    if not is_rolling_update(d):
        return 0, 0
    rolling = (d["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    total = replicas(d)
    surge = scaled_value(rolling.get("maxSurge", "25%"), total, round_up=True)
    unavailable = scaled_value(rolling.get("maxUnavailable", "25%"), total, round_up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return surge, unavailable


def max_surge(d: Object) -> int:
    return fenceposts(d)[0]


def max_unavailable(d: Object) -> int:
    total = replicas(d)
    if not is_rolling_update(d) or total == 0:
        return 0
    return min(fenceposts(d)[1], total)


def revision_of(obj: Object) -> int:
    """The revision annotation; 0 where it is missing or no number."""
    text = annotations_of(obj).get(REVISION, "")
    return int(text) if text.isdigit() else 0


def annotated_number(obj: Object, name: str) -> int | None:
    text = annotations_of(obj).get(name, "")
    return int(text) if text.isdigit() else None


def has_progress_deadline(d: Object) -> bool:
    value = d["spec"].get("progressDeadlineSeconds")
    return value is not None and int(value) != NO_LIMIT


def template_without_hash(template: Object) -> Object:
    """The template as it is compared and hashed: without the label that the controller adds."""
    labels = labels_of(template)
    if HASH_LABEL not in labels:
        return template
    meta = {**metadata(template), "labels": {k: v for k, v in labels.items() if k != HASH_LABEL}}
    return {**template, "metadata": meta}


def same_template(a: Object, b: Object) -> bool:
    """Whether two templates would make the same pods."""
    a, b = template_without_hash(a), template_without_hash(b)
    return a == b or _without_creation(a) == _without_creation(b)


def _without_creation(template: Object) -> object:
    meta = {k: v for k, v in metadata(template).items() if k != "creationTimestamp" and v}
    return {**template, "metadata": meta}


def created_at(rs: Object) -> tuple[str, str]:
    """Sorting key by age: the creation time (RFC 3339 sorts as text), then the name."""
    return str(metadata(rs).get("creationTimestamp") or ""), name_of(rs)


def oldest_first(sets: Iterable[Object]) -> list[Object]:
    return sorted(sets, key=created_at)


def active(sets: Iterable[Object | None]) -> list[Object]:
    """The ReplicaSets that ask for pods."""
    return [rs for rs in sets if rs is not None and replicas(rs) > 0]


def total_replicas(sets: Iterable[Object | None]) -> int:
    return sum(replicas(rs) for rs in sets if rs is not None)


def total_status(sets: Iterable[Object | None], field: str) -> int:
    return sum(status_count(rs, field) for rs in sets if rs is not None)


def find_new(d: Object, sets: Iterable[Object]) -> Object | None:
    """The ReplicaSet with the Deployment's template: the oldest, where there are several."""
    template = d["spec"]["template"]
    return next((rs for rs in oldest_first(sets) if same_template(rs["spec"]["template"], template)), None)


def is_cleanable(rs: Object) -> bool:
    """Whether a superseded ReplicaSet holds nothing and its status says so for its newest spec."""
    return (
        status_count(rs, "replicas") == 0
        and replicas(rs) == 0
        and int(metadata(rs).get("generation") or 0) <= status_count(rs, "observedGeneration")
        and not is_deleting(rs)
    )
