"""The default store: SQLite in WAL mode, every acknowledged write covered by an fsync, commits in groups.

Two threads do the blocking work. The writer owns the write connection and an index of the current keys (revisions
only, values stay on disk); it drains whatever transactions wait into one SQLite transaction and one fsync. The
reader serves ranges and the history of watches from its own connection. The event loop publishes committed changes
to the watchers and resolves the callers' futures, in that order: who has an answer has already been overtaken by
its event.

One process owns the files (a lock file says so). A history row is never changed, only removed by compaction.
"""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import structlog

from pybernetes.lib import failpoints
from pybernetes.lib.clock import Clock, SystemClock
from pybernetes.store import sqlite_queries as queries
from pybernetes.store.interface import (
    Compacted,
    Compare,
    Delete,
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
from pybernetes.store.sqlite_files import (
    OPERATIONS_MAX,
    WAL_LIMIT_BYTES,
    checksum,
    connect,
    database,
    open_to_write,
    revision_of,
    store_error,
    take_lock,
    wal_bytes,
)
from pybernetes.store.sqlite_writes import Changes, RecentValues
from pybernetes.store.watchers import LIMIT_EVENTS, HubWatch, WatchHub

T = TypeVar("T")

log = structlog.get_logger(__name__)

GROUP_MAX = 512
WAITING_MAX = 65536
_LEASE_RETRY_SECONDS = 10.0
_ROW_BYTES = 16 * 1024
"""What a row adds to the WAL at most, its value aside: pages of the table and of its index."""


@dataclass(slots=True)
class _Meta:
    """What the writer knows of a current key."""

    id: int
    create_revision: int
    version: int
    lease: int


@dataclass(slots=True)
class _Request:
    """A transaction, or the end of a lease, waiting for the writer."""

    compares: Sequence[Compare]
    operations: Sequence[Operation]
    future: asyncio.Future[TxnResult] | None
    lease_to_end: int = 0
    result: TxnResult | None = None
    error: StoreError | None = None


@dataclass(slots=True)
class _Call:
    """Something else to do on the write connection, in turn with the transactions."""

    function: Callable[[sqlite3.Connection], Any]
    future: asyncio.Future[Any]


class SQLiteStore:
    """A `Store` in one directory. Make it with `SQLiteStore.open`."""

    def __init__(
        self, directory: Path, lock_fd: int, clock: Clock, watch_limit_events: int, wal_limit_bytes: int
    ) -> None:
        self._directory = directory
        self._lock_fd = lock_fd
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._hub = WatchHub(watch_limit_events)
        self._leases = LeaseTimer(clock, self._lease_due)
        self._inbox: queue.SimpleQueue[_Request | _Call | None] = queue.SimpleQueue()
        self._waiting = 0
        self._closed = False
        self._wal_limit_bytes = self._wal_checkpoint_bytes = wal_limit_bytes
        self._unlooked_bytes = 0
        """About how much the WAL can have grown since somebody looked at it."""
        # Set by the writer's start, then owned by the event loop: what is committed and published.
        self._revision = 1
        self._compacted = 0
        self._removed = 0
        # Owned by the writer thread.
        self._index: dict[str, _Meta] = {}
        self._lease_keys: dict[int, set[str]] = {}
        self._values = RecentValues()
        self._next_revision = 2
        self._reader_pool = ThreadPoolExecutor(1, thread_name_prefix="store-reader")
        self._reader: sqlite3.Connection | None = None
        self._writer = threading.Thread(target=self._write_loop, name="store-writer", daemon=True)

    @classmethod
    async def open(
        cls,
        directory: Path,
        *,
        clock: Clock | None = None,
        watch_limit_events: int = LIMIT_EVENTS,
        wal_limit_bytes: int = WAL_LIMIT_BYTES,
    ) -> SQLiteStore:
        """Opens the store in `directory`, made with mode 0700 where missing. `StoreError` where another process
        has it open, `StoreCorrupt` where its file is damaged."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock_fd = take_lock(directory)
        store = cls(directory, lock_fd, clock or SystemClock(), watch_limit_events, wal_limit_bytes)
        try:
            leases = await asyncio.to_thread(store._load)
        except BaseException as error:
            os.close(lock_fd)
            if isinstance(error, sqlite3.Error):
                raise store_error(error) from error
            raise
        for lease, deadline in leases:
            store._leases.add(lease, deadline)
        store._writer.start()
        return store

    def _load(self) -> list[tuple[int, float]]:
        """Opens the connections, and fills the writer's index. Runs before the threads share anything."""
        connection = open_to_write(self._directory, self._wal_limit_bytes)
        self._compacted = queries.fact(connection, "compacted")
        self._removed = queries.fact(connection, "removed")
        self._revision = queries.newest_revision(connection)
        self._next_revision = self._revision + 1
        rows = connection.execute(
            "SELECT key, id, create_revision, version, lease, value IS NULL FROM history ORDER BY id"
        )
        for key, row_id, create_revision, version, lease, deleted in rows:
            if deleted:
                self._index.pop(key, None)
            else:
                self._index[key] = _Meta(row_id, create_revision, version, lease)
        for key, meta in self._index.items():
            if meta.lease:
                self._lease_keys.setdefault(meta.lease, set()).add(key)
        leases = connection.execute("SELECT id, deadline FROM leases").fetchall()
        self._connection = connection
        self._reader = connect(database(self._directory))
        return leases

    # --- reading -------------------------------------------------------------------------------------------------

    async def revision(self) -> int:
        self._check_open()
        return self._revision

    async def compacted(self) -> int:
        return self._compacted

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed("the store is closed")

    async def _read(self, function: Callable[[sqlite3.Connection], T]) -> T:
        assert self._reader is not None
        try:
            return await self._loop.run_in_executor(self._reader_pool, function, self._reader)
        except sqlite3.Error as error:
            raise store_error(error) from error

    async def range(
        self, start: str, end: str = "", *, revision: int = 0, limit: int = 0, count_only: bool = False
    ) -> RangeResult:
        self._check_open()
        newest = self._revision
        if revision > newest:
            raise FutureRevision(f"revision {revision} has not happened yet (newest {newest})")
        if revision and revision < self._compacted:
            raise Compacted(self._compacted)

        def read(connection: sqlite3.Connection) -> tuple[int, list[KeyValue], int]:
            """(the revision read at, one item more than `limit` where there are more, how many there are in all)."""
            items: list[KeyValue] = []
            # One snapshot: the present is that of the moment of reading, whole whatever compaction does meanwhile. A
            # present chosen when the read was asked for may be compacted away before its turn comes, time and again.
            connection.execute("BEGIN")
            try:
                at = revision or queries.newest_revision(connection)
                if not count_only:
                    items = queries.current_keys(connection, start, end, at, limit + 1 if limit else 0)
                count = len(items)
                if count_only or (limit and count > limit):
                    count = queries.count_keys(connection, start, end, at)
            finally:
                connection.execute("COMMIT")
            return at, items, count

        at, items, count = await self._read(read)
        if revision and revision < self._compacted:
            # Compaction went past it while the rows were read: some may have been gone already.
            raise Compacted(self._compacted)
        more = bool(limit) and len(items) > limit
        return RangeResult(items[:limit] if limit else items, newest if revision else at, count, more)

    async def watch(self, start: str, end: str = "", *, from_revision: int = 0) -> HubWatch:
        self._check_open()
        if from_revision and from_revision < self._compacted:
            raise Compacted(self._compacted)
        newest = self._revision
        if not from_revision or from_revision > newest:
            return self._hub.subscribe(start, end, from_revision)
        # What is committed while the history is read waits in a second subscription's queue.
        live = self._hub.subscribe(start, end)
        try:
            batches = await self._read(lambda reader: queries.events_between(reader, start, end, from_revision, newest))
            if from_revision < self._compacted:
                raise Compacted(self._compacted)
        except BaseException:
            await live.close()
            raise
        live.prepend(batches)
        return live

    # --- writing -------------------------------------------------------------------------------------------------

    async def txn(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> TxnResult:
        self._check_open()
        if len(operations) >= OPERATIONS_MAX:
            raise StoreError(f"a transaction has at most {OPERATIONS_MAX - 1} operations, not {len(operations)}")
        if self._waiting >= WAITING_MAX:
            raise StoreError(f"{self._waiting} transactions are waiting already; try again later")
        for op in operations:
            if isinstance(op, Put) and op.lease and op.lease not in self._leases:
                raise StoreError(f"requested lease {op.lease} not found")
        future: asyncio.Future[TxnResult] = self._loop.create_future()
        self._waiting += 1
        self._inbox.put(_Request(compares, operations, future))
        return await future

    async def _on_writer(self, function: Callable[[sqlite3.Connection], T]) -> T:
        self._check_open()
        future: asyncio.Future[T] = self._loop.create_future()
        self._inbox.put(_Call(function, future))
        return await future

    def _lease_due(self, lease: int) -> None:
        self._inbox.put(_Request((), (), None, lease_to_end=lease))

    async def grant(self, ttl_seconds: int) -> int:
        deadline = self._clock.now() + ttl_seconds

        def insert(connection: sqlite3.Connection) -> int:
            return int(connection.execute("INSERT INTO leases (deadline) VALUES (?)", (deadline,)).lastrowid or 0)

        lease = await self._on_writer(insert)
        self._leases.add(lease, deadline)
        return lease

    async def revoke(self, lease: int) -> None:
        self._check_open()
        self._leases.remove(lease)
        future: asyncio.Future[TxnResult] = self._loop.create_future()
        self._waiting += 1
        self._inbox.put(_Request((), (), future, lease_to_end=lease))
        await future

    def expire_due(self) -> None:
        """Lets leases that are due by the clock run out now; the timer does it by itself in real time."""
        self._leases.fire()

    async def compact(self, revision: int) -> None:
        self._check_open()
        if revision > self._revision:
            raise FutureRevision(f"revision {revision} has not happened yet (newest {self._revision})")
        if revision <= self._compacted:
            raise Compacted(self._compacted)
        newest, before = self._revision, self._compacted
        # From here on nobody begins to read what is about to go.
        self._compacted = revision

        try:
            await self._on_writer(lambda writer: queries.note_compaction(writer, revision, newest))
        except StoreError:
            if self._compacted == revision:
                self._compacted = before
            raise
        # What is older than the last compaction that came to its end was seen to then.
        first = self._removed * OPERATIONS_MAX

        def remove(connection: sqlite3.Connection) -> int:
            failpoints.hit("store/compacting")
            return queries.remove_superseded(connection, first, revision)

        while first := await self._on_writer(remove):
            pass
        self._removed = revision

    def _write_loop(self) -> None:
        connection = self._connection
        while True:
            first = self._inbox.get()
            if first is None:
                break
            if isinstance(first, _Call):
                self._run_call(connection, first)
                continue
            group = [first]
            stop = False
            after: _Call | None = None
            while len(group) < GROUP_MAX:
                try:
                    following = self._inbox.get_nowait()
                except queue.Empty:
                    break
                if isinstance(following, _Request):
                    group.append(following)
                    continue
                stop, after = following is None, following
                break
            self._write_group(connection, group)
            if after is not None:
                self._run_call(connection, after)
            if stop:
                break
        connection.close()

    def _run_call(self, connection: sqlite3.Connection, call: _Call) -> None:
        try:
            result = call.function(connection)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller is told and the writer lives on
            failure = self._undo_transaction(connection, error)
            self._loop.call_soon_threadsafe(_fail, call.future, failure)
        else:
            self._loop.call_soon_threadsafe(_resolve, call.future, result)

    def _undo_transaction(self, connection: sqlite3.Connection, error: Exception) -> StoreError:
        """Rolls back what has begun; the store's error for what went wrong."""
        if connection.in_transaction:
            try:
                connection.execute("ROLLBACK")
            except sqlite3.Error as second:
                log.error("store cannot roll back", error=str(second))
        if isinstance(error, sqlite3.Error):
            return store_error(error)
        return error if isinstance(error, StoreError) else StoreError(f"{type(error).__name__}: {error}")

    def _write_group(self, connection: sqlite3.Connection, group: list[_Request]) -> None:
        """Decides every transaction of the group on the index, then writes what comes of them all at once."""
        undo: list[tuple[str, _Meta | None]] = []
        changes = Changes()
        revision_before = self._next_revision
        try:
            self._values.fetch(connection, self._ids_replaced(group))
            for request in group:
                self._decide(connection, request, undo, changes)
            if changes.rows or changes.leases:
                if changes.is_one_statement:
                    # Each statement hands the interpreter's lock to the event loop and has to get it back: a begin and
                    # a commit around the one would cost more than it does.
                    failpoints.hit("store/before-commit")
                    changes.write(connection)
                else:
                    connection.execute("BEGIN IMMEDIATE")
                    changes.write(connection)
                    failpoints.hit("store/before-commit")
                    connection.execute("COMMIT")
                failpoints.hit("store/after-commit")
        except Exception as error:  # noqa: BLE001 - whatever it is, the callers are told and the writer lives on
            failure = self._undo_transaction(connection, error)
            for key, meta in reversed(undo):
                self._set_meta(key, meta)
            self._next_revision = revision_before
            self._values.drop(row[0] for row in changes.rows)
            if len(group) > 1 and not isinstance(error, sqlite3.Error):
                # One of them cannot be written whatever the disk does; the others are not to suffer from it.
                for request in group:
                    self._write_group(connection, [request])
                return
            log.error("store write failed", error=str(failure), transactions=len(group))
            for request in group:
                request.result, request.error = None, failure
            changes.batches = []
        self._values.shrink()
        self._loop.call_soon_threadsafe(self._committed, group, changes.batches)
        self._unlooked_bytes += sum(_ROW_BYTES + len(row[2] or b"") for row in changes.rows)
        if self._unlooked_bytes > self._wal_limit_bytes // 8:
            self._unlooked_bytes = 0
            if wal_bytes(self._directory) > self._wal_checkpoint_bytes:
                self._empty_wal(connection)

    def _empty_wal(self, connection: sqlite3.Connection) -> None:
        """Brings the WAL's content into the database and the WAL down to nothing. SQLite can begin a WAL anew only
        while nobody reads from it, which under a constant stream of reads may be never: so the reader pauses."""
        paused, resume = threading.Event(), threading.Event()

        def pause() -> None:
            paused.set()
            resume.wait()

        self._reader_pool.submit(pause)
        paused.wait()
        busy = True
        try:
            failpoints.hit("store/checkpointing")
            # A backup that reads in another process is not waited for.
            connection.execute("PRAGMA busy_timeout=0")
            busy = bool(connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0])
            failpoints.hit("store/checkpointed")
        except sqlite3.Error as error:
            log.warning("store cannot checkpoint", error=str(error))
        finally:
            resume.set()
            connection.execute("PRAGMA busy_timeout=10000")
        # Where it did not work, another try with each commit would help nobody.
        self._wal_checkpoint_bytes = self._wal_limit_bytes + (wal_bytes(self._directory) if busy else 0)

    def _ids_replaced(self, group: list[_Request]) -> list[int]:
        """The rows that the group's operations may replace."""
        index = self._index
        return [meta.id for request in group for op in request.operations if (meta := index.get(op.key)) is not None]

    def _set_meta(self, key: str, meta: _Meta | None) -> None:
        old = self._index.get(key)
        if old is not None and old.lease:
            keys = self._lease_keys.get(old.lease)
            if keys is not None:
                keys.discard(key)
        if meta is None:
            self._index.pop(key, None)
            return
        self._index[key] = meta
        if meta.lease:
            self._lease_keys.setdefault(meta.lease, set()).add(key)

    def _current(self, connection: sqlite3.Connection, key: str) -> KeyValue | None:
        meta = self._index.get(key)
        if meta is None:
            return None
        value = self._values.get(connection, key, meta.id)
        return KeyValue(key, value, meta.create_revision, revision_of(meta.id), meta.version, meta.lease)

    def _decide(
        self,
        connection: sqlite3.Connection,
        request: _Request,
        undo: list[tuple[str, _Meta | None]],
        changes: Changes,
    ) -> None:
        for compare in request.compares:
            meta = self._index.get(compare.key)
            if meta is None:
                actual = 0
            elif compare.target == "mod_revision":
                actual = revision_of(meta.id)
            else:
                actual = meta.create_revision if compare.target == "create_revision" else meta.version
            if actual != compare.value:
                current = [self._current(connection, c.key) for c in request.compares]
                request.result = TxnResult(False, self._next_revision - 1, current)
                return
        if request.lease_to_end:
            keys = sorted(self._lease_keys.get(request.lease_to_end, ()))
            changes.leases.append((request.lease_to_end,))
            for chunk in range(0, len(keys), OPERATIONS_MAX - 1):
                self._operate(connection, [Delete(k) for k in keys[chunk : chunk + OPERATIONS_MAX - 1]], undo, changes)
            self._lease_keys.pop(request.lease_to_end, None)
        else:
            self._operate(connection, request.operations, undo, changes)
        request.result = TxnResult(True, self._next_revision - 1, [])

    def _operate(
        self,
        connection: sqlite3.Connection,
        operations: Sequence[Operation],
        undo: list[tuple[str, _Meta | None]],
        changes: Changes,
    ) -> None:
        revision = self._next_revision
        events: list[Event] = []
        for place, op in enumerate(operations):
            key, row_id = op.key, revision * OPERATIONS_MAX + place
            old = self._index.get(key)
            previous = self._current(connection, key) if old is not None else None
            if isinstance(op, Put):
                value = op.value
                create, version = (old.create_revision, old.version + 1) if old is not None else (revision, 1)
                replaced = old.id if old is not None else 0
                changes.rows.append((row_id, key, value, create, version, op.lease, replaced, checksum(value)))
                self._values.put(row_id, value)
                meta: _Meta | None = _Meta(row_id, create, version, op.lease)
                events.append(Event("PUT", key, value, create, revision, version, previous))
            elif old is None:
                continue
            else:
                changes.rows.append((row_id, key, None, old.create_revision, old.version, 0, old.id, None))
                meta = None
                events.append(Event("DELETE", key, None, 0, revision, 0, previous))
            undo.append((key, old))
            self._set_meta(key, meta)
            if old is not None:
                self._values.drop((old.id,))
        if events:
            self._next_revision += 1
            changes.batches.append(WatchBatch(events, revision))

    def _committed(self, group: list[_Request], batches: list[WatchBatch]) -> None:
        """In the event loop: publishes what is durable now, then answers."""
        for batch in batches:
            self._revision = batch.revision
            self._hub.publish(batch)
        for request in group:
            if request.lease_to_end and request.error is not None:
                # Its keys are still there: try again when the disk may have recovered.
                self._leases.add(request.lease_to_end, self._clock.now() + _LEASE_RETRY_SECONDS)
            if request.future is None:
                continue
            self._waiting -= 1
            if request.error is not None:
                _fail(request.future, request.error)
            else:
                _resolve(request.future, request.result)

    def fault(self) -> str:
        return "the store is closed" if self._closed else ""

    async def close(self) -> None:
        """Finishes what waits, then closes the files. Nothing else may be asked of the store afterwards."""
        if self._closed:
            return
        self._closed = True
        self._leases.close()
        self._inbox.put(None)
        await asyncio.to_thread(self._writer.join)
        # The writer's last answers are waiting in the loop: let them arrive before the watches end.
        await asyncio.sleep(0)
        self._hub.fail_all(StoreClosed("the store was closed"))
        reader = self._reader
        if reader is not None:
            await self._loop.run_in_executor(self._reader_pool, reader.close)
        self._reader_pool.shutdown()
        os.close(self._lock_fd)


def _resolve(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: StoreError) -> None:
    if not future.done():
        future.set_exception(error)
