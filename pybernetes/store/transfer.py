"""Everything a store holds, out of it and into another, through the `Store` interface: what backup and restore do to
any backend. See docs/decisions/backup-format.md.

`read_all` shows one revision. `replace_all` makes a store hold exactly the keys given: what is given is written anew,
at new revisions, what is not given is deleted. A store that cannot do that as one step is marked first and unmarked
last; `check_whole` refuses one that is still marked, so half a restore is never served. Running it again completes it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import islice
from pathlib import Path

from pybernetes.store import sqlite_queries
from pybernetes.store.interface import (
    Compacted,
    Delete,
    KeyValue,
    Operation,
    Put,
    Store,
    StoreError,
    prefix_end,
)
from pybernetes.store.sqlite_files import open_to_read, store_error

PREFIX = "/registry/"
"""Objects lie below it. What else there is, such as who serves at the moment, belongs to the moment."""
MARK = "/p8s/restoring"
LEASED_KEPT = ("/registry/core/events/",)
"""Of keys with a lease, those that outlive a backup; others say who is alive just now."""
LEASE_SECONDS = 3600
"""How long restored keys with a lease live on: events' own time."""

_PAGE = 500
_BATCH_OPERATIONS = 100
_BATCH_BYTES = 1 << 20
"""etcd's own limits are 128 operations and 1.5 MiB a transaction."""
_RAISING = 64
"""Writes under way at once when a revision is raised by writing."""


class HalfRestored(StoreError):
    """A restore into this store was interrupted."""


def kept(kv: KeyValue) -> bool:
    """Whether a backup keeps the key."""
    return not kv.lease or kv.key.startswith(LEASED_KEPT)


async def read_all(store: Store) -> AsyncIterator[tuple[int, list[KeyValue]]]:
    """Pages of every key as of one revision: (that revision, some keys). At least one page, which may be empty.
    Raises StoreError, also where reading took longer than the store remembers."""
    start, end, revision = PREFIX, prefix_end(PREFIX), 0
    while True:
        try:
            page = await store.range(start, end, revision=revision, limit=_PAGE)
        except Compacted as error:
            raise StoreError("the store forgot the revision of the backup before it was read: try again") from error
        revision = revision or page.revision
        yield revision, [kv for kv in page.items if kept(kv)]
        if not page.more:
            return
        start = page.items[-1].key + "\0"


def read_sqlite(directory: Path) -> Iterator[tuple[int, list[KeyValue]]]:
    """`read_all` of a SQLite store's files, past the process that may be using them. Raises StoreError."""
    connection = open_to_read(directory)
    try:
        start, end, revision = PREFIX, prefix_end(PREFIX), sqlite_queries.newest_revision(connection)
        while True:
            page = sqlite_queries.current_keys(connection, start, end, revision, _PAGE)
            yield revision, [kv for kv in page if kept(kv)]
            if len(page) < _PAGE:
                return
            start = page[-1].key + "\0"
    except sqlite3.Error as error:
        raise store_error(error) from error
    finally:
        connection.close()


async def check_whole(store: Store) -> None:
    """Raises `HalfRestored`."""
    if (await store.range(MARK)).items:
        raise HalfRestored(
            "a restore into this datastore was interrupted: run p8s restore --force again to complete it"
        )


async def is_empty(store: Store) -> bool:
    return (await store.range(PREFIX, prefix_end(PREFIX), count_only=True)).count == 0


async def replace_all(store: Store, keys: Iterable[KeyValue], *, above_revision: int) -> int:
    """Makes the store hold exactly `keys`, which come in key order; every one gets a revision above
    `above_revision`. The store's revision afterwards. Cancelled or failed, the store stays marked."""
    await store.txn([], [Put(MARK, b"")])
    await _raise_revision(store, above_revision)
    lease = 0
    there = _existing(store)
    current = await anext(there, None)
    for batch in _batches(keys):
        operations: list[Operation] = []
        for kv in batch:
            while current is not None and current <= kv.key:
                if current < kv.key:
                    operations.append(Delete(current))
                current = await anext(there, None)
            if kv.lease and not lease:
                lease = await store.grant(LEASE_SECONDS)
            operations.append(Put(kv.key, kv.value, lease if kv.lease else 0))
        await _write(store, operations)
    rest: list[Operation] = []
    while current is not None:
        rest.append(Delete(current))
        current = await anext(there, None)
    await _write(store, rest)
    return (await store.txn([], [Delete(MARK)])).revision


async def _existing(store: Store) -> AsyncIterator[str]:
    """The keys that are there when asked, in order."""
    start, end = PREFIX, prefix_end(PREFIX)
    while True:
        page = await store.range(start, end, limit=_PAGE)
        for kv in page.items:
            yield kv.key
        if not page.more:
            return
        start = page.items[-1].key + "\0"


async def _write(store: Store, operations: list[Operation]) -> None:
    left = iter(operations)
    while batch := list(islice(left, _BATCH_OPERATIONS)):
        await store.txn([], batch)


def _batches(keys: Iterable[KeyValue]) -> Iterator[list[KeyValue]]:
    batch: list[KeyValue] = []
    size = 0
    for kv in keys:
        if batch and (len(batch) >= _BATCH_OPERATIONS or size + len(kv.value) > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(kv)
        size += len(kv.value) + len(kv.key)
    if batch:
        yield batch


async def _raise_revision(store: Store, revision: int) -> None:
    """A revision can only be raised by writing; an existing cluster's store is above it already."""

    async def write(count: int) -> None:
        for _ in range(count):
            await store.txn([], [Put(MARK, b"")])

    missing = revision - await store.revision()
    if missing > 0:
        share = -(-missing // _RAISING)
        await asyncio.gather(*(write(share) for _ in range(min(_RAISING, missing))))
