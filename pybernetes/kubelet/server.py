"""The kubelet's HTTPS server: logs, exec, attach, port-forward and what the kubelet knows of its pods.

Its clients are the API server and members of ``system:masters``; both show a client certificate. Logs are read here
(`logs`); commands and ports are the runtime's own streaming server's business, to which the upgraded connection is
tunnelled byte for byte, SPDY and WebSocket alike. One event loop owns the server. `start` listens, `stop` closes
everything; a request whose client goes away is cancelled and leaves nothing behind.

Paths, parameters and messages are upstream's (``pkg/kubelet/server``).
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, aclosing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import orjson
import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from pybernetes.api.meta import Object, name_of, namespace_of, uid_of
from pybernetes.api.time import format_time, parse_time
from pybernetes.kubelet import identity
from pybernetes.kubelet.config import KubeletConfig
from pybernetes.kubelet.logs import DirectoryWatches, LogOptions, stream_log
from pybernetes.kubelet.observed import ObservedContainer, RuntimeView
from pybernetes.kubelet.runtime import ContainerRuntime, ContainerState, ContainerUsage, RuntimeFailure
from pybernetes.lib.clock import Clock, SystemClock
from pybernetes.lib.tunnel import Backend, DialError, run_upgrade

log = structlog.get_logger(__name__)

_MASTERS = "system:masters"
_RUN_SECONDS = 120.0
# How long requests under way may take to end before they are cancelled.
_STOP_SECONDS = 1.0
_SUBRESOURCES = {
    "metrics": "metrics",
    "stats": "stats",
    "healthz": "healthz proxy",
    "pods": "pods proxy",
}


class ServingError(Exception):
    """An answer other than success: a status and a text, as the kubelet gives them."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """Which streams a client of exec or attach wants."""

    tty: bool
    stdin: bool
    stdout: bool
    stderr: bool


class KubeletServer:
    """Serves one node's pods. `find_pod` and `list_pods` give the kubelet's own view of them, statuses included."""

    def __init__(
        self,
        config: KubeletConfig,
        *,
        find_pod: Callable[[str, str], Object | None],
        list_pods: Callable[[], Iterable[Object]],
        view: RuntimeView,
        runtime: ContainerRuntime,
        clock: Clock | None = None,
    ) -> None:
        self._config = config
        self._find_pod = find_pod
        self._list_pods = list_pods
        self._view = view
        self._runtime = runtime
        self._clock = clock or SystemClock()
        self._watches = DirectoryWatches()
        self._followers: defaultdict[str, list[asyncio.Event]] = defaultdict(list)
        self._http: web.Server | None = None
        self._listener: asyncio.Server | None = None
        view.on_change(self._changed)

    @property
    def port(self) -> int:
        """The port listened on; 0 where there is no server."""
        return int(self._listener.sockets[0].getsockname()[1]) if self._listener is not None else 0

    async def start(self) -> None:
        """Listens on the node's address; does nothing where the configuration names no certificates. Raises OSError
        (ssl.SSLError included)."""
        config = self._config
        if config.tls_certificate is None or config.tls_key is None or config.client_ca is None:
            return
        context = _tls_context(config.tls_certificate, config.tls_key, config.client_ca)
        self._http = web.Server(self._handle, handler_cancellation=True, access_log=None)
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._http, config.node_ip, config.port, ssl=context)

    async def stop(self) -> None:
        """Closes the listener and every connection."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self._http is not None:
            await self._http.shutdown(_STOP_SECONDS)
            self._http = None
        self._watches.close()

    def _changed(self, uid: str) -> None:
        for wake in self._followers.get(uid, ()):
            wake.set()

    # -- requests --------------------------------------------------------------------------------------------------

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        parts = [unquote(part) for part in request.rel_url.raw_path.split("/")[1:]]
        try:
            self._authorize(request, parts[0])
            return await self._route(request, parts)
        except ServingError as error:
            return web.Response(status=error.status, text=error.text)
        except RuntimeFailure as failure:
            return web.Response(status=404 if failure.not_found else 500, text=str(failure))
        except DialError as error:
            return web.Response(status=502, text=str(error))

    def _authorize(self, request: web.BaseRequest, first: str) -> None:
        user, groups = _identity(request)
        if not user:
            raise ServingError(401, "Unauthorized")
        if user in self._config.server_users or _MASTERS in groups:
            return
        verb = {"GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}.get(
            request.method, "create"
        )
        sub = _SUBRESOURCES.get(first, "proxy")
        raise ServingError(403, f"Forbidden (user={user}, verb={verb}, resource=nodes, subresource(s)=[{sub}])")

    async def _route(self, request: web.BaseRequest, parts: list[str]) -> web.StreamResponse:
        method = request.method
        match parts:
            case ["healthz", *_] if method == "GET":
                return web.Response(text="ok")
            case ["pods" | "runningpods"] | ["pods", ""] if method == "GET":
                return self._pods()
            case ["metrics"] if method == "GET":
                return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})
            case ["stats", "summary"] if method == "GET":
                return await self._summary()
            case ["containerLogs", namespace, pod, container] if method == "GET":
                return await self._logs(request, namespace, pod, container)
            case ["run", namespace, pod, *_, container] if method == "POST" and len(parts) in (4, 5):
                return await self._run(request, namespace, pod, container)
            case ["exec", namespace, pod, *_, container] if method in ("GET", "POST") and len(parts) in (4, 5):
                return await self._exec(request, namespace, pod, container)
            case ["attach", namespace, pod, *_, container] if method in ("GET", "POST") and len(parts) in (4, 5):
                return await self._attach(request, namespace, pod, container)
            case ["portForward", namespace, pod] | ["portForward", namespace, pod, _] if method in ("GET", "POST"):
                return await self._port_forward(request, namespace, pod)
        raise ServingError(404, "404: Page Not Found")

    def _pods(self) -> web.Response:
        items = [{"kind": "Pod", "apiVersion": "v1", **pod} for pod in self._list_pods()]
        body = {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}
        return web.Response(body=orjson.dumps(body), content_type="application/json")

    async def _summary(self) -> web.Response:
        usages: defaultdict[str, list[ContainerUsage]] = defaultdict(list)
        for usage in await self._runtime.container_usage():
            usages[usage.labels.get(identity.POD_UID, "")].append(usage)
        pods = []
        for pod in self._list_pods():
            containers = [
                {
                    "name": u.labels.get(identity.CONTAINER_NAME, ""),
                    "cpu": {"time": format_time(u.timestamp), "usageCoreNanoSeconds": u.cpu_core_nanoseconds},
                    "memory": {
                        "time": format_time(u.timestamp),
                        "usageBytes": u.memory_usage_bytes,
                        "workingSetBytes": u.memory_working_set_bytes,
                    },
                    "rootfs": {"time": format_time(u.timestamp), "usedBytes": u.writable_layer_bytes},
                }
                for u in usages.get(uid_of(pod), ())
            ]
            reference = {"name": name_of(pod), "namespace": namespace_of(pod), "uid": uid_of(pod)}
            pods.append({"podRef": reference, "containers": containers})
        body = {"node": {"nodeName": self._config.node_name}, "pods": pods}
        return web.Response(body=orjson.dumps(body), content_type="application/json")

    # -- logs ------------------------------------------------------------------------------------------------------

    async def _logs(self, request: web.BaseRequest, namespace: str, name: str, container: str) -> web.StreamResponse:
        query = request.rel_url.query
        options = log_options(query, self._clock.now())
        pod = self._find_pod(namespace, name)
        if pod is None:
            raise ServingError(404, f'pod "{name}" does not exist')
        if _container_spec(pod, container) is None:
            raise ServingError(404, f'container "{container}" not found in pod "{name}"')
        uid = uid_of(pod)
        history = self._view.pod(uid).history(container)
        observed = choose_log(pod, container, history, previous=_flag(query, "previous"))
        path = Path(observed.status.log_path)
        # Inotify tells of a directory, and the path that the runtime names may be a link into another one.
        with ExitStack() as stack:
            wake = asyncio.Event()
            try:
                path = path.resolve(strict=True)
                if options.follow:
                    stack.enter_context(self._watches.watch(path.parent, wake))
                file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError as error:
                path = Path(observed.status.log_path)
                raise ServingError(
                    400,
                    f'failed to try resolving symlinks in path "{path}": lstat {path}: no such file or directory',
                ) from error
            except OSError as error:
                raise ServingError(400, f'failed to open log file "{path}": {error.strerror}') from error
            stack.callback(os.close, file)
            self._followers[uid].append(wake)
            stack.callback(self._unfollow, uid, wake)
            response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
            text = stream_log(file, path, options, ended=partial(self._ended, observed.id), wake=wake)
            async with aclosing(text):
                try:
                    await response.prepare(request)
                    async for chunk in text:
                        await response.write(chunk)
                    await response.write_eof()
                except ConnectionError as error:
                    log.debug("a log's reader went away", pod=name, container=container, error=str(error))
            return response

    def _ended(self, container_id: str) -> bool:
        container = self._view.container(container_id)
        return container is None or container.exited

    def _unfollow(self, uid: str, wake: asyncio.Event) -> None:
        followers = self._followers[uid]
        followers[:] = [w for w in followers if w is not wake]
        if not followers:
            del self._followers[uid]

    # -- commands and ports ----------------------------------------------------------------------------------------

    def _target(self, namespace: str, name: str, container: str) -> tuple[Object, ObservedContainer]:
        pod = self._find_pod(namespace, name)
        if pod is None:
            raise ServingError(404, "pod does not exist")
        observed = self._view.pod(uid_of(pod)).latest(container)
        if observed is None:
            raise ServingError(500, f'container not found ("{container}")')
        return pod, observed

    async def _exec(self, request: web.BaseRequest, namespace: str, name: str, container: str) -> web.StreamResponse:
        query = request.rel_url.query
        options = stream_options(query)
        _, observed = self._target(namespace, name, container)
        url = await self._runtime.exec(
            observed.id,
            query.getall("command", []),
            tty=options.tty,
            stdin=options.stdin,
            stdout=options.stdout,
            stderr=options.stderr,
        )
        return await _tunnel(request, url)

    async def _attach(self, request: web.BaseRequest, namespace: str, name: str, container: str) -> web.StreamResponse:
        options = stream_options(request.rel_url.query)
        pod, observed = self._target(namespace, name, container)
        # Whether a process has a terminal was decided at its start.
        tty = bool((_container_spec(pod, container) or {}).get("tty"))
        url = await self._runtime.attach(
            observed.id, tty=tty, stdin=options.stdin, stdout=options.stdout, stderr=options.stderr
        )
        return await _tunnel(request, url)

    async def _port_forward(self, request: web.BaseRequest, namespace: str, name: str) -> web.StreamResponse:
        ports: list[int] = []
        if request.headers.get("Upgrade", "").lower() == "websocket":
            # SPDY names its ports in each stream's headers.
            ports = forwarded_ports(request.rel_url.query)
        pod = self._find_pod(namespace, name)
        if pod is None:
            raise ServingError(404, "pod does not exist")
        sandbox = self._view.pod(uid_of(pod)).sandbox
        if sandbox is None:
            raise ServingError(500, f'failed to find sandboxID for pod "{name}"')
        return await _tunnel(request, await self._runtime.port_forward(sandbox.id, ports))

    async def _run(self, request: web.BaseRequest, namespace: str, name: str, container: str) -> web.Response:
        _, observed = self._target(namespace, name, container)
        command = request.rel_url.query.get("cmd", "").split(" ")
        result = await self._runtime.exec_sync(observed.id, command, _RUN_SECONDS)
        return web.Response(body=result.stdout + result.stderr, content_type="text/plain")


