from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pybernetes.api.meta import Object, name_of, uid_of
from pybernetes.api.time import format_time, parse_time
from pybernetes.controllers.cronjob import schedule as sched
from pybernetes.controllers.cronjob.plan import job_reference, plan
from pybernetes.controllers.ttlafterfinished.plan import expires_at

AT = parse_time("2026-03-04T10:17:30Z")  # a Wednesday


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("* * * * *", "", "2026-03-04T10:18:00Z"),
        ("*/15 * * * *", "", "2026-03-04T10:30:00Z"),
        ("0 3 * * *", "", "2026-03-05T03:00:00Z"),
        ("0 3 * * *", "Europe/Berlin", "2026-03-05T02:00:00Z"),
        ("30 2 * * mon", "", "2026-03-09T02:30:00Z"),
        ("0 0 13 * 5", "", "2026-03-06T00:00:00Z"),
        ("0 0 1 jan *", "", "2027-01-01T00:00:00Z"),
        ("0 0 29 2 *", "", "2028-02-29T00:00:00Z"),
        ("@hourly", "", "2026-03-04T11:00:00Z"),
        ("@weekly", "", "2026-03-08T00:00:00Z"),
        ("@every 90s", "", "2026-03-04T10:19:00Z"),
        # The clocks go forward at 2026-03-29 02:00 in Berlin: there is no 02:30 that day.
        ("30 2 29 3 *", "Europe/Berlin", "2027-03-29T00:30:00Z"),
    ],
)
def test_next_time(text: str, zone: str, expected: str) -> None:
    at = sched.parse(text, zone).next_after(AT)
    assert at is not None and format_time(at) == expected


def test_a_schedule_that_never_comes() -> None:
    assert sched.parse("0 0 31 2 *").next_after(AT) is None


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["*/7", "5", "10-20/3", "*"]),
    st.sampled_from(["*", "3", "*/5"]),
    st.sampled_from(["*", "1", "15,28"]),
    st.sampled_from(["*", "0", "1-5"]),
    st.sampled_from(["UTC", "America/New_York", "Asia/Kolkata"]),
    st.integers(0, 400 * 24 * 60),
)
def test_next_time_is_what_a_walk_minute_by_minute_finds(
    minute: str, hour: str, day: str, weekday: str, zone: str, offset: int
) -> None:
    at = AT + offset * 60
    schedule = sched.parse(f"{minute} {hour} {day} * {weekday}", zone)
    assert isinstance(schedule, sched.Fields)
    found = schedule.next_after(at)
    t = (at // 60 + 1) * 60
    for _ in range(4000):
        local = datetime.fromtimestamp(t, ZoneInfo(zone))
        days = (local.day in schedule.days, local.isoweekday() % 7 in schedule.weekdays)
        if (
            local.minute in schedule.minutes
            and local.hour in schedule.hours
            and (all if schedule.any_day else any)(days)
        ):
            assert found == t
            return
        t += 60
    assert found is None or found >= t


def test_due_counts_and_finds_the_latest() -> None:
    schedule = sched.parse("*/5 * * * *")
    assert sched.due(schedule, AT, AT + 60) == (None, 0)
    latest, count = sched.due(schedule, AT, AT + 1000)
    assert (format_time(latest or 0), count) == ("2026-03-04T10:30:00Z", 3)
    latest, count = sched.due(schedule, AT, AT + 300 * 300)
    assert count == 101 and format_time(latest or 0) == format_time((AT + 300 * 300) // 300 * 300)


def cron_job(**spec: Any) -> Object:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"template": {"spec": {"containers": []}}}}
    return {
        "metadata": {"name": "c", "namespace": "default", "uid": "uid-c", "creationTimestamp": format_time(AT)},
        "spec": {"schedule": "*/10 * * * *", "jobTemplate": template, "concurrencyPolicy": "Allow", **spec},
    }


