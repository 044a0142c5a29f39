"""One open watch: a bounded queue between the cache and whoever reads it.

The cache offers every change in its own step; the watcher filters and queues a reference. A watcher that falls
`QUEUE_FRAMES_MAX` events or about `QUEUE_BYTES_MAX` behind is dropped: its queue is cleared and the stream ends, and
nobody else notices. Its client watches again from the last version it saw.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from pybernetes.apiserver.entries import Change, Entry, Frame
from pybernetes.apiserver.selection import Selection

QUEUE_FRAMES_MAX = 20_000
"""A reference each: a burst of this size costs little, a client this far behind is stuck."""

QUEUE_BYTES_MAX = 64 * 1024 * 1024
"""Of objects that the queue alone may keep alive, which large ones reach long before the number of events."""

_CHECK_FRAMES = 64
"""The bytes are counted after so many events: an event at a time must cost nothing."""


class Watcher:
    """Made by the registry, fed by a `KindCache`, read by one consumer with `next`."""

    __slots__ = (
        "_bytes", "_check", "_counted", "_final", "_limit", "_on_drop", "_queue", "_waiter", "after", "bucket",
        "dropped", "ended", "reached", "selection",
    )  # fmt: skip

    def __init__(self, selection: Selection, *, after: int, limit: int | None = None) -> None:
        self.selection = selection
        self.bucket = selection.bucket
        self.after = after
        """Changes up to this revision are not for this watcher."""
        self.ended = False
        self.reached = after
        """Every change up to this revision has been handed out by `next`: what a bookmark may say."""
        self._final = 0
        self.dropped = False
        self._limit = QUEUE_FRAMES_MAX if limit is None else limit
        self._check = min(self._limit, _CHECK_FRAMES)
        """The length of the queue at which its bytes are counted next."""
        self._counted = 0
        self._bytes = 0
        self._queue: deque[Frame] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._on_drop: Callable[[], None] | None = None

    def on_drop(self, callback: Callable[[], None]) -> None:
        """Called when the watcher is dropped for being slow, to cut a consumer stuck in a write loose."""
        self._on_drop = callback

    def preload(self, entries: list[Entry]) -> None:
        """Queues ADDED for what is there already. It does not count against the limit: the cache holds it anyway."""
        self._limit += len(entries)
        self._counted = len(entries)
        self._check = min(self._limit, self._counted + _CHECK_FRAMES)
        self._queue.extend(Frame("ADDED", e) for e in entries)

    def offer(self, change: Change) -> None:
        if self.ended or change.revision <= self.after:
            return
        selection = self.selection
        if selection.everything and selection.name is None:
            # The bucket has seen to the namespace.
            frame = change.plain()
        else:
            previous = change.previous
            now = change.type != "DELETED" and selection.matches(change.entry)
            before = previous is not None and selection.matches(previous)
            if now:
                frame = change.plain() if before else change.entered()
            elif before:
                frame = change.left()
            else:
                return
        queue = self._queue
        if len(queue) >= self._check and self._is_too_much():
            self.dropped = True
            queue.clear()
            self.end()
            if self._on_drop is not None:
                self._on_drop()
            return
        queue.append(frame)
        self._wake()

    def _is_too_much(self) -> bool:
        """Counts what came since the last time."""
        queue = self._queue
        length = len(queue)
        for i in range(1, length - self._counted + 1):
            self._bytes += len(queue[-i].entry.raw)
        self._counted = length
        self._check = min(self._limit, length + _CHECK_FRAMES)
        return length >= self._limit or self._bytes > QUEUE_BYTES_MAX

    def end(self, revision: int = 0) -> None:
        """Ends the stream after what is queued. `revision`, where it is known, is the cache's: of later changes the
        watcher hears nothing."""
        if not self.ended:
            self.ended = True
            self._final = revision
        self._wake()

    def caught_up(self, revision: int) -> None:
        """Told by the consumer right after `next`, before it lets anybody else run: the cache's revision. Once the
        watcher has ended, the cache went on without it, and only what was handed out counts."""
        if not self.ended:
            self.reached = revision

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def wake(self) -> None:
        """Makes a waiting `next` return, with nothing if nothing came: for timers of the consumer."""
        self._wake()

    async def next(self, *, wait: bool = True) -> list[Frame]:
        """Everything queued, after waiting for something; empty where the watch ended or `wake` was called, and
        where nothing is queued and nothing is to be waited for."""
        if wait and not self._queue and not self.ended:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        frames = list(self._queue)
        self._queue.clear()
        if frames:
            self.reached = max(self.reached, frames[-1].entry.revision)
        if self.ended:
            self.reached = max(self.reached, self._final)
        self._check = min(self._limit, _CHECK_FRAMES)
        self._counted = self._bytes = 0
        return frames
