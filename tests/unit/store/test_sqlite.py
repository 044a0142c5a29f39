"""What SQLite's store promises beyond the contract: its file is checked, its log bounded, its writer never dies."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from pybernetes.store.interface import Put, StoreCorrupt, StoreError
from pybernetes.store.sqlite import SQLiteStore
from pybernetes.store.sqlite_files import wal_bytes

ALL = ("/", "0")


async def filled(directory: Path, count: int = 20) -> None:
    store = await SQLiteStore.open(directory)
    for i in range(count):
        await store.txn([], [Put(f"/k/{i:04}", b"value" * 100)])
    await store.close()


async def test_a_write_that_cannot_be_stored_fails_alone(tmp_path: Path) -> None:
    store = await SQLiteStore.open(tmp_path)
    # A lone surrogate is no UTF-8; all three wait together and end up in one group.
    first, bad, last = await asyncio.gather(
        store.txn([], [Put("/a", b"1")]),
        store.txn([], [Put("/\ud800", b"2")]),
        store.txn([], [Put("/b", b"3")]),
        return_exceptions=True,
    )
    assert isinstance(bad, StoreError)
    assert not isinstance(first, BaseException) and not isinstance(last, BaseException)
    assert [(kv.key, kv.mod_revision) for kv in (await store.range(*ALL)).items] == [
        ("/a", first.revision),
        ("/b", last.revision),
    ]
    assert (await store.txn([], [Put("/c", b"4")])).revision == last.revision + 1
    await store.close()


async def test_the_wal_is_bounded_under_constant_reads(tmp_path: Path) -> None:
    limit = 1 << 20
    store = await SQLiteStore.open(tmp_path, wal_limit_bytes=limit)
    done = False

    async def read() -> None:
        while not done:
            await store.range(*ALL)

    # Two, so that a read is always at work or waiting.
    readers = [asyncio.create_task(read()) for _ in range(2)]
    value, largest = b"x" * 20_000, 0
    for i in range(600):
        await store.txn([], [Put(f"/k/{i % 10}", value)])
        largest = max(largest, wal_bytes(tmp_path))
    done = True
    await asyncio.gather(*readers)
    assert limit / 2 < largest < 1.5 * limit
    assert len((await store.range(*ALL)).items) == 10
    await store.close()


async def test_a_long_read_by_another_process_stops_no_writes(tmp_path: Path) -> None:
    limit = 1 << 20
    store = await SQLiteStore.open(tmp_path, wal_limit_bytes=limit)
    await store.txn([], [Put("/a", b"1")])
    other = sqlite3.connect(f"file:{tmp_path}/state.db?mode=ro", uri=True, isolation_level=None)
    other.execute("BEGIN")
    assert other.execute("SELECT count(*) FROM history").fetchone() == (1,)
    async with asyncio.timeout(5):
        for i in range(150):
            await store.txn([], [Put(f"/k/{i % 10}", b"x" * 20_000)])
    assert other.execute("SELECT count(*) FROM history").fetchone() == (1,), "its snapshot stays"
    other.close()
    for i in range(150):
        await store.txn([], [Put(f"/k/{i % 10}", b"x" * 20_000)])
    assert wal_bytes(tmp_path) < 1.5 * limit
    await store.close()


async def test_a_changed_value_is_noticed_when_it_is_read(tmp_path: Path) -> None:
    await filled(tmp_path)
    path = tmp_path / "state.db"
    content = path.read_bytes()
    at = content.index(b"valuevalue") + 7
    path.write_bytes(content[:at] + b"X" + content[at + 1 :])
    store = await SQLiteStore.open(tmp_path)
    with pytest.raises(StoreCorrupt, match=r"the stored value of /k/\d+ is not what was written"):
        await store.range(*ALL)
    with pytest.raises(StoreCorrupt):
        await store.watch(*ALL, from_revision=2)
    await store.close()


@pytest.mark.parametrize("damage", ["header", "page", "cut", "empty page"])
async def test_a_damaged_file_is_refused_with_what_to_do(tmp_path: Path, damage: str) -> None:
    await filled(tmp_path, 200)
    path = tmp_path / "state.db"
    content = path.read_bytes()
    if damage == "header":
        changed = b"no database, sorry" + content[18:]
    elif damage == "cut":
        changed = content[: len(content) // 2]
    elif damage == "page":
        changed = content[:8192] + b"\xff" * 4096 + content[12288:]
    else:
        changed = content[:-4096] + bytes(4096)
    path.write_bytes(changed)
    with pytest.raises(StoreCorrupt, match=r"is damaged .* bring back a backup with p8s restore"):
        await SQLiteStore.open(tmp_path)
    assert path.read_bytes() == changed


async def test_a_store_of_the_first_format_is_brought_up_to_date(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "state.db")
    connection.executescript(
        """
        CREATE TABLE history (id INTEGER PRIMARY KEY, key TEXT NOT NULL, value BLOB, create_revision INTEGER NOT NULL,
            version INTEGER NOT NULL, lease INTEGER NOT NULL, previous_id INTEGER NOT NULL);
        CREATE TABLE leases (id INTEGER PRIMARY KEY AUTOINCREMENT, deadline REAL NOT NULL);
        CREATE TABLE facts (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
        INSERT INTO facts VALUES ('format', 1);
        INSERT INTO history VALUES (2048, '/a', x'31', 2, 1, 0, 0);
        """
    )
    connection.close()
    store = await SQLiteStore.open(tmp_path)
    await store.txn([], [Put("/b", b"2")])
    assert [(kv.key, kv.value) for kv in (await store.range(*ALL)).items] == [("/a", b"1"), ("/b", b"2")]
    await store.close()


async def test_a_store_of_a_later_format_is_refused(tmp_path: Path) -> None:
    await filled(tmp_path)
    connection = sqlite3.connect(tmp_path / "state.db")
    connection.execute("UPDATE facts SET value = 99 WHERE name = 'format'")
    connection.commit()
    connection.close()
    with pytest.raises(StoreError, match="its format is 99 and this version reads up to 2"):
        await SQLiteStore.open(tmp_path)


async def test_compaction_again_begins_where_the_last_one_ended(tmp_path: Path) -> None:
    store = await SQLiteStore.open(tmp_path)
    for i in range(50):
        await store.txn([], [Put("/a", b"%d" % i), Put(f"/k/{i}", b"")])
        if i in (20, 40):
            await store.compact(await store.revision())
    await store.close()
    store = await SQLiteStore.open(tmp_path)
    await store.compact(await store.revision())
    assert (await store.range("/a")).items[0].value == b"49"
    await store.close()
    connection = sqlite3.connect(tmp_path / "state.db")
    assert connection.execute("SELECT count(*) FROM history WHERE key = '/a'").fetchone() == (1,)
    connection.close()


async def test_reads_of_the_present_are_whole_while_compaction_goes_past_them(tmp_path: Path) -> None:
    store = await SQLiteStore.open(tmp_path)
    await store.txn([], [Put(f"/k/{i:03}", b"x") for i in range(300)])
    done = False

    async def churn() -> None:
        i = 0
        while not done:
            results = await asyncio.gather(*(store.txn([], [Put(f"/k/{(i + j) % 300:03}", b"y")]) for j in range(30)))
            await store.compact(max(r.revision for r in results))
            i += 30

    churning = asyncio.create_task(churn())
    for _ in range(10):
        # Many at once: they wait for the one reader while compaction goes on.
        for found in await asyncio.gather(*(store.range(*ALL) for _ in range(20))):
            assert len(found.items) == 300
    done = True
    await churning
    await store.close()
