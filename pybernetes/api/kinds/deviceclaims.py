"""Claims of devices and their templates: defaults, rules, and what a status may say about an allocation.

Source of defaults, rules and texts: ``pkg/apis/resource``. Pure.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pybernetes.api import names
from pybernetes.api.field import FieldError
from pybernetes.api.kinds.addresses import interface_address
from pybernetes.api.kinds.claims import template_meta
from pybernetes.api.kinds.conditions import conditions
from pybernetes.api.kinds.deviceparts import (
    MAX_CONFIGS,
    configuration,
    items,
    pool_name,
    qualified_name,
    raw_object,
    request_reference,
    selectors,
    toleration,
)
from pybernetes.api.kinds.faults import Faults
from pybernetes.api.kinds.labels import node_selector
from pybernetes.api.kinds.podspec.volumes import csi_driver_name
from pybernetes.api.kinds.strategy import Strategy
from pybernetes.api.meta import Object, is_deleting

MAX_REQUESTS = 32
MAX_ALTERNATIVES = 8
MAX_CONSTRAINTS = 32
MAX_RESERVATIONS = 256
MAX_RESULTS = 32
MAX_TOLERATIONS = 16
MAX_CONDITIONS = 8
MAX_INTERFACE_NAME, MAX_HARDWARE_ADDRESS = 256, 128
ALLOCATION_MODES = ("All", "ExactCount")


def _default_claim(spec: Object) -> None:
    for request in (spec.get("devices") or {}).get("requests") or ():
        for one in [request.get("exactly"), *(request.get("firstAvailable") or ())]:
            if one is None:
                continue
            if not one.get("allocationMode"):
                one["allocationMode"] = "ExactCount"
            if one["allocationMode"] == "ExactCount" and not one.get("count"):
                one["count"] = 1
            for entry in one.get("tolerations") or ():
                if not entry.get("operator"):
                    entry["operator"] = "Equal"


def _request_names(devices: Object) -> set[str]:
    known = set()
    for request in devices.get("requests") or ():
        name = request.get("name") or ""
        known.add(name)
        known.update(f"{name}/{sub.get('name') or ''}" for sub in request.get("firstAvailable") or ())
    return known


def _claim(faults: Faults, path: str, spec: Object) -> None:
    devices = spec.get("devices") or {}
    known, at = _request_names(devices), f"{path}.devices"

    def referring(check: Any) -> Any:
        return lambda faults, where, value: check(faults, where, value, known)

    items(faults, f"{at}.requests", devices.get("requests"), MAX_REQUESTS, _request, "name")
    items(faults, f"{at}.constraints", devices.get("constraints"), MAX_CONSTRAINTS, referring(_constraint))
    items(faults, f"{at}.config", devices.get("config"), MAX_CONFIGS, referring(_config))


def _request(faults: Faults, path: str, request: Object) -> None:
    name, exactly, alternatives = request.get("name") or "", request.get("exactly"), request.get("firstAvailable")
    faults.each(f"{path}.name", name, names.dns_label(name))
    if alternatives:
        items(faults, f"{path}.firstAvailable", alternatives, MAX_ALTERNATIVES, _alternative, "name")
    if exactly is not None:
        _wanted(faults, f"{path}.exactly", exactly)
    if exactly is None and not alternatives:
        faults.required(path, "exactly one of `exactly` or `firstAvailable` is required")
    elif exactly is not None and alternatives:
        faults.invalid(
            path, None, "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set"
        )


def _alternative(faults: Faults, path: str, request: Object) -> None:
    name = request.get("name") or ""
    faults.each(f"{path}.name", name, names.dns_label(name))
    _wanted(faults, path, request)


def _wanted(faults: Faults, path: str, request: Object) -> None:
    """How many devices of which class."""
    class_ = request.get("deviceClassName") or ""
    if not class_:
        faults.required(f"{path}.deviceClassName")
    else:
        faults.each(f"{path}.deviceClassName", class_, names.dns_subdomain(class_))
    selectors(faults, f"{path}.selectors", request.get("selectors"))
    mode, count = request.get("allocationMode") or "", request.get("count") or 0
    if mode == "All":
        if count:
            faults.invalid(f"{path}.count", count, "must not be specified when allocationMode is 'All'")
    elif mode == "ExactCount":
        if count <= 0:
            faults.invalid(f"{path}.count", count, "must be greater than zero")
    else:
        faults.not_supported(f"{path}.allocationMode", mode, ALLOCATION_MODES)
    items(faults, f"{path}.tolerations", request.get("tolerations"), MAX_TOLERATIONS, toleration)
    for name in (request.get("capacity") or {}).get("requests") or ():
        qualified_name(faults, f"{path}.capacity.requests[{name}]", name)


def _references(faults: Faults, path: str, part: Object, known: set[str]) -> None:
    items(
        faults,
        f"{path}.requests",
        part.get("requests"),
        MAX_REQUESTS,
        lambda faults, where, name: request_reference(faults, where, name, known),
        "",
    )


def _constraint(faults: Faults, path: str, constraint: Object, known: set[str]) -> None:
    _references(faults, path, constraint, known)
    same, distinct = constraint.get("matchAttribute"), constraint.get("distinctAttribute")
    if same is None and distinct is None:
        faults.required(f"{path}.matchAttribute")
    for field, value in (("matchAttribute", same), ("distinctAttribute", distinct)):
        if value is not None:
            qualified_name(faults, f"{path}.{field}", value, fully=True)


def _config(faults: Faults, path: str, config: Object, known: set[str]) -> None:
    _references(faults, path, config, known)
    configuration(faults, path, config)


class ResourceClaimStrategy(Strategy):
    initial_status: ClassVar[Object | None] = {}

    def default(self, obj: Object) -> None:
        _default_claim(obj.setdefault("spec", {}))

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        _claim(faults, "spec", obj.get("spec") or {})
        return faults

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults()
        faults.immutable("spec", obj.get("spec"), old.get("spec"))
        return faults

    def validate_status_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults()
        status, before = obj.get("status") or {}, old.get("status") or {}
        allocation, reserved = status.get("allocation"), status.get("reservedFor") or []
        items(faults, "status.reservedFor", reserved, MAX_RESERVATIONS, _consumer, "uid")
        devices = {_identity(r) for r in ((allocation or {}).get("devices") or {}).get("results") or ()}
        seen: set[tuple[str, ...]] = set()
        for i, device in enumerate(status.get("devices") or ()):
            _device_status(faults, f"status.devices[{i}]", device, devices)
            if _identity(device) in seen:
                faults.duplicate(f"status.devices[{i}]", "/".join(_identity(device)))
            seen.add(_identity(device))
        if reserved and allocation is None:
            faults.forbidden("status.reservedFor", "may not be specified when `allocated` is not set")
        elif is_deleting(obj) and any(c not in (before.get("reservedFor") or []) for c in reserved):
            faults.forbidden(
                "status.reservedFor",
                "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set",
            )
        if allocation is not None:
            if before.get("allocation") is not None:
                faults.immutable("status.allocation", allocation, before["allocation"])
            else:
                known = _request_names((obj.get("spec") or {}).get("devices") or {})
                _allocation(faults, "status.allocation", allocation, known)
        return faults


def _identity(device: Object) -> tuple[str, ...]:
    share = device.get("shareID")
    return tuple(device.get(k) or "" for k in ("driver", "pool", "device")) + ((share,) if share else ())


def _consumer(faults: Faults, path: str, consumer: Object) -> None:
    if group := consumer.get("apiGroup"):
        faults.each(f"{path}.apiGroup", group, names.dns_subdomain(group))
    for field in ("resource", "name", "uid"):
        if not consumer.get(field):
            faults.required(f"{path}.{field}")


def _device_name(faults: Faults, path: str, device: Object) -> None:
    csi_driver_name(faults, f"{path}.driver", device.get("driver") or "")
    pool_name(faults, f"{path}.pool", device.get("pool") or "")
    name = device.get("device") or ""
    faults.each(f"{path}.device", name, names.dns_label(name))


def _device_status(faults: Faults, path: str, device: Object, allocated: set[tuple[str, ...]]) -> None:
    _device_name(faults, path, device)
    if _identity(device) not in allocated:
        faults.invalid(path, "/".join(_identity(device)), "must be an allocated device in the claim")
    conditions(faults, f"{path}.conditions", device.get("conditions"))
    if len(device.get("conditions") or ()) > MAX_CONDITIONS:
        faults.too_many(f"{path}.conditions", len(device["conditions"]), MAX_CONDITIONS)
    if device.get("data") is not None:
        raw_object(faults, f"{path}.data", device["data"])
    network = device.get("networkData")
    if network is not None:
        for field, limit in (("interfaceName", MAX_INTERFACE_NAME), ("hardwareAddress", MAX_HARDWARE_ADDRESS)):
            if len(network.get(field) or "") > limit:
                faults.too_long(f"{path}.networkData.{field}", limit)
        addresses = network.get("ips") or []
        for i, address in enumerate(addresses):
            at = f"{path}.networkData.ips[{i}]"
            interface_address(faults, at, address)
            if address in addresses[:i]:
                faults.duplicate(at, address)


def _allocation(faults: Faults, path: str, allocation: Object, known: set[str]) -> None:
    devices = allocation.get("devices") or {}

    def result(faults: Faults, where: str, value: Object) -> None:
        request_reference(faults, f"{where}.request", value.get("request") or "", known)
        _device_name(faults, where, value)

    def config(faults: Faults, where: str, value: Object) -> None:
        faults.one_of(f"{where}.source", value.get("source"), ("FromClaim", "FromClass"))
        _config(faults, where, value, known)

    items(faults, f"{path}.devices.results", devices.get("results"), MAX_RESULTS, result)
    items(faults, f"{path}.devices.config", devices.get("config"), 2 * MAX_CONFIGS, config)
    if allocation.get("nodeSelector") is not None:
        node_selector(faults, f"{path}.nodeSelector", allocation["nodeSelector"])


class ResourceClaimTemplateStrategy(Strategy):
    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        spec.setdefault("metadata", {})
        _default_claim(spec.setdefault("spec", {}))

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        spec = obj.get("spec") or {}
        template_meta(faults, "spec.metadata", spec.get("metadata") or {})
        _claim(faults, "spec.spec", spec.get("spec") or {})
        return faults

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults()
        faults.immutable("spec", obj.get("spec"), old.get("spec"))
        return faults
