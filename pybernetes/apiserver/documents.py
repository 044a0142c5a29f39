"""Discovery and OpenAPI over HTTP: ready documents, with ETags, made anew when the served resources change.

The heavy ones (OpenAPI) are built in a thread, once, when somebody first asks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from email.utils import formatdate
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

_AGGREGATED = "v2"
"""The version of apidiscovery.k8s.io; clients that know v2beta1 alone get the discovery that is not aggregated."""

_FOREVER_SECONDS = 365 * 24 * 3600


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
        endpoints.add_paths(self._paths)

    def _paths(self) -> set[str]:
        found = {"/openapi/v3", "/openapi/v3/"}
        for resource in self._kinds:
            if resource.group:
                found |= {f"/apis/{resource.group}", f"/apis/{resource.api_version}"}
            else:
                found.add(f"/api/{resource.version}")
        return found

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
            if _wants_aggregated(request.headers.get("Accept", "")):
                found = self._document(("aggregated", parts[0]), lambda: discovery.aggregated(resources, core=core))
                return None if found is None else _reply(request, found, _AGGREGATED_TYPE)
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
        _, _, below = info.path.partition("/openapi/")
        version, _, path = below.partition("/")
        if version != "v3":
            return None
        if not path:
            return _reply(request, await self._built(lambda: self._openapi.v3_index))
        accept = request.headers.get("Accept", "")
        if accept and not any(media in (JSON, "*/*", "application/*") for media, _ in clauses(accept)):
            raise not_acceptable()
        found = await self._built(lambda: self._openapi.v3_at(path))
        if found is None:
            return None
        asked = info.query.get("hash", "")
        if asked and asked != found.etag:
            return Reply(b"", status=301, headers=(("Location", f"/openapi/v3/{path}?hash={found.etag}"),))
        # Named by its hash a document never changes.
        return _reply(request, found, forever=bool(asked))

    async def _built(self, build: Callable[[], _T]) -> _T:
        async with self._building:
            return await asyncio.to_thread(build)


_AGGREGATED_TYPE = f"application/json;g=apidiscovery.k8s.io;v={_AGGREGATED};as=APIGroupDiscoveryList".encode()


def _wants_aggregated(accept: str) -> bool:
    """Whether a client prefers an APIGroupDiscoveryList, in the version that there is, to plain discovery."""
    for media, parameters in clauses(accept):
        if media == JSON:
            if parameters.get("as") == "APIGroupDiscoveryList" and parameters.get("g") == "apidiscovery.k8s.io":
                if parameters.get("v", "") == _AGGREGATED:
                    return True
                continue
            return False
        if media in ("*/*", "application/*", YAML):
            return False
    return False


def _known(if_none_match: str, etag: str) -> bool:
    """Whether a client has that content already (RFC 9110, section 13.1.2: the comparison is weak)."""
    return bool(if_none_match) and any(
        tag.strip().removeprefix("W/") in (etag, "*") for tag in if_none_match.split(",")
    )


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
        expires = formatdate(time.time() + _FOREVER_SECONDS, usegmt=True)
        headers += (("Cache-Control", "public, immutable"), ("Expires", expires))
    if _known(request.headers.get("If-None-Match", ""), etag):
        return Reply(b"", status=304, content_type=content_type, cacheable=True, headers=headers)
    body = document.content
    if media is not None:
        body, content_type = render_bytes(body, media)
    return Reply(body, content_type=content_type, cacheable=forever, headers=headers)
