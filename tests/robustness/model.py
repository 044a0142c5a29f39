"""The model: one log of changes, each with a revision of its own; the state at a revision is what the log makes of it.

And time: of any moment it can be said which revision was surely reached (somebody had been told of it), and which
surely was not (it was made by a request that had not begun). A read between two moments must show the state at some
revision in between. Pure; built from a `History`, never changed.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate

from tests.robustness.history import OK, WRITES, History, Record, Stored

NEVER = math.inf


@dataclass(frozen=True, slots=True)
class Version:
    """A name's state from `first` until before `until`; `entry` is None while there is no object."""

    first: float
    until: float
    entry: Stored | None


class Log:
    """The stored changes, in order of their revisions."""

    def __init__(self, entries: Iterable[Stored]) -> None:
        self.entries = sorted(entries, key=lambda e: e.revision)
        self.revisions = [e.revision for e in self.entries]
        self.by_write: dict[str, list[Stored]] = defaultdict(list)
        self.deletions: dict[str, list[Stored]] = defaultdict(list)
        """By uid."""
        self._by_name: dict[str, list[Stored]] = defaultdict(list)
        for entry in self.entries:
            self._by_name[entry.name].append(entry)
            if entry.type == "PUT":
                self.by_write[entry.write].append(entry)
            else:
                self.deletions[entry.uid].append(entry)

    def after(self, revision: float) -> int:
        """The index of the first entry with a higher revision."""
        return bisect_right(self.revisions, revision)

    def before(self, entry: Stored) -> Stored | None:
        """The object that the entry changed; None where it made a new one."""
        entries = self._by_name[entry.name]
        index = bisect_left(entries, entry.revision, key=lambda e: e.revision)
        previous = entries[index - 1] if index else None
        return previous if previous is not None and previous.type == "PUT" else None

    def versions(self, name: str) -> Iterator[Version]:
        """All states that the name ever had, from revision 0 to the end of time."""
        first, state = 0.0, None
        for entry in self._by_name.get(name, ()):
            yield Version(first, entry.revision, state)
            first, state = entry.revision, entry if entry.type == "PUT" else None
        yield Version(first, NEVER, state)

    def find(self, name: str, revision: int) -> Stored | None:
        """The entry with which the object got this resourceVersion."""
        entries = self._by_name.get(name, [])
        index = bisect_left(entries, revision, key=lambda e: e.revision)
        return entries[index] if index < len(entries) and entries[index].revision == revision else None


class States:
    """The whole state at rising revisions, in one pass over the log."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._next = 0
        self._state: dict[str, Stored] = {}

    def at(self, revision: float) -> dict[str, Stored]:
        """Not for keeping: the next call changes it. Revisions must not go back."""
        entries = self._log.entries
        while self._next < len(entries) and entries[self._next].revision <= revision:
            entry = entries[self._next]
            self._next += 1
            if entry.type == "PUT":
                self._state[entry.name] = entry
            else:
                self._state.pop(entry.name, None)
        return self._state


class Moments:
    """Which revisions had, and had not, been reached at a moment."""

    def __init__(self, history: History, log: Log) -> None:
        told: list[tuple[float, int]] = []
        begun: dict[str, float] = {}
        deletes: dict[str, float] = {}
        for record in history.records:
            told += _told(record)
            if record.op in WRITES:
                if record.op == "delete":
                    name = record.args["name"]
                    deletes[name] = min(deletes.get(name, NEVER), record.start)
                else:
                    begun[record.args["write"]] = record.start
            if record.op == "delete" and record.outcome == OK:
                # Its answer names no revision; the log does.
                told += [(record.end, e.revision) for e in log.deletions.get(record.result["uid"], [])]
        told.sort()
        self._told_times = [time for time, _ in told]
        self._told = list(accumulate((revision for _, revision in told), max))
        made = []
        for entry in log.entries:
            start = begun.get(entry.write) if entry.type == "PUT" else deletes.get(entry.name)
            if start is not None:
                made.append((start, entry.revision))
        made.sort()
        self._made_times = [time for time, _ in made]
        self._made = list(accumulate((revision for _, revision in reversed(made)), min))[::-1]

    def reached(self, moment: float) -> int:
        """A revision that somebody had been told of before the moment, the highest."""
        index = bisect_left(self._told_times, moment)
        return self._told[index - 1] if index else 0

    def possible(self, moment: float) -> float:
        """The highest revision that may have been there at the moment."""
        index = bisect_right(self._made_times, moment)
        return self._made[index] - 1 if index < len(self._made) else NEVER


def _told(record: Record) -> list[tuple[float, int]]:
    """What the record says was committed, and by when."""
    if record.op == "watch":
        return [(time, revision) for time, _, _, revision, _ in record.result.get("events", ())]
    revision = record.result.get("revision", 0)
    return [(record.end, revision)] if record.outcome == OK and revision else []
