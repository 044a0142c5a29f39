"""NodePorts of a local cluster, published on the host: 127.0.0.1:PORT relays to PORT of a node, inside the cluster.

The listening socket lives on the host, the outgoing one in the cluster's namespace, so the two networks stay apart.
TCP only. A port that the host uses already is told as a Warning event of its Service and tried again, less and less
often; nothing else depends on it. Connections are bounded; those beyond the bound are reset.

Lifecycle: `run` until cancelled; then nothing listens any more and every relayed connection is cut. One event loop.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterable
from typing import cast

import structlog

from pybernetes.api.meta import Object, key_of, object_reference
from pybernetes.client.events import WARNING, EventRecorder
from pybernetes.client.informer import Informer
from pybernetes.cluster.netns import Namespace
from pybernetes.lib.tasks import TaskSet
from pybernetes.lib.workqueue import WorkQueue, run_workers

_CONNECTIONS_MAX = 4096
_DIAL_TIMEOUT_SECONDS = 3.0
_BACKLOG = 512
_WRITE_BUFFER_BYTES = 256 << 10

log = structlog.get_logger(__name__)


def node_ports(service: Object) -> list[int]:
    """The TCP node ports that a Service holds."""
    spec = service.get("spec") or {}
    if spec.get("type") not in ("NodePort", "LoadBalancer") or service["metadata"].get("deletionTimestamp"):
        return []
    return [p["nodePort"] for p in spec.get("ports") or () if p.get("nodePort") and p.get("protocol", "TCP") == "TCP"]


def node_addresses(nodes: Iterable[Object]) -> list[str]:
    """Where to connect to, the best first: Ready nodes before others, then by name."""
    found = []
    for node in nodes:
        status = node.get("status") or {}
        ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in status.get("conditions") or ())
        for address in status.get("addresses") or ():
            if address.get("type") == "InternalIP" and ":" not in address["address"]:
                found.append((not ready, node["metadata"]["name"], address["address"]))
                break
    return [address for _, _, address in sorted(found)]


class _Side(asyncio.Protocol):
    """One side of a relayed connection: what it receives goes to the other side, no faster than that one takes it."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.peer: _Side | None = None
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)

    def data_received(self, data: bytes) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.write(data)

    def eof_received(self) -> bool:
        self._ended = True
        peer = self.peer.transport if self.peer else None
        if self.peer is None or peer is None or peer.is_closing():
            return False
        peer.write_eof()
        if self.peer._ended:
            # Both directions have ended; closing sends what is still buffered first.
            peer.close()
            return False
        return True

    def pause_writing(self) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.peer is not None and self.peer.transport is not None and not self.peer.transport.is_closing():
            self.peer.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.peer is not None and self.peer.transport is not None:
            if exc is None:
                self.peer.transport.close()
            else:
                self.peer.reset()

    def reset(self) -> None:
        """Cuts the connection so that its other end sees an error and not an orderly end."""
        if self.transport is None or self.transport.is_closing():
            return
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


class _Front(_Side):
    """The side that a client on the host connected to."""

    def __init__(self, publisher: NodePortPublisher, port: int) -> None:
        super().__init__()
        self._publisher = publisher
        self._port = port
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self.transport is not None
        # Nothing is read before there is somebody to give it to. (uvloop begins to read after this all the same.)
        self.transport.pause_reading()
        self._publisher._accepted(self, self._port)

    def data_received(self, data: bytes) -> None:
        if self.peer is None and self.transport is not None:
            self._early.append(data)
            self.transport.pause_reading()
        else:
            super().data_received(data)

    def join(self, back: _Side) -> None:
        """The other side is there: what came early goes first."""
        self.peer = back
        early, self._early = self._early, []
        for data in early:
            super().data_received(data)
        assert self.transport is not None
        self.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._publisher._ended(self)


