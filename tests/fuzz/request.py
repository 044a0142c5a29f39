"""What is sent: one request, or bytes that are none, and cases of several in their order.

A case is what one client sends, one after the other. Requests of other cases are under way beside it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

_SHOWN = 2000


@dataclass(frozen=True, slots=True)
class Prior:
    """A value out of the answer before in the same case: `path` below it, with some characters replaced.

    `edits` are (place, text); a place counts modulo the value's length. Where the answer has no such value, it is "".
    """

    path: tuple[str, ...]
    edits: Sequence[tuple[int, str]] = ()

    def of(self, answer: Any) -> str:
        for key in self.path:
            answer = answer.get(key) if isinstance(answer, dict) else None
        value = answer if isinstance(answer, str) else ""
        for place, text in self.edits:
            at = place % (len(value) + 1)
            value = value[:at] + text + value[at + 1 :]
        return value


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it goes over the wire; `source` says who made it up."""

    source: str
    method: str
    path: str
    query: Sequence[tuple[str, str | Prior]] = ()
    body: bytes | None = None
    headers: Sequence[tuple[str, str]] = ()
    chunks: int = 0
    """With a number the body goes in so many chunks, not with its length."""
    patience_seconds: float = 0.0
    """With a number the client goes away when the answer, which may have no end, took so long."""

    @property
    def target(self) -> str:
        query = [(k, v if isinstance(v, str) else repr(v)) for k, v in self.query]
        return self.path + ("?" + urlencode(query, errors="surrogatepass") if query else "")

    def settled(self, answer: Any) -> Request:
        """With the values of the answer before."""
        if all(isinstance(v, str) for _, v in self.query):
            return self
        query = [(k, v if isinstance(v, str) else v.of(answer)) for k, v in self.query]
        return Request(
            self.source, self.method, self.path, query, self.body, self.headers, self.chunks, self.patience_seconds
        )

    @property
    def data(self) -> bytes:
        lines = [f"{self.method} {self.target} HTTP/1.1", "Host: fuzzed"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        body = self.body or b""
        if self.chunks:
            lines.append("Transfer-Encoding: chunked")
            size = max(1, -(-len(body) // self.chunks))
            parts = [body[at : at + size] for at in range(0, len(body), size)]
            body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
        elif self.body is not None or self.method in ("POST", "PUT", "PATCH"):
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join(lines).encode("utf-8", "surrogatepass") + b"\r\n\r\n" + body

    def __str__(self) -> str:
        text = f"{self.source}: {self.method} {self.target}"
        for name, value in self.headers:
            text += f"\n    {name}: {value[:_SHOWN]}"
        return text + (f"\n    {self.body[:_SHOWN]!r}" if self.body is not None else "")


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes, in pieces that are sent one by one on a connection of their own."""

    source: str
    pieces: Sequence[bytes]
    methods: Sequence[str] = ()
    """Of the requests in it that are whole, in their order: each is answered, or the connection is closed. With none
    the client goes away as soon as it has sent the pieces."""
    patience_seconds: float = 0.0

    @property
    def method(self) -> str:
        return self.methods[0] if self.methods else ""

    def __str__(self) -> str:
        return f"{self.source}: {self.methods} in pieces\n" + "\n".join(f"    {p[:_SHOWN]!r}" for p in self.pieces)


Case = tuple[Request | Raw, ...]


def encoded(value: Any) -> bytes:
    """JSON, also of what has no UTF-8 form or no end."""
    return json.dumps(value).encode()


def token(value: Any) -> str:
    """A continue token's outer form."""
    return base64.urlsafe_b64encode(encoded(value)).decode().rstrip("=")
