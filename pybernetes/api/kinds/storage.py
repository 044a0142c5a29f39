"""PersistentVolumes and their claims, storage classes, and the kinds of CSI.

Source of defaults, rules and texts: ``pkg/apis/core`` and ``pkg/apis/storage``.
"""

from __future__ import annotations

from collections.abc import Callable
from posixpath import normpath
from typing import Any, ClassVar

from pybernetes.api import names
from pybernetes.api.field import FieldError
from pybernetes.api.kinds.amounts import amount, canonical, canonical_list
from pybernetes.api.kinds.claims import VOLUME_MODES, access_modes, claim_spec, class_name
from pybernetes.api.kinds.equality import difference, semantic_equal
from pybernetes.api.kinds.faults import Faults
from pybernetes.api.kinds.labels import label_name, node_selector
from pybernetes.api.kinds.podspec import defaults as pod_defaults
from pybernetes.api.kinds.podspec import volumes
from pybernetes.api.kinds.podspec.paths import backsteps
from pybernetes.api.kinds.podspec.resources import quantity_value
from pybernetes.api.kinds.strategy import Strategy
from pybernetes.api.meta import Object, annotations_of, clone, name_of, namespace_of

RECLAIM_POLICIES = ("Delete", "Recycle", "Retain")
BINDING_MODES = ("Immediate", "WaitForFirstConsumer")
_CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
_CLASS_MAX_BYTES = 256 * 1024
_CLASS_MAX_PARAMETERS = 512


def _local(faults: Faults, path: str, source: Object) -> None:
    if not source.get("path"):
        faults.required(f"{path}.path")
    else:
        backsteps(faults, f"{path}.path", source["path"])


def _csi(faults: Faults, path: str, source: Object) -> None:
    volumes.csi_driver_name(faults, f"{path}.driver", source.get("driver") or "")
    if not source.get("volumeHandle"):
        faults.required(f"{path}.volumeHandle")
    for name in ("controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef",
                 "nodeStageSecretRef", "nodeExpandSecretRef"):  # fmt: skip
        reference = source.get(name)
        if reference is not None:
            volumes.requires("name", "namespace")(faults, f"{path}.{name}", reference)


_SOURCES: dict[str, Callable[[Faults, str, Object], None]] = {
    "hostPath": volumes.host_path,
    "gcePersistentDisk": volumes.partitioned("pdName"),
    "awsElasticBlockStore": volumes.partitioned("volumeID"),
    "glusterfs": volumes.requires("endpoints", "path"),
    "flocker": volumes.requires(),
    "nfs": volumes.nfs,
    "rbd": volumes.requires("monitors", "image"),
    "quobyte": volumes.requires("registry", "volume"),
    "cephfs": volumes.requires("monitors"),
    "iscsi": volumes.iscsi,
    "cinder": volumes.requires("volumeID"),
    "fc": volumes.fc,
    "flexVolume": volumes.flex,
    "azureFile": volumes.requires("secretName", "shareName"),
    "vsphereVolume": volumes.requires("volumePath"),
    "photonPersistentDisk": volumes.requires("pdID"),
    "portworxVolume": volumes.requires("volumeID"),
    "azureDisk": volumes.azure_disk,
    "scaleIO": volumes.scale_io,
    "local": _local,
    "storageos": volumes.requires(),
    "csi": _csi,
}
_SOURCE_DEFAULTS: dict[str, Callable[[Object], None]] = {
    "hostPath": pod_defaults.default_host_path,
    "iscsi": pod_defaults.default_iscsi,
    "rbd": pod_defaults.default_rbd,
    "azureDisk": pod_defaults.default_azure_disk,
    "scaleIO": pod_defaults.default_scale_io,
}


