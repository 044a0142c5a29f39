"""Jobs. Their spec's rules are in `jobspec`, their status' in `jobstatus`.

Source of defaults, rules and texts: ``pkg/apis/batch`` and ``pkg/registry/batch/job``.
"""

from __future__ import annotations

from typing import ClassVar

from pybernetes.api import names
from pybernetes.api.field import FieldError
from pybernetes.api.kinds import labels
from pybernetes.api.kinds.equality import semantic_equal
from pybernetes.api.kinds.faults import Faults
from pybernetes.api.kinds.jobspec import COMPLETIONS_SOFT_LIMIT, job_spec
from pybernetes.api.kinds.jobstatus import status_update
from pybernetes.api.kinds.podspec.defaults import default_template
from pybernetes.api.kinds.podspec.validation import MAX_INT32
from pybernetes.api.kinds.podspec.warnings import name_warning, pod_warnings
from pybernetes.api.kinds.strategy import Strategy
from pybernetes.api.kinds.workloads import SELECTOR_MISMATCH
from pybernetes.api.meta import Object, labels_of, metadata, name_of, namespace_of, uid_of

CONTROLLER_UID = "batch.kubernetes.io/controller-uid"
JOB_NAME = "batch.kubernetes.io/job-name"
LEGACY_CONTROLLER_UID = "controller-uid"
LEGACY_JOB_NAME = "job-name"
BACKOFF_LIMIT = 6
_PARALLELISM_SOFT_LIMIT = 10_000
_FIXED = ("completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy")
_SCHEDULING = ("nodeSelector", "tolerations", "schedulingGates")


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

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        self._job(faults, obj, prefixed=True)
        return faults

    @staticmethod
    def _job(faults: Faults, obj: Object, *, prefixed: bool) -> None:
        """Every fault of a job as it stands; `prefixed` where it must have today's labels."""
        spec = obj.get("spec") or {}
        if not spec.get("manualSelector") and spec.get("selector") is not None:
            _generated_selector(faults, obj, spec, prefixed)
        _selected_spec(faults, spec)
        completions = spec.get("completions") or 0
        if spec.get("completionMode") == "Indexed" and completions > 0:
            highest = f"{name_of(obj)}-{completions - 1}"
            if names.dns_label(highest):
                faults.invalid(
                    "metadata.name", name_of(obj), f"will not able to create pod with invalid DNS label: {highest}"
                )

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults()
        spec, before = obj.get("spec") or {}, old.get("spec") or {}
        # An unchanged spec has been judged before.
        if semantic_equal(spec, before):
            return faults
        had = labels_of(before.get("template") or {})
        self._job(faults, obj, prefixed=CONTROLLER_UID in had and JOB_NAME in had)
        _completions_update(faults, spec, before)
        faults.immutable("spec.selector", spec.get("selector"), before.get("selector"))
        template, old_template = spec.get("template") or {}, before.get("template") or {}
        # While a suspended job has no pods it may be told where they go and what they get (KEP-2926, KEP-5440).
        if before.get("suspend") and not (old.get("status") or {}).get("active"):
            same = semantic_equal(_without_directives(template), _without_directives(old_template))
        else:
            same = semantic_equal(template, old_template)
        if not same:
            faults.invalid("spec.template", template, "field is immutable")
        for name in _FIXED:
            faults.immutable(f"spec.{name}", spec.get(name), before.get(name))
        return faults

    def validate_status_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults()
        status_update(faults, obj.get("status") or {}, old.get("status") or {}, obj.get("spec") or {})
        return faults

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        spec = obj.get("spec") or {}
        out = name_warning(obj, "Pod names and hostnames") if old is None else []
        if old is None or not semantic_equal(spec, old.get("spec")):
            out.extend(job_warnings("spec", spec))
        return out

    def selectable_fields(self, obj: Object) -> dict[str, str]:
        return {
            "metadata.name": name_of(obj),
            "metadata.namespace": namespace_of(obj),
            "status.successful": str((obj.get("status") or {}).get("succeeded") or 0),
        }


def job_warnings(path: str, spec: Object) -> list[str]:
    """Warnings of a JobSpec at `path`."""
    out = []
    completions, parallelism = spec.get("completions") or 0, spec.get("parallelism") or 0
    if (
        spec.get("completionMode") == "Indexed"
        and completions > COMPLETIONS_SOFT_LIMIT
        and parallelism > _PARALLELISM_SOFT_LIMIT
    ):
        out.append(
            f"{path}: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than "
            "10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail"
        )
    out.extend(pod_warnings(spec.get("template") or {}, f"{path}.template"))
    return out


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


def _generated_selector(faults: Faults, obj: Object, spec: Object, prefixed: bool) -> None:
    uid, name = uid_of(obj), name_of(obj)
    if not uid:
        faults.required("metadata.uid")
    wanted = {LEGACY_CONTROLLER_UID: uid, LEGACY_JOB_NAME: name}
    if prefixed:
        wanted |= {CONTROLLER_UID: uid, JOB_NAME: name}
    have = labels_of(spec.get("template") or {})
    for key, value in wanted.items():
        at = f"spec.template.metadata.labels[{key}]"
        if key not in have:
            faults.required(at, f"must be '{value}'")
        elif have[key] != value:
            faults.invalid(at, have, f"must be '{value}'")
    selector = spec.get("selector") or {}
    if labels.is_valid_selector(selector) and not labels.selector_matches(selector, wanted):
        faults.invalid("spec.selector", selector, "`selector` not auto-generated")


def _selected_spec(faults: Faults, spec: Object) -> None:
    job_spec(faults, "spec", spec)
    selector, template = spec.get("selector"), spec.get("template") or {}
    if selector is None:
        faults.required("spec.selector")
    else:
        labels.label_selector(faults, "spec.selector", selector)
    if labels.is_valid_selector(selector) and not labels.selector_matches(selector, labels_of(template)):
        faults.invalid("spec.template.metadata.labels", labels_of(template), SELECTOR_MISMATCH)


def _without_directives(template: Object) -> Object:
    """The template without what says where its pods go (of the affinity only the nodes'), and containers' resources."""
    meta, spec = dict(metadata(template)), dict(template.get("spec") or {})
    for name in ("labels", "annotations"):
        meta.pop(name, None)
    for name in _SCHEDULING:
        spec.pop(name, None)
    for name in ("containers", "initContainers"):
        spec[name] = [
            {**c, "resources": {"claims": (c.get("resources") or {}).get("claims")}} for c in spec.get(name) or ()
        ]
    affinity = {k: v for k, v in (spec.pop("affinity", None) or {}).items() if k != "nodeAffinity" and v}
    return {"metadata": meta, "spec": {**spec, "affinity": affinity}}


def _completions_update(faults: Faults, spec: Object, old: Object) -> None:
    """Completions are fixed, but for an indexed job whose parallelism goes along (KEP-3715)."""
    new, before = spec.get("completions"), old.get("completions")
    if spec.get("completionMode") != "Indexed":
        faults.immutable("spec.completions", new, before)
    elif new is not None and new != before and new != spec.get("parallelism"):
        faults.invalid("spec.completions", new, "can only be modified in tandem with spec.parallelism")
