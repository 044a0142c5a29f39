"""The client of components in the server's own process: the same walk as HTTP's (authorization, decoding, admission,
registry), without HTTP and JSON.

Objects that come out are the cache's own, shared and never to be changed. Objects that go in are copied by decoding,
strictly: an unknown field is a fault of the component, and is told.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

from pybernetes.api import errors
from pybernetes.api.meta import Object, metadata, name_of
from pybernetes.api.resources import Resource
from pybernetes.api.user import User
from pybernetes.apiserver import encoding, patching
from pybernetes.apiserver.cacher import Cacher
from pybernetes.apiserver.entries import Entry
from pybernetes.apiserver.interfaces import RequestInfo
from pybernetes.apiserver.operations import Operations
from pybernetes.apiserver.options import DeleteOptions, ListOptions, WriteOptions
from pybernetes.apiserver.watch_stream import TIMEOUT_SECONDS_MIN
from pybernetes.client.interface import STRATEGIC_MERGE_PATCH, EventType, ObjectList, Propagation, WatchEvent

_STRICT = WriteOptions("Strict")


_PROGRAMS = {"system:apiserver": "kube-apiserver", "system:kube-scheduler": "kube-scheduler"}
_CONTROLLERS = "system:serviceaccount:kube-system:"


def _user_agent(user: User) -> str:
    """The program that upstream runs as that user, which names itself so to the server."""
    if user.name.startswith(_CONTROLLERS):
        return "kube-controller-manager"
    return _PROGRAMS.get(user.name) or user.name.rpartition(":")[2]


class InProcessClient:
    """A `Client` that acts as one user. It costs nothing to make."""

    def __init__(
        self, operations: Callable[[], Operations], cacher: Cacher, user: User, closed: Callable[[], bool]
    ) -> None:
        self._operations_now = operations
        self._cacher = cacher
        self._user = user
        self._closed = closed
        self._user_agent = _user_agent(user)

    def _operations(self) -> Operations:
        if self._closed():
            raise errors.ServiceUnavailable("the server is shutting down")
        return self._operations_now()

    def _info(
        self, verb: str, resource: Resource, namespace: str = "", name: str = "", subresource: str = ""
    ) -> RequestInfo:
        if subresource and resource.subresource(subresource) is None:
            raise errors.NotFound("the server could not find the requested resource", details={})
        return RequestInfo(
            verb, "", self._user, resource, namespace if resource.namespaced else "", name, subresource,
            user_agent=self._user_agent,
        )  # fmt: skip

    @staticmethod
    def _object(info: RequestInfo, answer: Entry | Object) -> Object:
        assert info.resource is not None
        return answer.object_as(info.resource) if isinstance(answer, Entry) else answer

    async def get(self, resource: Resource, name: str, namespace: str = "", *, subresource: str = "") -> Object:
        operations = self._operations()
        info = self._info("get", resource, namespace, name, subresource)
        operations.authorize(info)
        return self._object(info, await operations.get(info))

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
    ) -> ObjectList:
        operations = self._operations()
        info = self._info("list", resource, namespace)
        operations.authorize(info, field_selector=field_selector, label_selector=label_selector)
        listing = await operations.list(
            info, ListOptions(label_selector, field_selector, limit, continue_token, resource_version)
        )
        items = [e.object_as(resource) for e in listing.items]
        return ObjectList(items, str(listing.revision), listing.continue_token)

    async def watch(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str = "",
        timeout_seconds: int | None = None,
    ) -> AsyncIterator[WatchEvent]:
        """See `Client.watch`. Raises `ServiceUnavailable` when the server stops."""
        operations = self._operations()
        info = self._info("watch", resource, namespace)
        operations.authorize(info, field_selector=field_selector, label_selector=label_selector)
        options = ListOptions(label_selector, field_selector, resource_version=resource_version, watch=True)
        watcher, _ = await operations.watch(info, options)
        timeout = timeout_seconds or random.uniform(1, 2) * TIMEOUT_SECONDS_MIN
        timer = asyncio.get_running_loop().call_later(timeout, lambda: watcher.end(self._cacher.revision))
        try:
            while True:
                frames = await watcher.next()
                # While the consumer works, the watcher may get more, and end.
                ended = watcher.ended
                for frame in frames:
                    yield frame.event(resource)
                if ended:
                    break
            if not watcher.dropped and not self._closed():
                yield WatchEvent("BOOKMARK", encoding.bookmark_object(resource, watcher.reached))
        finally:
            timer.cancel()
            operations.detach(watcher)
        if self._closed():
            raise errors.ServiceUnavailable("the server is shutting down")

    def follow(
        self, resource: Resource, handler: Callable[[EventType, Object], None]
    ) -> tuple[str, Callable[[], None]]:
        """See `Followable`."""
        operations = self._operations()
        for verb in ("list", "watch"):
            operations.authorize(self._info(verb, resource))
        kind = self._cacher.kind(resource)
        for entry in kind.in_namespace(""):
            handler("ADDED", entry.object_as(resource))
        stop = kind.follow(lambda change: handler(change.type, change.entry.object_as(resource)))
        return str(self._cacher.revision), stop

    async def create(
        self, resource: Resource, obj: Object, namespace: str = "", *, name: str = "", subresource: str = ""
    ) -> Object:
        operations = self._operations()
        if resource.namespaced and not namespace:
            namespace = str(metadata(obj).get("namespace") or "")
        info = self._info("create", resource, namespace, name, subresource)
        operations.authorize(info)
        return self._object(info, (await operations.create(info, obj, _STRICT)).answer)

    async def update(self, resource: Resource, obj: Object, *, subresource: str = "") -> Object:
        operations = self._operations()
        namespace = str(metadata(obj).get("namespace") or "")
        info = self._info("update", resource, namespace, name_of(obj), subresource)
        operations.authorize(info)
        return self._object(info, (await operations.update(info, obj, _STRICT)).answer)

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
    ) -> Object:
        operations = self._operations()
        info = self._info("patch", resource, namespace, name, subresource)
        operations.authorize(info)
        if patch_type not in patching.TYPES:
            raise patching.unsupported(patch_type)
        info.field_manager = field_manager
        options = WriteOptions("Strict", field_manager, force)
        written = await operations.patch(info, patching.Patch(patch_type, patch), options)
        return self._object(info, written.answer)

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
        operations = self._operations()
        info = self._info("delete", resource, namespace, name)
        operations.authorize(info)
        deleted = await operations.delete(
            info, DeleteOptions(grace_period_seconds, propagation, None, uid, resource_version)
        )
        return self._object(info, deleted.entry) if deleted.answers_with_object() else deleted.to_status()

    async def delete_collection(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        propagation: Propagation | None = None,
    ) -> None:
        operations = self._operations()
        info = self._info("deletecollection", resource, namespace)
        operations.authorize(info, field_selector=field_selector, label_selector=label_selector)
        await operations.delete_collection(
            info, ListOptions(label_selector, field_selector), DeleteOptions(propagation_policy=propagation)
        )
