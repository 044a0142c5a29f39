"""The proxy subresources: pods/proxy, services/proxy, nodes/proxy. An HTTP reverse proxy, upgrades included.

A request's path after ``…/proxy`` goes on as it came, percent-encoding and all; bodies stream both ways. Redirects
that the backend gives are made to pass through the proxy again; HTML is not rewritten. Pods and services are reached
unverified over plain HTTP or, where the name says ``https:``, TLS; nodes as kubelets are.

Source: https://kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services/.
"""

from __future__ import annotations

import ipaddress
import random
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp
from aiohttp import hdrs, web
from multidict import CIMultiDict
from yarl import URL

from pybernetes.api import errors
from pybernetes.api.resources import ENDPOINTS, PODS, SERVICES
from pybernetes.apiserver.interfaces import ConnectHandler, HandlerKey, ObservableReader, RequestInfo
from pybernetes.apiserver.kubelets import KubeletTransport, connection_failure, kubelet_address, pass_upgrade
from pybernetes.lib.tunnel import Backend, upgrade_headers

_HOP_BY_HOP = frozenset(
    (
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer",
        "transfer-encoding", "upgrade",
    )
)  # fmt: skip
_OURS = frozenset(("host", "authorization", "content-length"))
_REDIRECTS = frozenset((301, 302, 303, 307, 308, 201))


@dataclass(frozen=True, slots=True)
class _Target:
    scheme: str
    host: str
    port: int
    tls: ssl.SSLContext | None

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def split_scheme_name_port(text: str) -> tuple[str, str, str] | None:
    """``name``, ``name:port`` or ``scheme:name:port`` as (scheme, name, port); None for anything else."""
    parts = text.split(":")
    if len(parts) == 1:
        scheme, name, port = "", parts[0], ""
    elif len(parts) == 2:
        scheme, (name, port) = "", (parts[0], parts[1])
    elif len(parts) == 3:
        scheme, name, port = parts
    else:
        return None
    if scheme not in ("", "http", "https") or not name:
        return None
    return scheme, name, port


