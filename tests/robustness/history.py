"""Recorded histories: what every client did and saw, as JSON lines, one file a client.

A record is written as soon as its operation has ended, so what was seen survives whatever happens next. All clients
live in one process: their times are readings of one monotonic clock, and "ended before the other began" is a fact.

Operations of a `Record`, with their `args` and, where `outcome` is ok, their `result`:

============  ==================================  ====================================================
op            args                                result
============  ==================================  ====================================================
create        name, write                         revision, uid
update        name, write, expected               revision, uid (a PUT with a resourceVersion)
patch         name, write                         revision, uid (no resourceVersion: whatever is there)
apply         name, write                         revision, uid (server-side apply, forced: makes or changes it)
dry           name, write                         (any of the above with dryRun: nothing may come of it)
delete        name, expected (0: any)             uid
get           name, fresh                         revision, write, uid
list          fresh, at (0: now), limit, side,    revision, items [[name, revision, write], ...], pages
              not_older (0: any)                  [revision, ...], whole (else cut by 410 or an error)
watch         from (0 with `initial`), initial,   events [[time, type, name, revision, write], ...], end
              side
fault         kind                                text
============  ==================================  ====================================================

`outcome` is ok, refused (an answer that says that it did not happen: 4xx), or unknown (anything else: it may have
happened, it may yet happen). `write` names a write for good: it is stored in the object. Objects bear the label `side`,
which writes change; a list or watch with a side asks for those alone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

OK, REFUSED, UNKNOWN = "ok", "refused", "unknown"
STORING = ("create", "update", "patch", "apply")
WRITES = (*STORING, "delete")
INITIAL_END = "INITIAL-END"
"""The type under which a watch records the bookmark that ends its initial events."""


@dataclass(frozen=True, slots=True)
class Record:
    client: str
    op: str
    start: float
    end: float
    outcome: str = OK
    args: dict[str, Any] = field(default_factory=dict)
    result: dict[str, Any] = field(default_factory=dict)
    status: int = 0
    reason: str = ""

    def __str__(self) -> str:
        result = dict(self.result)
        for long in ("items", "events"):
            if len(result.get(long, ())) > 6:
                result[long] = f"({len(result[long])} of them)"
        what = f"{self.client} {self.op} {self.args} [{self.start:.4f}..{self.end:.4f}] {self.outcome}"
        return f"{what} {self.status or ''} {self.reason} {result or ''}".rstrip()


@dataclass(frozen=True, slots=True)
class Stored:
    """A change as the store itself keeps it: the truth that everything else is held against."""

    revision: int
    type: str
    """PUT or DELETE."""
    name: str
    write: str
    """Of a deletion: that of what was deleted."""
    uid: str
    side: str = ""
    """The object's label of that name; of a deletion, what it was last."""


@dataclass
class History:
    records: list[Record]
    stored: list[Stored]
    final_revision: int = 0
    """What every watcher must have come to; 0 where the run did not come to its end."""
    settings: dict[str, Any] = field(default_factory=dict)


class Recorder:
    """Writes a history below one directory."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._files: dict[str, TextIO] = {}
        self.failures = 0
        """Answers so far that said that the server failed."""

    def now(self) -> float:
        return time.monotonic()

    def add(self, record: Record) -> None:
        self.failures += record.status >= 500
        self._line(record.client, asdict(record))

    def add_stored(self, entries: Iterable[Stored]) -> None:
        for entry in entries:
            self._line("stored", asdict(entry))

    def note(self, **settings: Any) -> None:
        self._line("settings", settings)

    def _line(self, name: str, value: dict[str, Any]) -> None:
        file = self._files.get(name)
        if file is None:
            file = self._files[name] = (self.directory / f"{name}.jsonl").open("a", buffering=1)
        file.write(json.dumps(value, separators=(",", ":")) + "\n")

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()


def load(directory: Path) -> History:
    """Reads a history back. A last line that was cut off by the end of the recorder is left out."""
    records: list[Record] = []
    stored: dict[tuple[int, str], Stored] = {}
    settings: dict[str, Any] = {}
    files = sorted(directory.glob("*.jsonl"))
    if not files:
        raise FileNotFoundError(f"there is no history in {directory}")
    for path in files:
        for value in _lines(path):
            if path.stem == "stored":
                entry = Stored(**value)
                stored[entry.revision, entry.name] = entry
            elif path.stem == "settings":
                settings |= value
            else:
                records.append(Record(**value))
    records.sort(key=lambda r: r.start)
    ordered = [stored[k] for k in sorted(stored)]
    return History(records, ordered, int(settings.get("final_revision", 0)), settings)


def _lines(path: Path) -> Iterable[dict[str, Any]]:
    text = path.read_text()
    lines = text.split("\n")
    for number, line in enumerate(lines):
        try:
            if line:
                yield json.loads(line)
        except ValueError:
            if number != len(lines) - 1:
                raise
