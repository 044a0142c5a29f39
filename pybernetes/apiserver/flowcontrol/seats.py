"""Seats of priority levels: taking them, waiting for them in fair queues, lending and borrowing them.

A `Level` has `nominal` seats, of which it lends some. What it does not lend is its own at any moment; what all levels
lend is one common pool. A level takes its own seats first, then from the pool: up to its nominal number with precedence
over whoever borrows, beyond that up to its borrowing limit while nobody is kept from his nominal seats by it. Nothing
that runs is interrupted, so a lender may have to wait until borrowers finish.

Where requests wait, each flow is dealt a hand of its level's queues and waits in the shortest (shuffle sharding); seats
go to the queue that was served the least (start-time fair queuing in seat-seconds). A request that needs no waiting
touches one counter. One event loop owns everything here; a request that is cancelled while it waits leaves nothing.

Bounds: a queue holds `queue_length` requests, a level `queues` of them, a request waits as long as its caller says.
"""

from __future__ import annotations

import asyncio
import time
from bisect import insort
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

GUESSED_SECONDS = 0.003
"""What a request is charged when it is dispatched; the truth follows when it is done. As upstream."""


class Rejected(Exception):
    """A request that is not served. `reason` is the metric's label, in upstream's words."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Queuing:
    queues: int
    hand: int
    queue_length: int


class Queue:
    """One of a level's queues, made when it is needed. `served` is its virtual time: the seat-seconds that its
    requests have had, or those of the others when it was made."""

    __slots__ = ("executing", "number", "served", "waiters")

    def __init__(self, number: int, served: float) -> None:
        self.number = number
        self.waiters: deque[Waiter] = deque()
        self.served = served
        self.executing = 0

    def load(self) -> int:
        return sum(w.width for w in self.waiters) + self.executing


class Waiter:
    """A request in a queue, and afterwards the proof of what its queue is to be charged."""

    __slots__ = ("future", "queue", "started", "width")

    def __init__(self, width: int, queue: Queue, future: asyncio.Future[None]) -> None:
        self.width = width
        self.queue = queue
        self.future = future
        self.started: float | None = None
        """When it was let in; None while it waits."""


class Pool:
    """What all levels of a server share."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.levels: dict[str, Level] = {}
        self.lent = 0
        """Seats that levels lend."""
        self.taken = 0
        """Of those, the ones in use, by whomever."""
        self.waiting: list[Level] = []
        """Levels with waiting requests; who was served last comes last."""
        self.now = now

    def level(self, name: str) -> Level:
        level = self.levels.get(name)
        if level is None:
            level = self.levels[name] = Level(self, name)
        return level

    def settle(self) -> None:
        """To be called after levels were configured: counts anew, and lets in whoever fits now."""
        limited = [level for level in self.levels.values() if not level.exempt]
        self.lent = sum(level.nominal - level.own for level in limited)
        self.taken = sum(max(0, level.in_use - level.own) for level in limited)
        self.dispatch()

    def owed(self) -> bool:
        """Whether somebody waits for what is nominally his."""
        return any(level.in_use < level.nominal for level in self.waiting)

    def dispatch(self) -> None:
        """Lets in who fits: first levels below their nominal seats, then borrowers, in turn."""
        progressed = True
        while progressed and self.waiting:
            progressed = False
            for level in sorted(self.waiting, key=lambda w: w.in_use >= w.nominal):
                if level.admit_one():
                    if level.waiting:
                        self.waiting.remove(level)
                        self.waiting.append(level)
                    progressed = True
                    break


