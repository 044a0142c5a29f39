"""The storage plugins: the default class of claims, finalizers that protect what is in use, growing of claims.

Source: https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/ (DefaultStorageClass,
StorageObjectInUseProtection, PersistentVolumeClaimResize).
"""

from __future__ import annotations

from collections.abc import Iterable

from pybernetes.api.meta import Object, annotations_of, metadata, name_of
from pybernetes.api.quantity import QuantityError, parse
from pybernetes.api.resources import (
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    STORAGECLASSES,
    VOLUMEATTRIBUTESCLASSES,
)
from pybernetes.apiserver.admission.plugin import Plugin, is_for, refuse
from pybernetes.apiserver.interfaces import AdmissionRequest, ObjectReader, ObservableReader

_BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
_DEFAULT_CLASS = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")


def newest_default(classes: Iterable[Object], annotations: Iterable[str]) -> Object | None:
    """Of the classes marked as default the one made last; of several made in one second, the first by name."""
    marks = tuple(annotations)
    defaults = sorted((c for c in classes if any(annotations_of(c).get(mark) == "true" for mark in marks)), key=name_of)
    return max(defaults, key=lambda c: str(metadata(c).get("creationTimestamp") or ""), default=None)


class DefaultStorageClass(Plugin):
    """A claim that names no class gets the default one, if there is any."""

    name = "DefaultStorageClass"
    operations = ("CREATE",)
    resources = (("persistentvolumeclaims", ""),)

    def __init__(self, reader: ObjectReader) -> None:
        self._reader = reader

    async def mutate(self, request: AdmissionRequest) -> None:
        claim = request.object
        if request.operation != "CREATE" or claim is None or not is_for(request, PERSISTENTVOLUMECLAIMS):
            return
        spec = claim.setdefault("spec", {})
        # An empty name is a name: "no class".
        if spec.get("storageClassName") is not None or _BETA_CLASS in annotations_of(claim):
            return
        default = newest_default(self._reader.list(STORAGECLASSES), _DEFAULT_CLASS)
        if default is not None:
            spec["storageClassName"] = name_of(default)


class StorageObjectInUseProtection(Plugin):
    """Claims, volumes and attribute classes get the finalizer that their protection controllers take away."""

    name = "StorageObjectInUseProtection"
    operations = ("CREATE",)
    resources = (("persistentvolumeclaims", ""), ("persistentvolumes", ""), ("volumeattributesclasses", ""))

    _FINALIZERS = (
        (PERSISTENTVOLUMECLAIMS, "kubernetes.io/pvc-protection"),
        (PERSISTENTVOLUMES, "kubernetes.io/pv-protection"),
        (VOLUMEATTRIBUTESCLASSES, "kubernetes.io/vac-protection"),
    )

    async def mutate(self, request: AdmissionRequest) -> None:
        obj = request.object
        if request.operation != "CREATE" or obj is None:
            return
        for resource, finalizer in self._FINALIZERS:
            if is_for(request, resource):
                finalizers = metadata(obj).get("finalizers") or []
                if finalizer not in finalizers:
                    obj["metadata"]["finalizers"] = [*finalizers, finalizer]


class PersistentVolumeClaimResize(Plugin):
    """A claim grows only if its class allows it."""

    name = "PersistentVolumeClaimResize"
    operations = ("UPDATE",)
    resources = (("persistentvolumeclaims", ""),)

    def __init__(self, reader: ObservableReader) -> None:
        self._reader = reader

    async def validate(self, request: AdmissionRequest) -> None:
        new, old = request.object, request.old
        if request.operation != "UPDATE" or new is None or old is None or not is_for(request, PERSISTENTVOLUMECLAIMS):
            return
        wanted, had = _requested(new), _requested(old)
        if wanted is None or had is None or wanted <= had:
            return
        if (old.get("status") or {}).get("phase") != "Bound":
            raise refuse(request, "Only bound persistent volume claims can be expanded")
        class_name = annotations_of(new).get(_BETA_CLASS) or (new.get("spec") or {}).get("storageClassName")
        class_ = await self._reader.find(STORAGECLASSES, "", class_name) if class_name else None
        if class_ is None or not class_.get("allowVolumeExpansion"):
            raise refuse(
                request,
                "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must "
                "support resize",
            )


def _requested(claim: Object) -> int | None:
    resources = (claim.get("spec") or {}).get("resources") or {}
    text = (resources.get("requests") or {}).get("storage")
    try:
        return parse(str(text)).value if text is not None else None
    except QuantityError:
        # Validation says what is wrong with it.
        return None
