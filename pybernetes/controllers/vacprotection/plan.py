"""Which attribute classes a claim or a volume uses. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from pybernetes.api.meta import Object

FINALIZER = "kubernetes.io/vac-protection"


def by_class_of_claim(claim: Object) -> Iterable[str]:
    """Index of claims under the class that they ask for, have, and are on their way to."""
    spec, status = claim.get("spec") or {}, claim.get("status") or {}
    names = (
        spec.get("volumeAttributesClassName"),
        status.get("currentVolumeAttributesClassName"),
        (status.get("modifyVolumeStatus") or {}).get("targetVolumeAttributesClassName"),
    )
    return sorted({str(name) for name in names if name})


def by_class_of_volume(volume: Object) -> Iterable[str]:
    """Index of volumes under the class that they have."""
    name = (volume.get("spec") or {}).get("volumeAttributesClassName")
    return [str(name)] if name else []
