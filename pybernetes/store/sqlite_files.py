"""The files of a SQLite store: their schema, how they are opened and checked, and what their errors mean.

One writer connection and one reader connection belong to the process that holds the directory's lock. Only the writer
ever checkpoints. Others may look (`open_to_read`), also while the store is in use: WAL mode gives them one consistent
snapshot, and they never write.

Each row of the history carries a checksum of its value, looked at whenever the value is read; the structure of the
file is checked when it is opened.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import zlib
from pathlib import Path

from pybernetes.store.interface import StoreCorrupt, StoreError, StoreFull

# A row's id is revision * OPERATIONS_MAX + its place in the transaction: history is in order of ids, and no second
# index is needed to watch from a revision.
OPERATIONS_MAX = 1024
WAL_LIMIT_BYTES = 32 << 20
"""Beyond, the writer empties the WAL with the reader held back for that moment; it cannot grow for long reads' sake."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS history (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    value BLOB,
    create_revision INTEGER NOT NULL,
    version INTEGER NOT NULL,
    lease INTEGER NOT NULL,
    previous_id INTEGER NOT NULL,
    checksum INTEGER
);
CREATE INDEX IF NOT EXISTS history_by_key ON history (key, id);
CREATE TABLE IF NOT EXISTS leases (id INTEGER PRIMARY KEY AUTOINCREMENT, deadline REAL NOT NULL);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""
FORMAT = 2
"""2 has checksums; rows that were written as format 1 have none and are believed."""

_FULL = frozenset(
    (
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR_WRITE,
        sqlite3.SQLITE_IOERR_FSYNC,
        sqlite3.SQLITE_IOERR_DIR_FSYNC,
        sqlite3.SQLITE_IOERR_TRUNCATE,
        sqlite3.SQLITE_IOERR_SHMSIZE,
    )
)
_CORRUPT = frozenset((sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB))


def database(directory: Path) -> Path:
    return directory / "state.db"


def revision_of(row_id: int) -> int:
    return row_id // OPERATIONS_MAX


def checksum(value: bytes) -> int:
    return zlib.crc32(value)


def check_value(key: str, value: bytes | None, expected: int | None) -> None:
    """Raises `StoreCorrupt` where the value is not the one that was written."""
    if value is not None and expected is not None and zlib.crc32(value) != expected:
        raise StoreCorrupt(f"the stored value of {key} is not what was written: the disk or another program changed it")


def store_error(error: sqlite3.Error) -> StoreError:
    """The store's error for SQLite's."""
    code = getattr(error, "sqlite_errorcode", 0)
    if code in _FULL:
        return StoreFull(f"the disk is full or cannot be written: {error}; free some space and try again")
    if code & 0xFF in _CORRUPT:
        return StoreCorrupt(f"the store's file is damaged: {error}")
    return StoreError(f"SQLite failed: {error}")


def take_lock(directory: Path) -> int:
    """The descriptor of the directory's lock, to be closed by the caller; it goes with the process too."""
    descriptor = os.open(directory / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise StoreError(f"the store in {directory} is open in another process; stop that one first") from None
        raise
    return descriptor


def connect(path: Path, *, wal_limit_bytes: int = 0) -> sqlite3.Connection:
    """The writer's connection, which keeps the WAL to its limit; without a limit, a reader's."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=64)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        # FULL: the WAL is fsynced at each commit; an acknowledged write survives a power cut.
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA busy_timeout=10000")
        connection.execute("PRAGMA cache_size=-8192")
        if wal_limit_bytes:
            connection.execute(f"PRAGMA journal_size_limit={wal_limit_bytes}")
        else:
            connection.execute("PRAGMA wal_autocheckpoint=0")
            connection.execute("PRAGMA query_only=1")
    except BaseException:
        connection.close()
        raise
    return connection


def open_to_write(directory: Path, wal_limit_bytes: int = WAL_LIMIT_BYTES) -> sqlite3.Connection:
    """The writer's connection, with the schema made or brought up to date and the file's structure checked. Raises
    `StoreError`s that say what to do."""
    path = database(directory)
    existed = path.exists()
    try:
        connection = connect(path, wal_limit_bytes=wal_limit_bytes)
    except sqlite3.Error as error:
        raise _open_error(directory, error) from error
    try:
        os.chmod(path, 0o600)
        if existed:
            _check_structure(connection)
        _settle_schema(connection, directory)
    except sqlite3.Error as error:
        connection.close()
        raise _open_error(directory, error) from error
    except BaseException:
        connection.close()
        raise
    return connection


def create(directory: Path, revision: int) -> None:
    """An empty store whose history begins after `revision`: what is older counts as compacted."""
    directory.mkdir(mode=0o700, parents=True)
    connection = open_to_write(directory)
    try:
        with connection:
            for name in ("revision", "compacted", "removed"):
                connection.execute("INSERT INTO facts VALUES (?, ?)", (name, revision))
    except sqlite3.Error as error:
        raise store_error(error) from error
    finally:
        connection.close()


def _check_structure(connection: sqlite3.Connection) -> None:
    faults = [row[0] for row in connection.execute("PRAGMA quick_check(3)")]
    if faults != ["ok"]:
        error = sqlite3.DatabaseError("; ".join(" ".join(f.split()) for f in faults))
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error


def _settle_schema(connection: sqlite3.Connection, directory: Path) -> None:
    connection.executescript(_SCHEMA)
    found = connection.execute("SELECT value FROM facts WHERE name = 'format'").fetchone()
    if found is None:
        connection.execute("INSERT INTO facts VALUES ('format', ?)", (FORMAT,))
    elif found[0] == 1:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ALTER TABLE history ADD COLUMN checksum INTEGER")
        connection.execute("UPDATE facts SET value = ? WHERE name = 'format'", (FORMAT,))
        connection.execute("COMMIT")
    elif found[0] != FORMAT:
        raise StoreError(
            f"cannot open the store in {directory}: its format is {found[0]} and this version reads up to {FORMAT};"
            " use the version of p8s that wrote it"
        )


def _open_error(directory: Path, error: sqlite3.Error) -> StoreError:
    known = store_error(error)
    if isinstance(known, StoreCorrupt):
        return StoreCorrupt(
            f"the store in {directory} is damaged ({error}) and was not touched; bring back a backup with p8s restore"
            " --force, which keeps the damaged files beside it"
        )
    if isinstance(known, StoreFull):
        return StoreFull(f"cannot open the store in {directory}: the disk is full or cannot be written ({error})")
    return StoreError(f"cannot open the store in {directory}: {error}")


def open_to_read(directory: Path) -> sqlite3.Connection:
    """A connection for looking, in one read transaction that has begun; the store may be in use. Raises
    `StoreError`."""
    path = database(directory)
    if not path.exists():
        raise StoreError(f"there is no store in {directory}")
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA busy_timeout=10000")
            connection.execute("BEGIN")
            # A transaction's snapshot is taken at its first read.
            connection.execute("SELECT count(*) FROM facts").fetchone()
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise _open_error(directory, error) from error
    return connection


def wal_bytes(directory: Path) -> int:
    """How large the write-ahead log is; 0 where there is none."""
    try:
        return os.stat(directory / "state.db-wal").st_size
    except FileNotFoundError:
        return 0
