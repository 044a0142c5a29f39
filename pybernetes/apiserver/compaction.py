"""Compaction of the store's history: every so often, to where the store was one period ago.

So a continue token or an exact read stays good for one period at least, as with upstream's five minutes.
"""

from __future__ import annotations

import asyncio

import structlog

from pybernetes.lib.clock import Clock
from pybernetes.store.interface import Compacted, FutureRevision, Store, StoreClosed, StoreError

log = structlog.get_logger(__name__)


class Compactor:
    def __init__(self, store: Store, clock: Clock, period_seconds: float) -> None:
        """A period of 0 compacts never."""
        self._store = store
        self._clock = clock
        self._period_seconds = period_seconds
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._period_seconds > 0:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="apiserver/compactor")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        previous = 0
        while True:
            try:
                revision = await self._store.revision()
                if previous and previous > await self._store.compacted():
                    await self._store.compact(previous)
                    log.debug("store compacted", revision=previous)
                previous = revision
            except StoreClosed:
                return
            except (Compacted, FutureRevision):
                previous = 0
            except StoreError as error:
                log.warning("store could not be compacted", error=str(error))
            await self._clock.sleep(self._period_seconds)
