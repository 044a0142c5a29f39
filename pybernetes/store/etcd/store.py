"""`EtcdStore`: the store over etcd's API.

Keys are the store's own behind the configured prefix, values are stored as they are: `etcdctl get --prefix /registry/`
shows a cluster. One watch over the whole prefix feeds all watchers of this process (a `WatchHub`). An acknowledged
write of this process has been overtaken by its event, as with the other stores: etcd's answer to it says all that the
event would, and is published at once where it is the next revision; else the watch fills the gap first. Where the
watch is being resumed, an answer waits for it `SHOWN_SECONDS` and then goes without. What a watcher missed before it
came is read by a stream of its own.

Who reads the newest revision asks etcd (a linearizable read); all who ask while a request is under way share the next
one, which starts after they asked. The newest revision may belong to a key outside the prefix, of which no event
tells: a write of the key `BARRIER` then does. (Progress requests would do it without a write, but older versions of
etcd, Debian 12's among them, may answer them before they have sent the events they speak of: etcd issue 15220.)

Compaction: older versions of etcd forget deletions of the very revision compacted to, though they still serve watches
from there (etcd issue 18089). So a compaction to N asks etcd to compact to N - 1, and etcd's compaction to N counts as
one to N + 1.

An etcd that goes back to an older state, as when a backup is put in place under running servers, is refused from then
on: the servers must be started anew. One event loop owns the store; `close` ends all that waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import Sequence
from typing import Any

import structlog

from pybernetes.store.etcd import rpc_pb2 as pb
from pybernetes.store.etcd.config import EtcdConfig
from pybernetes.store.etcd.connection import (
    COMPACT,
    LEASE_GRANT,
    LEASE_REVOKE,
    RANGE,
    RETRY_SECONDS,
    REVISION,
    TXN,
    Connection,
    Member,
)
from pybernetes.store.etcd.stream import WatchStream
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
    WatchOverflow,
)
from pybernetes.store.watchers import LIMIT_EVENTS, HubWatch, WatchHub, group_by_revision, in_range

BARRIER = ".p8s-barrier"
"""Written where only an event of this prefix can say how far the watch has come. The store's keys begin with a slash:
this one is in nobody's range."""
SHOWN_SECONDS = 3.0
_LAG_SECONDS = 0.05
"""How long a known revision may be missing from the watch before the barrier is written."""
_STALL_SECONDS = 1.0
"""How long after that the watch is taken for stuck, and opened again elsewhere."""
_RESUME_SECONDS = (0.02, 0.1, 0.5, 1.0)
_HISTORY_SECONDS = 60.0

_TARGETS = {"mod_revision": pb.Compare.MOD, "create_revision": pb.Compare.CREATE, "version": pb.Compare.VERSION}

log = structlog.get_logger(__name__)


