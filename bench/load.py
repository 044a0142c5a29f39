"""The load: HTTP/1.1 requests made before, over TLS connections that are kept, one request in flight on each.

A connection is a bare protocol on uvloop that looks for the end of an answer and nothing else, so that the client costs
far less than any server it measures. A request is bytes; an answer is its status, and its body where asked for.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast


class LoadError(Exception):
    """An answer that the benchmark did not ask for, or a connection that ended."""


def request(
    method: str, path: str, body: bytes = b"", content_type: str = "application/json", accept: str = ""
) -> bytes:
    """The bytes of a request, as a client library sends it."""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench/1\r\n"
    head += f"Accept: {accept or 'application/json'}\r\n"
    if body:
        head += f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


class Connection(asyncio.Protocol):
    """One request after another on one connection."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._needed = 0
        self._received = 0
        self._parts: list[bytes] = []
        self._status = 0
        self._waiter: asyncio.Future[int] | None = None
        self._source: Iterator[bytes] | None = None
        self._expected = 0
        self._done = 0
        self._deadline = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it

    def connection_lost(self, exc: BaseException | None) -> None:
        self._fail(LoadError(f"the connection ended: {exc}"))

    def _fail(self, error: Exception) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)

    def data_received(self, data: bytes) -> None:
        if self._needed:
            self._parts.append(data)
            self._received += len(data)
            if self._received < self._needed:
                return
        else:
            data = self._buffer + data if self._buffer else data
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._buffer = data
                return
            self._buffer = b""
            self._status = int(data[9:12])
            at = data.find(b"Content-Length: ")
            length = int(data[at + 16 : data.index(b"\r", at)])
            self._parts = [data[end + 4 :]]
            self._received = len(data) - end - 4
            if self._received < length:
                self._needed = length
                return
        self._needed = 0
        self._answered()

    def _answered(self) -> None:
        if self._status != self._expected:
            self._fail(LoadError(f"answer {self._status}: {b''.join(self._parts)[:500]!r}"))
            return
        self._done += 1
        source = self._source
        if source is not None and time.perf_counter() < self._deadline:
            following = next(source, None)
            if following is not None:
                assert self._transport is not None
                self._transport.write(following)
                return
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(self._done)

    async def run(self, source: Iterator[bytes], deadline: float, expected: int = 200) -> int:
        """Sends the requests of `source`, which connections may share, until the deadline (by time.perf_counter) or
        its end; how many were answered. Raises `LoadError`."""
        first = next(source, None)
        if first is None:
            return 0
        self._done, self._expected, self._source, self._deadline = 0, expected, source, deadline
        self._waiter = asyncio.get_running_loop().create_future()
        assert self._transport is not None
        self._transport.write(first)
        return await self._waiter

    async def fetch(self, message: bytes, expected: int = 200) -> bytes:
        """The body of one answer. Raises `LoadError`."""
        await self.run(iter([message]), 0.0, expected)
        return b"".join(self._parts)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


@dataclass(frozen=True)
class Target:
    """Where a server listens, and as whom to speak to it."""

    port: int
    context: ssl.SSLContext

    async def connect(self, count: int) -> list[Connection]:
        loop = asyncio.get_running_loop()

        async def one() -> Connection:
            _, connection = await loop.create_connection(Connection, "127.0.0.1", self.port, ssl=self.context)
            return connection

        return list(await asyncio.gather(*(one() for _ in range(count))))

    async def fetch(self, message: bytes, expected: int = 200) -> bytes:
        connection = (await self.connect(1))[0]
        try:
            return await connection.fetch(message, expected)
        finally:
            connection.close()


async def rate(connections: list[Connection], source: Iterator[bytes], seconds: float, expected: int = 200) -> float:
    """Answers a second over all connections, for about `seconds` or until `source` ends."""
    started = time.perf_counter()
    counts = await asyncio.gather(*(c.run(source, started + seconds, expected) for c in connections))
    return sum(counts) / (time.perf_counter() - started)


class Stream(asyncio.Protocol):
    """One long answer, of which lines are counted and nothing else."""

    def __init__(self, message: bytes, lines_wanted: int) -> None:
        self._message = message
        self._wanted = lines_wanted
        self._transport: asyncio.Transport | None = None
        self._head = b""
        self._chunk_ends = 0
        loop = asyncio.get_running_loop()
        self.begun: asyncio.Future[None] = loop.create_future()
        self.done: asyncio.Future[None] = loop.create_future()
        self.lines = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._message)

    def connection_lost(self, exc: BaseException | None) -> None:
        for future in (self.begun, self.done):
            if not future.done():
                future.set_exception(LoadError(f"the stream ended after {self.lines} lines: {exc}"))

    def data_received(self, data: bytes) -> None:
        if not self.begun.done():
            self._head += data
            if b"\r\n\r\n" not in self._head:
                return
            if not self._head.startswith(b"HTTP/1.1 200"):
                self.begun.set_exception(LoadError(repr(self._head[:300])))
                return
            self.begun.set_result(None)
            data = self._head.partition(b"\r\n\r\n")[2]
        # Objects end with "}\n"; the chunks' own line ends have a "\r" before them.
        self.lines += data.count(b"}\n")
        if self.lines >= self._wanted and not self.done.done():
            self.done.set_result(None)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


async def open_streams(target: Target, message: bytes, count: int, lines_wanted: int) -> list[Stream]:
    """Streams whose answers have begun."""
    loop = asyncio.get_running_loop()

    async def one() -> Stream:
        _, stream = await loop.create_connection(
            lambda: Stream(message, lines_wanted), "127.0.0.1", target.port, ssl=target.context
        )
        await stream.begun
        return stream

    return list(await asyncio.gather(*(one() for _ in range(count))))
