"""Pod cgroups: ``ROOT/kubepods[/burstable|/besteffort]/podUID``, in cgroup v1 (each controller's own hierarchy, hybrid
mode included) and v2.

The container runtime makes the containers' own cgroups below a pod's. Everything here is quick file I/O. A pod's cgroup
is removed when nothing of the pod runs; what is left in it is killed first.
"""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path
from typing import Protocol

import structlog

from pybernetes.api.meta import Object, uid_of
from pybernetes.api.pod_resources import pod_requests
from pybernetes.kubelet import resources
from pybernetes.kubelet.runtime import LinuxResources
from pybernetes.lib.clock import Clock

log = structlog.get_logger(__name__)

_REMOVE_TRIES = 8
_CONTROLLERS_V2 = ("cpuset", "cpu", "io", "memory", "pids", "hugetlb")


class CgroupError(Exception):
    """The kernel refused a cgroup or its setting."""


class Hierarchy(Protocol):
    """One version's way to make, set and remove a cgroup, named by its path below the root of each hierarchy."""

    def create(self, path: str, limits: LinuxResources) -> None: ...
    def update(self, path: str, limits: LinuxResources) -> None: ...
    def directories(self, path: str) -> list[Path]: ...


def is_unified(mount: Path) -> bool:
    """Whether cgroup v2 alone is mounted there."""
    return (mount / "cgroup.controllers").exists()


def hierarchy(mount: Path) -> Hierarchy:
    return UnifiedHierarchy(mount) if is_unified(mount) else SplitHierarchy(mount)


def _write(path: Path, value: str) -> None:
    try:
        path.write_text(value)
    except OSError as error:
        raise CgroupError(f"writing {value!r} to {path}: {error.strerror}") from error


class SplitHierarchy:
    """Cgroup v1: a tree for each controller."""

    def __init__(self, mount: Path) -> None:
        self._mount = mount

    def _make(self, controller: str, path: str) -> Path | None:
        base = self._mount / controller
        if not base.is_dir():
            return None
        directory = base / path.lstrip("/")
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CgroupError(f"making cgroup {directory}: {error.strerror}") from error
        return directory

    def create(self, path: str, limits: LinuxResources) -> None:
        for controller in ("cpu", "memory", "pids"):
            self._make(controller, path)
        self.update(path, limits)

    def update(self, path: str, limits: LinuxResources) -> None:
        cpu = self._make("cpu", path)
        if cpu is not None:
            if limits.cpu_shares:
                _write(cpu / "cpu.shares", str(limits.cpu_shares))
            if (cpu / "cpu.cfs_quota_us").exists():
                _write(cpu / "cpu.cfs_period_us", str(limits.cpu_period_us or resources.PERIOD_US))
                _write(cpu / "cpu.cfs_quota_us", str(limits.cpu_quota_us or -1))
        memory = self._make("memory", path)
        if memory is not None:
            _write(memory / "memory.limit_in_bytes", str(limits.memory_limit_bytes or -1))

    def directories(self, path: str) -> list[Path]:
        try:
            controllers = [p for p in self._mount.iterdir() if p.is_dir() and not p.is_symlink()]
        except OSError:
            return []
        return [d for c in controllers if (d := c / path.lstrip("/")).is_dir()]


class UnifiedHierarchy:
    """Cgroup v2: one tree, controllers enabled downwards."""

    def __init__(self, mount: Path) -> None:
        self._mount = mount

    def create(self, path: str, limits: LinuxResources) -> None:
        directory = self._mount / path.lstrip("/")
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CgroupError(f"making cgroup {directory}: {error.strerror}") from error
        steps = [self._mount]
        for part in path.strip("/").split("/"):
            steps.append(steps[-1] / part)
        for step in steps:
            available = set((step / "cgroup.controllers").read_text().split())
            enabled = set((step / "cgroup.subtree_control").read_text().split())
            wanted = [c for c in _CONTROLLERS_V2 if c in available and c not in enabled]
            for controller in wanted:
                try:
                    (step / "cgroup.subtree_control").write_text(f"+{controller}")
                except OSError as error:
                    log.warning("a cgroup controller cannot be enabled", cgroup=str(step), controller=controller,
                                error=error.strerror)  # fmt: skip
        self.update(path, limits)

    def update(self, path: str, limits: LinuxResources) -> None:
        directory = self._mount / path.lstrip("/")
        if limits.cpu_shares and (directory / "cpu.weight").exists():
            weight = 1 + ((limits.cpu_shares - 2) * 9999) // 262142
            _write(directory / "cpu.weight", str(weight))
        if (directory / "cpu.max").exists():
            quota = str(limits.cpu_quota_us) if limits.cpu_quota_us else "max"
            _write(directory / "cpu.max", f"{quota} {limits.cpu_period_us or resources.PERIOD_US}")
        if (directory / "memory.max").exists():
            _write(directory / "memory.max", str(limits.memory_limit_bytes) if limits.memory_limit_bytes else "max")

    def directories(self, path: str) -> list[Path]:
        directory = self._mount / path.lstrip("/")
        return [directory] if directory.is_dir() else []


