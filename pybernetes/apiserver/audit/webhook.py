"""Audit events sent to a webhook, as ``audit.k8s.io/v1 EventList`` in batches.

`AuditWebhook.put` never waits. One task takes what waits, at most `batch_max` events, when that many wait or the first
of them has waited `max_wait_seconds`; it encodes them off the event loop and sends them, one batch at a time. A batch
that cannot be sent is tried again a few times with growing pauses and dropped then; so is an event that finds
`QUEUE_MAX` others waiting. What is dropped is counted, and told in the log. `close` sends what waits, once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

import structlog

from pybernetes.apiserver.audit.trail import Moment, Sink
from pybernetes.apiserver.outbound import Outbound, OutboundError, WebhookConfig
from pybernetes.lib.clock import Clock

QUEUE_MAX = 10_000
BATCH_MAX = 400
MAX_WAIT_SECONDS = 30.0
INITIAL_BACKOFF_SECONDS = 10.0
_TRIES = 5
_BACKOFF_FACTOR = 1.5
_CLOSE_SECONDS = 5.0

log = structlog.get_logger(__name__)


class AuditWebhook:
    """A `Sink`. `start` and `close` belong to the event loop that owns it."""

    def __init__(
        self,
        config: WebhookConfig,
        clock: Clock,
        *,
        batch_max: int = BATCH_MAX,
        max_wait_seconds: float = MAX_WAIT_SECONDS,
        initial_backoff_seconds: float = INITIAL_BACKOFF_SECONDS,
    ) -> None:
        self._config = config
        self._clock = clock
        self._batch_max = batch_max
        self._max_wait_seconds = max_wait_seconds
        self._initial_backoff_seconds = initial_backoff_seconds
        self._outbound = Outbound()
        self._waiting: deque[Moment] = deque()
        self._some = asyncio.Event()
        self._enough = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.sent = 0
        self.dropped = 0

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._work(), name="apiserver/audit-webhook")

    async def close(self) -> None:
        """Sends what waits, in one try, for at most five seconds. Nothing may be put afterwards."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                while self._waiting:
                    await self._send(self._take(), tries=1)
        except TimeoutError:
            self._lost(len(self._waiting), "the server stopped")
        finally:
            await self._outbound.close()

    def statistics(self) -> dict[str, int]:
        return {"waiting": len(self._waiting), "sent": self.sent, "dropped": self.dropped}

    def put(self, moment: Moment) -> None:
        if len(self._waiting) >= QUEUE_MAX:
            self._lost(1, "the queue is full")
            return
        self._waiting.append(moment)
        self._some.set()
        if len(self._waiting) >= self._batch_max:
            self._enough.set()

    def _take(self) -> list[Moment]:
        batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._batch_max))]
        if not self._waiting:
            self._some.clear()
        if len(self._waiting) < self._batch_max:
            self._enough.clear()
        return batch

    async def _work(self) -> None:
        while True:
            await self._some.wait()
            try:
                async with asyncio.timeout(self._max_wait_seconds):
                    await self._enough.wait()
            except TimeoutError:
                pass  # What there is by now is the batch.
            batch = self._take()
            try:
                await self._send(batch, tries=_TRIES)
            except asyncio.CancelledError:
                # Back to where `close` finds it.
                self._waiting.extendleft(reversed(batch))
                raise

    async def _send(self, batch: Sequence[Moment], *, tries: int) -> None:
        body = await asyncio.to_thread(_encode, batch)
        pause = self._initial_backoff_seconds
        for attempt in range(1, tries + 1):
            try:
                await self._outbound.send(self._config, body)
            except OutboundError as error:
                if attempt == tries:
                    self._lost(len(batch), str(error))
                    return
                log.warning("the audit webhook failed, sending again", error=str(error))
                await self._clock.sleep(pause)
                pause *= _BACKOFF_FACTOR
            else:
                self.sent += len(batch)
                return

    def _lost(self, count: int, why: str) -> None:
        if count:
            self.dropped += count
            log.error("audit events dropped", reason=why, dropped=self.dropped)


class Sinks:
    """Several sinks as one."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = tuple(sinks)

    def put(self, moment: Moment) -> None:
        for sink in self._sinks:
            sink.put(moment)


def _encode(batch: Sequence[Moment]) -> bytes:
    items = b",".join(moment.encode() for moment in batch)
    return b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":[' + items + b"]}"
