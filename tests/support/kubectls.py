"""Which kubectl versions this machine has."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path


def _version(path: Path) -> tuple[int, ...]:
    found = re.search(r"(\d+)\.(\d+)$", path.name)
    return tuple(int(part) for part in found.groups()) if found else ()


@lru_cache(maxsize=1)
def all_kubectls() -> list[str]:
    """Paths of every kubectl, oldest first; where versions lie beside the one on the PATH, all of those."""
    on_path = shutil.which("kubectl")
    if on_path is None:
        raise RuntimeError("no kubectl on the PATH: install Debian's kubernetes-client")
    beside = [p for p in Path(on_path).resolve().parent.glob("kubectl.*") if _version(p)]
    return [str(p) for p in sorted(beside, key=_version)] or [on_path]


def oldest() -> str:
    return all_kubectls()[0]


def newest() -> str:
    return all_kubectls()[-1]


@lru_cache(maxsize=16)
def minor_version(program: str) -> int:
    """33 of a kubectl 1.33. Debian 12's own is 1.20."""
    out = subprocess.run([program, "version", "--client", "-o", "json"], capture_output=True, check=True, timeout=30)
    return int(json.loads(out.stdout)["clientVersion"]["minor"].rstrip("+"))
