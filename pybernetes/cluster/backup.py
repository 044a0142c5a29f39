"""Backup and restore of a server's data directory: its certificates and keys, and everything in its store.

A restore is prepared beside what is there and then put in its place, by steps that can be repeated:

1. ``restore.tmp`` gets the new store and, where it differs, the new PKI; all of it is synced.
2. It is renamed to ``restore.ready``. Before this the old state counts, from here on the new.
3. `finish` moves the old store and PKI to ``replaced-TIME`` and the new ones to their places.

Whoever is about to use the directory calls `finish` first, so a restore that died after its second step is completed,
and one that died before never happened. The old state stays until somebody removes it. Synchronous; the directory is
locked meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import fcntl
import os
import shutil
import stat
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pybernetes import __version__
from pybernetes.cluster.errors import ClusterError
from pybernetes.lib import failpoints
from pybernetes.lib.clock import Clock, SystemClock
from pybernetes.store import archive, transfer
from pybernetes.store.archive import File, Head, Summary, sync_directory
from pybernetes.store.interface import KeyValue, StoreError
from pybernetes.store.sqlite import SQLiteStore
from pybernetes.store.sqlite_files import create, database, take_lock

Pages = AsyncIterator[tuple[int, list[KeyValue]]]

BUMP_REVISION = 1_000_000_000
"""How far a restored store's revision is beyond the backup's and the replaced store's: more writes than any cluster
makes between a backup and the end of its data, so no client ever saw a higher one. etcd's documentation says the same
of its own restore."""

_STORE, _PKI = "store", "pki"
_IDENTITY = ("ca.crt", "ca.key", "sa.key", "sa.pub")
"""What makes a PKI the same: everything else of it is issued anew from these."""
_TEMPORARY, _READY, _TIME = "restore.tmp", "restore.ready", "time"
_FILE_BYTES_MAX = 1 << 20


class RestoreRefused(ClusterError):
    """There is something that a restore would replace, and nobody said that it may."""

    exit_code = 4


@dataclass(frozen=True, slots=True)
class Restored:
    summary: Summary
    replaced: Path | None
    """Where the old state is now; None where there was none."""
    new_pki: bool


# --- backup ----------------------------------------------------------------------------------------------------------


async def back_up(
    target: Path, data_dir: Path, pages: Pages, *, extra: dict[str, Any] | None = None, clock: Clock | None = None
) -> Summary:
    """Writes one archive of the store's `pages` and the directory's PKI. Raises StoreError, OSError."""
    files = list(_pki_files(data_dir))
    clock = clock or SystemClock()
    with archive.writing(target) as writer:
        head: Head | None = None
        async for revision, keys in pages:
            if head is None:
                head = Head(revision, _time(clock), __version__, extra or {})
                writer.head(head)
                for file in files:
                    writer.file(file)
            for kv in keys:
                writer.key(kv)
        assert head is not None, "there is at least one page"
        summary = Summary(head, writer.keys, len(files))
    return summary


def _time(clock: Clock) -> str:
    moment = datetime.datetime.fromtimestamp(clock.now(), datetime.UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


async def sqlite_pages(data_dir: Path) -> Pages:
    """The pages of a directory's own store, also while a server uses it. Raises StoreError."""
    finish(data_dir)
    for page in transfer.read_sqlite(data_dir / _STORE):
        yield page


def _pki_files(data_dir: Path) -> Iterator[File]:
    for path in sorted((data_dir / _PKI).rglob("*")):
        facts = path.lstat()
        if stat.S_ISREG(facts.st_mode) and facts.st_size <= _FILE_BYTES_MAX:
            yield File(path.relative_to(data_dir).as_posix(), stat.S_IMODE(facts.st_mode), path.read_bytes())


# --- restore ---------------------------------------------------------------------------------------------------------


