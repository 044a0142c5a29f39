"""What a SQLite store asks its files: ranges, the history of a watch, compaction. Functions of a connection, no state.

A current key is a row with a value that no later row of its key follows; "as of a revision" is the same without the
rows after it. Values are held against their checksums here, on every way out.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

from pybernetes.store.interface import Event, KeyValue, WatchBatch
from pybernetes.store.sqlite_files import OPERATIONS_MAX, check_value, revision_of
from pybernetes.store.watchers import group_by_revision

COMPACT_CHUNK = 1000

_CURRENT = """
SELECT h.key, h.value, h.create_revision, h.id, h.version, h.lease, h.checksum FROM history h
WHERE {range} AND h.id < :before AND h.value IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM history n WHERE n.key = h.key AND n.id > h.id AND n.id < :before)
ORDER BY h.key
"""
_EVENTS = """
SELECT h.id, h.key, h.value, h.checksum, h.create_revision, h.version,
  p.id, p.value, p.create_revision, p.version, p.lease
FROM history h LEFT JOIN history p ON p.id = h.previous_id
WHERE {range} AND h.id >= :first AND h.id < :before ORDER BY h.id
"""


def _key_range(start: str, end: str) -> tuple[str, dict[str, Any]]:
    if end:
        return "h.key >= :start AND h.key < :end", {"start": start, "end": end}
    return "h.key = :start", {"start": start}


def newest_revision(connection: sqlite3.Connection) -> int:
    # The newest revision is kept as a fact when compaction removes the row that carried it.
    newest = connection.execute("SELECT max(id) FROM history").fetchone()[0]
    return max(revision_of(newest or 0), fact(connection, "revision"), 1)


def fact(connection: sqlite3.Connection, name: str) -> int:
    """0 where it was never written."""
    found = connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
    return int(found[0]) if found else 0


def current_keys(connection: sqlite3.Connection, start: str, end: str, revision: int, limit: int = 0) -> list[KeyValue]:
    """The range as of `revision`, in key order. Raises `StoreCorrupt`."""
    clause, parameters = _key_range(start, end)
    parameters["before"] = (revision + 1) * OPERATIONS_MAX
    query = _CURRENT.format(range=clause) + (f" LIMIT {limit}" if limit else "")
    found = []
    for key, value, create_revision, row_id, version, lease, expected in connection.execute(query, parameters):
        check_value(key, value, expected)
        found.append(KeyValue(key, value, create_revision, revision_of(row_id), version, lease))
    return found


def count_keys(connection: sqlite3.Connection, start: str, end: str, revision: int) -> int:
    clause, parameters = _key_range(start, end)
    parameters["before"] = (revision + 1) * OPERATIONS_MAX
    query = f"SELECT count(*) FROM ({_CURRENT.format(range=clause)})"
    return int(connection.execute(query, parameters).fetchone()[0])


def events_between(connection: sqlite3.Connection, start: str, end: str, first: int, last: int) -> list[WatchBatch]:
    """What happened in the range from revision `first` to `last`, both included. Raises `StoreCorrupt`."""
    clause, parameters = _key_range(start, end)
    parameters["first"] = first * OPERATIONS_MAX
    parameters["before"] = (last + 1) * OPERATIONS_MAX
    return group_by_revision(_events(connection.execute(_EVENTS.format(range=clause), parameters)))


def _events(rows: sqlite3.Cursor) -> Iterator[Event]:
    for row_id, key, value, expected, create, version, p_id, p_value, p_create, p_version, p_lease in rows:
        check_value(key, value, expected)
        revision = revision_of(row_id)
        previous = None
        if p_id and p_value is not None:
            previous = KeyValue(key, p_value, p_create, revision_of(p_id), p_version, p_lease)
        if value is None:
            yield Event("DELETE", key, None, 0, revision, 0, previous)
        else:
            yield Event("PUT", key, value, create, revision, version, previous)


def note_compaction(connection: sqlite3.Connection, revision: int, newest: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT OR REPLACE INTO facts VALUES ('compacted', ?)", (revision,))
    connection.execute("INSERT OR REPLACE INTO facts VALUES ('revision', ?)", (newest,))
    connection.execute("COMMIT")


def remove_superseded(connection: sqlite3.Connection, first: int, revision: int) -> int:
    """Removes what rows from the id `first` up to the compaction's revision have superseded, and deletions before it:
    one chunk, one commit. Returns the id to go on from; 0, with that noted, when all is done."""
    boundary = revision * OPERATIONS_MAX
    rows = connection.execute(
        "SELECT id, previous_id FROM history WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",
        (first, boundary + OPERATIONS_MAX, COMPACT_CHUNK),
    ).fetchall()
    connection.execute("BEGIN IMMEDIATE")
    if not rows:
        connection.execute("INSERT OR REPLACE INTO facts VALUES ('removed', ?)", (revision,))
        connection.execute("COMMIT")
        return 0
    # A row at the boundary's revision stays (watches from it are served), but what it replaced goes.
    gone = [(previous,) for _, previous in rows if previous]
    connection.executemany("DELETE FROM history WHERE id = ?", gone)
    connection.execute(
        "DELETE FROM history WHERE id >= ? AND id <= ? AND id < ? AND value IS NULL",
        (rows[0][0], rows[-1][0], boundary),
    )
    connection.execute("COMMIT")
    return int(rows[-1][0]) + 1
