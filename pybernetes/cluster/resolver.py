"""Which resolv.conf a node uses: the host's, unless that names only servers on the host's own loopback.

A node is in a network namespace of its own, where the host's loopback is out of reach. A local resolver such as
systemd-resolved keeps the list of servers behind it in a file of its own, as kubeadm's kubelets use it too.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from pathlib import Path

CANDIDATES = (
    Path("/etc/resolv.conf"),
    Path("/run/systemd/resolve/resolv.conf"),
    Path("/run/NetworkManager/no-stub-resolv.conf"),
)


def node_resolv_conf(candidates: Sequence[Path] = CANDIDATES) -> Path:
    """The first file that names a server which a node can reach; the first of all where none does."""
    return next((path for path in candidates if _has_reachable_server(path)), candidates[0])


def _has_reachable_server(path: Path) -> bool:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return False
    for words in map(str.split, lines):
        if len(words) >= 2 and words[0] == "nameserver":
            try:
                if not ipaddress.ip_address(words[1].partition("%")[0]).is_loopback:
                    return True
            except ValueError:
                continue
    return False
