"""A watch on the wire: lines of JSON for as long as the client and the server want, with bookmarks.

Frames that wait together leave in one write. A client that reads too slowly is cut off: its queue has overflowed and
its connection is aborted, without touching others.
"""

from __future__ import annotations

import asyncio
import random

from aiohttp import web

from pybernetes.api.resources import Resource
from pybernetes.apiserver import encoding
from pybernetes.apiserver.cacher import Cacher
from pybernetes.apiserver.entries import Frame
from pybernetes.apiserver.interfaces import RequestInfo
from pybernetes.apiserver.metrics import Metrics
from pybernetes.apiserver.negotiation import Media
from pybernetes.apiserver.operations import Operations
from pybernetes.apiserver.options import list_options
from pybernetes.apiserver.rendering import WatchRenderer
from pybernetes.apiserver.requests import Request
from pybernetes.lib.clock import Clock

BOOKMARK_SECONDS = 60.0
TIMEOUT_SECONDS_MIN = 1800
"""A watch without a timeout of its own lasts between this and twice this, as upstream's min-request-timeout."""

_WRITE_BYTES = 256 * 1024


class WatchStreams:
    """Serves watches over HTTP. `end` ends all of them in order, each after what is queued for it."""

    def __init__(self, operations: Operations, cacher: Cacher, metrics: Metrics, clock: Clock) -> None:
        self._operations = operations
        self._clock = clock
        self._cacher = cacher
        self._metrics = metrics

    async def serve(self, info: RequestInfo, request: Request, media: Media, audit_id: str) -> web.StreamResponse:
        """Raises what the start of a watch raises; once it has begun, it ends without an error."""
        resource = info.resource
        assert resource is not None
        options = list_options(info.query, watch=True)
        renderer = WatchRenderer(info, media, self._clock) if media.transform else None
        watcher, initial_end = await self._operations.watch(info, options)
        response = web.StreamResponse(
            headers={
                "Audit-Id": audit_id,
                "Cache-Control": "no-cache, private",
                "Content-Type": "application/json" if not media.transform else "application/json;stream=watch",
            }
        )
        loop = asyncio.get_running_loop()
        timeout = options.timeout_seconds or random.uniform(1, 2) * TIMEOUT_SECONDS_MIN
        deadline = loop.time() + timeout
        timer = loop.call_at(deadline, watcher.end)
        connection = request.connection
        connection.disconnected = watcher.end
        transport = request.transport
        if transport is not None:
            watcher.on_drop(transport.abort)
        bookmarks = options.allow_watch_bookmarks
        bookmark_timer: asyncio.TimerHandle | None = None
        next_bookmark = loop.time() + BOOKMARK_SECONDS * random.uniform(0.9, 1.1)
        try:
            response.enable_chunked_encoding()
            await response.prepare(request)
            if bookmarks:
                bookmark_timer = loop.call_at(next_bookmark, watcher.wake)
            while True:
                frames = await watcher.next()
                if frames:
                    await self._write(response, resource, renderer, frames)
                if initial_end is not None:
                    await response.write(self._bookmark(resource, renderer, initial_end, initial_events_end=True))
                    initial_end = None
                if watcher.ended:
                    break
                if bookmarks and loop.time() >= next_bookmark:
                    await response.write(self._bookmark(resource, renderer, self._cacher.revision))
                    next_bookmark = loop.time() + BOOKMARK_SECONDS
                    bookmark_timer = loop.call_at(next_bookmark, watcher.wake)
            if watcher.dropped:
                self._metrics.terminated_watchers.inc()
            elif bookmarks and not (request.transport is None or request.transport.is_closing()):
                await response.write(self._bookmark(resource, renderer, self._cacher.revision))
        except ConnectionError:
            # The client is gone: nothing is left to tell it.
            response.force_close()
        finally:
            connection.disconnected = None
            timer.cancel()
            if bookmark_timer is not None:
                bookmark_timer.cancel()
            self._operations.detach(watcher)
        return response

    async def _write(
        self,
        response: web.StreamResponse,
        resource: Resource,
        renderer: WatchRenderer | None,
        frames: list[Frame],
    ) -> None:
        self._metrics.watch_events.inc(len(frames))
        lines: list[bytes] = []
        size = 0
        for frame in frames:
            line = frame.line(resource) if renderer is None else renderer.line(frame)
            lines.append(line)
            size += len(line)
            if size >= _WRITE_BYTES:
                await response.write(b"".join(lines))
                lines.clear()
                size = 0
        if lines:
            await response.write(b"".join(lines))

    @staticmethod
    def _bookmark(
        resource: Resource, renderer: WatchRenderer | None, revision: int, *, initial_events_end: bool = False
    ) -> bytes:
        obj = encoding.bookmark_object(resource, revision, initial_events_end=initial_events_end)
        if renderer is not None:
            obj = renderer.bookmark(obj)
        return encoding.watch_frame("BOOKMARK", encoding.encode(obj))
