"""Where kubelets are and how to speak to them: addresses, the HTTP client, errors in upstream's words.

`KubeletTransport` owns one aiohttp session for all kubelets and proxied pods, made at first use in the running loop
and closed by `close`. Connections start from wherever the socket factory makes its sockets.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from dataclasses import dataclass

import aiohttp
from aiohttp import web

from pybernetes.api import errors
from pybernetes.api.meta import Object
from pybernetes.api.resources import NODES
from pybernetes.apiserver.interfaces import ObjectReader
from pybernetes.lib.tunnel import Backend, DialError, SocketFactory, dial_error, run_upgrade

DEFAULT_KUBELET_PORT = 10250
CONNECT_SECONDS = 10.0
_ERROR_TEXT_BYTES = 2048

# kubeadm's --kubelet-preferred-address-types.
_ADDRESS_TYPES = ("InternalIP", "ExternalIP", "Hostname")


@dataclass(frozen=True, slots=True)
class KubeletAddress:
    host: str
    port: int

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def kubelet_address(reader: ObjectReader, node_name: str) -> KubeletAddress:
    """Where a node's kubelet serves. Raises NotFound, InternalError where the node tells no address."""
    node = reader.get(NODES, "", node_name)
    if node is None:
        raise errors.not_found("", "nodes", node_name)
    return address_of(node)


def address_of(node: Object) -> KubeletAddress:
    status = node.get("status") or {}
    known = {a.get("type"): a.get("address") for a in reversed(status.get("addresses") or ())}
    host = next((str(known[kind]) for kind in _ADDRESS_TYPES if known.get(kind)), "")
    if not host:
        raise errors.InternalError(
            f"no preferred addresses found; known addresses: {list(status.get('addresses') or ())}"
        )
    endpoint = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port")
    return KubeletAddress(host, int(endpoint or DEFAULT_KUBELET_PORT))


class KubeletTransport:
    """HTTP towards kubelets (mutual TLS) and towards pods and services (unverified, as upstream's proxy)."""

    def __init__(self, kubelet_tls: ssl.SSLContext, socket_factory: SocketFactory | None = None) -> None:
        self.kubelet_tls = kubelet_tls
        self.socket_factory = socket_factory
        self._session: aiohttp.ClientSession | None = None
        self._insecure_tls: ssl.SSLContext | None = None

    @property
    def insecure_tls(self) -> ssl.SSLContext:
        """For pods and services that speak TLS: the API server knows no CA of theirs."""
        if self._insecure_tls is None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            self._insecure_tls = context
        return self._insecure_tls

    @property
    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0, socket_factory=self.socket_factory)
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        return self._session

    def kubelet_backend(self, address: KubeletAddress) -> Backend:
        return Backend(address.host, address.port, self.kubelet_tls)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


def connection_failure(authority: str, error: Exception) -> errors.InternalError:
    """A failed connection as the 500 that upstream answers."""
    cause: BaseException = error
    if isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
    if isinstance(cause, asyncio.TimeoutError):
        cause = TimeoutError()
    host, _, port = authority.rpartition(":")
    text = dial_error(Backend(host.strip("[]"), int(port)), cause)
    return errors.InternalError(f"error dialing backend: {text}")


async def kubelet_failure(response: aiohttp.ClientResponse, plural: str, name: str) -> errors.ApiError:
    """A kubelet's answer other than success as an API error, as upstream's GenericHttpResponseChecker."""
    text = (await response.content.read(_ERROR_TEXT_BYTES)).decode(errors="replace")
    status = response.status
    if status == 400:
        return errors.BadRequest(text.rstrip("\n"))
    if status == 500:
        return errors.InternalError(f"Internal error occurred: {text}")
    details: Object = {"name": name, "kind": plural}
    if status == 404:
        return errors.NotFound(f"the server could not find the requested resource ( {plural} {name})", details=details)
    messages = {
        401: "the server has asked for the client to provide credentials",
        403: text or "the server does not allow access to the requested resource",
        503: "the server is currently unable to handle the request",
        504: "the server was unable to return a response in the time allotted, but may still be processing the request",
    }
    message = messages.get(
        status, f"the server responded with the status code {status} but did not return more information"
    )
    return errors.from_status({"message": f"{message} ( {plural} {name})", "details": details}, status)


def dial_failure(error: DialError) -> errors.InternalError:
    """A backend that cannot be tunnelled to as the 500 that upstream answers."""
    return errors.InternalError(f"error dialing backend: {error}")


async def pass_upgrade(
    request: web.BaseRequest,
    backend: Backend,
    target: str,
    *,
    headers: Iterable[tuple[str, str]] | None = None,
    socket_factory: SocketFactory | None = None,
) -> web.StreamResponse:
    """`run_upgrade` in the API's errors: raises InternalError where the backend cannot be reached."""
    try:
        return await run_upgrade(request, backend, target, headers=headers, socket_factory=socket_factory)
    except DialError as error:
        raise dial_failure(error) from error
