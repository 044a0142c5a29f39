"""What every admission plugin shares: the base class and the words of a refusal."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import ClassVar

from pybernetes.api import errors
from pybernetes.api.meta import metadata
from pybernetes.api.resources import Resource
from pybernetes.apiserver.interfaces import AdmissionOperation, AdmissionRequest


class Plugin:
    """A plugin that does nothing in either phase; a base for those that act in one."""

    name = ""
    operations: ClassVar[Collection[str]] = ("CREATE", "UPDATE", "DELETE", "CONNECT")
    """What `handles` answers True for, together with `resources`."""
    resources: ClassVar[Collection[tuple[str, str]] | None] = None
    """(plural, subresource) of what it cares for; None for everything. Groups are for the phases to look at."""
    mutates = False
    validates = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.mutates = cls.mutate is not Plugin.mutate
        cls.validates = cls.validate is not Plugin.validate

    def handles(self, operation: AdmissionOperation, resource: Resource, subresource: str) -> bool:
        return operation in self.operations and (
            self.resources is None or (resource.plural, subresource) in self.resources
        )

    def listen(self, changed: Callable[[], None]) -> None:
        """Most plugins never change their mind."""

    def close(self) -> None:
        """Ends subscriptions and connections."""

    async def mutate(self, request: AdmissionRequest) -> None:
        """Changes `request.object` in place, or refuses."""

    async def validate(self, request: AdmissionRequest) -> None:
        """Refuses by raising; changes nothing."""


def is_for(request: AdmissionRequest, resource: Resource, *subresources: str) -> bool:
    """Whether the request is for a resource, by default the resource proper and no subresource."""
    asked = request.resource
    return (
        asked.plural == resource.plural
        and asked.group == resource.group
        and request.subresource in (subresources or ("",))
    )


def refuse(request: AdmissionRequest, why: str) -> errors.Forbidden:
    """The 403 of a plugin, as upstream's NewForbidden. While mutating, a name that will be generated is told by its
    prefix."""
    name = request.name
    if not name:
        meta = metadata(request.object or {})
        name = str(meta.get("name") or meta.get("generateName") or "Unknown")
    return errors.forbidden(request.resource.group, request.resource.plural, name, why)
