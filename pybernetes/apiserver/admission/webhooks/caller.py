"""Calling webhooks: HTTPS to a URL or to a Service's endpoints, and failures in the words of upstream's Go client.

`WebhookCaller` owns one aiohttp session, made at the first call in the running loop and closed by `close`, and a
bounded cache of TLS contexts by CA bundle. Connections start from wherever the socket factory makes its sockets, which
is the cluster's network namespace: a Service is reached at one of its ready endpoints, since the Service's own address
means something on nodes only. At most `CALLS_MAX` calls are under way; more wait, within their own time.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import random
import ssl
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from yarl import URL

from pybernetes.api.resources import ENDPOINTS, SERVICES
from pybernetes.apiserver.interfaces import ObjectReader
from pybernetes.lib.tunnel import Backend, SocketFactory, dial_error

CALLS_MAX = 256
RESPONSE_BYTES_MAX = 8 * 1024 * 1024
_CONTEXTS_MAX = 256
_ERROR_TEXT_BYTES = 2048


class CallFailed(Exception):
    """The webhook gave no answer; the text says why."""


class _Disconnected(CallFailed):
    """The connection ended before there was an answer."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a webhook is, taken from its clientConfig."""

    url: str
    """As error messages show it, without the query."""
    ca_bundle: str = ""
    """Base64 of PEM; empty for the system's authorities."""
    service: tuple[str, str, int] | None = None
    """(namespace, name, port)."""
    path: str = ""

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Target:
        bundle = str(config.get("caBundle") or "")
        service = config.get("service")
        if service is None:
            return cls(str(config.get("url") or ""), bundle)
        namespace, name, port = str(service["namespace"]), str(service["name"]), int(service.get("port") or 443)
        path = "/" + str(service.get("path") or "").lstrip("/")
        return cls(f"https://{name}.{namespace}.svc:{port}{path}", bundle, (namespace, name, port), path)


