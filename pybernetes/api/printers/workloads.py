"""Rows of workloads, autoscalers and disruption budgets.

Source of the logic: ``pkg/printers/internalversion/printers.go``.
"""

from __future__ import annotations

from typing import Any

from pybernetes.api import selectors, time
from pybernetes.api.kinds.amounts import show
from pybernetes.api.meta import Object, controller_of, is_condition_true, is_deleting, name_of
from pybernetes.api.printers.values import (
    NONE,
    UNKNOWN,
    UNSET,
    age,
    boolean,
    containers_of,
    format_labels,
    format_selector,
    human_duration,
    since,
)

_METRICS_SHOWN = 2


def _template_spec(obj: Object) -> Object:
    return ((obj.get("spec") or {}).get("template") or {}).get("spec") or {}


def _wide(obj: Object) -> list[Any]:
    """Containers, images and selector: the wide columns of most workloads."""
    return [*containers_of(_template_spec(obj)), format_selector((obj.get("spec") or {}).get("selector"))]


def replication_controller_cells(obj: Object, now: float) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    return [
        name_of(obj),
        spec.get("replicas") or 0,
        status.get("replicas") or 0,
        status.get("readyReplicas") or 0,
        age(obj, now),
        *containers_of(_template_spec(obj)),
        format_labels(spec.get("selector")),
    ]


def replica_set_cells(obj: Object, now: float) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    return [
        name_of(obj),
        spec.get("replicas") or 0,
        status.get("replicas") or 0,
        status.get("readyReplicas") or 0,
        age(obj, now),
        *_wide(obj),
    ]


def deployment_cells(obj: Object, now: float) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    try:
        selector = str(selectors.from_label_selector(spec.get("selector")))
    except selectors.SelectorError:
        selector = "<invalid>"
    return [
        name_of(obj),
        f"{status.get('readyReplicas') or 0}/{spec.get('replicas') or 0}",
        status.get("updatedReplicas") or 0,
        status.get("availableReplicas") or 0,
        age(obj, now),
        *containers_of(_template_spec(obj)),
        selector,
    ]


def stateful_set_cells(obj: Object, now: float) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    return [
        name_of(obj),
        f"{status.get('readyReplicas') or 0}/{spec.get('replicas') or 0}",
        age(obj, now),
        *containers_of(_template_spec(obj)),
    ]


def daemon_set_cells(obj: Object, now: float) -> list[Any]:
    status = obj.get("status") or {}
    counts = (
        "desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled", "numberAvailable",
    )  # fmt: skip
    return [
        name_of(obj),
        *(status.get(c) or 0 for c in counts),
        format_labels(_template_spec(obj).get("nodeSelector")),
        age(obj, now),
        *_wide(obj),
    ]


def job_cells(obj: Object, now: float) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    succeeded, wanted, parallelism = status.get("succeeded") or 0, spec.get("completions"), spec.get("parallelism") or 0
    if wanted is not None:
        completions = f"{succeeded}/{wanted}"
    else:
        completions = f"{succeeded}/1 of {parallelism}" if parallelism > 1 else f"{succeeded}/1"
    duration = ""
    if status.get("startTime"):
        ended = time.parse_time(status["completionTime"]) if status.get("completionTime") else now
        duration = human_duration(ended - time.parse_time(status["startTime"]))
    state = (
        "Complete" if is_condition_true(obj, "Complete")
        else "Failed" if is_condition_true(obj, "Failed")
        else "Terminating" if is_deleting(obj)
        else "Suspended" if is_condition_true(obj, "Suspended")
        else "FailureTarget" if is_condition_true(obj, "FailureTarget")
        else "Running"
    )  # fmt: skip
    return [name_of(obj), state, completions, duration, age(obj, now), *_wide(obj)]


