"""Cron jobs. The syntax of schedules is in `schedule`, the rules of the jobs they make in `jobspec`.

Source of defaults, rules and texts: ``pkg/apis/batch`` and ``pkg/registry/batch/cronjob``.
"""

from __future__ import annotations

import re
from typing import ClassVar

from pybernetes.api import names
from pybernetes.api.field import FieldError
from pybernetes.api.kinds.equality import semantic_equal
from pybernetes.api.kinds.faults import Faults
from pybernetes.api.kinds.jobs import job_warnings
from pybernetes.api.kinds.jobspec import job_spec
from pybernetes.api.kinds.podspec.defaults import default_template
from pybernetes.api.kinds.podspec.warnings import name_warning
from pybernetes.api.kinds.schedule import ScheduleError, check_schedule, is_time_zone
from pybernetes.api.kinds.strategy import Strategy
from pybernetes.api.meta import Object

_MAX_NAME = 52
_POLICIES = ("Allow", "Forbid", "Replace")
_ZONE_PART = re.compile(r"[A-Za-z.\-_0-9+]{1,14}")


class CronJobStrategy(Strategy):
    has_generation = True
    initial_status: ClassVar[Object | None] = {}

    def validate_name(self, name: str, *, prefix: bool) -> list[str]:
        errors = names.dns_subdomain(name, prefix=prefix)
        # The controller appends eleven characters to name the jobs.
        if not prefix and len(name) > _MAX_NAME:
            errors.append(f"must be no more than {_MAX_NAME} characters")
        return errors

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        for name, value in (
            ("concurrencyPolicy", "Allow"),
            ("suspend", False),
            ("successfulJobsHistoryLimit", 3),
            ("failedJobsHistoryLimit", 1),
        ):
            if spec.get(name) is None or spec.get(name) == "":
                spec[name] = value
        job = spec.setdefault("jobTemplate", {})
        job.setdefault("metadata", {})
        default_template(job.setdefault("spec", {}).setdefault("template", {}))

    def validate_create(self, obj: Object) -> list[FieldError]:
        return self._validate(obj, None)

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        return self._validate(obj, old.get("spec") or {})

    @staticmethod
    def _validate(obj: Object, old: Object | None) -> Faults:
        faults = Faults()
        spec = obj.get("spec") or {}
        schedule, zone = spec.get("schedule") or "", spec.get("timeZone")
        if not schedule:
            faults.required("spec.schedule")
        else:
            _schedule(faults, schedule, zone, "TZ" in ((old or {}).get("schedule") or ""))
        faults.not_negative("spec.startingDeadlineSeconds", spec.get("startingDeadlineSeconds"))
        # A zone that was known when it was written stays.
        if zone is not None and (old is None or zone != old.get("timeZone")):
            _time_zone(faults, zone)
        policy = spec.get("concurrencyPolicy")
        if policy not in _POLICIES:
            faults.one_of("spec.concurrencyPolicy", policy, _POLICIES)
        template = (spec.get("jobTemplate") or {}).get("spec") or {}
        job_spec(faults, "spec.jobTemplate.spec", template)
        if template.get("selector") is not None:
            faults.invalid("spec.jobTemplate.spec.selector", template["selector"], "`selector` will be auto-generated")
        if template.get("manualSelector"):
            faults.not_supported("spec.jobTemplate.spec.manualSelector", True, ("nil", "false"))
        for name in ("successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
            faults.not_negative(f"spec.{name}", spec.get(name))
        return faults

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        spec = obj.get("spec") or {}
        out = name_warning(obj, "Pod names and hostnames") if old is None else []
        if old is None or not semantic_equal(spec, old.get("spec")):
            job = (spec.get("jobTemplate") or {}).get("spec") or {}
            out.extend(job_warnings("spec.jobTemplate.spec", job))
        if "TZ" in (spec.get("schedule") or ""):
            out.append(
                "CRON_TZ or TZ used in spec.schedule is not officially supported, see "
                "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
            )
        return out


def _schedule(faults: Faults, schedule: str, zone: str | None, had_zone: bool) -> None:
    at, text = "spec.schedule", schedule
    for prefix in ("CRON_TZ=", "TZ="):
        if schedule.startswith(prefix):
            text = schedule.partition(" ")[2].strip()
            break
    try:
        check_schedule(text)
    except ScheduleError as e:
        faults.invalid(at, schedule, str(e))
    if "TZ" in schedule and not had_zone:
        faults.invalid(at, schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead")
    elif "TZ" in schedule and zone is not None:
        faults.invalid(at, schedule, "cannot use both timeZone field and TZ or CRON_TZ in schedule")


def _time_zone(faults: Faults, zone: str) -> None:
    at = "spec.timeZone"
    if not zone:
        faults.invalid(at, zone, "timeZone must be nil or non-empty string")
        return
    for part in zone.split("/"):
        if part in (".", "..") or part.startswith("-") or not _ZONE_PART.fullmatch(part):
            faults.invalid(at, zone, f"unknown time zone {zone}")
            return
    if zone.lower() == "local":
        text = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        faults.invalid(at, zone, text)
    # Go knows its own name for the local zone, in that spelling.
    if zone != "Local" and not is_time_zone(zone):
        faults.invalid(at, zone, f"unknown time zone {zone}")
