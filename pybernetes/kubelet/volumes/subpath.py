"""A part of a volume as a mount's source, without leaving the volume.

The path is walked step by step and symbolic links are followed by hand: one that is absolute, or climbs above the
volume's root, is refused. What is handed to the runtime is the real path that was walked.
"""

from __future__ import annotations

import os
from pathlib import Path

from pybernetes.kubelet.env import ContainerConfigError
from pybernetes.kubelet.volumes.interface import Mounted

_LINKS_LIMIT = 40


def prepare(volume: Mounted, part: str) -> Path:
    """The path on the node of a subPath, made as a directory where it does not exist. Raises `ContainerConfigError`."""
    relative = Path(part)
    if relative.is_absolute():
        raise ContainerConfigError(f"error SubPath `{part}` must not be an absolute path")
    if ".." in relative.parts:
        raise ContainerConfigError(f"unable to provision SubPath `{part}`: must not contain '..'")
    try:
        root = volume.path.resolve(strict=True)
        return _walk(root, relative, make=not volume.read_only)
    except OSError as error:
        raise ContainerConfigError(f"failed to prepare subPath for volumeMount: {error}") from error


def _walk(root: Path, relative: Path, *, make: bool) -> Path:
    if root.is_file():
        raise NotADirectoryError(f"{root} is not a directory")
    mode = root.stat().st_mode & 0o7777
    here = root
    pending = list(relative.parts)
    links = 0
    while pending:
        name = pending.pop(0)
        if name in ("", "."):
            continue
        if name == "..":
            if here == root:
                raise PermissionError(f"{relative} leads out of the volume")
            here = here.parent
            continue
        step = here / name
        if step.is_symlink():
            links += 1
            target = Path(os.readlink(step))
            if target.is_absolute() or links > _LINKS_LIMIT:
                raise PermissionError(f"{relative} leads out of the volume")
            pending = [*target.parts, *pending]
            continue
        if not step.exists():
            if not make:
                raise FileNotFoundError(f"{step} does not exist")
            step.mkdir()
            step.chmod(mode)
            os.chown(step, -1, root.stat().st_gid)
        here = step
    return here
