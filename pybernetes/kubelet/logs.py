"""Container logs as the runtime writes them: read, cut to what was asked for, and followed.

A file holds lines ``TIMESTAMP stdout|stderr F|P TEXT``; P is a part of a line that goes on in the next entry of the
file. Text passes through as bytes. `stream_log` reads one file; following, it sleeps until the directory changes
(inotify) or its owner wakes it, and goes on in the new file after a rotation. `DirectoryWatches` is one inotify
instance for any number of followers; one event loop owns it, and `close` ends it.

Source: the CRI's logging documentation (kubernetes/design-proposals-archive, ``node/kubelet-cri-logging.md``).
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
import struct
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from pybernetes.api.time import parse_time

log = structlog.get_logger(__name__)

_CHUNK_BYTES = 128 * 1024
# Runtimes write entries of at most 16 KiB; anything this long without an end is no log.
_ENTRY_BYTES = 1024 * 1024
_TAIL_BLOCK_BYTES = 64 * 1024
_TIME = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")


@dataclass(frozen=True, slots=True)
class LogOptions:
    """What is asked of a log. `since` is seconds since the epoch; `tail_lines` counts the file's entries;
    `limit_bytes` counts what is answered; `stream` is ``stdout``, ``stderr`` or empty for both."""

    follow: bool = False
    tail_lines: int | None = None
    since: float | None = None
    timestamps: bool = False
    limit_bytes: int | None = None
    stream: str = ""


class LogDecoder:
    """Turns chunks of a log file into the text asked for. `full` once the limit of bytes is reached."""

    def __init__(self, options: LogOptions) -> None:
        self._since = options.since
        self._timestamps = options.timestamps
        self._stream = options.stream.lower().encode()
        self._left = options.limit_bytes
        self._rest = b""
        self._at_line_start = True

    @property
    def full(self) -> bool:
        return self._left is not None and self._left <= 0

    def feed(self, chunk: bytes) -> bytes:
        """The text of the entries that are complete with this chunk."""
        entries = (self._rest + chunk if self._rest else chunk).split(b"\n")
        self._rest = entries.pop()
        if len(self._rest) > _ENTRY_BYTES:
            self._rest = b""
        out: list[bytes] = []
        for entry in entries:
            parts = entry.split(b" ", 3)
            if len(parts) == 4:
                self._entry(parts, out)
        text = b"".join(out)
        if self._left is not None:
            text = text[: self._left]
            self._left -= len(text)
        return text

    def new_file(self) -> None:
        """What comes next is another file's: an entry cut short in the last one is dropped."""
        self._rest = b""

    def _entry(self, parts: list[bytes], out: list[bytes]) -> None:
        time, stream, tags, text = parts
        matched = _TIME.fullmatch(time)
        if matched is None or stream not in (b"stdout", b"stderr"):
            return
        if self._stream and stream != self._stream:
            return
        if self._since is not None and parse_time(time.decode()) < self._since:
            return
        if self._timestamps and self._at_line_start:
            # Nanoseconds of fixed width, as upstream prints them.
            out.append(b"%b.%b%b " % (matched[1], (matched[2] or b"").ljust(9, b"0"), matched[3]))
        out.append(text)
        # Tags are separated by colons; the first one says whether the line ends here.
        self._at_line_start = tags.split(b":", 1)[0] != b"P"
        if self._at_line_start:
            out.append(b"\n")


def tail_offset(file: int, entries: int) -> int:
    """Where the last `entries` entries of a file begin, in bytes. The file's position is not moved."""
    end = os.fstat(file).st_size
    if entries <= 0:
        return end
    # The newline of the entry before the ones wanted; an unfinished entry at the end counts as one.
    wanted = entries + 1 if end and os.pread(file, 1, end - 1) == b"\n" else entries
    at = end
    while at > 0:
        size = min(_TAIL_BLOCK_BYTES, at)
        at -= size
        block = os.pread(file, size, at)
        found = block.count(b"\n")
        if found < wanted:
            wanted -= found
            continue
        index = len(block)
        for _ in range(wanted):
            index = block.rindex(b"\n", 0, index)
        return at + index + 1
    return 0


