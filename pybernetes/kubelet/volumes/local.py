"""Volumes that are the node's own storage: emptyDir and hostPath."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import ClassVar

from pybernetes.api.meta import Object
from pybernetes.api.pod_resources import is_limited, pod_limits
from pybernetes.api.quantity import parse
from pybernetes.kubelet.volumes import mounts
from pybernetes.kubelet.volumes.interface import Mounted, PluginContext, VolumeError, VolumeRequest


def remove_tree(directory: Path) -> None:
    """Unmounts what is mounted below, then removes the directory. Raises `VolumeError`. Never crosses into another
    file system."""
    try:
        mounts.unmount_below(directory)
        if directory.is_symlink() or directory.is_file():
            directory.unlink()
        elif directory.exists():
            shutil.rmtree(directory)
    except OSError as error:
        raise VolumeError(str(error)) from error


class EmptyDir:
    """A directory, or a tmpfs for ``medium: Memory``, that lives as long as its pod."""

    name: ClassVar[str] = "kubernetes.io~empty-dir"
    live: ClassVar[bool] = False

    def __init__(self, context: PluginContext) -> None:
        self._context = context

    async def set_up(self, request: VolumeRequest) -> Mounted:
        source = request.volume.get("emptyDir") or {}
        medium = source.get("medium") or ""
        directory = request.directory
        try:
            directory.mkdir(parents=True, exist_ok=True)
            if medium == "Memory":
                if not mounts.is_mount_point(directory):
                    mounts.mount_tmpfs(directory, size_bytes=_tmpfs_size(request, source), mode=0o1777)
            elif medium:
                raise VolumeError(f"unknown storage medium {medium!r}")
            directory.chmod(0o777)
            if request.fs_group is not None:
                os.chown(directory, -1, request.fs_group)
                directory.chmod(0o2777)
        except OSError as error:
            raise VolumeError(str(error)) from error
        return Mounted(directory)

    async def tear_down(self, directory: Path) -> None:
        remove_tree(directory)

    def renew_at(self, request: VolumeRequest) -> float | None:
        return None


def _tmpfs_size(request: VolumeRequest, source: Object) -> int:
    """The least of the size limit, the pod's memory limit and the node's memory, as upstream
    (SizeMemoryBackedVolumes)."""
    sizes = [parse(request.facts.allocatable["memory"]).value] if "memory" in request.facts.allocatable else []
    if is_limited(request.pod, "memory"):
        sizes.append(pod_limits(request.pod).get("memory", 0))
    if source.get("sizeLimit"):
        sizes.append(parse(str(source["sizeLimit"])).value)
    return min((s for s in sizes if s > 0), default=0)


_TYPE_TESTS = {
    "Directory": (stat.S_ISDIR, "a directory"),
    "File": (stat.S_ISREG, "a file"),
    "Socket": (stat.S_ISSOCK, "a socket file"),
    "CharDevice": (stat.S_ISCHR, "a character device"),
    "BlockDevice": (stat.S_ISBLK, "a block device"),
}


def check_host_path(path: Path, kind: str) -> None:
    """Checks (and for the ...OrCreate types makes) a host path. Raises `VolumeError` with upstream's text."""
    if kind == "":
        return
    try:
        if kind == "DirectoryOrCreate" and not path.exists():
            path.mkdir(mode=0o755, parents=True)
        elif kind == "FileOrCreate" and not path.exists():
            path.touch(mode=0o644)
        mode = path.stat().st_mode
    except FileNotFoundError:
        what = _TYPE_TESTS.get(kind.removesuffix("OrCreate"), (None, kind))[1]
        raise VolumeError(f"hostPath type check failed: {path} is not {what}") from None
    except OSError as error:
        raise VolumeError(f"hostPath type check failed: {error}") from error
    test, what = _TYPE_TESTS.get(kind.removesuffix("OrCreate"), (None, ""))
    if test is None:
        raise VolumeError(f"{kind} is an invalid volume type")
    if not test(mode):
        raise VolumeError(f"hostPath type check failed: {path} is not {what}")


class HostPath:
    """A path of the node, as it is."""

    name: ClassVar[str] = "kubernetes.io~host-path"
    live: ClassVar[bool] = False

    def __init__(self, context: PluginContext) -> None:
        self._context = context

    async def set_up(self, request: VolumeRequest) -> Mounted:
        source = request.volume["hostPath"]
        path = Path(source["path"])
        check_host_path(path, source.get("type") or "")
        return Mounted(path)

    async def tear_down(self, directory: Path) -> None:
        remove_tree(directory)

    def renew_at(self, request: VolumeRequest) -> float | None:
        return None
