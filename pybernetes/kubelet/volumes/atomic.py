"""Files that change all at once: each content is a directory of its own, and one symbolic link is swapped.

The layout is upstream's AtomicWriter (``pkg/volume/util/atomic_writer.go``), which programs know: the files a container
sees are links to ``..data/NAME``, ``..data`` links to a time-stamped directory.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

_DATA = "..data"
_DATA_NEW = "..data_tmp"


@dataclass(frozen=True, slots=True)
class File:
    """A projected file. `owner` is the user id it belongs to, None for root."""

    content: bytes
    mode: int
    owner: int | None = None


def write(directory: Path, payload: Mapping[str, File], now: float, group: int | None = None) -> bool:
    """Makes the directory show exactly the payload (relative path to file); whether anything changed. `group` owns
    every file and may read it, as a pod's fsGroup does."""
    for path in payload:
        parts = Path(path).parts
        if not parts or Path(path).is_absolute() or ".." in parts or parts[0].startswith(".."):
            raise ValueError(f"invalid path {path!r} in a volume")
    directory.mkdir(parents=True, exist_ok=True)
    data = directory / _DATA
    old = directory / os.readlink(data) if data.is_symlink() else None
    if old is not None and _shows(old, payload, group):
        _link(directory, payload)
        return False
    stamp = datetime.fromtimestamp(now, UTC).strftime("..%Y_%m_%d_%H_%M_%S.")
    fresh = Path(tempfile.mkdtemp(prefix=stamp, dir=directory))
    fresh.chmod(0o755)
    if group is not None:
        os.chown(fresh, -1, group)
    for path, file in payload.items():
        target = fresh / path
        for parent in reversed(target.relative_to(fresh).parents[:-1]):
            step = fresh / parent
            step.mkdir(exist_ok=True)
            step.chmod(0o755)
            if group is not None:
                os.chown(step, -1, group)
        target.write_bytes(file.content)
        os.chown(target, -1 if file.owner is None else file.owner, -1 if group is None else group)
        target.chmod(_mode(file, group))
    link = directory / _DATA_NEW
    link.unlink(missing_ok=True)
    link.symlink_to(fresh.name)
    link.rename(data)
    _link(directory, payload)
    if old is not None and old.is_dir():
        shutil.rmtree(old, ignore_errors=True)
    return True


def _mode(file: File, group: int | None) -> int:
    """Content volumes are read-only: fsGroup may read every file."""
    return file.mode if group is None else file.mode | 0o440


def _shows(old: Path, payload: Mapping[str, File], group: int | None) -> bool:
    if not old.is_dir():
        return False
    there = {str(Path(parent, name).relative_to(old)) for parent, _, names in os.walk(old) for name in names}
    if there != {str(Path(p)) for p in payload}:
        return False
    for path, file in payload.items():
        target = old / path
        stat = target.stat()
        if stat.st_mode & 0o7777 != _mode(file, group) or (group is not None and stat.st_gid != group):
            return False
        if file.owner is not None and stat.st_uid != file.owner:
            return False
        if target.read_bytes() != file.content:
            return False
    return True


def _link(directory: Path, payload: Mapping[str, File]) -> None:
    """The links users see: one for each first component of a path."""
    wanted = {Path(path).parts[0] for path in payload}
    for name in wanted:
        link = directory / name
        if not link.is_symlink():
            link.symlink_to(f"{_DATA}/{name}")
    for entry in directory.iterdir():
        if entry.is_symlink() and not entry.name.startswith("..") and entry.name not in wanted:
            entry.unlink()
