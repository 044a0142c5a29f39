"""When a finished job goes. Pure."""

from __future__ import annotations

from pybernetes.api.meta import Object, is_deleting
from pybernetes.api.time import parse_time
from pybernetes.controllers.job import model


def expires_at(job: Object) -> float | None:
    """When the job may go (epoch seconds), None where it stays."""
    ttl = model.optional_int(job, "ttlSecondsAfterFinished")
    condition = model.finished(job)
    if ttl is None or condition is None or is_deleting(job) or not condition.get("lastTransitionTime"):
        return None
    return parse_time(condition["lastTransitionTime"]) + ttl
