"""The network of a cluster on this machine: a namespace with a bridge, and a namespace a node hanging on it.

    cluster namespace p8s-NAME            node namespace p8s-NAME-nodeK
      bridge p8s0  172.30.0.1/24            eth0  172.30.0.(1+K)/24
        port nodeK ------------------------- (veth)
      [uplink, to the host]                 default route via 172.30.0.1

Every address exists inside the namespaces only, so all clusters use the same ones. Routes to the pods' ranges are not
made here: `pybernetes.cluster.routes` keeps them, from the Node objects. All functions are synchronous, idempotent and
safe to repeat after an interruption at any point; they must not run in a thread with an event loop.
"""

from __future__ import annotations

import errno
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from pybernetes.cluster import netns
from pybernetes.cluster.errors import KernelFeatureMissing
from pybernetes.cluster.layout import ClusterSpec, Layout, node_index
from pybernetes.cluster.netns import Namespace, NamespaceThread

BRIDGE = "p8s0"
NODE_INTERFACE = "eth0"


@dataclass(frozen=True, slots=True)
class Addresses:
    """The node network's addresses. The server is at `gateway`, node K (from 1) at the K-th address after it."""

    subnet: ipaddress.IPv4Network

    @staticmethod
    def of(spec: ClusterSpec) -> Addresses:
        return Addresses(ipaddress.IPv4Network(spec.subnet))

    @property
    def prefix_length(self) -> int:
        return self.subnet.prefixlen

    @property
    def gateway(self) -> str:
        return str(self.subnet[1])

    def node(self, name: str) -> str:
        index = node_index(name)
        assert 1 <= index < self.subnet.num_addresses - 2, f"{name} has no address in {self.subnet}"
        return str(self.subnet[1 + index])


def create_cluster_network(layout: Layout, spec: ClusterSpec) -> None:
    """Makes the cluster's namespace with its bridge, and every node's namespace with its link to the bridge."""
    addresses = Addresses.of(spec)
    netns.create(layout.cluster_namespace)
    namespace = Namespace(layout.cluster_namespace)
    try:
        with NamespaceThread(namespace) as thread:
            thread.run(_set_up_bridge, addresses)
            for node in spec.node_names:
                netns.create(layout.node_namespace(node))
                node_namespace = Namespace(layout.node_namespace(node))
                try:
                    thread.run(_add_port, node, node_namespace)
                    with NamespaceThread(node_namespace) as node_thread:
                        node_thread.run(_set_up_node, addresses.node(node), addresses)
                finally:
                    node_namespace.close()
    finally:
        namespace.close()


def remaining_namespaces(layout: Layout) -> list[str]:
    """The cluster's namespaces that exist, by name."""
    prefix = layout.cluster_namespace + "-node"
    return [
        name
        for name in netns.names()
        if name == layout.cluster_namespace or (name.startswith(prefix) and name.removeprefix(prefix).isdigit())
    ]


def remove_cluster_network(layout: Layout) -> None:
    """Removes the cluster's namespaces, and with them every link, address, route and rule inside."""
    for name in remaining_namespaces(layout):
        netns.remove(name)


def _set_up_bridge(addresses: Addresses) -> None:
    sysctl("net/ipv4/ip_forward", "1")
    # Answers may come back another way than the question went (pod to virtual IP to pod).
    for scope in ("all", "default"):
        sysctl(f"net/ipv4/conf/{scope}/rp_filter", "0")
    with IPRoute() as netlink:
        up(netlink, "lo")
        if not link_index(netlink, BRIDGE):
            # A bridge without an address of its own takes the lowest of its ports', which changes as nodes come.
            add_link(netlink, "bridge", "bridge", ifname=BRIDGE, address=hardware_address(addresses.gateway))
        # Where the host has br_netfilter loaded, bridged packets would walk through nftables a second time.
        for family in ("iptables", "ip6tables", "arptables"):
            sysctl(f"net/bridge/bridge-nf-call-{family}", "0", needed=False)
        index = up(netlink, BRIDGE)
        netlink.addr("replace", index=index, address=addresses.gateway, prefixlen=addresses.prefix_length)


def _add_port(node: str, node_namespace: Namespace) -> None:
    with IPRoute() as netlink:
        if not link_index(netlink, node):
            peer = {"ifname": NODE_INTERFACE, "net_ns_fd": node_namespace.fileno()}
            add_link(netlink, "veth", "veth pairs", ifname=node, peer=peer)
        index = link_index(netlink, node)
        netlink.link("set", index=index, master=link_index(netlink, BRIDGE), state="up")


def _set_up_node(address: str, addresses: Addresses) -> None:
    sysctl("net/ipv4/ip_forward", "1")
    for scope in ("all", "default", NODE_INTERFACE):
        sysctl(f"net/ipv4/conf/{scope}/rp_filter", "0")
    with IPRoute() as netlink:
        up(netlink, "lo")
        index = up(netlink, NODE_INTERFACE)
        netlink.addr("replace", index=index, address=address, prefixlen=addresses.prefix_length)
        # An isolated cluster has it too: what leaves is then refused at once by the gateway, not left to time out.
        netlink.route("replace", dst="default", gateway=addresses.gateway, oif=index)


def hardware_address(address: str) -> str:
    """A locally administered MAC address made from an IPv4 address."""
    return "02:58:" + ":".join(f"{octet:02x}" for octet in ipaddress.IPv4Address(address).packed)


def up(netlink: IPRoute, name: str) -> int:
    """Sets a link up and returns its index."""
    index = link_index(netlink, name)
    assert index, f"there is no link {name}"
    netlink.link("set", index=index, state="up")
    return index


def link_index(netlink: IPRoute, name: str) -> int:
    """The link's index, 0 where there is none."""
    found = netlink.link_lookup(ifname=name)
    return int(found[0]) if found else 0


def add_link(netlink: IPRoute, kind: str, feature: str, **attributes: Any) -> None:
    try:
        netlink.link("add", kind=kind, **attributes)
    except NetlinkError as error:
        if error.code in (errno.EOPNOTSUPP, errno.ENODEV):
            raise KernelFeatureMissing(feature, module=kind, detail=str(error)) from error
        raise


def sysctl(name: str, value: str, *, needed: bool = True) -> None:
    """Sets a sysctl of the calling thread's network namespace; without `needed`, only where it exists."""
    path = Path("/proc/sys") / name
    try:
        if path.read_text().strip() != value:
            path.write_text(value)
    except FileNotFoundError:
        if needed:
            raise