class WebhookCaller:
    def __init__(self, reader: ObjectReader, socket_factory: SocketFactory | None = None) -> None:
        self._reader = reader
        self._socket_factory = socket_factory
        self._session: aiohttp.ClientSession | None = None
        self._contexts: OrderedDict[str, ssl.SSLContext] = OrderedDict()
        self._slots = asyncio.Semaphore(CALLS_MAX)

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def call(self, target: Target, body: bytes, timeout_seconds: int) -> bytes:
        """The body of a successful answer. Raises `CallFailed`. Cancelled, the call is broken off."""
        url = f"{target.url}?timeout={timeout_seconds}s"
        try:
            async with asyncio.timeout(timeout_seconds), self._slots:
                try:
                    return await self._post(target, url, body)
                except _Disconnected:
                    # A kept connection that its peer had given up; Go's client tries again too.
                    return await self._post(target, url, body)
        except TimeoutError:
            raise CallFailed(f'Post "{url}": context deadline exceeded') from None

    async def _post(self, target: Target, url: str, body: bytes) -> bytes:
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json, */*",
            "User-Agent": "kube-apiserver",
        }
        server_name: str | None = None
        where = URL(url)
        if target.service is not None:
            host, port = self._resolve(url, *target.service)
            server_name = where.host
            headers["Host"] = where.authority
            where = where.with_host(host).with_port(port)
        try:
            context = self._context(target.ca_bundle)
            async with self._connected().post(
                where, data=body, headers=headers, ssl=context, server_hostname=server_name, allow_redirects=False
            ) as response:
                if response.status != 200:
                    text = (await response.content.read(_ERROR_TEXT_BYTES)).decode(errors="replace")
                    raise CallFailed(_http_error(response.status, text))
                return await _read(response, url)
        except aiohttp.ClientError as error:
            is_lost = isinstance(error, aiohttp.ServerDisconnectedError | ConnectionError)
            kind = _Disconnected if is_lost and not isinstance(error, aiohttp.ClientConnectorError) else CallFailed
            raise kind(f'Post "{url}": {_why(where, error)}') from error

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, socket_factory=self._socket_factory),
                timeout=aiohttp.ClientTimeout(total=None),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    def _context(self, bundle: str) -> ssl.SSLContext:
        context = self._contexts.get(bundle)
        if context is None:
            context = _make_context(bundle)
            self._contexts[bundle] = context
            if len(self._contexts) > _CONTEXTS_MAX:
                self._contexts.popitem(last=False)
        return context

    def _resolve(self, url: str, namespace: str, name: str, port: int) -> tuple[str, int]:
        """One ready endpoint behind the Service's port. Raises `CallFailed`."""
        service = self._reader.get(SERVICES, namespace, name)
        if service is None:
            raise CallFailed(f'Post "{url}": service "{name}" not found')
        spec = service.get("spec") or {}
        if spec.get("type") == "ExternalName":
            return str(spec.get("externalName") or ""), port
        wanted = next((p for p in spec.get("ports") or () if p.get("port") == port), None)
        if wanted is None:
            raise CallFailed(f'Post "{url}": no service port {port} found for service "{name}"')
        endpoints = self._reader.get(ENDPOINTS, namespace, name) or {}
        candidates = [
            (str(address.get("ip")), int(found.get("port") or 0))
            for subset in endpoints.get("subsets") or ()
            for found in subset.get("ports") or ()
            if (found.get("name") or "") == (wanted.get("name") or "")
            for address in subset.get("addresses") or ()
        ]
        if not candidates:
            raise CallFailed(f'Post "{url}": no endpoints available for service "{name}"')
        return random.choice(candidates)


def _make_context(bundle: str) -> ssl.SSLContext:
    if not bundle:
        return ssl.create_default_context()
    try:
        pem = base64.b64decode(bundle, validate=False).decode("ascii")
        context = ssl.create_default_context(cadata=pem)
    except (binascii.Error, ValueError, ssl.SSLError) as error:
        raise CallFailed("unable to load root certificates: unable to parse bytes as PEM block") from error
    # Certificates that Go accepts: OpenSSL's strict mode wants extensions that many CAs of webhooks leave out.
    context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    return context


async def _read(response: aiohttp.ClientResponse, url: str) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > RESPONSE_BYTES_MAX:
            raise CallFailed(f'Post "{url}": http: response body too large')
        chunks.append(chunk)
    return b"".join(chunks)


def _why(url: URL, error: aiohttp.ClientError) -> str:
    cause: BaseException = error
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        cause = error.certificate_error
    elif isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"tls: failed to verify certificate: x509: {_X509.get(cause.verify_code, cause.verify_message)}"
    if isinstance(cause, aiohttp.ServerDisconnectedError):
        return "EOF"
    return dial_error(Backend(url.host or "", url.port or 443), cause)


_X509 = {
    10: "certificate has expired or is not yet valid",
    18: "certificate signed by unknown authority",
    19: "certificate signed by unknown authority",
    20: "certificate signed by unknown authority",
    21: "certificate signed by unknown authority",
}

_HTTP_ERRORS = {
    400: "the server rejected our request for an unknown reason",
    401: "the server has asked for the client to provide credentials",
    404: "the server could not find the requested resource",
    405: "the server does not allow this method on the requested resource",
    429: "the server has received too many requests and has asked us to try again later",
    503: "the server is currently unable to handle the request",
    504: "the server was unable to return a response in the time allotted, but may still be processing the request",
}


def _http_error(status: int, text: str) -> str:
    """An answer other than success as upstream's client tells it."""
    if status == 403:
        return text or "the server does not allow access to the requested resource"
    known = _HTTP_ERRORS.get(status)
    if known is not None:
        return known
    if status >= 500:
        quoted = text.strip().replace("\\", "\\\\").replace('"', '\\"')
        return f'an error on the server ("{quoted or "unknown"}") has prevented the request from succeeding'
    return f"the server responded with the status code {status} but did not return more information"
