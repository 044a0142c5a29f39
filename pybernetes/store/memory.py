"""The store in memory: for tests, and for clusters that may forget. Nothing survives the process.

Owned by one event loop; every method runs without yielding, so transactions are serial by construction.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence

from pybernetes.lib.clock import Clock, SystemClock
from pybernetes.store.interface import (
    Compacted,
    Compare,
    Event,
    FutureRevision,
    KeyValue,
    Operation,
    Put,
    RangeResult,
    StoreClosed,
    StoreError,
    TxnResult,
    WatchBatch,
)
from pybernetes.store.leases import LeaseTimer
from pybernetes.store.watchers import LIMIT_EVENTS, HubWatch, WatchHub, group_by_revision, in_range


class MemoryStore:
    """A `Store` of dictionaries, with all history since the last compaction."""

    def __init__(self, *, clock: Clock | None = None, watch_limit_events: int = LIMIT_EVENTS) -> None:
        self._clock = clock or SystemClock()
        self._revision = 1
        self._compacted = 0
        self._current: dict[str, KeyValue] = {}
        self._keys: list[str] = []
        self._log: list[Event] = []
        self._hub = WatchHub(watch_limit_events)
        self._leases = LeaseTimer(self._clock, self._expire)
        self._lease_keys: dict[int, set[str]] = {}
        self._next_lease = 1
        self._closed = False

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed("the store is closed")

    async def revision(self) -> int:
        return self._revision

    async def compacted(self) -> int:
        return self._compacted

    async def range(
        self, start: str, end: str = "", *, revision: int = 0, limit: int = 0, count_only: bool = False
    ) -> RangeResult:
        self._check_open()
        if revision > self._revision:
            raise FutureRevision(f"revision {revision} has not happened yet (newest {self._revision})")
        if revision and revision < self._compacted:
            raise Compacted(self._compacted)
        if not revision or revision == self._revision:
            if end:
                low, high = bisect.bisect_left(self._keys, start), bisect.bisect_left(self._keys, end)
                found = [self._current[key] for key in self._keys[low:high]]
            else:
                found = [self._current[start]] if start in self._current else []
        else:
            found = self._as_of(start, end, revision)
        items = [] if count_only else found[:limit] if limit else found
        return RangeResult(items, self._revision, len(found), bool(limit) and len(found) > limit)

    def _as_of(self, start: str, end: str, revision: int) -> list[KeyValue]:
        state = {kv.key: kv for kv in self._current.values() if in_range(kv.key, start, end)}
        # Undo, from the newest back, what came after the revision.
        for event in reversed(self._log):
            if event.mod_revision <= revision:
                break
            if in_range(event.key, start, end):
                if event.previous is None:
                    state.pop(event.key, None)
                else:
                    state[event.key] = event.previous
        return [state[key] for key in sorted(state)]

    async def txn(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> TxnResult:
        self._check_open()
        current = [self._current.get(c.key) for c in compares]
        for compare, kv in zip(compares, current, strict=True):
            if (getattr(kv, compare.target) if kv else 0) != compare.value:
                return TxnResult(False, self._revision, list(current))
        for op in operations:
            if isinstance(op, Put) and op.lease and op.lease not in self._leases:
                raise StoreError(f"requested lease {op.lease} not found")
        events = [e for op in operations if (e := self._apply(op, self._revision + 1)) is not None]
        self._commit(events)
        return TxnResult(True, self._revision, [])

    def _apply(self, op: Operation, revision: int) -> Event | None:
        old = self._current.get(op.key)
        if old is not None and old.lease:
            self._lease_keys.get(old.lease, set()).discard(op.key)
        if isinstance(op, Put):
            kv = KeyValue(
                op.key,
                op.value,
                old.create_revision if old else revision,
                revision,
                old.version + 1 if old else 1,
                op.lease,
            )
            if old is None:
                bisect.insort(self._keys, op.key)
            self._current[op.key] = kv
            if op.lease:
                self._lease_keys.setdefault(op.lease, set()).add(op.key)
            return Event("PUT", op.key, op.value, kv.create_revision, revision, kv.version, old)
        if old is None:
            return None
        del self._current[op.key]
        del self._keys[bisect.bisect_left(self._keys, op.key)]
        return Event("DELETE", op.key, None, 0, revision, 0, old)

    def _commit(self, events: list[Event]) -> None:
        if events:
            self._revision += 1
            self._log += events
            self._hub.publish(WatchBatch(events, self._revision))

    async def watch(self, start: str, end: str = "", *, from_revision: int = 0) -> HubWatch:
        self._check_open()
        if from_revision and from_revision < self._compacted:
            raise Compacted(self._compacted)
        watch = self._hub.subscribe(start, end, from_revision)
        if from_revision and from_revision <= self._revision:
            first = bisect.bisect_left(self._log, from_revision, key=lambda e: e.mod_revision)
            for batch in group_by_revision(self._log[first:]):
                watch.deliver(batch)
        return watch

    async def compact(self, revision: int) -> None:
        self._check_open()
        if revision > self._revision:
            raise FutureRevision(f"revision {revision} has not happened yet (newest {self._revision})")
        if revision <= self._compacted:
            raise Compacted(self._compacted)
        self._compacted = revision
        # A watch from `revision` itself is still served, so its own events stay.
        first = bisect.bisect_left(self._log, revision, key=lambda e: e.mod_revision)
        del self._log[:first]

    async def grant(self, ttl_seconds: int) -> int:
        self._check_open()
        lease = self._next_lease
        self._next_lease += 1
        self._leases.add(lease, self._clock.now() + ttl_seconds)
        return lease

    async def revoke(self, lease: int) -> None:
        self._check_open()
        self._leases.remove(lease)
        self._expire(lease)

    def _expire(self, lease: int) -> None:
        keys = sorted(self._lease_keys.pop(lease, ()))
        revision = self._revision + 1
        events = []
        for key in keys:
            old = self._current.pop(key)
            del self._keys[bisect.bisect_left(self._keys, key)]
            events.append(Event("DELETE", key, None, 0, revision, 0, old))
        self._commit(events)

    def expire_due(self) -> None:
        """Lets leases that are due by the clock run out now; the timer does it by itself in real time."""
        self._leases.fire()

    def fault(self) -> str:
        return "the store is closed" if self._closed else ""

    async def close(self) -> None:
        self._closed = True
        self._leases.close()
        self._hub.fail_all(StoreClosed("the store was closed"))
