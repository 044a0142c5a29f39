"""A watch on the wire: lines of JSON, or messages of a WebSocket, for as long as the client and the server want.

Frames that wait together leave in one write. A client that reads too slowly is cut off: its queue has overflowed and
its connection is aborted, without touching others. A version that is too old or from the future is told in the stream,
as an ERROR event, and not by the answer's status: as upstream, where everything after authorization and parsing is.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Protocol

from aiohttp import WSMsgType, web

from pybernetes.api.errors import ApiError, Expired, GatewayTimeout, NotAcceptable
from pybernetes.api.resources import Resource
from pybernetes.apiserver import encoding
from pybernetes.apiserver.authentication import WEBSOCKET_TOKEN_PREFIX
from pybernetes.apiserver.cacher import Cacher
from pybernetes.apiserver.entries import Frame
from pybernetes.apiserver.interfaces import RequestInfo
from pybernetes.apiserver.metrics import Metrics
from pybernetes.apiserver.negotiation import YAML, Media
from pybernetes.apiserver.operations import Operations
from pybernetes.apiserver.options import list_options
from pybernetes.apiserver.rendering import WatchRenderer
from pybernetes.apiserver.requests import Request
from pybernetes.apiserver.watching import Watcher
from pybernetes.lib.clock import Clock

BOOKMARK_SECONDS = 60.0
TIMEOUT_SECONDS_MIN = 1800
"""A watch without a timeout of its own lasts between this and twice this, as upstream's min-request-timeout."""

ENDING_SECONDS_MAX = 30.0
"""How long a client may take for the last of a watch that has run out; then it is cut off."""

_WRITE_BYTES = 256 * 1024
_MESSAGE_BYTES_MAX = 4096
"""Of a client's WebSocket message: it has nothing to say."""


class _Stream(Protocol):
    """The client's end of a watch."""

    response: web.StreamResponse

    async def start(self, request: Request, on_close: Callable[[], None]) -> None: ...
    async def write(self, lines: list[bytes]) -> None: ...
    async def close(self) -> None: ...
    def release(self) -> None: ...


class WatchStreams:
    """Serves watches over HTTP. `Cacher.end_watches` ends all of them in order, each after what is queued for it."""

    def __init__(self, operations: Operations, cacher: Cacher, metrics: Metrics, clock: Clock) -> None:
        self._operations = operations
        self._clock = clock
        self._cacher = cacher
        self._metrics = metrics

    async def serve(
        self,
        info: RequestInfo,
        request: Request,
        media: Media,
        headers: dict[str, str],
        initialized: Callable[[], None] = lambda: None,
    ) -> web.StreamResponse:
        """Raises what the start of a watch raises; once it has begun, it ends without an error. `initialized` is
        called as soon as the watch is set up: it costs little from then on."""
        resource = info.resource
        assert resource is not None
        if media.type == YAML:
            raise NotAcceptable("only the following media types are accepted: application/json;stream=watch")
        options = list_options(info.query, watch=True)
        renderer = WatchRenderer(info, media, self._clock) if media.transform else None
        headers["Cache-Control"] = "no-cache, private"
        headers["Content-Type"] = "application/json"
        stream: _Stream = _Messages(headers, _protocols(request)) if is_websocket(request) else _Lines(headers)
        try:
            watcher, initial_end = await self._operations.watch(info, options)
        except (Expired, GatewayTimeout) as error:
            initialized()
            return await _refuse(stream, request, error)
        initialized()
        loop = asyncio.get_running_loop()
        timeout = options.timeout_seconds or random.uniform(1, 2) * TIMEOUT_SECONDS_MIN
        timer = loop.call_at(loop.time() + timeout, lambda: watcher.end(self._cacher.revision))
        connection = request.connection
        connection.disconnected = watcher.end
        transport = request.transport
        cut: asyncio.TimerHandle | None = None
        if transport is not None:
            watcher.on_drop(transport.abort)
            cut = loop.call_at(loop.time() + max(0, timeout) + ENDING_SECONDS_MAX, transport.abort)
        try:
            await stream.start(request, watcher.end)
            await self._pump(resource, renderer, watcher, stream, initial_end, bookmarks=options.allow_watch_bookmarks)
            if watcher.dropped:
                self._metrics.dropped_watcher(resource)
            elif not (request.transport is None or request.transport.is_closing()):
                if options.allow_watch_bookmarks:
                    await stream.write([self._bookmark(resource, renderer, watcher.reached)])
                await stream.close()
        except ConnectionError:
            # The client is gone: nothing is left to tell it.
            stream.response.force_close()
        finally:
            connection.disconnected = None
            timer.cancel()
            if cut is not None:
                cut.cancel()
            stream.release()
            self._operations.detach(watcher)
        return stream.response

    async def _pump(
        self,
        resource: Resource,
        renderer: WatchRenderer | None,
        watcher: Watcher,
        stream: _Stream,
        initial_end: int | None,
        *,
        bookmarks: bool,
    ) -> None:
        """Carries events to the client until the watcher ends, with a bookmark about every minute."""
        loop = asyncio.get_running_loop()
        next_bookmark = loop.time() + BOOKMARK_SECONDS * random.uniform(0.9, 1.1)
        timer = loop.call_at(next_bookmark, watcher.wake) if bookmarks else None
        try:
            while True:
                # Where nothing is there yet, the end of the initial events is said at once: clients wait for it.
                frames = await watcher.next(wait=initial_end is None)
                # While this writes, the cache goes on: bookmarks speak of this moment and not of their own.
                watcher.caught_up(self._cacher.revision)
                ended, reached = watcher.ended, watcher.reached
                if frames:
                    await self._write(stream, resource, renderer, frames)
                if initial_end is not None:
                    if bookmarks:
                        await stream.write([self._bookmark(resource, renderer, reached, initial_events_end=True)])
                    initial_end = None
                if ended:
                    return
                if bookmarks and loop.time() >= next_bookmark:
                    await stream.write([self._bookmark(resource, renderer, reached)])
                    next_bookmark = loop.time() + BOOKMARK_SECONDS
                    timer = loop.call_at(next_bookmark, watcher.wake)
        finally:
            if timer is not None:
                timer.cancel()

    async def _write(
        self, stream: _Stream, resource: Resource, renderer: WatchRenderer | None, frames: list[Frame]
    ) -> None:
        self._metrics.sent_events(resource, len(frames))
        lines: list[bytes] = []
        size = 0
        for frame in frames:
            line = frame.line(resource) if renderer is None else renderer.line(frame)
            lines.append(line)
            size += len(line)
            if size >= _WRITE_BYTES:
                await stream.write(lines)
                lines = []
                size = 0
        if lines:
            await stream.write(lines)

    @staticmethod
    def _bookmark(
        resource: Resource, renderer: WatchRenderer | None, revision: int, *, initial_events_end: bool = False
    ) -> bytes:
        obj = encoding.bookmark_object(resource, revision, initial_events_end=initial_events_end)
        if renderer is not None:
            obj = renderer.bookmark(obj)
        return encoding.watch_frame("BOOKMARK", encoding.encode(obj))


