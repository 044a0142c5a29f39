"""The watch cache: every stored object, decoded and encoded once, kept true by one watch over the whole store.

`Cacher.start` reads the store and follows it from that revision; all changes are applied in the event loop, in order,
each to its kind's `KindCache`, which offers it to its watchers in the same step. So `revision` says exactly what the
caches hold. If the store drops the watch, the cache resumes from the last revision seen; where that is compacted, it
reads everything again and ends all watches (their clients list again).

Bounds: each kind keeps a window of past changes limited in number and age; each watcher's queue is limited
(see `watching`). Entries are shared with everybody and never change.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import orjson
import structlog

from pybernetes.api import shared_specs
from pybernetes.api.errors import Expired, GatewayTimeout
from pybernetes.api.meta import Object
from pybernetes.api.patch.sharing import share_fields
from pybernetes.api.resources import Resource
from pybernetes.apiserver import encoding
from pybernetes.apiserver.entries import Change, Entry
from pybernetes.apiserver.selection import Selection
from pybernetes.apiserver.store_errors import api_error
from pybernetes.apiserver.watching import Watcher
from pybernetes.lib.clock import Clock, SystemClock
from pybernetes.store.interface import Compacted, Event, Store, StoreClosed, StoreError, Watch, WatchBatch, prefix_end

PREFIX = "/registry/"

WINDOW_CHANGES_MAX = 8192
WINDOW_CHANGES_MIN = 128
WINDOW_SECONDS = 180.0
WINDOW_BYTES_MAX = 128 * 1024 * 1024
"""What is older than this, or lies beyond so many bytes, leaves the window, but for the newest `WINDOW_CHANGES_MIN`."""

FRESH_TIMEOUT_SECONDS = 3.0
_LOAD_PAGE = 5000
_EXPECTED_MAX = 10_000
"""Announced writes that the watch has not brought yet; beyond, they are decoded instead."""
_RESUME_BACKOFF_SECONDS = (0.05, 0.2, 1.0, 5.0)
_RESUMES_BEFORE_RELOAD = 3
_PODS = "core/pods"
_SAMPLES = 8

ChangeHandler = Callable[[Object | None, Object | None], None]
"""Called with (old, new) once the cache shows it: old is None for an addition, new is None for a deletion."""

log = structlog.get_logger(__name__)


def storage_key(resource: Resource, namespace: str, name: str) -> str:
    """The store's key of an object."""
    if resource.namespaced:
        return f"{PREFIX}{resource.storage_id}/{namespace}/{name}"
    return f"{PREFIX}{resource.storage_id}/{name}"


def too_old(requested: int, oldest: int) -> Expired:
    return Expired(f"too old resource version: {requested} ({oldest})")


def too_large(requested: int, current: int) -> GatewayTimeout:
    """Upstream's NewTooLargeResourceVersionError: the cache has not come that far in time."""
    return GatewayTimeout(
        f"Timeout: Too large resource version: {requested}, current: {current}",
        details={
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        },
    )


