"""Times and durations as the API writes them (RFC 3339; ``metav1.Time`` in seconds, ``MicroTime`` in
microseconds)."""

from __future__ import annotations

import re
from datetime import UTC, datetime


def format_time(epoch_seconds: float) -> str:
    """``2026-01-02T03:04:05Z``, truncated to the second as metav1.Time does."""
    return time_text(datetime.fromtimestamp(int(epoch_seconds), UTC))


def format_micro_time(epoch_seconds: float) -> str:
    """``2026-01-02T03:04:05.000006Z``."""
    return micro_time_text(datetime.fromtimestamp(epoch_seconds, UTC))


def time_text(moment: datetime) -> str:
    """metav1.Time of a moment in UTC. The year has four digits, also the first (strftime drops its zeroes)."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0")


def micro_time_text(moment: datetime) -> str:
    """MicroTime of a moment in UTC."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


_FRACTION = re.compile(r"\.(\d+)")


def parse_time(text: str) -> float:
    """Seconds since the epoch. ValueError where the text is not RFC 3339."""
    if "T" not in text or len(text) < 20:
        raise ValueError(f"not an RFC 3339 time: {text!r}")
    # fromisoformat takes at most microseconds; containerd and Go print nanoseconds.
    text = _FRACTION.sub(lambda m: "." + m.group(1)[:6].ljust(6, "0"), text, count=1)
    return datetime.fromisoformat(text).timestamp()


_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_UNIT_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration(text: str) -> float:
    """Seconds of a Go duration such as ``1h30m``. ValueError where it is none."""
    body = text[1:] if text[:1] in "+-" else text
    if body == "0":
        return 0.0
    total, at = 0.0, 0
    while at < len(body):
        part = _DURATION_PART.match(body, at)
        if part is None:
            raise ValueError(f"invalid duration {text!r}")
        total += float(part.group(1)) * _UNIT_SECONDS[part.group(2)]
        at = part.end()
    if at == 0:
        raise ValueError(f"invalid duration {text!r}")
    return -total if text.startswith("-") else total
