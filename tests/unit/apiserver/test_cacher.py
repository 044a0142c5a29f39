"""The watch cache against a model: whatever is written, it shows the same, and its watchers hear all of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pybernetes.api.errors import Expired, GatewayTimeout
from pybernetes.api.kinds.registry import strategy_for
from pybernetes.api.meta import Object
from pybernetes.api.resources import CONFIGMAPS, NODES, PODS
from pybernetes.apiserver import cacher as cacher_module
from pybernetes.apiserver import encoding
from pybernetes.apiserver.cacher import Cacher, CacheReader, storage_key
from pybernetes.apiserver.entries import Change, Entry
from pybernetes.apiserver.selection import Selection
from pybernetes.apiserver.watching import Watcher
from pybernetes.lib.clock import ManualClock
from pybernetes.store.interface import Delete, Put, RangeResult, StoreUnavailable
from pybernetes.store.memory import MemoryStore
from tests.support.waiting import until


def pod(namespace: str, name: str, node: str = "", label: str = "") -> Object:
    obj: Object = {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"nodeName": node} if node else {},
    }
    if label:
        obj["metadata"]["labels"] = {"l": label}
    return obj


async def put(store: MemoryStore, obj: Object) -> int:
    meta = obj["metadata"]
    key = storage_key(PODS, meta["namespace"], meta["name"])
    return (await store.txn([], [Put(key, encoding.encode_stored("v1", "Pod", obj))])).revision


async def remove(store: MemoryStore, namespace: str, name: str) -> int:
    return (await store.txn([], [Delete(storage_key(PODS, namespace, name))])).revision


@asynccontextmanager
async def following(store: MemoryStore, clock: ManualClock | None = None) -> AsyncIterator[Cacher]:
    cacher = Cacher(store, clock)
    await cacher.start()
    try:
        yield cacher
    finally:
        await cacher.stop()


def selection(namespace: str = "", labels: str = "", fields: str = "") -> Selection:
    return Selection(PODS, strategy_for(PODS), namespace, labels, fields)


SELECTIONS = [
    selection(),
    selection("a"),
    selection("a-b"),
    selection(labels="l=x"),
    selection("a", labels="l!=x"),
    selection(fields="spec.nodeName=n1"),
    selection(fields="metadata.name=p1"),
    selection("a", fields="metadata.name=p1"),
    selection("a", "l=x", "spec.nodeName=n1"),
]

operations = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "delete"]),
        st.sampled_from(["a", "a-b", "b"]),
        st.sampled_from(["p1", "p2"]),
        st.sampled_from(["", "n1", "n2"]),
        st.sampled_from(["", "x", "y"]),
    ),
    max_size=25,
)


def matches(index: int, obj: Object) -> bool:
    """The selections of `SELECTIONS`, said again in plain words."""
    meta, node = obj["metadata"], obj["spec"].get("nodeName", "")
    namespace, name, label = meta["namespace"], meta["name"], meta.get("labels", {}).get("l", "")
    return [
        True,
        namespace == "a",
        namespace == "a-b",
        label == "x",
        namespace == "a" and label != "x",
        node == "n1",
        name == "p1",
        namespace == "a" and name == "p1",
        namespace == "a" and label == "x" and node == "n1",
    ][index]


def key(obj: Object) -> str:
    return f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=operations, after=operations, start=st.integers(0, 30))
def test_the_cache_and_its_watchers_agree_with_a_model(
    before: list[tuple[str, ...]], after: list[tuple[str, ...]], start: int
) -> None:
    async def check() -> None:
        store = MemoryStore()
        model: dict[str, Object] = {}

        async def apply(steps: list[tuple[str, ...]]) -> None:
            for action, namespace, name, node, label in steps:
                if action == "put":
                    obj = pod(namespace, name, node, label)
                    await put(store, obj)
                    model[f"{namespace}/{name}"] = obj
                else:
                    await remove(store, namespace, name)
                    model.pop(f"{namespace}/{name}", None)

        await apply(before)
        async with following(store) as cacher:
            cache = cacher.kind(PODS)
            base = cacher.revision
            replicas: list[dict[str, Object]] = []
            watchers: list[Watcher] = []
            for chosen in SELECTIONS:
                watcher = Watcher(chosen, after=base)
                replicas.append({e.key: e.obj for e in cache.select(chosen)})
                cache.attach(watcher, base)
                watchers.append(watcher)
            seen: list[tuple[Object | None, Object | None]] = []
            CacheReader(cacher).subscribe(PODS, lambda old, new: seen.append((old, new)))
            assert len(seen) == len(model)
            await apply(after)
            await cacher.fresh()

            for index, chosen in enumerate(SELECTIONS):
                wanted = {k: o for k, o in sorted(model.items()) if matches(index, o)}
                found = list(cache.select(chosen))
                assert [e.key for e in found] == sorted(wanted)
                for entry in found:
                    served = json.loads(entry.raw)
                    assert served == entry.obj
                    version = served["metadata"].pop("resourceVersion")
                    assert version == str(entry.revision) and served == wanted[entry.key]
                # A watcher that starts from the list and applies its events ends where the cache is.
                watchers[index].end()
                replica = replicas[index]
                frames = list(await watchers[index].next())
                # One that comes late and starts from the same list hears the same, no more.
                late = Watcher(chosen, after=base)
                cache.attach(late, base)
                late.end()
                assert [(f.type, f.entry.key) for f in await late.next()] == [(f.type, f.entry.key) for f in frames]
                for frame in frames:
                    shown = frame.entry.obj
                    if frame.type == "DELETED":
                        assert replica.pop(key(shown)) is not None
                    else:
                        assert (key(shown) in replica) == (frame.type == "MODIFIED")
                        replica[key(shown)] = shown
                assert replica == {e.key: e.obj for e in found}

            # A watcher from some time in the past hears exactly what came after.
            everything = Watcher(SELECTIONS[0], after=base)
            from_revision = min(base + start, cacher.revision)
            everything.after = from_revision
            cache.attach(everything, from_revision)
            everything.end()
            revisions = [f.entry.revision for f in await everything.next()]
            assert revisions == sorted(revisions) and all(r > from_revision for r in revisions)
            total = sum(1 for r in range(from_revision + 1, cacher.revision + 1))
            assert len(revisions) == total
            live: dict[str, Object] = {}
            for old, new in seen:
                if new is None:
                    assert old is not None and live.pop(key(old)) == old
                else:
                    assert live.get(key(new)) == old
                    live[key(new)] = new
            assert live == {e.key: e.obj for e in cache.select(SELECTIONS[0])}
        await store.close()

    asyncio.run(check())


async def test_the_window_is_bounded_in_number_and_age(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cacher_module, "WINDOW_CHANGES_MAX", 20)
    monkeypatch.setattr(cacher_module, "WINDOW_CHANGES_MIN", 5)
    store, clock = MemoryStore(), ManualClock()
    async with following(store, clock) as cacher:
        first = cacher.revision
        for i in range(25):
            await put(store, pod("a", f"p{i}"))
        await cacher.fresh()
        cache = cacher.kind(PODS)
        with pytest.raises(Expired, match=r"too old resource version: \d+ \(\d+\)"):
            cache.attach(Watcher(SELECTIONS[0], after=first), first)
        recent = cacher.revision - 20
        cache.attach(Watcher(SELECTIONS[0], after=recent), recent)
        clock.advance(1000)
        await put(store, pod("a", "late"))
        await cacher.fresh()
        assert cacher.revision - cache.horizon == 5
        monkeypatch.setattr(cacher_module, "WINDOW_CHANGES_MAX", 1000)
        size = len(cache.in_namespace("a")[0].raw)
        monkeypatch.setattr(cacher_module, "WINDOW_BYTES_MAX", 10 * size)
        for i in range(50):
            await put(store, pod("a", f"q{i}"))
        await cacher.fresh()
        assert 5 < cacher.revision - cache.horizon <= 10
    await store.close()


async def test_a_compacted_gap_reloads_and_ends_watches() -> None:
    """The store dropped the watch and forgot what came since: everybody starts over, nobody misses a change."""
    store = MemoryStore(watch_limit_events=3)
    async with following(store) as cacher:
        await put(store, pod("a", "gone"))
        await put(store, pod("a", "kept"))
        await cacher.fresh()
        changes: list[tuple[str | None, str | None]] = []
        cacher.kind(PODS).subscribe(
            lambda old, new: changes.append((key(old) if old else None, key(new) if new else None))
        )
        changes.clear()
        watcher = Watcher(SELECTIONS[0], after=cacher.revision)
        cacher.kind(PODS).attach(watcher, cacher.revision)
        # The memory store does not yield: the cache's own watch overflows before it runs.
        for i in range(5):
            await put(store, pod("a", f"n{i}"))
        await remove(store, "a", "gone")
        await store.compact(await store.revision())
        async with asyncio.timeout(5):
            await cacher.fresh()
        assert {e.key for e in cacher.kind(PODS).select(SELECTIONS[0])} == {"a/kept", *(f"a/n{i}" for i in range(5))}
        assert ("a/gone", None) in changes and (None, "a/n0") in changes and ("a/kept", "a/kept") not in changes
        assert watcher.ended
    await store.close()


class Faltering(MemoryStore):
    """A store whose next reads of everything fail, and whose later ones wait until they are let go."""

    def __init__(self, failures: int) -> None:
        super().__init__(watch_limit_events=3)
        self.failures = failures
        self.reading = asyncio.Event()
        self.go_on = asyncio.Event()

    async def range(self, start: str, end: str = "", **more: Any) -> RangeResult:
        found = await super().range(start, end, **more)
        if self.failures > 0:
            self.failures -= 1
            raise StoreUnavailable("not now")
        self.reading.set()
        await self.go_on.wait()
        return found


async def test_a_reload_that_fails_is_tried_again_and_no_watch_survives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cacher_module, "_RESUME_BACKOFF_SECONDS", (0.001,))
    store = Faltering(0)
    store.go_on.set()
    async with following(store) as cacher:
        await put(store, pod("a", "first"))
        await cacher.fresh()
        before = cacher.revision
        store.failures = 2
        store.go_on.clear()
        store.reading.clear()
        for i in range(5):
            await put(store, pod("a", f"n{i}"))
        await store.compact(await store.revision())
        async with asyncio.timeout(5):
            await store.reading.wait()
            # A client that comes while everything is read again, with a version that the old cache still has.
            watcher = Watcher(SELECTIONS[0], after=before)
            cacher.kind(PODS).attach(watcher, before)
            store.go_on.set()
            await cacher.fresh()
        assert len(cacher.kind(PODS)) == 6 and cacher.following
        assert watcher.ended, "it would never hear of what came between its version and the reload"
    await store.close()


async def test_a_bookmark_never_speaks_of_what_was_not_handed_out() -> None:
    store = MemoryStore()
    async with following(store) as cacher:
        watcher = Watcher(SELECTIONS[0], after=cacher.revision)
        cacher.kind(PODS).attach(watcher, cacher.revision)
        first = await put(store, pod("a", "1"))
        await cacher.fresh()
        assert len(await watcher.next()) == 1
        watcher.caught_up(cacher.revision)
        assert watcher.reached == first
        # While the consumer writes: another change, and the end of the watch, and changes that it does not hear of.
        second = await put(store, pod("a", "2"))
        await cacher.fresh()
        assert watcher.reached == first
        watcher.end(cacher.revision)
        await put(store, pod("a", "3"))
        await cacher.fresh()
        assert watcher.reached == first
        assert [f.entry.revision for f in await watcher.next()] == [second]
        watcher.caught_up(cacher.revision)
        assert watcher.reached == second
    await store.close()


async def test_an_idle_watch_ends_with_the_revision_of_its_end() -> None:
    store = MemoryStore()
    async with following(store) as cacher:
        watcher = Watcher(SELECTIONS[1], after=cacher.revision)
        cacher.kind(PODS).attach(watcher, cacher.revision)
        other = await put(store, pod("b", "1"))
        await cacher.fresh()
        watcher.end(cacher.revision)
        await put(store, pod("b", "2"))
        assert await watcher.next() == [] and watcher.reached == other
    await store.close()


async def test_an_overflow_resumes_without_loss() -> None:
    store = MemoryStore(watch_limit_events=3)
    async with following(store) as cacher:
        watcher = Watcher(SELECTIONS[0], after=cacher.revision)
        cacher.kind(PODS).attach(watcher, cacher.revision)
        for burst in range(3):
            for i in range(10):
                await put(store, pod("a", f"p{burst}-{i}"))
        async with asyncio.timeout(10):
            await cacher.fresh()
        assert len(cacher.kind(PODS)) == 30
        assert len(await watcher.next()) == 30 and not watcher.ended
    await store.close()


async def test_a_watch_that_never_gets_on_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """One transaction larger than the store's watch can hold: the cache reads everything again."""
    monkeypatch.setattr(cacher_module, "_RESUME_BACKOFF_SECONDS", (0.01,))
    store = MemoryStore(watch_limit_events=3)
    async with following(store) as cacher:
        puts = [(f"n{i}", encoding.encode_stored("v1", "Pod", pod("a", f"n{i}"))) for i in range(5)]
        await store.txn([], [Put(storage_key(PODS, "a", name), stored) for name, stored in puts])
        await until(lambda: len(cacher.kind(PODS)) >= 5)
    await store.close()


