"""Port-forward as kubectl 1.31 and newer speak it: SPDY/3.1 inside the binary messages of a WebSocket.

The WebSocket ends here; what its messages carry goes on as one byte stream over an SPDY upgrade to the kubelet, and
the other way round. KEP-4006. Buffers as in `tunnel`; either side's end closes both.
"""

from __future__ import annotations

import asyncio

from aiohttp import WSMsgType, web

from pybernetes.apiserver.kubelets import dial_failure
from pybernetes.lib.tunnel import (
    Backend,
    DialError,
    Refusal,
    SocketFactory,
    TakenOver,
    Upstream,
    open_upgrade,
    refusal_response,
)

PORTFORWARD_PROTOCOL = "portforward.k8s.io"
TUNNEL_PROTOCOL = "SPDY/3.1+" + PORTFORWARD_PROTOCOL
_MAX_MESSAGE_BYTES = 4 * 1024 * 1024
_QUEUE_BYTES = 256 * 1024


async def run_portforward_tunnel(
    request: web.BaseRequest, backend: Backend, target: str, socket_factory: SocketFactory | None = None
) -> web.StreamResponse:
    """Joins the client's WebSocket with an SPDY connection to the kubelet, until either ends. Returns what the
    handler is to return; raises `InternalError` where the kubelet cannot be reached."""
    try:
        upstream, answer = await open_upgrade(
            backend,
            "POST",
            target,
            [
                ("Connection", "Upgrade"),
                ("Upgrade", "SPDY/3.1"),
                ("X-Stream-Protocol-Version", PORTFORWARD_PROTOCOL),
                ("Content-Length", "0"),
            ],
            socket_factory,
        )
    except DialError as error:
        raise dial_failure(error) from error
    if isinstance(answer, Refusal):
        return refusal_response(answer)
    socket = web.WebSocketResponse(protocols=(TUNNEL_PROTOCOL,), compress=False, max_msg_size=_MAX_MESSAGE_BYTES)
    try:
        await socket.prepare(request)
        await _Joint(socket, upstream).run()
    finally:
        upstream.close()
    return socket if socket.prepared else TakenOver(400)


class _Joint:
    """The two copying directions."""

    def __init__(self, socket: web.WebSocketResponse, upstream: Upstream) -> None:
        self._socket = socket
        self._upstream = upstream
        self._pending: asyncio.Queue[bytes] = asyncio.Queue()
        self._pending_bytes = 0
        self._writable = asyncio.Event()
        self._writable.set()

    async def run(self) -> None:
        """Copies until either side ends; what the kubelet sent before it ended still goes out."""
        self._upstream.start_copying(self._received, self._way)
        to_client = asyncio.ensure_future(self._to_client())
        tasks = [asyncio.ensure_future(self._to_kubelet()), to_client]
        try:
            await asyncio.wait([*tasks, self._upstream.ended], return_when=asyncio.FIRST_COMPLETED)
            if self._upstream.ended.done():
                flushed = asyncio.ensure_future(self._pending.join())
                tasks.append(flushed)
                await asyncio.wait([flushed, to_client], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            # A client that went away shows as an error of a task, and is an end like any other.
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._socket.close()

    def _received(self, data: bytes) -> None:
        self._pending.put_nowait(data)
        self._pending_bytes += len(data)
        if self._pending_bytes > _QUEUE_BYTES:
            self._upstream.pause_reading()

    def _way(self, writable: bool) -> None:
        if writable:
            self._writable.set()
        else:
            self._writable.clear()

    async def _to_kubelet(self) -> None:
        async for message in self._socket:
            if message.type is not WSMsgType.BINARY:
                return
            await self._writable.wait()
            self._upstream.write(message.data)

    async def _to_client(self) -> None:
        while True:
            data = await self._pending.get()
            await self._send(data)

    async def _send(self, data: bytes) -> None:
        await self._socket.send_bytes(data)
        # Reading resumes once, when the queue falls below its mark.
        was_full = self._pending_bytes > _QUEUE_BYTES
        self._pending_bytes -= len(data)
        if was_full and self._pending_bytes <= _QUEUE_BYTES:
            self._upstream.resume_reading()
        self._pending.task_done()
