"""A network of pods apart from the host's: the API server neither proxies nor calls webhooks on loopback.

It is one network namespace with one address, made and removed by its context; what serves there listens on sockets of
`Namespace.listen`, and a server under test dials from there by `Namespace.socket_factory`.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager

from pybernetes.cluster import netns


@contextmanager
def pod_network(name: str, address: str) -> Iterator[netns.Namespace]:
    """`name` tells the tests apart that use one, the process id the runs."""
    name = f"p8s-test-{name}-{os.getpid()}"
    netns.create(name)
    try:
        for command in (f"ip address add {address}/32 dev lo", "ip link set lo up"):
            subprocess.run(["nsenter", f"--net={netns.path_of(name)}", *command.split()], check=True)
        with closing(netns.Namespace(name)) as namespace:
            yield namespace
    finally:
        netns.remove(name)
