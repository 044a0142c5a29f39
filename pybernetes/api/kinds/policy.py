"""Disruption budgets, limit ranges, resource quotas, priority classes and runtime classes.

Source of defaults, rules and texts: ``pkg/apis/policy``, ``pkg/apis/core``, ``pkg/apis/scheduling``, ``pkg/apis/node``.
"""

from __future__ import annotations

from typing import ClassVar

from pybernetes.api import names
from pybernetes.api.field import FieldError
from pybernetes.api.kinds.amounts import amount, canonical_list, show
from pybernetes.api.kinds.conditions import conditions
from pybernetes.api.kinds.faults import Faults
from pybernetes.api.kinds.labels import is_empty_selector, label_map, label_selector
from pybernetes.api.kinds.podspec import resources
from pybernetes.api.kinds.podspec.scheduling import tolerations
from pybernetes.api.kinds.podspec.warnings import deprecated_label
from pybernetes.api.kinds.rollouts import at_most_all, int_or_percent
from pybernetes.api.kinds.strategy import Strategy
from pybernetes.api.meta import Object, name_of
from pybernetes.api.quantity import NANO


class PodDisruptionBudgetStrategy(Strategy):
    has_generation = True
    allow_unconditional_update = False
    initial_status: ClassVar[Object | None] = {
        "currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0
    }  # fmt: skip

    def default(self, obj: Object) -> None:
        obj.setdefault("spec", {})
        status = obj.get("status")
        if status is not None:
            for name in self.initial_status or ():
                status.setdefault(name, 0)

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        spec = obj.get("spec") or {}
        least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
        if least is not None and most is not None:
            faults.invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set")
        for name, value in (("minAvailable", least), ("maxUnavailable", most)):
            if value is not None:
                int_or_percent(faults, f"spec.{name}", value)
                at_most_all(faults, f"spec.{name}", value)
        label_selector(faults, "spec.selector", spec.get("selector"))
        policy = spec.get("unhealthyPodEvictionPolicy")
        if policy is not None and policy not in ("AlwaysAllow", "IfHealthyBudget"):
            faults.not_supported("spec.unhealthyPodEvictionPolicy", policy, ("AlwaysAllow", "IfHealthyBudget"))
        return faults

    def validate_status_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults()
        status = obj.get("status") or {}
        conditions(faults, "status.conditions", status.get("conditions"))
        for name in ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"):
            faults.not_negative(f"status.{name}", status.get(name))
        return faults

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        selector = (obj.get("spec") or {}).get("selector")
        if selector is not None and is_empty_selector(selector) and old is None:
            return ["spec.selector: an empty selector selects all pods in the namespace"]
        return []


_LIMIT_FIELDS = ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio")
_LIMIT_TYPES = ("Pod", "Container", "PersistentVolumeClaim")


class LimitRangeStrategy(Strategy):
    allow_create_on_update = True

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        spec.setdefault("limits", [])
        for item in spec["limits"] or ():
            for field in _LIMIT_FIELDS:
                if item.get(field):
                    item[field] = canonical_list(item[field])
            if item.get("type") != "Container":
                continue
            # Limits default to the maximum, requests to the limits, and then to the minimum.
            limits, requests = item.setdefault("default", {}), item.setdefault("defaultRequest", {})
            for source, target in (
                (item.get("max") or {}, limits),
                (limits, requests),
                (item.get("min") or {}, requests),
            ):
                for name, value in source.items():
                    target.setdefault(name, value)
            for field in ("default", "defaultRequest"):
                if not item[field]:
                    del item[field]

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        seen: set[str] = set()
        for i, item in enumerate((obj.get("spec") or {}).get("limits") or ()):
            at, kind = f"spec.limits[{i}]", item.get("type") or ""
            faults.each(f"{at}.type", kind, names.qualified_name(kind))
            if kind and "/" not in kind and kind not in _LIMIT_TYPES:
                faults.invalid(f"{at}.type", kind, "must be a standard limit type or fully qualified")
            if kind in seen:
                faults.duplicate(f"{at}.type", kind)
            seen.add(kind)
            self._item(faults, at, kind, item)
        return faults

    @staticmethod
    def _item(faults: Faults, path: str, kind: str, item: Object) -> None:
        keys: dict[str, None] = {}
        for field in _LIMIT_FIELDS:
            values = item.get(field) or {}
            if kind == "Pod" and field in ("default", "defaultRequest"):
                if values:
                    faults.forbidden(f"{path}.{field}", "may not be specified when `type` is 'Pod'")
                continue
            for name, value in values.items():
                at = f"{path}.{field}[{name}]"
                if kind in ("Pod", "Container"):
                    resources.container_resource_name(faults, at, name)
                else:
                    resources.resource_name(faults, at, name)
                if amount(value) is None:
                    # Any quantity goes, negative ones too; but a quantity it must be.
                    resources.quantity_value(faults, at, name, value)
                keys[name] = None
        if kind == "PersistentVolumeClaim" and not any("storage" in (item.get(f) or ()) for f in ("min", "max")):
            faults.required(
                f"{path}.limits", "either minimum or maximum storage value is required, but neither was provided"
            )
        for name in keys:
            _limit_order(faults, path, name, item)


