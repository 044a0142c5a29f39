"""The in-process client, audited: what components in the server's own process ask for is told as what others ask.

It wraps another client and is made only where there is an audit policy. The trail's request URIs are those that the
same request would have over HTTP, without its query.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable
from contextlib import aclosing
from typing import Any, TypeVar

import orjson

from pybernetes.api import errors
from pybernetes.api.meta import Object, metadata, name_of
from pybernetes.api.resources import Resource
from pybernetes.api.user import User
from pybernetes.apiserver.audit.trail import Asked, AuditTrail, Body, Record
from pybernetes.client.interface import STRATEGIC_MERGE_PATCH, Client, ObjectList, Propagation, WatchEvent

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
        record = self._begin("list", resource, namespace, "", "", None)
        work = self._inner.list(
            resource,
            namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            limit=limit,
            continue_token=continue_token,
            resource_version=resource_version,
        )
        return await self._told(record, work)

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
        record = self._begin("watch", resource, namespace, "", "", None)
        events = self._inner.watch(
            resource,
            namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            resource_version=resource_version,
            timeout_seconds=timeout_seconds,
        )
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
        record = self._begin("patch", resource, namespace, name, subresource, patch)
        work = self._inner.patch(
            resource,
            name,
            patch,
            namespace,
            patch_type=patch_type,
            subresource=subresource,
            field_manager=field_manager,
            force=force,
        )
        return await self._told(record, work)

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
        record = self._begin("delete", resource, namespace, name, "", None)
        work = self._inner.delete(
            resource,
            name,
            namespace,
            propagation=propagation,
            grace_period_seconds=grace_period_seconds,
            uid=uid,
            resource_version=resource_version,
        )
        return await self._told(record, work)

    async def delete_collection(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        propagation: Propagation | None = None,
    ) -> None:
        record = self._begin("deletecollection", resource, namespace, "", "", None)
        work = self._inner.delete_collection(
            resource, namespace, label_selector=label_selector, field_selector=field_selector, propagation=propagation
        )
        await self._told(record, work)
