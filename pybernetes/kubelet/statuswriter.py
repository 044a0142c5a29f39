"""Writes pod statuses to the API: only what changed, one write a pod at a time, the newest wins.

A worker submits a status whenever it differs; submissions made while a write is under way are coalesced into the next.
Writes that fail are tried again with back-off; a pod that is gone, or another one of its name, ends them.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import structlog

from pybernetes.api import errors
from pybernetes.api.meta import Object, name_of, namespace_of, uid_of
from pybernetes.api.resources import PODS
from pybernetes.client.interface import Client
from pybernetes.kubelet.status import patch_for
from pybernetes.lib.clock import Clock
from pybernetes.lib.tasks import TaskSet

log = structlog.get_logger(__name__)

_WRITES_AT_ONCE = 16
_BACKOFF_MAX_SECONDS = 10.0


@dataclass(slots=True)
class _Entry:
    pod: Object
    sent: Object
    wanted: Object
    task: asyncio.Task[None] | None = None
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    gone: bool = False


def without_nulls(value: Any) -> Any:
    """The value as the API server may have stored it: nulls left out."""
    if isinstance(value, dict):
        return {k: without_nulls(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [without_nulls(v) for v in value]
    return value


class StatusWriter:
    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self._slots = asyncio.Semaphore(_WRITES_AT_ONCE)
        self._tasks = TaskSet("status")
        self.writes = 0

    def submit(self, pod: Object, status: Object) -> None:
        """Says what the pod's status is now. Never blocks."""
        uid = uid_of(pod)
        entry = self._entries.get(uid)
        if entry is None:
            entry = self._entries[uid] = _Entry(pod, without_nulls(pod.get("status") or {}), {})
        entry.pod = pod
        entry.wanted = without_nulls(status)
        if entry.gone or (entry.task is None and patch_for(pod, entry.wanted, entry.sent) is None):
            entry.idle.set()
            return
        entry.idle.clear()
        if entry.task is None:
            entry.task = self._tasks.start(self._write(uid, entry), name=uid)

    async def flush(self, uid: str) -> None:
        """Waits until everything submitted for the pod has been written (or the pod is gone)."""
        entry = self._entries.get(uid)
        if entry is not None:
            await entry.idle.wait()

    def forget(self, uid: str) -> None:
        entry = self._entries.pop(uid, None)
        if entry is not None:
            entry.gone = True
            entry.idle.set()
            if entry.task is not None:
                entry.task.cancel()

    async def close(self) -> None:
        await self._tasks.cancel()

    async def _write(self, uid: str, entry: _Entry) -> None:
        delay = 0.1
        try:
            while not entry.gone:
                wanted = entry.wanted
                patch = patch_for(entry.pod, wanted, entry.sent)
                if patch is None:
                    return
                try:
                    async with self._slots:
                        await self._client.patch(
                            PODS, name_of(entry.pod), patch, namespace_of(entry.pod), subresource="status"
                        )
                    self.writes += 1
                    others = [
                        c
                        for c in entry.sent.get("conditions") or ()
                        if c["type"] not in {x["type"] for x in wanted.get("conditions") or ()}
                    ]
                    entry.sent = {**wanted, "conditions": [*(wanted.get("conditions") or ()), *others]}
                    delay = 0.1
                except (errors.NotFound, errors.Conflict) as error:
                    # Deleted, or deleted and made again under its name: nobody is left to tell.
                    log.debug("pod is gone, status not written", pod=name_of(entry.pod), error=error.message)
                    entry.gone = True
                except errors.Invalid as error:
                    log.error("pod status refused", pod=name_of(entry.pod), error=error.message)
                    entry.sent = wanted
                except errors.ApiError as error:
                    log.warning("pod status not written", pod=name_of(entry.pod), error=error.message, retry_s=delay)
                    await self._clock.sleep(delay)
                    delay = min(delay * 2, _BACKOFF_MAX_SECONDS)
        finally:
            entry.task = None
            entry.idle.set()
