"""Objects in the store and their cache, as one: reading what is current, writing with compare-and-swap.

Every write compares the key's revision, so nothing is ever overwritten unseen. A write that is cancelled may or may
not have happened.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pybernetes.api.meta import Object
from pybernetes.api.patch.sharing import share_fields
from pybernetes.api.resources import Resource
from pybernetes.apiserver import encoding
from pybernetes.apiserver.cacher import Cacher, storage_key
from pybernetes.apiserver.entries import Entry
from pybernetes.apiserver.interfaces import Charge, Rider
from pybernetes.apiserver.store_errors import api_error
from pybernetes.lib.clock import Clock
from pybernetes.store.interface import Compare, Delete, Operation, Put, Store, StoreError, TxnResult

EVENT_TTL_SECONDS = 3600
_LEASE_REUSE_SECONDS = 60.0
_LEASE_REUSES_MAX = 1000


@dataclass(frozen=True, slots=True)
class Guard:
    """A key that says by its revision whether another server has allocated meanwhile: written with each allocation,
    and compared with what it was when the choice was made."""

    key: str
    revision: int


class GuardMoved(Exception):
    """Nothing was written: the guards were at these revisions, not at those given."""

    def __init__(self, guards: Sequence[Guard]) -> None:
        super().__init__("another server has allocated meanwhile")
        self.guards = guards


class EventLease:
    """The lease under which events are kept: one for all events of a minute (at most 1000), as upstream's lease
    manager does, so that an event costs no lease of its own."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._lease = 0
        self._uses = 0
        self._until = 0.0
        self._lock = asyncio.Lock()

    async def get(self) -> int:
        if self._usable():
            self._uses += 1
            return self._lease
        async with self._lock:
            if not self._usable():
                self._lease = await self._store.grant(EVENT_TTL_SECONDS + int(_LEASE_REUSE_SECONDS))
                self._until = self._clock.monotonic() + _LEASE_REUSE_SECONDS
                self._uses = 0
            self._uses += 1
            return self._lease

    def _usable(self) -> bool:
        return self._lease != 0 and self._uses < _LEASE_REUSES_MAX and self._clock.monotonic() < self._until


