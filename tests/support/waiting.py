"""Waiting for a condition with a deadline: the only place in the tests that looks again after a pause.

Where an API object says what is waited for, watch it (`Cluster.watch_until`), and where an event does, wait for that;
this is for what only a look tells. `eventually` blocks its thread: it is for tests of other processes. `until` lets
the event loop run between two looks: it is for what this loop's own tasks bring about, too. `until_changed` looks
only when an event says that something changed.
"""

from __future__ import annotations

import asyncio
import inspect
import textwrap
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")

_FIRST_PAUSE_SECONDS = 0.02
_LONGEST_PAUSE_SECONDS = 0.5
_FIRST_LOOP_PAUSE_SECONDS = 0.005
_LONGEST_LOOP_PAUSE_SECONDS = 0.1
_LAST_LOOK_SECONDS = 1.0
"""What a last look may take that begins at the deadline."""


def eventually(check: Callable[[], T], *, timeout: float = 60.0, message: str = "") -> T:
    """The first truthy value of `check`, or its first return without an AssertionError. Fails with the last error."""
    deadline = time.monotonic() + timeout
    pause = _FIRST_PAUSE_SECONDS
    while True:
        error: AssertionError | None = None
        try:
            value = check()
            if value or value is None:
                return value
        except AssertionError as failed:
            error = failed
        if time.monotonic() >= deadline:
            raise AssertionError(f"{message or check}: not within {timeout} s") from error
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)


async def until(
    condition: Callable[[], Awaitable[Any] | Any],
    seconds: float = 10.0,
    message: str = "",
    *,
    ignoring: tuple[type[Exception], ...] = (),
) -> Any:
    """The first truthy value that `condition` returns, or that the awaitable which it returns gives.

    What it raises ends the wait, but for the errors to be ignored, which count as no value. There is a look after the
    deadline also where the loop was held up; one that hangs is cancelled.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    pause = _FIRST_LOOP_PAUSE_SECONDS
    while True:
        last = loop.time() >= deadline
        error: Exception | None = None
        value: Any = None
        try:
            value = condition()
            if inspect.isawaitable(value):
                value = await _in_time(value, max(deadline, loop.time() + _LAST_LOOK_SECONDS))
            if value:
                return value
        except _Hangs as hangs:
            last, error = True, hangs
        except ignoring as ignored:
            error = ignored
        if last:
            found = repr(error if error is not None else value)
            raise AssertionError(f"{message or _told(condition)}: not within {seconds} s, but {found}") from error
        await asyncio.sleep(max(0.0, min(pause, deadline - loop.time())))
        pause = min(pause * 1.5, _LONGEST_LOOP_PAUSE_SECONDS)


async def until_changed(
    changed: asyncio.Event, holds: Callable[[], Any], seconds: float, told: Callable[[], object] = str
) -> Any:
    """The first truthy value of `holds`, looked at now and whenever the event is set. A failure tells `told`."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        changed.clear()
        if value := holds():
            return value
        try:
            async with asyncio.timeout_at(deadline):
                await changed.wait()
        except TimeoutError:
            raise AssertionError(f"{_told(holds)}: not within {seconds} s: {told()}") from None


class _Hangs(Exception):
    """A look did not end."""


async def _in_time(value: Awaitable[T], deadline: float) -> T:
    try:
        async with asyncio.timeout_at(deadline) as limit:
            return await value
    except TimeoutError:
        if limit.expired():
            raise _Hangs("the look itself did not end") from None
        raise


def _told(condition: Callable[..., object]) -> str:
    """A condition as its source tells it."""
    try:
        source = inspect.getsource(condition)
    except (OSError, TypeError):
        return repr(condition)
    return textwrap.shorten(source, 200)
