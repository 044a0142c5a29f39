"""The pod network's CNI configuration: ``ptp`` with ``host-local`` addresses and ``portmap``, one file, in which one
node's pod range stands. Written for plugins of CNI 0.4.0 and later, found where Debian or upstream puts them.

Each pod gets a veth pair whose node end has the range's first address as the pod's gateway, and a route to it on the
node. Routes to other nodes' ranges, forwarding and any uplink are not CNI's but the cluster's.
"""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CNI_VERSION = "0.4.0"
NETWORK_NAME = "pybernetes"
FILE_NAME = "10-pybernetes.conflist"
PLUGIN_DIRECTORIES = (Path("/usr/lib/cni"), Path("/opt/cni/bin"), Path("/usr/libexec/cni"))
_NEEDED = ("ptp", "host-local", "loopback", "portmap")


class CNIError(Exception):
    """The pod network cannot be configured; the message says what is missing."""


def find_plugins(directories: Sequence[Path] = PLUGIN_DIRECTORIES) -> Path:
    """The first directory that holds every plugin needed. Raises `CNIError`."""
    for directory in directories:
        if all((directory / plugin).exists() for plugin in _NEEDED):
            return directory
    raise CNIError(
        f"no CNI plugins ({', '.join(_NEEDED)}) in {' or '.join(map(str, directories))}: "
        "install the package containernetworking-plugins"
    )


def conflist(pod_cidrs: Sequence[str], *, mtu: int, data_dir: Path, port_mappings: bool) -> dict[str, Any]:
    """The configuration for one node. `pod_cidrs` has one range a family; `data_dir` keeps host-local's leases and
    must be the node's own. Raises `ValueError` for something that is no network."""
    networks = [ipaddress.ip_network(cidr) for cidr in pod_cidrs]
    if not networks:
        raise ValueError("no pod range")
    plugins: list[dict[str, Any]] = [
        {
            "type": "ptp",
            "mtu": mtu,
            # What leaves for other networks is masqueraded by whoever owns the uplink, not pod by pod.
            "ipMasq": False,
            "ipam": {
                "type": "host-local",
                "dataDir": str(data_dir),
                "ranges": [[{"subnet": str(network)}] for network in networks],
                "routes": [{"dst": "0.0.0.0/0" if network.version == 4 else "::/0"} for network in networks],
            },
        }
    ]
    if port_mappings:
        # Without the uplink's masquerade a pod reaches its own host port only if the source is rewritten.
        plugins.append({"type": "portmap", "capabilities": {"portMappings": True}, "snat": True})
    return {"cniVersion": CNI_VERSION, "name": NETWORK_NAME, "plugins": plugins}


def write(conf_dir: Path, document: dict[str, Any]) -> bool:
    """Writes the configuration, whole or not at all; False where it was there already. The runtime watches the
    directory and takes the change up for new sandboxes."""
    path = conf_dir / FILE_NAME
    content = json.dumps(document, indent=2) + "\n"
    if path.exists() and path.read_text() == content:
        return False
    conf_dir.mkdir(parents=True, exist_ok=True)
    partial = conf_dir / f".{FILE_NAME}.{os.getpid()}"
    partial.write_text(content)
    os.replace(partial, path)
    return True


def configure(conf_dir: Path, pod_cidrs: Sequence[str], *, mtu: int, data_dir: Path) -> bool:
    """Writes the configuration of a node whose pod range is known; False where nothing changed. Host ports need
    iptables, which Debian's portmap calls: where there is none, they are left out."""
    return write(
        conf_dir,
        conflist(pod_cidrs, mtu=mtu, data_dir=data_dir, port_mappings=shutil.which("iptables", path=_PATH) is not None),
    )


_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
