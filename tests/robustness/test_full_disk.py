"""The SQLite store alone on a disk that is full: clear errors, nothing lost, and work goes on when there is room."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pybernetes.store.interface import Put, StoreFull
from pybernetes.store.sqlite import SQLiteStore
from tests.robustness.disks import SmallDisk, small_disk

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
ALL = ("/", "0")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", 8) as made:
        yield made


async def write_until_full(store: SQLiteStore) -> dict[str, bytes]:
    """What was acknowledged."""
    written: dict[str, bytes] = {}
    for i in range(10_000):
        key, value = f"/k/{i % 50}", b"%06d" % i * 500
        try:
            await store.txn([], [Put(key, value)])
        except StoreFull:
            return written
        written[key] = value
    raise AssertionError("the disk never was full")


async def test_a_full_disk_loses_nothing_and_is_recovered_from(disk: SmallDisk) -> None:
    disk.fill(but_bytes=2 << 20)
    store = await SQLiteStore.open(disk.path / "store")
    written = await write_until_full(store)
    revision = await store.revision()
    with pytest.raises(StoreFull, match="free some space and try again"):
        await store.txn([], [Put("/big", bytes(8 << 20))])
    assert {kv.key: kv.value for kv in (await store.range(*ALL)).items} == written
    assert await store.revision() == revision
    disk.free()
    assert (await store.txn([], [Put("/again", b"1")])).revision == revision + 1
    await store.compact(revision)
    await store.close()
    store = await SQLiteStore.open(disk.path / "store")
    assert {kv.key: kv.value for kv in (await store.range(*ALL)).items} == {**written, "/again": b"1"}
    await store.close()


async def test_a_compaction_without_room_changes_nothing(disk: SmallDisk) -> None:
    store = await SQLiteStore.open(disk.path / "store")
    first = (await store.txn([], [Put("/a", b"1")])).revision
    await store.txn([], [Put("/a", b"2")])
    disk.fill()
    # The log may still have room for some pages.
    await write_until_full(store)
    with pytest.raises(StoreFull):
        await store.compact(first + 1)
    assert await store.compacted() == 0
    assert [kv.value for kv in (await store.range("/a", revision=first)).items] == [b"1"]
    disk.free()
    await store.compact(first + 1)
    assert await store.compacted() == first + 1
    await store.close()


async def test_a_store_on_a_full_disk_opens_or_says_why_not(disk: SmallDisk) -> None:
    store = await SQLiteStore.open(disk.path / "store")
    await store.txn([], [Put("/a", b"1")])
    await store.close()
    disk.fill()
    with pytest.raises(StoreFull, match=r"cannot open the store in .*the disk is full or cannot be written"):
        await SQLiteStore.open(disk.path / "store")
    disk.free()
    store = await SQLiteStore.open(disk.path / "store")
    assert [kv.value for kv in (await store.range("/a")).items] == [b"1"]
    await store.close()
