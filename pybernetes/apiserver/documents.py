"""Discovery and OpenAPI over HTTP: ready documents, with ETags, made anew when the served resources change.

The heavy ones (OpenAPI) are built in a thread, once, when somebody first asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from aiohttp import web

from pybernetes.api import discovery
from pybernetes.api.document import Document
from pybernetes.api.openapi import V2_PROTOBUF, V2_PROTOBUF_ACCEPT, OpenAPI
from pybernetes.apiserver.endpoints import Endpoints
from pybernetes.apiserver.interfaces import RequestInfo
from pybernetes.apiserver.negotiation import JSON, YAML, Media, clauses, negotiate, not_acceptable
from pybernetes.apiserver.replies import Reply, render_bytes
from pybernetes.apiserver.requests import Request
from pybernetes.apiserver.served import ServedKinds

_T = TypeVar("_T")

_AGGREGATED: dict[str, discovery.AggregatedVersion] = {"v2": "v2", "v2beta1": "v2beta1"}


class Documents:
    def __init__(self, kinds: ServedKinds, server_address: str) -> None:
        """`server_address` is ``host:port`` as clients reach the server."""
        self._kinds = kinds
        self._server_address = server_address
        self._generation = -1
        self._kept: dict[tuple[str, ...], Document | None] = {}
        self._openapi = OpenAPI(())
        self._building = asyncio.Lock()

    def install(self, endpoints: Endpoints) -> None:
        endpoints.add_prefix("api", self._discovery)
        endpoints.add_prefix("apis", self._discovery)
        endpoints.add("/openapi/v2", self._openapi_v2)
        endpoints.add_prefix("openapi", self._openapi_v3)

    def _refresh(self) -> None:
        if self._generation != self._kinds.generation:
            self._generation = self._kinds.generation
            self._kept.clear()
            self._openapi = OpenAPI(tuple(self._kinds))

    def _document(self, key: tuple[str, ...], build: Callable[[], object]) -> Document | None:
        if key not in self._kept:
            value = build()
            self._kept[key] = Document.of_json(value) if isinstance(value, dict) else None
        return self._kept[key]

    # ---- discovery

    async def _discovery(self, info: RequestInfo, request: Request) -> web.StreamResponse | None:
        self._refresh()
        resources = self._kinds
        parts = [p for p in info.path.split("/") if p]
        core = parts[0] == "api"
        if len(parts) == 1:
            version = _aggregated(request.headers.get("Accept", ""))
            if version is not None:
                found = self._document(
                    ("aggregated", version, parts[0]),
                    lambda: discovery.aggregated(resources, core=core, version=_AGGREGATED[version]),
                )
                content_type = f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
                return None if found is None else _reply(request, found, content_type.encode())
            if core:
                found = self._document(("api",), lambda: discovery.api_versions(resources, self._server_address))
            else:
                found = self._document(("apis",), lambda: discovery.api_group_list(resources))
        elif len(parts) == 2 and not core:
            found = self._document(("group", parts[1]), lambda: discovery.api_group(resources, parts[1]))
        elif len(parts) == (2 if core else 3):
            group = "" if core else parts[1]
            found = self._document(
                ("resources", group, parts[-1]), lambda: discovery.api_resource_list(resources, group, parts[-1])
            )
        else:
            return None
        if found is None:
            return None
        media = negotiate(request.headers.get("Accept", ""), transforms=False)
        pretty = Media(media.type, pretty=media.pretty or "pretty" in info.query)
        return _reply(request, found, media=pretty)

    # ---- OpenAPI

    async def _openapi_v2(self, info: RequestInfo, request: Request) -> web.StreamResponse | None:
        self._refresh()
        accept = request.headers.get("Accept", "")
        wanted = [media for media, _ in clauses(accept)] or [JSON]
        for media in wanted:
            if media in V2_PROTOBUF_ACCEPT:
                return _reply(request, await self._built(lambda: self._openapi.v2_protobuf), V2_PROTOBUF.encode())
            if media in (JSON, "*/*", "application/*"):
                return _reply(request, await self._built(lambda: self._openapi.v2_json))
        raise not_acceptable()

    async def _openapi_v3(self, info: RequestInfo, request: Request) -> web.StreamResponse | None:
        self._refresh()
        parts = [p for p in info.path.split("/") if p]
        if len(parts) < 2 or parts[1] != "v3":
            return None
        if len(parts) == 2:
            return _reply(request, await self._built(lambda: self._openapi.v3_index))
        if parts[2:] == ["version"] or len(parts) not in (4, 5):
            return None
        group, version = ("", parts[3]) if parts[2] == "api" else (parts[3], parts[-1])
        if (parts[2], len(parts)) not in (("api", 4), ("apis", 5)):
            return None
        found = await self._built(lambda: self._openapi.v3(group, version))
        if found is None:
            return None
        # Named by its hash a document never changes.
        hashed = info.query.get("hash") == found.etag
        return _reply(request, found, forever=hashed)

    async def _built(self, build: Callable[[], _T]) -> _T:
        async with self._building:
            return await asyncio.to_thread(build)


def _aggregated(accept: str) -> str | None:
    """The version of APIGroupDiscoveryList that a client prefers to plain discovery, if any."""
    for media, parameters in clauses(accept):
        if media == JSON:
            if parameters.get("as") == "APIGroupDiscoveryList" and parameters.get("g") == "apidiscovery.k8s.io":
                version = parameters.get("v", "")
                if version in _AGGREGATED:
                    return version
                continue
            return None
        if media in ("*/*", "application/*", YAML):
            return None
    return None


def _reply(
    request: Request,
    document: Document,
    content_type: bytes = b"application/json",
    *,
    media: Media | None = None,
    forever: bool = False,
) -> Reply:
    etag = f'"{document.etag}"'
    headers: tuple[tuple[str, str], ...] = (("Etag", etag), ("Vary", "Accept"))
    if forever:
        headers += (("Cache-Control", "public, max-age=31536000, immutable"),)
    if request.headers.get("If-None-Match") == etag:
        return Reply(b"", status=304, content_type=content_type, cacheable=True, headers=headers)
    body = document.content
    if media is not None:
        body, content_type = render_bytes(body, media)
    return Reply(body, content_type=content_type, cacheable=forever, headers=headers)