class Level:
    """One priority level."""

    __slots__ = (
        "_pool", "_queues", "exempt", "in_use", "most", "name", "nominal", "own", "queuing", "served", "uid", "waiting",
    )  # fmt: skip

    def __init__(self, pool: Pool, name: str) -> None:
        self._pool = pool
        self._queues: dict[int, Queue] = {}
        self.name = name
        self.uid = ""
        self.exempt = False
        self.nominal = 0
        self.own = 0
        """Seats that it does not lend."""
        self.most = 0
        """Seats that it may have, with all that it borrows."""
        self.in_use = 0
        self.waiting = 0
        self.served = 0.0
        """The virtual time of whoever was dispatched last: a queue that was empty starts here."""
        self.queuing: Queuing | None = None

    def configure(self, *, exempt: bool, nominal: int, own: int, most: int, queuing: Queuing | None) -> None:
        """`Pool.settle` follows. Who waits in a queue that is no more waits on all the same."""
        self.exempt, self.nominal, self.own, self.most = exempt, nominal, own, most
        self.queuing = queuing

    # ---- without waiting

    def try_take(self, width: int) -> bool:
        """Takes seats if they are there and nobody waits for them."""
        used = self.in_use + width
        if self.exempt:
            self.in_use = used
            return True
        if self.waiting:
            return False
        if used > self.own:
            if not self._fits(width):
                return False
            self._pool.taken += used - max(self.own, self.in_use)
        self.in_use = used
        return True

    def _fits(self, width: int) -> bool:
        used = self.in_use + width
        if used > self.most:
            # A request that is wider than all there is may run alone.
            return not self.in_use and width > self.most
        pool = self._pool
        if used > self.nominal and pool.waiting and pool.owed() and self.in_use >= self.nominal:
            return False
        return used <= self.own or pool.taken + used - max(self.own, self.in_use) <= pool.lent

    def release(self, width: int, waiter: Waiter | None = None) -> None:
        """Gives seats back; `waiter` is what `wait` returned, if the request had to."""
        pool = self._pool
        if not self.exempt:
            pool.taken -= max(0, self.in_use - max(self.own, self.in_use - width))
        self.in_use -= width
        if waiter is not None:
            assert waiter.started is not None, "seats are given back that were never taken"
            waiter.queue.executing -= waiter.width
            waiter.queue.served += waiter.width * (pool.now() - waiter.started - GUESSED_SECONDS)
            self._forget(waiter.queue)
        if pool.waiting:
            pool.dispatch()

    # ---- with waiting

    def queues(self) -> list[Queue]:
        """Those that are in use."""
        return list(self._queues.values())

    async def wait(
        self, width: int, flow: int, seconds: float, queued: Callable[[Waiter], None] = lambda waiter: None
    ) -> Waiter:
        """Takes seats, after waiting for them up to `seconds` in a queue of the flow with this hash. `queued` is
        called when it begins to wait. Raises `Rejected`. Cancelled, it has taken nothing."""
        if self.queuing is None:
            raise Rejected("concurrency-limit")
        queue = self._queue_for(flow, self.queuing)
        if len(queue.waiters) >= self.queuing.queue_length:
            raise Rejected("queue-full")
        loop = asyncio.get_running_loop()
        waiter = Waiter(width, queue, loop.create_future())
        if not queue.waiters:
            queue.served = max(queue.served, self.served)
        queue.waiters.append(waiter)
        queued(waiter)
        self.waiting += 1
        if self not in self._pool.waiting:
            self._pool.waiting.append(self)
        timer = loop.call_later(seconds, _give_up, waiter.future)
        try:
            self._pool.dispatch()
            await waiter.future
        except BaseException:
            if waiter.started is not None:
                # Let in and cancelled in the same moment.
                self.release(width, waiter)
            else:
                queue.waiters.remove(waiter)
                self._forget(queue)
                self._one_less()
                self._pool.dispatch()
            raise
        finally:
            timer.cancel()
        return waiter

    def _queue_for(self, flow: int, queuing: Queuing) -> Queue:
        """The least loaded queue of the flow's hand."""
        best: Queue | None = None
        for number in deal(flow, queuing.queues, queuing.hand):
            queue = self._queues.get(number)
            if queue is None:
                queue = self._queues[number] = Queue(number, self.served)
                return queue
            if best is None or queue.load() < best.load():
                best = queue
        assert best is not None, "a hand has a card at least"
        return best

    def _forget(self, queue: Queue) -> None:
        if not queue.waiters and not queue.executing:
            self._queues.pop(queue.number, None)

    def admit_one(self) -> bool:
        """Lets the request in whose turn it is, if it fits."""
        queue = min((q for q in self._queues.values() if q.waiters), key=lambda q: q.served, default=None)
        if queue is None:
            return False
        waiter = queue.waiters[0]
        if not self._fits(waiter.width):
            return False
        queue.waiters.popleft()
        self._one_less()
        used = self.in_use + waiter.width
        self._pool.taken += max(0, used - max(self.own, self.in_use))
        self.in_use = used
        self.served = queue.served
        queue.served += waiter.width * GUESSED_SECONDS
        queue.executing += waiter.width
        waiter.started = self._pool.now()
        if not waiter.future.done():
            waiter.future.set_result(None)
        return True

    def _one_less(self) -> None:
        self.waiting -= 1
        if not self.waiting and self in self._pool.waiting:
            self._pool.waiting.remove(self)

    def idle(self) -> bool:
        return not self.in_use and not self.waiting


def _give_up(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_exception(Rejected("time-out"))


def deal(value: int, deck: int, hand: int) -> list[int]:
    """`hand` different cards of a deck, by a hash: every hand is about as likely as every other (shuffle sharding)."""
    dealt: list[int] = []
    for i in range(min(hand, deck)):
        value, card = divmod(value, deck - i)
        for before in dealt:
            if card < before:
                break
            card += 1
        insort(dealt, card)
    return dealt
