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
import errno
import fcntl
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

from pybernetes.lib.clock import Clock, SystemClock
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
    StoreFull,
    TxnResult,
    WatchBatch,
)
from pybernetes.store.leases import LeaseTimer
from pybernetes.store.watchers import LIMIT_EVENTS, HubWatch, WatchHub, group_by_revision

T = TypeVar("T")

log = structlog.get_logger(__name__)

# A row's id is revision * OPERATIONS_MAX + its place in the transaction: history is in order of ids, and no second
# index is needed to watch from a revision.
OPERATIONS_MAX = 1024
GROUP_MAX = 512
WAITING_MAX = 65536
_COMPACT_CHUNK = 1000
_LEASE_RETRY_SECONDS = 10.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS history (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    value BLOB,
    create_revision INTEGER NOT NULL,
    version INTEGER NOT NULL,
    lease INTEGER NOT NULL,
    previous_id INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS history_by_key ON history (key, id);
CREATE TABLE IF NOT EXISTS leases (id INTEGER PRIMARY KEY AUTOINCREMENT, deadline REAL NOT NULL);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""
_FORMAT = 1

_CURRENT = """
SELECT h.key, h.value, h.create_revision, h.id, h.version, h.lease FROM history h
WHERE {range} AND h.id < :before AND h.value IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM history n WHERE n.key = h.key AND n.id > h.id AND n.id < :before)
ORDER BY h.key
"""


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


def _revision_of(row_id: int) -> int:
    return row_id // OPERATIONS_MAX


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=64)
    connection.execute("PRAGMA journal_mode=WAL")
    # FULL: the WAL is fsynced at each commit; an acknowledged write survives a power cut.
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA busy_timeout=10000")
    connection.execute("PRAGMA cache_size=-8192")
    return connection


def _key_range(start: str, end: str) -> tuple[str, dict[str, Any]]:
    if end:
        return "h.key >= :start AND h.key < :end", {"start": start, "end": end}
    return "h.key = :start", {"start": start}


def _store_error(error: sqlite3.Error) -> StoreError:
    full = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_FSYNC)
    if getattr(error, "sqlite_errorcode", None) in full:
        return StoreFull(f"the disk is full or cannot be written: {error}; free some space and try again")
    return StoreError(f"SQLite failed: {error}")


