"""Facts of the machine that a node runs on, read once at the kubelet's start from /proc, /sys and /etc.

Reading is synchronous and quick. A fact that the machine does not tell is empty, never an error.
"""

from __future__ import annotations

import os
import platform
import shlex
from dataclasses import dataclass
from pathlib import Path

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
"""The API's names (Go's GOARCH) for the kernel's names of processor architectures."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Sizes are bytes; `architecture` is Go's name."""

    cpus: int
    memory_bytes: int
    disk_bytes: int
    architecture: str
    kernel: str
    os_image: str
    machine_id: str
    boot_id: str
    system_uuid: str
    hostname: str


def read_machine(disk: Path) -> Machine:
    """The machine's facts; the size of its disk is that of the file system which holds `disk`."""
    machine_id = _line("/etc/machine-id") or _line("/var/lib/dbus/machine-id")
    return Machine(
        cpus=os.cpu_count() or 1,
        memory_bytes=_memory_bytes(),
        disk_bytes=_disk_bytes(disk),
        architecture=ARCHITECTURES.get(platform.machine(), platform.machine()),
        kernel=platform.release(),
        os_image=_os_image(),
        machine_id=machine_id,
        boot_id=_line("/proc/sys/kernel/random/boot_id"),
        # Virtual machines and containers often have no DMI table.
        system_uuid=_line("/sys/class/dmi/id/product_uuid") or machine_id,
        hostname=platform.node(),
    )


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _line(path: str) -> str:
    return _text(path).strip().partition("\n")[0]


def _memory_bytes() -> int:
    for line in _text("/proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return 0


def _disk_bytes(path: Path) -> int:
    # The directory may not have been made yet: its nearest parent is on the same file system.
    for candidate in (path, *path.absolute().parents):
        try:
            usage = os.statvfs(candidate)
        except FileNotFoundError:
            continue
        return usage.f_blocks * usage.f_frsize
    return 0


def _os_image() -> str:
    for line in (_text("/etc/os-release") or _text("/usr/lib/os-release")).splitlines():
        key, _, value = line.partition("=")
        if key == "PRETTY_NAME":
            return " ".join(shlex.split(value))
    return platform.system()
