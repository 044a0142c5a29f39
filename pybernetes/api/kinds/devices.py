"""Classes of devices, and the slices in which drivers tell what devices there are.

Source of defaults, rules and texts: ``pkg/apis/resource``. Pure.
"""

from __future__ import annotations

import re

from pybernetes.api import names
from pybernetes.api.field import FieldError
from pybernetes.api.kinds.amounts import amount, quantity_fault
from pybernetes.api.kinds.deviceparts import (
    MAX_CONFIGS,
    configuration,
    items,
    pool_name,
    qualified_name,
    selectors,
    taint,
)
from pybernetes.api.kinds.equality import json_equal
from pybernetes.api.kinds.faults import Faults
from pybernetes.api.kinds.labels import node_selector
from pybernetes.api.kinds.podspec.resources import is_extended
from pybernetes.api.kinds.podspec.volumes import csi_driver_name
from pybernetes.api.kinds.strategy import Strategy
from pybernetes.api.meta import Object, name_of

MAX_DEVICES, MAX_DEVICES_WITH_EXTRAS = 128, 64
MAX_ATTRIBUTES_AND_CAPACITIES = 32
MAX_ATTRIBUTE_VALUE = 64
MAX_TAINTS = 16
MAX_COUNTER_SETS = 8
_LISTS = ("bools", "ints", "strings", "versions")
_VALUES = ("bool", "int", "string", "version", *_LISTS)
_SEMVER = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?"
    r"(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?",
    re.ASCII,
)


class DeviceClassStrategy(Strategy):
    has_generation = True

    def raises_generation(self, obj: Object, old: Object) -> bool:
        return not json_equal(obj.get("spec"), old.get("spec"))

    def default(self, obj: Object) -> None:
        obj.setdefault("spec", {})

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        spec = obj.get("spec") or {}
        selectors(faults, "spec.selectors", spec.get("selectors"))
        items(faults, "spec.config", spec.get("config"), MAX_CONFIGS, configuration)
        name = spec.get("extendedResourceName")
        if name is not None and not is_extended(name):
            faults.invalid("spec.extendedResourceName", name, "must be a valid extended resource name")
        return faults


class ResourceSliceStrategy(Strategy):
    has_generation = True

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        spec = obj.get("spec") or {}
        csi_driver_name(faults, "spec.driver", spec.get("driver") or "")
        pool = spec.get("pool") or {}
        pool_name(faults, "spec.pool.name", pool.get("name") or "")
        if (pool.get("resourceSliceCount") or 0) <= 0:
            faults.invalid(
                "spec.pool.resourceSliceCount", pool.get("resourceSliceCount") or 0, "must be greater than zero"
            )
        if (pool.get("generation") or 0) < 0:
            faults.invalid("spec.pool.generation", pool["generation"], "must be greater than or equal to zero")
        _where(
            faults,
            "spec",
            spec,
            ("nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection"),
            "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required",
        )
        devices, counters = spec.get("devices") or [], spec.get("sharedCounters") or []
        if devices and counters:
            faults.invalid(
                "spec",
                "{`devices`, `sharedCounters`}",
                "exactly one of `sharedCounters`, `devices` is required, but multiple fields are set",
            )
        limit = MAX_DEVICES_WITH_EXTRAS if any(_is_elaborate(d) for d in devices) else MAX_DEVICES
        each = bool(spec.get("perDeviceNodeSelection"))
        items(faults, "spec.devices", devices, limit, lambda f, at, device: _device(f, at, device, each), "name")
        items(faults, "spec.sharedCounters", counters, MAX_COUNTER_SETS, _counter_set, "name")
        return faults

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults(self.validate_create(obj))
        spec, before = obj.get("spec") or {}, old.get("spec") or {}
        faults.immutable("spec.pool.name", (spec.get("pool") or {}).get("name"), (before.get("pool") or {}).get("name"))
        for name in ("driver", "nodeName"):
            faults.immutable(f"spec.{name}", spec.get(name), before.get(name))
        return faults

    def selectable_fields(self, obj: Object) -> dict[str, str]:
        spec = obj.get("spec") or {}
        return {
            "metadata.name": name_of(obj),
            "spec.driver": spec.get("driver") or "",
            "spec.nodeName": spec.get("nodeName") or "",
        }


