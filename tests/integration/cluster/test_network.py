"""Real namespaces: what is reachable from where, and that nothing stays behind on the host."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pybernetes.cluster import netns, network, uplink
from pybernetes.cluster.errors import ClusterError
from pybernetes.cluster.layout import ClusterSpec, Layout
from pybernetes.cluster.netns import Namespace


def host_state() -> dict[str, str]:
    """What the host's network consists of."""

    def output(*command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    return {
        "links": output("ip", "-o", "-br", "link"),
        "routes": output("ip", "route", "show", "table", "all"),
        "rules": output("nft", "list", "ruleset"),
        "forwarding": Path("/proc/sys/net/ipv4/ip_forward").read_text(),
    }


def accept_once(listener: socket.socket) -> None:
    def serve() -> None:
        connection, peer = listener.accept()
        with connection:
            connection.sendall(peer[0].encode())

    threading.Thread(target=serve, daemon=True).start()


def ask(namespace: str, address: tuple[str, int]) -> str:
    """Connects from inside a namespace; what the server there saw as the peer."""
    inside = Namespace(namespace)
    try:
        with inside.new_socket() as client:
            client.settimeout(5)
            client.connect(address)
            return client.recv(100).decode()
    finally:
        inside.close()


def listen(namespace: str, address: str, port: int) -> socket.socket:
    inside = Namespace(namespace)
    try:
        return inside.listen(address, port)
    finally:
        inside.close()


def test_nodes_reach_the_server_and_each_other(layout: Layout) -> None:
    before = host_state()
    spec = ClusterSpec(layout.name, nodes=2, isolated=True)
    network.create_cluster_network(layout, spec)
    assert network.remaining_namespaces(layout) == [
        layout.cluster_namespace,
        *map(layout.node_namespace, spec.node_names),
    ]
    with listen(layout.cluster_namespace, "172.30.0.1", 6443) as server:
        accept_once(server)
        assert ask(layout.node_namespace("node1"), ("172.30.0.1", 6443)) == "172.30.0.2"
    with listen(layout.node_namespace("node2"), "172.30.0.3", 10250) as kubelet:
        accept_once(kubelet)
        assert ask(layout.node_namespace("node1"), ("172.30.0.3", 10250)) == "172.30.0.2"
        accept_once(kubelet)
        assert ask(layout.cluster_namespace, ("172.30.0.3", 10250)) == "172.30.0.1"
    # The host's own network has none of it, and got nothing.
    with socket.socket() as host, pytest.raises(OSError, match="Cannot assign"):
        host.bind(("172.30.0.1", 0))
    assert host_state() == before


def test_an_isolated_cluster_refuses_the_outside_at_once(layout: Layout) -> None:
    network.create_cluster_network(layout, ClusterSpec(layout.name, isolated=True))
    with pytest.raises(OSError) as raised:
        ask(layout.node_namespace("node1"), ("192.0.2.77", 80))
    assert raised.value.errno == errno.ENETUNREACH


def test_making_it_again_changes_nothing_and_adds_nodes(layout: Layout) -> None:
    def links() -> str:
        command = ["nsenter", f"--net={netns.path_of(layout.cluster_namespace)}", "ip", "-o", "link", "show", "node1"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    network.create_cluster_network(layout, ClusterSpec(layout.name, isolated=True))
    first = links()
    network.create_cluster_network(layout, ClusterSpec(layout.name, nodes=3, isolated=True))
    assert links() == first
    with listen(layout.node_namespace("node3"), "172.30.0.4", 80) as server:
        accept_once(server)
        assert ask(layout.node_namespace("node1"), ("172.30.0.4", 80)) == "172.30.0.2"


def test_removal_takes_only_this_clusters_namespaces(layout: Layout) -> None:
    other = layout.cluster_namespace + "-nodes-of-another"
    netns.create(other)
    try:
        network.create_cluster_network(layout, ClusterSpec(layout.name, isolated=True))
        network.remove_cluster_network(layout)
        assert network.remaining_namespaces(layout) == []
        assert netns.exists(other)
        network.remove_cluster_network(layout)
    finally:
        netns.remove(other)
    assert not netns.exists(other)


def test_a_leftover_file_without_a_namespace_is_replaced(layout: Layout) -> None:
    netns.DIRECTORY.mkdir(exist_ok=True)
    netns.path_of(layout.cluster_namespace).touch()
    assert not netns.exists(layout.cluster_namespace)
    netns.create(layout.cluster_namespace)
    assert netns.exists(layout.cluster_namespace)


def test_entering_a_namespace_is_over_with_the_block(layout: Layout) -> None:
    netns.create(layout.cluster_namespace)
    home = os.readlink("/proc/thread-self/ns/net")
    namespace = Namespace(layout.cluster_namespace)
    try:
        with contextlib.suppress(ValueError), namespace.entered():
            assert os.readlink("/proc/thread-self/ns/net") != home
            raise ValueError
        assert os.readlink("/proc/thread-self/ns/net") == home
    finally:
        namespace.close()


def test_the_uplink_comes_and_goes_without_a_trace(layout: Layout) -> None:
    """Looked at only: no packet is sent over it."""
    before = host_state()
    network.create_cluster_network(layout, ClusterSpec(layout.name))
    subnet = uplink.find_subnet(layout.name)
    uplink.create(layout, subnet)
    uplink.create(layout, subnet)
    during = host_state()
    assert uplink.host_interface(layout) in during["links"]
    assert subnet in during["routes"]
    assert f"table ip {uplink.host_table(layout)}" in during["rules"]
    assert during["rules"].count("masquerade") == before["rules"].count("masquerade") + 1
    assert during["forwarding"].strip() == "1"
    inside = ["nsenter", f"--net={netns.path_of(layout.cluster_namespace)}"]
    routes = subprocess.run([*inside, "ip", "route"], capture_output=True, text=True, check=True).stdout
    assert "default via" in routes and uplink.INSIDE_INTERFACE in routes
    rules = subprocess.run([*inside, "nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
    assert f'oifname "{uplink.INSIDE_INTERFACE}" masquerade' in rules
    # Another cluster's would not use the same network.
    assert uplink.find_subnet(layout.name) != subnet
    assert len(uplink.remains(layout)) == 2
    uplink.remove(layout)
    uplink.remove(layout)
    assert uplink.remains(layout) == []
    assert host_state() == before


def test_the_last_uplink_restores_forwarding(layout: Layout) -> None:
    second = Layout(layout.name + "b", layout.roots)
    before = host_state()
    try:
        for one in (layout, second):
            network.create_cluster_network(one, ClusterSpec(one.name))
            uplink.create(one, uplink.find_subnet(one.name))
        uplink.remove(layout)
        assert host_state()["forwarding"].strip() == "1"
        uplink.remove(second)
        assert host_state() == before
    finally:
        uplink.remove(second)
        network.remove_cluster_network(second)


def test_a_namespace_that_is_not_there_is_a_plain_error(layout: Layout) -> None:
    with pytest.raises((FileNotFoundError, ClusterError)):
        Namespace(layout.cluster_namespace)


_BESIDE_IP = """
import os, subprocess, sys
from pybernetes.cluster import netns

def mounted():
    with open("/proc/self/mounts") as mounts:
        return [line.split()[1] for line in mounts if line.split()[1].startswith("/run/netns")]

# Those of clusters that run meanwhile are listed too, out of reach below the empty /run.
before = mounted()
netns.create("ours")
subprocess.run(["ip", "netns", "add", "theirs"], check=True)
netns.remove("ours")
assert not netns.path_of("ours").exists() and netns.exists("theirs"), os.listdir("/run/netns")
netns.create("ours")
subprocess.run(["ip", "netns", "delete", "theirs"], check=True)
netns.remove("ours")
assert not os.listdir("/run/netns") and mounted() == before, mounted()
"""


def test_names_beside_those_of_ip_netns() -> None:
    """In a mount namespace of its own, with an empty /run: ``ip netns add`` mounts things over what it finds there."""
    script = 'mount -t tmpfs tmpfs /run && exec "$0" -c "$1"'
    subprocess.run(["unshare", "--mount", "sh", "-c", script, sys.executable, _BESIDE_IP], check=True)