async def stream_log(
    file: int,
    path: Path,
    options: LogOptions,
    *,
    ended: Callable[[], bool] = lambda: True,
    wake: asyncio.Event | None = None,
) -> AsyncGenerator[bytes, None]:
    """The text of a log. `file` is `path` opened, and stays its owner's to close; ``aclose`` the iteration.

    Following, `wake` is to be set whenever the directory or `ended` may have changed; the stream ends when `ended`
    says so and everything is read. A rotated log is read to its end, then the file now at `path` from its start.
    """
    decoder = LogDecoder(options)
    current = file
    successor: int | None = None
    try:
        if options.tail_lines is not None:
            os.lseek(current, tail_offset(current, options.tail_lines), os.SEEK_SET)
        while True:
            # What is asked before the reading cannot have changed without a wake-up after it.
            if wake is not None:
                wake.clear()
            finished = not options.follow or wake is None or ended()
            if options.follow:
                successor = _successor(path, current)
            while chunk := os.read(current, _CHUNK_BYTES):
                text = decoder.feed(chunk)
                if text:
                    yield text
                if decoder.full:
                    return
                await asyncio.sleep(0)
            if successor is not None:
                if current != file:
                    os.close(current)
                current, successor = successor, None
                decoder.new_file()
                continue
            if finished:
                return
            assert wake is not None
            await wake.wait()
    finally:
        for opened in (current, successor):
            if opened is not None and opened != file:
                os.close(opened)


def _successor(path: Path, file: int) -> int | None:
    """The file now at `path`, opened, where it is another one than `file`."""
    try:
        there, here = path.stat(), os.fstat(file)
        if (there.st_ino, there.st_dev) == (here.st_ino, here.st_dev):
            return None
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        # Between the renaming and the runtime's reopening.
        return None


_IN_MODIFY, _IN_MOVED_TO, _IN_CREATE, _IN_DELETE_SELF = 0x2, 0x80, 0x100, 0x400
_IN_IGNORED, _IN_ONLYDIR = 0x8000, 0x1000000
_EVENT = struct.Struct("iIII")
_EVENTS_BYTES = 64 * 1024


class DirectoryWatches:
    """Wakes followers when something in their directories is written, made or moved in."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._inotify: int | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watching: dict[int, list[asyncio.Event]] = {}

    @contextmanager
    def watch(self, directory: Path, wake: asyncio.Event) -> Iterator[None]:
        """Sets `wake` at every change in `directory` until left. Raises OSError where it cannot be watched."""
        inotify = self._open()
        mask = _IN_MODIFY | _IN_MOVED_TO | _IN_CREATE | _IN_DELETE_SELF | _IN_ONLYDIR
        # The same directory has the same descriptor, however often it is added.
        watch = self._libc.inotify_add_watch(inotify, os.fsencode(directory), ctypes.c_uint32(mask))
        if watch < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(directory))
        self._watching.setdefault(watch, []).append(wake)
        try:
            yield
        finally:
            wakes = self._watching.get(watch)
            if wakes is not None and any(w is wake for w in wakes):
                wakes.remove(wake)
                if not wakes:
                    del self._watching[watch]
                    self._libc.inotify_rm_watch(inotify, watch)

    def close(self) -> None:
        """Ends all watches; followers are woken."""
        if self._inotify is not None and self._loop is not None:
            self._loop.remove_reader(self._inotify)
            os.close(self._inotify)
            self._inotify = None
        self._wake_all()
        self._watching.clear()

    def _open(self) -> int:
        if self._inotify is None:
            inotify = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
            if inotify < 0:
                code = ctypes.get_errno()
                raise OSError(code, os.strerror(code))
            self._inotify = inotify
            self._loop = asyncio.get_running_loop()
            self._loop.add_reader(inotify, self._read)
        return self._inotify

    def _read(self) -> None:
        if self._inotify is None:
            return
        try:
            data = os.read(self._inotify, _EVENTS_BYTES)
        except BlockingIOError:
            return
        at = 0
        while at + _EVENT.size <= len(data):
            watch, mask, _, length = _EVENT.unpack_from(data, at)
            at += _EVENT.size + length
            if watch < 0:
                # The kernel's queue overflowed: anybody may have missed something.
                self._wake_all()
                continue
            wakes = self._watching.get(watch, [])
            for wake in wakes:
                wake.set()
            if mask & _IN_IGNORED:
                self._watching.pop(watch, None)

    def _wake_all(self) -> None:
        for wakes in self._watching.values():
            for wake in wakes:
                wake.set()
