"""When a schedule is due: five fields, descriptors and ``@every``, in a time zone. Pure.

Source of the semantics: ``robfig/cron`` (standard parser), which upstream uses. Day of month and day of week both
have to match where one of them is a star, else either is enough. Times that a change of the clocks skips are skipped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Protocol
from zoneinfo import ZoneInfo

from pybernetes.api.kinds.schedule import check_schedule
from pybernetes.api.time import parse_duration

_DESCRIPTORS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_NAMES = {**{n: i + 1 for i, n in enumerate(_MONTHS)}, **{n: i for i, n in enumerate(_DAYS)}}
_BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
_HORIZON = timedelta(days=5 * 366)


class Schedule(Protocol):
    def next_after(self, at: float) -> float | None:
        """The next due time strictly after `at` (epoch seconds); None where there is none within five years."""
        ...


@dataclass(frozen=True, slots=True)
class Every:
    seconds: float

    def next_after(self, at: float) -> float | None:
        return math.floor(at) + self.seconds


@dataclass(frozen=True, slots=True)
class Fields:
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool
    """Whether day of month or day of week is a star, so that both must match."""
    zone: tzinfo

    def _day_matches(self, local: datetime) -> bool:
        by_date = local.day in self.days
        by_weekday = local.isoweekday() % 7 in self.weekdays
        return by_date and by_weekday if self.any_day else by_date or by_weekday

    def _start_of_day(self, local: datetime) -> float:
        return datetime(local.year, local.month, local.day, tzinfo=self.zone).timestamp()

    def next_after(self, at: float) -> float | None:
        t = (math.floor(at) // 60 + 1) * 60.0
        end = t + _HORIZON.total_seconds()
        while t < end:
            local = datetime.fromtimestamp(t, self.zone)
            if local.month not in self.months:
                first = local.replace(day=1) + timedelta(days=32)
                t = max(t + 60, self._start_of_day(first.replace(day=1)))
            elif not self._day_matches(local):
                t = max(t + 60, self._start_of_day(local.replace(hour=12) + timedelta(days=1)))
            elif local.hour not in self.hours:
                t += 3600 - local.minute * 60 - local.second
            elif local.minute not in self.minutes:
                t += 60
            else:
                return t
        return None


def _number(text: str) -> int:
    found = _NAMES.get(text.lower())
    return int(text) if found is None else found


def _field(text: str, low: int, high: int) -> tuple[frozenset[int], bool]:
    """(values, whether it is a star)."""
    values: set[int] = set()
    star = False
    for part in text.split(","):
        bounds, slash, step_text = part.partition("/")
        step = int(step_text) if slash else 1
        first, dash, last = bounds.partition("-")
        if first in ("*", "?"):
            start, end = low, high
            star = star or step == 1
        else:
            start = _number(first)
            end = _number(last) if dash else (high if slash else start)
        values.update(range(start, end + 1, step))
    return frozenset(values), star


@lru_cache(maxsize=1024)
def parse(text: str, time_zone: str = "") -> Schedule:
    """Raises `api.kinds.schedule.ScheduleError`, and ValueError or KeyError for an unknown zone.

    Without a zone, UTC, which is what upstream's controller manager runs in.
    """
    zone: tzinfo = ZoneInfo(time_zone) if time_zone else UTC
    check_schedule(text)
    if text.startswith("@every "):
        return Every(max(1.0, math.floor(parse_duration(text.removeprefix("@every ")))))
    fields = _DESCRIPTORS.get(text, text).split()
    parsed = [_field(f, low, high) for f, (low, high) in zip(fields, _BOUNDS, strict=True)]
    (minutes, _), (hours, _), (days, days_star), (months, _), (weekdays, weekdays_star) = parsed
    return Fields(minutes, hours, days, months, weekdays, days_star or weekdays_star, zone)


def due(schedule: Schedule, since: float, now: float) -> tuple[float | None, int]:
    """(the latest due time in (since, now], how many there were). Counting stops at 101: too many to catch up."""
    latest: float | None = None
    count = 0
    t = schedule.next_after(since)
    while t is not None and t <= now:
        latest = t
        count += 1
        if count > 100:
            break
        t = schedule.next_after(t)
    if count > 100:
        latest = _latest(schedule, since, now)
    return latest, count


def _latest(schedule: Schedule, since: float, now: float) -> float:
    """The latest due time by halving the interval, where there are too many to walk through."""
    low, high = since, now
    latest = schedule.next_after(since)
    assert latest is not None
    while high - low > 30:
        middle = (low + high) / 2
        t = schedule.next_after(middle)
        if t is not None and t <= now:
            latest, low = t, max(middle, t)
        else:
            high = middle
    return latest
