"""What a write to a resource, or through one of its subresources, can change: the fields that it may own. Pure.

Source: the ``GetResetFields`` and ``GetResetFieldsFilter`` of upstream's strategies in ``pkg/registry``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from pybernetes.api.patch.fields import FieldPath
from pybernetes.api.patch.typed import UNMANAGED_METADATA
from pybernetes.api.resources import Resource
from pybernetes.api.schema.nodes import ObjectNode, type_of

_SPEC: FieldPath = ("f:spec",)
_STATUS: FieldPath = ("f:status",)
_METADATA: FieldPath = ("f:metadata",)

_RESET: dict[tuple[str, str], tuple[FieldPath, ...]] = {
    ("core/pods", "status"): (_SPEC, ("f:metadata", "f:deletionTimestamp"), ("f:metadata", "f:ownerReferences")),
    ("apps/deployments", "status"): (_SPEC, ("f:metadata", "f:labels")),
    ("certificates.k8s.io/certificatesigningrequests", "status"): (_SPEC, ("f:status", "f:conditions")),
    ("certificates.k8s.io/certificatesigningrequests", "approval"): (_SPEC, ("f:status", "f:certificate")),
    ("flowcontrol.apiserver.k8s.io/flowschemas", "status"): (_SPEC, _METADATA),
    ("flowcontrol.apiserver.k8s.io/prioritylevelconfigurations", "status"): (_SPEC, _METADATA),
    ("storage.k8s.io/volumeattachments", "status"): (_SPEC, _METADATA),
    ("admissionregistration.k8s.io/validatingadmissionpolicies", "status"): (_SPEC, _METADATA),
    ("apiextensions.k8s.io/customresourcedefinitions", "status"): (_SPEC, _METADATA),
    ("apiregistration.k8s.io/apiservices", "status"): (_SPEC, _METADATA),
    ("resource.k8s.io/resourceclaims", "status"): (_SPEC, _METADATA),
}
"""By "group/plural" and subresource, where it is more than the other half of the object."""

_CONTAINER_PARTS = ("f:resources", "f:resizePolicy")
_ONLY: dict[tuple[str, str], tuple[FieldPath, ...]] = {
    ("core/pods", "ephemeralcontainers"): (("f:spec", "f:ephemeralContainers"),),
    ("core/pods", "resize"): tuple(
        ("f:spec", kind, "*", part) for kind in ("f:containers", "f:initContainers") for part in _CONTAINER_PARTS
    ),
}
"""Where a subresource writes some fields alone; ``*`` is any element."""

NOBODYS: frozenset[FieldPath] = frozenset(
    {
        ("f:apiVersion",),
        ("f:kind",),
        ("f:metadata",),
        *(("f:metadata", "f:" + name) for name in UNMANAGED_METADATA),
    }
)
"""What no manager owns."""


def _begins(path: FieldPath, pattern: FieldPath) -> bool:
    return len(path) >= len(pattern) and all(p in ("*", element) for element, p in zip(path, pattern, strict=False))


@dataclass(frozen=True, slots=True, eq=False)
class Scope:
    """Of the writes to one resource in one version, whole or through a subresource."""

    node: ObjectNode
    api_version: str
    subresource: str = ""
    reset: tuple[FieldPath, ...] = ()
    """A write through here changes nothing at and below these."""
    only: tuple[FieldPath, ...] = ()
    """It changes these alone, where there are some."""
    reset_fields: frozenset[str] = frozenset()
    """The top-level fields of `reset`, by name. Who compares objects leaves them out."""
    reset_below: tuple[FieldPath, ...] = ()
    """The other members of `reset`."""

    def changes(self, paths: list[FieldPath]) -> list[FieldPath]:
        """Those of the paths that a write through here changes; none of them lies in `reset_fields`."""
        if self.only:
            return [p for p in paths if any(_begins(p, pattern) for pattern in self.only)]
        if self.reset_below:
            return [p for p in paths if not self._is_reset(p)]
        return paths

    def _is_reset(self, path: FieldPath) -> bool:
        return any(path[0] == r[0] and path[: len(r)] == r for r in self.reset_below)

    def owns(self, path: FieldPath) -> bool:
        """Whether a write that sets the field at `path` owns it from then on."""
        return path not in NOBODYS and path[0][2:] not in self.reset_fields and bool(self.changes([path]))


@lru_cache(maxsize=1024)
def scope_of(resource: Resource, subresource: str = "") -> Scope:
    """The scope of writes to a resource in its version. Raises `KeyError` for a type without a schema."""
    key = (resource.storage_id, subresource)
    reset: tuple[FieldPath, ...] = ()
    only = _ONLY.get(key, ())
    if not only:
        if key in _RESET:
            reset = _RESET[key]
        elif subresource == "status":
            reset = (_SPEC,)
        elif resource.has_status:
            reset = (_STATUS,)
    return Scope(
        type_of(resource),
        resource.api_version,
        subresource,
        reset,
        only,
        frozenset(p[0][2:] for p in reset if len(p) == 1),
        tuple(p for p in reset if len(p) > 1),
    )
