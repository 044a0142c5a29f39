"""Validation of a PersistentVolumeClaim's spec, which claims, stateful sets and ephemeral volumes share."""

from __future__ import annotations

from pybernetes.api import names
from pybernetes.api.kinds.amounts import amount, quantity_fault, show
from pybernetes.api.kinds.faults import NOT_POSITIVE, Faults
from pybernetes.api.kinds.labels import annotation_map, label_map, label_selector
from pybernetes.api.meta import Object

ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
VOLUME_MODES = ("Block", "Filesystem")
_MODE_MISSING = "at least 1 access mode is required"


def access_modes(faults: Faults, path: str, modes: list[str], missing: str = "") -> None:
    """`missing` is what is said where there is none: claims are told more than volumes."""
    if not modes:
        faults.required(path, missing)
    for mode in modes:
        if mode not in ACCESS_MODES:
            faults.not_supported(path, mode, ACCESS_MODES)
    if "ReadWriteOncePod" in modes and any(m in ACCESS_MODES and m != "ReadWriteOncePod" for m in modes):
        faults.forbidden(path, "may not use ReadWriteOncePod with other access modes")


def template_meta(faults: Faults, path: str, meta: Object) -> None:
    """The metadata of a template of claims: labels and annotations, nothing else."""
    annotation_map(faults, f"{path}.annotations", meta.get("annotations"))
    label_map(faults, f"{path}.labels", meta.get("labels"))
    for name, value in meta.items():
        if value and name not in ("annotations", "labels"):
            faults.forbidden(f"{path}.{'uID' if name == 'uid' else name}", "cannot be set")


def class_name(faults: Faults, path: str, name: str | None) -> None:
    if name:
        faults.each(path, name, names.dns_subdomain(name))


def claim_spec(faults: Faults, path: str, spec: Object) -> None:
    """A PersistentVolumeClaimSpec."""
    access_modes(faults, f"{path}.accessModes", spec.get("accessModes") or [], _MODE_MISSING)
    label_selector(faults, f"{path}.selector", spec.get("selector"))
    storage = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    at = f"{path}.resources[storage]"
    if storage is None:
        faults.required(at)
    else:
        value = amount(storage)
        if value is None:
            faults.invalid(at, storage, quantity_fault())
        elif value <= 0:
            faults.invalid(at, show(storage), NOT_POSITIVE)
    class_name(faults, f"{path}.storageClassName", spec.get("storageClassName"))
    mode = spec.get("volumeMode")
    if mode is not None and mode not in VOLUME_MODES:
        faults.not_supported(f"{path}.volumeMode", mode, VOLUME_MODES)
    for name in ("dataSource", "dataSourceRef"):
        if spec.get(name) is not None:
            _data_source(faults, f"{path}.{name}", spec[name])
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    if source is not None and reference is not None:
        if reference.get("namespace"):
            faults.invalid(path, f"{path}.dataSource", "may not be specified when dataSourceRef.namespace is specified")
        elif any(source.get(k) != reference.get(k) for k in ("apiGroup", "kind", "name")):
            faults.invalid(path, f"{path}.dataSource", "must match dataSourceRef")
    class_name(faults, f"{path}.volumeAttributesClassName", spec.get("volumeAttributesClassName"))


def _data_source(faults: Faults, path: str, source: Object) -> None:
    for name in ("name", "kind"):
        if not source.get(name):
            faults.required(f"{path}.{name}")
    group, kind = source.get("apiGroup") or "", source.get("kind") or ""
    if not group and kind != "PersistentVolumeClaim":
        faults.invalid(path, kind, "must be 'PersistentVolumeClaim' when referencing the default apiGroup")
    if group:
        faults.each(f"{path}.apiGroup", group, names.dns_subdomain(group))
    if source.get("namespace"):
        faults.each(f"{path}.namespace", source["namespace"], names.dns_label(source["namespace"]))