def cron_job_cells(obj: Object, now: float) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    job = (spec.get("jobTemplate") or {}).get("spec") or {}
    last = status.get("lastScheduleTime")
    return [
        name_of(obj),
        spec.get("schedule") or "",
        NONE if spec.get("timeZone") is None else spec["timeZone"],
        boolean(spec.get("suspend")),
        len(status.get("active") or ()),
        since(last, now) if last else NONE,
        age(obj, now),
        *containers_of((job.get("template") or {}).get("spec")),
        format_selector(job.get("selector")),
    ]


def controller_revision_cells(obj: Object, now: float) -> list[Any]:
    owner = controller_of(obj)
    controller = NONE
    if owner is not None:
        group = (owner.get("apiVersion") or "").rpartition("/")[0]
        kind = f"{owner.get('kind') or ''}.{group}" if group else owner.get("kind") or ""
        controller = f"{kind.lower()}/{owner.get('name') or ''}"
    return [name_of(obj), controller, obj.get("revision") or 0, age(obj, now)]


def pod_disruption_budget_cells(obj: Object, now: float) -> list[Any]:
    spec = obj.get("spec") or {}
    return [
        name_of(obj),
        *("N/A" if spec.get(k) is None else str(spec[k]) for k in ("minAvailable", "maxUnavailable")),
        (obj.get("status") or {}).get("disruptionsAllowed") or 0,
        age(obj, now),
    ]


def horizontal_pod_autoscaler_cells(obj: Object, now: float) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    target = spec.get("scaleTargetRef") or {}
    specs, statuses = spec.get("metrics") or [], status.get("currentMetrics") or []
    utilization = spec.get("targetCPUUtilizationPercentage")
    if utilization is not None:
        # autoscaling/v1 knows this one metric.
        specs = [_cpu("target", utilization)]
        current = status.get("currentCPUUtilizationPercentage")
        statuses = [] if current is None else [_cpu("current", current)]
    return [
        name_of(obj),
        f"{target.get('kind') or ''}/{target.get('name') or ''}",
        _metrics(specs, statuses),
        UNSET if spec.get("minReplicas") is None else str(spec["minReplicas"]),
        spec.get("maxReplicas") or 0,
        status.get("currentReplicas") or 0,
        age(obj, now),
    ]


def _cpu(field: str, percent: int) -> Object:
    return {"type": "Resource", "resource": {"name": "cpu", field: {"averageUtilization": percent}}}


_METRIC_FIELDS = {
    "External": "external",
    "Pods": "pods",
    "Object": "object",
    "Resource": "resource",
    "ContainerResource": "containerResource",
}


def _metrics(specs: list[Object], statuses: list[Object]) -> str:
    if not specs:
        return NONE
    shown = [_metric(s, statuses[i] if i < len(statuses) else {}) for i, s in enumerate(specs[:_METRICS_SHOWN])]
    text = ", ".join(shown)
    return f"{text} + {len(specs) - _METRICS_SHOWN} more..." if len(specs) > _METRICS_SHOWN else text


def _metric(spec: Object, status: Object) -> str:
    field = _METRIC_FIELDS.get(spec.get("type") or "")
    if field is None:
        return "<unknown type>"
    source = spec.get(field) or {}
    target, current = source.get("target") or {}, (status.get(field) or {}).get("current") or {}

    def amount(name: str) -> str:
        return show(current[name]) if current.get(name) is not None else UNKNOWN

    if field in ("resource", "containerResource"):
        prefix = f"{source.get('name') or ''}: "
        if target.get("averageValue") is not None:
            return f"{prefix}{amount('averageValue')}/{show(target['averageValue'])}"
        now = current.get("averageUtilization")
        wanted = target.get("averageUtilization")
        return f"{prefix}{UNKNOWN if now is None else f'{now}%'}/{'<auto>' if wanted is None else f'{wanted}%'}"
    if field == "pods":
        return f"{amount('averageValue')}/{show(target.get('averageValue', '0'))}"
    if target.get("averageValue") is not None:
        return f"{amount('averageValue')}/{show(target['averageValue'])} (avg)"
    return f"{amount('value')}/{show(target.get('value', '0'))}"
