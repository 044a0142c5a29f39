"""What the SQLite store's writer keeps of a group of transactions, and how its rows get to the database: few statements
a group, since each hands the interpreter's lock to the event loop and has to get it back. Owned by the writer thread.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

from pybernetes.store.interface import WatchBatch
from pybernetes.store.sqlite_files import check_value

Row = tuple[int, str, bytes | None, int, int, int, int, int | None]
"""A row of the history, in the order of its columns."""

# Statements are kept prepared by their text, so there are few lengths; what is left of one is filled up with rows that
# the statement passes over.
_FETCH_ROWS = 32
_INSERT_ROWS = (1, 4, 8, 16, 32, 64, 128)
_INSERTS = {
    n: f"INSERT INTO history SELECT * FROM (VALUES {','.join(['(?,?,?,?,?,?,?,?)'] * n)}) WHERE column1 IS NOT NULL"
    for n in _INSERT_ROWS
}
_NO_ROW = (None,) * 8
_RECENT_BYTES_MAX = 8 * 1024 * 1024


class Changes:
    """What a group of transactions comes to."""

    __slots__ = ("batches", "leases", "rows")

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.leases: list[tuple[int]] = []
        """Those that end."""
        self.batches: list[WatchBatch] = []

    @property
    def is_one_statement(self) -> bool:
        """Whether `write` is one statement, and so a transaction of its own without anything around it."""
        return not self.leases and len(self.rows) <= _INSERT_ROWS[-1]

    def write(self, connection: sqlite3.Connection) -> None:
        """Writes all of it; where it is more than one statement, within the caller's transaction."""
        rows = self.rows
        for at in range(0, len(rows), _INSERT_ROWS[-1]):
            chunk: list[Sequence[Any]] = [*rows[at : at + _INSERT_ROWS[-1]]]
            size = _INSERT_ROWS[bisect_left(_INSERT_ROWS, len(chunk))]
            chunk += [_NO_ROW] * (size - len(chunk))
            connection.execute(_INSERTS[size], [column for row in chunk for column in row])
        if self.leases:
            connection.executemany("DELETE FROM leases WHERE id = ?", self.leases)


class RecentValues:
    """Values of current rows by row id, for events' previous states: those written last, up to a bound in bytes."""

    def __init__(self) -> None:
        self._values: OrderedDict[int, bytes] = OrderedDict()
        self._bytes = 0

    def fetch(self, connection: sqlite3.Connection, row_ids: Sequence[int]) -> None:
        """Reads those that are not here, a few statements for all."""
        missing = [i for i in row_ids if i not in self._values]
        for start in range(0, len(missing), _FETCH_ROWS):
            chunk = missing[start : start + _FETCH_ROWS]
            # Filled up with what finds nothing.
            chunk += [0] * ((_FETCH_ROWS if len(chunk) > 1 else 1) - len(chunk))
            query = f"SELECT id, key, value, checksum FROM history WHERE id IN ({','.join('?' * len(chunk))})"
            for row_id, key, value, expected in connection.execute(query, chunk):
                check_value(key, value, expected)
                self.put(row_id, value)

    def get(self, connection: sqlite3.Connection, key: str, row_id: int) -> bytes:
        value = self._values.get(row_id)
        if value is None:
            query = "SELECT value, checksum FROM history WHERE id = ?"
            value, expected = connection.execute(query, (row_id,)).fetchone()
            check_value(key, value, expected)
            assert value is not None, "a current row has a value"
        return value

    def put(self, row_id: int, value: bytes) -> None:
        self._values[row_id] = value
        self._bytes += len(value)

    def drop(self, row_ids: Iterable[int]) -> None:
        for row_id in row_ids:
            value = self._values.pop(row_id, None)
            if value is not None:
                self._bytes -= len(value)

    def shrink(self) -> None:
        """Lets the oldest go where there are too many; not amid a group, whose own rows are nowhere else yet."""
        while self._bytes > _RECENT_BYTES_MAX:
            self._bytes -= len(self._values.popitem(last=False)[1])