def _where(faults: Faults, path: str, part: Object, fields: tuple[str, ...], text: str) -> None:
    """Which nodes reach the devices: one of several ways to say so."""
    chosen = []
    for field in fields:
        value, at = part.get(field), f"{path}.{field}"
        if value is None:
            continue
        chosen.append(f"`{field}`")
        if field == "nodeName":
            if value:
                faults.each(at, value, names.dns_subdomain(value))
            else:
                chosen.pop()
                faults.invalid(at, value, "must be either unset or set to a non-empty string")
        elif field == "nodeSelector":
            node_selector(faults, at, value)
            terms = value.get("nodeSelectorTerms") or []
            if len(terms) != 1:
                faults.invalid(f"{at}.nodeSelectorTerms", terms, "must have exactly one node selector term")
        elif not value:
            chosen.pop()
            faults.invalid(at, value, "must be either unset or set to true")
    if not chosen:
        faults.required(path, text)
    elif len(chosen) > 1:
        faults.invalid(path, "{" + ", ".join(chosen) + "}", text + ", but multiple fields are set")


def _is_elaborate(device: Object) -> bool:
    """Whether a device has what a slice can hold fewer of."""
    attributes = (device.get("attributes") or {}).values()
    return bool(
        device.get("taints") or device.get("consumesCounters") or any(a.get(k) for a in attributes for k in _LISTS)
    )


def _device(faults: Faults, path: str, device: Object, each: bool) -> None:
    name = device.get("name") or ""
    faults.each(f"{path}.name", name, names.dns_label(name))
    attributes, capacities = device.get("attributes") or {}, device.get("capacity") or {}
    total = len(attributes) + len(capacities)
    if total > MAX_ATTRIBUTES_AND_CAPACITIES:
        faults.invalid(
            path,
            total,
            f"the total number of attributes and capacities must not exceed {MAX_ATTRIBUTES_AND_CAPACITIES}",
        )
    for key, attribute in attributes.items():
        qualified_name(faults, f"{path}.attributes[{key}]", key)
        _attribute(faults, f"{path}.attributes[{key}]", attribute)
    for key, capacity in capacities.items():
        qualified_name(faults, f"{path}.capacity[{key}]", key)
        if amount(capacity.get("value") or 0) is None:
            faults.invalid(f"{path}.capacity[{key}].value", capacity.get("value"), quantity_fault())
    items(faults, f"{path}.taints", device.get("taints"), MAX_TAINTS, taint)
    for i, consumed in enumerate(device.get("consumesCounters") or ()):
        at = f"{path}.consumesCounters[{i}]"
        if not consumed.get("counterSet"):
            faults.required(f"{at}.counterSet")
        if not consumed.get("counters"):
            faults.required(f"{at}.counters")
    if each:
        _where(
            faults,
            path,
            device,
            ("nodeName", "nodeSelector", "allNodes"),
            "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set "
            "to true in the ResourceSlice spec",
        )
        return
    for field in ("nodeName", "nodeSelector", "allNodes"):
        if device.get(field) is not None:
            faults.forbidden(
                f"{path}.{field}", f"`{field}` field is only allowed when `perDeviceNodeSelection` is set to true"
            )


def _attribute(faults: Faults, path: str, attribute: Object) -> None:
    given = [k for k in _VALUES if attribute.get(k) is not None]
    if not given:
        faults.required(path, "exactly one value must be specified")
    elif len(given) > 1:
        faults.invalid(path, attribute, "exactly one value must be specified")
    for kind in ("string", "version"):
        values = [(f"{path}.{kind}", attribute[kind])] if attribute.get(kind) is not None else []
        values += [(f"{path}.{kind}s[{i}]", v) for i, v in enumerate(attribute.get(f"{kind}s") or ())]
        for at, value in values:
            if kind == "version" and not _SEMVER.fullmatch(value):
                faults.invalid(at, value, "must be a string compatible with semver.org spec 2.0.0")
            if len(value.encode()) > MAX_ATTRIBUTE_VALUE:
                faults.too_long(at, MAX_ATTRIBUTE_VALUE)


def _counter_set(faults: Faults, path: str, counters: Object) -> None:
    name = counters.get("name") or ""
    if not name:
        faults.required(f"{path}.name")
    else:
        faults.each(f"{path}.name", name, names.dns_label(name))
    if not counters.get("counters"):
        faults.required(f"{path}.counters")
    for key in counters.get("counters") or ():
        faults.each(f"{path}.counters[{key}]", key, names.dns_label(key))
