"""The store's contract: one suite for every implementation."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pybernetes.lib.clock import ManualClock
from pybernetes.store.etcd.config import EtcdConfig
from pybernetes.store.etcd.store import EtcdStore
from pybernetes.store.interface import (
    Compacted,
    Compare,
    Delete,
    Event,
    FutureRevision,
    Put,
    Store,
    StoreClosed,
    StoreError,
    Watch,
    WatchOverflow,
    prefix_end,
)
from pybernetes.store.memory import MemoryStore
from pybernetes.store.sqlite import SQLiteStore
from tests.support.etcd import Etcd

ALL = ("/", "0")
Maker = Callable[..., Awaitable[Store]]


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    """One for all tests of the module: each store has a prefix of its own."""
    with Etcd(tmp_path_factory.mktemp("etcd")) as cluster:
        yield cluster


_prefixes = (f"/{os.getpid()}-{n}" for n in itertools.count())


@pytest.fixture(params=["memory", "sqlite", "etcd"])
async def make(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Maker]:
    made: list[Store] = []

    async def maker(*, clock: ManualClock | None = None, watch_limit_events: int = 1000) -> Store:
        store: Store
        if request.param == "memory":
            store = MemoryStore(clock=clock, watch_limit_events=watch_limit_events)
        elif request.param == "etcd":
            cluster: Etcd = request.getfixturevalue("etcd")
            config = EtcdConfig(tuple(m.address for m in cluster.members), next(_prefixes))
            store = await EtcdStore.open(config, watch_limit_events=watch_limit_events)
        else:
            store = await SQLiteStore.open(
                tmp_path / str(len(made)), clock=clock, watch_limit_events=watch_limit_events
            )
        made.append(store)
        return store

    yield maker
    for store in made:
        await store.close()


@pytest.fixture
async def store(make: Maker) -> Store:
    return await make()


async def put(store: Store, key: str, value: bytes, lease: int = 0) -> int:
    return (await store.txn([], [Put(key, value, lease)])).revision


async def events(watch: Watch, count: int) -> list[Event]:
    found: list[Event] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            found += (await watch.__anext__()).events
    return found


async def test_put_and_range(store: Store) -> None:
    first = await store.revision()
    r1 = await put(store, "/a/1", b"one")
    r2 = await put(store, "/a/2", b"two")
    assert (r1, r2) == (first + 1, first + 2)
    r3 = await put(store, "/a/1", b"uno")
    result = await store.range("/a/", prefix_end("/a/"))
    assert [(kv.key, kv.value, kv.create_revision, kv.mod_revision, kv.version) for kv in result.items] == [
        ("/a/1", b"uno", r1, r3, 2),
        ("/a/2", b"two", r2, r2, 1),
    ]
    assert result.revision == r3 and result.count == 2 and not result.more
    assert [kv.value for kv in (await store.range("/a/2")).items] == [b"two"]
    assert (await store.range("/a")).items == []


async def test_range_limit_and_count(store: Store) -> None:
    for i in range(5):
        await put(store, f"/k/{i}", b"v")
    page = await store.range("/k/", "/k0", limit=2)
    assert [kv.key for kv in page.items] == ["/k/0", "/k/1"]
    assert page.more and page.count == 5
    rest = await store.range("/k/1\0", "/k0", limit=3)
    assert [kv.key for kv in rest.items] == ["/k/2", "/k/3", "/k/4"] and not rest.more and rest.count == 3
    counted = await store.range("/k/", "/k0", count_only=True)
    assert counted.items == [] and counted.count == 5


async def test_range_at_an_old_revision(store: Store) -> None:
    r1 = await put(store, "/a", b"1")
    r2 = await put(store, "/b", b"1")
    await store.txn([], [Delete("/a"), Put("/b", b"2")])
    assert [(kv.key, kv.value) for kv in (await store.range(*ALL, revision=r1)).items] == [("/a", b"1")]
    assert [(kv.key, kv.value) for kv in (await store.range(*ALL, revision=r2)).items] == [("/a", b"1"), ("/b", b"1")]
    assert [(kv.key, kv.value) for kv in (await store.range(*ALL)).items] == [("/b", b"2")]
    with pytest.raises(FutureRevision):
        await store.range(*ALL, revision=r2 + 100)


async def test_compare_and_swap(store: Store) -> None:
    created = await store.txn([Compare("/a", 0)], [Put("/a", b"1")])
    assert created.succeeded
    again = await store.txn([Compare("/a", 0)], [Put("/a", b"2")])
    assert not again.succeeded
    assert again.current[0] is not None and again.current[0].value == b"1"
    assert again.current[0].mod_revision == created.revision
    stale = await store.txn([Compare("/a", created.revision - 1)], [Delete("/a")])
    assert not stale.succeeded
    fresh = await store.txn([Compare("/a", created.revision), Compare("/b", 0)], [Delete("/a"), Put("/b", b"x")])
    assert fresh.succeeded and fresh.revision == created.revision + 1
    assert [kv.key for kv in (await store.range(*ALL)).items] == ["/b"]
    versioned = await store.txn([Compare("/b", 1, "version")], [Put("/b", b"y")])
    assert versioned.succeeded
    assert (await store.txn([Compare("/b", fresh.revision, "create_revision")], [Put("/b", b"z")])).succeeded


async def test_a_transaction_that_writes_nothing_keeps_the_revision(store: Store) -> None:
    before = await store.revision()
    result = await store.txn([], [Delete("/none")])
    assert result.succeeded and result.revision == before == await store.revision()


async def test_concurrent_swaps_of_one_key_lose_no_update(store: Store) -> None:
    await put(store, "/n", b"0")

    async def increment() -> None:
        while True:
            kv = (await store.range("/n")).items[0]
            swap = [Compare("/n", kv.mod_revision)], [Put("/n", str(int(kv.value) + 1).encode())]
            if (await store.txn(*swap)).succeeded:
                return

    await asyncio.gather(*(increment() for _ in range(20)))
    assert (await store.range("/n")).items[0].value == b"20"


async def test_watch_from_now(store: Store) -> None:
    await put(store, "/a", b"0")
    watch = await store.watch("/", "0")
    r1 = await put(store, "/a", b"1")
    r2 = (await store.txn([], [Delete("/a"), Put("/b", b"2")])).revision
    first, second, third = await events(watch, 3)
    assert (first.type, first.key, first.value, first.mod_revision) == ("PUT", "/a", b"1", r1)
    assert first.previous is not None and first.previous.value == b"0"
    assert (second.type, second.key, second.value, second.mod_revision) == ("DELETE", "/a", None, r2)
    assert second.previous is not None and second.previous.value == b"1"
    assert (third.key, third.mod_revision, third.previous) == ("/b", r2, None)
    await watch.close()


async def test_watch_from_a_revision_joins_history_and_present(store: Store) -> None:
    revisions = [await put(store, f"/{i}", b"x") for i in range(10)]
    watch = await store.watch("/", "0", from_revision=revisions[3])
    await put(store, "/new", b"y")
    found = await events(watch, 8)
    assert [e.key for e in found] == [*(f"/{i}" for i in range(3, 10)), "/new"]
    assert [e.mod_revision for e in found] == sorted(e.mod_revision for e in found)


async def test_watch_has_an_event_before_the_write_is_answered(store: Store) -> None:
    watch = await store.watch("/", "0")
    await put(store, "/a", b"1")
    async with asyncio.timeout(0):
        batch = await watch.__anext__()
    assert batch.events[0].key == "/a"


async def test_watch_tells_the_revision_of_changes_outside_its_range(store: Store) -> None:
    watch = await store.watch("/a/", "/a0")
    revision = await put(store, "/b/x", b"1")
    async with asyncio.timeout(10):
        batch = await watch.__anext__()
    assert batch.events == [] and batch.revision == revision


async def test_watch_from_a_revision_to_come_begins_there(store: Store) -> None:
    watch = await store.watch("/", "0", from_revision=await store.revision() + 3)
    revisions = [await put(store, f"/{i}", b"x") for i in range(4)]
    assert [e.mod_revision for e in await events(watch, 2)] == revisions[2:]


async def test_slow_watcher_is_dropped_alone(make: Maker) -> None:
    store = await make(watch_limit_events=5)
    slow = await store.watch("/", "0")
    quick = await store.watch("/", "0")
    for i in range(8):
        await put(store, f"/{i}", b"")
        await events(quick, 1)
    with pytest.raises(WatchOverflow):
        await events(slow, 8)


async def test_compaction(store: Store) -> None:
    r1 = await put(store, "/a", b"1")
    await put(store, "/gone", b"1")
    await store.txn([], [Delete("/gone")])
    r2 = await put(store, "/a", b"2")
    r3 = await put(store, "/b", b"3")
    await store.compact(r2)
    assert await store.compacted() == r2
    for attempt in (store.range(*ALL, revision=r1), store.watch("/", "0", from_revision=r1), store.compact(r1)):
        with pytest.raises(Compacted) as caught:
            await attempt
        assert caught.value.compact_revision == r2
    assert [(kv.key, kv.value) for kv in (await store.range(*ALL, revision=r2)).items] == [("/a", b"2")]
    assert [(kv.key, kv.value) for kv in (await store.range(*ALL)).items] == [("/a", b"2"), ("/b", b"3")]
    watch = await store.watch("/", "0", from_revision=r2)
    assert [e.mod_revision for e in await events(watch, 2)] == [r2, r3]
    assert await put(store, "/a", b"4") == r3 + 1
    await store.txn([], [Delete("/a")])
    assert [kv.key for kv in (await store.range(*ALL)).items] == ["/b"]


async def test_lease_ends_delete_their_keys(make: Maker) -> None:
    clock = ManualClock()
    store = await make(clock=clock)
    # etcd's leases run out by its own clock: there the test waits for the event.
    short, long = await store.grant(1 if isinstance(store, EtcdStore) else 10), await store.grant(100)
    await put(store, "/short/1", b"", short)
    await put(store, "/short/2", b"", short)
    await put(store, "/long", b"", long)
    await put(store, "/freed", b"", short)
    await put(store, "/freed", b"")
    watch = await store.watch("/", "0")
    clock.advance(11)
    if isinstance(store, MemoryStore | SQLiteStore):
        store.expire_due()
    found = await events(watch, 2)
    assert [(e.type, e.key) for e in found] == [("DELETE", "/short/1"), ("DELETE", "/short/2")]
    assert [kv.key for kv in (await store.range(*ALL)).items] == ["/freed", "/long"]
    await store.revoke(long)
    assert [kv.key for kv in (await store.range(*ALL)).items] == ["/freed"]
    with pytest.raises(StoreError, match="lease"):
        await put(store, "/x", b"", short)


async def test_closed(store: Store) -> None:
    watch = await store.watch("/", "0")
    await store.close()
    with pytest.raises(StoreClosed):
        await put(store, "/a", b"")
    with pytest.raises(StoreClosed):
        await watch.__anext__()


KEYS = st.sampled_from(["/a", "/b", "/c/1", "/c/2"])
OPERATION = st.one_of(st.builds(Put, KEYS, st.binary(max_size=3)), st.builds(Delete, KEYS))
TRANSACTION = st.lists(OPERATION, min_size=1, max_size=3, unique_by=lambda op: op.key)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(transactions=st.lists(TRANSACTION, max_size=12), compact_at=st.integers(0, 12))
async def test_every_revision_can_be_read_and_the_watch_replays_it(
    make: Maker, transactions: list[list[Put | Delete]], compact_at: int
) -> None:
    """The model is a dictionary a revision; ranges and the watch must tell the same story."""
    store = await make()
    start = await store.revision()
    state: dict[str, bytes] = {}
    history = {start: dict(state)}
    for number, transaction in enumerate(transactions):
        for op in transaction:
            if isinstance(op, Put):
                state[op.key] = op.value
            else:
                state.pop(op.key, None)
        result = await store.txn([], transaction)
        history[result.revision] = dict(state)
        if number == compact_at and result.revision > start + 1:
            await store.compact(result.revision)
            history = {r: s for r, s in history.items() if r >= result.revision}
    for revision, expected in history.items():
        found = await store.range(*ALL, revision=revision)
        assert {kv.key: kv.value for kv in found.items} == expected
    first = min(history)
    if len(history) > 1:
        replayed = dict(history[first])
        watch = await store.watch("/", "0", from_revision=first + 1)
        seen = first
        while seen < max(history):
            async with asyncio.timeout(10):
                batch = await watch.__anext__()
            for event in batch.events:
                if event.value is None:
                    del replayed[event.key]
                else:
                    replayed[event.key] = event.value
            seen = batch.revision
            assert replayed == history[seen]


async def test_what_a_watch_was_told_live_is_what_history_tells(make: Maker) -> None:
    """Also of writes that came at the same time, and of keys that were there before."""
    store = await make()
    await put(store, "/old", b"0")
    start = await store.revision()
    live = await store.watch(*ALL)

    async def write(number: int) -> None:
        for i in range(5):
            await store.txn([], [Put(f"/{number}", str(i).encode()), Put(f"/{number}/{i}", b""), Delete("/none")])
            await store.txn([], [Delete(f"/{number}/{i}"), Put("/old", f"{number}-{i}".encode())])

    await asyncio.gather(*(write(n) for n in range(6)))
    told = await events(live, 6 * 5 * 4)
    replayed = await events(await store.watch(*ALL, from_revision=start + 1), 6 * 5 * 4)
    assert told == replayed