class NodePortPublisher:
    """Publishes what the informer of Services says; `nodes` says where connections go."""

    def __init__(
        self,
        services: Informer,
        nodes: Informer,
        namespace: Namespace,
        recorder: EventRecorder,
        *,
        host: str = "127.0.0.1",
    ) -> None:
        self._services = services
        self._nodes = nodes
        self._namespace = namespace
        self._recorder = recorder
        self._host = host
        self._queue: WorkQueue[int] = WorkQueue(base_delay_seconds=1.0, max_delay_seconds=60.0)
        # port -> keys of the Services that hold it: one in any steady state, two for a moment as it changes hands.
        self._wanted: dict[int, dict[str, Object]] = {}
        self._servers: dict[int, asyncio.Server] = {}
        self._told: set[int] = set()
        self._fronts: set[_Front] = set()
        self._dialling = TaskSet("nodeport")
        self._last_good: dict[int, str] = {}

    @property
    def ports(self) -> list[int]:
        """The ports that are published now."""
        return sorted(self._servers)

    def statistics(self) -> dict[str, int]:
        return {"ports": len(self._servers), "connections": len(self._fronts)}

    async def run(self) -> None:
        self._services.add_handler(self._changed)
        try:
            await run_workers(self._queue, self._reconcile, workers=1, name="node-ports")
        finally:
            self._queue.close()
            for server in self._servers.values():
                server.close()
            self._servers.clear()
            await self._dialling.cancel()
            for front in list(self._fronts):
                front.reset()

    def _changed(self, old: Object | None, new: Object | None) -> None:
        key = key_of(new or old or {})
        now = set(node_ports(new)) if new is not None else set()
        before = {port for port, holders in self._wanted.items() if key in holders}
        for port in now:
            assert new is not None
            self._wanted.setdefault(port, {})[key] = new
        for port in before - now:
            holders = self._wanted[port]
            del holders[key]
            if not holders:
                del self._wanted[port]
        for port in now ^ before:
            self._queue.add(port)

    async def _reconcile(self, port: int) -> None:
        """Raises OSError where the port is taken, which the queue retries with back-off."""
        wanted, server = self._wanted.get(port), self._servers.get(port)
        if wanted is None:
            self._told.discard(port)
            self._last_good.pop(port, None)
            if server is not None:
                del self._servers[port]
                server.close()
                log.info("node port withdrawn", port=port)
        elif server is None:
            try:
                self._servers[port] = await asyncio.get_running_loop().create_server(
                    lambda: _Front(self, port), self._host, port, backlog=_BACKLOG, reuse_address=True
                )
            except OSError as error:
                if port not in self._told:
                    self._told.add(port)
                    service = next(iter(wanted.values()))
                    self._recorder.event(
                        object_reference(service, "v1", "Service"),
                        WARNING,
                        "NodePortNotPublished",
                        f"cannot listen on {self._host}:{port} of the host: {error.strerror or error}",
                    )
                raise
            self._told.discard(port)
            log.info("node port published", port=port, service=next(iter(wanted)))

    # Connections.

    def _accepted(self, front: _Front, port: int) -> None:
        if len(self._fronts) >= _CONNECTIONS_MAX:
            log.warning("too many connections", port=port, limit=_CONNECTIONS_MAX)
            front.reset()
            return
        self._fronts.add(front)
        self._dialling.start(self._connect(front, port), name=str(port))

    def _ended(self, front: _Front) -> None:
        self._fronts.discard(front)

    async def _connect(self, front: _Front, port: int) -> None:
        """Finds a node that answers. One that did comes first the next time, so that all connections to a port take
        one way and the node's round robin counts them all."""
        addresses = node_addresses(self._nodes.cache)
        if (good := self._last_good.get(port)) in addresses:
            addresses.remove(good)
            addresses.insert(0, good)
        for address in addresses:
            back = _Side()
            back.peer = front
            try:
                await self._dial(back, address, port)
            except (OSError, TimeoutError) as error:
                log.debug("node does not take the connection", node=address, port=port, error=str(error))
                continue
            self._last_good[port] = address
            if front.transport is None or front.transport.is_closing():
                back.reset()
                return
            front.join(back)
            return
        front.reset()

    async def _dial(self, back: _Side, address: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        sock = self._namespace.new_socket()
        sock.setblocking(False)
        try:
            async with asyncio.timeout(_DIAL_TIMEOUT_SECONDS):
                await loop.sock_connect(sock, (address, port))
                await loop.create_connection(lambda: back, sock=sock)
        except BaseException:
            sock.close()
            raise
