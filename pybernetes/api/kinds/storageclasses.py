"""Storage classes, volume attachments, and the kinds with which CSI drivers present themselves.

Source of defaults, rules and texts: ``pkg/apis/storage``.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pybernetes.api import names
from pybernetes.api.field import FieldError
from pybernetes.api.kinds.amounts import amount, canonical, show
from pybernetes.api.kinds.equality import semantic_equal
from pybernetes.api.kinds.faults import NOT_NEGATIVE, Faults
from pybernetes.api.kinds.labels import label_name, label_selector
from pybernetes.api.kinds.persistentvolumes import inline_volume
from pybernetes.api.kinds.podspec.volumes import csi_driver_name
from pybernetes.api.kinds.podspec.warnings import deprecated_label
from pybernetes.api.kinds.strategy import Strategy
from pybernetes.api.meta import Object, name_of

BINDING_MODES = ("Immediate", "WaitForFirstConsumer")
_RECLAIM_POLICIES = ("Delete", "Retain")
_CLASS_MAX_BYTES = 256 * 1024
_CLASS_MAX_PARAMETERS = 512
_METADATA_MAX_BYTES = 256 * 1024
_ERROR_MAX_BYTES = 1024
_NODE_ID_MAX_BYTES = 256
_TOKEN_MIN_SECONDS = 10 * 60
_TOKEN_MAX_SECONDS = 1 << 32
_UPDATE_PERIOD_MIN_SECONDS = 10


class StorageClassStrategy(Strategy):
    def default(self, obj: Object) -> None:
        if obj.get("reclaimPolicy") is None:
            obj["reclaimPolicy"] = "Delete"
        if obj.get("volumeBindingMode") is None:
            obj["volumeBindingMode"] = "Immediate"

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        _provisioner(faults, "provisioner", obj.get("provisioner") or "")
        _parameters(faults, obj.get("parameters") or {})
        policy, mode = obj.get("reclaimPolicy"), obj.get("volumeBindingMode")
        if policy and policy not in _RECLAIM_POLICIES:
            faults.not_supported("reclaimPolicy", policy, _RECLAIM_POLICIES)
        if mode is None:
            faults.required("volumeBindingMode")
        elif mode not in BINDING_MODES:
            faults.not_supported("volumeBindingMode", mode, BINDING_MODES)
        _topologies(faults, "allowedTopologies", obj.get("allowedTopologies") or [])
        return faults

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults(self.validate_create(obj))
        for name in ("parameters", "provisioner", "reclaimPolicy"):
            if not semantic_equal(obj.get(name), old.get(name)):
                faults.forbidden(name, f"updates to {name} are forbidden.")
        faults.immutable("volumeBindingMode", obj.get("volumeBindingMode"), old.get("volumeBindingMode"))
        return faults

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        return [
            f"allowedTopologies[{i}].matchLabelExpressions[{j}].key: {text}"
            for i, term in enumerate(obj.get("allowedTopologies") or ())
            for j, expression in enumerate(term.get("matchLabelExpressions") or ())
            if (text := deprecated_label(expression.get("key") or ""))
        ]


def _provisioner(faults: Faults, path: str, name: str) -> None:
    if not name:
        faults.required(path)
    else:
        faults.each(path, name, names.qualified_name(name.lower()))


def _parameters(faults: Faults, parameters: dict[str, str]) -> None:
    if len(parameters) > _CLASS_MAX_PARAMETERS:
        faults.too_long("parameters", _CLASS_MAX_PARAMETERS)
        return
    if any(not k for k in parameters):
        faults.invalid("parameters", "", "field can not be empty.")
    if sum(len(k.encode()) + len(v.encode()) for k, v in parameters.items()) > _CLASS_MAX_BYTES:
        faults.too_long("parameters", _CLASS_MAX_BYTES)


def _topologies(faults: Faults, path: str, terms: list[Object]) -> None:
    before: list[dict[str, set[str]]] = []
    for i, term in enumerate(terms):
        at = f"{path}[{i}].matchLabelExpressions"
        raw: dict[str, set[str]] = {}
        for j, expression in enumerate(term.get("matchLabelExpressions") or ()):
            values, key = expression.get("values") or [], expression.get("key") or ""
            if not values:
                faults.required(f"{at}[{j}].values")
            for k, value in enumerate(values):
                if value in values[:k]:
                    faults.duplicate(f"{at}[{j}].values[{k}]", value)
            label_name(faults, f"{at}[{j}].key", key)
            if key in raw:
                faults.duplicate(f"{at}[{j}].key", key)
            raw[key] = set(values)
        for other in before:
            if other == raw:
                faults.duplicate(at, "")
        before.append(raw)


class VolumeAttributesClassStrategy(Strategy):
    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        _provisioner(faults, "driverName", obj.get("driverName") or "")
        parameters = obj.get("parameters") or {}
        if not parameters:
            faults.required("parameters", "must contain at least one key/value pair")
        _parameters(faults, parameters)
        return faults

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults(self.validate_create(obj))
        for name in ("driverName", "parameters"):
            if not semantic_equal(obj.get(name), old.get(name)):
                faults.forbidden(name, f"updates to {name} are forbidden.")
        return faults


class VolumeAttachmentStrategy(Strategy):
    allow_unconditional_update = False
    initial_status: ClassVar[Object | None] = {"attached": False}

    def default(self, obj: Object) -> None:
        obj.setdefault("spec", {})
        if obj.get("status") is not None:
            obj["status"].setdefault("attached", False)

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        spec = obj.get("spec") or {}
        csi_driver_name(faults, "spec.attacher", spec.get("attacher") or "")
        source = spec.get("source") or {}
        inline, name = source.get("inlineVolumeSpec"), source.get("persistentVolumeName")
        text = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
        if inline is None and name is None:
            faults.required("spec.source", text)
        elif inline is not None and name is not None:
            faults.forbidden("spec.source", text)
        elif name is not None:
            if not name:
                faults.required("spec.source.persistentVolumeName", "must specify non empty persistentVolumeName")
            faults.each("spec.source.persistentVolumeName", name, names.dns_subdomain(name))
        elif inline is not None:
            inline_volume(faults, "spec.source.inlineVolumeSpec", inline)
        node = spec.get("nodeName") or ""
        faults.each("spec.nodeName", node, names.dns_subdomain(node))
        return faults

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults(self.validate_create(obj))
        faults.immutable("spec", obj.get("spec"), old.get("spec"))
        return faults

    def validate_status_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults()
        status = obj.get("status") or {}
        facts = status.get("attachmentMetadata") or {}
        for key in facts:
            faults.each("status.attachmentMetadata", key, names.qualified_name(key.lower()))
        if sum(len(k.encode()) + len(v.encode()) for k, v in facts.items()) > _METADATA_MAX_BYTES:
            faults.too_long("status.attachmentMetadata", _METADATA_MAX_BYTES)
        for name in ("attachError", "detachError"):
            if len(((status.get(name) or {}).get("message") or "").encode()) > _ERROR_MAX_BYTES:
                faults.too_long(f"status.{name}.message", _ERROR_MAX_BYTES)
        return faults


class CSIDriverStrategy(Strategy):
    allow_unconditional_update = False
    has_generation = True

    def default(self, obj: Object) -> None:
        spec: Any = obj.setdefault("spec", {})
        for name, value in (
            ("attachRequired", True),
            ("podInfoOnMount", False),
            ("storageCapacity", False),
            ("fsGroupPolicy", "ReadWriteOnceWithFSType"),
            ("requiresRepublish", False),
            ("seLinuxMount", False),
        ):
            if spec.get(name) is None:
                spec[name] = value
        if not spec.get("volumeLifecycleModes"):
            spec["volumeLifecycleModes"] = ["Persistent"]

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        spec = obj.get("spec") or {}
        csi_driver_name(faults, "name", name_of(obj))
        policies = ("File", "None", "ReadWriteOnceWithFSType")
        policy, period = spec.get("fsGroupPolicy"), spec.get("nodeAllocatableUpdatePeriodSeconds")
        if policy is None:
            faults.required("spec.fsGroupPolicy")
        elif policy not in policies:
            faults.not_supported("spec.fsGroupPolicy", policy, policies)
        audiences: set[str] = set()
        for i, request in enumerate(spec.get("tokenRequests") or ()):
            at, audience, seconds = (
                f"spec.tokenRequests[{i}]",
                request.get("audience") or "",
                request.get("expirationSeconds"),
            )
            if audience in audiences:
                faults.duplicate(f"{at}.audience", audience)
            audiences.add(audience)
            if seconds is not None and seconds < _TOKEN_MIN_SECONDS:
                faults.invalid(f"{at}.expirationSeconds", seconds, "may not specify a duration less than 10 minutes")
            if seconds is not None and seconds > _TOKEN_MAX_SECONDS:
                faults.invalid(
                    f"{at}.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds"
                )
        for mode in spec.get("volumeLifecycleModes") or ():
            if mode not in ("Ephemeral", "Persistent"):
                faults.not_supported("spec.volumeLifecycleModes", mode, ("Ephemeral", "Persistent"))
        if period is not None and period < _UPDATE_PERIOD_MIN_SECONDS:
            faults.invalid(
                "spec.nodeAllocatableUpdatePeriodSeconds",
                period,
                f"must be greater than or equal to {_UPDATE_PERIOD_MIN_SECONDS} seconds",
            )
        in_secrets = spec.get("serviceAccountTokenInSecrets")
        if in_secrets is not None and not spec.get("tokenRequests"):
            faults.invalid(
                "spec.serviceAccountTokenInSecrets",
                in_secrets,
                "serviceAccountTokenInSecrets is set but no tokenRequests are specified",
            )
        return faults

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults(self.validate_create(obj))
        spec, before = obj.get("spec") or {}, old.get("spec") or {}
        # Upstream spells the first path so.
        for name, shown in (("attachRequired", "attachedRequired"), ("volumeLifecycleModes", "volumeLifecycleModes")):
            faults.immutable(f"spec.{shown}", spec.get(name), before.get(name))
        return faults


class CSINodeStrategy(Strategy):
    allow_unconditional_update = False

    def default(self, obj: Object) -> None:
        obj.setdefault("spec", {}).setdefault("drivers", [])

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        seen: set[str] = set()
        for i, driver in enumerate((obj.get("spec") or {}).get("drivers") or ()):
            at, name = f"spec.drivers[{i}]", driver.get("name") or ""
            csi_driver_name(faults, f"{at}.name", name)
            node = driver.get("nodeID") or ""
            if not node:
                faults.required(f"{at}.nodeID")
            if len(node.encode()) > _NODE_ID_MAX_BYTES:
                faults.invalid(f"{at}.nodeID", node, f"must be {_NODE_ID_MAX_BYTES} characters or less")
            faults.not_negative(f"{at}.allocatable.count", (driver.get("allocatable") or {}).get("count"))
            if name in seen:
                faults.duplicate(f"{at}.name", name)
            seen.add(name)
            keys = driver.get("topologyKeys") or []
            for j, key in enumerate(keys):
                if not key:
                    faults.required(at, key)
                if key in keys[:j]:
                    faults.duplicate(at, key)
                for message in names.qualified_name(key):
                    faults.invalid(at, keys, message)
        return faults

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults(self.validate_create(obj))
        before = {d.get("name"): d for d in (old.get("spec") or {}).get("drivers") or ()}
        for driver in (obj.get("spec") or {}).get("drivers") or ():
            was = before.get(driver.get("name"))
            # A driver comes and goes as a whole; only how many volumes it takes may change (KEP-4876).
            if was is not None and not semantic_equal({**driver, "allocatable": None}, {**was, "allocatable": None}):
                faults.invalid("CSINodeDriver", driver, "field is immutable")
        return faults


class CSIStorageCapacityStrategy(Strategy):
    allow_unconditional_update = False

    def default(self, obj: Object) -> None:
        for name in ("capacity", "maximumVolumeSize"):
            if obj.get(name) is not None:
                obj[name] = canonical(obj[name])

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        name = obj.get("storageClassName") or ""
        faults.each("storageClassName", name, names.dns_subdomain(name))
        label_selector(faults, "nodeTopology", obj.get("nodeTopology"))
        for field in ("capacity", "maximumVolumeSize"):
            if (amount(obj.get(field)) or 0) < 0:
                faults.invalid(field, show(obj[field]), NOT_NEGATIVE)
        return faults

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults(self.validate_create(obj))
        for name in ("nodeTopology", "storageClassName"):
            faults.immutable(name, obj.get(name), old.get(name))
        return faults