class EtcdStore:
    """A `Store` in etcd. Make it with `EtcdStore.open`."""

    def __init__(self, config: EtcdConfig, watch_limit_events: int) -> None:
        self._connection = Connection(config)
        self._connection.on_abandoned = self._abandoned
        self._prefix = config.prefix
        # "." comes just before "/" and "0" just after it: all keys, and the barrier.
        self._start = f"{config.prefix}.".encode()
        self._end = f"{config.prefix}0".encode()
        self._hub = WatchHub(watch_limit_events)
        self._limit_events = watch_limit_events
        self._closed = False
        self._seen = 0
        """Everything up to this revision is published."""
        self._last_event = 0
        """The newest revision of which an event was published; 0 before the first."""
        self._early: dict[int, list[Event]] = {}
        """Events of own writes that are not published yet, by revision: bounded by the writes under way."""
        self._waiters: list[tuple[int, int, asyncio.Future[None]]] = []
        self._serial = itertools.count()
        self._known = 0
        """The newest revision that somebody waits for."""
        self._stream: WatchStream | None = None
        self._fault = ""
        self._asking: list[asyncio.Future[int]] = []
        self._reader: asyncio.Task[None] | None = None
        self._pusher: asyncio.Task[None] | None = None
        self._follower: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls, config: EtcdConfig, *, watch_limit_events: int = LIMIT_EVENTS, patience_seconds: float = RETRY_SECONDS
    ) -> EtcdStore:
        """Connects; `patience_seconds` is how long it tries to. Raises `StoreUnavailable` where no member can be
        reached, StoreError where etcd refuses."""
        store = cls(config, watch_limit_events)
        store._connection.retry_seconds = patience_seconds
        try:
            store._seen = await store._ask_revision()
            store._stream = await store._open_stream(store._seen + 1)
        except BaseException:
            await store._connection.close()
            raise
        store._connection.retry_seconds = RETRY_SECONDS
        store._follower = asyncio.get_running_loop().create_task(store._follow(), name="store/etcd-watch")
        store._follower.add_done_callback(store._unfollowed)
        return store

    def _abandoned(self, member: Member) -> None:
        if self._stream is not None and self._stream.member is member:
            self._stream.cancel()

    def _unfollowed(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("the watch of etcd has ended by a fault: nothing is published any more", exc_info=error)
            self._hub.fail_all(StoreError(f"the watch of etcd has ended: {error}"))

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        tasks = [t for t in (self._follower, self._pusher, self._reader) if t is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        closed = StoreClosed("the store was closed")
        self._hub.fail_all(closed)
        waiting: list[asyncio.Future[Any]] = [*(w[2] for w in self._waiters), *self._asking]
        for future in waiting:
            if not future.done():
                future.set_exception(closed)
        self._waiters.clear()
        self._asking.clear()
        if self._stream is not None:
            await self._stream.close()
        await self._connection.close()

    def fault(self) -> str:
        """By its watch: without etcd that breaks."""
        return "the store is closed" if self._closed else self._fault

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed("the store is closed")

    def _key(self, key: str) -> bytes:
        return (self._prefix + key).encode("utf-8", "surrogateescape")

    def _own(self, key: bytes) -> str:
        return key.decode("utf-8", "surrogateescape")[len(self._prefix) :]

    def _kv(self, kv: pb.KeyValue) -> KeyValue:
        return KeyValue(self._own(kv.key), kv.value, kv.create_revision, kv.mod_revision, kv.version, kv.lease)

    # --- reading -------------------------------------------------------------------------------------------------

    async def range(
        self, start: str, end: str = "", *, revision: int = 0, limit: int = 0, count_only: bool = False
    ) -> RangeResult:
        self._check_open()
        request = pb.RangeRequest(
            key=self._key(start),
            range_end=self._key(end) if end else b"",
            revision=revision,
            limit=limit,
            count_only=count_only,
        )
        try:
            answer = await self._connection.call(RANGE, request)
        except Compacted as error:
            raise Compacted(await self.compacted()) from error
        return RangeResult([self._kv(kv) for kv in answer.kvs], answer.header.revision, answer.count, answer.more)

    async def revision(self) -> int:
        self._check_open()
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._asking.append(future)
        if self._reader is None or self._reader.done():
            self._reader = asyncio.get_running_loop().create_task(self._read_revisions(), name="store/etcd-revision")
        return await future

    async def _read_revisions(self) -> None:
        """Answers who asks, all who have asked by the start of a request with that one."""
        while self._asking:
            asking, self._asking = self._asking, []
            try:
                revision = await self._ask_revision()
            except StoreError as error:
                for future in asking:
                    if not future.done():
                        future.set_exception(error)
            except asyncio.CancelledError:
                self._asking += asking  # `close` answers them
                raise
            else:
                if revision > self._seen:
                    self._push(revision)
                for future in asking:
                    if not future.done():
                        future.set_result(revision)

    async def _ask_revision(self) -> int:
        known = self._seen
        answer = await self._connection.call(REVISION, pb.RangeRequest(key=self._key(BARRIER), count_only=True))
        revision = int(answer.header.revision)
        if revision < known:
            # Nothing that was read before holds any more, and no watch will ever tell.
            self._fault = f"etcd has gone back from revision {known} to {revision}: restart this server"
            log.error("etcd has gone back: was another state restored?", known=known, revision=revision)
            raise StoreError(self._fault)
        return revision

    # --- writing -------------------------------------------------------------------------------------------------

    async def txn(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> TxnResult:
        self._check_open()
        keys = [self._key(c.key) for c in compares]
        request = pb.TxnRequest(
            compare=[_compare(key, c) for key, c in zip(keys, compares, strict=True)],
            success=[self._operation(op) for op in operations],
            failure=[pb.RequestOp(request_range=pb.RangeRequest(key=key)) for key in keys],
        )
        try:
            answer = await self._connection.call(TXN, request)
        except StoreError as error:
            if "requested lease not found" in str(error):
                leases = ", ".join(str(op.lease) for op in operations if isinstance(op, Put) and op.lease)
                raise StoreError(f"requested lease {leases} not found") from error
            raise
        revision = answer.header.revision
        if not answer.succeeded:
            found = [r.response_range.kvs for r in answer.responses]
            return TxnResult(False, revision, [self._kv(kvs[0]) if kvs else None for kvs in found])
        if self._seen < revision and (events := self._events_of(revision, operations, answer.responses)):
            self._early[revision] = events
            self._publish_early()
            if self._seen < revision:
                await self._shown(revision)
        return TxnResult(True, revision, [])

    def _events_of(
        self, revision: int, operations: Sequence[Operation], responses: Sequence[pb.ResponseOp]
    ) -> list[Event]:
        """The events of a transaction, as the watch will bring them."""
        events = []
        for op, response in zip(operations, responses, strict=True):
            if isinstance(op, Put):
                put = response.response_put
                old = self._kv(put.prev_kv) if put.HasField("prev_kv") else None
                created, version = (old.create_revision, old.version + 1) if old is not None else (revision, 1)
                events.append(Event("PUT", op.key, op.value, created, revision, version, old))
            else:
                for kv in response.response_delete_range.prev_kvs:
                    events.append(Event("DELETE", op.key, None, 0, revision, 0, self._kv(kv)))
        return events

    def _publish_early(self) -> None:
        """Publishes what is known of this process's own writes, as far as nothing is missing before them."""
        while (events := self._early.pop(self._seen + 1, None)) is not None:
            self._publish_batch(WatchBatch(events, self._seen + 1))

    def _operation(self, op: Operation) -> pb.RequestOp:
        key = self._key(op.key)
        if isinstance(op, Put):
            return pb.RequestOp(request_put=pb.PutRequest(key=key, value=op.value, lease=op.lease, prev_kv=True))
        return pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=key, prev_kv=True))

    async def _shown(self, revision: int) -> None:
        """Waits until the watchers have what was just written."""
        if not await self._comes(revision, SHOWN_SECONDS / 6):
            self._push(revision)
            if await self._comes(revision, SHOWN_SECONDS):
                return
            log.warning("a write is acknowledged before its event has come", revision=revision, seen=self._seen)

    async def compact(self, revision: int) -> None:
        self._check_open()
        if revision > self._seen and revision > (newest := await self.revision()):
            raise FutureRevision(f"revision {revision} has not happened yet (newest {newest})")
        if revision < 2:
            return
        try:
            await self._connection.call(COMPACT, pb.CompactionRequest(revision=revision - 1))
        except Compacted as error:
            raise Compacted(await self.compacted()) from error

    async def compacted(self) -> int:
        """etcd tells it to watches alone."""
        self._check_open()
        try:
            await self._connection.call(RANGE, pb.RangeRequest(key=self._key(BARRIER), revision=1, count_only=True))
        except Compacted:
            pass
        else:
            return 0
        try:
            stream = await WatchStream.open(self._connection, self._key(BARRIER), b"", 1)
            try:
                async with asyncio.timeout(_STALL_SECONDS):
                    await stream.next()
            finally:
                stream.cancel()
        except Compacted as error:
            return error.compact_revision + 1
        except TimeoutError as error:
            raise StoreError("etcd does not tell to which revision it is compacted") from error
        raise StoreError("etcd serves a revision that it has called compacted")

    async def grant(self, ttl_seconds: int) -> int:
        self._check_open()
        return int((await self._connection.call(LEASE_GRANT, pb.LeaseGrantRequest(TTL=ttl_seconds))).ID)

    async def revoke(self, lease: int) -> None:
        self._check_open()
        try:
            await self._connection.call(LEASE_REVOKE, pb.LeaseRevokeRequest(ID=lease))
        except StoreError as error:
            # It has run out already, or an earlier request of this call has revoked it.
            if "requested lease not found" not in str(error):
                raise

    # --- watching ------------------------------------------------------------------------------------------------

    async def watch(self, start: str, end: str = "", *, from_revision: int = 0) -> HubWatch:
        self._check_open()
        live = self._hub.subscribe(start, end, from_revision)
        # Where it is not known which event is the last of the past, the barrier's ends it.
        last = self._last_event or self._seen
        if from_revision and from_revision <= last:
            try:
                events = await self._history(start, end, from_revision, last, self._last_event)
                live.prepend(group_by_revision(events))
            except BaseException:
                await live.close()
                raise
        return live

    async def _history(self, start: str, end: str, first: int, last: int, ends_with: int) -> list[Event]:
        """The events of the range with revisions in [first, last]; reading ends at the event of the revision
        `ends_with`, 0 for that of a new barrier. Raises `Compacted`, `WatchOverflow`."""
        try:
            stream = await self._open_stream(first - 1)
        except Compacted as error:
            raise Compacted(error.compact_revision + 1) from error
        events: list[Event] = []
        try:
            async with asyncio.timeout(_HISTORY_SECONDS):
                ends_with = ends_with or await self._put_barrier()
                revision = 0
                while revision < ends_with:
                    for event in (await stream.next()).events:
                        revision = event.kv.mod_revision
                        key = self._own(event.kv.key)
                        if first <= revision <= last and in_range(key, start, end):
                            events.append(self._event(event))
                    if len(events) > self._limit_events:
                        raise WatchOverflow(f"more than {self._limit_events} events behind")
        except Compacted as error:
            raise Compacted(error.compact_revision + 1) from error
        except TimeoutError as error:
            raise StoreError(f"the history from revision {first} was not read in {_HISTORY_SECONDS} s") from error
        finally:
            stream.cancel()
        return events

    async def _open_stream(self, from_revision: int) -> WatchStream:
        return await WatchStream.open(self._connection, self._start, self._end, max(1, from_revision))

    async def _follow(self) -> None:
        """Publishes what the watch brings, and opens it again whenever it ends."""
        attempt = 0
        while True:
            try:
                if self._stream is None:
                    # One revision early: were a deletion of the next one forgotten, this is refused.
                    self._stream = await self._open_stream(self._seen)
                self._fault = ""
                while True:
                    answer = await self._stream.next()
                    attempt = 0
                    self._publish([e for e in answer.events if e.kv.mod_revision > self._seen])
            except Compacted as error:
                log.warning("etcd is compacted beyond the watch", seen=self._seen, compacted=error.compact_revision)
                await self._start_over(error)
            except StoreError as error:
                log.warning("etcd's watch ended, resuming", seen=self._seen, error=str(error))
                self._fault = str(error)
            if self._stream is not None:
                self._stream.cancel()
                self._connection.failed(self._stream.member)
                self._stream = None
            await asyncio.sleep(_RESUME_SECONDS[min(attempt, len(_RESUME_SECONDS) - 1)])
            attempt += 1

    async def _start_over(self, error: Compacted) -> None:
        """What happened meanwhile is lost to everybody who watches; the watch goes on from now."""
        try:
            revision = await self._ask_revision()
            # Which events there were since is unknown: nobody may think that there were none.
            self._last_event = 0
            self._early.clear()
            self._advance(revision)
        except StoreError as failure:
            log.warning("etcd's revision cannot be read", error=str(failure))
        self._hub.fail_all(Compacted(error.compact_revision + 1))

    def _publish(self, events: Sequence[pb.Event]) -> None:
        for batch in group_by_revision(self._event(e) for e in events):
            if batch.revision > self._seen:
                self._publish_batch(batch)
                self._publish_early()

    def _publish_batch(self, batch: WatchBatch) -> None:
        self._early.pop(batch.revision, None)
        self._hub.publish(batch)
        self._last_event = batch.revision
        self._advance(batch.revision)

    def _event(self, event: pb.Event) -> Event:
        kv = event.kv
        key = self._own(kv.key)
        previous = self._kv(event.prev_kv) if event.HasField("prev_kv") else None
        if event.type == pb.Event.DELETE:
            return Event("DELETE", key, None, 0, kv.mod_revision, 0, previous)
        return Event("PUT", key, kv.value, kv.create_revision, kv.mod_revision, kv.version, previous)

    def _advance(self, revision: int) -> None:
        self._seen = max(self._seen, revision)
        waiters = self._waiters
        while waiters and waiters[0][0] <= self._seen:
            future = heapq.heappop(waiters)[2]
            if not future.done():
                future.set_result(None)

    async def _reached(self, revision: int) -> None:
        while self._seen < revision:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiters, (revision, next(self._serial), future))
            await future

    # --- how far the watch is ------------------------------------------------------------------------------------

    def _push(self, revision: int) -> None:
        """Sees to it that the watch comes to a revision that etcd has."""
        self._known = max(self._known, revision)
        if self._pusher is None or self._pusher.done():
            self._pusher = asyncio.get_running_loop().create_task(self._push_on(), name="store/etcd-barrier")

    async def _push_on(self) -> None:
        while self._seen < self._known:
            revision = self._known
            # Most often the events are on their way: one look for all that is asked in this time.
            await asyncio.sleep(_LAG_SECONDS)
            if self._seen >= revision:
                continue
            try:
                await self._put_barrier()
            except StoreError as error:
                log.warning("the barrier cannot be written", error=str(error))
            if not await self._comes(revision, _STALL_SECONDS) and self._stream is not None:
                log.warning("etcd's watch is stuck", seen=self._seen, revision=revision)
                self._stream.cancel()

    async def _comes(self, revision: int, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._reached(revision)
        return self._seen >= revision

    async def _put_barrier(self) -> int:
        request = pb.TxnRequest(success=[pb.RequestOp(request_put=pb.PutRequest(key=self._key(BARRIER)))])
        return int((await self._connection.call(TXN, request)).header.revision)


def _compare(key: bytes, compare: Compare) -> pb.Compare:
    value: dict[str, Any] = {compare.target: compare.value}
    return pb.Compare(result=pb.Compare.EQUAL, target=_TARGETS[compare.target], key=key, **value)