class SQLiteStore:
    """A `Store` in one directory. Make it with `SQLiteStore.open`."""

    def __init__(self, directory: Path, lock_fd: int, clock: Clock, watch_limit_events: int) -> None:
        self._path = directory / "state.db"
        self._lock_fd = lock_fd
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._hub = WatchHub(watch_limit_events)
        self._leases = LeaseTimer(clock, self._lease_due)
        self._inbox: queue.SimpleQueue[_Request | _Call | None] = queue.SimpleQueue()
        self._waiting = 0
        self._closed = False
        # Set by the writer's start, then owned by the event loop: what is committed and published.
        self._revision = 1
        self._compacted = 0
        # Owned by the writer thread.
        self._index: dict[str, _Meta] = {}
        self._lease_keys: dict[int, set[str]] = {}
        self._next_revision = 2
        self._reader_pool = ThreadPoolExecutor(1, thread_name_prefix="store-reader")
        self._reader: sqlite3.Connection | None = None
        self._writer = threading.Thread(target=self._write_loop, name="store-writer", daemon=True)

    @classmethod
    async def open(
        cls, directory: Path, *, clock: Clock | None = None, watch_limit_events: int = LIMIT_EVENTS
    ) -> SQLiteStore:
        """Opens the store in `directory`, made with mode 0700 where missing. `StoreError` where another process
        has it open."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock_fd = os.open(directory / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock_fd)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise StoreError(f"the store in {directory} is open in another process; stop that one first") from None
            raise
        store = cls(directory, lock_fd, clock or SystemClock(), watch_limit_events)
        try:
            leases = await asyncio.to_thread(store._load)
        except sqlite3.Error as error:
            os.close(lock_fd)
            raise StoreError(f"cannot open the store in {directory}: {error}") from error
        for lease, deadline in leases:
            store._leases.add(lease, deadline)
        store._writer.start()
        return store

    def _load(self) -> list[tuple[int, float]]:
        """Opens the connections, and fills the writer's index. Runs before the threads share anything."""
        connection = _connect(self._path)
        os.chmod(self._path, 0o600)
        connection.executescript(_SCHEMA)
        facts = dict(connection.execute("SELECT name, value FROM facts"))
        if facts.setdefault("format", _FORMAT) != _FORMAT:
            raise sqlite3.DatabaseError(f"its format is {facts['format']}; this version reads {_FORMAT}")
        connection.execute("INSERT OR IGNORE INTO facts VALUES ('format', ?)", (_FORMAT,))
        self._compacted = facts.get("compacted", 0)
        # The newest revision is kept as a fact when compaction removes the row that carried it.
        newest = connection.execute("SELECT max(id) FROM history").fetchone()[0]
        self._revision = max(_revision_of(newest or 0), facts.get("revision", 1), 1)
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
        self._reader = _connect(self._path)
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
            raise _store_error(error) from error

    async def range(
        self, start: str, end: str = "", *, revision: int = 0, limit: int = 0, count_only: bool = False
    ) -> RangeResult:
        self._check_open()
        newest = self._revision
        if revision > newest:
            raise FutureRevision(f"revision {revision} has not happened yet (newest {newest})")
        if revision and revision < self._compacted:
            raise Compacted(self._compacted)
        clause, parameters = _key_range(start, end)
        parameters["before"] = ((revision or newest) + 1) * OPERATIONS_MAX
        query = _CURRENT.format(range=clause)

        def read(connection: sqlite3.Connection) -> tuple[list[KeyValue], int]:
            rows: list[Any] = []
            if not count_only:
                rows = connection.execute(query + (f" LIMIT {limit + 1}" if limit else ""), parameters).fetchall()
            count = len(rows)
            if count_only or (limit and count > limit):
                count = connection.execute(f"SELECT count(*) FROM ({query})", parameters).fetchone()[0]
            return [KeyValue(k, v, c, _revision_of(i), n, lease) for k, v, c, i, n, lease in rows], count

        items, count = await self._read(read)
        if revision and revision < self._compacted:
            # Compaction came while the rows were read: some may have been gone already.
            raise Compacted(self._compacted)
        more = bool(limit) and len(items) > limit
        return RangeResult(items[:limit] if limit else items, newest, count, more)

    async def watch(self, start: str, end: str = "", *, from_revision: int = 0) -> HubWatch:
        self._check_open()
        if from_revision and from_revision < self._compacted:
            raise Compacted(self._compacted)
        newest = self._revision
        if not from_revision or from_revision > newest:
            return self._hub.subscribe(start, end)
        # What is committed while the history is read waits in a second subscription's queue.
        live = self._hub.subscribe(start, end)
        clause, parameters = _key_range(start, end)
        parameters["first"] = from_revision * OPERATIONS_MAX
        parameters["before"] = (newest + 1) * OPERATIONS_MAX

        def read(connection: sqlite3.Connection) -> list[Event]:
            rows = connection.execute(
                "SELECT h.id, h.key, h.value, h.create_revision, h.version, p.id, p.value, p.create_revision,"
                " p.version, p.lease FROM history h LEFT JOIN history p ON p.id = h.previous_id"
                f" WHERE {clause} AND h.id >= :first AND h.id < :before ORDER BY h.id",
                parameters,
            )
            return [_event(*row) for row in rows]

        try:
            events = await self._read(read)
            if from_revision < self._compacted:
                raise Compacted(self._compacted)
        except BaseException:
            await live.close()
            raise
        live.prepend(group_by_revision(events))
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
        newest = self._revision
        self._compacted = revision

        def note(connection: sqlite3.Connection) -> None:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT OR REPLACE INTO facts VALUES ('compacted', ?)", (revision,))
            connection.execute("INSERT OR REPLACE INTO facts VALUES ('revision', ?)", (newest,))
            connection.execute("COMMIT")

        await self._on_writer(note)
        boundary = revision * OPERATIONS_MAX
        first = 0

        def remove(connection: sqlite3.Connection) -> int:
            """Removes superseded rows and deletions before the boundary, a chunk a commit; returns where to go on."""
            rows = connection.execute(
                "SELECT id, previous_id FROM history WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",
                (first, boundary + OPERATIONS_MAX, _COMPACT_CHUNK),
            ).fetchall()
            if not rows:
                return 0
            # A row at the boundary's revision stays (watches from it are served), but what it replaced goes.
            gone = [(previous,) for _, previous in rows if previous]
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("DELETE FROM history WHERE id = ?", gone)
            connection.execute(
                "DELETE FROM history WHERE id >= ? AND id <= ? AND id < ? AND value IS NULL",
                (rows[0][0], rows[-1][0], boundary),
            )
            connection.execute("COMMIT")
            return int(rows[-1][0]) + 1

        while first := await self._on_writer(remove):
            pass

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
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            self._loop.call_soon_threadsafe(_fail, call.future, _store_error(error))
        else:
            self._loop.call_soon_threadsafe(_resolve, call.future, result)

    def _write_group(self, connection: sqlite3.Connection, group: list[_Request]) -> None:
        undo: list[tuple[str, _Meta | None]] = []
        batches: list[WatchBatch] = []
        revision_before = self._next_revision
        try:
            connection.execute("BEGIN IMMEDIATE")
            for request in group:
                self._write_one(connection, request, undo, batches)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            for key, meta in reversed(undo):
                self._set_meta(key, meta)
            self._next_revision = revision_before
            failure = _store_error(error)
            log.error("store write failed", error=str(failure), transactions=len(group))
            for request in group:
                request.result, request.error = None, failure
            batches = []
        self._loop.call_soon_threadsafe(self._committed, group, batches)

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
        value = connection.execute("SELECT value FROM history WHERE id = ?", (meta.id,)).fetchone()[0]
        return KeyValue(key, value, meta.create_revision, _revision_of(meta.id), meta.version, meta.lease)

    def _write_one(
        self,
        connection: sqlite3.Connection,
        request: _Request,
        undo: list[tuple[str, _Meta | None]],
        batches: list[WatchBatch],
    ) -> None:
        for compare in request.compares:
            meta = self._index.get(compare.key)
            if meta is None:
                actual = 0
            elif compare.target == "mod_revision":
                actual = _revision_of(meta.id)
            else:
                actual = meta.create_revision if compare.target == "create_revision" else meta.version
            if actual != compare.value:
                current = [self._current(connection, c.key) for c in request.compares]
                request.result = TxnResult(False, self._next_revision - 1, current)
                return
        if request.lease_to_end:
            keys = sorted(self._lease_keys.pop(request.lease_to_end, ()))
            connection.execute("DELETE FROM leases WHERE id = ?", (request.lease_to_end,))
            for chunk in range(0, len(keys), OPERATIONS_MAX - 1):
                self._write_operations(
                    connection, [Delete(k) for k in keys[chunk : chunk + OPERATIONS_MAX - 1]], undo, batches
                )
        else:
            self._write_operations(connection, request.operations, undo, batches)
        request.result = TxnResult(True, self._next_revision - 1, [])

    def _write_operations(
        self,
        connection: sqlite3.Connection,
        operations: Sequence[Operation],
        undo: list[tuple[str, _Meta | None]],
        batches: list[WatchBatch],
    ) -> None:
        revision = self._next_revision
        events: list[Event] = []
        for place, op in enumerate(operations):
            row_id = revision * OPERATIONS_MAX + place
            old = self._index.get(op.key)
            if isinstance(op, Put):
                value: bytes | None = op.value
                create, version = (old.create_revision, old.version + 1) if old else (revision, 1)
                meta: _Meta | None = _Meta(row_id, create, version, op.lease)
                row = (row_id, op.key, value, create, version, op.lease, old.id if old else 0)
            elif old is None:
                continue
            else:
                value = meta = None
                row = (row_id, op.key, None, old.create_revision, old.version, 0, old.id)
            previous = self._current(connection, op.key)
            connection.execute("INSERT INTO history VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            undo.append((op.key, old))
            self._set_meta(op.key, meta)
            if meta is None:
                events.append(Event("DELETE", op.key, None, 0, revision, 0, previous))
            else:
                events.append(Event("PUT", op.key, value, meta.create_revision, revision, meta.version, previous))
        if events:
            self._next_revision += 1
            batches.append(WatchBatch(events, revision))

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


def _event(
    row_id: int,
    key: str,
    value: bytes | None,
    create_revision: int,
    version: int,
    previous_id: int | None,
    previous_value: bytes | None,
    previous_create: int,
    previous_version: int,
    previous_lease: int,
) -> Event:
    revision = _revision_of(row_id)
    previous = (
        KeyValue(key, previous_value, previous_create, _revision_of(previous_id), previous_version, previous_lease)
        if previous_id and previous_value is not None
        else None
    )
    if value is None:
        return Event("DELETE", key, None, 0, revision, 0, previous)
    return Event("PUT", key, value, create_revision, revision, version, previous)


def _resolve(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: StoreError) -> None:
    if not future.done():
        future.set_exception(error)
