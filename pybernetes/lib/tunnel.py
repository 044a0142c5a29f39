"""Upgraded connections: a client's connection joined, byte for byte, with one to a backend of ours.

The client's side is an aiohttp request whose connection is taken over: a sink set as the protocol's parser gets
every byte that follows the request, those that came early included, and aiohttp keeps telling of the connection's
end. The other side is a connection of our own whose handshake is spoken with h11 (sans-I/O). It goes: connect and
shake hands with the backend; if it switches, take the client over, answer its 101, then copy both ways.

Bounds: each direction buffers at most the transports' high-water marks, then stops reading its source; a handshake
takes at most `HANDSHAKE_SECONDS`; a refusal's body is read up to `REFUSAL_BYTES`. When either side ends, what was
received is still written to the other, and both are closed (TLS knows no half-close). A cancelled tunnel closes both.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import h11
import structlog
from aiohttp import web

log = structlog.get_logger(__name__)

SocketFactory = Callable[[Any], socket.socket]
"""aiohttp's: makes an unconnected socket for an entry of getaddrinfo, in the namespace connections are to start in."""

HANDSHAKE_SECONDS = 30.0
REFUSAL_BYTES = 64 * 1024
_HIGH_WATER_BYTES = 64 * 1024
_HOP_BY_HOP = frozenset(
    (
        "host", "authorization", "cookie", "content-length", "transfer-encoding", "connection", "upgrade",
        "keep-alive", "te", "trailer", "proxy-authorization", "proxy-authenticate",
    )
)  # fmt: skip
_WEBSOCKET_TOKEN_PREFIX = "base64url.bearer.authorization.k8s.io."

Headers = Sequence[tuple[str, str]]


class DialError(Exception):
    """A backend could not be reached, or broke off the handshake; the message is in the words of Go's net package."""


@dataclass(frozen=True, slots=True)
class Backend:
    """Where to connect: `tls` and `server_name` for TLS, None for plain TCP."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    server_name: str | None = None

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """The backend's answer where it did not switch protocols."""

    status: int
    reason: str
    headers: Headers
    body: bytes


