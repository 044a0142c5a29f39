"""The server's connections and requests, on top of aiohttp's.

A connection knows its client's certificate, and tells who waits on it when the client goes away, so that an idle watch
ends at once.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Protocol

import structlog
from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import RequestHandler, RequestPayloadError
from cryptography import x509

from pybernetes.apiserver.replies import text_reply

log = structlog.get_logger(__name__)

BODY_BYTES_MAX = 3 * 1024 * 1024
"""Of a request's body, as upstream; a larger one is answered 413."""

_KEEPALIVE_SECONDS = 180.0
_LINGERING_SECONDS = 2.0
HEAD_SECONDS_MAX = 32.0
"""How long a new connection may take for its first request's head, as upstream's ReadHeaderTimeout."""
_LINE_BYTES_MAX = 64 * 1024
"""Of the request line and of a header: long selectors and tokens fit."""


class ResponseStart(Protocol):
    def started(self, code: int) -> None: ...


class Connection(RequestHandler):
    """One client's connection."""

    certificate: x509.Certificate | None = None
    """The client's certificate, verified by TLS; None where it showed none."""
    disconnected: Callable[[], None] | None = None
    """Called when the connection is lost. The request that is being served sets it."""

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._head_timer = asyncio.get_running_loop().call_later(HEAD_SECONDS_MAX, transport.close)
        connection = transport.get_extra_info("ssl_object")
        if connection is not None:
            der = connection.getpeercert(True)
            if der is not None:
                self.certificate = x509.load_der_x509_certificate(der)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self.head_arrived()
        if self.disconnected is not None:
            self.disconnected()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What cannot be read as HTTP is answered in Go's words, and is no matter for the log: anybody can send it."""
        if isinstance(exc, ConnectionError):
            raise exc  # it went away: nobody is there to be answered
        if status == HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("a request's handler failed", exc_info=exc)
        else:
            log.debug("not HTTP", status=status, error=message)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun, and another cannot follow")
        if isinstance(exc, LineTooLong) or (message or "").strip() == "Too many headers received":
            status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        reply = text_reply(f"{int(status)} {HTTPStatus(status).phrase}", status)
        reply.audit_id = str(uuid.uuid4()).encode()
        reply.force_close()
        return reply

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Told of what goes wrong around the handlers. The rest of a body that cannot be read matters to nobody."""
        if not isinstance(kw.get("exc_info"), (ConnectionError, RequestPayloadError)):
            super().log_exception(*args, **kw)

    def head_arrived(self) -> None:
        """The first request has come; from now on the connection may be idle as long as keep-alive allows."""
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class Request(web.BaseRequest):
    """A request on a `Connection`."""

    audit: ResponseStart | None = None
    """Told when the head of a streamed answer leaves; set where the request is audited."""

    @property
    def body_read(self) -> bytes | None:
        """The body, where it was read."""
        return self._read_bytes

    def arrived(self) -> bytes | None:
        """The body, where all of it is here already, as small ones mostly are: then nothing needs to be waited for."""
        content = self.content
        if not content.is_eof() or content.exception() is not None:
            return None
        body = content.read_nowait()
        while not content.at_eof():
            body += content.read_nowait()
        if len(body) > BODY_BYTES_MAX:
            raise web.HTTPRequestEntityTooLarge(max_size=BODY_BYTES_MAX, actual_size=len(body))
        self._read_bytes = body
        return body

    def invite_body(self) -> None:
        """Tells a client that waits to be asked for its body (``Expect: 100-continue``) to send it. As in Go: when
        somebody wants to read it, so that who is refused before need not send it."""
        if self.headers.get("Expect", "").lower() == "100-continue" and self.transport is not None:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def _prepare_hook(self, resp: web.StreamResponse) -> None:
        # Not reached by `Reply`, which has its own way out.
        if self.audit is not None:
            self.audit.started(resp.status)

    async def drained(self) -> None:
        """Waits until the connection takes more, after writes that went past its buffer's bound."""
        await self._payload_writer.drain()

    @property
    def connection(self) -> Connection:
        protocol = self._protocol
        assert isinstance(protocol, Connection)
        return protocol


class HTTPServer(web.Server):
    """The protocol factory of the server's listeners."""

    def __init__(self, handler: Callable[[web.BaseRequest], Any]) -> None:
        super().__init__(handler, request_factory=self._make)

    def _make(self, message: Any, payload: Any, protocol: Any, writer: Any, task: asyncio.Task[None]) -> Request:
        if protocol._head_timer is not None:
            protocol.head_arrived()
        return Request(message, payload, protocol, writer, task, self._loop, client_max_size=BODY_BYTES_MAX)

    def __call__(self) -> RequestHandler:
        return Connection(
            self,
            loop=self._loop,
            access_log=None,  # type: ignore[arg-type]
            keepalive_timeout=_KEEPALIVE_SECONDS,
            lingering_time=_LINGERING_SECONDS,
            # As upstream, which takes a body as it comes, whatever its Content-Encoding says.
            auto_decompress=False,
            max_line_size=_LINE_BYTES_MAX,
            max_field_size=_LINE_BYTES_MAX,
        )
