"""Jobs and cron jobs.

Source of defaults, rules and texts: ``pkg/apis/batch`` and ``pkg/registry/batch``.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pybernetes.api import names
from pybernetes.api.field import FieldError
from pybernetes.api.kinds import labels
from pybernetes.api.kinds.equality import semantic_equal
from pybernetes.api.kinds.faults import Faults
from pybernetes.api.kinds.podspec.defaults import default_template
from pybernetes.api.kinds.podspec.validation import MAX_INT32, pod_template
from pybernetes.api.kinds.podspec.warnings import pod_warnings
from pybernetes.api.kinds.schedule import ScheduleError, check_schedule, is_time_zone
from pybernetes.api.kinds.strategy import Strategy
from pybernetes.api.kinds.workloads import SELECTOR_MISMATCH
from pybernetes.api.meta import Object, annotations_of, labels_of, metadata, name_of, namespace_of, uid_of

CONTROLLER_UID = "batch.kubernetes.io/controller-uid"
JOB_NAME = "batch.kubernetes.io/job-name"
LEGACY_CONTROLLER_UID = "controller-uid"
LEGACY_JOB_NAME = "job-name"
BACKOFF_LIMIT = 6
_MAX_INDEXED_PARALLELISM = 100000
_MAX_CRON_JOB_NAME = 52
_MAX_POLICY_RULES = 20
_MAX_EXIT_CODES = 255
_COUNTS = (
    "parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished",
    "backoffLimitPerIndex", "maxFailedIndexes",
)  # fmt: skip
_FIXED = (
    "selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy",
)  # fmt: skip
_SCHEDULING = ("affinity", "nodeSelector", "tolerations", "schedulingGates")


class JobStrategy(Strategy):
    has_generation = True
    initial_status: ClassVar[Object | None] = {}

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        template = spec.setdefault("template", {})
        default_template(template)
        if spec.get("completions") is None and spec.get("parallelism") is None:
            spec["completions"] = spec["parallelism"] = 1
        if spec.get("parallelism") is None:
            spec["parallelism"] = 1
        if spec.get("backoffLimit") is None:
            spec["backoffLimit"] = BACKOFF_LIMIT if spec.get("backoffLimitPerIndex") is None else MAX_INT32
        if not labels_of(obj) and labels_of(template):
            obj.setdefault("metadata", {})["labels"] = dict(labels_of(template))
        for name, value in (("completionMode", "NonIndexed"), ("suspend", False), ("manualSelector", False)):
            if spec.get(name) is None:
                spec[name] = value
        for rule in (spec.get("podFailurePolicy") or {}).get("rules") or ():
            for pattern in rule.get("onPodConditions") or ():
                if not pattern.get("status"):
                    pattern["status"] = "True"
        if spec.get("podReplacementPolicy") is None:
            spec["podReplacementPolicy"] = "Failed" if spec.get("podFailurePolicy") else "TerminatingOrFailed"

    def prepare_for_create(self, obj: Object) -> None:
        super().prepare_for_create(obj)
        spec = obj.get("spec") or {}
        if not spec.get("manualSelector"):
            _generate_selector(obj, spec)

    def raises_generation(self, obj: Object, old: Object) -> bool:
        return not semantic_equal(obj.get("spec"), old.get("spec"))

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        spec = obj.get("spec") or {}
        selector, template = spec.get("selector"), spec.get("template") or {}
        if selector is None:
            faults.required("spec.selector")
        else:
            labels.label_selector(faults, "spec.selector", selector)
            if not labels.selector_matches(selector, labels_of(template)):
                faults.invalid("spec.template.metadata.labels", labels_of(template), SELECTOR_MISMATCH)
        if not spec.get("manualSelector"):
            _generated_selector(faults, obj, spec)
        job_spec(faults, "spec", spec)
        completions = spec.get("completions") or 0
        if spec.get("completionMode") == "Indexed" and completions > 0:
            highest = f"{name_of(obj)}-{completions - 1}"
            for message in names.dns_label(highest):
                faults.invalid(
                    "metadata.name",
                    name_of(obj),
                    f'will not able to create pod with invalid DNS label "{highest}": {message}',
                )
        return faults

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults()
        spec, before = obj.get("spec") or {}, old.get("spec") or {}
        if semantic_equal(spec, before):
            return faults
        job_spec(faults, "spec", spec)
        for name in _FIXED:
            faults.immutable(f"spec.{name}", spec.get(name), before.get(name))
        _completions_update(faults, spec, before)
        template, old_template = spec.get("template"), before.get("template")
        # A suspended job that never started may still be told where its pods go (KEP-2926).
        if before.get("suspend") and not (old.get("status") or {}).get("startTime"):
            template, old_template = _without_scheduling(template), _without_scheduling(old_template)
        if not semantic_equal(template, old_template):
            faults.invalid("spec.template", spec.get("template"), "field is immutable")
        return faults

    def validate_status_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults()
        status, before = obj.get("status") or {}, old.get("status") or {}
        for name in ("active", "succeeded", "failed", "ready", "terminating"):
            faults.not_negative(f"status.{name}", status.get(name))
        if before.get("completionTime") and status.get("completionTime") not in (None, before["completionTime"]):
            faults.invalid("status.completionTime", status["completionTime"], "completionTime cannot be mutated")
        return faults

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        template = (obj.get("spec") or {}).get("template") or {}
        out: list[str] = []
        if old is None:
            messages = names.dns_label(name_of(obj))
            if messages:
                out.append(
                    "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; "
                    f"a DNS label is recommended: [{' '.join(messages)}]"
                )
            out.extend(pod_warnings(template, "spec.template"))
        return out

    def selectable_fields(self, obj: Object) -> dict[str, str]:
        return {
            "metadata.name": name_of(obj),
            "metadata.namespace": namespace_of(obj),
            "status.successful": str((obj.get("status") or {}).get("succeeded") or 0),
        }


def _generate_selector(obj: Object, spec: Object) -> None:
    """Labels the template with the job's uid and name, under today's keys and the old ones, and selects by the uid.

    What the user set under one of the keys stays, and validation will refuse it.
    """
    uid, name = uid_of(obj), name_of(obj)
    template = spec.setdefault("template", {}).setdefault("metadata", {})
    template_labels = template.setdefault("labels", {})
    for key, value in (
        (LEGACY_JOB_NAME, name),
        (JOB_NAME, name),
        (LEGACY_CONTROLLER_UID, uid),
        (CONTROLLER_UID, uid),
    ):
        template_labels.setdefault(key, value)
    selector = spec.setdefault("selector", {})
    selector.setdefault("matchLabels", {}).setdefault(CONTROLLER_UID, uid)


def _generated_selector(faults: Faults, obj: Object, spec: Object) -> None:
    have = labels_of(spec.get("template") or {})
    for key, value in ((CONTROLLER_UID, uid_of(obj)), (JOB_NAME, name_of(obj))):
        at = f"spec.template.metadata.labels[{key}]"
        if key not in have:
            faults.required(at, f"must be '{value}'")
        elif have[key] != value:
            faults.invalid(at, have, f"must be '{value}'")
    selector = ((spec.get("selector") or {}).get("matchLabels")) or {}
    extra = {k for k in selector if k != CONTROLLER_UID}
    if extra or selector.get(CONTROLLER_UID) != uid_of(obj):
        faults.invalid("spec.selector", spec.get("selector"), "`selector` not auto-generated")


def _without_scheduling(template: Object | None) -> Object:
    template = template or {}
    meta, spec = dict(metadata(template)), dict(template.get("spec") or {})
    for name in ("labels", "annotations"):
        meta.pop(name, None)
    for name in _SCHEDULING:
        spec.pop(name, None)
    return {"metadata": meta, "spec": spec}


def _completions_update(faults: Faults, spec: Object, old: Object) -> None:
    """Completions are fixed, but for an indexed job whose parallelism goes along (KEP-3715)."""
    new, before = spec.get("completions"), old.get("completions")
    if new == before:
        return
    if spec.get("completionMode") != "Indexed" or before is None:
        faults.immutable("spec.completions", new, before)
    elif new is None or new != spec.get("parallelism"):
        faults.invalid("spec.completions", new, f"can only be modified in tandem with {old.get('parallelism') or 0}")


def job_spec(faults: Faults, path: str, spec: Object) -> None:
    """A JobSpec but for its selector, which a CronJob's template has not yet."""
    for name in _COUNTS:
        faults.not_negative(f"{path}.{name}", spec.get(name))
    mode = spec.get("completionMode")
    if mode is not None:
        if mode not in ("NonIndexed", "Indexed"):
            faults.not_supported(f"{path}.completionMode", mode, ("Indexed", "NonIndexed"))
        if mode == "Indexed":
            _indexed(faults, path, spec)
        elif spec.get("backoffLimitPerIndex") is not None:
            faults.invalid(
                f"{path}.backoffLimitPerIndex", spec["backoffLimitPerIndex"], "requires indexed completion mode"
            )
    manager = spec.get("managedBy")
    if manager is not None:
        if "/" not in manager:
            faults.invalid(f"{path}.managedBy", manager, 'must be a domain-prefixed path (such as "acme.io/foo")')
        else:
            faults.each(f"{path}.managedBy", manager, names.qualified_name(manager))
        if len(manager) > 63:
            faults.too_long(f"{path}.managedBy", 63)
    if spec.get("maxFailedIndexes") is not None and spec.get("backoffLimitPerIndex") is None:
        faults.required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified")
    template = spec.get("template") or {}
    pod_template(faults, f"{path}.template", template)
    policy, at = (template.get("spec") or {}).get("restartPolicy"), f"{path}.template.spec.restartPolicy"
    if policy == "Always":
        faults.required(at, 'valid values: "OnFailure", "Never"')
    elif policy not in ("OnFailure", "Never"):
        faults.not_supported(at, policy or "", ("OnFailure", "Never"))
    failure = spec.get("podFailurePolicy")
    if failure is not None:
        if policy != "Never":
            faults.invalid(at, policy, 'only "Never" is supported when podFailurePolicy is specified')
        _failure_policy(faults, f"{path}.podFailurePolicy", failure, spec)
    replacement = spec.get("podReplacementPolicy")
    supported = ("Failed",) if failure is not None else ("Failed", "TerminatingOrFailed")
    if replacement is not None and replacement not in supported:
        faults.not_supported(f"{path}.podReplacementPolicy", replacement, supported)
    if spec.get("successPolicy") is not None:
        _success_policy(faults, f"{path}.successPolicy", spec["successPolicy"], spec)


