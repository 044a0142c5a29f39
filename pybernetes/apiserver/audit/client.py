"""The in-process client, audited: what components in the server's own process ask for is told as what others ask.

It wraps another client and is made only where there is an audit policy. The trail's request URIs are those that the
same request would have over HTTP, without its query.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable
from contextlib import aclosing
from typing import Any, TypeVar, Unpack

import orjson

from pybernetes.api import errors
from pybernetes.api.meta import Object, metadata, name_of
from pybernetes.api.resources import Resource
from pybernetes.api.user import User
from pybernetes.apiserver.audit.trail import Asked, AuditTrail, Body, Record
from pybernetes.client.interface import (
    Client,
    DeleteCollectionOptions,
    DeleteOptions,
    ListOptions,
    ObjectList,
    PatchOptions,
    WatchEvent,
    WatchOptions,
)

T = TypeVar("T")


class AuditedClient:
    """A `Client` that tells the trail of what it does."""

    def __init__(self, inner: Client, user: User, trail: AuditTrail) -> None:
        self._inner = inner
        self._user = user
        self._trail = trail

    def _begin(
        self, verb: str, resource: Resource, namespace: str, name: str, subresource: str, body: Any
    ) -> Record | None:
        base = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
        scope = f"/namespaces/{namespace}" if resource.namespaced and namespace else ""
        path = "/".join(part for part in (f"{base}{scope}/{resource.plural}", name, subresource) if part)
        record = self._trail.begin(
            Asked(
                str(uuid.uuid4()), verb, path, path, self._user, (), self._user.name, self._trail.now(),
                resource.group, resource.version, resource.plural, subresource, namespace, name,
            )
        )  # fmt: skip
        if record is not None and body is not None:
            record.request = Body(orjson.dumps(body))
        return record

    @staticmethod
    async def _told(record: Record | None, work: Awaitable[T], code: int = 200) -> T:
        """The work's outcome, told."""
        if record is None:
            return await work
        try:
            outcome = await work
        except errors.ApiError as error:
            record.completed(error.code, Body(orjson.dumps(error.to_status())))
            raise
        except Exception as error:
            record.panicked(f"{type(error).__name__}: {error}")
            raise
        except BaseException:
            record.closed_early()
            raise
        answer = Body(orjson.dumps(outcome)) if record.wants_response and isinstance(outcome, dict) else None
        record.completed(code, answer)
        return outcome

    async def get(self, resource: Resource, name: str, namespace: str = "", *, subresource: str = "") -> Object:
        record = self._begin("get", resource, namespace, name, subresource, None)
        return await self._told(record, self._inner.get(resource, name, namespace, subresource=subresource))

    async def list(self, resource: Resource, namespace: str = "", **options: Unpack[ListOptions]) -> ObjectList:
        record = self._begin("list", resource, namespace, "", "", None)
        work = self._inner.list(resource, namespace, **options)
        return await self._told(record, work)

    async def watch(
        self, resource: Resource, namespace: str = "", **options: Unpack[WatchOptions]
    ) -> AsyncIterator[WatchEvent]:
        record = self._begin("watch", resource, namespace, "", "", None)
        events = self._inner.watch(resource, namespace, **options)
        if record is not None:
            record.started(200)
        try:
            async with aclosing(events) as stream:  # type: ignore[type-var]
                async for event in stream:
                    yield event
        except errors.ApiError as error:
            if record is not None:
                record.completed(error.code, Body(orjson.dumps(error.to_status())))
            raise
        finally:
            if record is not None:
                record.completed(200)

    async def create(
        self, resource: Resource, obj: Object, namespace: str = "", *, name: str = "", subresource: str = ""
    ) -> Object:
        inside = namespace or str(metadata(obj).get("namespace") or "")
        record = self._begin("create", resource, inside, name, subresource, obj)
        work = self._inner.create(resource, obj, namespace, name=name, subresource=subresource)
        return await self._told(record, work, 201)

    async def update(self, resource: Resource, obj: Object, *, subresource: str = "") -> Object:
        namespace = str(metadata(obj).get("namespace") or "")
        record = self._begin("update", resource, namespace, name_of(obj), subresource, obj)
        return await self._told(record, self._inner.update(resource, obj, subresource=subresource))

    async def patch(
        self, resource: Resource, name: str, patch: Any, namespace: str = "", **options: Unpack[PatchOptions]
    ) -> Object:
        record = self._begin("patch", resource, namespace, name, options.get("subresource", ""), patch)
        work = self._inner.patch(resource, name, patch, namespace, **options)
        return await self._told(record, work)

    async def delete(
        self, resource: Resource, name: str, namespace: str = "", **options: Unpack[DeleteOptions]
    ) -> Object:
        record = self._begin("delete", resource, namespace, name, "", None)
        work = self._inner.delete(resource, name, namespace, **options)
        return await self._told(record, work)

    async def delete_collection(
        self, resource: Resource, namespace: str = "", **options: Unpack[DeleteCollectionOptions]
    ) -> None:
        record = self._begin("deletecollection", resource, namespace, "", "", None)
        work = self._inner.delete_collection(resource, namespace, **options)
        await self._told(record, work)
