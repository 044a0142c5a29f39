"""How a Job and its pods are read, and the pod that a Job makes. Pure.

Source: upstream's ``pkg/controller/job`` and the documentation of Jobs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pybernetes.api.meta import Object, annotations_of, is_deleting, labels_of, metadata, name_of, namespace_of
from pybernetes.api.time import format_time, parse_time
from pybernetes.controllers import pods as podstate

TRACKING_FINALIZER = "batch.kubernetes.io/job-tracking"
INDEX_ANNOTATION = "batch.kubernetes.io/job-completion-index"
INDEX_FAILURES_ANNOTATION = "batch.kubernetes.io/job-index-failure-count"
INDEX_ENV = "JOB_COMPLETION_INDEX"
MANAGED_BY_US = "kubernetes.io/job-controller"

COMPLETE, FAILED, SUSPENDED = "Complete", "Failed", "Suspended"
FAILURE_TARGET, SUCCESS_CRITERIA_MET = "FailureTarget", "SuccessCriteriaMet"

BACKOFF_FIRST_SECONDS = 10.0
BACKOFF_MAX_SECONDS = 600.0


def parallelism(job: Object) -> int:
    value = job["spec"].get("parallelism")
    return 1 if value is None else int(value)


def completions(job: Object) -> int | None:
    value = job["spec"].get("completions")
    return None if value is None else int(value)


def is_indexed(job: Object) -> bool:
    return bool(job["spec"].get("completionMode") == "Indexed")


def is_suspended(job: Object) -> bool:
    return bool(job["spec"].get("suspend"))


def is_ours(job: Object) -> bool:
    return (job["spec"].get("managedBy") or MANAGED_BY_US) == MANAGED_BY_US


def replaces_only_failed(job: Object) -> bool:
    return bool(job["spec"].get("podReplacementPolicy") == "Failed")


def optional_int(job: Object, field: str) -> int | None:
    value = job["spec"].get(field)
    return None if value is None else int(value)


def condition(job_status: Mapping[str, Any], type_: str) -> Object | None:
    """The condition of that type, if it is True."""
    for c in job_status.get("conditions") or ():
        if c.get("type") == type_ and c.get("status") == "True":
            return c  # type: ignore[no-any-return]
    return None


def finished(job: Object) -> Object | None:
    """The Complete or Failed condition of a finished job."""
    status = job.get("status") or {}
    return condition(status, COMPLETE) or condition(status, FAILED)


def new_condition(type_: str, status: str, reason: str, message: str, now: float) -> Object:
    at = format_time(now)
    return {
        "type": type_,
        "status": status,
        "lastProbeTime": at,
        "lastTransitionTime": at,
        "reason": reason,
        "message": message,
    }


def index_of(pod: Object) -> int | None:
    """The pod's completion index, None where it has none."""
    text = annotations_of(pod).get(INDEX_ANNOTATION, "")
    return int(text) if text.isdigit() else None


def is_tracked(pod: Object) -> bool:
    return TRACKING_FINALIZER in (metadata(pod).get("finalizers") or ())


def is_failed(job: Object, pod: Object) -> bool:
    """Whether the pod counts as failed: also one that is being deleted, which may never say how it ended, unless
    the job waits for that."""
    if podstate.phase_of(pod) == "Failed":
        return True
    if replaces_only_failed(job):
        return False
    return is_deleting(pod) and podstate.phase_of(pod) != "Succeeded"


def index_failures(pod: Object) -> int:
    """How often the pod's index had failed before it."""
    text = annotations_of(pod).get(INDEX_FAILURES_ANNOTATION, "")
    return int(text) if text.isdigit() else 0


def finished_at(pod: Object) -> float:
    """When the pod ended, as well as can be told (epoch seconds)."""
    status = pod.get("status") or {}
    times = [
        parse_time(terminated["finishedAt"])
        for s in status.get("containerStatuses") or ()
        if (terminated := (s.get("state") or {}).get("terminated")) and terminated.get("finishedAt")
    ]
    if times:
        return max(times)
    for c in status.get("conditions") or ():
        if c.get("type") == "Ready" and c.get("lastTransitionTime"):
            return parse_time(c["lastTransitionTime"])
    meta = metadata(pod)
    text = meta.get("deletionTimestamp") or meta.get("creationTimestamp")
    return parse_time(text) if text else 0.0


def backoff_seconds(failures: int) -> float:
    """How long to wait after so many failures in a row."""
    if failures <= 0:
        return 0.0
    return float(min(BACKOFF_FIRST_SECONDS * 2 ** min(failures - 1, 30), BACKOFF_MAX_SECONDS))


def restarts(pod: Object) -> int:
    status = pod.get("status") or {}
    return sum(
        int(s.get("restartCount") or 0)
        for field in ("initContainerStatuses", "containerStatuses")
        for s in status.get(field) or ()
    )


def new_pod(job: Object, owner_ref: Object, index: int | None, failures: int | None) -> Object:
    """A pod of the job. `index` for Indexed jobs, `failures` where failures are counted by index."""
    pod = podstate.from_template(job["spec"]["template"], owner_ref, namespace_of(job))
    meta = pod["metadata"]
    meta["finalizers"] = [*(meta.get("finalizers") or ()), TRACKING_FINALIZER]
    meta["generateName"] = f"{name_of(job)}-"
    if index is None:
        return pod
    meta["generateName"] = f"{name_of(job)}-{index}-"
    meta["annotations"] = {**(meta.get("annotations") or {}), INDEX_ANNOTATION: str(index)}
    meta["labels"] = {**labels_of(pod), INDEX_ANNOTATION: str(index)}
    if failures is not None:
        meta["annotations"][INDEX_FAILURES_ANNOTATION] = str(failures)
    spec = pod["spec"]
    spec["hostname"] = f"{name_of(job)}-{index}"
    variable = {
        "name": INDEX_ENV,
        "valueFrom": {"fieldRef": {"fieldPath": f"metadata.labels['{INDEX_ANNOTATION}']"}},
    }
    for field in ("initContainers", "containers"):
        for container in spec.get(field) or ():
            env = container.get("env") or []
            if not any(e.get("name") == INDEX_ENV for e in env):
                container["env"] = [*env, variable]
    return pod
