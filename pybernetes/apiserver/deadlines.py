"""How long a request may take: 60 seconds, or less where it says so with ``timeout=``; watches and connections aside.

One timer watches all requests of the common limit, oldest first: an entry in a dictionary is all that a request costs.
A request that is late is cancelled: what it was writing may or may not be written. One event loop owns it.
"""

from __future__ import annotations

import asyncio
import re
from typing import Generic, Protocol, TypeVar

from pybernetes.api.errors import BadRequest, GatewayTimeout
from pybernetes.apiserver.options import quote

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)([^0-9.]*)", re.ASCII)
_LENGTH_MAX = 64


class Timed(Protocol):
    """A request under way."""

    late: bool
    """Set before it is cancelled for being late."""


T = TypeVar("T", bound=Timed)


class Deadlines(Generic[T]):
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._running: dict[T, tuple[float, asyncio.Task[object]]] = {}
        self._own: dict[T, asyncio.TimerHandle] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._running)

    def running(self) -> list[T]:
        return list(self._running)

    def started(self) -> list[tuple[T, float]]:
        """Each request with the loop's time at which it began."""
        return [(request, deadline - self.seconds) for request, (deadline, _) in self._running.items()]

    def enter(self, request: T, task: asyncio.Task[object], started: float) -> None:
        """`started` is the loop's time. The request ends with `leave`."""
        self._running[request] = (started + self.seconds, task)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self.seconds, self._sweep)

    def shorten(self, request: T, seconds: float) -> None:
        """Gives a request that has entered less time, from now on."""
        if seconds < self.seconds:
            task = self._running[request][1]
            self._own[request] = asyncio.get_running_loop().call_later(seconds, _cancel, request, task)

    def leave(self, request: T) -> None:
        """It is done, or runs as long as it wants. Does no harm twice."""
        self._running.pop(request, None)
        if self._own and (timer := self._own.pop(request, None)) is not None:
            timer.cancel()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for timer in self._own.values():
            timer.cancel()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._timer = None
        for request, (deadline, task) in list(self._running.items()):
            if deadline > now:
                self._timer = loop.call_later(deadline - now, self._sweep)
                return
            self.leave(request)
            _cancel(request, task)


def _cancel(request: Timed, task: asyncio.Task[object]) -> None:
    request.late = True
    task.cancel()


def too_late(*, mutating: bool) -> GatewayTimeout:
    """504, in upstream's words: those of the handlers that write, and those of all others."""
    if mutating:
        return GatewayTimeout("Timeout: request did not complete within requested timeout - context deadline exceeded")
    return GatewayTimeout("Timeout: request did not complete within the allotted timeout")


def parse_timeout(text: str) -> float:
    """The seconds of a ``timeout`` parameter, a duration as Go writes it. Raises `BadRequest`."""
    body = text[1:] if text[:1] in ("+", "-") else text
    fault = ""
    seconds, at = 0.0, 0
    if body != "0":
        if not body or len(text) > _LENGTH_MAX:
            fault = f"time: invalid duration {quote(text[:_LENGTH_MAX])}"
        while not fault and at < len(body):
            match = _PART.match(body, at)
            if match is None:
                fault = f"time: invalid duration {quote(text)}"
            elif not match.group(2):
                fault = f"time: missing unit in duration {quote(text)}"
            elif match.group(2) not in _UNITS:
                fault = f"time: unknown unit {quote(match.group(2))} in duration {quote(text)}"
            else:
                seconds += float(match.group(1)) * _UNITS[match.group(2)]
                at = match.end()
    if fault:
        raise BadRequest(f"invalid timeout specified in the request URL - {fault}")
    return -seconds if text.startswith("-") else seconds
