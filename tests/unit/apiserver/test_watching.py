"""A watcher's queue: what it holds at most, in events and in bytes."""

from __future__ import annotations

import pytest

from pybernetes.api.kinds.registry import strategy_for
from pybernetes.api.resources import CONFIGMAPS
from pybernetes.apiserver import watching
from pybernetes.apiserver.entries import Change, Entry
from pybernetes.apiserver.selection import Selection
from pybernetes.apiserver.watching import Watcher

SMALL, LARGE = b"x" * 2000, b"x" * 1_000_000


def made(revision: int, raw: bytes = SMALL) -> Entry:
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "b"}}
    return Entry("b/a", obj, raw, revision)


def watcher() -> Watcher:
    return Watcher(Selection(CONFIGMAPS, strategy_for(CONFIGMAPS)), after=0)


def offer(to: Watcher, count: int, raw: bytes = SMALL) -> int:
    """How many were taken before the watcher was dropped, or all."""
    for i in range(count):
        to.offer(Change("MODIFIED", made(i + 1, raw), None))
        if to.dropped:
            return i
    return count


def test_small_events_are_bounded_by_their_number() -> None:
    cut: list[str] = []
    slow = watcher()
    slow.on_drop(lambda: cut.append("off"))
    assert offer(slow, 30_000) == watching.QUEUE_FRAMES_MAX
    assert slow.ended and cut == ["off"] and not slow._queue


def test_large_events_are_bounded_by_their_bytes() -> None:
    taken = offer(watcher(), 30_000, LARGE)
    assert watching.QUEUE_BYTES_MAX <= taken * len(LARGE) < 2.1 * watching.QUEUE_BYTES_MAX


async def test_what_was_read_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    reading = watcher()
    for _ in range(10):
        assert offer(reading, 60, LARGE) == 60
        assert len(await reading.next()) == 60
    assert not reading.dropped


def test_what_was_there_does_not_count() -> None:
    """The cache keeps it alive anyway."""
    new = watcher()
    new.preload([made(i, LARGE) for i in range(1000)])
    assert offer(new, 1000) == 1000
    other = watcher()
    other.preload([made(i) for i in range(1000)])
    assert offer(other, 30_000) == watching.QUEUE_FRAMES_MAX
