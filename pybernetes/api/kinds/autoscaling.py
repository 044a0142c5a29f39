"""Horizontal pod autoscalers, of autoscaling/v2 and v1.

Source of defaults, rules and texts: ``pkg/apis/autoscaling``.
"""

from __future__ import annotations

from pybernetes.api import names
from pybernetes.api.field import FieldError
from pybernetes.api.kinds.amounts import amount, canonical, quantity_fault, show
from pybernetes.api.kinds.faults import NOT_NEGATIVE, Faults
from pybernetes.api.kinds.labels import label_selector
from pybernetes.api.kinds.strategy import Strategy
from pybernetes.api.meta import Object, annotations_of

CPU_UTILIZATION_PERCENT = 80
MAX_WINDOW_SECONDS = 3600
MAX_PERIOD_SECONDS = 1800
_SOURCES = {
    "Object": "object",
    "External": "external",
    "Pods": "pods",
    "Resource": "resource",
    "ContainerResource": "containerResource",
}
_METRICS = "autoscaling.alpha.kubernetes.io/metrics"
_OUTSIDE = ("Object", "External")
_TARGET_TYPES = ("Utilization", "Value", "AverageValue")


class HorizontalPodAutoscalerStrategy(Strategy):
    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        if spec.get("minReplicas") is None:
            spec["minReplicas"] = 1
        if self.resource.version == "v1":
            return
        if not spec.get("metrics"):
            spec["metrics"] = [
                {
                    "type": "Resource",
                    "resource": {
                        "name": "cpu",
                        "target": {"type": "Utilization", "averageUtilization": CPU_UTILIZATION_PERCENT},
                    },
                }
            ]
        for metric in spec["metrics"]:
            target = (metric.get(_SOURCES.get(metric.get("type") or "", "")) or {}).get("target") or {}
            for name in ("value", "averageValue"):
                if target.get(name) is not None:
                    target[name] = canonical(target[name])
        behavior = spec.get("behavior")
        if behavior is not None:
            _default_rules(
                behavior,
                "scaleUp",
                [
                    {"type": "Pods", "value": 4, "periodSeconds": 15},
                    {"type": "Percent", "value": 100, "periodSeconds": 15},
                ],
                {"stabilizationWindowSeconds": 0},
            )
            # Scaling down, the window left out is the controller's own.
            _default_rules(behavior, "scaleDown", [{"type": "Percent", "value": 100, "periodSeconds": 15}], {})

    def prepare_for_create(self, obj: Object) -> None:
        # The status' required fields differ between the versions.
        obj["status"] = {"desiredReplicas": 0, "currentMetrics": []}
        if self.resource.version == "v1":
            obj["status"] = {"desiredReplicas": 0, "currentReplicas": 0}

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        spec = obj.get("spec") or {}
        least, most = spec.get("minReplicas"), spec.get("maxReplicas") or 0
        metrics = spec.get("metrics") or []
        if least is not None and least < 0:
            faults.invalid("spec.minReplicas", least, "must be greater than or equal to 0")
        if most < 1:
            faults.invalid("spec.maxReplicas", most, "must be greater than 0")
        if least is not None and most < least:
            faults.invalid("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`")
        _target_reference(faults, "spec.scaleTargetRef", spec.get("scaleTargetRef") or {})
        utilization = spec.get("targetCPUUtilizationPercentage")
        if utilization is not None and utilization < 1:
            # The rules are those of v2, which it stands for.
            at = "spec.metrics[0].resource.target.averageUtilization"
            faults.invalid(at, utilization, "must be greater than 0")
        for i, metric in enumerate(metrics):
            _metric(faults, f"spec.metrics[{i}]", metric)
        # Without pods there is nothing to measure in them (KEP-2021). v1 has such metrics in an annotation.
        if least == 0 and not any(m.get("type") in _OUTSIDE for m in metrics) and not annotations_of(obj).get(_METRICS):
            text = "must specify at least one Object or External metric to support scaling to zero replicas"
            faults.forbidden("spec.metrics", text)
        behavior = spec.get("behavior") or {}
        for direction in ("scaleUp", "scaleDown"):
            if behavior.get(direction) is not None:
                _rules(faults, f"spec.behavior.{direction}", behavior[direction])
        return faults

    def validate_status_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults()
        for name in ("currentReplicas", "desiredReplicas"):
            faults.not_negative(f"status.{name}", (obj.get("status") or {}).get(name))
        return faults


def _default_rules(behavior: Object, direction: str, policies: list[Object], values: Object) -> None:
    rules = behavior.get(direction)
    if rules is None:
        rules = behavior[direction] = {}
    for name, value in values.items():
        if rules.get(name) is None:
            rules[name] = value
    if rules.get("selectPolicy") is None:
        rules["selectPolicy"] = "Max"
    if not rules.get("policies"):
        rules["policies"] = policies


def _target_reference(faults: Faults, path: str, reference: Object) -> None:
    for name in ("kind", "name"):
        value = reference.get(name)
        if not value:
            faults.required(f"{path}.{name}")
        else:
            faults.each(f"{path}.{name}", value, names.path_segment_name(value))


