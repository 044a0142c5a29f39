"""Field managers of a request's write: who it is, and what becomes of the object's ``managedFields``.

Upstream notes managers on what the client sends, defaulted, before admission and before the kind's strategy has its
say; so does this. Stateless but for the clock.
"""

from __future__ import annotations

from functools import lru_cache

from pybernetes.api import errors
from pybernetes.api.field import FieldError, Path, invalid, too_long
from pybernetes.api.meta import Object
from pybernetes.api.patch import managed, scaling, tracking
from pybernetes.api.patch.scope import scope_of
from pybernetes.api.patch.tracking import Converter
from pybernetes.api.resources import Resource
from pybernetes.api.schema.nodes import ObjectNode
from pybernetes.apiserver import conversion
from pybernetes.apiserver.entries import Entry
from pybernetes.apiserver.interfaces import RequestInfo
from pybernetes.lib.clock import Clock

MANAGER_BYTES_MAX = 128
_SUBRESOURCE_LENGTH_MAX = 256
_UNKNOWN = "unknown"
_INVALID_AFTER_ADMISSION = (
    ".metadata.managedFields was in an invalid state after admission; this could be caused by an outdated mutating "
    "admission controller; please fix your requests: "
)


@lru_cache(maxsize=1024)
def _program(user_agent: str) -> str:
    """The program's name in a user agent, as far as it prints and fits."""
    name = "".join(c for c in user_agent.partition("/")[0] if c.isprintable())
    while len(name.encode()) > MANAGER_BYTES_MAX:
        name = name[:-1]
    return name


def manager_of(info: RequestInfo) -> str:
    """The manager of what a request writes: the one it names, or its program's name."""
    return info.field_manager or _program(info.user_agent) or _UNKNOWN


def converter(resource: Resource, old: Object | None, new: Object) -> Converter:
    """Of two objects in the version of `resource` to other served versions."""

    def convert(api_version: str) -> tuple[Object | None, Object, ObjectNode] | None:
        for other in conversion.versions(resource):
            if other.api_version == api_version:
                before = conversion.convert(resource, other, old) if old is not None else None
                return before, conversion.convert(resource, other, new), scope_of(other).node
        return None

    return convert


class FieldManagers:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def note_created(self, info: RequestInfo, stored: Resource, obj: Object) -> None:
        """Sets the managers of an object that is to be created, given in its stored version."""
        resource = info.resource
        assert resource is not None
        new = obj if resource is stored else conversion.from_storage(resource, obj)
        noted = tracking.managers_of_new(
            new,
            scope_of(resource),
            manager_of(info),
            self._clock.now(),
            converter(resource, None, new),
            info.spec_text if resource is stored else b"",
        )
        self._put(obj, noted)

    def note_updated(self, info: RequestInfo, stored: Resource, obj: Object, existing: Entry) -> None:
        """Sets the managers of `obj`, which is to take the place of `existing`; both in their stored version. Raises
        `Invalid` for managers that the client names and that cannot be."""
        resource = info.resource
        assert resource is not None
        old = existing.object_as(resource)
        new = obj if resource is stored else conversion.from_storage(resource, obj)
        noted = tracking.managers_of_changed(
            old,
            new,
            scope_of(resource, info.subresource),
            manager_of(info),
            self._clock.now(),
            converter(resource, old, new),
        )
        self._put(obj, noted)

    @staticmethod
    def check_admitted(info: RequestInfo, obj: Object, noted: list[Object] | None) -> None:
        """Puts the managers `noted` before admission back, with a warning, where admission left nonsense."""
        meta = obj["metadata"]
        after = meta.get("managedFields")
        if after is noted or after == noted or not after:
            return
        try:
            meta["managedFields"] = managed.encode(managed.decode_given(after))
        except ValueError as e:
            meta["managedFields"] = noted
            if not noted:
                del meta["managedFields"]
            info.warnings.append(_INVALID_AFTER_ADMISSION + str(e))

    def scaled(self, info: RequestInfo, current: Object, scale: Object) -> Object:
        """The written Scale with its managers, where there are any."""
        noted = tracking.managers_of_changed(current, scale, scaling.scale_scope(), manager_of(info), self._clock.now())
        return {**scale, "metadata": {**scale["metadata"], "managedFields": noted}}

    @staticmethod
    def _put(obj: Object, noted: list[Object]) -> None:
        meta = obj["metadata"]
        given = meta.pop("managedFields", None)
        if noted:
            meta["managedFields"] = noted
            if given:
                _check(obj, noted)


@lru_cache(maxsize=1024)
def _is_named_well(manager: str, subresource: str) -> bool:
    return (
        len(manager.encode()) <= MANAGER_BYTES_MAX
        and manager.isprintable()
        and len(subresource) <= _SUBRESOURCE_LENGTH_MAX
    )


def _check(obj: Object, noted: list[Object]) -> None:
    """Raises `Invalid` for names that a client gave its managers (upstream's ValidateManagedFields)."""
    if all([_is_named_well(e.get("manager", ""), e.get("subresource", "")) for e in noted]):  # noqa: C419 - cheaper so
        return
    faults: list[FieldError] = []
    path = Path("metadata.managedFields")
    for i, entry in enumerate(noted):
        at = path.index(i)
        manager = entry.get("manager", "")
        if len(manager.encode()) > MANAGER_BYTES_MAX:
            faults.append(too_long(at.child("manager"), MANAGER_BYTES_MAX))
        if not manager.isprintable():
            faults.append(invalid(at.child("manager"), manager, "should only contain printable characters"))
        if len(entry.get("subresource", "")) > _SUBRESOURCE_LENGTH_MAX:
            faults.append(too_long(at.child("subresource"), _SUBRESOURCE_LENGTH_MAX))
    if faults:
        group = obj["apiVersion"].rpartition("/")[0]
        raise errors.invalid(group, obj["kind"], obj["metadata"].get("name") or "", faults)