class Upstream(asyncio.Protocol):
    """The connection to a backend: the handshake, then raw bytes to `on_data`.

    Bytes that come before `start_copying` wait in a bounded buffer. `ended` is done when the connection is.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._http: h11.Connection | None = h11.Connection(h11.CLIENT)
        self._answer: asyncio.Future[h11.InformationalResponse | Refusal] = self._loop.create_future()
        self._refused: h11.Response | None = None
        self._refusal_body = bytearray()
        self._early = bytearray()
        self._on_data: Callable[[bytes], None] | None = None
        self._on_writable: Callable[[bool], None] | None = None
        self.transport: asyncio.Transport | None = None
        self.ended: asyncio.Future[None] = self._loop.create_future()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if self._http is not None:
            self._shake(data)
        elif self._on_data is not None:
            self._on_data(data)
        else:
            self._early += data
            if len(self._early) >= _HIGH_WATER_BYTES:
                self.pause_reading()

    def eof_received(self) -> None:
        if self._http is not None:
            self._shake(b"")

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("the connection was closed during the handshake"))
            # Nobody may be waiting for it any more.
            self._answer.exception()
        if not self.ended.done():
            self.ended.set_result(None)
        if self._on_writable is not None:
            self._on_writable(True)

    def pause_writing(self) -> None:
        if self._on_writable is not None:
            self._on_writable(False)

    def resume_writing(self) -> None:
        if self._on_writable is not None:
            self._on_writable(True)

    # Handshake

    async def handshake(
        self, method: str, target: str, headers: Iterable[tuple[str, str]]
    ) -> h11.InformationalResponse | Refusal:
        """Sends the upgrade request and waits for the answer. Raises OSError, h11.RemoteProtocolError."""
        assert self._http is not None
        self._send(h11.Request(method=method, target=target, headers=list(headers)))
        self._send(h11.EndOfMessage())
        return await self._answer

    def _send(self, event: Any) -> None:
        assert self._http is not None
        data = self._http.send(event)
        if data and self.transport is not None:
            self.transport.write(data)

    def _shake(self, data: bytes) -> None:
        assert self._http is not None
        try:
            self._http.receive_data(data)
            while self._http is not None:
                event = self._http.next_event()
                if event is h11.NEED_DATA or event is h11.PAUSED:
                    return
                self._take(event)
                if isinstance(event, h11.ConnectionClosed):
                    # h11 would say so again, and for ever.
                    return
        except h11.RemoteProtocolError as error:
            self._fail(error if data else ConnectionResetError("the connection was closed during the handshake"))

    def _take(self, event: Any) -> None:
        assert self._http is not None
        if isinstance(event, h11.InformationalResponse):
            if event.status_code != 101:
                return
            trailing, _ = self._http.trailing_data
            self._http = None
            self._early += trailing
            if not self._answer.done():
                self._answer.set_result(event)
        elif isinstance(event, h11.Response):
            self._refused = event
        elif isinstance(event, h11.Data):
            room = REFUSAL_BYTES - len(self._refusal_body)
            self._refusal_body += event.data[: max(room, 0)]
            if room <= 0:
                self._refuse()
        elif isinstance(event, h11.EndOfMessage):
            self._refuse()
        elif isinstance(event, h11.ConnectionClosed):
            self._fail(ConnectionResetError("the connection was closed during the handshake"))

    def _refuse(self) -> None:
        if self._refused is not None and not self._answer.done():
            answer = self._refused
            headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.headers]
            self._answer.set_result(
                Refusal(answer.status_code, answer.reason.decode("latin-1"), headers, bytes(self._refusal_body))
            )
        self.close()

    def _fail(self, error: Exception) -> None:
        if not self._answer.done():
            self._answer.set_exception(error)
        self.close()

    # Copying

    def start_copying(self, on_data: Callable[[bytes], None], on_writable: Callable[[bool], None]) -> None:
        """From here on bytes go to `on_data`, those that came early first; `on_writable` tells whether the way
        to the backend is clear."""
        self._on_data, self._on_writable = on_data, on_writable
        if self._early:
            early, self._early = bytes(self._early), bytearray()
            on_data(early)
        self.resume_reading()

    def write(self, data: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def pause_reading(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def close(self) -> None:
        """Closes the connection once what was written is out."""
        if self.transport is not None:
            self.transport.close()


class ClientSink:
    """What aiohttp hands a taken-over connection's bytes to; in the place of its WebSocket parser."""

    def __init__(self, on_data: Callable[[bytes], None], on_end: Callable[[], None]) -> None:
        self._on_data = on_data
        self._on_end = on_end

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self._on_data(bytes(data))
        return False, b""

    def feed_eof(self) -> None:
        self._on_end()


def take_over(request: web.BaseRequest, on_data: Callable[[bytes], None], on_end: Callable[[], None]) -> bool:
    """From here on every byte of the request's connection goes to `on_data`, those that came early at once, and its
    end to `on_end`. False where the connection is gone already. The connection serves no further request."""
    if request.transport is None:
        return False
    request.protocol.set_parser(ClientSink(on_data, on_end))  # type: ignore[arg-type]
    return True


class TakenOver(web.StreamResponse):
    """What a handler returns whose connection was answered by other means: aiohttp sends nothing and closes."""

    def __init__(self, status: int) -> None:
        super().__init__(status=status)
        self.force_close()

    async def prepare(self, request: web.BaseRequest) -> None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


async def connect(backend: Backend, socket_factory: SocketFactory | None = None) -> Upstream:
    """Connects to a backend. Raises OSError (ssl.SSLError included), TimeoutError."""
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in backend.host else socket.AF_INET
    address = (backend.host, backend.port)
    entry = (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address)
    sock = socket_factory(entry) if socket_factory is not None else socket.socket(*entry[:3])
    try:
        sock.setblocking(False)
        await loop.sock_connect(sock, address)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _, upstream = await loop.create_connection(
            Upstream,
            sock=sock,
            ssl=backend.tls,
            server_hostname=(backend.server_name or backend.host) if backend.tls else None,
        )
    except BaseException:
        sock.close()
        raise
    return upstream


async def open_upgrade(
    backend: Backend,
    method: str,
    target: str,
    headers: Iterable[tuple[str, str]],
    socket_factory: SocketFactory | None = None,
) -> tuple[Upstream, h11.InformationalResponse | Refusal]:
    """Connects and asks for the upgrade. Raises `DialError` where the backend cannot be reached."""
    upstream: Upstream | None = None
    try:
        async with asyncio.timeout(HANDSHAKE_SECONDS):
            upstream = await connect(backend, socket_factory)
            answer = await upstream.handshake(method, target, [("Host", backend.authority), *headers])
    except (OSError, h11.RemoteProtocolError, TimeoutError) as error:
        if upstream is not None:
            upstream.close()
        raise DialError(dial_error(backend, error)) from error
    except asyncio.CancelledError:
        if upstream is not None:
            upstream.close()
        raise
    return upstream, answer


