"""Recording events about objects, as ``kubectl describe`` and ``kubectl get events`` show them.

Events are a courtesy: recording never fails the caller and never blocks it. The queue is bounded; when it is full
the oldest waiting event is dropped and counted. Repeats of one event raise its count instead of making another.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import OrderedDict, deque
from typing import Literal

import structlog

from pybernetes.api import errors
from pybernetes.api.meta import Object
from pybernetes.api.resources import EVENTS
from pybernetes.api.time import format_time
from pybernetes.client.interface import MERGE_PATCH, Client
from pybernetes.lib.clock import Clock, SystemClock

NORMAL: Literal["Normal"] = "Normal"
WARNING: Literal["Warning"] = "Warning"

_QUEUE_LIMIT = 1000
_REPEATS_REMEMBERED = 4096

log = structlog.get_logger(__name__)


class EventRecorder:
    """Records events as one component (``default-scheduler``, ``kubelet`` with its node as `host`, …)."""

    def __init__(self, client: Client, component: str, *, host: str = "", clock: Clock | None = None) -> None:
        self._client = client
        self._component = component
        self._host = host
        self._clock = clock or SystemClock()
        self._queue: deque[Object] = deque()
        self._wakeup = asyncio.Event()
        self._serial = itertools.count(int(self._clock.now() * 1e9) & 0xFFFFFFFFFFFFFF)
        # What was last recorded by its identity: (name, namespace, count).
        self._recent: OrderedDict[tuple[str, ...], tuple[str, str, int]] = OrderedDict()
        self.dropped = 0

    def event(
        self, about: Object, type_: Literal["Normal", "Warning"], reason: str, message: str, *, action: str = ""
    ) -> None:
        """`about` is an object reference (`meta.object_reference`; a container's has a ``fieldPath``)."""
        if len(self._queue) >= _QUEUE_LIMIT:
            self._queue.popleft()
            self.dropped += 1
        now = format_time(self._clock.now())
        source: Object = {"component": self._component}
        if self._host:
            source["host"] = self._host
        self._queue.append(
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {
                    "name": f"{about.get('name', '')}.{next(self._serial):x}",
                    "namespace": about.get("namespace") or "default",
                },
                "involvedObject": about,
                "reason": reason,
                "message": message[:1024],
                "source": source,
                "firstTimestamp": now,
                "lastTimestamp": now,
                "count": 1,
                "type": type_,
                "eventTime": None,
                "reportingComponent": self._component,
                "reportingInstance": self._host,
                **({"action": action} if action else {}),
            }
        )
        self._wakeup.set()

    async def run(self) -> None:
        """Sends what was recorded, until cancelled."""
        while True:
            while self._queue:
                await self._send(self._queue.popleft())
            self._wakeup.clear()
            await self._wakeup.wait()

    async def _send(self, event: Object) -> None:
        about = event["involvedObject"]
        identity = (
            about.get("kind", ""), event["metadata"]["namespace"], about.get("name", ""), about.get("uid", ""),
            about.get("fieldPath", ""), event["type"], event["reason"], event["message"],
        )  # fmt: skip
        known = self._recent.get(identity)
        try:
            if known is not None:
                name, namespace, count = known
                try:
                    await self._client.patch(
                        EVENTS,
                        name,
                        {"count": count + 1, "lastTimestamp": event["lastTimestamp"]},
                        namespace,
                        patch_type=MERGE_PATCH,
                    )
                    self._remember(identity, (name, namespace, count + 1))
                    return
                except errors.NotFound:
                    log.debug("event expired, recording it anew", reason=event["reason"])
            await self._client.create(EVENTS, event, event["metadata"]["namespace"])
            self._remember(identity, (event["metadata"]["name"], event["metadata"]["namespace"], 1))
        except errors.ApiError as error:
            # A namespace that is going away refuses new events, as upstream's does.
            log.debug("event not recorded", reason=event["reason"], error=error.message)

    def _remember(self, identity: tuple[str, ...], value: tuple[str, str, int]) -> None:
        self._recent[identity] = value
        self._recent.move_to_end(identity)
        while len(self._recent) > _REPEATS_REMEMBERED:
            self._recent.popitem(last=False)