class PersistentVolumeStrategy(Strategy):
    initial_status: ClassVar[Object | None] = {"phase": "Pending"}

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        if not spec.get("persistentVolumeReclaimPolicy"):
            spec["persistentVolumeReclaimPolicy"] = "Retain"
        if spec.get("volumeMode") is None:
            spec["volumeMode"] = "Filesystem"
        if spec.get("capacity"):
            spec["capacity"] = canonical_list(spec["capacity"])
        for kind, fill in _SOURCE_DEFAULTS.items():
            if spec.get(kind) is not None:
                fill(spec[kind])
        if not (obj.get("status") or {}).get("phase"):
            obj.setdefault("status", {})["phase"] = "Pending"

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        spec = obj.get("spec") or {}
        access_modes(faults, "spec.accessModes", spec.get("accessModes") or [])
        capacity = spec.get("capacity") or {}
        if not capacity:
            faults.required("spec.capacity")
        elif "storage" not in capacity or len(capacity) > 1:
            faults.not_supported("spec.capacity", capacity, ("storage",))
        for name, value in capacity.items():
            quantity_value(faults, f"spec.capacity[{name}]", name, value)
            if amount(value) == 0:
                faults.invalid(f"spec.capacity[{name}]", "0", "must be greater than zero")
        policy = spec.get("persistentVolumeReclaimPolicy")
        if policy and policy not in RECLAIM_POLICIES:
            faults.not_supported("spec.persistentVolumeReclaimPolicy", policy, RECLAIM_POLICIES)
        affinity = spec.get("nodeAffinity")
        if affinity is not None:
            if affinity.get("required") is None:
                faults.required("spec.nodeAffinity.required", "must specify required node constraints")
            else:
                node_selector(faults, "spec.nodeAffinity.required", affinity["required"])
        self._sources(faults, spec)
        if normpath((spec.get("hostPath") or {}).get("path") or ".") == "/" and policy == "Recycle":
            faults.forbidden("spec.persistentVolumeReclaimPolicy", "may not be 'recycle' for a hostPath mount of '/'")
        class_name(faults, "spec.storageClassName", spec.get("storageClassName"))
        if spec.get("volumeMode") is not None and spec["volumeMode"] not in VOLUME_MODES:
            faults.not_supported("spec.volumeMode", spec["volumeMode"], VOLUME_MODES)
        attributes = spec.get("volumeAttributesClassName")
        if attributes is not None:
            if not attributes:
                faults.required("spec.volumeAttributesClassName", "an empty string is disallowed")
            class_name(faults, "spec.volumeAttributesClassName", attributes)
            if spec.get("csi") is None:
                faults.required("spec.csi", "has to be specified when using volumeAttributesClassName")
        return faults

    @staticmethod
    def _sources(faults: Faults, spec: Object) -> None:
        count = 0
        for kind, check in _SOURCES.items():
            if spec.get(kind) is None:
                continue
            if count:
                faults.forbidden(f"spec.{kind}", volumes.ONE_TYPE)
                continue
            count += 1
            check(faults, f"spec.{kind}", spec[kind])
        if spec.get("local") is not None and spec.get("nodeAffinity") is None:
            faults.required("spec.nodeAffinity", "Local volume requires node affinity")
        if not count:
            faults.required("spec", "must specify a volume type")

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults(self.validate_create(obj))
        spec, before = obj.get("spec") or {}, old.get("spec") or {}
        new_source = {k: clone(spec[k]) for k in _SOURCES if k in spec}
        old_source = {k: before[k] for k in _SOURCES if k in before}
        # A secret for expansion may be added later.
        if (old_source.get("csi") or {}).get("controllerExpandSecretRef") is None and new_source.get("csi"):
            new_source["csi"].pop("controllerExpandSecretRef", None)
        if not semantic_equal(new_source, old_source):
            faults.forbidden(
                "spec.persistentvolumesource",
                "spec.persistentvolumesource is immutable after creation\n" + difference(old_source, new_source),
            )
        faults.immutable("volumeMode", spec.get("volumeMode"), before.get("volumeMode"))
        if before.get("nodeAffinity") is not None and not semantic_equal(
            spec.get("nodeAffinity"), before["nodeAffinity"]
        ):
            faults.invalid(
                "nodeAffinity",
                spec.get("nodeAffinity"),
                "field is immutable, except for updating from beta label to GA",
            )
        if before.get("volumeAttributesClassName") is not None and spec.get("volumeAttributesClassName") is None:
            faults.forbidden("spec.volumeAttributesClassName", "update from non-nil value to nil is forbidden")
        return faults

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        spec, out = obj.get("spec") or {}, []
        if _CLASS_ANNOTATION in annotations_of(obj):
            out.append(
                f'metadata.annotations[{_CLASS_ANNOTATION}]: deprecated since v1.8; use "storageClassName" attribute '
                "instead"
            )
        if spec.get("persistentVolumeReclaimPolicy") == "Recycle":
            out.append(
                "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. "
                "Instead, the recommended approach is to use dynamic provisioning."
            )
        return out

    def selectable_fields(self, obj: Object) -> dict[str, str]:
        # name is an old alias of metadata.name.
        return {"metadata.name": name_of(obj), "name": name_of(obj)}


