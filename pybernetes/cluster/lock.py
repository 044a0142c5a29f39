"""One command at a time changes a cluster: an flock on a file beside the cluster's directories.

The kernel drops the lock when its holder dies, so there is no stale lock. The file is removed by `down`, under the
lock; whoever waited for a removed file's lock notices and takes a new one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator

from pybernetes.cluster.errors import ClusterBusy
from pybernetes.cluster.layout import Layout


class ClusterLock:
    def __init__(self) -> None:
        self.remove_file = False
        """Set by `down`: the file goes with the lock."""


@contextlib.contextmanager
def locked(layout: Layout) -> Iterator[ClusterLock]:
    """Holds the cluster's lock. Raises `ClusterBusy` at once where another command holds it."""
    path = layout.lock_file
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise ClusterBusy(layout.name) from None
        try:
            current = os.stat(path).st_ino
        except FileNotFoundError:
            current = -1
        if current == os.fstat(fd).st_ino:
            break
        os.close(fd)
    lock = ClusterLock()
    try:
        yield lock
    finally:
        if lock.remove_file:
            path.unlink(missing_ok=True)
            # The common directories go with the last cluster.
            for directory in (layout.roots.run, layout.roots.state):
                with contextlib.suppress(OSError):
                    directory.rmdir()
        os.close(fd)