def job(name: str, *, done: str = "", at: float = AT) -> Object:
    status: Object = {"startTime": format_time(at)}
    if done:
        status["conditions"] = [{"type": done, "status": "True", "lastTransitionTime": format_time(at)}]
        status["completionTime"] = format_time(at)
    return {"metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}"}, "spec": {}, "status": status}


def test_a_job_starts_when_it_is_due_and_only_once() -> None:
    early = plan(cron_job(), [], AT + 60)
    assert early.start is None and early.check_again_at == parse_time("2026-03-04T10:20:00Z")
    on_time = plan(cron_job(timeZone="Europe/Berlin"), [], AT + 200)
    assert on_time.start is not None
    due = parse_time("2026-03-04T10:20:00Z")
    assert on_time.scheduled_at == due
    assert name_of(on_time.start) == f"c-{int(due) // 60}"
    assert on_time.start["metadata"]["annotations"] == {
        "batch.kubernetes.io/cronjob-scheduled-timestamp": "2026-03-04T11:20:00+01:00"
    }
    assert on_time.start["metadata"]["labels"] == {"a": "b"}
    started = {**on_time.start, "metadata": {**on_time.start["metadata"], "uid": "x"}}
    again = plan(cron_job(), [started], AT + 200)
    assert again.start is None and again.status["lastScheduleTime"] == format_time(due)
    c = cron_job()
    c["status"] = {"lastScheduleTime": format_time(due)}
    assert plan(c, [], AT + 200).start is None
    assert plan(cron_job(suspend=True), [], AT + 200).start is None


def test_concurrency_policies() -> None:
    running = job("running")
    status = {"active": [job_reference(running)]}
    assert plan({**cron_job(), "status": status}, [running], AT + 200).start is not None
    forbid = plan({**cron_job(concurrencyPolicy="Forbid"), "status": status}, [running], AT + 200)
    assert forbid.start is None and forbid.events[-1][1] == "JobAlreadyActive"
    replace = plan({**cron_job(concurrencyPolicy="Replace"), "status": status}, [running], AT + 200)
    assert [uid_of(j) for j in replace.replace] == ["uid-running"]
    assert replace.start is not None and "active" not in replace.status


def test_a_late_start_is_missed() -> None:
    missed = plan(cron_job(startingDeadlineSeconds=60), [], AT + 400)
    assert missed.start is None
    in_time = plan(cron_job(startingDeadlineSeconds=600), [], AT + 400)
    assert in_time.start is not None


def test_finished_jobs_are_told_and_the_oldest_removed() -> None:
    jobs = [job(f"ok{i}", done="Complete", at=AT + i) for i in range(4)] + [job("bad", done="Failed")]
    c = cron_job(successfulJobsHistoryLimit=2, failedJobsHistoryLimit=0)
    c["status"] = {"active": [job_reference(jobs[3]), job_reference(job("lost"))]}
    planned = plan(c, jobs, AT + 60)
    assert [name_of(j) for j in planned.remove] == ["ok0", "ok1", "bad"]
    assert ("Normal", "SawCompletedJob", "Saw completed job: ok3, condition: Complete") in planned.events
    assert ("Normal", "MissingJob", "Active job went missing: lost") in planned.events
    assert "active" not in planned.status
    assert planned.status["lastSuccessfulTime"] == format_time(AT + 3)


def test_bad_schedules_are_told() -> None:
    assert plan(cron_job(schedule="x"), [], AT).events[0][1] == "UnparseableSchedule"
    assert plan(cron_job(timeZone="Nowhere/Land"), [], AT).events[0][1] == "UnknownTimeZone"


def test_time_to_live() -> None:
    done = job("j", done="Complete")
    assert expires_at(done) is None
    done["spec"]["ttlSecondsAfterFinished"] = 30
    assert expires_at(done) == AT + 30
    running = job("r")
    running["spec"]["ttlSecondsAfterFinished"] = 0
    assert expires_at(running) is None
    assert datetime.fromtimestamp(AT, UTC).isoweekday() == 3