class PersistentVolumeClaimStrategy(Strategy):
    initial_status: ClassVar[Object | None] = {"phase": "Pending"}

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        pod_defaults.default_claim_spec(spec)
        # The two names of a claim's data source follow each other, where a namespace does not tell them apart.
        source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
        if source is not None and reference is None:
            spec["dataSourceRef"] = clone(source)
        elif reference is not None and source is None and not reference.get("namespace"):
            spec["dataSource"] = {k: v for k, v in reference.items() if k != "namespace"}
        status = obj.setdefault("status", {})
        if not status.get("phase"):
            status["phase"] = "Pending"
        if status.get("capacity"):
            status["capacity"] = canonical_list(status["capacity"])

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        claim_spec(faults, "spec", obj.get("spec") or {})
        return faults

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults(self.validate_create(obj))
        spec, before = obj.get("spec") or {}, old.get("spec") or {}
        faults.immutable(
            f"metadata.annotations.{_CLASS_ANNOTATION}",
            annotations_of(obj).get(_CLASS_ANNOTATION),
            annotations_of(old).get(_CLASS_ANNOTATION),
        )
        status = old.get("status") or {}
        self._immutable(faults, spec, before, bound=status.get("phase") == "Bound")
        new_size, old_size = _storage(spec), _storage(before)
        if new_size is not None and old_size is not None and new_size < old_size:
            capacity = amount((status.get("capacity") or {}).get("storage", "0")) or 0
            if new_size <= capacity:
                faults.forbidden("spec.resources.requests.storage", "field can not be less than status.capacity")
        faults.immutable("volumeMode", spec.get("volumeMode"), before.get("volumeMode"))
        attributes, had = spec.get("volumeAttributesClassName"), before.get("volumeAttributesClassName")
        if had is not None and attributes is None:
            faults.forbidden("spec.volumeAttributesClassName", "update from non-nil value to nil is forbidden")
        elif had and not attributes:
            faults.forbidden(
                "spec.volumeAttributesClassName", "update from non-nil value to an empty string is forbidden"
            )
        return faults

    @staticmethod
    def _immutable(faults: Faults, spec: Object, old: Object, *, bound: bool) -> None:
        """Binding sets the volume's name once; a bound claim may grow; nothing else changes."""
        new: Object = clone(spec)
        if not old.get("volumeName"):
            new.pop("volumeName", None)
        if old.get("storageClassName") is None:
            new.pop("storageClassName", None)
        before: Object = {k: v for k, v in old.items() if k != "volumeName" or old.get("volumeName")}
        if bound:
            before = clone(before)
            for one in (new, before):
                ((one.get("resources") or {}).get("requests") or {}).pop("storage", None)
                one.pop("volumeAttributesClassName", None)
        if not semantic_equal(new, before):
            faults.forbidden(
                "spec",
                "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound "
                "claims\n" + difference(before, new),
            )

    def selectable_fields(self, obj: Object) -> dict[str, str]:
        name = name_of(obj)
        return {"metadata.name": name, "metadata.namespace": namespace_of(obj), "name": name}


def _storage(spec: Object) -> int | None:
    return amount(((spec.get("resources") or {}).get("requests") or {}).get("storage"))