class KindCache:
    """All objects of one stored kind, its recent changes and its watchers."""

    def __init__(self, storage_id: str, horizon: int, clock: Clock) -> None:
        self.storage_id = storage_id
        self.horizon = horizon
        """Every change after this revision is in the window."""
        self.last_change = horizon
        self._clock = clock
        self._entries: dict[str, Entry] = {}
        self._keys: list[str] = []
        self._by_node: dict[str, dict[str, Entry]] | None = {} if storage_id == _PODS else None
        self._window: deque[Change] = deque()
        self._window_bytes = 0
        self._watchers: dict[tuple[str, ...], set[Watcher]] = {}
        self._handlers: list[ChangeHandler] = []
        self._followers: list[Callable[[Change], None]] = []

    @property
    def shares_specs(self) -> bool:
        return self._by_node is not None

    def at(self, key: str) -> Entry | None:
        """The entry of ``namespace/name``, or of ``name``."""
        return self._entries.get(key)

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, namespace: str, name: str) -> Entry | None:
        return self._entries.get(f"{namespace}/{name}" if namespace else name)

    def select(self, selection: Selection, start: str = "") -> Iterator[Entry]:
        """Entries that match, in key order, from the key `start` on."""
        matches = selection.matches
        for entry in self._candidates(selection, start):
            if matches(entry):
                yield entry

    def _candidates(self, selection: Selection, start: str) -> list[Entry]:
        entries = self._entries
        namespace = selection.namespace
        if selection.name is not None and (namespace or not selection.namespaced):
            entry = entries.get(f"{namespace}/{selection.name}" if namespace else selection.name)
            return [entry] if entry is not None and entry.key >= start else []
        if selection.node is not None and self._by_node is not None:
            on_node = self._by_node.get(selection.node, {})
            return [on_node[k] for k in sorted(on_node) if k >= start]
        return self.in_namespace(namespace, start)

    def in_namespace(self, namespace: str, start: str = "") -> list[Entry]:
        """All entries of a namespace, or all there are where it is empty, in key order, from the key `start` on."""
        entries = self._entries
        first, end = self._bounds(namespace, start)
        keys = self._keys
        return [entries[k] for k in (keys if end - first == len(keys) else keys[first:end])]

    def page(self, namespace: str, start: str, limit: int) -> tuple[list[Entry], int]:
        """The first `limit` of `in_namespace`, and how many follow."""
        first, end = self._bounds(namespace, start)
        entries = self._entries
        stop = min(first + limit, end)
        return [entries[k] for k in self._keys[first:stop]], end - stop

    def average_bytes(self) -> int:
        """About how large an object is: of a few of them, here and there."""
        keys = self._keys
        if not keys:
            return 0
        some = keys[:: max(1, len(keys) // _SAMPLES)][:_SAMPLES]
        return sum(len(self._entries[k].raw) for k in some) // len(some)

    def _bounds(self, namespace: str, start: str) -> tuple[int, int]:
        """Where in the sorted keys a namespace begins and ends."""
        keys = self._keys
        first, end = 0, len(keys)
        if namespace:
            # "0" follows "/": the end of the range of keys that start with "namespace/".
            first, end = bisect_left(keys, namespace + "/"), bisect_left(keys, namespace + "0")
        return (max(first, bisect_left(keys, start)) if start else first), end

    # ---- changes

    def load(self, entries: list[Entry], revision: int) -> None:
        """Takes a complete content as of `revision` in place of what was there. The window starts anew."""
        old = self._entries
        self._entries = {}
        if self._by_node is not None:
            self._by_node = {}
        for entry in entries:
            self._entries[entry.key] = entry
            self._index(entry)
        self._keys = sorted(self._entries)
        self._window.clear()
        self._window_bytes = 0
        self.horizon = self.last_change = revision
        if self._followers:
            self._tell_followers(old, entries, revision)
        if self._handlers:
            for key, previous in old.items():
                if key not in self._entries:
                    self._tell(previous.obj, None)
            for entry in entries:
                before = old.get(entry.key)
                if before is None or before.revision != entry.revision:
                    self._tell(before.obj if before is not None else None, entry.obj)

    def subscribe(self, handler: ChangeHandler) -> Callable[[], None]:
        """See `ObservableReader.subscribe`."""
        for entry in list(self._entries.values()):
            handler(None, entry.obj)
        self._handlers.append(handler)
        return lambda: self._handlers.remove(handler)

    def follow(self, handler: Callable[[Change], None]) -> Callable[[], None]:
        """Calls `handler` with every change from now on, once the cache shows it; returns its end. Handlers are quick
        and do not raise."""
        self._followers.append(handler)
        return lambda: self._followers.remove(handler)

    def _tell_followers(self, old: dict[str, Entry], entries: list[Entry], revision: int) -> None:
        """What a new content of the cache changes."""
        changes = [Change("DELETED", e.tombstone(revision), e) for key, e in old.items() if key not in self._entries]
        for entry in entries:
            before = old.get(entry.key)
            if before is None or before.revision != entry.revision:
                changes.append(Change("MODIFIED" if before is not None else "ADDED", entry, before))
        for change in sorted(changes, key=lambda c: c.revision):
            self._tell_of(change)

    def _tell_of(self, change: Change) -> None:
        for follower in self._followers:
            try:
                follower(change)
            except Exception:
                # A component's fault must not end the cache that all live from.
                log.exception("follower failed", kind=self.storage_id, key=change.entry.key)

    def _tell(self, old: Object | None, new: Object | None) -> None:
        for handler in self._handlers:
            handler(old, new)

    def _index(self, entry: Entry) -> None:
        if self._by_node is not None and (node := entry.node_name):
            self._by_node.setdefault(node, {})[entry.key] = entry

    def _unindex(self, entry: Entry) -> None:
        if self._by_node is not None and (node := entry.node_name):
            bucket = self._by_node[node]
            bucket.pop(entry.key, None)
            if not bucket:
                del self._by_node[node]

    def put(self, entry: Entry) -> None:
        key = entry.key
        previous = self._entries.get(key)
        self._entries[key] = entry
        if previous is None:
            insort(self._keys, key)
            change = Change("ADDED", entry, None)
        else:
            self._unindex(previous)
            change = Change("MODIFIED", entry, previous)
        self._index(entry)
        self._record(change)

    def delete(self, key: str, revision: int) -> None:
        previous = self._entries.pop(key, None)
        if previous is None:
            return
        del self._keys[bisect_left(self._keys, key)]
        self._unindex(previous)
        self._record(Change("DELETED", previous.tombstone(revision), previous))

    def _record(self, change: Change) -> None:
        now = self._clock.monotonic()
        change.time = now
        window = self._window
        window.append(change)
        self._window_bytes += len(change.entry.raw)
        self.last_change = change.revision
        while len(window) > WINDOW_CHANGES_MAX or (
            len(window) > WINDOW_CHANGES_MIN
            and (now - window[0].time > WINDOW_SECONDS or self._window_bytes > WINDOW_BYTES_MAX)
        ):
            oldest = window.popleft()
            self.horizon = oldest.revision
            self._window_bytes -= len(oldest.entry.raw)
        if self._handlers:
            previous = change.previous
            self._tell(
                previous.obj if previous is not None else None, change.entry.obj if change.type != "DELETED" else None
            )
        if self._followers:
            self._tell_of(change)
        if self._watchers:
            self._offer(change)

    # ---- watchers

    def _buckets(self, change: Change) -> list[tuple[str, ...]]:
        """The buckets of the watchers that a change may concern."""
        entry, previous = change.entry, change.previous
        namespace = entry.namespace
        keys: list[tuple[str, ...]] = [(), ("ns", namespace), ("name", namespace, entry.name)]
        if namespace:
            keys.append(("name", "", entry.name))
        if self._by_node is not None:
            node = entry.node_name
            keys.append(("node", node))
            if previous is not None and previous.node_name != node:
                keys.append(("node", previous.node_name))
        return keys

    def _offer(self, change: Change) -> None:
        buckets = self._watchers
        for key in self._buckets(change):
            bucket = buckets.get(key)
            if bucket:
                for watcher in list(bucket):
                    watcher.offer(change)

    def attach(self, watcher: Watcher, revision: int) -> None:
        """Gives the watcher every change after `revision` that is in the window, and every later one. Raises
        `Expired` where the window does not reach back that far."""
        if revision < self.horizon:
            raise too_old(revision, self.horizon)
        if revision < self.last_change:
            missed = list(itertools.takewhile(lambda c: c.revision > revision, reversed(self._window)))
            for change in reversed(missed):
                # As live: a watcher takes for granted that its bucket has seen to the namespace.
                if watcher.bucket in self._buckets(change):
                    watcher.offer(change)
        self._watchers.setdefault(watcher.bucket, set()).add(watcher)

    def detach(self, watcher: Watcher) -> None:
        bucket = self._watchers.get(watcher.bucket)
        if bucket is not None:
            bucket.discard(watcher)
            if not bucket:
                del self._watchers[watcher.bucket]

    def watchers(self) -> list[Watcher]:
        return [w for bucket in self._watchers.values() for w in bucket]


class Cacher:
    """The caches of all kinds. One event loop owns it."""

    def __init__(self, store: Store, clock: Clock | None = None) -> None:
        self._store = store
        self._clock = clock or SystemClock()
        self._kinds: dict[str, KindCache] = {}
        self._base = 0
        self.revision = 0
        """The store's revision that the caches hold."""
        self._waiters: list[tuple[int, int, asyncio.Future[None]]] = []
        self._serial = itertools.count()
        self._expected: dict[str, tuple[bytes, Object]] = {}
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    # ---- reading

    def kind(self, resource: Resource) -> KindCache:
        return self.storage(resource.storage_id)

    def storage(self, storage_id: str) -> KindCache:
        cache = self._kinds.get(storage_id)
        if cache is None:
            cache = self._kinds[storage_id] = KindCache(storage_id, self._base, self._clock)
        return cache

    def kinds(self) -> list[KindCache]:
        return list(self._kinds.values())

    async def fresh(self) -> int:
        """Waits until the caches hold all that is committed now, and returns their revision. Raises `ApiError`."""
        try:
            revision = await self._store.revision()
        except StoreError as e:
            raise api_error(e) from e
        if self.revision < revision:
            await self.reached(revision)
        return self.revision

    async def reached(self, revision: int) -> None:
        """Waits until the caches hold `revision`; `GatewayTimeout` after three seconds, as upstream."""
        if self.revision >= revision:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiters, (revision, next(self._serial), future))
        try:
            async with asyncio.timeout(FRESH_TIMEOUT_SECONDS):
                await future
        except TimeoutError:
            raise too_large(revision, self.revision) from None

    def expect(self, key: str, stored: bytes, obj: Object) -> None:
        """Announces a write of this process, so that its bytes need not be decoded again. The cache takes `obj`
        over and sets its resourceVersion."""
        if len(self._expected) >= _EXPECTED_MAX:
            self._expected.clear()
        self._expected[key] = (stored, obj)

    def forget(self, key: str) -> None:
        """Takes an announcement back: the write did not happen."""
        self._expected.pop(key, None)

    # ---- lifecycle

    @property
    def following(self) -> bool:
        """Whether the caches are kept true."""
        return self._task is not None and not self._task.done()

    async def start(self) -> None:
        """Loads the store's content and begins to follow it."""
        await self._load()
        watch = await self._store.watch(PREFIX, prefix_end(PREFIX), from_revision=self.revision + 1)
        self._task = asyncio.get_running_loop().create_task(self._follow(watch), name="apiserver/cacher")
        self._task.add_done_callback(_report)

    async def stop(self) -> None:
        self._stopping = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self.end_watches()

    def end_watches(self) -> None:
        for kind in self._kinds.values():
            for watcher in kind.watchers():
                watcher.end(self.revision)

    async def _load(self) -> None:
        loaded: dict[str, list[Entry]] = {}
        start, revision = PREFIX, 0
        while True:
            page = await self._store.range(start, prefix_end(PREFIX), revision=revision, limit=_LOAD_PAGE)
            revision = revision or page.revision
            for kv in page.items:
                storage_id, key = _split(kv.key)
                obj = _decoded(kv.value)
                if storage_id == _PODS:
                    _share_spec(obj)
                loaded.setdefault(storage_id, []).append(_entry(key, kv.value, kv.mod_revision, obj))
            if not page.more:
                break
            start = page.items[-1].key + "\0"
        self._base = revision
        # Nobody may miss a change unheard, so all watches end; now and not before the reading, during which others
        # may have begun.
        self.end_watches()
        for storage_id in {*loaded, *self._kinds}:
            self.storage(storage_id).load(loaded.get(storage_id, []), revision)
        self._advance(revision)

    async def _follow(self, watch: Watch) -> None:
        attempt = 0
        while not self._stopping:
            try:
                async for batch in watch:
                    attempt = 0
                    self._apply(batch)
                return
            except StoreClosed:
                return
            except StoreError as error:
                log.warning("store watch ended, resuming", revision=self.revision, error=str(error))
            watch = await self._resume(attempt)
            attempt += 1

    async def _resume(self, attempt: int) -> Watch:
        reload = attempt >= _RESUMES_BEFORE_RELOAD
        while True:
            await self._clock.sleep(_RESUME_BACKOFF_SECONDS[min(attempt, len(_RESUME_BACKOFF_SECONDS) - 1)])
            try:
                if reload:
                    # The store cannot bring this watch on from where it stands.
                    await self._load()
                    reload, attempt = False, 0
                return await self._store.watch(PREFIX, prefix_end(PREFIX), from_revision=self.revision + 1)
            except Compacted:
                # What happened in between is lost: start over.
                reload = True
            except StoreClosed:
                raise
            except StoreError as error:
                attempt += 1
                log.warning("store watch refused", error=str(error))

    def _apply(self, batch: WatchBatch) -> None:
        for event in batch.events:
            self._apply_event(event)
        self._advance(batch.revision)

    def _apply_event(self, event: Event) -> None:
        storage_id, key = _split(event.key)
        kind = self.storage(storage_id)
        if event.value is None:
            kind.delete(key, event.mod_revision)
            return
        obj = None
        expected = self._expected.pop(event.key, None)
        if expected is not None and expected[0] == event.value:
            obj = expected[1]
        if kind.shares_specs:
            if obj is None:
                obj = _decoded(event.value)
            _share_spec(obj)
        kind.put(_entry(key, event.value, event.mod_revision, obj))

    def _advance(self, revision: int) -> None:
        self.revision = max(self.revision, revision)
        waiters = self._waiters
        while waiters and waiters[0][0] <= self.revision:
            future = heapq.heappop(waiters)[2]
            if not future.done():
                future.set_result(None)


def _share_spec(obj: Object) -> None:
    spec = obj.get("spec")
    if spec:
        obj["spec"] = shared_specs.share(spec)


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("the watch cache has stopped: the server is not ready any more", exc_info=error)


class CacheReader:
    """The `ObservableReader` over the caches."""

    def __init__(self, cacher: Cacher) -> None:
        self._cacher = cacher

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        entry = self._cacher.kind(resource).get(namespace if resource.namespaced else "", name)
        return entry.object_as(resource) if entry is not None else None

    def list(self, resource: Resource, namespace: str = "") -> Sequence[Object]:
        return [e.object_as(resource) for e in self._cacher.kind(resource).in_namespace(namespace)]

    def subscribe(self, resource: Resource, handler: ChangeHandler) -> Callable[[], None]:
        return self._cacher.kind(resource).subscribe(handler)

    async def find(self, resource: Resource, namespace: str, name: str) -> Object | None:
        found = self.get(resource, namespace, name)
        if found is None:
            await self._cacher.fresh()
            found = self.get(resource, namespace, name)
        return found


def _split(key: str) -> tuple[str, str]:
    """``(storage id, key within the kind)`` of a store's key."""
    _, _, group, plural, rest = key.split("/", 4)
    return f"{group}/{plural}", rest


def _decoded(stored: bytes) -> Object:
    obj: Object = orjson.loads(stored)
    share_fields(obj)
    return obj


def _entry(key: str, stored: bytes, revision: int, obj: Object | None) -> Entry:
    if obj is None:
        obj = _decoded(stored)
    obj["metadata"]["resourceVersion"] = str(revision)
    return Entry(key, obj, encoding.with_version(stored, revision), revision)