_ORDER = (
    ("min", "min", "max", "min value {} is greater than max value {}"),
    ("defaultRequest", "min", "defaultRequest", "min value {} is greater than default request value {}"),
    ("defaultRequest", "defaultRequest", "max", "default request value {} is greater than max value {}"),
    ("defaultRequest", "defaultRequest", "default", "default request value {} is greater than default limit value {}"),
    ("default", "min", "default", "min value {} is greater than default value {}"),
    ("default", "default", "max", "default value {} is greater than max value {}"),
)
"""(field to blame, the lower, the higher, text)"""


def _limit_order(faults: Faults, path: str, name: str, item: Object) -> None:
    values = {f: (item.get(f) or {}).get(name) for f in _LIMIT_FIELDS}
    amounts = {f: amount(v) for f, v in values.items()}
    for blamed, low, high, text in _ORDER:
        below, above = amounts[low], amounts[high]
        if below is not None and above is not None and below > above:
            # Upstream shows the maximum where the default exceeds it, and the minimum where the default is below.
            shown = "max" if low == "default" else "min" if blamed == "default" else blamed
            faults.invalid(
                f"{path}.{blamed}[{name}]", show(values[shown]), text.format(show(values[low]), show(values[high]))
            )
    ratio = amounts["maxLimitRequestRatio"]
    at = f"{path}.maxLimitRequestRatio[{name}]"
    if ratio is not None:
        text = show(values["maxLimitRequestRatio"])
        if ratio < NANO:
            faults.invalid(at, text, f"ratio {text} is less than 1")
        low_amount, high_amount = amounts["min"], amounts["max"]
        if low_amount and high_amount is not None and ratio * low_amount > high_amount * NANO:
            faults.invalid(at, text, f"ratio {text} is greater than max/min = {high_amount / low_amount:f}")
    limit, request = amounts["default"], amounts["defaultRequest"]
    if not resources.is_overcommit_allowed(name) and None not in (limit, request) and limit != request:
        faults.invalid(
            f"{path}.defaultRequest[{name}]",
            show(values["defaultRequest"]),
            f"default value {show(values['default'])} must equal to defaultRequest value "
            f"{show(values['defaultRequest'])} in {name}",
        )


_SCOPES = (
    "Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "PriorityClass", "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
)  # fmt: skip
_CONFLICTING = (("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating"))
_EXISTS_ONLY = ("BestEffort", "NotBestEffort", "Terminating", "NotTerminating", "CrossNamespacePodAffinity")


def _scope_covers(scope: str, resource: str) -> bool:
    """Whether a scope can narrow that resource's quota."""
    if resource not in resources.STANDARD_QUOTA_RESOURCES:
        return True
    if scope == "BestEffort":
        return resource == "pods"
    if scope == "VolumeAttributesClass":
        return resource in ("persistentvolumeclaims", "requests.storage")
    return resource in ("pods", "cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory")


class ResourceQuotaStrategy(Strategy):
    initial_status: ClassVar[Object | None] = {}

    def default(self, obj: Object) -> None:
        for part in (obj.setdefault("spec", {}), obj.get("status") or {}):
            for field in ("hard", "used"):
                if part.get(field):
                    part[field] = canonical_list(part[field])

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        spec = obj.get("spec") or {}
        hard = spec.get("hard") or {}
        _quota_list(faults, "spec.hard", hard)
        scopes = spec.get("scopes") or []
        for scope in scopes:
            if scope not in _SCOPES:
                faults.invalid("spec.scopes", scopes, "unsupported scope")
            _applied(faults, "spec.scopes", scopes, scope, hard)
        _conflicts(faults, scopes, scopes)
        selector = spec.get("scopeSelector") or {}
        at, matches = "spec.scopeSelector.matchExpressions", selector.get("matchExpressions") or []
        for match in matches:
            _scope_match(faults, at, match)
            _applied(faults, at, selector, match.get("scopeName") or "", hard)
        _conflicts(faults, selector, [match.get("scopeName") or "" for match in matches])
        return faults

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults(self.validate_create(obj))
        new, before = ((o.get("spec") or {}).get("scopes") or [] for o in (obj, old))
        if set(new) != set(before):
            faults.invalid("spec.scopes", new, "field is immutable")
        return faults

    def validate_status_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults()
        for field in ("hard", "used"):
            _quota_list(faults, f"status.{field}", (obj.get("status") or {}).get(field) or {})
        return faults


def _applied(faults: Faults, path: str, shown: object, scope: str, hard: Object) -> None:
    for name in sorted(hard):
        if not _scope_covers(scope, name):
            faults.invalid(path, shown, "unsupported scope applied to resource")