def _metric(faults: Faults, path: str, metric: Object) -> None:
    kind = metric.get("type") or ""
    if not kind:
        faults.required(f"{path}.type", "must specify a metric source type")
    if kind not in _SOURCES:
        faults.not_supported(f"{path}.type", kind, sorted(_SOURCES))
    present = [(name, field) for name, field in _SOURCES.items() if metric.get(field) is not None]
    if present:
        # Only the first is looked into: with others beside it something is wrong anyway.
        name, field = present[0]
        _source(faults, f"{path}.{field}", name, metric[field])
    if kind in _SOURCES and metric.get(_SOURCES[kind]) is None:
        faults.required(f"{path}.{_SOURCES[kind]}", "must populate information for the given metric source")
    if len(present) != 1:
        for name, field in present:
            if name != kind:
                faults.forbidden(f"{path}.{field}", "must populate the given metric source only")


def _source(faults: Faults, at: str, kind: str, source_spec: Object) -> None:
    """Where a metric comes from, and which value of it is wanted."""
    if kind in ("Resource", "ContainerResource"):
        if not source_spec.get("name"):
            faults.required(f"{at}.name", "must specify a resource name")
        if kind == "ContainerResource" and not source_spec.get("container"):
            faults.required(f"{at}.container", "must specify a container")
    else:
        if kind == "Object":
            _target_reference(faults, f"{at}.describedObject", source_spec.get("describedObject") or {})
        name = (source_spec.get("metric") or {}).get("name")
        if not name:
            faults.required(f"{at}.metric.name", "must specify a metric name")
        else:
            faults.each(f"{at}.metric.name", name, names.path_segment_name(name))
        label_selector(faults, f"{at}.metric.selector", (source_spec.get("metric") or {}).get("selector"))
    _metric_target(faults, f"{at}.target", kind, source_spec.get("target") or {})


def _metric_target(faults: Faults, path: str, kind: str, target: Object) -> None:
    type_ = target.get("type") or ""
    if not type_:
        faults.required(f"{path}.type", "must specify a metric target type")
    if type_ not in _TARGET_TYPES:
        faults.invalid(f"{path}.type", type_, "must be either Utilization, Value, or AverageValue")
    value, average, utilization = target.get("value"), target.get("averageValue"), target.get("averageUtilization")
    for name, quantity in (("value", value), ("averageValue", average)):
        if quantity is None:
            continue
        parsed = amount(quantity)
        if parsed is None:
            faults.invalid(f"{path}.{name}", quantity, quantity_fault())
        elif parsed <= 0:
            faults.invalid(f"{path}.{name}", quantity, "must be positive")
    if utilization is not None and utilization < 1:
        faults.invalid(f"{path}.averageUtilization", utilization, "must be greater than 0")
    if kind == "Pods" and (average is None or (amount(average) or 0) <= 0):
        faults.required(f"{path}.averageValue", "must specify a positive target averageValue")
    elif kind in ("Resource", "ContainerResource"):
        if utilization is None and average is None:
            faults.required(f"{path}.averageUtilization", "must set either a target raw value or a target utilization")
        if utilization is not None and average is not None:
            faults.forbidden(f"{path}.averageValue", "may not set both a target raw value and a target utilization")
    elif kind in ("Object", "External"):
        if value is None and average is None:
            faults.required(f"{path}.averageValue", "must set either a target value for metric or a per-pod target")
        if kind == "External" and value is not None and average is not None:
            faults.forbidden(f"{path}.value", "may not set both a target value for metric and a per-pod target")


def _rules(faults: Faults, path: str, rules: Object) -> None:
    window = rules.get("stabilizationWindowSeconds")
    if window is not None:
        if window < 0:
            faults.invalid(f"{path}.stabilizationWindowSeconds", window, "must be greater than or equal to zero")
        if window > MAX_WINDOW_SECONDS:
            faults.invalid(
                f"{path}.stabilizationWindowSeconds", window, f"must be less than or equal to {MAX_WINDOW_SECONDS}"
            )
    select = rules.get("selectPolicy")
    if select is not None and select not in ("Disabled", "Max", "Min"):
        faults.not_supported(f"{path}.selectPolicy", select, ("Disabled", "Max", "Min"))
    policies = rules.get("policies") or ()
    if not policies:
        faults.required(f"{path}.policies", "must specify at least one Policy")
    for i, policy in enumerate(policies):
        at = f"{path}.policies[{i}]"
        if policy.get("type") not in ("Percent", "Pods"):
            faults.not_supported(f"{at}.type", policy.get("type") or "", ("Percent", "Pods"))
        for name in ("value", "periodSeconds"):
            if (policy.get(name) or 0) <= 0:
                faults.invalid(f"{at}.{name}", policy.get(name) or 0, "must be greater than zero")
        if (policy.get("periodSeconds") or 0) > MAX_PERIOD_SECONDS:
            faults.invalid(
                f"{at}.periodSeconds", policy["periodSeconds"], f"must be less than or equal to {MAX_PERIOD_SECONDS}"
            )
    tolerance = rules.get("tolerance")
    if tolerance is not None:
        parsed = amount(tolerance)
        if parsed is None:
            faults.invalid(f"{path}.tolerance", tolerance, quantity_fault())
        elif parsed < 0:
            faults.invalid(f"{path}.tolerance", show(tolerance), NOT_NEGATIVE)
