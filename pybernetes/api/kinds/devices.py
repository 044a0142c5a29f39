"""Dynamic resource allocation: device classes, claims, claim templates and slices. Expressions are not compiled here.

Source of defaults, rules and texts: ``pkg/apis/resource``.
"""

from __future__ import annotations

from typing import ClassVar

from pybernetes.api import names
from pybernetes.api.field import FieldError
from pybernetes.api.kinds.faults import Faults
from pybernetes.api.kinds.podspec.scheduling import tolerations
from pybernetes.api.kinds.podspec.volumes import csi_driver_name
from pybernetes.api.kinds.strategy import Strategy
from pybernetes.api.meta import Object, name_of

MAX_REQUESTS = 32
MAX_DEVICES = 128


def _default_claim(spec: Object) -> None:
    for request in (spec.get("devices") or {}).get("requests") or ():
        for one in [request.get("exactly"), *(request.get("firstAvailable") or ())]:
            if one is None:
                continue
            if not one.get("allocationMode"):
                one["allocationMode"] = "ExactCount"
            if one["allocationMode"] == "ExactCount" and not one.get("count"):
                one["count"] = 1


def _claim(faults: Faults, path: str, spec: Object) -> None:
    devices = spec.get("devices") or {}
    requests = devices.get("requests") or []
    if len(requests) > MAX_REQUESTS:
        faults.too_many(f"{path}.devices.requests", len(requests), MAX_REQUESTS)
    seen: set[str] = set()
    for i, request in enumerate(requests):
        at, name = f"{path}.devices.requests[{i}]", request.get("name") or ""
        if not name:
            faults.required(f"{at}.name")
        else:
            faults.each(f"{at}.name", name, names.dns_label(name))
            if name in seen:
                faults.duplicate(f"{at}.name", name)
            seen.add(name)
        exactly, alternatives = request.get("exactly"), request.get("firstAvailable")
        if exactly is None and not alternatives:
            faults.required(at, "exactly one of `exactly` or `firstAvailable` is required")
        elif exactly is not None and alternatives:
            faults.invalid(
                at, None, "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set"
            )
        if exactly is not None:
            _request(faults, f"{at}.exactly", exactly)
        for j, alternative in enumerate(alternatives or ()):
            where, sub = f"{at}.firstAvailable[{j}]", alternative.get("name") or ""
            if not sub:
                faults.required(f"{where}.name")
            else:
                faults.each(f"{where}.name", sub, names.dns_label(sub))
            _request(faults, where, alternative)
    for i, constraint in enumerate(devices.get("constraints") or ()):
        for j, name in enumerate(constraint.get("requests") or ()):
            if name.partition("/")[0] not in seen:
                faults.invalid(
                    f"{path}.devices.constraints[{i}].requests[{j}]",
                    name,
                    "must be the name of a request in the claim or the name of a request and a subrequest separated by "
                    "'/'",
                )


def _request(faults: Faults, path: str, request: Object) -> None:
    class_ = request.get("deviceClassName") or ""
    if not class_:
        faults.required(f"{path}.deviceClassName")
    else:
        faults.each(f"{path}.deviceClassName", class_, names.dns_subdomain(class_))
    mode, count = request.get("allocationMode"), request.get("count") or 0
    if mode == "All":
        if count:
            faults.invalid(f"{path}.count", count, "must not be specified when allocationMode is 'All'")
    elif mode == "ExactCount":
        if count <= 0:
            faults.invalid(f"{path}.count", count, "must be greater than zero")
    else:
        faults.not_supported(f"{path}.allocationMode", mode or "", ("All", "ExactCount"))
    tolerations(faults, f"{path}.tolerations", request.get("tolerations") or [])


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
        allocated, reserved = status.get("allocation"), status.get("reservedFor") or []
        if reserved and allocated is None:
            faults.forbidden("status.reservedFor", "may not be specified when `allocated` is not set")
        for i, consumer in enumerate(reserved):
            if consumer.get("uid") in [c.get("uid") for c in reserved[:i]]:
                faults.duplicate(f"status.reservedFor[{i}].uid", consumer.get("uid"))
        if before.get("allocation") is not None and allocated is not None:
            faults.immutable("status.allocation", allocated, before["allocation"])
        return faults


class ResourceClaimTemplateStrategy(Strategy):
    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        spec.setdefault("metadata", {})
        _default_claim(spec.setdefault("spec", {}))

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        _claim(faults, "spec.spec", (obj.get("spec") or {}).get("spec") or {})
        return faults

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults()
        faults.immutable("spec", obj.get("spec"), old.get("spec"))
        return faults


class DeviceClassStrategy(Strategy):
    has_generation = True

    def default(self, obj: Object) -> None:
        obj.setdefault("spec", {})


class ResourceSliceStrategy(Strategy):
    has_generation = True

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        spec = obj.get("spec") or {}
        csi_driver_name(faults, "spec.driver", spec.get("driver") or "")
        pool = spec.get("pool") or {}
        if not pool.get("name"):
            faults.required("spec.pool.name")
        if (pool.get("resourceSliceCount") or 0) <= 0:
            faults.invalid(
                "spec.pool.resourceSliceCount", pool.get("resourceSliceCount") or 0, "must be greater than zero"
            )
        faults.not_negative("spec.pool.generation", pool.get("generation"))
        ways = [k for k in ("nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection") if spec.get(k)]
        form = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
        if not ways:
            faults.required("spec", form)
        elif len(ways) > 1:
            faults.invalid("spec", "{" + ", ".join(ways) + "}", form + ", but multiple fields are set")
        devices = spec.get("devices") or []
        if len(devices) > MAX_DEVICES:
            faults.too_many("spec.devices", len(devices), MAX_DEVICES)
        seen: set[str] = set()
        for i, device in enumerate(devices):
            name = device.get("name") or ""
            faults.each(f"spec.devices[{i}].name", name, names.dns_label(name))
            if name in seen:
                faults.duplicate(f"spec.devices[{i}].name", name)
            seen.add(name)
        return faults

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults(self.validate_create(obj))
        spec, before = obj.get("spec") or {}, old.get("spec") or {}
        for name in ("driver", "nodeName", "nodeSelector", "allNodes"):
            faults.immutable(f"spec.{name}", spec.get(name), before.get(name))
        faults.immutable("spec.pool.name", (spec.get("pool") or {}).get("name"), (before.get("pool") or {}).get("name"))
        return faults

    def selectable_fields(self, obj: Object) -> dict[str, str]:
        spec = obj.get("spec") or {}
        return {
            "metadata.name": name_of(obj),
            "spec.driver": spec.get("driver") or "",
            "spec.nodeName": spec.get("nodeName") or "",
        }
