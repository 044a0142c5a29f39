"""Names of other zones: asked of the servers that a resolv.conf names, in order, in bounded time.

A query goes out as it came, from a socket of its own with a number of its own, so that an answer cannot be guessed
more easily than the kernel's choice of port allows; the answer goes back as it came. At most `limit` are under way.
"""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
from collections.abc import Sequence
from pathlib import Path

ATTEMPT_SECONDS = 2.0
ATTEMPTS = 2
LIMIT = 512


class Unanswered(Exception):
    """No server answered in time, or too many queries are under way already."""


def upstreams_of(resolv_conf: Path, *, own_addresses: Sequence[str] = ()) -> list[tuple[str, int]]:
    """The servers in a resolv.conf but ourselves; empty where there is no such file. At most three, as resolvers
    have it."""
    try:
        lines = resolv_conf.read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            try:
                address = str(ipaddress.ip_address(words[1].partition("%")[0]))
            except ValueError:
                continue
            if address not in own_addresses:
                found.append((address, 53))
    return found[:3]


class _Exchange(asyncio.DatagramProtocol):
    def __init__(self, id_: bytes) -> None:
        self._id = id_
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:
        # The socket is connected: only the server's own datagrams arrive.
        if len(data) >= 12 and data[:2] == self._id and data[2] & 0x80 and not self.answer.done():
            self.answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)


class Forwarder:
    """Asks `upstreams`, ``(address, port)`` each; without any, `ask` fails at once."""

    def __init__(
        self, upstreams: Sequence[tuple[str, int]], *, attempt_seconds: float = ATTEMPT_SECONDS, limit: int = LIMIT
    ) -> None:
        self.upstreams = tuple(upstreams)
        self._attempt_seconds = attempt_seconds
        self._limit = limit
        self.under_way = 0

    async def ask(self, query: bytes, *, datagram: bool) -> bytes:
        """The first answer to the query, under the query's own number. Raises `Unanswered`."""
        if self.under_way >= self._limit:
            raise Unanswered("too many queries under way")
        self.under_way += 1
        try:
            last: Exception | None = None
            for _ in range(ATTEMPTS):
                for server in self.upstreams:
                    try:
                        async with asyncio.timeout(self._attempt_seconds):
                            ask = self._by_datagram if datagram else self._by_stream
                            return query[:2] + (await ask(query, server))[2:]
                    except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                        last = error
            raise Unanswered(f"no server answers: {last}") from last
        finally:
            self.under_way -= 1

    async def _by_datagram(self, query: bytes, server: tuple[str, int]) -> bytes:
        id_ = secrets.token_bytes(2)
        loop = asyncio.get_running_loop()
        transport, exchange = await loop.create_datagram_endpoint(lambda: _Exchange(id_), remote_addr=server)
        try:
            transport.sendto(id_ + query[2:])
            return await exchange.answer
        finally:
            transport.close()

    async def _by_stream(self, query: bytes, server: tuple[str, int]) -> bytes:
        reader, writer = await asyncio.open_connection(*server)
        try:
            writer.write(len(query).to_bytes(2, "big") + query)
            await writer.drain()
            return await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        finally:
            writer.close()