async def _tunnel(request: web.BaseRequest, url: str) -> web.StreamResponse:
    parsed = urlsplit(url)
    host = parsed.hostname or "127.0.0.1"
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1"
    target = parsed.path + (f"?{parsed.query}" if parsed.query else "")
    return await run_upgrade(request, Backend(host, parsed.port or 80), target)


def choose_log(
    pod: Object, container: str, history: list[ObservedContainer], *, previous: bool = False
) -> ObservedContainer:
    """The container, of `history` newest first, whose log is meant. Raises ServingError in upstream's words."""
    name = name_of(pod)
    if previous:
        dead = [c for c in history[1:] if c.exited]
        if history and history[0].state is ContainerState.EXITED and _state(pod, container, "waiting"):
            # Backing off: the newest dead container is the previous one, as its last state says.
            dead = history[:1]
        if not dead:
            raise ServingError(400, f'previous terminated container "{container}" in pod "{name}" not found')
        return dead[0]
    for candidate in history:
        if candidate.state is not ContainerState.CREATED:
            return candidate
    reason = (_state(pod, container, "waiting") or {}).get("reason") or ""
    if not reason:
        inits = [c.get("name") for c in (pod.get("spec") or {}).get("initContainers") or ()]
        reason = "PodInitializing" if inits and container not in inits else "ContainerCreating"
    why = {
        "ErrImagePull": "image can't be pulled",
        "ImagePullBackOff": "trying and failing to pull image",
    }.get(reason, reason)
    raise ServingError(400, f'container "{container}" in pod "{name}" is waiting to start: {why}')


