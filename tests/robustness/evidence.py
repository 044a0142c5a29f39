"""The store's own account of what happened, read past the API server: the log that the clients' stories must fit.

With SQLite it is read from the file, by a second process's read-only connection, with etcd by a watch of the members'
history. While the servers run this may be done at any time; compaction forgets, so a run that compacts is read every
so often.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path

from pybernetes.store import sqlite_queries
from pybernetes.store.etcd.config import EtcdConfig
from pybernetes.store.etcd.store import EtcdStore
from pybernetes.store.interface import Compacted, Event, Put, prefix_end
from pybernetes.store.sqlite_files import open_to_read
from tests.robustness.history import Stored
from tests.robustness.traffic import FOREIGN, NAMESPACE

WITNESS = "/p8s/witness"
_WITNESS_SECONDS = 30.0
PREFIX = f"/registry/core/configmaps/{NAMESPACE}/"


def stored_in_sqlite(store: Path, *, after: int = 0) -> list[Stored]:
    """What changed after a revision, as far as compaction has left it."""
    connection = open_to_read(store)
    try:
        newest = sqlite_queries.newest_revision(connection)
        batches = sqlite_queries.events_between(connection, PREFIX, prefix_end(PREFIX), after + 1, newest)
    finally:
        connection.close()
    return stored(event for batch in batches for event in batch.events)


async def stored_in_etcd(config: EtcdConfig, *, after: int = 0) -> list[Stored]:
    """The same of a store in etcd. Of a change before the compaction only what a run has read in time is known."""
    store = await EtcdStore.open(config)
    events: list[Event] = []
    try:
        try:
            watch = await store.watch(PREFIX, prefix_end(PREFIX), from_revision=after + 1)
        except Compacted as error:
            watch = await store.watch(PREFIX, prefix_end(PREFIX), from_revision=error.compact_revision)
        # A change outside the range, of which the watch says when it has come so far.
        last = (await store.txn([], [Put(WITNESS, b"")])).revision
        async with asyncio.timeout(_WITNESS_SECONDS):
            async for batch in watch:
                events += batch.events
                if batch.revision >= last:
                    break
        await watch.close()
    finally:
        await store.close()
    return stored(events)


def stored(events: Iterable[Event]) -> list[Stored]:
    found = []
    for event in events:
        name = event.key.removeprefix(PREFIX)
        if name == FOREIGN:
            continue
        value = event.value if event.value is not None else event.previous.value if event.previous else b"{}"
        obj = json.loads(value)
        write, uid = obj.get("data", {}).get("write", "?"), obj.get("metadata", {}).get("uid", "?")
        side = obj.get("metadata", {}).get("labels", {}).get("side", "")
        found.append(Stored(event.mod_revision, event.type, name, write, uid, side))
    return found
