"""What a ReplicaSet or ReplicationController needs done, from what is seen. Pure.

Source of the behaviour: upstream's ``pkg/controller/replicaset``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pybernetes.api.meta import Object, clone, get_condition, is_deleting, labels_of, metadata, name_of
from pybernetes.api.names import dns_subdomain
from pybernetes.api.resources import REPLICASETS, REPLICATIONCONTROLLERS, Resource
from pybernetes.api.time import format_time
from pybernetes.controllers import pods as podstate
from pybernetes.controllers.batches import BURST_REPLICAS
from pybernetes.controllers.replicaset.ranking import rank_for_deletion

REPLICA_FAILURE = "ReplicaFailure"


@dataclass(frozen=True, slots=True)
class Flavor:
    """What differs between the two kinds that share this controller."""

    resource: Resource
    selector: Callable[[Object], Mapping[str, Any] | None]
    counts_terminating: bool

    @property
    def kind(self) -> str:
        return self.resource.kind

    @property
    def api_version(self) -> str:
        return self.resource.api_version


def _plain_selector(obj: Object) -> Mapping[str, Any] | None:
    pairs = obj["spec"].get("selector")
    return {"matchLabels": pairs} if pairs else None


REPLICA_SET = Flavor(REPLICASETS, lambda rs: rs["spec"].get("selector"), True)
REPLICATION_CONTROLLER = Flavor(REPLICATIONCONTROLLERS, _plain_selector, False)


@dataclass(frozen=True, slots=True)
class Scaling:
    """How many pods to create, or which to delete; at most one of the two."""

    create: int = 0
    delete: tuple[Object, ...] = ()


def desired_replicas(rs: Object) -> int:
    """spec.replicas, 1 where nobody said."""
    value = rs["spec"].get("replicas")
    return 1 if value is None else int(value)


def min_ready_seconds(rs: Object) -> int:
    return int(rs["spec"].get("minReadySeconds") or 0)


def plan_scaling(rs: Object, active: Sequence[Object], related: Callable[[], Sequence[Object]], now: float) -> Scaling:
    """`active` are the owned active pods; `related` gives the pods of sibling ReplicaSets, asked only if needed."""
    if is_deleting(rs):
        return Scaling()
    surplus = len(active) - desired_replicas(rs)
    if surplus < 0:
        return Scaling(create=min(-surplus, BURST_REPLICAS))
    if surplus == 0:
        return Scaling()
    count = min(surplus, BURST_REPLICAS)
    if count == len(active):
        return Scaling(delete=tuple(active))
    return Scaling(delete=tuple(rank_for_deletion(active, related(), now)[:count]))


def new_pod(rs: Object, owner_ref: Object) -> Object:
    """A pod from the template, to be named by the server."""
    pod = podstate.from_template(rs["spec"].get("template"), owner_ref, metadata(rs)["namespace"])
    prefix = name_of(rs) + "-"
    pod["metadata"]["generateName"] = name_of(rs) if dns_subdomain(prefix, prefix=True) else prefix
    return pod


def plan_status(
    flavor: Flavor,
    rs: Object,
    active: Sequence[Object],
    terminating: int,
    failure: tuple[str, str] | None,
    now: float,
) -> Object:
    """The status to be. `failure` is (reason, message) of a pass that could not create or delete."""
    old = rs.get("status") or {}
    template_labels = labels_of(rs["spec"].get("template") or {})
    min_ready = min_ready_seconds(rs)
    ready = [p for p in active if podstate.is_ready(p)]
    counts = {
        "fullyLabeledReplicas": sum(
            1 for p in active if all(labels_of(p).get(k) == v for k, v in template_labels.items())
        ),
        "readyReplicas": len(ready),
        "availableReplicas": sum(1 for p in ready if podstate.is_available(p, min_ready, now)),
    }
    status: Object = {"replicas": len(active), **{k: v for k, v in counts.items() if v}}
    if flavor.counts_terminating:
        status["terminatingReplicas"] = terminating
    if generation := metadata(rs).get("generation"):
        status["observedGeneration"] = generation
    conditions = clone(old.get("conditions") or [])
    standing = get_condition(rs, REPLICA_FAILURE)
    if failure is not None and standing is None:
        reason, message = failure
        conditions.append(
            {
                "type": REPLICA_FAILURE,
                "status": "True",
                "lastTransitionTime": format_time(now),
                "reason": reason,
                "message": message,
            }
        )
    elif failure is None and standing is not None:
        conditions = [c for c in conditions if c.get("type") != REPLICA_FAILURE]
    if conditions:
        status["conditions"] = conditions
    return status


def next_available_at(rs: Object, active: Sequence[Object], now: float) -> float | None:
    """When the next ready pod becomes available only by time passing (epoch seconds); None if none will."""
    min_ready = min_ready_seconds(rs)
    if not min_ready:
        return None
    times = (podstate.available_at(p, min_ready) for p in active)
    return min((t for t in times if t is not None and t > now), default=None)