def _state(pod: Object, container: str, which: str) -> Object | None:
    status = pod.get("status") or {}
    for kind in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for entry in status.get(kind) or ():
            if entry.get("name") == container:
                return cast("Object | None", (entry.get("state") or {}).get(which))
    return None


def _container_spec(pod: Object, container: str) -> Object | None:
    spec = pod.get("spec") or {}
    for kind in ("containers", "initContainers", "ephemeralContainers"):
        for entry in spec.get(kind) or ():
            if entry.get("name") == container:
                return cast(Object, entry)
    return None


def log_options(query: Mapping[str, str], now: float) -> LogOptions:
    """The log asked for. Raises ServingError where a parameter cannot be read."""
    numbers: dict[str, int] = {}
    try:
        for option in ("tailLines", "sinceSeconds", "limitBytes"):
            if query.get(option):
                numbers[option] = int(query[option])
        since = parse_time(query["sinceTime"]) if query.get("sinceTime") else None
    except ValueError as error:
        raise ServingError(400, '{"message": "Unable to decode query."}') from error
    stream = query.get("stream", "")
    if (
        numbers.get("tailLines", 0) < 0
        or numbers.get("limitBytes", 1) < 1
        or numbers.get("sinceSeconds", 1) < 1
        or ("sinceSeconds" in numbers and since is not None)
        or stream not in ("", "All", "Stdout", "Stderr")
    ):
        raise ServingError(422, '{"message": "Invalid request."}')
    if "sinceSeconds" in numbers:
        since = now - numbers["sinceSeconds"]
    return LogOptions(
        follow=_flag(query, "follow"),
        tail_lines=numbers.get("tailLines"),
        since=since,
        timestamps=_flag(query, "timestamps"),
        limit_bytes=numbers.get("limitBytes"),
        stream="" if stream == "All" else stream.lower(),
    )


