"""A small disk, to be filled: a tmpfs of a few MiB, mounted over a directory for as long as the context lasts."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

_FILLER = "filler"


class SmallDisk:
    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self, *, but_bytes: int = 0) -> None:
        """Takes every byte that is left, or all but so many."""
        if but_bytes:
            with (self.path / _FILLER).open("wb") as filler:
                os.posix_fallocate(filler.fileno(), 0, self.free_bytes - but_bytes)
            return
        descriptor = os.open(self.path / _FILLER, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        try:
            for size in (1 << 20, 4096, 1):
                with contextlib.suppress(OSError):
                    while os.write(descriptor, bytes(size)):
                        pass
        finally:
            os.close(descriptor)

    def free(self) -> None:
        (self.path / _FILLER).unlink(missing_ok=True)

    @property
    def free_bytes(self) -> int:
        facts = os.statvfs(self.path)
        return facts.f_bavail * facts.f_frsize


@contextlib.contextmanager
def small_disk(path: Path, mebibytes: int) -> Iterator[SmallDisk]:
    """Needs root. Whoever holds files open below it must have ended before the context does."""
    path.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=0700", "p8s-test", str(path)], check=True)
    try:
        yield SmallDisk(path)
    finally:
        # Lazily, so that a file that a failed test left open does not keep the mount.
        subprocess.run(["umount", "--lazy", str(path)], check=True)