async def test_followers_hear_what_a_new_content_changes() -> None:
    store = MemoryStore()
    async with following(store) as cacher:
        for name in ("stays", "changes", "goes"):
            await put(store, pod("a", name))
        await cacher.fresh()
        kind = cacher.kind(PODS)
        heard: list[tuple[str, str, int]] = []
        stop = kind.follow(lambda change: heard.append((change.type, change.entry.key, change.revision)))
        entries = {name: kind.get("a", name) for name in ("stays", "changes")}
        stays, changes = entries["stays"], entries["changes"]
        assert stays is not None and changes is not None
        changed = Entry(changes.key, changes.obj, changes.raw, 50)
        kind.load([stays, changed, Entry("a/new", pod("a", "new"), b"{}", 51)], 60)
        assert heard == [("MODIFIED", "a/changes", 50), ("ADDED", "a/new", 51), ("DELETED", "a/goes", 60)]
        stop()
        kind.load([], 70)
        assert len(heard) == 3
    await store.close()


async def test_a_follower_that_fails_hurts_nobody() -> None:
    store = MemoryStore()
    async with following(store) as cacher:
        heard: list[str] = []

        def fails(change: Change) -> None:
            raise ValueError("a fault of the component's")

        kind = cacher.kind(PODS)
        kind.follow(fails)
        kind.follow(lambda change: heard.append(change.entry.key))
        await put(store, pod("a", "p1"))
        await cacher.fresh()
        assert heard == ["a/p1"] and cacher.following
        kind.load([], 70)
        assert heard == ["a/p1", "a/p1"]
    await store.close()


