"""The cluster DNS server of one node: UDP and TCP, answers from memory.

Lifecycle: `run` waits for the informers, claims the virtual IPs that are its to serve, binds and answers until it is
cancelled; `stop` takes the virtual IPs away again. Informers' events change the indexes at once, so an answer is as
fresh as the node's watch. What was answered is kept, by the bytes of the query, until the Service it depends on
changes. Everything runs on one event loop; a query from the cache costs two dictionary look-ups and a send.

Names outside the cluster's zone go to the upstream servers; where there are none they are refused at once, so that an
isolated pod does not wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import structlog

from pybernetes.api.meta import Object, key_of, name_of
from pybernetes.api.resources import ENDPOINTSLICES, NAMESPACES, SERVICES
from pybernetes.client.informer import Informers
from pybernetes.dns import address, wire
from pybernetes.dns.forward import Forwarder, Unanswered
from pybernetes.dns.records import Answer, Records, slice_service_key
from pybernetes.lib.tasks import TaskSet

_BY_SERVICE = "service"
_CACHE_LIMIT = 8192
_CONNECTIONS_LIMIT = 256
_IDLE_CONNECTION_SECONDS = 10.0
_ALIAS_LIMIT = 8
_MESSAGE_LIMIT_BYTES = 65535
# How many orders of one answer's records are kept, to be given in turn.
_ORDERS = 8

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class DNSStatistics:
    queries: int = 0
    cached: int = 0
    forwarded: int = 0
    refused: int = 0


class _Cached:
    """Answers to one query, without their numbers, given in turn."""

    __slots__ = ("messages", "next")

    def __init__(self, messages: list[bytes]) -> None:
        self.messages = messages
        self.next = 0

    def take(self) -> bytes:
        message = self.messages[self.next]
        self.next = (self.next + 1) % len(self.messages)
        return message


class AnswerCache:
    """Answers by query (all of it but its number), dropped with the Service they depend on; the least recently used
    go first when there are too many."""

    def __init__(self, limit: int = _CACHE_LIMIT) -> None:
        self._limit = limit
        self._answers: OrderedDict[bytes, _Cached] = OrderedDict()
        self._dependents: dict[str, set[bytes]] = {}
        self._depends_on: dict[bytes, str] = {}

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, query: bytes) -> bytes | None:
        found = self._answers.get(query)
        if found is None:
            return None
        self._answers.move_to_end(query)
        return found.take()

    def put(self, query: bytes, messages: list[bytes], depends_on: str) -> None:
        if len(self._answers) >= self._limit:
            self._drop(next(iter(self._answers)))
        self._answers[query] = _Cached(messages)
        self._depends_on[query] = depends_on
        self._dependents.setdefault(depends_on, set()).add(query)

    def _drop(self, query: bytes) -> None:
        del self._answers[query]
        key = self._depends_on.pop(query)
        dependents = self._dependents[key]
        dependents.discard(query)
        if not dependents:
            del self._dependents[key]

    def forget(self, key: str) -> None:
        for query in list(self._dependents.get(key, ())):
            self._drop(query)

    def clear(self) -> None:
        self._answers.clear()
        self._dependents.clear()
        self._depends_on.clear()


class DNSServer:
    """Answers on `addresses`, ``(ip, port)`` each. `claim` are those IPs that are put on the node's loopback first (the
    cluster DNS's virtual IP). `upstreams` are servers for other zones' names (see `forward.upstreams_of`)."""

    def __init__(
        self,
        informers: Informers,
        addresses: Sequence[tuple[str, int]],
        *,
        cluster_domain: str = "cluster.local",
        upstreams: Sequence[tuple[str, int]] = (),
        claim: Sequence[str] = (),
    ) -> None:
        self.statistics = DNSStatistics()
        self.records = Records(cluster_domain)
        self._addresses = tuple(addresses)
        self._claim = tuple(claim)
        self._forwarder = Forwarder(upstreams)
        self._cache = AnswerCache()
        self._serial = int(time.time())
        self._tasks = TaskSet("dns")
        self._connections = 0
        self._ready = asyncio.Event()
        self._services = informers.for_(SERVICES)
        self._slices = informers.for_(ENDPOINTSLICES)
        self._namespaces = informers.for_(NAMESPACES)
        self._slices.cache.add_index(_BY_SERVICE, lambda s: (slice_service_key(s),))
        self._services.add_handler(self._on_service)
        self._slices.add_handler(self._on_slice)
        self._namespaces.add_handler(self._on_namespace)

    # --- the indexes

    def _changed(self, key: str) -> None:
        self._serial = max(self._serial, int(time.time()))
        self._cache.forget(key)

    def _on_service(self, old: Object | None, new: Object | None) -> None:
        if old is not None and new is not None and old.get("spec") == new.get("spec"):
            return
        key = key_of(cast(Object, new or old))
        self.records.set_service(key, new)
        self._changed(key)

    def _on_slice(self, old: Object | None, new: Object | None) -> None:
        for key in {slice_service_key(s) for s in (old, new) if s is not None}:
            if key:
                self.records.set_endpoints(key, self._slices.cache.by_index(_BY_SERVICE, key))
                self._changed(key)

    def _on_namespace(self, old: Object | None, new: Object | None) -> None:
        if old is not None and new is not None:
            return
        self.records.set_namespace(name_of(cast(Object, new or old)), new is not None)
        self._cache.clear()

    # --- its life

    async def ready(self) -> None:
        """Waits until queries are answered."""
        await self._ready.wait()

    async def run(self) -> None:
        """Answers until cancelled. Raises `OSError` where an address cannot be had."""
        for informer in (self._services, self._slices, self._namespaces):
            await informer.synced()
        for ip in self._claim:
            await asyncio.to_thread(address.claim, ip)
        loop = asyncio.get_running_loop()
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self._tasks.cancel)
            for ip, port in self._addresses:
                transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), local_addr=(ip, port))
                stack.callback(transport.close)
                server = await asyncio.start_server(self._serve_connection, ip, port)
                stack.callback(server.close)
            self._ready.set()
            log.info("cluster DNS answers", addresses=[f"{ip}:{port}" for ip, port in self._addresses])
            await loop.create_future()

    async def stop(self) -> None:
        """Takes the claimed addresses away, after `run` was cancelled."""
        for ip in self._claim:
            await asyncio.to_thread(address.release, ip)

    # --- queries

    def datagram(self, data: bytes, reply_to: Any, transport: asyncio.DatagramTransport) -> None:
        self.statistics.queries += 1
        cached = self._cache.get(data[2:])
        if cached is not None:
            self.statistics.cached += 1
            transport.sendto(data[:2] + cached, reply_to)
            return
        reply = self._answer(data, datagram=True)
        if isinstance(reply, bytes):
            if reply:
                transport.sendto(reply, reply_to)
            return

        async def later() -> None:
            message = await reply
            if message and not transport.is_closing():
                transport.sendto(message, reply_to)

        self._tasks.start(later(), name="query")

    async def _serve_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._connections >= _CONNECTIONS_LIMIT:
            writer.close()
            return
        self._connections += 1
        try:
            while True:
                async with asyncio.timeout(_IDLE_CONNECTION_SECONDS):
                    data = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
                self.statistics.queries += 1
                reply = self._answer(data, datagram=False)
                message = reply if isinstance(reply, bytes) else await reply
                if not message:
                    return
                writer.write(len(message).to_bytes(2, "big") + message)
                async with asyncio.timeout(_IDLE_CONNECTION_SECONDS):
                    await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            # An asker that is slow or gone; it has other ways to ask again.
            return
        finally:
            self._connections -= 1
            writer.close()

    def _answer(self, data: bytes, *, datagram: bool) -> Any:
        """The reply's bytes (empty for none), or an awaitable of them where others have to be asked."""
        try:
            query = wire.read(data)
        except wire.BadQuery as error:
            return error.reply
        found = self.records.lookup(query.name, query.kind)
        if found is None:
            return self._forward(query, data, datagram)
        if found.alias:
            return self._follow(query, found, datagram)
        soa = self.records.soa(self._serial)
        if datagram and found.depends_on:
            messages = [wire.answer(query, f, soa, datagram=True) for f in _orders(found)]
            self._cache.put(data[2:], [m[2:] for m in messages], found.depends_on)
            return messages[0]
        return wire.answer(query, found, soa, datagram=datagram)

    def _forward(self, query: wire.Query, data: bytes, datagram: bool) -> Any:
        if not self._forwarder.upstreams:
            self.statistics.refused += 1
            return wire.failure(query, "REFUSED")
        self.statistics.forwarded += 1
        return self._ask_upstream(query, data, datagram)

    async def _ask_upstream(self, query: wire.Query, data: bytes, datagram: bool) -> bytes:
        try:
            return await self._forwarder.ask(data, datagram=datagram)
        except Unanswered as error:
            log.debug("not answered upstream", name=query.name, error=str(error))
            return wire.failure(query, "SERVFAIL")

    async def _follow(self, query: wire.Query, found: Answer, datagram: bool) -> bytes:
        """Adds what the alias's target says: from the zone, or from upstream."""
        records = list(found.records)
        followed: list[Any] = []
        target = found.alias
        for _ in range(_ALIAS_LIMIT):
            inside = self.records.lookup(target, query.kind)
            if inside is None:
                if self._forwarder.upstreams:
                    question = wire.question(target, query.kind, secrets.randbelow(1 << 16))
                    with contextlib.suppress(Unanswered):
                        followed = wire.answers_of(await self._forwarder.ask(question, datagram=False))
                break
            records += inside.records
            if not inside.alias:
                break
            target = inside.alias
        complete = replace(found, records=tuple(dict.fromkeys(records)))
        return wire.answer(query, complete, self.records.soa(self._serial), followed=followed, datagram=datagram)


def _orders(found: Answer) -> list[Answer]:
    """The answer with its records in several orders, so that askers who take the first spread over all."""
    count = len(found.records)
    if count < 2:
        return [found]
    starts = random.sample(range(count), min(count, _ORDERS))
    return [replace(found, records=found.records[start:] + found.records[:start]) for start in starts]


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: DNSServer) -> None:
        self._server = server
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._server.datagram(data, addr, self._transport)

    def error_received(self, exc: Exception) -> None:
        # An asker whose port is closed by the time we answer.
        log.debug("datagram not delivered", error=str(exc))