class PodCgroups:
    """The cgroups of one node's pods."""

    def __init__(self, root: str, mount: Path, clock: Clock) -> None:
        self._base = f"{root.rstrip('/')}/kubepods"
        self._hierarchy = hierarchy(mount)
        self._clock = clock
        self._burstable: dict[str, int] = {}
        self._ready = False

    @property
    def base(self) -> str:
        return self._base

    def path(self, pod: Object) -> str:
        """The pod's cgroup, as the runtime is told it."""
        qos = resources.qos_class(pod)
        middle = "" if qos == "Guaranteed" else f"/{qos.lower()}"
        return f"{self._base}{middle}/pod{uid_of(pod)}"

    def _prepare(self) -> None:
        if not self._ready:
            self._hierarchy.create(self._base, LinuxResources())
            self._hierarchy.create(f"{self._base}/besteffort", LinuxResources(cpu_shares=2))
            self._hierarchy.create(f"{self._base}/burstable", LinuxResources(cpu_shares=2))
            self._ready = True

    def create(self, pod: Object) -> str:
        """Makes (or corrects) the pod's cgroup and returns its path. Raises `CgroupError`."""
        self._prepare()
        path = self.path(pod)
        limits = resources.pod_resources(pod)
        self._hierarchy.create(path, limits)
        if resources.qos_class(pod) == "Burstable":
            self._set_burstable(uid_of(pod), pod_requests(pod).get("cpu", 0))
        return path

    def _set_burstable(self, uid: str, milli_cpu: int | None) -> None:
        """All burstable pods together get the shares of what they request."""
        before = resources.cpu_shares(sum(self._burstable.values()))
        if milli_cpu is None:
            self._burstable.pop(uid, None)
        else:
            self._burstable[uid] = milli_cpu
        after = resources.cpu_shares(sum(self._burstable.values()))
        if before != after and self._ready:
            self._hierarchy.update(f"{self._base}/burstable", LinuxResources(cpu_shares=after))

    def pids(self, path: str) -> set[int]:
        found: set[int] = set()
        for directory in self._hierarchy.directories(path):
            for parent, _, files in os.walk(directory):
                if "cgroup.procs" in files:
                    try:
                        found.update(int(p) for p in (Path(parent) / "cgroup.procs").read_text().split())
                    except OSError:
                        log.debug("a cgroup went away while it was read", cgroup=parent)
        return found

    async def remove(self, uid: str) -> None:
        """Removes the cgroups of a pod, whatever its class; kills what is still in them. Raises `CgroupError` where
        they cannot be removed. Doing it twice is fine."""
        if uid in self._burstable:
            self._set_burstable(uid, None)
        for middle in ("", "/burstable", "/besteffort"):
            await self._remove(f"{self._base}{middle}/pod{uid}")

    async def remove_all(self) -> None:
        """Removes ``kubepods`` itself, when a node is taken down."""
        await self._remove(self._base)
        self._ready = False

    async def _remove(self, path: str) -> None:
        delay = 0.01
        for attempt in range(_REMOVE_TRIES):
            left = self._remove_once(path)
            if left is None:
                return
            if attempt:
                for pid in self.pids(path):
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        log.debug("a process ended by itself", pid=pid)
            await self._clock.sleep(delay)
            delay = min(delay * 2, 0.5)
        raise CgroupError(f"cgroup {path} cannot be removed: {left}")

    def _remove_once(self, path: str) -> str | None:
        """None where everything is gone, else why not."""
        problem: str | None = None
        for directory in self._hierarchy.directories(path):
            for parent, _, _ in os.walk(directory, topdown=False):
                try:
                    os.rmdir(parent)
                except OSError as error:
                    if error.errno != errno.ENOENT:
                        problem = f"{parent}: {error.strerror}"
        return problem