def restore(
    path: Path,
    data_dir: Path,
    *,
    force: bool,
    bump_revision: int = BUMP_REVISION,
    with_store: bool = True,
    clock: Clock | None = None,
) -> Restored:
    """Makes the directory what the archive says; without `with_store` its PKI alone. Raises `RestoreRefused`,
    StoreError (also for a bad archive, before anything is touched, and for a store that is in use), OSError."""
    summary = archive.verify(path)
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(data_dir), contextlib.ExitStack() as stack:
        _finish(data_dir)
        store = data_dir / _STORE
        previous = 0
        if with_store:
            if store.exists():
                stack.callback(os.close, take_lock(store))
            previous = _previous_revision(store, force=force)
        files = [r for r in archive.read(path) if isinstance(r, File)] if summary.files else []
        new_pki = bool(files) and not _same_pki(data_dir, files)
        if new_pki and (data_dir / _PKI).exists() and not force:
            raise RestoreRefused(
                f"the certificates in {data_dir / _PKI} are another cluster's than the backup's",
                hint="replace them too with --force; the old ones are kept beside the new",
            )
        temporary = data_dir / _TEMPORARY
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(mode=0o700)
        if new_pki:
            for file in files:
                _write_file(temporary, file)
        if with_store:
            base = max(summary.head.revision, previous) + bump_revision
            create(temporary / _STORE, base)
            asyncio.run(_fill(temporary / _STORE, path, base))
        stamp = _time(clock or SystemClock()).replace(":", "")
        _write_file(temporary, File(_TIME, 0o600, stamp.encode()))
        for directory in (p for p in [*temporary.rglob("*"), temporary] if p.is_dir()):
            sync_directory(directory)
        failpoints.hit("restore/before-ready")
        temporary.rename(data_dir / _READY)
        sync_directory(data_dir)
        failpoints.hit("restore/ready")
        replaced = _finish(data_dir)
    return Restored(summary, replaced, new_pki)


async def _fill(store_directory: Path, path: Path, base: int) -> None:
    store = await SQLiteStore.open(store_directory)
    try:
        keys = (r for r in archive.read(path) if isinstance(r, KeyValue))
        await transfer.replace_all(store, keys, above_revision=base)
    finally:
        await store.close()


def _previous_revision(store: Path, *, force: bool) -> int:
    """The revision of what will be replaced; 0 where that is nothing, or damaged. Raises `RestoreRefused`."""
    if not database(store).exists():
        return 0
    try:
        revision, keys = next(transfer.read_sqlite(store))
    except StoreError as error:
        if force:
            return 0
        raise RestoreRefused(
            f"the store in {store} cannot be read: {error}",
            hint="replace it with --force; the damaged files are kept beside the new ones",
        ) from error
    if keys and not force:
        raise RestoreRefused(
            f"the store in {store} is not empty", hint="replace what it holds with --force; the old store is kept"
        )
    return revision


def _same_pki(data_dir: Path, files: list[File]) -> bool:
    backed_up = {f.path: f.content for f in files}
    for name in _IDENTITY:
        path = data_dir / _PKI / name
        if not path.is_file() or path.read_bytes() != backed_up.get(f"{_PKI}/{name}"):
            return False
    return True


def _write_file(directory: Path, file: File) -> None:
    path = directory / file.path
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, file.mode)
    with os.fdopen(descriptor, "wb") as target:
        os.fchmod(descriptor, file.mode)
        target.write(file.content)
        target.flush()
        os.fsync(descriptor)


# --- the last step ---------------------------------------------------------------------------------------------------


def finish(data_dir: Path) -> None:
    """Completes a restore that was interrupted after its point of no return; usually there is nothing to do."""
    if (data_dir / _READY).exists():
        with _locked(data_dir):
            _finish(data_dir)


def _finish(data_dir: Path) -> Path | None:
    ready = data_dir / _READY
    if not ready.exists():
        return None
    aside = data_dir / f"replaced-{(ready / _TIME).read_text()}"
    for name in (_PKI, _STORE):
        new, current = ready / name, data_dir / name
        if not new.exists():
            continue  # Moved by the attempt before this one, or not part of it.
        if current.exists():
            aside.mkdir(mode=0o700, exist_ok=True)
            current.rename(aside / name)
            sync_directory(aside)
            sync_directory(data_dir)
        failpoints.hit("restore/between")
        new.rename(current)
        sync_directory(data_dir)
    shutil.rmtree(ready)
    sync_directory(data_dir)
    return aside if aside.exists() else None


@contextlib.contextmanager
def _locked(data_dir: Path) -> Iterator[None]:
    descriptor = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ClusterError(
                f"another p8s restore is at work in {data_dir}", hint="wait until it has ended"
            ) from None
        yield
    finally:
        os.close(descriptor)
