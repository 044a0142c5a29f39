"""The file of a backup: one format for every store. See docs/decisions/backup-format.md.

A first line that names the format; then a gzip stream of records, each a line of JSON and, where that says `size`, so
many bytes and a newline. The records: one `head`, `file`s, `key`s in key order, one `end` with the counts and the
SHA-256 of everything before it. Whoever reads one back reads it twice: `verify` first, which trusts nothing and
changes nothing, then `read`. Both use little memory whatever the file's size. Synchronous.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pybernetes.store.interface import KeyValue, StoreError

MAGIC = b"p8s-backup 1\n"
_FAMILY = b"p8s-backup "
_LEVEL = 3
_LINE_BYTES_MAX = 64 << 10
_BODY_BYTES_MAX = 64 << 20


class BadArchive(StoreError):
    """The file is no backup, or not a whole one."""


@dataclass(frozen=True, slots=True)
class Head:
    """What a backup says of itself."""

    revision: int
    """The store's, of which every key is what it was then."""
    created: str
    """RFC 3339."""
    software: str
    extra: dict[str, Any]
    """Of whoever made it."""


@dataclass(frozen=True, slots=True)
class File:
    path: str
    """Relative, with slashes."""
    mode: int
    content: bytes


Record = Head | File | KeyValue


@dataclass(frozen=True, slots=True)
class Summary:
    head: Head
    keys: int
    files: int


class ArchiveWriter:
    """Writes one archive; a `writing` context."""

    def __init__(self, stream: gzip.GzipFile) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()
        self._keys = 0
        self._files = 0

    def head(self, head: Head) -> None:
        self._record(
            {
                "type": "head",
                "revision": head.revision,
                "created": head.created,
                "software": head.software,
                "extra": head.extra,
            }
        )

    def file(self, file: File) -> None:
        self._files += 1
        self._record({"type": "file", "path": file.path, "mode": file.mode}, file.content)

    def key(self, kv: KeyValue) -> None:
        self._keys += 1
        facts = {
            "type": "key",
            "key": kv.key,
            "create_revision": kv.create_revision,
            "mod_revision": kv.mod_revision,
            "version": kv.version,
            "lease": kv.lease,
        }
        self._record(facts, kv.value)

    def end(self) -> None:
        digest = self._hash.hexdigest()
        self._record({"type": "end", "keys": self._keys, "files": self._files, "sha256": digest})

    @property
    def keys(self) -> int:
        """How many there are so far."""
        return self._keys

    def _record(self, facts: dict[str, Any], body: bytes | None = None) -> None:
        if body is not None:
            facts["size"] = len(body)
        data = json.dumps(facts, separators=(",", ":")).encode() + b"\n"
        if body is not None:
            data += body + b"\n"
        self._hash.update(data)
        self._stream.write(data)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[ArchiveWriter]:
    """An archive at `path`, mode 0600, which appears there when the context ends, whole and synced, or not at all."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as raw:
            raw.write(MAGIC)
            with gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=_LEVEL, filename="", mtime=0) as stream:
                writer = ArchiveWriter(stream)
                yield writer
                writer.end()
            raw.flush()
            os.fsync(raw.fileno())
        os.replace(temporary, path)
        sync_directory(path.parent)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def verify(path: Path) -> Summary:
    """Reads the archive to its end and checks all there is to check. Raises `BadArchive`, OSError."""
    head: Head | None = None
    keys = files = 0
    last = ""
    for record in read(path):
        if isinstance(record, Head):
            head = record
        elif isinstance(record, File):
            files += 1
        else:
            if record.key <= last:
                raise BadArchive(f"{path} is damaged: its keys are out of order at {record.key}")
            keys, last = keys + 1, record.key
    assert head is not None, "read begins with the head"
    return Summary(head, keys, files)


def read(path: Path) -> Iterator[Record]:
    """The records, the head first. Only after the last one is it sure that the archive is whole: `verify` comes
    first. Raises `BadArchive`, OSError."""
    with path.open("rb") as raw:
        magic = raw.read(len(MAGIC))
        if magic != MAGIC:
            if magic.startswith(_FAMILY):
                raise BadArchive(f"{path} was made by a later version of p8s; restore it with that version")
            raise BadArchive(f"{path} is no backup made by p8s backup")
        try:
            with gzip.GzipFile(fileobj=raw, mode="rb") as stream:
                yield from _records(path, stream)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise BadArchive(f"{path} is damaged or cut off: {error}") from error


def _records(path: Path, stream: gzip.GzipFile) -> Iterator[Record]:
    digest = hashlib.sha256()
    counts = {"key": 0, "file": 0}
    first = True
    while True:
        so_far = digest.hexdigest()
        line = stream.readline(_LINE_BYTES_MAX)
        if not line.endswith(b"\n"):
            raise BadArchive(f"{path} is cut off: it has no end")
        digest.update(line)
        try:
            facts: dict[str, Any] = json.loads(line)
            kind = facts["type"]
            body = _body(path, stream, facts["size"]) if "size" in facts else b""
            if "size" in facts:
                digest.update(body + b"\n")
            if (kind == "head") is not first:
                raise BadArchive(f"{path} is damaged: its head is not where it belongs")
            first = False
            if kind == "end":
                if facts["sha256"] != so_far:
                    raise BadArchive(f"{path} is damaged: its checksum does not fit its content")
                if (facts["keys"], facts["files"]) != (counts["key"], counts["file"]) or stream.read(1):
                    raise BadArchive(f"{path} is damaged: it does not hold what its end says")
                return
            if kind == "head":
                record: Record = Head(facts["revision"], facts["created"], facts["software"], facts["extra"])
            else:
                counts[kind] += 1
                record = _record_of(kind, facts, body)
        except (ValueError, KeyError, TypeError) as error:
            raise BadArchive(f"{path} is damaged: a record cannot be read ({error})") from error
        yield record


def _record_of(kind: str, facts: dict[str, Any], body: bytes) -> File | KeyValue:
    if kind == "file":
        path = Path(facts["path"])
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise ValueError(f"{facts['path']!r} is no path for a file")
        return File(facts["path"], int(facts["mode"]) & 0o777, body)
    return KeyValue(
        str(facts["key"]),
        body,
        int(facts["create_revision"]),
        int(facts["mod_revision"]),
        int(facts["version"]),
        int(facts["lease"]),
    )


def _body(path: Path, stream: gzip.GzipFile, size: Any) -> bytes:
    if not isinstance(size, int) or not 0 <= size <= _BODY_BYTES_MAX:
        raise BadArchive(f"{path} is damaged: a record claims {size} bytes")
    body = stream.read(size)
    if len(body) != size or stream.read(1) != b"\n":
        raise BadArchive(f"{path} is damaged or cut off within a record")
    return body