class ObjectStorage:
    """Reads and writes objects in their stored version."""

    def __init__(self, store: Store, cacher: Cacher, clock: Clock) -> None:
        self.store = store
        self.cacher = cacher
        self._event_lease = EventLease(store, clock)
        # Of a store that seals values; by its method, since only servers with such a configuration load its class.
        self._sealed_stale: Callable[[str], bool] | None = getattr(store, "is_stale", None)

    def is_stale(self, resource: Resource, entry: Entry) -> bool:
        """Whether the stored form is out of date, so that even an unchanged object is to be written again."""
        if self._sealed_stale is None:
            return False
        return self._sealed_stale(storage_key(resource, entry.namespace, entry.name))

    def cached(self, resource: Resource, namespace: str, name: str) -> Entry | None:
        return self.cacher.kind(resource).get(namespace, name)

    async def current(self, resource: Resource, namespace: str, name: str) -> Entry | None:
        """The object with everything that is committed by now. Raises as `Cacher.fresh` does."""
        await self.cacher.fresh()
        return self.cacher.kind(resource).get(namespace, name)

    async def write(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        obj: Object,
        *,
        expected: int,
        dry_run: bool = False,
        riders: Sequence[Rider] = (),
        guards: Sequence[Guard] = (),
    ) -> Entry | None:
        """Writes the object if its revision is `expected` (0: there is none); None where it is another. Raises
        `GuardMoved`.

        `obj` is the caller's own and becomes the cache's: nobody may change it afterwards.
        """
        share_fields(obj)
        stored = encoding.encode_stored(resource.api_version, resource.kind, obj)
        if encoding.too_deep(obj, stored):
            raise encoding.depth_exceeded()
        if dry_run:
            short = f"{namespace}/{name}" if resource.namespaced else name
            return self._dry(resource, short, obj, stored, expected)
        if riders or guards:
            return await self._write_with(resource, namespace, name, obj, stored, expected, riders, guards)
        key = storage_key(resource, namespace, name)
        lease = await self._lease() if resource.storage_id == "core/events" else 0
        self.cacher.expect(key, stored, obj)
        written = False
        try:
            result = await self._txn([Compare(key, expected)], [Put(key, stored, lease)])
            written = result.succeeded
        finally:
            if not written:
                self.cacher.forget(key)
        if not written:
            return None
        return self._entry(resource, namespace, name, obj, stored, result.revision)

    async def write_charged(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        obj: Object,
        *,
        expected: int,
        charge: Charge,
        guards: Sequence[Guard] = (),
    ) -> Entry | None:
        """`write`, together with what it costs others; as often as those change meanwhile. Raises what `renew` does."""
        while True:
            written = await self.write(
                resource, namespace, name, obj, expected=expected, riders=charge.riders, guards=guards
            )
            if written is not None or not charge.riders:
                return written
            current = await self.current(resource, namespace, name)
            if (current.revision if current is not None else 0) != expected:
                return None
            await charge.renew()

    async def _write_with(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        obj: Object,
        stored: bytes,
        expected: int,
        riders: Sequence[Rider],
        guards: Sequence[Guard],
    ) -> Entry | None:
        """One transaction: the object, its riders and guards. The cache holds all of them when this returns."""
        writes = [(storage_key(resource, namespace, name), stored, obj, expected)]
        for rider in riders:
            raw = encoding.encode_stored(rider.resource.api_version, rider.resource.kind, rider.obj)
            writes.append((storage_key(rider.resource, rider.namespace, rider.name), raw, rider.obj, rider.revision))
        for key, raw, value, _ in writes:
            self.cacher.expect(key, raw, value)
        written = False
        try:
            result = await self._txn(
                [Compare(key, revision) for key, _, _, revision in writes]
                + [Compare(g.key, g.revision) for g in guards],
                [Put(key, raw) for key, raw, _, _ in writes] + [Put(g.key, b"") for g in guards],
            )
            written = result.succeeded
        finally:
            if not written:
                for key, _, _, _ in writes:
                    self.cacher.forget(key)
        if not written:
            found = [kv.mod_revision if kv is not None else 0 for kv in result.current[len(writes) :]]
            if found != [g.revision for g in guards]:
                raise GuardMoved([Guard(g.key, r) for g, r in zip(guards, found, strict=True)])
            return None
        await self.cacher.reached(result.revision)
        return self._entry(resource, namespace, name, obj, stored, result.revision)

    def _entry(self, resource: Resource, namespace: str, name: str, obj: Object, stored: bytes, revision: int) -> Entry:
        """The cache's entry of what was just written, or one like it where the cache is behind or further on."""
        cached = self.cached(resource, namespace if resource.namespaced else "", name)
        if cached is not None and cached.revision == revision:
            return cached
        obj["metadata"]["resourceVersion"] = str(revision)
        short = f"{namespace}/{name}" if resource.namespaced else name
        return Entry(short, obj, encoding.with_version(stored, revision), revision)

    async def _txn(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> TxnResult:
        try:
            return await self.store.txn(compares, operations)
        except StoreError as e:
            raise api_error(e) from e

    async def _lease(self) -> int:
        try:
            return await self._event_lease.get()
        except StoreError as e:
            raise api_error(e) from e

    def _dry(self, resource: Resource, short: str, obj: Object, stored: bytes, expected: int) -> Entry | None:
        """What a write would answer. A new object has no resourceVersion, a changed one keeps the old."""
        namespace, _, name = short.rpartition("/")
        existing = self.cached(resource, namespace, name)
        if (existing.revision if existing is not None else 0) != expected:
            return None
        if not expected:
            return Entry(short, obj, stored, 0)
        obj["metadata"]["resourceVersion"] = str(expected)
        return Entry(short, obj, encoding.with_version(stored, expected), expected)

    async def remove(self, resource: Resource, entry: Entry, *, dry_run: bool = False) -> Entry | None:
        """Deletes the object if it is still the one of `entry`; its last state, None where it is another by now."""
        if dry_run:
            return entry
        key = storage_key(resource, entry.namespace, entry.name)
        result = await self._txn([Compare(key, entry.revision)], [Delete(key)])
        return entry.tombstone(result.revision) if result.succeeded else None
