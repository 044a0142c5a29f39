"""What only a store on disk can show: acknowledged writes survive `kill -9`, and a restart finds everything."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from pybernetes.lib.clock import ManualClock
from pybernetes.store.interface import Delete, Put, StoreError
from pybernetes.store.sqlite import SQLiteStore

WRITER = """
import asyncio, sys
from pathlib import Path
from pybernetes.store.interface import Put
from pybernetes.store.sqlite import SQLiteStore

async def main():
    store = await SQLiteStore.open(Path(sys.argv[1]))
    async def client(c):
        n = 0
        while True:
            result = await store.txn([], [Put(f"/{c}/{n:06}", b"x" * 100)])
            # One write a line: the parent reads what was acknowledged, whole lines only.
            sys.stdout.write(f"/{c}/{n:06} {result.revision}\\n")
            sys.stdout.flush()
            n += 1
    await asyncio.gather(*(client(c) for c in range(8)))
asyncio.run(main())
"""


async def test_acknowledged_writes_survive_kill_9(tmp_path: Path) -> None:
    for _ in range(3):
        child = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "s")], stdout=subprocess.PIPE)
        assert child.stdout is not None
        acknowledged = [child.stdout.readline() for _ in range(300)]
        os.kill(child.pid, signal.SIGKILL)
        acknowledged += child.stdout.readlines()
        child.wait()
        child.stdout.close()
        store = await SQLiteStore.open(tmp_path / "s")
        found = {kv.key: kv.mod_revision for kv in (await store.range("/", "0")).items}
        for line in acknowledged:
            if line.endswith(b"\n"):
                key, revision = line.decode().split()
                assert found[key] == int(revision)
        assert await store.revision() >= max(found.values())
        await store.close()


async def test_restart_keeps_revisions_leases_and_compaction(tmp_path: Path) -> None:
    clock = ManualClock()
    store = await SQLiteStore.open(tmp_path, clock=clock)
    lease = await store.grant(60)
    await store.txn([], [Put("/leased", b"1", lease)])
    await store.txn([], [Put("/a", b"1")])
    revision = (await store.txn([], [Delete("/a")])).revision
    await store.compact(revision)
    await store.close()
    store = await SQLiteStore.open(tmp_path, clock=clock)
    assert await store.revision() == revision and await store.compacted() == revision
    assert [kv.key for kv in (await store.range("/", "0")).items] == ["/leased"]
    watch = await store.watch("/", "0")
    clock.advance(61)
    store.expire_due()
    async with asyncio.timeout(10):
        batch = await watch.__anext__()
    assert [(e.type, e.key) for e in batch.events] == [("DELETE", "/leased")] and batch.revision == revision + 1
    await store.close()


async def test_compaction_frees_old_rows(tmp_path: Path) -> None:
    store = await SQLiteStore.open(tmp_path)
    for i in range(500):
        revision = (await store.txn([], [Put("/a", str(i).encode()), Put(f"/t/{i}", b"")])).revision
        await store.txn([], [Delete(f"/t/{i}")])
    await store.compact(revision + 1)
    await store.close()
    rows = sqlite3.connect(tmp_path / "state.db").execute("SELECT count(*) FROM history").fetchone()[0]
    assert rows <= 2


async def test_one_process_at_a_time(tmp_path: Path) -> None:
    store = await SQLiteStore.open(tmp_path)
    with pytest.raises(StoreError, match="open in another process"):
        await SQLiteStore.open(tmp_path)
    await store.close()
    await (await SQLiteStore.open(tmp_path)).close()


async def test_a_failed_commit_changes_nothing_and_the_store_goes_on(tmp_path: Path) -> None:
    store = await SQLiteStore.open(tmp_path)
    before = (await store.txn([], [Put("/a", b"1")])).revision
    # A page limit makes SQLite say "disk full" without filling a disk.
    pages = await store._on_writer(lambda c: c.execute("PRAGMA page_count").fetchone()[0])
    await store._on_writer(lambda c: c.execute(f"PRAGMA max_page_count={pages}").fetchone())
    with pytest.raises(StoreError, match="full"):
        await store.txn([], [Put("/big", b"x" * 1_000_000)])
    assert await store.revision() == before
    await store._on_writer(lambda c: c.execute("PRAGMA max_page_count=1000000").fetchone())
    assert (await store.txn([], [Put("/a", b"2")])).revision == before + 1
    assert [(kv.key, kv.value) for kv in (await store.range("/", "0")).items] == [("/a", b"2")]
    await store.close()


async def test_groups_of_every_size_are_written_whole(tmp_path: Path) -> None:
    """Rows go to the database in statements of a few lengths, of which the last is filled up."""
    store = await SQLiteStore.open(tmp_path / "store")
    written: dict[str, tuple[int, bytes]] = {}
    for size in (1, 2, 3, 4, 5, 9, 31, 33, 64, 100, 128, 129, 300):
        keys = [f"/{size}/{i:03}" for i in range(size)]
        results = await asyncio.gather(*(store.txn([], [Put(k, k.encode()), Put(k + "b", b"")]) for k in keys))
        for key, result in zip(keys, results, strict=True):
            written |= {key: (result.revision, key.encode()), key + "b": (result.revision, b"")}
    await store.close()
    again = await SQLiteStore.open(tmp_path / "store")
    found = await again.range("/", "0")
    assert {kv.key: (kv.mod_revision, kv.value) for kv in found.items} == written
    await again.close()