def _indexed(faults: Faults, path: str, spec: Object) -> None:
    completions, parallelism = spec.get("completions"), spec.get("parallelism")
    if completions is None:
        faults.required(f"{path}.completions", "when completion mode is Indexed")
    if parallelism is not None and parallelism > _MAX_INDEXED_PARALLELISM:
        faults.invalid(
            f"{path}.parallelism",
            parallelism,
            f"must be less than or equal to {_MAX_INDEXED_PARALLELISM} when completion mode is Indexed",
        )
    failed = spec.get("maxFailedIndexes")
    if completions is not None and failed is not None and failed > completions:
        faults.invalid(f"{path}.maxFailedIndexes", failed, "must be less than or equal to completions")


def _failure_policy(faults: Faults, path: str, policy: Object, spec: Object) -> None:
    rules = policy.get("rules") or []
    if len(rules) > _MAX_POLICY_RULES:
        faults.too_many(f"{path}.rules", len(rules), _MAX_POLICY_RULES)
    pod = ((spec.get("template") or {}).get("spec")) or {}
    known = {c.get("name") for f in ("containers", "initContainers") for c in pod.get(f) or ()}
    for i, rule in enumerate(rules):
        at, action = f"{path}.rules[{i}]", rule.get("action")
        actions = ("Count", "FailIndex", "FailJob", "Ignore")
        if action not in actions:
            faults.one_of(f"{at}.action", action, actions)
        if action == "FailIndex" and spec.get("backoffLimitPerIndex") is None:
            faults.invalid(f"{at}.action", action, "requires the backoffLimitPerIndex to be set")
        codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions")
        if codes is None and not conditions:
            faults.invalid(at, rule, "specifying one of OnExitCodes and OnPodConditions is required")
        elif codes is not None and conditions:
            faults.invalid(at, rule, "specifying both OnExitCodes and OnPodConditions is not supported")
        if codes is not None:
            _exit_codes(faults, f"{at}.onExitCodes", codes, known)
        for j, pattern in enumerate(conditions or ()):
            kind = pattern.get("type") or ""
            faults.each(f"{at}.onPodConditions[{j}].type", kind, names.qualified_name(kind))
            if pattern.get("status") not in ("False", "True", "Unknown"):
                faults.one_of(f"{at}.onPodConditions[{j}].status", pattern.get("status"), ("False", "True", "Unknown"))


