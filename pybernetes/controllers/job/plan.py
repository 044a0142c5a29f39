"""What a Job needs done: pods to create and delete, finalizers to drop, and its status. Pure.

Source of the behaviour: upstream's ``pkg/controller/job``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pybernetes.api.meta import Object, clone, is_deleting, metadata
from pybernetes.api.time import format_time, parse_time
from pybernetes.controllers import pods as podstate
from pybernetes.controllers.batches import BURST_REPLICAS
from pybernetes.controllers.job import indexes, model, tracking
from pybernetes.controllers.job.model import (
    COMPLETE,
    FAILED,
    FAILURE_TARGET,
    SUCCESS_CRITERIA_MET,
    SUSPENDED,
    new_condition,
)
from pybernetes.controllers.replicaset.ranking import rank_for_deletion


@dataclass(frozen=True, slots=True)
class NewPod:
    index: int | None = None
    failures: int | None = None


@dataclass(slots=True)
class Plan:
    create: list[NewPod] = field(default_factory=list)
    delete: list[Object] = field(default_factory=list)
    release: list[Object] = field(default_factory=list)
    """Pods whose finalizer goes after the status is written."""
    status: Object = field(default_factory=dict)
    events: list[tuple[str, str, str]] = field(default_factory=list)
    """(type, reason, message), recorded once the status is written."""
    check_again_at: float | None = None

    def check_at(self, at: float) -> None:
        self.check_again_at = at if self.check_again_at is None else min(self.check_again_at, at)


def plan(job: Object, pods: Sequence[Object], now: float, *, manage: bool = True) -> Plan:
    """`pods` are the job's pods; without `manage` (the cache is stale) none are created or deleted."""
    if model.finished(job) is not None or not model.is_ours(job):
        done = Plan(status=job.get("status") or {})
        if model.is_ours(job):
            done.release = [p for p in pods if model.is_tracked(p)]
        return done
    return _Pass(job, pods, now, manage).run()


