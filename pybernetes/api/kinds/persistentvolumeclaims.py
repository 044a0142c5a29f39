"""PersistentVolumeClaims. What a claim's spec may say, which templates share, is in `claims`.

Source of defaults, rules and texts: ``pkg/apis/core`` and ``pkg/registry/core/persistentvolumeclaim``.
"""

from __future__ import annotations

from typing import ClassVar

from pybernetes.api import names
from pybernetes.api.field import FieldError
from pybernetes.api.kinds.amounts import amount, canonical_list
from pybernetes.api.kinds.claims import claim_spec
from pybernetes.api.kinds.equality import difference, semantic_equal
from pybernetes.api.kinds.faults import Faults
from pybernetes.api.kinds.persistentvolumes import CLASS_ANNOTATION, basic_quantity
from pybernetes.api.kinds.podspec import defaults as pod_defaults
from pybernetes.api.kinds.podspec.resources import is_native
from pybernetes.api.kinds.podspec.warnings import claim_warnings
from pybernetes.api.kinds.strategy import Strategy
from pybernetes.api.meta import Object, annotations_of, clone, name_of, namespace_of

_RESIZE_STATES = (
    "ControllerResizeInProgress", "ControllerResizeInfeasible", "NodeResizeInProgress", "NodeResizeInfeasible",
    "NodeResizePending",
)  # fmt: skip


class PersistentVolumeClaimStrategy(Strategy):
    initial_status: ClassVar[Object | None] = {"phase": "Pending"}

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        pod_defaults.default_claim_spec(spec)
        status = obj.setdefault("status", {})
        if not status.get("phase"):
            status["phase"] = "Pending"
        for field in ("capacity", "allocatedResources"):
            if status.get(field):
                status[field] = canonical_list(status[field])

    def prepare_for_create(self, obj: Object) -> None:
        super().prepare_for_create(obj)
        _settle_data_sources(obj.get("spec") or {}, {})

    def prepare_for_update(self, obj: Object, old: Object) -> None:
        super().prepare_for_update(obj, old)
        _settle_data_sources(obj.get("spec") or {}, old.get("spec") or {})

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        claim_spec(faults, "spec", obj.get("spec") or {})
        return faults

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults(self.validate_create(obj))
        spec, before = obj.get("spec") or {}, old.get("spec") or {}
        status = old.get("status") or {}
        self._immutable(faults, obj, old, bound=status.get("phase") == "Bound")
        new_size, old_size = _storage(spec), _storage(before)
        if new_size < old_size and new_size <= (amount((status.get("capacity") or {}).get("storage", "0")) or 0):
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
    def _immutable(faults: Faults, obj: Object, old_obj: Object, *, bound: bool) -> None:
        """Binding sets the volume's name once, a class may be added, a bound claim may grow; nothing else changes."""
        new: Object = clone(obj.get("spec") or {})
        old: Object = clone(old_obj.get("spec") or {})
        if not old.get("volumeName") and new.get("volumeName"):
            old["volumeName"] = new["volumeName"]
        by_annotation = annotations_of(old_obj).get(CLASS_ANNOTATION)
        wanted, named = new.get("storageClassName"), annotations_of(obj).get(CLASS_ANNOTATION)
        added = old.get("storageClassName") is None and wanted is not None
        if added and by_annotation is not None and wanted == by_annotation and named in (None, by_annotation):
            # From the annotation of old to the field: the annotation may go.
            new.pop("storageClassName", None)
        else:
            faults.immutable(f"metadata.annotations.{CLASS_ANNOTATION}", named or "", by_annotation or "")
            if added and by_annotation in (None, wanted):
                new.pop("storageClassName", None)
        if bound:
            requests, had = ((s.get("resources") or {}).get("requests") for s in (new, old))
            if requests is not None:
                requests["storage"] = (had or {}).get("storage", "0")
            if new.get("volumeAttributesClassName") is not None:
                new["volumeAttributesClassName"] = old.get("volumeAttributesClassName")
        if not semantic_equal(new, old):
            faults.forbidden(
                "spec",
                "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound "
                "claims\n" + difference(old, new),
            )

    def validate_status_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults()
        status = obj.get("status") or {}
        if not (obj.get("spec") or {}).get("accessModes"):
            faults.required("Spec.accessModes")
        for name, value in (status.get("capacity") or {}).items():
            basic_quantity(faults, f"status.capacity[{name}]", value)
        at = "status.allocatedResourceStatus"
        for name, state in (status.get("allocatedResourceStatuses") or {}).items():
            _resource_key(faults, at, name)
            if state not in _RESIZE_STATES:
                faults.not_supported(at, name, sorted(_RESIZE_STATES))
        for name, value in (status.get("allocatedResources") or {}).items():
            before = len(faults)
            _resource_key(faults, "status.allocatedResources", name)
            if len(faults) == before:
                basic_quantity(faults, f"status.allocatedResources[{name}]", value)
        return faults

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        out: list[str] = []
        if CLASS_ANNOTATION in annotations_of(obj):
            out.append(
                f'metadata.annotations[{CLASS_ANNOTATION}]: deprecated since v1.8; use "storageClassName" attribute '
                "instead"
            )
        out.extend(claim_warnings("spec", obj.get("spec") or {}))
        return out

    def selectable_fields(self, obj: Object) -> dict[str, str]:
        name = name_of(obj)
        return {"metadata.name": name, "metadata.namespace": namespace_of(obj), "name": name}


def _storage(spec: Object) -> int:
    return amount(((spec.get("resources") or {}).get("requests") or {}).get("storage")) or 0


def _resource_key(faults: Faults, path: str, name: str) -> None:
    messages = names.qualified_name(name)
    faults.each(path, name, messages)
    if not messages and is_native(name) and name != "storage":
        faults.not_supported(path, name, ("storage",))


def _settle_data_sources(spec: Object, old: Object) -> None:
    """Lets the two names of a claim's data source follow each other (KEP-1495)."""
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    if source is not None and old.get("dataSource") is None and old.get("dataSourceRef") is None:
        # The old name stands for claims and snapshots only; anything else under it has always been dropped.
        kind = (source.get("apiGroup") or "", source.get("kind"))
        if kind not in (("", "PersistentVolumeClaim"), ("snapshot.storage.k8s.io", "VolumeSnapshot")):
            del spec["dataSource"]
            source = None
    if source is not None and reference is None:
        spec["dataSourceRef"] = clone(source)
    elif reference is not None and source is None and not reference.get("namespace"):
        spec["dataSource"] = {k: v for k, v in reference.items() if k != "namespace"}
