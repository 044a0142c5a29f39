"""Mounts below a directory: found in /proc/self/mountinfo, taken away deepest first."""

from __future__ import annotations

import ctypes
import errno
import os
import re
from collections.abc import Iterable
from pathlib import Path

_MNT_DETACH = 2
_ESCAPE = re.compile(r"\\([0-7]{3})")

_libc = ctypes.CDLL(None, use_errno=True)


def below(directories: Iterable[Path]) -> list[Path]:
    """Mount points at or below any of the directories, the latest mounted first."""
    roots = [os.path.realpath(d) for d in directories]
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        # Blanks and backslashes in a path are written as octal escapes.
        point = _ESCAPE.sub(lambda m: chr(int(m[1], 8)), line.split(" ", 5)[4])
        if any(point == root or point.startswith(root + "/") for root in roots):
            found.append(Path(point))
    return found[::-1]


def unmount_below(directories: Iterable[Path]) -> int:
    """Unmounts everything at or below the directories; how many mounts that were. What is still in use is detached:
    gone from sight at once, and from the kernel with its last user."""
    directories = list(directories)
    count = 0
    while points := below(directories):
        for point in points:
            if _libc.umount2(os.fsencode(point), _MNT_DETACH) != 0:
                number = ctypes.get_errno()
                # Gone together with a mount it was propagated from.
                if number not in (errno.EINVAL, errno.ENOENT):
                    raise OSError(number, f"umount {point}: {os.strerror(number)}")
            count += 1
    return count