def _exit_codes(faults: Faults, path: str, codes: Object, known: set[Any]) -> None:
    operator, values = codes.get("operator"), codes.get("values") or []
    if operator not in ("In", "NotIn"):
        faults.one_of(f"{path}.operator", operator, ("In", "NotIn"))
    container = codes.get("containerName")
    if container is not None and container not in known:
        faults.invalid(
            f"{path}.containerName",
            container,
            "must be one of the container or initContainer names in the pod template",
        )
    if not values:
        faults.invalid(f"{path}.values", values, "at least one value is required")
    elif len(values) > _MAX_EXIT_CODES:
        faults.too_many(f"{path}.values", len(values), _MAX_EXIT_CODES)
    if values != sorted(values):
        faults.invalid(f"{path}.values", values, "must be ordered")
    for i, value in enumerate(values):
        if value in values[:i]:
            faults.duplicate(f"{path}.values[{i}]", value)
        if operator == "In" and value == 0:
            faults.invalid(f"{path}.values[{i}]", value, "must not be 0 for the In operator")


def _success_policy(faults: Faults, path: str, policy: Object, spec: Object) -> None:
    if spec.get("completionMode") != "Indexed":
        faults.invalid(path, policy, "requires indexed completion mode")
    rules = policy.get("rules") or []
    if not rules:
        faults.required(f"{path}.rules", "at least one rules must be specified when the successPolicy is specified")
    elif len(rules) > _MAX_POLICY_RULES:
        faults.too_many(f"{path}.rules", len(rules), _MAX_POLICY_RULES)
    for i, rule in enumerate(rules):
        if rule.get("succeededCount") is None and rule.get("succeededIndexes") is None:
            faults.required(
                f"{path}.rules[{i}]",
                "at least one of succeededCount or succeededIndexes must be specified",
            )
        faults.not_negative(f"{path}.rules[{i}].succeededCount", rule.get("succeededCount"))


