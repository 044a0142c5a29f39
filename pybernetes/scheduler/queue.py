"""The pods that wait for a node: active (by priority, then age), backing off, and unschedulable until an event could
change the outcome.

A pod that was rejected stays put until something happens that one of the plugins that rejected it has registered for;
then it returns, not before its back-off has passed (1 s doubling to 10 s). One event loop owns the queue; it holds at
most one entry a pod.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from pybernetes.api.meta import Object, key_of, uid_of
from pybernetes.lib.clock import Clock
from pybernetes.scheduler.framework import Change

_INITIAL_BACKOFF_SECONDS = 1.0
_MAX_BACKOFF_SECONDS = 10.0


class Place(Enum):
    ACTIVE = "active"
    BACKOFF = "backoff"
    UNSCHEDULABLE = "unschedulable"
    IN_FLIGHT = "in flight"


@dataclass(slots=True)
class Waiting:
    """A pod and its history in the queue."""

    pod: Object
    added_at: float
    place: Place = Place.ACTIVE
    attempts: int = 0
    failed_at: float = 0.0
    rejected_by: frozenset[str] = frozenset()
    missed: Change = field(default_factory=lambda: Change(0))
    """What happened while the pod was in flight: a decision made on older facts must be tried again."""
    serial: int = 0

    @property
    def priority(self) -> int:
        return int((self.pod.get("spec") or {}).get("priority") or 0)


class SchedulingQueue:
    def __init__(self, clock: Clock, events_of: Mapping[str, Change]) -> None:
        """`events_of`: for each plugin's name, the changes that could unblock a pod it rejected."""
        self._clock = clock
        self._events_of = events_of
        self._waiting: dict[str, Waiting] = {}
        self._heap: list[tuple[int, float, int, str]] = []
        self._backoffs: list[tuple[float, int, str]] = []
        self._serial = itertools.count()
        self._wakeup = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, key: str) -> bool:
        return key in self._waiting

    def statistics(self) -> dict[str, int]:
        counts = {place.value: 0 for place in Place}
        for waiting in self._waiting.values():
            counts[waiting.place.value] += 1
        return counts

    def _activate(self, waiting: Waiting) -> None:
        waiting.place = Place.ACTIVE
        waiting.serial = next(self._serial)
        heapq.heappush(self._heap, (-waiting.priority, waiting.added_at, waiting.serial, key_of(waiting.pod)))
        self._wakeup.set()

    def put(self, pod: Object) -> None:
        """A pod is new or has changed; a changed one that was rejected may fit now."""
        waiting = self._waiting.get(key_of(pod))
        if waiting is None or uid_of(waiting.pod) != uid_of(pod):
            waiting = self._waiting[key_of(pod)] = Waiting(pod, self._clock.now())
            self._activate(waiting)
            return
        changed = waiting.pod.get("spec") != pod.get("spec")
        waiting.pod = pod
        if waiting.place is Place.IN_FLIGHT:
            waiting.missed |= Change.POD_SPEC if changed else Change(0)
        elif waiting.place is Place.UNSCHEDULABLE and changed:
            self._return(waiting)

    def remove(self, key: str) -> None:
        """The pod is gone, or bound."""
        self._waiting.pop(key, None)

    async def pop(self) -> Waiting:
        """The next pod to schedule; `requeue` or `remove` must follow. Cancelled while waiting, it takes nothing."""
        while True:
            while self._heap:
                _, _, serial, key = heapq.heappop(self._heap)
                waiting = self._waiting.get(key)
                if waiting is not None and waiting.serial == serial and waiting.place is Place.ACTIVE:
                    waiting.place = Place.IN_FLIGHT
                    waiting.attempts += 1
                    waiting.missed = Change(0)
                    return waiting
            self._wakeup.clear()
            await self._wakeup.wait()

    def requeue(self, waiting: Waiting, rejected_by: frozenset[str]) -> None:
        """The attempt failed. With `rejected_by` the pod waits for an event; with none (an error) it backs off and
        is tried again."""
        if self._waiting.get(key_of(waiting.pod)) is not waiting:
            return
        waiting.failed_at = self._clock.now()
        waiting.rejected_by = rejected_by
        if not rejected_by or self._could_help(waiting, waiting.missed):
            self._return(waiting)
        else:
            waiting.place = Place.UNSCHEDULABLE

    def _could_help(self, waiting: Waiting, change: Change) -> bool:
        return any(self._events_of.get(name, Change(0)) & change for name in waiting.rejected_by)

    def happened(self, change: Change) -> None:
        """Something changed in the cluster: pods that it could help come back."""
        if not change:
            return
        for waiting in list(self._waiting.values()):
            if waiting.place is Place.IN_FLIGHT:
                waiting.missed |= change
            elif waiting.place is Place.UNSCHEDULABLE and self._could_help(waiting, change):
                self._return(waiting)

    def _return(self, waiting: Waiting) -> None:
        backoff = min(_INITIAL_BACKOFF_SECONDS * 2 ** min(waiting.attempts - 1, 10), _MAX_BACKOFF_SECONDS)
        due = waiting.failed_at + backoff
        if not waiting.attempts or due <= self._clock.now():
            self._activate(waiting)
            return
        waiting.place = Place.BACKOFF
        waiting.serial = next(self._serial)
        heapq.heappush(self._backoffs, (due, waiting.serial, key_of(waiting.pod)))
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._backoffs:
            delay = max(self._backoffs[0][0] - self._clock.now(), 0.0)
            self._timer = asyncio.get_running_loop().call_later(delay, self.release)

    def release(self) -> None:
        """Activates pods whose back-off has passed by the clock; the timer does it by itself in real time."""
        now = self._clock.now()
        while self._backoffs and self._backoffs[0][0] <= now:
            _, serial, key = heapq.heappop(self._backoffs)
            waiting = self._waiting.get(key)
            if waiting is not None and waiting.serial == serial and waiting.place is Place.BACKOFF:
                self._activate(waiting)
        self._arm()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