class _Pass:
    def __init__(self, job: Object, pods: Sequence[Object], now: float, manage: bool) -> None:
        self.job = job
        self.pods = pods
        self.now = now
        self.manage = manage and not is_deleting(job)
        self.status: Object = clone(job.get("status") or {})
        self.result = Plan()
        self.active = [p for p in pods if podstate.is_active(p)]
        self.terminating = [p for p in pods if podstate.is_terminating(p)]
        self.indexed = model.is_indexed(job)
        self.completions = model.completions(job)

    def run(self) -> Plan:
        job, status = self.job, self.status
        if not status.get("startTime") and not model.is_suspended(job):
            status["startTime"] = format_time(self.now)
        ending = model.condition(status, FAILURE_TARGET) or model.condition(status, SUCCESS_CRITERIA_MET)
        self.count = tracking.count(job, self.pods, finishing=ending is not None)
        if ending is None:
            ending = self._failure() or self._success_policy()
            if ending is not None:
                self._set(ending)
                self.count = tracking.count(job, self.pods, finishing=True)
        active = len(self.active)
        if ending is not None:
            self.result.delete = list(self.active) if self.manage else []
        elif self.manage:
            self._scale()
            self._suspension()
        active += len(self.result.create) - len(self.result.delete)
        if ending is None and self._is_complete(active):
            ending = new_condition(
                SUCCESS_CRITERIA_MET,
                "True",
                "CompletionsReached",
                "Reached expected number of succeeded pods",
                self.now,
            )
            self._set(ending)
        self._write_counts(active)
        if ending is not None:
            self._end(ending, active)
        self.result.release = self.count.release
        self.result.status = status
        return self.result

    # Is it over?

    def _failure(self) -> Object | None:
        """The FailureTarget condition, where the job has failed."""
        job, count = self.job, self.count
        limit = model.optional_int(job, "backoffLimit")
        limit = 6 if limit is None else limit
        reason = message = ""
        if count.policy_failure:
            reason, message = "PodFailurePolicy", count.policy_failure
        elif count.total_failed > limit or self._restarts_exceed(limit):
            reason, message = "BackoffLimitExceeded", "Job has reached the specified backoff limit"
        elif self._is_past_deadline():
            reason, message = "DeadlineExceeded", "Job was active longer than specified deadline"
        elif self.indexed and tracking.per_index_limit(job) is not None:
            allowed = model.optional_int(job, "maxFailedIndexes")
            if allowed is not None and len(count.failed_indexes) > allowed:
                reason = "MaxFailedIndexesExceeded"
                message = "Job has exceeded the specified maximal number of failed indexes"
            elif count.failed_indexes and len(count.failed_indexes) + len(count.completed_indexes) >= (
                self.completions or 0
            ):
                reason, message = "FailedIndexes", "Job has failed indexes"
        return new_condition(FAILURE_TARGET, "True", reason, message, self.now) if reason else None

    def _restarts_exceed(self, limit: int) -> bool:
        """With restartPolicy OnFailure containers fail without their pods failing."""
        if (self.job["spec"]["template"].get("spec") or {}).get("restartPolicy") != "OnFailure":
            return False
        restarts = sum(model.restarts(p) for p in self.active if podstate.phase_of(p) in ("Running", "Pending"))
        return restarts > 0 if limit == 0 else restarts >= limit

    def _is_past_deadline(self) -> bool:
        deadline = model.optional_int(self.job, "activeDeadlineSeconds")
        start = self.status.get("startTime")
        if deadline is None or not start or model.is_suspended(self.job):
            return False
        due = parse_time(start) + deadline
        if self.now >= due:
            return True
        self.result.check_at(due)
        return False

    def _success_policy(self) -> Object | None:
        for i, rule in enumerate((self.job["spec"].get("successPolicy") or {}).get("rules") or ()):
            done = self.count.completed_indexes
            wanted: set[int] | None = None
            if rule.get("succeededIndexes"):
                wanted = indexes.parse(rule["succeededIndexes"], self.completions or 0)
                done = done & wanted
            needed = rule.get("succeededCount")
            if needed is None:
                needed = len(wanted or ())
            if self.indexed and len(done) >= int(needed) > 0:
                return new_condition(
                    SUCCESS_CRITERIA_MET, "True", "SuccessPolicy", f"Matched rules at index {i}", self.now
                )
        return None

    def _is_complete(self, active: int) -> bool:
        if self.completions is None:
            return self.count.total_succeeded > 0 and active == 0
        return self.count.total_succeeded >= self.completions and active == 0

    def _set(self, condition: Object) -> None:
        conditions = [c for c in self.status.get("conditions") or () if c.get("type") != condition["type"]]
        self.status["conditions"] = [*conditions, condition]

    def _end(self, ending: Object, active: int) -> None:
        """Adds the final condition once every pod has ended and is counted."""
        if active or self.terminating or self.result.delete or not self.count.is_settled:
            return
        failed = ending["type"] == FAILURE_TARGET
        self._set(
            new_condition(FAILED if failed else COMPLETE, "True", ending["reason"], ending.get("message", ""), self.now)
        )
        if failed:
            self.result.events.append(("Warning", str(ending["reason"]), str(ending.get("message", ""))))
        else:
            self.status["completionTime"] = format_time(self.now)
            self.result.events.append(("Normal", "Completed", "Job completed"))

    # How many pods?

    def _wanted_active(self) -> int:
        limit = model.parallelism(self.job)
        if self.completions is None:
            # Somebody has decided that the work is done: nobody new, but those at work may end.
            return len(self.active) if self.count.total_succeeded else limit
        done = self.count.total_succeeded + len(self.count.failed_indexes)
        return max(0, min(limit, self.completions - done))

    def _scale(self) -> None:
        if model.is_suspended(self.job):
            self.result.delete = self._surplus(len(self.active))[:BURST_REPLICAS]
            return
        wanted = self._wanted_active()
        delete = self._surplus(max(0, len(self.active) - wanted))[:BURST_REPLICAS]
        if delete:
            self.result.delete = delete
            return
        waiting = len(self.terminating) if model.replaces_only_failed(self.job) else 0
        room = min(wanted - waiting - len(self.active), BURST_REPLICAS)
        if room <= 0:
            return
        if self.indexed:
            self._create_indexes(room)
            return
        due = self._backoff_until()
        if due > self.now:
            self.result.check_at(due)
            return
        self.result.create = [NewPod()] * room

    def _surplus(self, at_least: int) -> list[Object]:
        """Active pods to delete: doubles and strays of indexes in any case, then by the order of ReplicaSets."""
        doomed: list[Object] = []
        rest = list(self.active)
        if self.indexed:
            seen: set[int] = set()
            rest = []
            done = self.count.completed_indexes | self.count.failed_indexes
            for pod in sorted(self.active, key=lambda p: str(metadata(p).get("creationTimestamp") or "")):
                index = model.index_of(pod)
                if index is None or index in seen or index in done or index >= (self.completions or 0):
                    doomed.append(pod)
                else:
                    seen.add(index)
                    rest.append(pod)
        if len(doomed) < at_least:
            doomed += rank_for_deletion(rest, (), self.now)[: at_least - len(doomed)]
        return doomed

    def _backoff_until(self) -> float:
        """When the next pod may be made: failures in a row since the last success hold it back."""
        succeeded = [model.finished_at(p) for p in self.pods if podstate.phase_of(p) == "Succeeded"]
        since = max(succeeded, default=0.0)
        failed = [at for p in self.pods if podstate.phase_of(p) == "Failed" and (at := model.finished_at(p)) > since]
        return max(failed) + model.backoff_seconds(len(failed)) if failed else 0.0

    def _create_indexes(self, room: int) -> None:
        taken = self.count.completed_indexes | self.count.failed_indexes
        busy = [*self.active, *(self.terminating if model.replaces_only_failed(self.job) else ())]
        taken |= {i for p in busy if (i := model.index_of(p)) is not None}
        per_index = tracking.per_index_limit(self.job) is not None
        failures = tracking.failures_by_index(self.job, self.pods) if per_index else {}
        due = 0.0 if per_index else self._backoff_until()
        if due > self.now:
            self.result.check_at(due)
            return
        for index in range(self.completions or 0):
            if len(self.result.create) >= room:
                return
            if index in taken:
                continue
            if per_index:
                last = max(
                    (
                        model.finished_at(p)
                        for p in self.pods
                        if model.index_of(p) == index and model.is_failed(self.job, p)
                    ),
                    default=0.0,
                )
                due = last + model.backoff_seconds(failures.get(index, 0))
                if due > self.now:
                    self.result.check_at(due)
                    continue
            self.result.create.append(NewPod(index, failures.get(index, 0) if per_index else None))

    def _suspension(self) -> None:
        conditions = self.status.get("conditions") or []
        standing = next((c for c in conditions if c.get("type") == SUSPENDED), None)
        is_true = standing is not None and standing.get("status") == "True"
        if model.is_suspended(self.job) and not is_true:
            self._set(new_condition(SUSPENDED, "True", "JobSuspended", "Job suspended", self.now))
            self.status.pop("startTime", None)
            self.result.events.append(("Normal", "Suspended", "Job suspended"))
        elif not model.is_suspended(self.job) and is_true:
            self._set(new_condition(SUSPENDED, "False", "JobResumed", "Job resumed", self.now))
            self.status["startTime"] = format_time(self.now)
            self.result.events.append(("Normal", "Resumed", "Job resumed"))

    # What to say.

    def _write_counts(self, active: int) -> None:
        status, count = self.status, self.count
        for name, value in (("active", active), ("succeeded", count.succeeded), ("failed", count.failed)):
            if value:
                status[name] = value
            else:
                status.pop(name, None)
        # Pointers upstream: there also as 0.
        leaving = {id(p) for p in self.result.delete}
        status["ready"] = sum(1 for p in self.active if id(p) not in leaving and podstate.is_ready(p)) if active else 0
        status["terminating"] = len(self.terminating)
        uncounted: Object = {}
        if count.uncounted_succeeded:
            uncounted["succeeded"] = count.uncounted_succeeded
        if count.uncounted_failed:
            uncounted["failed"] = count.uncounted_failed
        status["uncountedTerminatedPods"] = uncounted
        if self.indexed:
            for name, found in (("completedIndexes", count.completed_indexes), ("failedIndexes", count.failed_indexes)):
                if name == "failedIndexes" and tracking.per_index_limit(self.job) is None:
                    continue
                text = indexes.render(found)
                if text or name == "failedIndexes":
                    status[name] = text
                else:
                    status.pop(name, None)
