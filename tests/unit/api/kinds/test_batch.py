"""Jobs and cron jobs."""

from __future__ import annotations

from typing import Any

import pytest

from pybernetes.api import resources as r
from pybernetes.api.kinds.registry import strategy_for
from pybernetes.api.kinds.schedule import ScheduleError, check_schedule
from pybernetes.api.meta import Object, clone
from tests.unit.api.kinds.build import created, faults, named, template, update_faults

UID = "11111111-2222-3333-4444-555555555555"


def job(**spec: Any) -> Object:
    spec.setdefault("template", {"spec": {**template()["spec"], "restartPolicy": "Never"}})
    return named("pi", spec=spec)


def cron_job(**spec: Any) -> Object:
    spec.setdefault("schedule", "*/5 * * * *")
    spec.setdefault("jobTemplate", {"spec": {"template": job()["spec"]["template"]}})
    return named("hello", spec=spec)


def test_job_defaults() -> None:
    spec = created(r.JOBS, job())["spec"]
    spec.pop("template")
    assert spec == {
        "completions": 1,
        "parallelism": 1,
        "backoffLimit": 6,
        "completionMode": "NonIndexed",
        "suspend": False,
        "manualSelector": False,
        "podReplacementPolicy": "TerminatingOrFailed",
        "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": UID}},
    }


def test_a_job_labels_its_pods_with_old_keys_and_new() -> None:
    assert created(r.JOBS, job())["spec"]["template"]["metadata"]["labels"] == {
        "batch.kubernetes.io/controller-uid": UID,
        "batch.kubernetes.io/job-name": "pi",
        "controller-uid": UID,
        "job-name": "pi",
    }


def test_a_work_queue_job_has_no_completions() -> None:
    assert "completions" not in created(r.JOBS, job(parallelism=3))["spec"]


def test_a_sound_job_passes() -> None:
    assert faults(r.JOBS, job()) == []


@pytest.mark.parametrize(
    ("spec", "errors"),
    [
        (
            {"template": {"spec": template()["spec"]}},
            ['spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"'],
        ),
        ({"parallelism": -1}, ["spec.parallelism: Invalid value: -1: must be greater than or equal to 0"]),
        (
            {"completionMode": "Indexed", "parallelism": 1},
            ["spec.completions: Required value: when completion mode is Indexed"],
        ),
        (
            {"selector": {"matchLabels": {"a": "b"}}, "manualSelector": True},
            [
                "spec.template.metadata.labels: Invalid value: {}: `selector` does not match template `labels`",
            ],
        ),
        (
            {
                "podFailurePolicy": {"rules": [{"action": "Nope", "onExitCodes": {"operator": "In", "values": [1]}}]},
            },
            [
                'spec.podFailurePolicy.rules[0].action: Unsupported value: "Nope": '
                'supported values: "Count", "FailIndex", "FailJob", "Ignore"'
            ],
        ),
    ],
)
def test_job_refused(spec: dict[str, Any], errors: list[str]) -> None:
    assert faults(r.JOBS, job(**spec)) == errors


def test_a_selector_of_ones_own_needs_manual_selector() -> None:
    errors = faults(r.JOBS, job(selector={"matchLabels": {"a": "b"}}))
    assert errors[0].endswith("`selector` not auto-generated")


def test_the_template_is_immutable_and_parallelism_is_not() -> None:
    old = created(r.JOBS, job())
    new = clone(old)
    new["spec"]["parallelism"] = 3
    new["spec"]["suspend"] = True
    assert update_faults(r.JOBS, new, old) == []
    new["spec"]["template"]["spec"]["containers"][0]["image"] = "other:1"
    (error,) = update_faults(r.JOBS, new, old)
    assert error.startswith("spec.template: Invalid value: {")
    assert error.endswith(": field is immutable")


def test_a_suspended_job_may_be_told_where_to_run() -> None:
    old = created(r.JOBS, job(suspend=True))
    new = clone(old)
    new["spec"]["template"]["spec"]["nodeSelector"] = {"gpu": "yes"}
    assert update_faults(r.JOBS, new, old) == []
    stopped = {**clone(old), "status": {"startTime": "2026-01-01T00:00:00Z"}}
    assert update_faults(r.JOBS, new, stopped) == []
    running = {**clone(old), "status": {"startTime": "2026-01-01T00:00:00Z", "active": 1}}
    assert update_faults(r.JOBS, new, running) != []


def test_a_suspended_job_without_pods_may_be_given_other_resources() -> None:
    old = created(r.JOBS, job(suspend=True))
    new = clone(old)
    container = new["spec"]["template"]["spec"]["containers"][0]
    container["resources"] = {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}
    assert update_faults(r.JOBS, new, old) == []
    (error,) = update_faults(r.JOBS, new, created(r.JOBS, job()))
    assert error.endswith(": field is immutable")
    container["resources"] = {"claims": [{"name": "gpu"}]}
    new["spec"]["template"]["spec"]["resourceClaims"] = [{"name": "gpu", "resourceClaimName": "gpu"}]
    (error,) = update_faults(r.JOBS, new, old)
    assert error.endswith(": field is immutable")


def test_completions_are_fixed() -> None:
    old = created(r.JOBS, job(completions=2))
    new = clone(old)
    new["spec"]["completions"] = 3
    assert update_faults(r.JOBS, new, old) == ["spec.completions: Invalid value: 3: field is immutable"]


def test_cron_job_defaults() -> None:
    spec = created(r.CRONJOBS, cron_job())["spec"]
    spec.pop("jobTemplate")
    assert spec == {
        "schedule": "*/5 * * * *",
        "concurrencyPolicy": "Allow",
        "suspend": False,
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 1,
    }


@pytest.mark.parametrize(
    ("spec", "errors"),
    [
        ({}, []),
        ({"schedule": "@hourly", "timeZone": "Europe/Zurich"}, []),
        (
            {"schedule": "every minute"},
            [
                'spec.schedule: Invalid value: "every minute": expected exactly 5 fields, found 2: [every minute]',
            ],
        ),
        (
            {"schedule": "TZ=UTC * * * * *"},
            [
                'spec.schedule: Invalid value: "TZ=UTC * * * * *": '
                "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
            ],
        ),
        (
            {"timeZone": "Mars/Olympus"},
            ['spec.timeZone: Invalid value: "Mars/Olympus": unknown time zone Mars/Olympus'],
        ),
        (
            {"concurrencyPolicy": "Nope"},
            [
                'spec.concurrencyPolicy: Unsupported value: "Nope": supported values: "Allow", "Forbid", "Replace"',
            ],
        ),
    ],
)
def test_cron_jobs(spec: dict[str, Any], errors: list[str]) -> None:
    assert faults(r.CRONJOBS, cron_job(**spec)) == errors


@pytest.mark.parametrize(
    "text",
    ["* * * * *", "0 0 1 jan sun", "*/15 1-5 ? * MON-FRI", "5,10,15 * * * *", "@every 1h30m", "@daily", "0/5 * * * *"],
)
def test_schedules_that_pass(text: str) -> None:
    check_schedule(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty spec string"),
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("x * * * *", 'failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax'),
        ("@sometimes", "unrecognized descriptor: @sometimes"),
    ],
)
def test_schedules_that_do_not(text: str, message: str) -> None:
    with pytest.raises(ScheduleError) as info:
        check_schedule(text)
    assert str(info.value) == message


def test_jobs_can_be_selected_by_success() -> None:
    obj = {**created(r.JOBS, job()), "status": {"succeeded": 3}}
    assert strategy_for(r.JOBS).selectable_fields(obj)["status.successful"] == "3"
