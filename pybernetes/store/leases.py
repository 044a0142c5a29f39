"""Leases: when they run out, and the timer that says so. Which keys hang on a lease is the store's business."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable

from pybernetes.lib.clock import Clock

_LONGEST_TIMER_SECONDS = 3600.0


class LeaseTimer:
    """Calls `expire(lease)` in the event loop when a lease is due; one loop timer serves all leases."""

    def __init__(self, clock: Clock, expire: Callable[[int], None]) -> None:
        self._clock = clock
        self._expire = expire
        self._heap: list[tuple[float, int]] = []
        self._deadlines: dict[int, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __contains__(self, lease: int) -> bool:
        return lease in self._deadlines

    def add(self, lease: int, deadline: float) -> None:
        """`deadline` in seconds since the epoch."""
        self._deadlines[lease] = deadline
        heapq.heappush(self._heap, (deadline, lease))
        self._arm()

    def remove(self, lease: int) -> None:
        self._deadlines.pop(lease, None)

    def fire(self) -> None:
        """Expires what is due by now, and arms the timer for the rest."""
        now = self._clock.now()
        while self._heap and self._heap[0][0] <= now:
            _, lease = heapq.heappop(self._heap)
            if self._deadlines.get(lease, now + 1) <= now:
                del self._deadlines[lease]
                self._expire(lease)
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._heap and self._deadlines.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        if self._heap:
            delay = min(max(self._heap[0][0] - self._clock.now(), 0.0), _LONGEST_TIMER_SECONDS)
            self._timer = asyncio.get_running_loop().call_later(delay, self.fire)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