def _conflicts(faults: Faults, shown: object, scopes: list[str]) -> None:
    for pair in _CONFLICTING:
        if all(scope in scopes for scope in pair):
            # Upstream blames spec.scopes for the selector's too.
            faults.invalid("spec.scopes", shown, "conflicting scopes")


def _scope_match(faults: Faults, path: str, match: Object) -> None:
    scope, operator, values = match.get("scopeName") or "", match.get("operator") or "", match.get("values") or []
    if scope not in _SCOPES:
        faults.invalid(f"{path}.scopeName", scope, "unsupported scope")
    if scope in _EXISTS_ONLY and operator != "Exists":
        faults.invalid(
            f"{path}.operator",
            operator,
            "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, "
            "ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or "
            "ResourceQuotaScopeCrossNamespacePodAffinity",
        )
    if operator in ("In", "NotIn"):
        if not values:
            faults.required(
                f"{path}.values", "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
            )
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            faults.invalid(
                f"{path}.values",
                values,
                "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector",
            )
    else:
        faults.invalid(f"{path}.operator", operator, "not a valid selector operator")


def _quota_list(faults: Faults, path: str, values: Object) -> None:
    for name, value in values.items():
        # Object counts (count/deployments.apps) are qualified names like any other.
        resources.quota_resource_name(faults, f"{path}[{name}]", name)
        resources.quantity_value(faults, f"{path}[{name}]", name, value)


HIGHEST_USER_PRIORITY = 1_000_000_000
SYSTEM_PRIORITIES = {
    "system-node-critical": 2 * HIGHEST_USER_PRIORITY + 1000,
    "system-cluster-critical": 2 * HIGHEST_USER_PRIORITY,
}


class PriorityClassStrategy(Strategy):
    has_generation = True
    allow_unconditional_update = True

    def default(self, obj: Object) -> None:
        obj.setdefault("value", 0)
        if obj.get("preemptionPolicy") is None:
            obj["preemptionPolicy"] = "PreemptLowerPriority"
        if not obj.get("globalDefault"):
            obj.pop("globalDefault", None)

    def raises_generation(self, obj: Object, old: Object) -> bool:
        return False

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        name, value = name_of(obj), obj.get("value") or 0
        if name.startswith("system-"):
            if name not in SYSTEM_PRIORITIES:
                faults.forbidden(
                    "metadata.name",
                    "priority class names with 'system-' prefix are reserved for system use only. "
                    f"error: {name} is not a known system priority class",
                )
            elif value != SYSTEM_PRIORITIES[name]:
                faults.forbidden(
                    "metadata.name",
                    "priority class names with 'system-' prefix are reserved for system use only. "
                    f"error: value of {name} PriorityClass must be {SYSTEM_PRIORITIES[name]}",
                )
        elif value > HIGHEST_USER_PRIORITY:
            faults.forbidden("value", f"maximum allowed value of a user defined priority is {HIGHEST_USER_PRIORITY}")
        policy = obj.get("preemptionPolicy")
        if policy not in ("PreemptLowerPriority", "Never"):
            faults.one_of("preemptionPolicy", policy, ("PreemptLowerPriority", "Never"))
        return faults

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults()
        if (obj.get("value") or 0) != (old.get("value") or 0):
            faults.forbidden("value", "may not be changed in an update.")
        faults.immutable("preemptionPolicy", obj.get("preemptionPolicy"), old.get("preemptionPolicy"))
        return faults


class RuntimeClassStrategy(Strategy):
    allow_unconditional_update = False

    def default(self, obj: Object) -> None:
        overhead = (obj.get("overhead") or {}).get("podFixed")
        if overhead:
            obj["overhead"]["podFixed"] = canonical_list(overhead)

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        handler = obj.get("handler") or ""
        faults.each("handler", handler, names.dns_label(handler))
        overhead = (obj.get("overhead") or {}).get("podFixed")
        if overhead:
            resources.requirements(faults, "overhead.podFixed", {"limits": overhead})
        scheduling = obj.get("scheduling") or {}
        label_map(faults, "scheduling.nodeSelector", scheduling.get("nodeSelector"))
        tolerated = scheduling.get("tolerations") or []
        tolerations(faults, "scheduling.tolerations", tolerated)
        seen: set[tuple[str, ...]] = set()
        for i, toleration in enumerate(tolerated):
            key = tuple(toleration.get(k) or "" for k in ("key", "operator", "value", "effect"))
            if key in seen:
                faults.duplicate(f"scheduling.tolerations[{i}]", toleration)
            seen.add(key)
        return faults

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults()
        faults.immutable("handler", obj.get("handler"), old.get("handler"))
        return faults

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        selector = (obj.get("scheduling") or {}).get("nodeSelector") or ()
        return [f"scheduling.nodeSelector[{key}]: {text}" for key in selector if (text := deprecated_label(key))]
