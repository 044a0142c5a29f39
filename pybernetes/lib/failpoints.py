"""Failpoints: named places in the code where a test makes this process die or pause.

They are armed by the environment variable ``P8S_FAILPOINTS`` alone, read once when this module is imported; nothing at
run time can arm one. Its value is a list of ``NAME=ACTION[@HIT]`` separated by semicolons: at the HIT-th passage (from
1, the default) the action is done, once. Actions: ``kill`` ends the process as SIGKILL does, ``stop`` pauses it as
SIGSTOP does until somebody sends SIGCONT.

Unarmed, a place costs one call and one look into an empty dictionary. Any thread may pass one.
"""

from __future__ import annotations

import os
import re
import signal
import threading

VARIABLE = "P8S_FAILPOINTS"

_SPEC = re.compile(r"(?P<name>[a-z0-9/-]+)=(?P<action>kill|stop)(@(?P<hit>[1-9][0-9]*))?")
_SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}


class _Point:
    def __init__(self, action: signal.Signals, at_hit: int) -> None:
        self.action = action
        self.left = at_hit


def parse(text: str) -> dict[str, _Point]:
    """The armed points by name. Raises ValueError for what is no list of failpoints."""
    points = {}
    for part in filter(None, (p.strip() for p in text.split(";"))):
        match = _SPEC.fullmatch(part)
        if match is None:
            raise ValueError(f'{VARIABLE}: "{part}" is not NAME=ACTION[@HIT] with the action kill or stop')
        points[match["name"]] = _Point(_SIGNALS[match["action"]], int(match["hit"] or 1))
    return points


_points = parse(os.environ.get(VARIABLE, ""))
_lock = threading.Lock()


def hit(name: str) -> None:
    """Passes the place `name`; whatever is armed for it happens before this returns."""
    if _points:
        _pass(name)


def _pass(name: str) -> None:
    with _lock:
        point = _points.get(name)
        if point is None:
            return
        point.left -= 1
        if point.left:
            return
        del _points[name]
    os.kill(os.getpid(), point.action)
