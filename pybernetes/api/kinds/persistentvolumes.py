"""PersistentVolumes: their sources, which differ a little from those of pods' volumes, and their rules.

Source of defaults, rules and texts: ``pkg/apis/core``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from posixpath import normpath
from typing import ClassVar

from pybernetes.api import names
from pybernetes.api.field import FieldError
from pybernetes.api.kinds.amounts import amount, canonical_list, show
from pybernetes.api.kinds.claims import VOLUME_MODES, access_modes, class_name
from pybernetes.api.kinds.equality import difference, semantic_equal
from pybernetes.api.kinds.faults import NOT_POSITIVE, Faults
from pybernetes.api.kinds.labels import node_selector
from pybernetes.api.kinds.podspec import defaults as pod_defaults
from pybernetes.api.kinds.podspec import volumes
from pybernetes.api.kinds.podspec.paths import backsteps
from pybernetes.api.kinds.podspec.warnings import NODE_LABELS_GA, node_selector_term_warnings
from pybernetes.api.kinds.strategy import Strategy
from pybernetes.api.meta import Object, annotations_of, clone, metadata, name_of
from pybernetes.api.quantity import NANO

RECLAIM_POLICIES = ("Delete", "Recycle", "Retain")
CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
_VOLUMES = {
    "photonPersistentDisk": "deprecated in v1.11, non-functional in v1.16+",
    "scaleIO": "deprecated in v1.16, non-functional in v1.22+",
    "storageos": "deprecated in v1.22, non-functional in v1.25+",
    "glusterfs": "deprecated in v1.25, non-functional in v1.26+",
    "cephfs": "deprecated in v1.28, non-functional in v1.31+",
    "rbd": "deprecated in v1.28, non-functional in v1.31+",
}


def _local(faults: Faults, path: str, source: Object) -> None:
    if not source.get("path"):
        faults.required(f"{path}.path")
    else:
        backsteps(faults, f"{path}.path", source["path"])


def _secret_reference(faults: Faults, path: str, reference: Object) -> None:
    for field, check in (("name", names.dns_subdomain), ("namespace", names.dns_label)):
        value = reference.get(field) or ""
        if not value:
            faults.required(f"{path}.{field}")
        else:
            faults.each(f"{path}.{field}", value, check(value))


def _csi(faults: Faults, path: str, source: Object) -> None:
    volumes.csi_driver_name(faults, f"{path}.driver", source.get("driver") or "")
    if not source.get("volumeHandle"):
        faults.required(f"{path}.volumeHandle")
    # Upstream does not look at nodeStageSecretRef.
    for name in ("controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef",
                 "nodeExpandSecretRef"):  # fmt: skip
        if source.get(name) is not None:
            _secret_reference(faults, f"{path}.{name}", source[name])


def _glusterfs(faults: Faults, path: str, source: Object) -> None:
    volumes.requires("endpoints", "path")(faults, path, source)
    namespace = source.get("endpointsNamespace")
    if namespace == "":
        faults.invalid(
            f"{path}.endpointsNamespace",
            namespace,
            "if the endpointnamespace is set, it must be a valid namespace name",
        )
    elif namespace is not None:
        faults.each(f"{path}.endpointsNamespace", namespace, names.dns_label(namespace))


def _azure_file(faults: Faults, path: str, source: Object) -> None:
    volumes.requires("secretName", "shareName")(faults, path, source)
    if source.get("secretNamespace") == "":
        faults.required(f"{path}.secretNamespace")


SOURCES: dict[str, Callable[[Faults, str, Object], None]] = {
    "hostPath": volumes.host_path,
    "gcePersistentDisk": volumes.partitioned("pdName"),
    "awsElasticBlockStore": volumes.partitioned("volumeID"),
    "glusterfs": _glusterfs,
    "flocker": volumes.flocker,
    "nfs": volumes.nfs,
    "rbd": volumes.requires("monitors", "image"),
    "quobyte": volumes.quobyte,
    "cephfs": volumes.requires("monitors"),
    "iscsi": partial(volumes.iscsi, persistent=True),
    "cinder": partial(volumes.cinder, persistent=True),
    "fc": volumes.fc,
    "flexVolume": volumes.flex,
    "azureFile": _azure_file,
    "vsphereVolume": volumes.requires("volumePath"),
    "photonPersistentDisk": volumes.requires("pdID"),
    "portworxVolume": volumes.requires("volumeID"),
    "azureDisk": volumes.azure_disk,
    "scaleIO": volumes.scale_io,
    "local": _local,
    "storageos": partial(volumes.storage_os, persistent=True),
    "csi": _csi,
}
"""In the order in which upstream looks at them."""
_SOURCE_DEFAULTS: dict[str, Callable[[Object], None]] = {
    "hostPath": pod_defaults.default_host_path,
    "iscsi": pod_defaults.default_iscsi,
    "rbd": pod_defaults.default_rbd,
    "azureDisk": pod_defaults.default_azure_disk,
    "scaleIO": pod_defaults.default_scale_io,
}


def basic_quantity(faults: Faults, path: str, value: object) -> None:
    """A quantity that is not negative; upstream shows it as the whole number that it is rounded up to."""
    parsed = amount(value)
    if parsed is not None and parsed < 0:
        faults.invalid(path, -(-parsed // NANO), "must be a valid resource quantity")


_INLINE = "in the context of inline volumes"


def inline_volume(faults: Faults, path: str, spec: Object) -> None:
    """A volume that stands in a VolumeAttachment itself: what was an inline volume of a pod before CSI migration."""
    _spec(faults, path, spec, "", inline=True)


def _spec(faults: Faults, path: str, spec: Object, name: str, *, inline: bool = False) -> None:
    """A PersistentVolumeSpec."""
    if inline:
        for field in ("claimRef", "capacity"):
            if spec.get(field):
                faults.forbidden(f"{path}.{field}", f"may not be specified {_INLINE}")
        if spec.get("csi") is None:
            faults.required(f"{path}.csi", f"has to be specified {_INLINE}")
    access_modes(faults, f"{path}.accessModes", spec.get("accessModes") or [])
    if not inline:
        _capacity(faults, f"{path}.capacity", spec.get("capacity") or {})
    policy, mode = spec.get("persistentVolumeReclaimPolicy"), spec.get("volumeMode")
    if policy and inline and policy != "Retain":
        faults.forbidden(f"{path}.persistentVolumeReclaimPolicy", f"may only be Retain {_INLINE}")
    elif policy and not inline and policy not in RECLAIM_POLICIES:
        faults.not_supported(f"{path}.persistentVolumeReclaimPolicy", policy, RECLAIM_POLICIES)
    affinity = spec.get("nodeAffinity")
    if affinity is not None and inline:
        faults.forbidden(f"{path}.nodeAffinity", f"may not be specified {_INLINE}")
    elif affinity is not None and affinity.get("required") is None:
        faults.required(f"{path}.nodeAffinity.required", "must specify required node constraints")
    elif affinity is not None:
        node_selector(faults, f"{path}.nodeAffinity.required", affinity["required"])
    _source(faults, path, spec, name)
    if normpath((spec.get("hostPath") or {}).get("path") or ".") == "/" and policy == "Recycle":
        faults.forbidden(f"{path}.persistentVolumeReclaimPolicy", "may not be 'recycle' for a hostPath mount of '/'")
    if spec.get("storageClassName") and inline:
        faults.forbidden(f"{path}.storageClassName", f"may not be specified {_INLINE}")
    else:
        class_name(faults, f"{path}.storageClassName", spec.get("storageClassName"))
    if mode is not None and inline and mode != "Filesystem":
        faults.forbidden(f"{path}.volumeMode", f"may not specify volumeMode other than Filesystem {_INLINE}")
    elif mode is not None and not inline and mode not in VOLUME_MODES:
        faults.not_supported(f"{path}.volumeMode", mode, VOLUME_MODES)
    attributes = spec.get("volumeAttributesClassName")
    if attributes is not None:
        if not attributes:
            faults.required(f"{path}.volumeAttributesClassName", "an empty string is disallowed")
        class_name(faults, f"{path}.volumeAttributesClassName", attributes)
        if spec.get("csi") is None:
            faults.required(f"{path}.csi", "has to be specified when using volumeAttributesClassName")


def _capacity(faults: Faults, path: str, capacity: Object) -> None:
    if not capacity:
        faults.required(path)
    if "storage" not in capacity or len(capacity) > 1:
        faults.not_supported(path, capacity, ("storage",))
    for name, value in capacity.items():
        basic_quantity(faults, f"{path}[{name}]", value)
        if (amount(value) or 0) <= 0:
            faults.invalid(f"{path}[{name}]", show(value), NOT_POSITIVE)


def _source(faults: Faults, path: str, spec: Object, name: str) -> None:
    count = 0
    for kind, check in SOURCES.items():
        if spec.get(kind) is None:
            continue
        # Upstream counts a flexVolume without minding the others.
        if count and kind != "flexVolume":
            faults.forbidden(f"{path}.{'cephFS' if kind == 'cephfs' else kind}", volumes.ONE_TYPE)
            continue
        count += 1
        check(faults, f"{path}.{'persistentDisk' if kind == 'gcePersistentDisk' else kind}", spec[kind])
        if kind == "iscsi":
            portal = spec[kind].get("targetPortal") or ""
            volumes.initiator_length(faults, f"{path}.iscsi.targetportal", portal, name, spec[kind])
        if kind == "local" and spec.get("nodeAffinity") is None:
            faults.required(f"{path}.nodeAffinity", "Local volume requires node affinity")
    if not count:
        faults.required(path, "must specify a volume type")


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

    def prepare_for_create(self, obj: Object) -> None:
        super().prepare_for_create(obj)
        if created := metadata(obj).get("creationTimestamp"):
            obj["status"]["lastPhaseTransitionTime"] = created

    def stamp_phase(self, obj: Object, old: Object, time: str) -> None:
        """Notes when the phase changed in a write of the status, where the writer does not (KEP-3762)."""
        status, before = obj.get("status") or {}, old.get("status") or {}
        told = status.get("lastPhaseTransitionTime")
        if status.get("phase") != before.get("phase") and told in (None, before.get("lastPhaseTransitionTime")):
            obj["status"] = {**status, "lastPhaseTransitionTime": time}

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        _spec(faults, "spec", obj.get("spec") or {}, name_of(obj))
        return faults

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults(self.validate_create(obj))
        spec, before = obj.get("spec") or {}, old.get("spec") or {}
        new_source = {k: clone(spec[k]) for k in SOURCES if k in spec}
        old_source = {k: before[k] for k in SOURCES if k in before}
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
            spec.get("nodeAffinity"), _with_newer_labels(before["nodeAffinity"], spec.get("nodeAffinity"))
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
        if CLASS_ANNOTATION in annotations_of(obj):
            out.append(
                f'metadata.annotations[{CLASS_ANNOTATION}]: deprecated since v1.8; use "storageClassName" attribute '
                "instead"
            )
        if spec.get("persistentVolumeReclaimPolicy") == "Recycle":
            out.append(
                "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. "
                "Instead, the recommended approach is to use dynamic provisioning."
            )
        for i, term in enumerate(
            ((spec.get("nodeAffinity") or {}).get("required") or {}).get("nodeSelectorTerms") or ()
        ):
            path = f"spec.nodeAffinity.required.nodeSelectorTerms[{i}]"
            out.extend(node_selector_term_warnings(path, term, values=False))
        out.extend(f"spec.{kind}: {_VOLUMES[kind]}" for kind in spec if kind in _VOLUMES)
        return out

    def selectable_fields(self, obj: Object) -> dict[str, str]:
        # name is an old alias of metadata.name.
        return {"metadata.name": name_of(obj), "name": name_of(obj)}


def _with_newer_labels(old: Object, new: Object | None) -> Object:
    """The old affinity with such deprecated keys exchanged for their successors as the new one exchanges."""
    out: Object = clone(old)
    new_terms = ((new or {}).get("required") or {}).get("nodeSelectorTerms") or ()
    for term, wanted in zip((out.get("required") or {}).get("nodeSelectorTerms") or (), new_terms, strict=False):
        pairs = zip(term.get("matchExpressions") or (), wanted.get("matchExpressions") or (), strict=False)
        for expression, after in pairs:
            if NODE_LABELS_GA.get(expression.get("key") or "") == after.get("key"):
                expression["key"] = after.get("key")
    return out
