"""A cluster's cgroups: every process of it, a container's too, is in one below /p8s/NAME, which is how `down` finds it.

With cgroup v2 there is one tree. With v1 (and in hybrid mode) each controller has its own; a component is put into a
few that need no further set-up, and containers are in all of them, where runc put them. Synchronous and idempotent.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pybernetes.cluster.errors import ClusterError, KernelFeatureMissing

# Without cpuset, which takes no process before its cpus and mems are set, and without systemd's own hierarchy.
_JOINED_V1 = frozenset({"cpu", "cpuacct", "memory", "pids", "freezer"})
_WANTED_V2 = ("cpu", "memory", "pids")


@dataclass(frozen=True, slots=True)
class Hierarchy:
    mount_point: Path
    version: int
    controllers: frozenset[str]
    """v1: those of the mount; v2: those available at the root (none in hybrid mode)."""

    @property
    def joined(self) -> bool:
        """Whether components are put into it. An empty v2 tree beside v1 is: it kills a whole tree in one write."""
        return self.version == 2 or bool(self.controllers & _JOINED_V1)


@lru_cache(maxsize=1)
def hierarchies() -> tuple[Hierarchy, ...]:
    """The cgroup hierarchies that are mounted, each once."""
    found: dict[tuple[int, frozenset[str]], Hierarchy] = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        root, mount_point = before.split()[3], Path(before.split()[4])
        if kind == "cgroup2" and root == "/":
            with contextlib.suppress(OSError):
                controllers = frozenset((mount_point / "cgroup.controllers").read_text().split())
                found.setdefault((2, frozenset()), Hierarchy(mount_point, 2, controllers))
        elif kind == "cgroup" and root == "/":
            controllers = frozenset(options.split()[-1].split(",")) - {"rw", "ro", "xattr", "clone_children"}
            found.setdefault((1, controllers), Hierarchy(mount_point, 1, controllers))
    return tuple(found.values())


def check() -> None:
    """Raises `KernelFeatureMissing` where containers could not be limited."""
    available = frozenset[str]().union(*(h.controllers for h in hierarchies()))
    missing = [c for c in _WANTED_V2 if c not in available]
    if missing:
        raise KernelFeatureMissing(f"the cgroup controllers {', '.join(missing)}")


def create(path: str) -> list[Path]:
    """Makes the cgroup (relative to each root) in every hierarchy that components join; returns its directories."""
    made = []
    for hierarchy in hierarchies():
        if hierarchy.joined:
            directory = hierarchy.mount_point / path
            directory.mkdir(parents=True, exist_ok=True)
            if hierarchy.version == 2 and hierarchy.controllers:
                _delegate(hierarchy, path)
            made.append(directory)
    return made


def _delegate(hierarchy: Hierarchy, path: str) -> None:
    """v2: lets every ancestor's children use the controllers."""
    wanted = " ".join(f"+{c}" for c in sorted(hierarchy.controllers & {"cpu", "cpuset", "io", "memory", "pids"}))
    directory = hierarchy.mount_point
    for part in Path(path).parts:
        with contextlib.suppress(OSError):  # Refused in containers; runc reports what it then cannot set.
            (directory / "cgroup.subtree_control").write_text(wanted)
        directory /= part


def _trees(path: str) -> Iterator[tuple[Hierarchy, Path]]:
    for hierarchy in hierarchies():
        if (hierarchy.mount_point / path).is_dir():
            yield hierarchy, hierarchy.mount_point / path


def processes(path: str) -> set[int]:
    """Every process in the cgroup and below it, in any hierarchy. Zombies and this process are left out."""
    found: set[int] = set()
    for _, tree in _trees(path):
        for directory, _, _ in os.walk(tree):
            with contextlib.suppress(OSError):  # The cgroup can go while it is looked at.
                found.update(int(line) for line in (Path(directory) / "cgroup.procs").read_text().split())
    found.discard(os.getpid())
    found.discard(0)
    return {pid for pid in found if _is_alive(pid)}


def _is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def kill(path: str, *, timeout_seconds: float = 20.0) -> int:
    """Kills everything in the cgroup and below it, and waits until it is gone; how many processes that were.

    Raises ClusterError where something outlives the timeout (a process stuck in the kernel).
    """
    deadline = time.monotonic() + timeout_seconds
    killed: set[int] = set()
    while alive := processes(path):
        killed |= alive
        for hierarchy, tree in _trees(path):
            if hierarchy.version == 2:
                with contextlib.suppress(OSError):  # Before Linux 5.14 there is no such file.
                    (tree / "cgroup.kill").write_text("1")
        with contextlib.ExitStack() as stack:
            poller = select.poll()
            waiting = 0
            for pid in alive:
                try:
                    fd = os.pidfd_open(pid)
                except OSError:
                    continue
                stack.callback(os.close, fd)
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(fd, signal.SIGKILL)
                poller.register(fd, select.POLLIN)
                waiting += 1
            while waiting:
                remaining = deadline - time.monotonic()
                ended = poller.poll(max(0.0, remaining) * 1000)
                if not ended:
                    left = ", ".join(str(p) for p in sorted(processes(path)))
                    raise ClusterError(f"processes that do not end: {left}", hint="look at their state with ps")
                for fd, _ in ended:
                    poller.unregister(fd)
                waiting -= len(ended)
    return len(killed)


def remove(path: str, *, timeout_seconds: float = 5.0) -> None:
    """Removes the cgroup and everything below it, in every hierarchy, after `kill`. A process that was on its way into
    the cgroup meanwhile, because whoever started it was interrupted, is killed too."""
    deadline = time.monotonic() + timeout_seconds
    for _, tree in list(_trees(path)):
        for directory, _, _ in os.walk(tree, topdown=False):
            while True:
                try:
                    os.rmdir(directory)
                except FileNotFoundError:
                    break
                except OSError as error:
                    # A killed process leaves its cgroup a moment after its exit was reported, without an event in v1.
                    if error.errno != errno.EBUSY or time.monotonic() > deadline:
                        raise
                    kill(path)
                    time.sleep(0.002)
                else:
                    break
        # The common parent goes with the last cluster.
        with contextlib.suppress(OSError):
            tree.parent.rmdir()


def remains(path: str) -> list[Path]:
    """The directories that still exist for this cgroup."""
    return [tree for _, tree in _trees(path)]