class Proxies:
    """The handlers of the proxy subresources."""

    def __init__(
        self, reader: ObservableReader, transport: KubeletTransport, random_source: random.Random | None = None
    ) -> None:
        self._reader = reader
        self._transport = transport
        self._random = random_source or random.Random()

    def handlers(self) -> dict[HandlerKey, ConnectHandler]:
        return {
            ("", "pods", "proxy"): self.pod,
            ("", "services", "proxy"): self.service,
            ("", "nodes", "proxy"): self.node,
        }

    async def pod(self, info: RequestInfo, request: web.BaseRequest) -> web.StreamResponse:
        """Proxies to a pod's port: the one named, or its first. Raises NotFound, BadRequest, InternalError."""
        named = split_scheme_name_port(info.name)
        if named is None:
            raise errors.BadRequest(f'invalid pod request "{info.name}"')
        scheme, name, port = named
        pod = await self._reader.find(PODS, info.namespace, name)
        if pod is None:
            raise errors.not_found("", "pods", name)
        if not port:
            for container in (pod.get("spec") or {}).get("containers") or ():
                if container.get("ports"):
                    port = str(container["ports"][0].get("containerPort"))
                    break
        ip = str((pod.get("status") or {}).get("podIP") or "")
        _require_global(ip)
        return await self._proxy(request, self._insecure(scheme, ip, port))

    async def service(self, info: RequestInfo, request: web.BaseRequest) -> web.StreamResponse:
        """Proxies to one of a service's ready endpoints. Raises NotFound, BadRequest, ServiceUnavailable."""
        named = split_scheme_name_port(info.name)
        if named is None:
            raise errors.BadRequest(f'invalid service request "{info.name}"')
        scheme, name, port = named
        service = await self._reader.find(SERVICES, info.namespace, name)
        if service is None:
            raise errors.not_found("", "services", name)
        if port.isdigit():
            wanted = next(
                (p for p in (service.get("spec") or {}).get("ports") or () if int(p.get("port") or 0) == int(port)),
                None,
            )
            if wanted is None:
                raise errors.ServiceUnavailable(f'no service port {port} found for service "{name}"')
            port = str(wanted.get("name") or "")
        endpoints = await self._reader.find(ENDPOINTS, info.namespace, name)
        if endpoints is None:
            raise errors.not_found("", "endpoints", name)
        candidates = [
            (str(address.get("ip")), int(found.get("port") or 0))
            for subset in endpoints.get("subsets") or ()
            for found in subset.get("ports") or ()
            if str(found.get("name") or "") == port
            for address in subset.get("addresses") or ()
        ]
        if not candidates:
            if not any(s.get("addresses") for s in endpoints.get("subsets") or ()):
                raise errors.ServiceUnavailable(f'no endpoints available for service "{name}"')
            raise errors.ServiceUnavailable(f'no endpoints available for service "{info.name}"')
        ip, number = self._random.choice(candidates)
        _require_global(ip)
        return await self._proxy(request, self._insecure(scheme, ip, str(number)))

    async def node(self, info: RequestInfo, request: web.BaseRequest) -> web.StreamResponse:
        """Proxies to a node's kubelet, or to another port of the node. Raises NotFound, BadRequest."""
        named = split_scheme_name_port(info.name)
        if named is None:
            raise errors.BadRequest(f'invalid node request "{info.name}"')
        scheme, name, port = named
        address = kubelet_address(self._reader, name)
        if not port or port == str(address.port):
            target = _Target("https", address.host, address.port, self._transport.kubelet_tls)
        else:
            target = self._insecure(scheme, address.host, port)
        return await self._proxy(request, target)

    def _insecure(self, scheme: str, host: str, port: str) -> _Target:
        tls = self._transport.insecure_tls if scheme == "https" else None
        if port and not port.isdigit():
            raise errors.BadRequest(f'invalid port "{port}"')
        number = int(port) if port else 443 if tls else 80
        return _Target("https" if tls else "http", host, number, tls)

    async def _proxy(self, request: web.BaseRequest, target: _Target) -> web.StreamResponse:
        prefix, path, query = proxied_path(request.raw_path)
        if not path and request.method in ("GET", "HEAD"):
            # Relative links only work below a directory.
            location = prefix + "/" + (f"?{query}" if query else "")
            return web.Response(status=301, headers={"Location": location})
        path_and_query = (path or "/") + (f"?{query}" if query else "")
        forwarded = {
            "X-Forwarded-Uri": prefix + path,
            "X-Forwarded-Host": request.headers.get("Host", ""),
            "X-Forwarded-Proto": "https" if request.secure else "http",
        }
        if request.headers.get("Upgrade") and "upgrade" in request.headers.get("Connection", "").lower():
            backend = Backend(target.host, target.port, target.tls)
            return await pass_upgrade(
                request,
                backend,
                path_and_query,
                headers=[*upgrade_headers(request), *forwarded.items()],
                socket_factory=self._transport.socket_factory,
            )
        return await self._exchange(request, target, prefix, path_and_query, forwarded)

    async def _exchange(
        self, request: web.BaseRequest, target: _Target, prefix: str, path_and_query: str, forwarded: dict[str, str]
    ) -> web.StreamResponse:
        headers: CIMultiDict[str] = CIMultiDict()
        for name, value in request.headers.items():
            low = name.lower()
            if low not in _HOP_BY_HOP and low not in _OURS and not low.startswith("impersonate-"):
                headers.add(name, value)
        headers.update(forwarded)
        if request.remote:
            previous = request.headers.get("X-Forwarded-For")
            headers["X-Forwarded-For"] = f"{previous}, {request.remote}" if previous else request.remote
        body: AsyncIterator[bytes] | None = None
        if request.can_read_body:
            body = request.content.iter_any()
            if request.content_length is not None:
                headers["Content-Length"] = str(request.content_length)
        url = URL(f"{target.scheme}://{target.authority}{path_and_query}", encoded=True)
        try:
            upstream = await self._transport.session.request(
                request.method,
                url,
                headers=headers,
                data=body,
                ssl=target.tls or False,
                allow_redirects=False,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            )
        except (aiohttp.ClientError, TimeoutError) as error:
            raise connection_failure(target.authority, error) from error
        try:
            return await self._relay(request, upstream, target, prefix)
        finally:
            upstream.release()

    async def _relay(
        self, request: web.BaseRequest, upstream: aiohttp.ClientResponse, target: _Target, prefix: str
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=upstream.status, reason=upstream.reason)
        for name, value in upstream.headers.items():
            if name.lower() not in _HOP_BY_HOP:
                response.headers.add(name, value)
        if upstream.status in _REDIRECTS and hdrs.LOCATION in response.headers:
            response.headers[hdrs.LOCATION] = rewrite_location(
                response.headers[hdrs.LOCATION], target.authority, prefix
            )
        await response.prepare(request)
        try:
            async for chunk in upstream.content.iter_any():
                await response.write(chunk)
        except aiohttp.ClientError as error:
            upstream.close()
            # Closing amid the body keeps the client from taking what it has for all.
            raise ConnectionResetError("the backend closed the connection amid its answer") from error
        await response.write_eof()
        return response


def _require_global(ip: str) -> None:
    """Only addresses that a pod can have: no loopback, link-local, multicast or unspecified one."""
    try:
        address = ipaddress.ip_address(ip)
    except ValueError as error:
        raise errors.BadRequest("address not allowed") from error
    if address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified:
        raise errors.BadRequest("address not allowed")


def proxied_path(raw_path: str) -> tuple[str, str, str]:
    """(prefix up to and with ``/proxy``, what follows it, query) of a request's raw path."""
    path, _, query = raw_path.partition("?")
    parts = path.split("/")
    # /api/v1/namespaces/NS/pods/NAME/proxy… or /api/v1/nodes/NAME/proxy…
    end = 8 if parts[3:4] == ["namespaces"] else 6
    return "/".join(parts[:end]), "".join("/" + part for part in parts[end:]), query


def rewrite_location(location: str, authority: str, prefix: str) -> str:
    """A redirect of the backend to itself, as one through the proxy; others as they are."""
    split = urlsplit(location)
    if split.netloc and split.netloc != authority:
        return location
    if not split.path.startswith("/"):
        return location
    rest = split.path + (f"?{split.query}" if split.query else "") + (f"#{split.fragment}" if split.fragment else "")
    return prefix + rest