async def test_a_watch_from_the_future_hears_nothing_before() -> None:
    store = MemoryStore()
    async with following(store) as cacher:
        later = cacher.revision + 2
        watcher = Watcher(SELECTIONS[0], after=later)
        cacher.kind(PODS).attach(watcher, later)
        for i in range(3):
            await put(store, pod("a", f"p{i}"))
        await cacher.fresh()
        assert [f.entry.name for f in await watcher.next()] == ["p2"]
    await store.close()


async def test_waiting_for_a_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    async with following(store) as cacher:
        target = cacher.revision + 2
        waiting = asyncio.create_task(cacher.reached(target))
        await put(store, pod("a", "p1"))
        await cacher.fresh()
        assert not waiting.done()
        await put(store, pod("a", "p2"))
        await waiting
        monkeypatch.setattr(cacher_module, "FRESH_TIMEOUT_SECONDS", 0.01)
        with pytest.raises(GatewayTimeout):
            await cacher.reached(target + 100)
    await store.close()


async def test_an_announced_object_is_taken_over_and_another_is_not() -> None:
    store = MemoryStore()
    async with following(store) as cacher:
        mine = pod("a", "p1")
        stored = encoding.encode_stored("v1", "Pod", mine)
        name = storage_key(PODS, "a", "p1")
        cacher.expect(name, stored, mine)
        await store.txn([], [Put(name, stored)])
        await cacher.fresh()
        entry = cacher.kind(PODS).get("a", "p1")
        assert entry is not None and entry.obj is mine
        # Somebody else's write came first: what was announced must not stand for it.
        cacher.expect(name, b"{}", mine)
        await put(store, pod("a", "p1", "elsewhere"))
        await cacher.fresh()
        entry = cacher.kind(PODS).get("a", "p1")
        assert entry is not None and entry.obj is not mine and entry.node_name == "elsewhere"
    await store.close()


async def test_cluster_scoped_objects_and_other_kinds_are_apart() -> None:
    store = MemoryStore()
    node: dict[str, Any] = {"kind": "Node", "apiVersion": "v1", "metadata": {"name": "p1"}}
    await store.txn([], [Put(storage_key(NODES, "", "p1"), encoding.encode_stored("v1", "Node", node))])
    async with following(store) as cacher:
        await put(store, pod("a", "p1"))
        await cacher.fresh()
        assert cacher.kind(NODES).get("", "p1") is not None
        assert cacher.kind(PODS).get("", "p1") is None
        assert len(cacher.kind(CONFIGMAPS)) == 0
        reader = CacheReader(cacher)
        assert reader.get(PODS, "a", "p1") is not None and len(reader.list(PODS, "b")) == 0
    await store.close()