def stream_options(query: Mapping[str, str]) -> StreamOptions:
    """The streams asked for, by the kubelet's own names or the API's. Raises ServingError where there are none."""
    tty = _flag(query, "tty")
    stdin = _flag(query, "input") or _flag(query, "stdin")
    stdout = _flag(query, "output") or _flag(query, "stdout")
    # A terminal has one output.
    stderr = (_flag(query, "error") or _flag(query, "stderr")) and not tty
    if not (stdin or stdout or stderr):
        raise ServingError(400, "you must specify at least 1 of stdin, stdout, stderr")
    return StreamOptions(tty, stdin, stdout, stderr)


def forwarded_ports(query: Any) -> list[int]:
    """The ports that a WebSocket names in its query, separated by commas or repeated. Raises ServingError."""
    texts = [text for key in ("port", "ports") for value in query.getall(key, []) for text in value.split(",")]
    if not texts:
        raise ServingError(400, 'query parameter "port" is required')
    ports = []
    for text in texts:
        if not text.isdecimal() or int(text) > 65535:
            raise ServingError(400, f'unable to parse "{text}" as a port')
        if int(text) == 0:
            raise ServingError(400, f'port "{text}" must be > 0')
        ports.append(int(text))
    return ports


def _flag(query: Mapping[str, str], name: str) -> bool:
    return query.get(name, "").lower() in ("1", "true")


def _tls_context(certificate: Path, key: Path, client_ca: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(client_ca)
    # A client without one is told so with a 401, which a failed handshake could not say.
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["http/1.1"])
    return context


def _identity(request: web.BaseRequest) -> tuple[str, frozenset[str]]:
    """The common name and organizations of the client's certificate, which the handshake has verified."""
    certificate = request.get_extra_info("peercert") or {}
    attributes = [pair for rdn in certificate.get("subject", ()) for pair in rdn]
    user = next((value for key, value in attributes if key == "commonName"), "")
    return user, frozenset(value for key, value in attributes if key == "organizationName")
