"""A work queue of keys, as controllers use it: a key waits at most once, is worked on by at most one worker,
and a key added while it is worked on comes again afterwards.

Bounded by the number of distinct keys. One event loop owns a queue; nothing here is thread-safe.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import structlog

K = TypeVar("K")

log = structlog.get_logger(__name__)


class ShutDown(Exception):
    """The queue was shut down; no key will come any more."""


class WorkQueue(Generic[K]):
    """Keys in order of arrival, deduplicated, with delayed and rate-limited re-adding.

    Back-off of `add_rate_limited` doubles from `base_delay_seconds` to `max_delay_seconds` per key until
    `forget`.
    """

    def __init__(self, *, base_delay_seconds: float = 0.005, max_delay_seconds: float = 60.0) -> None:
        self._base = base_delay_seconds
        self._max = max_delay_seconds
        self._queue: deque[K] = deque()
        self._waiting: set[K] = set()
        self._working: set[K] = set()
        self._failures: dict[K, int] = {}
        self._timers: dict[K, tuple[float, asyncio.TimerHandle]] = {}
        self._wakeup = asyncio.Event()
        self._closed = False

    def __len__(self) -> int:
        return len(self._queue)

    def statistics(self) -> dict[str, int]:
        return {"queued": len(self._queue), "working": len(self._working), "delayed": len(self._timers)}

    def add(self, key: K) -> None:
        if self._closed or key in self._waiting:
            return
        self._waiting.add(key)
        if key not in self._working:
            self._queue.append(key)
            self._wakeup.set()

    def add_after(self, key: K, delay_seconds: float) -> None:
        """Adds the key later; of two delays for one key the earlier holds."""
        if self._closed:
            return
        if delay_seconds <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + delay_seconds
        pending = self._timers.get(key)
        if pending is not None:
            if pending[0] <= due:
                return
            pending[1].cancel()
        self._timers[key] = (due, loop.call_at(due, self._fire, key))

    def _fire(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def add_rate_limited(self, key: K) -> None:
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self.add_after(key, min(self._base * 2 ** min(failures, 40), self._max))

    def failures(self, key: K) -> int:
        return self._failures.get(key, 0)

    def forget(self, key: K) -> None:
        self._failures.pop(key, None)

    async def get(self) -> K:
        """The next key; `done` must follow. Cancelled while waiting, it takes nothing. Raises `ShutDown`."""
        while not self._queue:
            if self._closed:
                raise ShutDown
            self._wakeup.clear()
            await self._wakeup.wait()
        key = self._queue.popleft()
        self._waiting.discard(key)
        self._working.add(key)
        if self._queue:
            self._wakeup.set()
        return key

    def done(self, key: K) -> None:
        self._working.discard(key)
        if key in self._waiting:
            self._queue.append(key)
            self._wakeup.set()

    def close(self) -> None:
        self._closed = True
        for _, timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._wakeup.set()


async def run_workers(
    queue: WorkQueue[K], reconcile: Callable[[K], Awaitable[None]], *, workers: int, name: str
) -> None:
    """Works on the queue until it is shut down or cancelled. A reconcile that raises is retried with back-off;
    an error never ends a worker."""

    async def work() -> None:
        while True:
            try:
                key = await queue.get()
            except ShutDown:
                # Wake the next worker, which waits on the same event.
                queue.close()
                return
            try:
                await reconcile(key)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                log.warning(
                    "reconcile failed", controller=name, key=str(key), error=str(error),
                    error_type=type(error).__name__, retries=queue.failures(key),
                    exc_info=queue.failures(key) == 5,
                )  # fmt: skip
                queue.add_rate_limited(key)
            else:
                queue.forget(key)
            finally:
                queue.done(key)

    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(work())
