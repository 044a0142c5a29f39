"""The strategy of a kind: everything the generic registry asks of it. No I/O; pure functions of objects.

`obj` arguments are private copies that a strategy may change in place; `old` is shared and read-only.
"""

from __future__ import annotations

from typing import ClassVar

from pybernetes.api import names
from pybernetes.api.field import FieldError
from pybernetes.api.kinds.equality import semantic_equal
from pybernetes.api.meta import Object, clone, metadata, name_of, namespace_of
from pybernetes.api.resources import Resource


class Strategy:
    """The generic strategy, and the base of all others."""

    #: Whether metadata.generation is kept: 1 at creation, +1 whenever the spec changes.
    has_generation = False
    #: Whether PUT may create the object (upstream: leases, endpoints, events, ...).
    allow_create_on_update = False
    #: Whether an update must name a resourceVersion.
    allow_unconditional_update = True

    #: Whether `default` looks at and changes nothing but the spec, so that its result may be kept by the spec's text.
    defaults_spec_alone = False

    #: The status of a new object; None for no status field at all.
    initial_status: ClassVar[Object | None] = None

    def __init__(self, resource: Resource) -> None:
        self.resource = resource

    def default(self, obj: Object) -> None:
        """Fills in what the API fills in, as upstream's SetDefaults functions. Idempotent."""

    def prepare_for_create(self, obj: Object) -> None:
        """Drops what a creator may not set (its status, usually)."""
        if self.resource.has_status:
            if self.initial_status is None:
                obj.pop("status", None)
            else:
                obj["status"] = clone(self.initial_status)

    def prepare_for_update(self, obj: Object, old: Object) -> None:
        """Keeps what an update of the main resource may not touch (its status, usually)."""
        if self.resource.has_status:
            if "status" in old:
                obj["status"] = clone(old["status"])
            else:
                obj.pop("status", None)

    def prepare_for_status_update(self, obj: Object, old: Object) -> None:
        """Keeps everything but the status (and metadata, but for labels, as upstream). What is kept stays the old
        object's own, which nobody may change."""
        meta = metadata(obj)
        for key in list(obj):
            if key not in ("apiVersion", "kind", "metadata", "status"):
                del obj[key]
        for key, value in old.items():
            if key not in ("apiVersion", "kind", "metadata", "status"):
                obj[key] = value
        if "ownerReferences" in metadata(old):
            meta["ownerReferences"] = metadata(old)["ownerReferences"]
        else:
            meta.pop("ownerReferences", None)

    def raises_generation(self, obj: Object, old: Object) -> bool:
        """Whether an update is a change that metadata.generation counts; asked only where `has_generation`."""
        return not semantic_equal(obj.get("spec"), old.get("spec"))

    def validate_create(self, obj: Object) -> list[FieldError]:
        """Every fault of a new object's own fields (metadata is checked by the registry)."""
        return []

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        """Every fault of the new state, and every forbidden change."""
        return self.validate_create(obj)

    def validate_status_update(self, obj: Object, old: Object) -> list[FieldError]:
        return []

    def validate_name(self, name: str, *, prefix: bool) -> list[str]:
        """What is wrong with a name (or, with `prefix`, a generateName), in upstream's words."""
        return names.dns_subdomain(name, prefix=prefix)

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        """Texts for Warning headers, as upstream's WarningsOnCreate and WarningsOnUpdate."""
        return []

    def status_warnings(self, obj: Object) -> list[str]:
        """As `warnings`, for a write of the status: about what the status says."""
        return []

    def selectable_fields(self, obj: Object) -> dict[str, str]:
        """The fields a field selector may name, with their values."""
        fields = {"metadata.name": name_of(obj)}
        if self.resource.namespaced:
            fields["metadata.namespace"] = namespace_of(obj)
        return fields

    def selectable_field_names(self) -> frozenset[str]:
        return frozenset(self.selectable_fields({}))

    def grace_period_seconds(self, obj: Object, requested: int | None) -> int:
        """How long a deletion may take: 0 for at once. Pods have one."""
        return 0
