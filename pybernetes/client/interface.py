"""The one client interface of every component, whatever the transport.

Implementations: `pybernetes.client.https.HTTPSClient` (agents, tools) and the API server's in-process transport
(scheduler and controllers), which goes through the same pipeline without HTTP or JSON.
Objects that come back may be shared with a cache: never mutate them, `pybernetes.api.meta.clone` first.
All methods raise `pybernetes.api.errors.ApiError` subclasses.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypedDict, runtime_checkable

from pybernetes.api.meta import Object
from pybernetes.api.resources import Resource
from pybernetes.lib.records import record

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
Propagation = Literal["Orphan", "Background", "Foreground"]


@record
class WatchEvent:
    """One event of a watch. A BOOKMARK's object carries only kind, apiVersion and its resourceVersion."""

    type: EventType
    object: Object


@dataclass(frozen=True, slots=True)
class ObjectList:
    items: list[Object]
    resource_version: str
    continue_token: str = ""


class Selectors(TypedDict, total=False):
    label_selector: str
    field_selector: str


class ListOptions(Selectors, total=False):
    """The options of `Client.list`, for clients that wrap another."""

    limit: int
    continue_token: str
    resource_version: str


class WatchOptions(Selectors, total=False):
    """The options of `Client.watch`."""

    resource_version: str
    timeout_seconds: int | None


class PatchOptions(TypedDict, total=False):
    """The options of `Client.patch`."""

    patch_type: str
    subresource: str
    field_manager: str
    force: bool


class DeleteOptions(TypedDict, total=False):
    """The options of `Client.delete`."""

    propagation: Propagation | None
    grace_period_seconds: int | None
    uid: str
    resource_version: str


class DeleteCollectionOptions(Selectors, total=False):
    """The options of `Client.delete_collection`."""

    propagation: Propagation | None


@runtime_checkable
class Followable(Protocol):
    """A client in the API server's own process, for informers: what the watch cache takes in, without a watch."""

    def follow(
        self, resource: Resource, handler: Callable[[EventType, Object], None]
    ) -> tuple[str, Callable[[], None]]:
        """Calls `handler` with ADDED for everything that is there, before it returns, and from then on with every
        change in the step that makes it. Handlers are quick and do not raise. Returns the revision of what is there,
        and the end of it. Raises `Forbidden`, and `ServiceUnavailable` where the server stops."""
        ...


class Client(Protocol):
    """CRUD, list and watch of any resource. `namespace` is empty for cluster-scoped resources and, in `list` and
    `watch`, for all namespaces."""

    async def get(self, resource: Resource, name: str, namespace: str = "", *, subresource: str = "") -> Object: ...

    async def list(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_token: str = "",
        resource_version: str = "",
    ) -> ObjectList: ...

    def watch(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str = "",
        timeout_seconds: int | None = None,
    ) -> AsyncIterator[WatchEvent]:
        """Events after `resource_version`, with bookmarks; ends when the server ends it. Raises `Expired` where
        the revision is gone. Close the iterator (``aclosing``) to end the watch."""
        ...

    async def create(
        self, resource: Resource, obj: Object, namespace: str = "", *, name: str = "", subresource: str = ""
    ) -> Object:
        """`name` and `subresource` for creations below an object, such as a pod's ``binding`` or ``eviction``."""
        ...

    async def update(self, resource: Resource, obj: Object, *, subresource: str = "") -> Object:
        """Replaces the object named in obj's metadata; its resourceVersion, where given, is a precondition."""
        ...

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: Any,
        namespace: str = "",
        *,
        patch_type: str = STRATEGIC_MERGE_PATCH,
        subresource: str = "",
        field_manager: str = "",
        force: bool = False,
    ) -> Object: ...

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str = "",
        *,
        propagation: Propagation | None = None,
        grace_period_seconds: int | None = None,
        uid: str = "",
        resource_version: str = "",
    ) -> Object:
        """`uid` and `resource_version` are preconditions: `Conflict` where the object is another by now."""
        ...

    async def delete_collection(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        propagation: Propagation | None = None,
    ) -> None: ...
