"""A node and pods as network namespaces: a pod hangs on its node by a veth, routed, as the ptp plugin lays it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pybernetes.api.meta import Object
from pybernetes.api.resources import ENDPOINTSLICES, SERVICES
from pybernetes.client.informer import Informers
from pybernetes.proxy.loop import ServiceProxy
from tests.support.waiting import until
from tests.support.watchable import Watchable

PEER = Path(__file__).with_name("peer.py")
NODE, NODE_IP = "node-a", "192.168.77.2"
OUTSIDE_IP = "192.168.77.1"
POD_CIDR, SERVICE_CIDR = "10.244.0.0/16", "10.96.0.0/16"
DNS_IP = "10.96.0.10"


@dataclass(frozen=True)
class Answer:
    answers: dict[str, int]
    seen: list[str]
    seconds: float


class Space:
    """A network namespace."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = f"/run/netns/{name}"

    def run(self, *command: str) -> str:
        result = subprocess.run(["nsenter", f"--net={self.path}", *command], capture_output=True, text=True, timeout=60)
        assert result.returncode == 0, (command, result.stdout, result.stderr)
        return result.stdout

    def peer(self, *arguments: str | int) -> Answer:
        return Answer(**json.loads(self.run(sys.executable, str(PEER), *map(str, arguments))))


class Net:
    """The node, an outside host on its link, and pods."""

    def __init__(self) -> None:
        self._prefix = f"p8s-px-{uuid.uuid4().hex[:6]}"
        self._spaces: list[Space] = []
        self._servers: list[subprocess.Popen[str]] = []
        self._pods = 0
        self.node = self._space("node")
        self.outside = self._space("out")
        self._link(self.outside, "eth0", self.node, "eth0")
        self.outside.run("ip", "addr", "add", f"{OUTSIDE_IP}/24", "dev", "eth0")
        self.node.run("ip", "addr", "add", f"{NODE_IP}/24", "dev", "eth0")
        self.node.run("ip", "addr", "add", f"{DNS_IP}/32", "dev", "lo")
        self.node.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        self.outside.run("ip", "route", "add", "default", "via", NODE_IP)

    def _space(self, name: str) -> Space:
        space = Space(f"{self._prefix}-{name}")
        subprocess.run(["ip", "netns", "add", space.name], check=True)
        self._spaces.append(space)
        space.run("ip", "link", "set", "lo", "up")
        return space

    @staticmethod
    def _link(one: Space, one_device: str, other: Space, other_device: str) -> None:
        one.run("ip", "link", "add", one_device, "type", "veth", "peer", "name", other_device, "netns", other.name)
        one.run("ip", "link", "set", one_device, "up")
        other.run("ip", "link", "set", other_device, "up")

    def pod(self, *, remote: bool = False) -> tuple[Space, str]:
        """A pod and its address. `remote` says that its node is another one; the network is the same here."""
        self._pods += 1
        number = self._pods
        space = self._space(f"pod{number}")
        address = f"10.244.{1 if remote else 0}.{number + 1}"
        self._link(space, "eth0", self.node, f"veth{number}")
        space.run("ip", "addr", "add", f"{address}/32", "dev", "eth0")
        space.run("ip", "route", "add", "10.244.0.1", "dev", "eth0", "scope", "link")
        space.run("ip", "route", "add", "default", "via", "10.244.0.1", "dev", "eth0")
        self.node.run("ip", "addr", "add", "10.244.0.1/32", "dev", f"veth{number}")
        self.node.run("ip", "route", "add", address, "dev", f"veth{number}", "src", "10.244.0.1")
        return space, address

    def serve(self, space: Space, name: str, port: int, address: str = "::") -> None:
        server = subprocess.Popen(
            ["nsenter", f"--net={space.path}", sys.executable, str(PEER), "serve", name, str(port), address],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._servers.append(server)
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"

    def close(self) -> None:
        for server in self._servers:
            server.kill()
            server.communicate()
        for space in reversed(self._spaces):
            subprocess.run(["ip", "netns", "delete", space.name], check=True)


@pytest.fixture
def net() -> Iterator[Net]:
    made = Net()
    yield made
    made.close()


@dataclass
class Cluster:
    """Services and their endpoints, and the proxy of the node."""

    api: Watchable
    proxy: ServiceProxy
    node: Space

    async def settled(self) -> None:
        """Waits until the proxy has applied everything told so far."""
        marker = "10.96.255.254 . tcp . 1"
        self.service("marker", "10.96.255.254", ports=[{"port": 1}])
        await until(lambda: marker in self.ruleset(), 30)
        self.api.remove(SERVICES, "default", "marker")
        await until(lambda: marker not in self.ruleset(), 30)

    def ruleset(self) -> str:
        return self.node.run("nft", "list", "ruleset")

    def service(self, name: str, ip: str, *, ports: list[Object], **spec: Any) -> None:
        self.api.put(
            SERVICES,
            {
                "metadata": {"name": name, "namespace": "default"},
                "spec": {"type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip], "ports": ports, **spec},
            },
        )

    def endpoints(
        self, service: str, addresses: dict[str, str], port: int, *, protocol: str = "TCP", ready: bool = True
    ) -> None:
        """`addresses` maps an endpoint's address to its node."""
        self.api.put(
            ENDPOINTSLICES,
            {
                "metadata": {
                    "name": f"{service}-{protocol.lower()}",
                    "namespace": "default",
                    "labels": {"kubernetes.io/service-name": service},
                },
                "addressType": "IPv4",
                "ports": [{"name": "", "port": port, "protocol": protocol}],
                "endpoints": [
                    {"addresses": [address], "nodeName": node, "conditions": {"ready": ready}}
                    for address, node in addresses.items()
                ],
            },
        )


def new_proxy(informers: Informers, net: Net) -> ServiceProxy:
    return ServiceProxy(
        informers,
        node_name=NODE,
        node_ips=[NODE_IP],
        service_cidrs=[SERVICE_CIDR],
        pod_cidrs=[POD_CIDR],
        excluded_ips=[DNS_IP],
        namespace=net.node.path,
    )


@pytest.fixture
async def cluster(net: Net) -> AsyncIterator[Cluster]:
    api = Watchable()
    informers = Informers(api)  # type: ignore[arg-type]
    proxy = new_proxy(informers, net)
    informers.start()
    running = asyncio.create_task(proxy.run())
    try:
        async with asyncio.timeout(30):
            await proxy.ready()
        yield Cluster(api, proxy, net.node)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await informers.stop()
        await proxy.stop()
        assert "pybernetes" not in net.node.run("nft", "list", "ruleset")
        assert "10.96" not in net.node.run("ip", "route")