def is_websocket(request: Request) -> bool:
    return (
        request.headers.get("Upgrade", "").lower() == "websocket"
        and "upgrade" in request.headers.get("Connection", "").lower()
    )


def _protocols(request: Request) -> list[str]:
    """The subprotocol to agree to: a browser that offers some hangs up without. A token is none."""
    offered = [p.strip() for p in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
    return [p for p in offered if p and not p.startswith(WEBSOCKET_TOKEN_PREFIX)][:1]


async def _refuse(stream: _Stream, request: Request, error: ApiError) -> web.StreamResponse:
    """A stream of one ERROR event."""
    try:
        await stream.start(request, lambda: None)
        await stream.write([encoding.watch_frame("ERROR", encoding.encode(error.to_status()))])
        await stream.close()
    except ConnectionError:
        stream.response.force_close()
    finally:
        stream.release()
    return stream.response


class _Lines:
    """A chunked answer, a line an event. Chunks go to the transport as they are: with a hundred watchers of one event,
    what a general writer does for each of them costs more than the encryption."""

    def __init__(self, headers: dict[str, str]) -> None:
        self.response = web.StreamResponse(headers=headers)
        self._request: Request | None = None

    async def start(self, request: Request, on_close: Callable[[], None]) -> None:
        self.response.enable_chunked_encoding()
        await self.response.prepare(request)
        # An HTTP/1.0 client gets the lines without chunks, by the general writer.
        self._request = request if self.response.chunked and request.version >= (1, 1) else None

    async def write(self, lines: list[bytes]) -> None:
        request = self._request
        data = lines[0] if len(lines) == 1 else b"".join(lines)
        if request is None:
            await self.response.write(data)
            return
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client is gone")
        transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        if request.connection.writing_paused:
            await request.drained()

    async def close(self) -> None:
        """The answer's end is the handler's return."""

    def release(self) -> None:
        """Nothing is held."""


class _Messages:
    """A WebSocket, a text message an event. What the client sends is ignored; its closing ends the watch."""

    def __init__(self, headers: dict[str, str], protocols: Sequence[str]) -> None:
        self._socket = web.WebSocketResponse(
            max_msg_size=_MESSAGE_BYTES_MAX, autoclose=True, compress=False, protocols=protocols
        )
        for name, value in headers.items():
            self._socket.headers[name] = value
        self.response: web.StreamResponse = self._socket
        self._reader: asyncio.Task[None] | None = None

    async def start(self, request: Request, on_close: Callable[[], None]) -> None:
        await self._socket.prepare(request)
        self._reader = asyncio.get_running_loop().create_task(self._read(on_close), name="apiserver/watch-socket")

    async def _read(self, on_close: Callable[[], None]) -> None:
        async for message in self._socket:
            if message.type is WSMsgType.ERROR:
                break
        on_close()

    async def write(self, lines: list[bytes]) -> None:
        if self._socket.closed:
            raise ConnectionResetError("the client closed the WebSocket")
        for line in lines:
            await self._socket.send_str(line.decode())

    async def close(self) -> None:
        if self._reader is not None:
            # Only one may read: the closing handshake reads for the client's answer.
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        await self._socket.close()

    def release(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
