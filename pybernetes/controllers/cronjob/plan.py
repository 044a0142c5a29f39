"""What a CronJob needs done now: a job to start, old ones to remove, and its status. Pure.

Source of the behaviour: upstream's ``pkg/controller/cronjob``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from pybernetes.api.kinds.schedule import ScheduleError
from pybernetes.api.meta import (
    Object,
    annotations_of,
    clone,
    is_deleting,
    labels_of,
    metadata,
    name_of,
    namespace_of,
    new_controller_ref,
    uid_of,
)
from pybernetes.api.time import format_time, parse_time
from pybernetes.controllers.cronjob import schedule as sched
from pybernetes.controllers.job import model

SCHEDULED_ANNOTATION = "batch.kubernetes.io/cronjob-scheduled-timestamp"
_MANY_MISSED = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"

Event = tuple[str, str, str]
"""(type, reason, message)."""


@dataclass(slots=True)
class Plan:
    remove: list[Object] = field(default_factory=list)
    """Finished jobs beyond the history limits."""
    replace: list[Object] = field(default_factory=list)
    """Active jobs that make way for the new one."""
    start: Object | None = None
    scheduled_at: float | None = None
    """When the job to start was due."""
    status: Object = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    check_again_at: float | None = None


def _started(job: Object) -> str:
    return str((job.get("status") or {}).get("startTime") or metadata(job).get("creationTimestamp") or "")


def _surplus(jobs: Sequence[Object], limit: int | None) -> list[Object]:
    if limit is None:
        return []
    ordered = sorted(jobs, key=lambda j: (_started(j), name_of(j)))
    return ordered[: max(0, len(ordered) - limit)]


def _limit(cron_job: Object, name: str) -> int | None:
    value = cron_job["spec"].get(name)
    return None if value is None else int(value)


def job_reference(job: Object) -> Object:
    """The entry of a started job in ``status.active``."""
    ref = {"kind": "Job", "apiVersion": "batch/v1", "namespace": namespace_of(job), "name": name_of(job)}
    for name in ("uid", "resourceVersion"):
        if metadata(job).get(name):
            ref[name] = metadata(job)[name]
    return ref


def new_job(cron_job: Object, scheduled_at: float) -> Object:
    """The job of one due time; its name says which, so that it can only be made once."""
    template = cron_job["spec"]["jobTemplate"]
    zone_name = cron_job["spec"].get("timeZone")
    zone = ZoneInfo(zone_name) if zone_name else UTC
    at = datetime.fromtimestamp(scheduled_at, zone).isoformat().replace("+00:00", "Z")
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": f"{name_of(cron_job)}-{int(scheduled_at) // 60}",
            "namespace": namespace_of(cron_job),
            "labels": dict(labels_of(template)),
            "annotations": {**annotations_of(template), SCHEDULED_ANNOTATION: at},
            "ownerReferences": [new_controller_ref(cron_job, "batch/v1", "CronJob")],
        },
        "spec": clone(template.get("spec") or {}),
    }


def plan(cron_job: Object, jobs: Sequence[Object], now: float) -> Plan:
    """`jobs` are the jobs that the CronJob controls."""
    result = Plan(status=clone(cron_job.get("status") or {}))
    _look_at_jobs(cron_job, jobs, result)
    if is_deleting(cron_job):
        return result
    done = [j for j in jobs if model.finished(j) is not None]
    succeeded = [j for j in done if (model.finished(j) or {}).get("type") == model.COMPLETE]
    failed = [j for j in done if (model.finished(j) or {}).get("type") == model.FAILED]
    result.remove = [
        *_surplus(succeeded, _limit(cron_job, "successfulJobsHistoryLimit")),
        *_surplus(failed, _limit(cron_job, "failedJobsHistoryLimit")),
    ]
    if not cron_job["spec"].get("suspend"):
        _start(cron_job, jobs, now, result)
    return result


def _look_at_jobs(cron_job: Object, jobs: Sequence[Object], result: Plan) -> None:
    """Brings the list of active jobs in line with what is there."""
    by_uid = {uid_of(j): j for j in jobs}
    active: list[Object] = []
    known: set[str] = set()
    for ref in result.status.get("active") or ():
        job = by_uid.get(str(ref.get("uid")))
        known.add(str(ref.get("uid")))
        if job is None:
            result.events.append(("Normal", "MissingJob", f"Active job went missing: {ref.get('name')}"))
            continue
        finished = model.finished(job)
        if finished is None:
            active.append(ref)
            continue
        text = f"Saw completed job: {name_of(job)}, condition: {finished['type']}"
        result.events.append(("Normal", "SawCompletedJob", text))
    for uid, job in by_uid.items():
        finished = model.finished(job)
        if uid not in known and finished is None and not is_deleting(job):
            text = f"Saw a job that the controller did not create or forgot: {name_of(job)}"
            result.events.append(("Warning", "UnexpectedJob", text))
        if finished is not None and finished["type"] == model.COMPLETE:
            at = (job.get("status") or {}).get("completionTime")
            last = result.status.get("lastSuccessfulTime")
            if at and (not last or at > last):
                result.status["lastSuccessfulTime"] = at
    if active:
        result.status["active"] = active
    else:
        result.status.pop("active", None)


def _start(cron_job: Object, jobs: Sequence[Object], now: float, result: Plan) -> None:
    spec = cron_job["spec"]
    zone = spec.get("timeZone") or ""
    try:
        schedule = sched.parse(spec["schedule"], zone)
    except ScheduleError as error:
        result.events.append(("Warning", "UnparseableSchedule", f"unparseable schedule: {spec['schedule']} : {error}"))
        return
    except (KeyError, ValueError, OSError) as error:
        result.events.append(("Warning", "UnknownTimeZone", f'invalid timezone: "{zone}": {error}'))
        return
    result.check_again_at = schedule.next_after(now)
    last = result.status.get("lastScheduleTime")
    since = parse_time(last or metadata(cron_job)["creationTimestamp"])
    deadline = spec.get("startingDeadlineSeconds")
    if deadline is not None:
        since = max(since, now - int(deadline))
    at, missed = sched.due(schedule, since, now)
    if at is None:
        return
    if missed > 100:
        result.events.append(("Warning", "TooManyMissedTimes", _MANY_MISSED))
    if deadline is not None and at + int(deadline) < now:
        when = datetime.fromtimestamp(at, UTC).strftime("%a, %d %b %Y %H:%M:%S +0000")
        result.events.append(("Warning", "MissSchedule", f"Missed scheduled time to start a job: {when}"))
        return
    job = new_job(cron_job, at)
    active = result.status.get("active") or ()
    if any(ref.get("name") == name_of(job) for ref in active) or any(name_of(j) == name_of(job) for j in jobs):
        # Started already; only the status was lost.
        result.status["lastScheduleTime"] = format_time(at)
        return
    policy = spec.get("concurrencyPolicy") or "Allow"
    if policy == "Forbid" and active:
        text = "Not starting job because prior execution is running and concurrency policy is Forbid"
        result.events.append(("Normal", "JobAlreadyActive", text))
        return
    if policy == "Replace" and active:
        going = {str(ref.get("uid")) for ref in active}
        result.replace = [j for j in jobs if uid_of(j) in going]
        result.status.pop("active", None)
    result.start = job
    result.scheduled_at = at
