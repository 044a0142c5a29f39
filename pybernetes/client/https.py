"""The HTTPS transport: a `Client` for agents and tools in other processes.

One aiohttp session a client; watches hold a connection each. A request has a deadline; a watch has none of its own
but is ended when the server goes quiet for longer than its bookmarks allow.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import yaml

from pybernetes.api import errors
from pybernetes.api.meta import Object, name_of, namespace_of
from pybernetes.api.resources import Resource
from pybernetes.client.interface import STRATEGIC_MERGE_PATCH, ObjectList, Propagation, WatchEvent

_REQUEST_TIMEOUT_SECONDS = 60.0
_CONNECT_TIMEOUT_SECONDS = 10.0
# Bookmarks come about once a minute: a watch that is silent for five is a dead connection.
_WATCH_SILENCE_SECONDS = 300.0
_EVENT_LIMIT_BYTES = 16 << 20
_OVERLOAD_TRIES_MAX = 10
_OVERLOAD_SECONDS_MAX = 60
"""How long a request that an overloaded server sends away is tried again in all; client-go tries ten times too."""


class KubeconfigError(Exception):
    """The kubeconfig cannot be used; the message says which part and why."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where the API server is and how to prove who one is. Paths are files in PEM form."""

    server: str
    ca_file: Path
    certificate_file: Path | None = None
    key_file: Path | None = None
    token_file: Path | None = None

    @classmethod
    def from_kubeconfig(cls, path: Path) -> Credentials:
        """The current context of a kubeconfig whose credentials are files."""
        try:
            document = yaml.safe_load(path.read_text())
            by_name = {
                kind: {entry["name"]: entry[kind[:-1]] for entry in document[kind]}
                for kind in ("clusters", "users", "contexts")
            }
            context = by_name["contexts"][document["current-context"]]
            cluster, user = by_name["clusters"][context["cluster"]], by_name["users"][context["user"]]

            def file(entry: dict[str, str], key: str) -> Path | None:
                return (path.parent / entry[key]) if entry.get(key) else None

            ca = file(cluster, "certificate-authority")
            if ca is None:
                raise KubeconfigError(f"{path}: the cluster has no certificate-authority file")
            return cls(
                cluster["server"],
                ca,
                file(user, "client-certificate"),
                file(user, "client-key"),
                file(user, "tokenFile"),
            )
        except OSError as error:
            raise KubeconfigError(f"cannot read {path}: {error.strerror}") from error
        except (KeyError, TypeError, yaml.YAMLError) as error:
            raise KubeconfigError(f"{path} is no complete kubeconfig: {error!r}") from error

    def ssl_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.ca_file))
        if self.certificate_file is not None:
            context.load_cert_chain(self.certificate_file, self.key_file)
        return context


