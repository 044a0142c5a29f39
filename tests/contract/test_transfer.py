"""Backup and restore through the store's interface, on every backend."""

from __future__ import annotations

import asyncio

import pytest

from pybernetes.store import transfer
from pybernetes.store.interface import Compacted, Delete, KeyValue, Put, Store
from tests.contract.test_store import etcd, make, store  # noqa: F401  (fixtures)


async def everything(of: Store) -> tuple[int, list[KeyValue]]:
    found, keys = 0, []
    async for revision, page in transfer.read_all(of):
        found = revision
        keys += page
    return found, keys


def made(count: int, value: str = "v") -> list[KeyValue]:
    return [KeyValue(f"/registry/core/x/{i:05}", f"{value}{i}".encode(), 1, 1, 1) for i in range(count)]


async def test_read_all_shows_one_revision_while_writes_go_on(store: Store) -> None:  # noqa: F811
    for i in range(0, 1200, 100):
        await store.txn([], [Put(f"/registry/core/x/{j:05}", b"0") for j in range(i, i + 100)])
    revisions, keys = set(), []
    async for revision, page in transfer.read_all(store):
        revisions.add(revision)
        keys += page
        await store.txn([], [Put(f"/registry/core/x/{j:05}", b"1") for j in range(1100, 1200)])
        await store.txn([], [Delete("/registry/core/x/01150"), Put("/registry/core/x/99999", b"1")])
    assert len(keys) == 1200 and {kv.value for kv in keys} == {b"0"}
    assert {max(kv.mod_revision for kv in keys)} == revisions


async def test_leased_keys_are_kept_only_where_they_are_events(store: Store) -> None:  # noqa: F811
    lease = await store.grant(100)
    await store.txn([], [Put("/registry/core/events/ns/e", b"1", lease), Put("/registry/core/x/y", b"2", lease)])
    await store.txn([], [Put("/registry/core/x/z", b"3"), Put("/elsewhere", b"4")])
    _, keys = await everything(store)
    assert [kv.key for kv in keys] == ["/registry/core/events/ns/e", "/registry/core/x/z"]


@pytest.mark.parametrize("count", [0, 1, 350])
async def test_replace_all_makes_the_store_hold_exactly_these(store: Store, count: int) -> None:  # noqa: F811
    await store.txn([], [Put(f"/registry/a/{i}", b"old") for i in range(20)])
    await store.txn([], [Put(f"/registry/core/x/{i:05}", b"old") for i in range(0, 99, 3)])
    await store.txn([], [Put(f"/registry/z/{i}", b"old") for i in range(20)])
    before = await store.revision()
    keys = made(count)
    revision = await transfer.replace_all(store, keys, above_revision=before + 200)
    assert revision == await store.revision()
    _, found = await everything(store)
    assert [(kv.key, kv.value) for kv in found] == [(kv.key, kv.value) for kv in keys]
    assert all(kv.mod_revision > before + 200 for kv in found)
    await transfer.check_whole(store)


async def test_watchers_see_a_replacement_as_changes(store: Store) -> None:  # noqa: F811
    await store.txn([], [Put("/registry/a/1", b"old"), Put("/registry/a/2", b"old")])
    watch = await store.watch("/registry/", "/registry0")
    await transfer.replace_all(store, [KeyValue("/registry/a/2", b"new", 1, 1, 1)], above_revision=0)
    state: dict[str, bytes | None] = {}
    async with asyncio.timeout(10):
        while len(state) < 2:
            for event in (await watch.__anext__()).events:
                state[event.key] = event.value
    assert state == {"/registry/a/1": None, "/registry/a/2": b"new"}
    await watch.close()


async def test_a_replacement_cut_short_is_refused_until_it_is_repeated(store: Store) -> None:  # noqa: F811
    class Cut(Exception):
        pass

    def some():  # type: ignore[no-untyped-def]
        yield from made(250)
        raise Cut

    with pytest.raises(Cut):
        await transfer.replace_all(store, some(), above_revision=0)
    with pytest.raises(transfer.HalfRestored, match="restore --force again"):
        await transfer.check_whole(store)
    await transfer.replace_all(store, made(10), above_revision=0)
    await transfer.check_whole(store)
    assert len((await everything(store))[1]) == 10


async def test_older_revisions_are_gone_after_a_compaction(store: Store) -> None:  # noqa: F811
    await store.txn([], [Put("/registry/a/1", b"old")])
    before = await store.revision()
    await store.compact(await transfer.replace_all(store, made(3), above_revision=before + 5))
    with pytest.raises(Compacted):
        await store.watch("/registry/", "/registry0", from_revision=before)
