"""The syntax of a CronJob's schedule: five fields, or a descriptor such as ``@hourly``. Pure.

Source of the grammar and the texts: the parser ``robfig/cron`` (standard parser), which upstream uses.
"""

from __future__ import annotations

import re
import zoneinfo

from pybernetes.api import time

_MONTHS = {
    "jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6, "jul": 7, "aug": 8, "sep": 9, "oct": 10, "nov": 11,
    "dec": 12,
}  # fmt: skip
_DAYS = {"sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6}
_FIELDS: tuple[tuple[int, int, dict[str, int]], ...] = (
    (0, 59, {}), (0, 23, {}), (1, 31, {}), (1, 12, _MONTHS), (0, 6, _DAYS),
)  # fmt: skip
_DESCRIPTORS = frozenset(("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"))
_NUMBER = re.compile(r"[0-9]+", re.ASCII)


class ScheduleError(ValueError):
    """A schedule that cannot be understood."""


def check_schedule(text: str) -> None:
    """Raises `ScheduleError` where the text is no schedule."""
    if not text:
        raise ScheduleError("empty spec string")
    if text.startswith("@"):
        _descriptor(text)
        return
    fields = text.split()
    if len(fields) != len(_FIELDS):
        raise ScheduleError(f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]")
    for field, (low, high, words) in zip(fields, _FIELDS, strict=True):
        for part in field.split(","):
            _range(part, low, high, words)


def _descriptor(text: str) -> None:
    if text in _DESCRIPTORS:
        return
    if text.startswith("@every "):
        try:
            time.parse_duration(text.removeprefix("@every "))
        except ValueError as e:
            raise ScheduleError(f"failed to parse duration {text}: {e}") from e
        return
    raise ScheduleError(f"unrecognized descriptor: {text}")


def _number(text: str, words: dict[str, int]) -> int:
    word = words.get(text.lower())
    if word is not None:
        return word
    if not _NUMBER.fullmatch(text):
        raise ScheduleError(f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax')
    return int(text)


def _range(text: str, low: int, high: int, words: dict[str, int]) -> None:
    bounds, slash, step_text = text.partition("/")
    if "/" in step_text:
        raise ScheduleError(f"too many slashes: {text}")
    start_text, dash, end_text = bounds.partition("-")
    if "-" in end_text:
        raise ScheduleError(f"too many hyphens: {text}")
    if start_text in ("*", "?"):
        start, end = low, high
    else:
        start = _number(start_text, words)
        end = _number(end_text, words) if dash else (high if slash else start)
    if start < low:
        raise ScheduleError(f"beginning of range ({start}) below minimum ({low}): {text}")
    if end > high:
        raise ScheduleError(f"end of range ({end}) above maximum ({high}): {text}")
    if start > end:
        raise ScheduleError(f"beginning of range ({start}) beyond end of range ({end}): {text}")
    if slash and _number(step_text, {}) == 0:
        raise ScheduleError(f"step of range should be a positive number: {text}")


def is_time_zone(name: str) -> bool:
    """Whether the IANA database of this machine, or of the ``tzdata`` package, knows the zone."""
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