class HTTPSClient:
    """A `Client` over HTTPS. Use it as an async context manager, or `close` it."""

    def __init__(
        self,
        server: str,
        ssl_context: ssl.SSLContext,
        *,
        token: Callable[[], str] | None = None,
        user_agent: str = "pybernetes",
    ) -> None:
        self._server = server.rstrip("/")
        self._ssl = ssl_context
        self._token = token
        self._user_agent = user_agent
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def from_credentials(cls, credentials: Credentials, *, user_agent: str = "pybernetes") -> HTTPSClient:
        token_file = credentials.token_file
        return cls(
            credentials.server,
            credentials.ssl_context(),
            token=(lambda: token_file.read_text().strip()) if token_file else None,
            user_agent=user_agent,
        )

    async def __aenter__(self) -> HTTPSClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            # limit=0: each watch holds a connection of its own, and there are as many as there are informers.
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ssl=self._ssl),
                headers={"User-Agent": self._user_agent, "Accept": "application/json"},
                timeout=aiohttp.ClientTimeout(total=_REQUEST_TIMEOUT_SECONDS, connect=_CONNECT_TIMEOUT_SECONDS),
            )
        return self._session

    def _headers(self, content_type: str = "") -> dict[str, str]:
        headers = {}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token()}"
        if content_type:
            headers["Content-Type"] = content_type
        return headers

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> Any:
        """One request to a path below the server's root; the decoded answer. Raises `ApiError`.

        Sent away by an overloaded server (429), it is made again after as long as the server says, within bounds.
        """
        data = None if body is None else orjson.dumps(body)
        params = {k: v for k, v in (query or {}).items() if v}
        waited = 0
        for attempt in range(_OVERLOAD_TRIES_MAX):
            try:
                async with self._open().request(
                    method,
                    self._server + path,
                    params=params,
                    data=data,
                    headers=self._headers(content_type if data is not None else ""),
                ) as response:
                    payload = await response.read()
                    pause = _retry_after(response)
                    if response.status < 400:
                        return orjson.loads(payload)
                    last = attempt == _OVERLOAD_TRIES_MAX - 1 or waited + pause > _OVERLOAD_SECONDS_MAX
                    if response.status != 429 or not pause or last:
                        raise _error(response.status, payload)
            except TimeoutError as error:
                raise errors.TransportError(f"{method} {path}: no answer from {self._server} in time") from error
            except aiohttp.ClientError as error:
                raise errors.TransportError(f"{method} {path}: {error}") from error
            waited += pause
            await asyncio.sleep(pause)
        raise AssertionError("the last try returns or raises")

    async def get(self, resource: Resource, name: str, namespace: str = "", *, subresource: str = "") -> Object:
        return await self.request("GET", resource.path(namespace, name, subresource))  # type: ignore[no-any-return]

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
        answer = await self.request(
            "GET",
            resource.path(namespace),
            query={
                "labelSelector": label_selector,
                "fieldSelector": field_selector,
                "limit": str(limit or ""),
                "continue": continue_token,
                "resourceVersion": resource_version,
            },
        )
        meta = answer.get("metadata") or {}
        items = answer.get("items") or []
        for item in items:
            # Items of a list carry no type of their own on the wire; everything downstream wants one.
            item.setdefault("apiVersion", resource.api_version)
            item.setdefault("kind", resource.kind)
        return ObjectList(items, meta.get("resourceVersion", ""), meta.get("continue", ""))

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
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
            "resourceVersion": resource_version,
            "timeoutSeconds": str(timeout_seconds or ""),
        }
        path = resource.path(namespace)
        try:
            async with self._open().get(
                self._server + path,
                params={k: v for k, v in query.items() if v},
                headers=self._headers(),
                timeout=aiohttp.ClientTimeout(
                    total=None, connect=_CONNECT_TIMEOUT_SECONDS, sock_read=_WATCH_SILENCE_SECONDS
                ),
            ) as response:
                if response.status >= 400:
                    raise _error(response.status, await response.read())
                async for line in _lines(response.content):
                    event = orjson.loads(line)
                    if event["type"] == "ERROR":
                        raise errors.from_status(event["object"])
                    yield WatchEvent(event["type"], event["object"])
        except TimeoutError as error:
            raise errors.TransportError(f"watch of {path}: the server went quiet") from error
        except aiohttp.ClientError as error:
            raise errors.TransportError(f"watch of {path}: {error}") from error

    async def create(
        self, resource: Resource, obj: Object, namespace: str = "", *, name: str = "", subresource: str = ""
    ) -> Object:
        path = resource.path(namespace or namespace_of(obj), name, subresource)
        return await self.request("POST", path, body=obj)  # type: ignore[no-any-return]

    async def update(self, resource: Resource, obj: Object, *, subresource: str = "") -> Object:
        path = resource.path(namespace_of(obj), name_of(obj), subresource)
        return await self.request("PUT", path, body=obj)  # type: ignore[no-any-return]

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
        return await self.request(  # type: ignore[no-any-return]
            "PATCH",
            resource.path(namespace, name, subresource),
            query={"fieldManager": field_manager, "force": "true" if force else ""},
            body=patch,
            content_type=patch_type,
        )

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
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if propagation:
            options["propagationPolicy"] = propagation
        if grace_period_seconds is not None:
            options["gracePeriodSeconds"] = grace_period_seconds
        preconditions = {k: v for k, v in (("uid", uid), ("resourceVersion", resource_version)) if v}
        if preconditions:
            options["preconditions"] = preconditions
        return await self.request("DELETE", resource.path(namespace, name), body=options)  # type: ignore[no-any-return]

    async def delete_collection(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        propagation: Propagation | None = None,
    ) -> None:
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if propagation:
            options["propagationPolicy"] = propagation
        await self.request(
            "DELETE",
            resource.path(namespace),
            query={"labelSelector": label_selector, "fieldSelector": field_selector},
            body=options,
        )


def _retry_after(response: aiohttp.ClientResponse) -> int:
    text = response.headers.get("Retry-After", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0


def _error(code: int, payload: bytes) -> errors.ApiError:
    try:
        status = orjson.loads(payload)
    except orjson.JSONDecodeError:
        status = {"message": payload[:500].decode(errors="replace")}
    return errors.from_status(status if isinstance(status, dict) else {}, code)


async def _lines(stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length up to the bound; aiohttp's own iteration stops at 64 KiB."""
    pending: list[bytes] = []
    size = 0
    async for chunk in stream.iter_any():
        *complete, rest = chunk.split(b"\n")
        for part in complete:
            line = b"".join((*pending, part)) if pending else part
            pending, size = [], 0
            if line:
                yield line
        if rest:
            pending.append(rest)
            size += len(rest)
            if size > _EVENT_LIMIT_BYTES:
                raise errors.TransportError(f"a watch event is larger than {_EVENT_LIMIT_BYTES} bytes")
