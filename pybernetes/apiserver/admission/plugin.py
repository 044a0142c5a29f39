"""What every admission plugin shares: the base class and the words of a refusal."""

from __future__ import annotations

from pybernetes.api import errors
from pybernetes.api.meta import metadata
from pybernetes.api.resources import Resource
from pybernetes.apiserver.interfaces import AdmissionRequest


class Plugin:
    """A plugin that does nothing in either phase; a base for those that act in one."""

    name = ""

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
    """The 403 of a plugin, as upstream's NewForbidden. In `mutate`, use `refuse_early`."""
    name = request.name
    if not name:
        meta = metadata(request.object or {})
        name = str(meta.get("name") or meta.get("generateName") or "Unknown!")
    return errors.forbidden(request.resource.group, request.resource.plural, name, why)


def refuse_early(request: AdmissionRequest, why: str) -> errors.Forbidden:
    """As `refuse`, for the mutating phase, in which upstream has generated no name yet and tells the prefix."""
    prefix = str(metadata(request.object or {}).get("generateName") or "")
    if request.operation == "CREATE" and prefix and request.name.startswith(prefix):
        return errors.forbidden(request.resource.group, request.resource.plural, prefix, why)
    return refuse(request, why)
