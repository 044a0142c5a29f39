"""The CRI log reader, against files of its format."""

from __future__ import annotations

import asyncio
import itertools
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybernetes.api.time import parse_time
from pybernetes.kubelet.logs import DirectoryWatches, LogDecoder, LogOptions, stream_log, tail_offset

LOG = (
    b"2026-01-02T03:04:05.1Z stdout F one\n"
    b"2026-01-02T03:04:06.25Z stderr F two \xff\n"
    b"2026-01-02T03:04:07.123456789Z stdout P thr\n"
    b"2026-01-02T03:04:07.2Z stdout F ee\n"
    b"no log line\n"
    b"2026-01-02T03:04:08Z stdout F \n"
)


def decode(options: LogOptions, data: bytes = LOG) -> bytes:
    return LogDecoder(options).feed(data)


def test_parts_are_joined_and_bytes_pass() -> None:
    assert decode(LogOptions()) == b"one\ntwo \xff\nthree\n\n"


def test_timestamps_stand_before_whole_lines_in_nanoseconds() -> None:
    assert decode(LogOptions(timestamps=True)) == (
        b"2026-01-02T03:04:05.100000000Z one\n"
        b"2026-01-02T03:04:06.250000000Z two \xff\n"
        b"2026-01-02T03:04:07.123456789Z three\n"
        b"2026-01-02T03:04:08.000000000Z \n"
    )


def test_since_stream_and_limit() -> None:
    assert decode(LogOptions(since=parse_time("2026-01-02T03:04:07Z"))) == b"three\n\n"
    assert decode(LogOptions(stream="stderr")) == b"two \xff\n"
    assert decode(LogOptions(limit_bytes=6)) == b"one\ntw"


@given(st.lists(st.integers(1, len(LOG) - 1), max_size=6), st.none() | st.integers(1, 40))
def test_chunks_make_no_difference(cuts: list[int], limit: int | None) -> None:
    options = LogOptions(timestamps=True, limit_bytes=limit)
    edges = [0, *sorted(cuts), len(LOG)]
    decoder = LogDecoder(options)
    text = b"".join(decoder.feed(LOG[a:b]) for a, b in itertools.pairwise(edges))
    assert text == decode(options)


@given(st.lists(st.binary(max_size=30000).map(lambda b: b.replace(b"\n", b"")), max_size=8), st.integers(0, 9))
def test_tail_begins_at_its_line(lines: list[bytes], wanted: int) -> None:
    file = os.memfd_create("log")
    try:
        os.write(file, b"".join(line + b"\n" for line in lines))
        kept = lines[len(lines) - wanted :] if wanted < len(lines) else lines
        kept = kept if wanted else []
        os.lseek(file, tail_offset(file, wanted), os.SEEK_SET)
        assert os.read(file, 1 << 20) == b"".join(line + b"\n" for line in kept)
    finally:
        os.close(file)


async def test_follow_goes_on_after_rotation(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_bytes(b"2026-01-02T03:04:05Z stdout F one\n")
    watches, wake, over = DirectoryWatches(), asyncio.Event(), False
    file = os.open(path, os.O_RDONLY)
    try:
        with watches.watch(tmp_path, wake):
            text = stream_log(file, path, LogOptions(follow=True), ended=lambda: over, wake=wake)
            assert await anext(text) == b"one\n"
            old = path.open("ab")
            path.rename(tmp_path / "0.log.1")
            old.write(b"2026-01-02T03:04:06Z stdout F two\n")
            old.close()
            assert await asyncio.wait_for(anext(text), 5) == b"two\n"
            path.write_bytes(b"2026-01-02T03:04:07Z stdout F three\n")
            assert await asyncio.wait_for(anext(text), 5) == b"three\n"
            over = True
            wake.set()
            with pytest.raises(StopAsyncIteration):
                await asyncio.wait_for(anext(text), 5)
    finally:
        os.close(file)
        watches.close()