class CronJobStrategy(Strategy):
    has_generation = True
    initial_status: ClassVar[Object | None] = {}

    def validate_name(self, name: str, *, prefix: bool) -> list[str]:
        errors = names.dns_subdomain(name, prefix=prefix)
        # The controller appends eleven characters to name the jobs.
        if not prefix and len(name) > _MAX_CRON_JOB_NAME:
            errors.append(f"must be no more than {_MAX_CRON_JOB_NAME} characters")
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
        faults = Faults()
        spec = obj.get("spec") or {}
        schedule, zone = spec.get("schedule") or "", spec.get("timeZone")
        if not schedule:
            faults.required("spec.schedule")
        else:
            _schedule(faults, schedule, zone)
        if zone is not None:
            _time_zone(faults, zone)
        faults.not_negative("spec.startingDeadlineSeconds", spec.get("startingDeadlineSeconds"))
        policy = spec.get("concurrencyPolicy")
        if policy not in ("Allow", "Forbid", "Replace"):
            faults.one_of("spec.concurrencyPolicy", policy, ("Allow", "Forbid", "Replace"))
        for name in ("successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
            faults.not_negative(f"spec.{name}", spec.get(name))
        job = spec.get("jobTemplate") or {}
        labels.label_map(faults, "spec.jobTemplate.labels", labels_of(job))
        labels.annotation_map(faults, "spec.jobTemplate.annotations", annotations_of(job))
        template = job.get("spec") or {}
        if template.get("manualSelector"):
            faults.invalid(
                "spec.jobTemplate.spec.manualSelector", True, "`manualSelector` can not be set to true for CronJob"
            )
        if template.get("selector") is not None:
            faults.invalid("spec.jobTemplate.spec.selector", template["selector"], "`selector` will be auto-generated")
        job_spec(faults, "spec.jobTemplate.spec", template)
        return faults

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        spec = obj.get("spec") or {}
        out: list[str] = []
        if old is None:
            messages = names.dns_label(name_of(obj))
            if messages:
                out.append(
                    "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; "
                    f"a DNS label is recommended: [{' '.join(messages)}]"
                )
        template = ((spec.get("jobTemplate") or {}).get("spec") or {}).get("template") or {}
        out.extend(pod_warnings(template, "spec.jobTemplate.spec.template"))
        return out


def _schedule(faults: Faults, schedule: str, zone: str | None) -> None:
    if "TZ" in schedule:
        faults.invalid("spec.schedule", schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead")
        return
    try:
        check_schedule(schedule)
    except ScheduleError as e:
        faults.invalid("spec.schedule", schedule, str(e))


def _time_zone(faults: Faults, zone: str) -> None:
    if not zone:
        faults.invalid("spec.timeZone", zone, "timeZone must be nil or non-empty string")
    elif zone.lower() == "local":
        faults.invalid(
            "spec.timeZone",
            zone,
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
        )
    elif not is_time_zone(zone):
        faults.invalid("spec.timeZone", zone, f"unknown time zone {zone}")
