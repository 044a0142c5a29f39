"""The kernel's mounts: tmpfs, bind mounts and unmounting, by the system calls themselves."""

from __future__ import annotations

import ctypes
import errno
import os
import re
from pathlib import Path

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
_MNT_DETACH = 2
_UMOUNT_NOFOLLOW = 8

_libc = ctypes.CDLL(None, use_errno=True)
_OCTAL = re.compile(r"\\([0-7]{3})")


class MountError(OSError):
    """The kernel refused a mount."""


def _mount(source: str, target: Path, kind: str, flags: int, data: str) -> None:
    result = _libc.mount(source.encode(), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), data.encode())
    if result != 0:
        code = ctypes.get_errno()
        raise MountError(code, f"mounting {kind or source} on {target}: {os.strerror(code)}")


def mount_tmpfs(target: Path, *, size_bytes: int = 0, mode: int = 0o1777) -> None:
    """A tmpfs; a size of 0 leaves the kernel's default of half the memory."""
    options = f"mode={mode:o}" + (f",size={size_bytes}" if size_bytes else "")
    _mount("tmpfs", target, "tmpfs", 0, options)


def bind(source: Path, target: Path, *, read_only: bool = False) -> None:
    _mount(str(source), target, "", MS_BIND | MS_REC, "")
    if read_only:
        _mount("", target, "", MS_BIND | MS_REMOUNT | MS_RDONLY, "")


def unmount(target: Path) -> None:
    """Unmounts, lazily where it is in use. Nothing mounted there is fine."""
    if _libc.umount2(os.fsencode(target), _MNT_DETACH | _UMOUNT_NOFOLLOW) != 0:
        code = ctypes.get_errno()
        if code not in (errno.EINVAL, errno.ENOENT):
            raise MountError(code, f"unmounting {target}: {os.strerror(code)}")


def mount_points(below: Path) -> list[Path]:
    """Mount points at or below a directory, deepest first."""
    prefix = str(below).rstrip("/")
    found = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            path = _OCTAL.sub(lambda m: chr(int(m[1], 8)), line.split(" ", 5)[4])
            if path == prefix or path.startswith(prefix + "/"):
                found.append(path)
    return [Path(p) for p in sorted(found, key=len, reverse=True)]


def is_mount_point(path: Path) -> bool:
    try:
        here, parent = os.lstat(path), os.lstat(path.parent)
    except FileNotFoundError:
        return False
    return here.st_dev != parent.st_dev or here.st_ino == parent.st_ino


def unmount_below(directory: Path) -> None:
    """Unmounts everything at or below a directory."""
    for path in mount_points(directory):
        unmount(path)
