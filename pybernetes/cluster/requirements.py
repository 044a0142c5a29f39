"""What a machine needs before a cluster can be made on it, checked at once so that the error names everything."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterable
from pathlib import Path

from pybernetes.cluster import cgroups
from pybernetes.cluster.errors import KernelFeatureMissing, NotRoot, PortTaken, ProgramMissing

PROGRAMS = {
    "containerd": "containerd",
    "containerd-shim-runc-v2": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "catatonit": "catatonit",
    "nft": "nftables",
    "nsenter": "util-linux",
}
"""Program -> Debian package."""

CNI_DIRECTORIES = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
CNI_PLUGINS = ("ptp", "host-local", "portmap", "loopback")

# Administrators' directories are not on every root's PATH (su without a dash leaves the user's).
_EXTRA_PATH = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin")

_NAMESPACES = ("ipc", "mnt", "net", "pid", "uts")
_FIRST_PORT, _LAST_PORT = 6443, 6543


def search_path() -> str:
    """PATH with the administrators' directories behind it; components are started with it."""
    present = os.environ.get("PATH", "").split(os.pathsep)
    return os.pathsep.join([p for p in present if p] + [p for p in _EXTRA_PATH if p not in present])


def check_root() -> None:
    if os.geteuid() != 0:
        raise NotRoot


def cni_directory() -> Path | None:
    """Where the CNI plugins are, None where some are missing."""
    for directory in CNI_DIRECTORIES:
        if all((directory / plugin).exists() for plugin in CNI_PLUGINS):
            return directory
    return None


def check_programs() -> None:
    path = search_path()
    missing = {program: package for program, package in PROGRAMS.items() if shutil.which(program, path=path) is None}
    if cni_directory() is None:
        missing["CNI plugins"] = "containernetworking-plugins"
    if missing:
        raise ProgramMissing(list(missing), sorted(set(missing.values())))


def check_kernel() -> None:
    """Raises `KernelFeatureMissing`. Links and nftables are not tried here: making the network shows it."""
    for kind in _NAMESPACES:
        if not Path(f"/proc/self/ns/{kind}").exists():
            raise KernelFeatureMissing(f"{kind} namespaces")
    cgroups.check()
    if not _has_filesystem("overlay"):
        # modprobe's failure shows in the second look.
        subprocess.run(["modprobe", "overlay"], capture_output=True, check=False, timeout=30)
        if not _has_filesystem("overlay"):
            raise KernelFeatureMissing("overlayfs", module="overlay")


def _has_filesystem(name: str) -> bool:
    return any(line.split()[-1] == name for line in Path("/proc/filesystems").read_text().splitlines() if line.strip())


def port_is_free(address: str, port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            probe.listen(1)
        except OSError:
            return False
        return True


def choose_port(wanted: int | None, reserved: Iterable[int], *, address: str = "127.0.0.1") -> int:
    """The API server's port on the host: the wanted one, or the first free one from 6443 on that no other cluster
    (running or not) calls its own. Raises `PortTaken`."""
    if wanted is not None:
        if not port_is_free(address, wanted):
            raise PortTaken(address, wanted)
        return wanted
    others = set(reserved)
    for port in range(_FIRST_PORT, _LAST_PORT):
        if port not in others and port_is_free(address, port):
            return port
    raise PortTaken(address, _FIRST_PORT)
