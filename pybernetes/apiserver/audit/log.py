"""Where audit events go: a file that is rotated, or the standard output, one JSON object a line.

`AuditLog.put` is called on the event loop and never waits: moments lie in a queue, and one thread encodes them and
writes all that wait in one write. The queue holds `QUEUE_MAX` moments; one that comes when it is full is dropped,
counted (``apiserver_audit_error_total``) and told in the log at most every ten seconds: an audit log that cannot keep
up must not stop the cluster. Events are not fsynced, as upstream's are not. `close` writes what waits and returns.

Rotation is as upstream's log files': at `max_size_bytes` the file is renamed to ``NAME-TIME.EXT`` and begun anew;
rotated files beyond `max_backups` or older than `max_age_days` are deleted.
"""

from __future__ import annotations

import queue
import re
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

import structlog

from pybernetes.apiserver.audit.trail import Moment
from pybernetes.lib.clock import Clock

QUEUE_MAX = 10_000
_BATCH_MAX = 400
_COMPLAINT_SECONDS = 10.0
_STAMP = "%Y-%m-%dT%H-%M-%S"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Rotation:
    """0 is for no bound, but for the size: 100 MiB then, as upstream."""

    max_size_bytes: int = 0
    max_age_days: int = 0
    max_backups: int = 0

    @property
    def size(self) -> int:
        return self.max_size_bytes or 100 * 1024 * 1024


class RotatedFile:
    """A file that is appended to and rotated. One thread owns it. Its methods raise OSError."""

    def __init__(self, path: Path, rotation: Rotation, clock: Clock) -> None:
        self._path = path
        self._rotation = rotation
        self._clock = clock
        self._file = self._open()

    def _open(self) -> BinaryIO:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = open(self._path, "ab", buffering=0, opener=_private)  # noqa: SIM115 - kept open
        self._size = descriptor.seek(0, 2)
        return descriptor

    def write(self, lines: Iterable[bytes]) -> None:
        """Appends whole lines, at most one write between two rotations."""
        pending: list[bytes] = []
        for line in lines:
            if self._size and self._size + len(line) > self._rotation.size:
                self._flush(pending)
                self._rotate()
            pending.append(line)
            self._size += len(line)
        self._flush(pending)

    def _flush(self, pending: list[bytes]) -> None:
        if pending:
            self._file.write(b"".join(pending))
            pending.clear()

    def _rotate(self) -> None:
        self._file.close()
        now = datetime.fromtimestamp(self._clock.now(), UTC)
        stamp = f"{now.strftime(_STAMP)}.{now.microsecond // 1000:03d}"
        self._path.rename(self._path.with_name(f"{self._path.stem}-{stamp}{self._path.suffix}"))
        self._file = self._open()
        self._clean(now)

    def _clean(self, now: datetime) -> None:
        rotated = sorted(self._rotated(), reverse=True)
        keep = self._rotation.max_backups
        oldest = now - timedelta(days=self._rotation.max_age_days)
        for i, (at, path) in enumerate(rotated):
            if (keep and i >= keep) or (self._rotation.max_age_days and at < oldest):
                path.unlink(missing_ok=True)

    def _rotated(self) -> Iterable[tuple[datetime, Path]]:
        name = re.compile(
            re.escape(self._path.stem) + r"-(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d)\.(\d{3})" + re.escape(self._path.suffix)
        )
        for path in self._path.parent.iterdir():
            found = name.fullmatch(path.name)
            if found is not None:
                at = datetime.strptime(found.group(1), _STAMP).replace(tzinfo=UTC)
                yield at + timedelta(milliseconds=int(found.group(2))), path

    def close(self) -> None:
        self._file.close()


def _private(path: str, flags: int) -> int:
    import os

    return os.open(path, flags, 0o600)


class StandardOutput:
    """``--audit-log-path=-``."""

    def write(self, lines: Iterable[bytes]) -> None:
        sys.stdout.buffer.write(b"".join(lines))
        sys.stdout.buffer.flush()

    def close(self) -> None:
        """The stream stays the process'."""


class AuditLog:
    """The `Sink` that writes. It begins to work when it is made; `close` ends it."""

    def __init__(self, target: RotatedFile | StandardOutput, clock: Clock) -> None:
        self._target = target
        self._clock = clock
        self._queue: queue.SimpleQueue[Moment | None] = queue.SimpleQueue()
        self._complained = -_COMPLAINT_SECONDS
        self.written = 0
        self.dropped = 0
        """Events that found the queue full, or that could not be written."""
        self._thread = threading.Thread(target=self._work, name="audit-log", daemon=True)
        self._thread.start()

    def statistics(self) -> dict[str, int]:
        return {"waiting": self._queue.qsize(), "written": self.written, "dropped": self.dropped}

    def put(self, moment: Moment) -> None:
        """Never waits; see the module for what happens when the queue is full."""
        if self._queue.qsize() >= QUEUE_MAX:
            self._lost(1, "the queue is full")
            return
        self._queue.put(moment)

    def close(self) -> None:
        """Returns when all that was put is written. Nothing may be put afterwards."""
        self._queue.put(None)
        self._thread.join()
        self._target.close()

    def _lost(self, count: int, why: str) -> None:
        self.dropped += count
        now = self._clock.monotonic()
        if now - self._complained >= _COMPLAINT_SECONDS:
            self._complained = now
            log.error("audit events dropped", reason=why, dropped=self.dropped)

    def _work(self) -> None:
        more = True
        while more:
            batch: list[Moment] = []
            more = self._take(batch)
            lines = [line for moment in batch if (line := self._line(moment)) is not None]
            try:
                self._target.write(lines)
            except OSError as error:
                self._lost(len(lines), str(error))
            else:
                self.written += len(lines)

    def _take(self, batch: list[Moment]) -> bool:
        """Fills a batch with what waits, at least one; False after the end."""
        moment = self._queue.get()
        while moment is not None:
            batch.append(moment)
            if len(batch) >= _BATCH_MAX:
                return True
            try:
                moment = self._queue.get_nowait()
            except queue.Empty:
                return True
        return False

    def _line(self, moment: Moment) -> bytes | None:
        try:
            return moment.encode() + b"\n"
        except Exception as error:  # noqa: BLE001 - one event that cannot be told must not end the log of all others
            self._lost(1, f"{type(error).__name__}: {error}")
            return None
