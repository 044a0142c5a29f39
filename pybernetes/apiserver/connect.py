"""Requests that are no objects but connections into pods: log, exec, attach, port-forward.

Handlers of the pipeline, which has authenticated and authorized by then. Each finds the pod's node in the watch
cache and speaks to its kubelet: logs over HTTP, streamed on as they come; the others as upgraded connections, byte
for byte (`tunnel`). A client that goes away ends its connection to the kubelet and the other way round.

Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#operations; kubelet paths as
upstream's kubelet serves them; KEP-4006 (WebSockets).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from urllib.parse import quote, urlencode

import aiohttp
from aiohttp import web

from pybernetes.api import errors, field
from pybernetes.api.meta import Object, name_of
from pybernetes.api.resources import PODS
from pybernetes.api.time import parse_time
from pybernetes.apiserver.authorization import access_denied
from pybernetes.apiserver.interfaces import (
    Attributes,
    Authorizer,
    ConnectHandler,
    HandlerKey,
    ObservableReader,
    RequestInfo,
)
from pybernetes.apiserver.kubelets import (
    KubeletTransport,
    connection_failure,
    kubelet_address,
    kubelet_failure,
    pass_upgrade,
)
from pybernetes.apiserver.portforward_tunnel import TUNNEL_PROTOCOL, run_portforward_tunnel
from pybernetes.lib.tunnel import take_over


class PodConnections:
    """The handlers of a pod's connecting subresources."""

    def __init__(self, reader: ObservableReader, transport: KubeletTransport, authorizer: Authorizer) -> None:
        self._reader = reader
        self._transport = transport
        self._authorizer = authorizer

    def handlers(self) -> dict[HandlerKey, ConnectHandler]:
        return {
            ("", "pods", "log"): self.log,
            ("", "pods", "exec"): self.exec,
            ("", "pods", "attach"): self.attach,
            ("", "pods", "portforward"): self.portforward,
        }

    # Logs

    async def log(self, info: RequestInfo, request: web.BaseRequest) -> web.StreamResponse:
        """A container's log, streamed. Raises NotFound, BadRequest, Invalid, InternalError."""
        pod = await self._pod(info)
        parameters = log_parameters(info.query)
        container = choose_container(pod, info.query.get("container", ""))
        node = (pod.get("spec") or {}).get("nodeName")
        if not node:
            # Nothing has run: upstream answers an empty stream.
            return web.Response(body=b"", content_type="text/plain")
        address = kubelet_address(self._reader, node)
        path = "/".join(quote(part, safe="") for part in ("containerLogs", info.namespace, name_of(pod), container))
        url = f"https://{address.authority}/{path}?{urlencode(parameters)}"
        insecure = _truthy(info.query.get("insecureSkipTLSVerifyBackend", ""))
        tls = self._transport.insecure_tls if insecure else self._transport.kubelet_tls
        try:
            upstream = await self._transport.session.get(url, ssl=tls)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise connection_failure(address.authority, error) from error
        try:
            if not 200 <= upstream.status <= 206:
                raise await kubelet_failure(upstream, "pods", name_of(pod))
            return await _relay_log(request, upstream, follow=_truthy(info.query.get("follow", "")))
        finally:
            upstream.close()

    # Upgrades

    async def exec(self, info: RequestInfo, request: web.BaseRequest) -> web.StreamResponse:
        """Runs a command in a container."""
        return await self._stream(info, request, "exec", info.query_lists.get("command", ()))

    async def attach(self, info: RequestInfo, request: web.BaseRequest) -> web.StreamResponse:
        """Joins a container's streams."""
        return await self._stream(info, request, "attach", ())

    async def portforward(self, info: RequestInfo, request: web.BaseRequest) -> web.StreamResponse:
        """Connects to ports of a pod: SPDY, WebSocket per port, or SPDY inside WebSocket (kubectl 1.31 and newer)."""
        self._require_create(info)
        pod = await self._pod(info)
        node = self._node(pod, info.name)
        _require_upgrade(request)
        address = kubelet_address(self._reader, node)
        target = f"/portForward/{quote(info.namespace, safe='')}/{quote(name_of(pod), safe='')}"
        ports: Sequence[str] = info.query_lists.get("ports", ())
        if ports:
            target += "?" + urlencode({"port": ",".join(ports)})
        backend = self._transport.kubelet_backend(address)
        protocols = [p.strip() for p in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        if TUNNEL_PROTOCOL in protocols:
            return await run_portforward_tunnel(request, backend, target, self._transport.socket_factory)
        return await pass_upgrade(request, backend, target, socket_factory=self._transport.socket_factory)

    async def _stream(
        self, info: RequestInfo, request: web.BaseRequest, what: str, command: Sequence[str]
    ) -> web.StreamResponse:
        self._require_create(info)
        pod = await self._pod(info)
        container = choose_container(pod, info.query.get("container", ""))
        node = self._node(pod, info.name)
        _require_upgrade(request)
        address = kubelet_address(self._reader, node)
        target = stream_target(what, info.namespace, name_of(pod), container, info.query, command)
        return await pass_upgrade(
            request,
            self._transport.kubelet_backend(address),
            target,
            socket_factory=self._transport.socket_factory,
        )

    def _require_create(self, info: RequestInfo) -> None:
        """A WebSocket comes as a GET, but acts on the pod as a POST does, and needs the same right (since 1.35)."""
        if info.verb != "get":
            return
        attributes = Attributes(
            user=info.user,
            verb="create",
            namespace=info.namespace,
            version="v1",
            resource="pods",
            subresource=info.subresource,
            name=info.name,
        )
        decision = self._authorizer.authorize(attributes)
        if not decision.allowed:
            raise access_denied(attributes, decision.reason)

    async def _pod(self, info: RequestInfo) -> Object:
        pod = await self._reader.find(PODS, info.namespace, info.name)
        if pod is None:
            raise errors.not_found("", "pods", info.name)
        return pod

    @staticmethod
    def _node(pod: Object, name: str) -> str:
        node = (pod.get("spec") or {}).get("nodeName")
        if not node:
            raise errors.BadRequest(f"pod {name} does not have a host assigned")
        return str(node)


def _require_upgrade(request: web.BaseRequest) -> None:
    connection = request.headers.get("Connection", "").lower()
    if "upgrade" not in connection or not request.headers.get("Upgrade"):
        raise errors.BadRequest("Upgrade request required")


def choose_container(pod: Object, name: str) -> str:
    """The container meant; the only one where none is named. Raises BadRequest in upstream's words."""
    spec = pod.get("spec") or {}
    everything = [
        str(container.get("name"))
        for kind in ("initContainers", "containers", "ephemeralContainers")
        for container in spec.get(kind) or ()
    ]
    pod_name = name_of(pod)
    if name:
        if name not in everything:
            raise errors.BadRequest(f"container {name} is not valid for pod {pod_name}")
        return name
    containers = list(spec.get("containers") or ())
    if len(containers) == 1:
        return str(containers[0].get("name"))
    if not containers:
        raise errors.BadRequest(f"a container name must be specified for pod {pod_name}")
    raise errors.BadRequest(
        f"a container name must be specified for pod {pod_name}, choose one of: [{' '.join(everything)}]"
    )


def stream_target(
    what: str, namespace: str, pod: str, container: str, query: Mapping[str, str], command: Sequence[str]
) -> str:
    """The kubelet's path and query for exec or attach."""
    parameters: list[tuple[str, str]] = []
    for option, parameter in (("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")):
        if option in query and _truthy(query[option], empty=True):
            parameters.append((parameter, "1"))
    parameters += [("command", word) for word in command]
    path = "/".join(quote(part, safe="") for part in (what, namespace, pod, container))
    return f"/{path}?{urlencode(parameters)}" if parameters else f"/{path}"


def _truthy(text: str, *, empty: bool = False) -> bool:
    """A boolean of a query, as upstream converts it: present and not "false" or "0"."""
    if not text:
        return empty
    return text.lower() not in ("false", "0")


def log_parameters(query: Mapping[str, str]) -> list[tuple[str, str]]:
    """The kubelet's query for a log, checked. Raises Invalid with every fault, BadRequest for what is no number."""
    parameters = [(flag, "true") for flag in ("follow", "previous", "timestamps") if _truthy(query.get(flag, ""))]
    faults: list[field.FieldError] = []
    numbers: dict[str, int] = {}
    for option in ("sinceSeconds", "tailLines", "limitBytes"):
        text = query.get(option)
        if text:
            try:
                numbers[option] = int(text)
            except ValueError as error:
                raise errors.BadRequest(
                    f'strconv.ParseInt: parsing {quote_go(text)}: invalid syntax in query parameter "{option}"'
                ) from error
    if numbers.get("tailLines", 0) < 0:
        faults.append(field.invalid(field.Path("tailLines"), numbers["tailLines"], _NOT_NEGATIVE))
    if "limitBytes" in numbers and numbers["limitBytes"] < 1:
        faults.append(field.invalid(field.Path("limitBytes"), numbers["limitBytes"], "must be greater than 0"))
    since_time = query.get("sinceTime")
    if "sinceSeconds" in numbers and since_time:
        faults.append(field.forbidden(field.Path(""), "at most one of `sinceTime` or `sinceSeconds` may be specified"))
    elif "sinceSeconds" in numbers and numbers["sinceSeconds"] < 1:
        faults.append(field.invalid(field.Path("sinceSeconds"), numbers["sinceSeconds"], "must be greater than 0"))
    stream = query.get("stream")
    if stream and stream not in _STREAMS:
        faults.append(field.not_supported(field.Path("stream"), stream, _STREAMS))
    elif stream and stream != "All" and "tailLines" in numbers:
        faults.append(
            field.forbidden(field.Path(""), "`tailLines` and specific `stream` are mutually exclusive for now")
        )
    if faults:
        raise errors.invalid("", "PodLogOptions", "", faults)
    if since_time:
        try:
            parse_time(since_time)
        except ValueError as error:
            raise errors.BadRequest(f'parsing time {quote_go(since_time)} as "2006-01-02T15:04:05Z07:00"') from error
        parameters.append(("sinceTime", since_time))
    parameters += [(option, str(value)) for option, value in numbers.items()]
    if stream and stream != "All":
        parameters.append(("stream", stream))
    return parameters


_NOT_NEGATIVE = "must be greater than or equal to 0"
_STREAMS = ("All", "Stderr", "Stdout")


def quote_go(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


async def _relay_log(request: web.BaseRequest, upstream: aiohttp.ClientResponse, *, follow: bool) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": upstream.headers.get("Content-Type", "text/plain")})
    if not follow:
        await response.prepare(request)
        await _copy_log(upstream, response)
        return response
    # A log that is followed may stay silent for hours: the client's end must be noticed without a write, so its
    # connection is taken over, and closed afterwards.
    response.force_close()
    await response.prepare(request)
    gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end() -> None:
        if not gone.done():
            gone.set_result(None)

    if not take_over(request, lambda data: None, end):
        return response
    copy = asyncio.ensure_future(_copy_log(upstream, response))
    try:
        await asyncio.wait((copy, gone), return_when=asyncio.FIRST_COMPLETED)
        if copy.done():
            copy.result()
    finally:
        if not copy.done():
            copy.cancel()
            await asyncio.wait((copy,))
    return response


async def _copy_log(upstream: aiohttp.ClientResponse, response: web.StreamResponse) -> None:
    try:
        async for chunk in upstream.content.iter_any():
            await response.write(chunk)
    except aiohttp.ClientError as error:
        # The kubelet broke off amid the log: closing without a last chunk keeps the client from taking it for the
        # end.
        raise ConnectionResetError("the kubelet closed the log stream") from error
    await response.write_eof()
