"""Delivery of committed changes to the watchers of a store.

One event loop owns a hub. Each watcher has a bounded queue: one that falls `limit_events` behind is dropped with
`WatchOverflow` and hurts nobody else.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable

from pybernetes.store.interface import Event, StoreClosed, StoreError, WatchBatch, WatchOverflow

LIMIT_EVENTS = 100_000


def in_range(key: str, start: str, end: str) -> bool:
    """Whether the key is in [start, end), or is `start` where end is empty."""
    return start <= key < end if end else key == start


class HubWatch:
    """One open watch; made by `WatchHub.subscribe`."""

    def __init__(self, hub: WatchHub, start: str, end: str, from_revision: int, limit_events: int) -> None:
        self._hub = hub
        self._from_revision = from_revision
        self._start = start
        self._end = end
        self._limit = limit_events
        self._queue: deque[WatchBatch] = deque()
        self._waiting_events = 0
        self._wakeup = asyncio.Event()
        self._error: StoreError | None = None

    def __aiter__(self) -> AsyncIterator[WatchBatch]:
        return self

    async def __anext__(self) -> WatchBatch:
        while not self._queue:
            if self._error is not None:
                raise self._error
            self._wakeup.clear()
            await self._wakeup.wait()
        batch = self._queue.popleft()
        self._waiting_events -= len(batch.events)
        return batch

    def deliver(self, batch: WatchBatch) -> None:
        """Queues what of the batch is in this watch's range; an empty rest still tells the revision."""
        if batch.revision < self._from_revision:
            return
        events = [e for e in batch.events if in_range(e.key, self._start, self._end)]
        if not events and self._queue and not self._queue[-1].events:
            # Of several bare progress notes only the last says anything.
            self._queue[-1] = WatchBatch([], batch.revision)
            return
        if self._waiting_events + len(events) > self._limit:
            self.fail(WatchOverflow(f"watcher fell {self._limit} events behind"))
            return
        self._waiting_events += len(events)
        self._queue.append(batch if len(events) == len(batch.events) else WatchBatch(events, batch.revision))
        self._wakeup.set()

    def prepend(self, batches: list[WatchBatch]) -> None:
        """Puts history before what was delivered since the subscription."""
        for batch in reversed(batches):
            self._queue.appendleft(batch)
            self._waiting_events += len(batch.events)
        self._wakeup.set()

    def fail(self, error: StoreError) -> None:
        """Ends the watch, after what is queued was read."""
        self._error = error
        self._hub.unsubscribe(self)
        self._wakeup.set()

    async def close(self) -> None:
        self._queue.clear()
        self.fail(StoreClosed("the watch was closed"))


class WatchHub:
    """The open watches of a store."""

    def __init__(self, limit_events: int = LIMIT_EVENTS) -> None:
        self._watches: dict[HubWatch, None] = {}
        self._limit = limit_events

    def __len__(self) -> int:
        return len(self._watches)

    def subscribe(self, start: str, end: str, from_revision: int = 0) -> HubWatch:
        """Nothing older than `from_revision` will be delivered."""
        watch = HubWatch(self, start, end, from_revision, self._limit)
        self._watches[watch] = None
        return watch

    def unsubscribe(self, watch: HubWatch) -> None:
        self._watches.pop(watch, None)

    def publish(self, batch: WatchBatch) -> None:
        for watch in list(self._watches):
            watch.deliver(batch)

    def fail_all(self, error: StoreError) -> None:
        for watch in list(self._watches):
            watch.fail(error)


def group_by_revision(events: Iterable[Event]) -> list[WatchBatch]:
    """Events in order, gathered into one batch a revision."""
    batches: list[WatchBatch] = []
    for event in events:
        if batches and batches[-1].revision == event.mod_revision:
            batches[-1].events.append(event)
        else:
            batches.append(WatchBatch([event], event.mod_revision))
    return batches
