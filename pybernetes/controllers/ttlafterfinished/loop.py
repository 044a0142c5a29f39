"""Watches Jobs and deletes finished ones when their time is up. Each waits on one timer."""

from __future__ import annotations

from pybernetes.api import errors
from pybernetes.api.meta import Object, key_of, split_key, uid_of
from pybernetes.api.resources import JOBS
from pybernetes.controllers.controller import Context, QueueController
from pybernetes.controllers.ttlafterfinished.plan import expires_at


class TTLAfterFinishedController(QueueController):
    name = "ttlafterfinished"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._jobs = self.watch(JOBS)
        self._jobs.add_handler(self._on_job)

    def _on_job(self, old: Object | None, new: Object | None) -> None:
        if new is not None and expires_at(new) is not None:
            self.queue.add(key_of(new))

    async def reconcile(self, key: str) -> None:
        job = self._jobs.cache.get(key)
        due = expires_at(job) if job is not None else None
        if due is None:
            return
        if self._wait(key, due):
            return
        namespace, name = split_key(key)
        try:
            # Its time may have been prolonged since: read it live before it goes.
            live = await self.client.get(JOBS, name, namespace)
            due = expires_at(live)
            if due is None or self._wait(key, due):
                return
            await self.client.delete(JOBS, name, namespace, propagation="Foreground", uid=uid_of(live))
        except errors.NotFound:
            return

    def _wait(self, key: str, due: float) -> bool:
        left = due - self.now()
        if left > 0:
            self.queue.add_after(key, left)
        return left > 0