class StorageClassStrategy(Strategy):
    def default(self, obj: Object) -> None:
        if obj.get("reclaimPolicy") is None:
            obj["reclaimPolicy"] = "Delete"
        if obj.get("volumeBindingMode") is None:
            obj["volumeBindingMode"] = "Immediate"

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        provisioner = obj.get("provisioner") or ""
        if not provisioner:
            faults.required("provisioner")
        else:
            faults.each("provisioner", provisioner, names.qualified_name(provisioner.lower()))
        parameters = obj.get("parameters") or {}
        if len(parameters) > _CLASS_MAX_PARAMETERS:
            faults.too_long("parameters", _CLASS_MAX_PARAMETERS)
        if any(not k for k in parameters):
            faults.invalid("parameters", "", "field can not be empty.")
        if sum(len(k) + len(v) for k, v in parameters.items()) > _CLASS_MAX_BYTES:
            faults.too_long("parameters", _CLASS_MAX_BYTES)
        if obj.get("reclaimPolicy") not in ("Delete", "Retain"):
            faults.one_of("reclaimPolicy", obj.get("reclaimPolicy"), ("Delete", "Retain"))
        if obj.get("volumeBindingMode") not in BINDING_MODES:
            faults.one_of("volumeBindingMode", obj.get("volumeBindingMode"), BINDING_MODES)
        for i, term in enumerate(obj.get("allowedTopologies") or ()):
            for j, expression in enumerate(term.get("matchLabelExpressions") or ()):
                at = f"allowedTopologies[{i}].matchLabelExpressions[{j}]"
                label_name(faults, f"{at}.key", expression.get("key") or "")
                values = expression.get("values") or []
                if not values:
                    faults.required(f"{at}.values")
                for k, value in enumerate(values):
                    if value in values[:k]:
                        faults.duplicate(f"{at}.values[{k}]", value)
        return faults

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults(self.validate_create(obj))
        if not semantic_equal(obj.get("parameters"), old.get("parameters")):
            faults.forbidden("parameters", "updates to parameters are forbidden.")
        for name in ("provisioner", "reclaimPolicy"):
            if obj.get(name) != old.get(name):
                faults.forbidden(name, f"updates to {name} are forbidden.")
        faults.immutable("volumeBindingMode", obj.get("volumeBindingMode"), old.get("volumeBindingMode"))
        return faults


class VolumeAttributesClassStrategy(Strategy):
    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        volumes.csi_driver_name(faults, "driverName", obj.get("driverName") or "")
        if not obj.get("parameters"):
            faults.required("parameters", "must contain at least one key/value pair")
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

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        spec = obj.get("spec") or {}
        volumes.csi_driver_name(faults, "spec.attacher", spec.get("attacher") or "")
        source = spec.get("source") or {}
        inline, name = source.get("inlineVolumeSpec"), source.get("persistentVolumeName")
        if inline is None and not name:
            faults.required("spec.source", "must specify exactly one of inlineVolumeSpec and persistentVolumeName")
        if inline is not None and name is not None:
            faults.forbidden("spec.source", "must specify exactly one of inlineVolumeSpec and persistentVolumeName")
        node = spec.get("nodeName") or ""
        faults.each("spec.nodeName", node, names.dns_subdomain(node))
        return faults

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults()
        faults.immutable("spec", obj.get("spec"), old.get("spec"))
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
        volumes.csi_driver_name(faults, "name", name_of(obj))
        policies = ("File", "None", "ReadWriteOnceWithFSType")
        if spec.get("fsGroupPolicy") not in policies:
            faults.one_of("spec.fsGroupPolicy", spec.get("fsGroupPolicy"), policies)
        for mode in spec.get("volumeLifecycleModes") or ():
            if mode not in ("Ephemeral", "Persistent"):
                faults.not_supported("spec.volumeLifecycleModes", mode, ("Ephemeral", "Persistent"))
        audiences = [t.get("audience") or "" for t in spec.get("tokenRequests") or ()]
        for i, audience in enumerate(audiences):
            if audience in audiences[:i]:
                faults.duplicate(f"spec.tokenRequests[{i}].audience", audience)
        return faults

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults(self.validate_create(obj))
        spec, before = obj.get("spec") or {}, old.get("spec") or {}
        for name in ("attachRequired", "volumeLifecycleModes"):
            faults.immutable(f"spec.{name}", spec.get(name), before.get(name))
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
            volumes.csi_driver_name(faults, f"{at}.name", name)
            if name in seen:
                faults.duplicate(f"{at}.name", name)
            seen.add(name)
            node = driver.get("nodeID") or ""
            if not node:
                faults.required(f"{at}.nodeID")
            elif len(node) > 256:
                faults.invalid(f"{at}.nodeID", node, "must be 256 characters or less")
            faults.not_negative(f"{at}.allocatable.count", (driver.get("allocatable") or {}).get("count"))
        return faults


class CSIStorageCapacityStrategy(Strategy):
    def default(self, obj: Object) -> None:
        for name in ("capacity", "maximumVolumeSize"):
            if obj.get(name) is not None:
                obj[name] = canonical(obj[name])

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        name = obj.get("storageClassName") or ""
        faults.each("storageClassName", name, names.dns_subdomain(name))
        for field in ("capacity", "maximumVolumeSize"):
            if obj.get(field) is not None:
                quantity_value(faults, field, "storage", obj[field])
        return faults

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults(self.validate_create(obj))
        for name in ("nodeTopology", "storageClassName"):
            faults.immutable(name, obj.get(name), old.get(name))
        return faults
