"""A Deployment's status: counts, conditions and their reasons and texts. Pure.

Source: upstream's ``pkg/controller/deployment/{sync,progress}.go``.
"""

from __future__ import annotations

from collections.abc import Sequence

from pybernetes.api.meta import Object, clone, metadata, name_of
from pybernetes.api.time import format_time, parse_time
from pybernetes.controllers.deployment import model

AVAILABLE = "Available"
PROGRESSING = "Progressing"
REPLICA_FAILURE = "ReplicaFailure"

NEW_REPLICA_SET_CREATED = "NewReplicaSetCreated"
FOUND_NEW_REPLICA_SET = "FoundNewReplicaSet"
REPLICA_SET_UPDATED = "ReplicaSetUpdated"
NEW_REPLICA_SET_AVAILABLE = "NewReplicaSetAvailable"
REPLICA_SET_CREATE_ERROR = "ReplicaSetCreateError"
DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"
PAUSED = "DeploymentPaused"
RESUMED = "DeploymentResumed"


def find(status: Object, type_: str) -> Object | None:
    for condition in status.get("conditions") or ():
        if condition.get("type") == type_:
            return condition  # type: ignore[no-any-return]
    return None


def new_condition(type_: str, status: str, reason: str, message: str, now: float) -> Object:
    at = format_time(now)
    return {
        "type": type_,
        "status": status,
        "lastUpdateTime": at,
        "lastTransitionTime": at,
        "reason": reason,
        "message": message,
    }


def set_condition(status: Object, condition: Object) -> None:
    """Puts the condition in, unless one with its status and reason stands; keeps the time of the transition where
    the status stays."""
    standing = find(status, condition["type"])
    if standing is not None:
        if standing.get("status") == condition["status"] and standing.get("reason") == condition["reason"]:
            return
        if standing.get("status") == condition["status"]:
            condition = {**condition, "lastTransitionTime": standing.get("lastTransitionTime")}
    remove_condition(status, condition["type"])
    status.setdefault("conditions", []).append(condition)


def remove_condition(status: Object, type_: str) -> None:
    conditions = [c for c in status.get("conditions") or () if c.get("type") != type_]
    if conditions:
        status["conditions"] = conditions
    else:
        status.pop("conditions", None)


def count(d: Object, status: Object, sets: Sequence[Object | None], new: Object | None, now: float) -> Object:
    """The status with fresh counts and Available condition; `status` brings collisionCount and conditions."""
    available = model.total_status(sets, "availableReplicas")
    numbers = {
        "observedGeneration": int(metadata(d).get("generation") or 0),
        "replicas": model.total_status(sets, "replicas"),
        "updatedReplicas": model.total_status([new], "replicas"),
        "readyReplicas": model.total_status(sets, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(0, model.total_replicas(sets) - available),
    }
    result: Object = {k: v for k, v in numbers.items() if v}
    terminating = [(rs.get("status") or {}).get("terminatingReplicas") for rs in sets if rs is not None]
    if all(t is not None for t in terminating):
        result["terminatingReplicas"] = sum(terminating)
    if status.get("collisionCount") is not None:
        result["collisionCount"] = status["collisionCount"]
    if status.get("conditions"):
        result["conditions"] = clone(status["conditions"])
    if available >= model.replicas(d) - model.max_unavailable(d):
        condition = new_condition(
            AVAILABLE, "True", "MinimumReplicasAvailable", "Deployment has minimum availability.", now
        )
    else:
        condition = new_condition(
            AVAILABLE, "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.", now
        )
    set_condition(result, condition)
    return result


def is_complete(d: Object, status: Object) -> bool:
    """All wanted pods are of the new template and available, and none is left over."""
    wanted = model.replicas(d)
    return all(int(status.get(f) or 0) == wanted for f in ("updatedReplicas", "replicas", "availableReplicas")) and int(
        status.get("observedGeneration") or 0
    ) >= int(metadata(d).get("generation") or 0)


def is_progressing(before: Object, after: Object) -> bool:
    def value(status: Object, field: str) -> int:
        return int(status.get(field) or 0)

    return (
        value(after, "updatedReplicas") > value(before, "updatedReplicas")
        or value(after, "replicas") - value(after, "updatedReplicas")
        < value(before, "replicas") - value(before, "updatedReplicas")
        or value(after, "readyReplicas") > value(before, "readyReplicas")
        or value(after, "availableReplicas") > value(before, "availableReplicas")
    )


def deadline_at(d: Object, status: Object) -> float | None:
    """When the progress deadline runs out (epoch seconds), None where it does not run."""
    condition = find(status, PROGRESSING)
    if not model.has_progress_deadline(d) or condition is None:
        return None
    if condition.get("reason") in (NEW_REPLICA_SET_AVAILABLE, DEADLINE_EXCEEDED):
        return None
    since = condition.get("lastUpdateTime") or condition.get("lastTransitionTime")
    return parse_time(since) + int(d["spec"]["progressDeadlineSeconds"]) if since else None


def _has_timed_out(d: Object, status: Object, now: float) -> bool:
    condition = find(status, PROGRESSING)
    if condition is not None and condition.get("reason") == DEADLINE_EXCEEDED:
        return True
    at = deadline_at(d, status)
    return at is not None and at < now


def replica_failure(sets: Sequence[Object | None], new: Object | None) -> Object | None:
    """The ReplicaFailure condition to show: the new ReplicaSet's before another's."""
    for rs in (new, *sets):
        condition = find((rs or {}).get("status") or {}, REPLICA_FAILURE)
        if condition is not None:
            return condition
    return None


def roll_out(
    d: Object, before: Object, status: Object, sets: Sequence[Object | None], new: Object | None, now: float
) -> Object:
    """The status of a roll-out in course: `count`, then the Progressing and ReplicaFailure conditions. `before` is
    the status as observed, `status` the one changed so far in this pass."""
    after = count(d, status, sets, new, now)
    if not model.has_progress_deadline(d):
        remove_condition(after, PROGRESSING)
    current = find(status, PROGRESSING)
    settled = (
        after.get("replicas", 0) == after.get("updatedReplicas", 0)
        and current is not None
        and current.get("reason") == NEW_REPLICA_SET_AVAILABLE
    )
    if model.has_progress_deadline(d) and not settled:
        subject = f'ReplicaSet "{name_of(new)}"' if new is not None else f'Deployment "{name_of(d)}"'
        if is_complete(d, after):
            message = f"{subject} has successfully progressed."
            set_condition(after, new_condition(PROGRESSING, "True", NEW_REPLICA_SET_AVAILABLE, message, now))
        elif is_progressing(before, after):
            condition = new_condition(PROGRESSING, "True", REPLICA_SET_UPDATED, f"{subject} is progressing.", now)
            if current is not None:
                if current.get("status") == "True":
                    condition["lastTransitionTime"] = current.get("lastTransitionTime")
                remove_condition(after, PROGRESSING)
            set_condition(after, condition)
        elif _has_timed_out(d, after, now):
            message = f"{subject} has timed out progressing."
            set_condition(after, new_condition(PROGRESSING, "False", DEADLINE_EXCEEDED, message, now))
    failure = replica_failure(sets, new)
    if failure is None:
        remove_condition(after, REPLICA_FAILURE)
    else:
        set_condition(
            after,
            {
                "type": REPLICA_FAILURE,
                "status": failure["status"],
                "lastUpdateTime": failure.get("lastTransitionTime"),
                "lastTransitionTime": failure.get("lastTransitionTime"),
                "reason": failure.get("reason", ""),
                "message": failure.get("message", ""),
            },
        )
    return after
