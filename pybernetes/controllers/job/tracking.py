"""Counting pods that ended exactly once, with a finalizer on each and the uids under way in the status. Pure.

A pod that ended is first noted in the status (`uncountedTerminatedPods`, or its index), then its finalizer goes, and
only when no finalizer is seen any more does its uid become a number. Whatever is lost in between, nothing is counted
twice and nothing is missed (KEP-2307).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pybernetes.api.meta import Object, is_deleting, uid_of
from pybernetes.controllers import pods as podstate
from pybernetes.controllers.job import failurepolicy, indexes, model

MAX_UNCOUNTED = 500


@dataclass(slots=True)
class Count:
    """The job's pods, counted."""

    succeeded: int = 0
    """Numbers of the status, without what is uncounted."""
    failed: int = 0
    uncounted_succeeded: list[str] = field(default_factory=list)
    uncounted_failed: list[str] = field(default_factory=list)
    completed_indexes: set[int] = field(default_factory=set)
    failed_indexes: set[int] = field(default_factory=set)
    release: list[Object] = field(default_factory=list)
    """Pods whose finalizer goes once the status is written."""
    policy_failure: str = ""
    """Why the failure policy fails the whole job; empty where it does not."""
    more: bool = False
    """Whether pods were left for the next pass."""

    @property
    def total_succeeded(self) -> int:
        return self.succeeded + len(self.uncounted_succeeded)

    @property
    def total_failed(self) -> int:
        return self.failed + len(self.uncounted_failed)

    @property
    def is_settled(self) -> bool:
        """Whether nothing is under way between pods and numbers."""
        return not self.uncounted_succeeded and not self.uncounted_failed and not self.release and not self.more


def per_index_limit(job: Object) -> int | None:
    return model.optional_int(job, "backoffLimitPerIndex")


def failures_by_index(job: Object, pods: Sequence[Object]) -> dict[int, int]:
    """How often each index has failed, by the pods that are still there."""
    found: dict[int, int] = {}
    for pod in pods:
        index = model.index_of(pod)
        if index is not None and model.is_failed(job, pod):
            ignored = failurepolicy.judge(job, pod).action == "Ignore"
            found[index] = max(found.get(index, 0), model.index_failures(pod) + (not ignored))
    return found


def count(job: Object, pods: Sequence[Object], *, finishing: bool) -> Count:
    """`finishing`: the job is about to end, so that pods being deleted count as they are."""
    status = job.get("status") or {}
    uncounted = status.get("uncountedTerminatedPods") or {}
    limit = model.completions(job)
    result = Count(int(status.get("succeeded") or 0), int(status.get("failed") or 0))
    indexed = model.is_indexed(job)
    if indexed:
        result.completed_indexes = indexes.parse(status.get("completedIndexes"), limit or 0)
        result.failed_indexes = indexes.parse(status.get("failedIndexes"), limit or 0)
    tracked = {uid_of(p): p for p in pods if model.is_tracked(p)}
    for uid in uncounted.get("succeeded") or ():
        if uid in tracked:
            result.uncounted_succeeded.append(uid)
        else:
            result.succeeded += 1
    for uid in uncounted.get("failed") or ():
        if uid in tracked:
            result.uncounted_failed.append(uid)
        else:
            result.failed += 1
    known = {*result.uncounted_succeeded, *result.uncounted_failed}
    per_index = per_index_limit(job) if indexed else None
    failures = failures_by_index(job, pods) if per_index is not None else {}
    for uid, pod in tracked.items():
        if uid in known:
            result.release.append(pod)
            continue
        if len(known) >= MAX_UNCOUNTED:
            result.more = True
            break
        if podstate.phase_of(pod) == "Succeeded":
            _succeeded(result, pod, indexed, limit)
            known.add(uid)
        elif model.is_failed(job, pod) or (finishing and is_deleting(pod)):
            _failed(result, job, pod)
            known.add(uid)
    if per_index is not None:
        result.failed_indexes |= {i for i, n in failures.items() if n > per_index and i not in result.completed_indexes}
        result.release = [p for p in result.release if finishing or _is_replaced(result, pods, p, failures)]
    if indexed:
        result.failed_indexes -= result.completed_indexes
        result.succeeded = len(result.completed_indexes)
    return result


def _succeeded(result: Count, pod: Object, indexed: bool, limit: int | None) -> None:
    if indexed:
        # The index tells them apart: no uid is needed.
        index = model.index_of(pod)
        if index is not None and index < (limit or 0):
            result.completed_indexes.add(index)
    else:
        result.uncounted_succeeded.append(uid_of(pod))
    result.release.append(pod)


def _failed(result: Count, job: Object, pod: Object) -> None:
    verdict = failurepolicy.judge(job, pod) if podstate.phase_of(pod) == "Failed" else failurepolicy.Verdict()
    if verdict.action == "FailJob" and not result.policy_failure:
        result.policy_failure = verdict.message
    index = model.index_of(pod)
    if verdict.action == "FailIndex" and index is not None:
        result.failed_indexes.add(index)
    if verdict.action != "Ignore":
        result.uncounted_failed.append(uid_of(pod))
    result.release.append(pod)


def _is_replaced(result: Count, pods: Sequence[Object], pod: Object, failures: dict[int, int]) -> bool:
    """Whether a failed pod's count of its index's failures lives on: in a later pod, or because the index is done."""
    index = model.index_of(pod)
    if index is None or podstate.phase_of(pod) == "Succeeded":
        return True
    if index in result.completed_indexes or index in result.failed_indexes:
        return True
    if model.index_failures(pod) + 1 < failures.get(index, 0):
        return True
    return any(
        model.index_of(p) == index and uid_of(p) != uid_of(pod) and model.index_failures(p) > model.index_failures(pod)
        for p in pods
    )