def dial_error(backend: Backend, error: BaseException) -> str:
    """A failure to connect in the words of Go's net package."""
    if isinstance(error, ConnectionRefusedError):
        return f"dial tcp {backend.authority}: connect: connection refused"
    if isinstance(error, TimeoutError):
        return f"dial tcp {backend.authority}: i/o timeout"
    if isinstance(error, ssl.SSLError):
        return f"tls: {error.reason or error}"
    if isinstance(error, OSError) and error.strerror:
        return f"dial tcp {backend.authority}: connect: {error.strerror.lower()}"
    return f"{backend.authority}: {error}"


def upgrade_headers(request: web.BaseRequest) -> list[tuple[str, str]]:
    """The client's headers as they go on to the backend: without what was meant for this server alone."""
    passed: list[tuple[str, str]] = []
    for name, value in request.headers.items():
        low = name.lower()
        if low in _HOP_BY_HOP or low.startswith("impersonate-"):
            continue
        if low == "sec-websocket-protocol":
            # A browser's bearer token travels as a subprotocol; it is for us.
            kept = [p for p in (p.strip() for p in value.split(",")) if not p.startswith(_WEBSOCKET_TOKEN_PREFIX)]
            value = ", ".join(kept)
            if not value:
                continue
        passed.append((name, value))
    passed.append(("Connection", "Upgrade"))
    passed.append(("Upgrade", request.headers.get("Upgrade", "")))
    return passed


async def run_upgrade(
    request: web.BaseRequest,
    backend: Backend,
    target: str,
    *,
    method: str = "",
    headers: Iterable[tuple[str, str]] | None = None,
    socket_factory: SocketFactory | None = None,
) -> web.StreamResponse:
    """Passes the client's upgrade on and copies until either side ends. Returns what the handler is to return:
    the backend's refusal, or a response already carried out. Raises `DialError` where it cannot be reached."""
    upstream, answer = await open_upgrade(
        backend,
        method or request.method,
        target,
        headers if headers is not None else upgrade_headers(request),
        socket_factory,
    )
    if isinstance(answer, Refusal):
        return refusal_response(answer)
    taken = TakenOver(101)
    try:
        # As before any answer's head leaves.
        await request._prepare_hook(taken)
        await _copy(request, upstream, _switching(answer))
    finally:
        upstream.close()
    return taken


def refusal_response(refusal: Refusal) -> web.Response:
    """A backend's refusal as the answer to the client."""
    content_type = next((v for n, v in refusal.headers if n.lower() == "content-type"), "text/plain")
    response = web.Response(status=refusal.status, body=refusal.body, headers={"Content-Type": content_type})
    response.force_close()
    return response


def _switching(answer: h11.InformationalResponse) -> bytes:
    """The 101 as it goes to the client: the backend's headers, upgrade ones included."""
    lines = [b"HTTP/1.1 101 Switching Protocols"]
    lines += [name.title() + b": " + value for name, value in answer.headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


async def _copy(request: web.BaseRequest, upstream: Upstream, head: bytes) -> None:
    transport, protocol = request.transport, request.protocol
    if transport is None:
        return
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    draining: set[asyncio.Task[None]] = set()

    def end() -> None:
        if not ended.done():
            ended.set_result(None)

    def to_client(data: bytes) -> None:
        if transport.is_closing():
            end()
            return
        transport.write(data)
        if protocol.writing_paused and not draining:
            upstream.pause_reading()
            task = asyncio.get_running_loop().create_task(drain())
            draining.add(task)
            task.add_done_callback(draining.discard)

    async def drain() -> None:
        try:
            await request.writer.drain()
        except OSError:
            end()
            return
        upstream.resume_reading()

    def upstream_writable(writable: bool) -> None:
        if transport.is_closing():
            return
        if writable:
            transport.resume_reading()
        else:
            transport.pause_reading()

    upstream.ended.add_done_callback(lambda _: end())
    transport.write(head)
    # The sink first: from here on every byte of the client is the backend's.
    take_over(request, upstream.write, end)
    upstream.start_copying(to_client, upstream_writable)
    try:
        await ended
    finally:
        for task in draining:
            task.cancel()
