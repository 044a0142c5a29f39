"""Conversion between the version that is stored and the others that are served. Pure.

Two stored kinds are served twice: events (core/v1, stored, and events.k8s.io/v1) and HorizontalPodAutoscalers
(autoscaling/v2, stored, and v1). Every other resource is stored as it is served. Sources: the conversions in upstream's
``pkg/apis/events/v1`` and ``pkg/apis/autoscaling/v1``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from pybernetes.api import resources
from pybernetes.api.errors import BadRequest
from pybernetes.api.meta import Object
from pybernetes.api.resources import Resource
from pybernetes.api.schema.decode import decode

_EVENT_FIELDS = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}
_EVENT_FIELDS_BACK = {v: k for k, v in _EVENT_FIELDS.items()}

_CPU_UTILIZATION_PERCENT = 80
_METRICS = "autoscaling.alpha.kubernetes.io/metrics"
_CURRENT_METRICS = "autoscaling.alpha.kubernetes.io/current-metrics"
_CONDITIONS = "autoscaling.alpha.kubernetes.io/conditions"
_BEHAVIOR = "autoscaling.alpha.kubernetes.io/behavior"


def _renamed(resource: Resource, obj: Object, names: dict[str, str]) -> Object:
    out: Object = {"kind": resource.kind, "apiVersion": resource.api_version}
    for key, value in obj.items():
        if key not in out:
            out[names.get(key, key)] = value
    return out


def _event_to_storage(obj: Object) -> Object:
    return _renamed(resources.EVENTS, obj, _EVENT_FIELDS_BACK)


def _event_from_storage(obj: Object) -> Object:
    return _renamed(resources.EVENTS_V1, obj, _EVENT_FIELDS)


def _cpu_target(metric: Object) -> int | None:
    """The CPU utilisation in percent that a v2 metric asks for, None for any other metric."""
    source = metric.get("resource") or {}
    target = source.get("target") or {}
    if metric.get("type") == "Resource" and source.get("name") == "cpu" and target.get("type") == "Utilization":
        return target.get("averageUtilization")
    return None


def _hpa_from_storage(obj: Object) -> Object:
    out = {**obj, "apiVersion": resources.HORIZONTALPODAUTOSCALERS_V1.api_version}
    annotations = dict((obj["metadata"].get("annotations")) or {})
    spec, status = dict(obj.get("spec") or {}), dict(obj.get("status") or {})
    others = []
    for metric in spec.pop("metrics", None) or ():
        target = _cpu_target(metric)
        if target is not None and "targetCPUUtilizationPercentage" not in spec:
            spec["targetCPUUtilizationPercentage"] = target
        else:
            others.append(metric)
    if others:
        annotations[_METRICS] = orjson.dumps(others).decode()
    if behavior := spec.pop("behavior", None):
        annotations[_BEHAVIOR] = orjson.dumps(behavior).decode()
    current = status.pop("currentMetrics", None) or []
    for metric in current:
        source = metric.get("resource") or {}
        utilization = (source.get("current") or {}).get("averageUtilization")
        if source.get("name") == "cpu" and utilization is not None:
            status["currentCPUUtilizationPercentage"] = utilization
    if current:
        annotations[_CURRENT_METRICS] = orjson.dumps(current).decode()
    if conditions := status.pop("conditions", None):
        annotations[_CONDITIONS] = orjson.dumps(conditions).decode()
    if annotations:
        out["metadata"] = {**obj["metadata"], "annotations": annotations}
    out["spec"], out["status"] = spec, status
    return out


def _cpu_metric(percent: int) -> Object:
    goal = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": "cpu", "target": goal}}


def _hpa_to_storage(obj: Object) -> Object:
    out = {**obj, "apiVersion": resources.HORIZONTALPODAUTOSCALERS.api_version}
    own_meta = obj.get("metadata") or {}
    annotations = dict(own_meta.get("annotations") or {})
    spec, status = dict(obj.get("spec") or {}), dict(obj.get("status") or {})
    metrics: list[Object] = []
    target = spec.pop("targetCPUUtilizationPercentage", None)
    if target is not None:
        metrics.append(_cpu_metric(target))
    metrics += _annotated(annotations, _METRICS, "spec", "metrics") or ()
    # Without any, v2 has its default, which v1 then shows.
    spec["metrics"] = metrics or [_cpu_metric(_CPU_UTILIZATION_PERCENT)]
    if behavior := _annotated(annotations, _BEHAVIOR, "spec", "behavior"):
        spec["behavior"] = behavior
    status.pop("currentCPUUtilizationPercentage", None)
    if current := _annotated(annotations, _CURRENT_METRICS, "status", "currentMetrics"):
        status["currentMetrics"] = current
    if conditions := _annotated(annotations, _CONDITIONS, "status", "conditions"):
        status["conditions"] = conditions
    meta = {k: v for k, v in own_meta.items() if k != "annotations"}
    if annotations:
        meta["annotations"] = annotations
    out["metadata"], out["spec"] = meta, spec
    if status:
        out["status"] = status
    else:
        out.pop("status", None)
    return out


def _annotated(annotations: dict[str, str], key: str, part: str, field: str) -> Any:
    """Takes the JSON of a field of v2 out of an annotation. One that the field cannot hold is dropped, as upstream
    does."""
    text = annotations.pop(key, None)
    if text is None:
        return None
    stored = resources.HORIZONTALPODAUTOSCALERS
    try:
        obj = {"apiVersion": stored.api_version, "kind": stored.kind, part: {field: orjson.loads(text)}}
        found, _ = decode(obj, stored, "Ignore")
    except (orjson.JSONDecodeError, BadRequest):
        return None
    return (found.get(part) or {}).get(field)


_Convert = Callable[[Object], Object]
_CONVERTERS: dict[Resource, tuple[Resource, _Convert, _Convert]] = {
    resources.EVENTS_V1: (resources.EVENTS, _event_to_storage, _event_from_storage),
    resources.HORIZONTALPODAUTOSCALERS_V1: (
        resources.HORIZONTALPODAUTOSCALERS, _hpa_to_storage, _hpa_from_storage,
    ),
}  # fmt: skip


def storage_resource(resource: Resource) -> Resource:
    """The resource in whose version objects of this one are stored."""
    found = _CONVERTERS.get(resource)
    return found[0] if found is not None else resource


def to_storage(resource: Resource, obj: Object) -> Object:
    """The object in its stored version; the object itself where that is the one it has."""
    found = _CONVERTERS.get(resource)
    return found[1](obj) if found is not None else obj


def from_storage(resource: Resource, obj: Object) -> Object:
    """A stored object in the version of `resource`."""
    found = _CONVERTERS.get(resource)
    return found[2](obj) if found is not None else obj


def versions(resource: Resource) -> tuple[Resource, ...]:
    """The other resources under which objects of this one are served."""
    stored = storage_resource(resource)
    others = tuple(r for r, (to, _, _) in _CONVERTERS.items() if to is stored)
    return tuple(r for r in (stored, *others) if r is not resource) if others else ()


def convert(resource: Resource, other: Resource, obj: Object) -> Object:
    """An object in the version of `resource`, in that of `other`."""
    return from_storage(other, to_storage(resource, obj))
