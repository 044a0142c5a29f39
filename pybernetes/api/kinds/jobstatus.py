"""What a new status of a Job may say: whoever controls the job must keep the promises that its readers rely on.

Most rules look only at what changed, so a job that broke one before can still be updated in other ways.
Source of rules and texts: ``pkg/apis/batch/validation`` and ``pkg/registry/batch/job/strategy.go`` (KEP-4368).
"""

from __future__ import annotations

from pybernetes.api.field import OMITTED
from pybernetes.api.kinds.faults import Faults
from pybernetes.api.kinds.jobspec import IndexesError, parse_indexes, parse_interval
from pybernetes.api.meta import Object

_COMPLETE, _FAILED = "Complete", "Failed"
_FAILURE_TARGET, _SUCCESS_CRITERIA_MET = "FailureTarget", "SuccessCriteriaMet"
_AT = "status"


def _true(status: Object) -> frozenset[str]:
    """The types of the conditions that hold."""
    return frozenset(c.get("type") or "" for c in status.get("conditions") or () if c.get("status") == "True")


def status_update(faults: Faults, status: Object, before: Object, spec: Object) -> None:
    """The change from one JobStatus to the next, of a job with that spec."""
    holds, held = _true(status), _true(before)
    for name in ("active", "succeeded", "failed", "ready", "terminating"):
        faults.not_negative(f"{_AT}.{name}", status.get(name))
    _uncounted(faults, status.get("uncountedTerminatedPods") or {})
    _finish(faults, status, before, holds, held)
    _indexes(faults, status, before, spec)
    _criteria(faults, holds, held, spec)
    for kind in (_FAILED, _COMPLETE, _FAILURE_TARGET):
        if kind in held and kind not in holds:
            faults.invalid(f"{_AT}.conditions", OMITTED, f"cannot disable the terminal {kind}=True condition")
    if (status.get("failed") or 0) < (before.get("failed") or 0):
        faults.invalid(f"{_AT}.failed", status.get("failed") or 0, "cannot decrease the failed counter")
    # An indexed job whose parallelism goes along with its completions may shrink.
    elastic = spec.get("completionMode") == "Indexed" and spec.get("completions") == spec.get("parallelism")
    if (status.get("succeeded") or 0) < (before.get("succeeded") or 0) and not elastic:
        faults.invalid(f"{_AT}.succeeded", status.get("succeeded") or 0, "cannot decrease the succeeded counter")
    done, was_done = status.get("completionTime"), before.get("completionTime")
    if done is not None and was_done is not None and done != was_done:
        faults.invalid(f"{_AT}.completionTime", done, "completionTime cannot be mutated")
    start, started = status.get("startTime"), before.get("startTime")
    if started is not None and start != started and not spec.get("suspend"):
        if start is None:
            faults.required(f"{_AT}.startTime", "startTime cannot be removed for unsuspended job")
        else:
            faults.invalid(f"{_AT}.startTime", start, "field is immutable for unsuspended job")
    if _SUCCESS_CRITERIA_MET in held and _SUCCESS_CRITERIA_MET not in holds:
        faults.invalid(f"{_AT}.conditions", OMITTED, "cannot disable the SuccessCriteriaMet=True condition")
    if _COMPLETE in held and _SUCCESS_CRITERIA_MET not in held and _SUCCESS_CRITERIA_MET in holds:
        text = "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions"
        faults.invalid(f"{_AT}.conditions", OMITTED, text)


def _uncounted(faults: Faults, pods: Object) -> None:
    seen: set[str] = set()
    for field in ("succeeded", "failed"):
        for i, uid in enumerate(pods.get(field) or ()):
            at = f"{_AT}.uncountedTerminatedPods.{field}[{i}]"
            if not uid:
                faults.invalid(at, uid, "must not be empty")
            elif uid in seen:
                faults.duplicate(at, uid)
            seen.add(uid)


