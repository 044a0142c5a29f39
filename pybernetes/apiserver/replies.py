"""Answers on the wire: one write of a ready head and ready bytes, and the errors' Status.

`Reply` is an aiohttp response that does not build its head from a dictionary of headers: with cached bodies the head
would cost more than all the rest.
"""

from __future__ import annotations

import asyncio
import gzip
import time
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

import orjson
import yaml
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from pybernetes.api.errors import ApiError
from pybernetes.api.meta import Object
from pybernetes.apiserver import encoding
from pybernetes.apiserver.negotiation import PLAIN, YAML, Media

GZIP_FROM_BYTES = 128 * 1024
"""Smaller answers are not compressed, as upstream."""

WRITE_SECONDS_MAX = 60.0
"""How long a client may take for an answer that does not fit into the connection's buffers."""

_STATUS_LINES = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n".encode() for s in HTTPStatus}
_NO_CACHE = b"Cache-Control: no-cache, private\r\n"
_ONE_WRITE_BYTES = 64 * 1024
_SLICE_BYTES = 512 * 1024
_WARNINGS_BYTES_MAX = 4096
_WARNINGS_MAX = 80
"""Python's http.client, and what is built on it, refuses answers with more than 100 headers."""
_LONG_WARNING_BYTES_MAX = 256

_JSON_TYPE = b"application/json"


class _Date:
    """The Date header, made once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._line = b""

    def line(self) -> bytes:
        now = int(time.time())
        if now != self._second:
            self._second = now
            self._line = f"Date: {formatdate(now, usegmt=True)}\r\n".encode()
        return self._line


_date = _Date()


def _clean(value: str) -> bytes:
    """A header's value without what could end the header."""
    return "".join(c for c in value if c >= " " and c != "\x7f").encode("utf-8", "replace")


class Reply(web.StreamResponse):
    """A complete answer."""

    def __init__(
        self,
        body: bytes,
        *,
        status: int = 200,
        content_type: bytes = _JSON_TYPE,
        cacheable: bool = False,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        # Not calling the base class is the point: it would build the headers' dictionary.
        self.body = body
        self.code = status
        self._content_type_bytes = content_type
        self._cacheable = cacheable
        self.extra = headers
        self.audit_id = b""
        self.flow_headers = b""
        """Of flow control, ready to send."""

    @property
    def status(self) -> int:
        return self.code

    @property
    def media_type(self) -> str:
        return self._content_type_bytes.decode()

    def add_header(self, name: str, value: str) -> None:
        self.extra = (*self.extra, (name, value))

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        keep_alive = request.keep_alive if self._keep_alive is None else self._keep_alive
        self._keep_alive = keep_alive
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client is gone")
        body = self.body
        code = self.code
        head = b"%bAudit-Id: %b\r\n%b%bContent-Type: %b\r\n%b" % (
            _STATUS_LINES[code],
            self.audit_id,
            self.flow_headers,
            b"" if self._cacheable else _NO_CACHE,
            self._content_type_bytes,
            _date.line(),
        )
        for name, value in self.extra:
            head += b"%b: %b\r\n" % (name.encode(), _clean(value))
        if not keep_alive:
            head += b"Connection: close\r\n"
        elif request.version < (1, 1):
            head += b"Connection: keep-alive\r\n"
        if code == 304:
            head += b"\r\n"
            body = b""
        else:
            head += b"Content-Length: %d\r\n\r\n" % len(body)
            if request.method == "HEAD":
                body = b""
        if len(body) <= _ONE_WRITE_BYTES:
            transport.write(head + body)
        else:
            transport.write(head)
            try:
                async with asyncio.timeout(WRITE_SECONDS_MAX):
                    await _write_slowly(request, transport, body)
            except TimeoutError:
                # Nobody may keep a large answer in memory by not reading it.
                transport.abort()
                raise ConnectionResetError("the client does not read") from None
        self._eof_sent = True
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        assert not data


async def _write_slowly(request: web.BaseRequest, transport: asyncio.Transport, body: bytes) -> None:
    """In slices: TLS encrypts all that it is given and says only at the next write that nobody takes it."""
    view = memoryview(body)
    for at in range(0, len(view), _SLICE_BYTES):
        transport.write(view[at : at + _SLICE_BYTES])
        await request._payload_writer.drain()


def render(value: Object, media: Media = PLAIN) -> tuple[bytes, bytes]:
    """(body, content type) of a decoded object."""
    if media.type == YAML:
        return to_yaml(value), b"application/yaml"
    if media.pretty:
        return encoding.encode_pretty(value), _JSON_TYPE
    return encoding.encode(value) + b"\n", _JSON_TYPE


def render_bytes(raw: bytes, media: Media) -> tuple[bytes, bytes]:
    """(body, content type) of encoded JSON."""
    if media.type == YAML or media.pretty:
        return render(orjson.loads(raw), media)
    return raw, _JSON_TYPE


def to_yaml(value: Any) -> bytes:
    text: str = yaml.dump(value, Dumper=yaml.CSafeDumper, sort_keys=True, allow_unicode=True, width=2**31 - 1)
    return text.encode()


def compress(reply: Reply) -> None:
    """Compresses the body in place, at the level where it costs least."""
    reply.body = gzip.compress(reply.body, compresslevel=1)
    reply.add_header("Content-Encoding", "gzip")
    reply.add_header("Vary", "Accept-Encoding")


def add_warnings(reply: web.StreamResponse, warnings: list[str]) -> None:
    """``Warning: 299`` headers, each text once, at most 4 KiB in all as upstream: where they are more, each is cut
    to 256 characters, and then as many are told as fit."""
    texts = list(dict.fromkeys(warnings))[:_WARNINGS_MAX]
    if sum(map(len, texts)) >= _WARNINGS_BYTES_MAX:
        texts = [text[:_LONG_WARNING_BYTES_MAX] for text in texts]
    size = 0
    for text in texts:
        size += len(text)
        if size > _WARNINGS_BYTES_MAX:
            break
        quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
        if isinstance(reply, Reply):
            reply.add_header("Warning", f'299 - "{quoted}"')
        else:
            reply.headers.add("Warning", f'299 - "{quoted}"')


def error_reply(error: ApiError, media: Media = PLAIN) -> Reply:
    body, content_type = render(error.to_status(), media)
    code = error.code if error.code in _STATUS_LINES else 500
    reply = Reply(body, status=code, content_type=content_type)
    retry = error.retry_after_seconds
    if retry:
        reply.add_header("Retry-After", str(retry))
    return reply


def text_reply(text: str, status: int = 200) -> Reply:
    return Reply(
        text.encode(),
        status=status,
        content_type=b"text/plain; charset=utf-8",
        headers=(("X-Content-Type-Options", "nosniff"),),
    )
