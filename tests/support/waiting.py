"""Waiting for a condition with a deadline: the only place in the tests that pauses.

Where an API object says what is waited for, watch it (`Cluster.watch_until`); this is for what only a look tells.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_FIRST_PAUSE_SECONDS = 0.02
_LONGEST_PAUSE_SECONDS = 0.5


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