def _finish(faults: Faults, status: Object, before: Object, holds: frozenset[str], held: frozenset[str]) -> None:
    """The rules of the end of a job, and of its times."""
    changed = {kind for kind in (_COMPLETE, _FAILED, _FAILURE_TARGET, _SUCCESS_CRITERIA_MET)
               if (kind in holds) != (kind in held)}  # fmt: skip
    finished = _COMPLETE in holds or _FAILED in holds
    finish_changed = finished != (_COMPLETE in held or _FAILED in held)
    start, done = status.get("startTime"), status.get("completionTime")
    start_changed, done_changed = start != before.get("startTime"), done != before.get("completionTime")
    at = f"{_AT}.conditions"
    if changed & {_COMPLETE, _FAILED} and {_COMPLETE, _FAILED} <= holds:
        faults.invalid(at, OMITTED, "cannot set Complete=True and Failed=true conditions")
    if changed & {_COMPLETE, _FAILURE_TARGET} and {_COMPLETE, _FAILURE_TARGET} <= holds:
        faults.invalid(at, OMITTED, "cannot set Complete=True and FailureTarget=true conditions")
    if _COMPLETE in changed or done_changed:
        if done is not None and _COMPLETE not in holds:
            text = "cannot set completionTime when there is no Complete=True condition"
            faults.invalid(f"{_AT}.completionTime", done, text)
        if done is None and _COMPLETE in holds:
            faults.required(f"{_AT}.completionTime", "completionTime is required for Complete jobs")
    if (start_changed or done_changed) and start is not None and done is not None and done < start:
        # Times are in the one canonical form, which sorts as text.
        faults.invalid(f"{_AT}.completionTime", done, "completionTime cannot be set before startTime")
    if changed & {_FAILED, _FAILURE_TARGET} and _FAILED in holds and _FAILURE_TARGET not in holds:
        text = "cannot set Failed=True condition without the FailureTarget=true condition"
        faults.invalid(at, OMITTED, text)
    if changed & {_COMPLETE, _SUCCESS_CRITERIA_MET} and _COMPLETE in holds and _SUCCESS_CRITERIA_MET not in holds:
        text = "cannot set Complete=True condition without the SuccessCriteriaMet=true condition"
        faults.invalid(at, OMITTED, text)
    active, ready = status.get("active") or 0, status.get("ready")
    if finished and active > 0 and (finish_changed or active != (before.get("active") or 0)):
        faults.invalid(f"{_AT}.active", active, "active>0 is invalid for finished job")
    if finished and start is None and (finish_changed or start_changed):
        faults.required(f"{_AT}.startTime", "startTime is required for finished job")
    pods, had = status.get("uncountedTerminatedPods") or {}, before.get("uncountedTerminatedPods") or {}
    if finished and (finish_changed or pods != had) and (pods.get("failed") or pods.get("succeeded")):
        text = "uncountedTerminatedPods needs to be empty for finished job"
        faults.invalid(f"{_AT}.uncountedTerminatedPods", pods, text)
    terminating = status.get("terminating") or 0
    if finished and terminating > 0 and (finish_changed or terminating != (before.get("terminating") or 0)):
        faults.invalid(f"{_AT}.terminating", terminating, "terminating>0 is invalid for finished job")
    moved = ready != before.get("ready") or active != (before.get("active") or 0)
    if ready is not None and ready > active and moved:
        faults.invalid(f"{_AT}.ready", ready, "cannot set more ready pods than active")


def _indexes(faults: Faults, status: Object, before: Object, spec: Object) -> None:
    completed, failed = status.get("completedIndexes") or "", status.get("failedIndexes")
    completed_changed = completed != (before.get("completedIndexes") or "")
    failed_changed = failed != before.get("failedIndexes")
    completions, per_index = spec.get("completions"), spec.get("backoffLimitPerIndex")
    at, failed_at = f"{_AT}.completedIndexes", f"{_AT}.failedIndexes"
    if completed_changed and completions is not None:
        _intervals(faults, at, "completedIndexes", completed, completions)
    if failed_changed and completions is not None and per_index is not None and failed is not None:
        _intervals(faults, failed_at, "failedIndexes", failed, completions)
    if completed_changed and completed and spec.get("completionMode") != "Indexed":
        faults.invalid(at, completed, "cannot set non-empty completedIndexes when non-indexed completion mode")
    if failed_changed and failed is not None and per_index is None:
        faults.invalid(failed_at, failed, "cannot set non-null failedIndexes when backoffLimitPerIndex is null")
    if (completed_changed or failed_changed) and completions is not None and failed:
        index = _overlap(completed, failed, completions)
        if index is not None:
            faults.invalid(failed_at, failed, f"failedIndexes and completedIndexes overlap at index: {index}")


def _intervals(faults: Faults, path: str, name: str, text: str, completions: int) -> None:
    try:
        parse_indexes(text, completions)
    except IndexesError as e:
        faults.invalid(path, text, f"error parsing {name}: {e}")


def _overlap(completed: str, failed: str, completions: int) -> int | None:
    """The first index in both; intervals that do not parse are passed over, for others to report."""

    def parsed(text: str) -> list[tuple[int, int]]:
        out = []
        for part in text.split(",") if text else ():
            try:
                out.append(parse_interval(part, completions))
            except IndexesError:
                continue
        return out

    left, right = parsed(completed), parsed(failed)
    i = j = 0
    while i < len(left) and j < len(right):
        (a, b), (c, d) = left[i], right[j]
        if a <= d and c <= b:
            return max(a, c)
        if a <= c:
            i += 1
        else:
            j += 1
    return None


def _criteria(faults: Faults, holds: frozenset[str], held: frozenset[str], spec: Object) -> None:
    at = f"{_AT}.conditions"
    if {_SUCCESS_CRITERIA_MET, _FAILED} <= holds:
        faults.invalid(at, OMITTED, "cannot set SuccessCriteriaMet=True and Failed=true conditions")
    if {_SUCCESS_CRITERIA_MET, _FAILURE_TARGET} <= holds:
        faults.invalid(at, OMITTED, "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions")
    if spec.get("successPolicy") is not None and _SUCCESS_CRITERIA_MET not in holds and _COMPLETE in holds:
        text = "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True"
        faults.invalid(at, OMITTED, text)
