"""What a DaemonSet needs done: pods to create, by node, pods to delete, and its status. Pure.

Source: upstream's ``pkg/controller/daemon/{daemon_controller,update}.go``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pybernetes.api.intstr import scaled_value
from pybernetes.api.meta import Object, annotations_of, is_deleting, labels_of, metadata, name_of
from pybernetes.controllers import pods as podstate
from pybernetes.controllers.daemonset import placement
from pybernetes.controllers.history import HASH_LABEL

TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"


@dataclass(slots=True)
class Plan:
    create: list[str] = field(default_factory=list)
    """Nodes that lack a pod."""
    delete: list[Object] = field(default_factory=list)
    finished: list[Object] = field(default_factory=list)
    """Failed and succeeded pods to replace: with a message each, failed ones with back-off."""


def min_ready_seconds(ds: Object) -> int:
    return int(ds["spec"].get("minReadySeconds") or 0)


def by_node(pods: Iterable[Object]) -> dict[str, list[Object]]:
    """Pods by the node they are on or bound for; those bound for none under the empty name."""
    found: dict[str, list[Object]] = {}
    for pod in pods:
        found.setdefault(placement.target_node(pod), []).append(pod)
    return found


def updated_desired_counts(ds: Object, wanted: int) -> tuple[int, int]:
    """(max surge, max unavailable) in pods of `wanted`; never both zero."""
    rolling = (ds["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
    surge = scaled_value(rolling.get("maxSurge", 0), wanted, round_up=True)
    unavailable = scaled_value(rolling.get("maxUnavailable", 1), wanted, round_up=True)
    if not surge and not unavailable:
        unavailable = 1
    return surge, unavailable


def is_rolling_update(ds: Object) -> bool:
    return bool((ds["spec"].get("updateStrategy") or {}).get("type", "RollingUpdate") == "RollingUpdate")


def allows_surge(ds: Object) -> bool:
    return is_rolling_update(ds) and updated_desired_counts(ds, 100)[0] > 0


def is_updated(ds: Object, pod: Object, revision_hash: str) -> bool:
    return bool(revision_hash) and labels_of(pod).get(HASH_LABEL) == revision_hash


def _oldest_first(pods: Iterable[Object]) -> list[Object]:
    """Placed pods before waiting ones, then by age."""
    return sorted(
        pods,
        key=lambda p: (
            not podstate.node_name_of(p),
            str(metadata(p).get("creationTimestamp") or ""),
            name_of(p),
        ),
    )


def plan_placement(
    ds: Object, nodes: Sequence[Object], pods: Mapping[str, Sequence[Object]], revision_hash: str, now: float
) -> Plan:
    """One pod on every node that should have one, and none elsewhere."""
    result = Plan()
    for node in nodes:
        should, may_go_on = placement.should_run(ds, node)
        here = pods.get(name_of(node), ())
        if should and not here:
            result.create.append(name_of(node))
        elif may_go_on:
            running: list[Object] = []
            for pod in here:
                if is_deleting(pod):
                    continue
                (result.finished if podstate.is_terminal(pod) else running).append(pod)
            if len(running) > 1:
                result.delete += _excess(ds, _oldest_first(running), revision_hash, now)
        else:
            result.delete += [p for p in here if not is_deleting(p)]
    known = {name_of(n) for n in nodes}
    for node_name, lost in pods.items():
        if node_name and node_name not in known:
            # Bound for a node that is gone: no scheduler will ever place it.
            result.delete += [p for p in lost if not podstate.node_name_of(p) and not is_deleting(p)]
    return result


def _excess(ds: Object, running: list[Object], revision_hash: str, now: float) -> list[Object]:
    """Of several running pods of one node, those that have to go."""
    if not allows_surge(ds):
        return running[1:]
    new = [p for p in running if is_updated(ds, p, revision_hash)]
    old = [p for p in running if not is_updated(ds, p, revision_hash)]
    excess = [*new[1:], *old[1:]]
    if new and old:
        ready = podstate.is_available(new[0], min_ready_seconds(ds), now)
        if not podstate.is_ready(old[0]) or ready:
            excess.append(old[0])
    return excess


def plan_update(
    ds: Object, nodes: Sequence[Object], pods: Mapping[str, Sequence[Object]], revision_hash: str, now: float
) -> Plan:
    """The next step of a rolling update."""
    result = Plan()
    if not is_rolling_update(ds):
        return result
    wanted = [name_of(n) for n in nodes if placement.should_run(ds, n)[0]]
    max_surge, max_unavailable = updated_desired_counts(ds, len(wanted))
    # A node whose pod is still to be made is one without an available pod.
    pods = {**dict.fromkeys(wanted, ()), **pods}
    if max_surge:
        _surge(ds, pods, revision_hash, now, max_surge, result)
    else:
        _replace(ds, pods, revision_hash, now, max_unavailable, result)
    return result


def _pair(ds: Object, pods: Sequence[Object], revision_hash: str) -> tuple[Object | None, Object | None] | None:
    """(new pod, old pod) of a node; None where there are several of a kind."""
    new = [p for p in pods if not is_deleting(p) and is_updated(ds, p, revision_hash)]
    old = [p for p in pods if not is_deleting(p) and not is_updated(ds, p, revision_hash)]
    if len(new) > 1 or len(old) > 1:
        return None
    return (new[0] if new else None), (old[0] if old else None)


def _replace(
    ds: Object,
    pods: Mapping[str, Sequence[Object]],
    revision_hash: str,
    now: float,
    max_unavailable: int,
    result: Plan,
) -> None:
    """Deletes old pods as far as unavailability allows; `plan_placement` then creates new ones."""
    min_ready = min_ready_seconds(ds)
    unavailable = 0
    candidates: list[Object] = []
    for node_name in sorted(pods):
        pair = _pair(ds, pods[node_name], revision_hash)
        if pair is None:
            unavailable += 1
            continue
        new, old = pair
        if (new is None) == (old is None):
            unavailable += 1
        elif new is not None:
            unavailable += not podstate.is_available(new, min_ready, now)
        elif old is not None:
            if not podstate.is_available(old, min_ready, now):
                # Nobody misses it.
                result.delete.append(old)
                unavailable += 1
            else:
                candidates.append(old)
    result.delete += candidates[: max(0, max_unavailable - unavailable)]


def _surge(
    ds: Object, pods: Mapping[str, Sequence[Object]], revision_hash: str, now: float, max_surge: int, result: Plan
) -> None:
    """Creates new pods beside old ones as far as the surge allows, and deletes old ones once the new are available."""
    min_ready = min_ready_seconds(ds)
    surging = 0
    candidates: list[str] = []
    for node_name in sorted(pods):
        if not node_name:
            continue
        pair = _pair(ds, pods[node_name], revision_hash)
        if pair is None:
            surging += 1
            continue
        new, old = pair
        if old is None:
            continue
        if new is None:
            if podstate.is_available(old, min_ready, now):
                candidates.append(node_name)
            else:
                result.create.append(node_name)
        elif not podstate.is_available(old, min_ready, now) or podstate.is_available(new, min_ready, now):
            result.delete.append(old)
        else:
            surging += 1
    result.create += candidates[: max(0, max_surge - surging)]


def new_pod(ds: Object, owner_ref: Object, node_name: str, revision_hash: str) -> Object:
    pod = podstate.from_template(ds["spec"]["template"], owner_ref, metadata(ds)["namespace"])
    pod["metadata"]["generateName"] = name_of(ds) + "-"
    labels = pod["metadata"].setdefault("labels", {})
    if generation := annotations_of(ds).get(TEMPLATE_GENERATION):
        labels["pod-template-generation"] = generation
    if revision_hash:
        labels[HASH_LABEL] = revision_hash
    pod["spec"]["tolerations"] = placement.tolerations_for(pod["spec"])
    placement.bind_to(pod["spec"], node_name)
    return pod


def plan_status(
    ds: Object, nodes: Sequence[Object], pods: Mapping[str, Sequence[Object]], revision_hash: str, now: float
) -> Object:
    """The status to be."""
    old = ds.get("status") or {}
    min_ready = min_ready_seconds(ds)
    desired = current = misscheduled = ready = available = updated = 0
    for node in nodes:
        should, _ = placement.should_run(ds, node)
        here = pods.get(name_of(node), ())
        if not should:
            misscheduled += bool(here)
            continue
        desired += 1
        if not here:
            continue
        current += 1
        first = _oldest_first(here)[0]
        if podstate.is_ready(first):
            ready += 1
            available += podstate.is_available(first, min_ready, now)
        updated += is_updated(ds, first, revision_hash)
    status: Object = {
        "currentNumberScheduled": current,
        "numberMisscheduled": misscheduled,
        "desiredNumberScheduled": desired,
        "numberReady": ready,
    }
    optional = {
        "observedGeneration": metadata(ds).get("generation") or 0,
        "updatedNumberScheduled": updated,
        "numberAvailable": available,
        "numberUnavailable": desired - available,
    }
    status |= {k: v for k, v in optional.items() if v}
    if old.get("collisionCount") is not None:
        status["collisionCount"] = old["collisionCount"]
    if old.get("conditions"):
        status["conditions"] = old["conditions"]
    return status


def next_available_at(ds: Object, pods: Iterable[Object], now: float) -> float | None:
    """When the next ready pod becomes available only by time passing (epoch seconds); None if none will."""
    min_ready = min_ready_seconds(ds)
    if not min_ready:
        return None
    times = (podstate.available_at(p, min_ready) for p in pods)
    return min((t for t in times if t is not None and t > now), default=None)
