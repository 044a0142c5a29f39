"""The uplink: how a cluster that is not isolated reaches what the host reaches. The only thing p8s adds to the host.

On the host: one end of a veth pair with a small private network, a table in nftables (masquerade, forward accept) and
``net.ipv4.ip_forward``. In the cluster's namespace: the other end, a default route, and masquerade, so that the host
never sees a pod's address. `remove` takes all of it away; the last uplink to go restores ip_forward's old value.

Synchronous and idempotent. A host firewall that drops forwarded packets by default (Docker's does) still drops these:
an accept in one nftables table does not overrule a drop in another.
"""

from __future__ import annotations

import hashlib
import ipaddress
import subprocess
from collections.abc import Iterable
from pathlib import Path

from pyroute2 import IPRoute

from pybernetes.cluster.errors import ClusterError, CommandFailed
from pybernetes.cluster.layout import Layout
from pybernetes.cluster.netns import Namespace, NamespaceThread
from pybernetes.cluster.network import add_link, link_index, sysctl, up

INSIDE_INTERFACE = "uplink"
_TABLE_PREFIX = "p8s-"
_POOL = ipaddress.IPv4Network("10.213.0.0/16")
_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


def host_interface(layout: Layout) -> str:
    """The host's end of the pair; an interface's name has 15 characters at most, so the cluster's is hashed."""
    return "p8s-" + hashlib.sha256(layout.name.encode()).hexdigest()[:10]


def host_table(layout: Layout) -> str:
    return _TABLE_PREFIX + layout.name


def choose_subnet(taken: Iterable[ipaddress.IPv4Network], name: str) -> ipaddress.IPv4Network:
    """A /30 of the pool that overlaps with nothing taken; the same name tries the same ones first."""
    occupied = list(taken)
    total = _POOL.num_addresses // 4
    first = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % total
    for step in range(total):
        offset = ((first + step) % total) * 4
        candidate = ipaddress.IPv4Network((int(_POOL.network_address) + offset, 30))
        if not any(candidate.overlaps(other) for other in occupied):
            return candidate
    raise ClusterError(
        f"no free network for the uplink in {_POOL}", hint="start the cluster without one: p8s up --isolated"
    )


def find_subnet(name: str) -> str:
    """`choose_subnet` against the host's present routes (the default route apart)."""
    with IPRoute() as netlink:
        taken = [
            ipaddress.IPv4Network((destination, int(route["dst_len"])), strict=False)
            for route in netlink.get_routes(family=2)
            if (destination := route.get("dst")) and route["dst_len"]
        ]
    return str(choose_subnet(taken, name))


def create(layout: Layout, subnet: str) -> None:
    """Makes the uplink over the given /30: its first address on the host, its second inside."""
    network = ipaddress.IPv4Network(subnet)
    outside, inside = str(network[1]), str(network[2])
    interface = host_interface(layout)
    namespace = Namespace(layout.cluster_namespace)
    try:
        with NamespaceThread(None) as host:
            host.run(_set_up_host, interface, outside, namespace)
        with NamespaceThread(namespace) as thread:
            thread.run(_set_up_inside, inside, outside)
    finally:
        namespace.close()
    _remember_forwarding(layout)
    sysctl("net/ipv4/ip_forward", "1")
    _nft(host_rules(host_table(layout), interface, subnet))


def remove(layout: Layout) -> None:
    """Takes the uplink away, or what an interrupted `create` left of it."""
    with NamespaceThread(None) as host:
        host.run(_delete_link, host_interface(layout))
    if host_table(layout) in _tables():
        _nft(f"delete table ip {host_table(layout)}\n")
    _restore_forwarding(layout)


def remains(layout: Layout) -> list[str]:
    """What of the uplink is found on the host, in words."""
    found = []
    with NamespaceThread(None) as host:
        if host.run(_has_link, host_interface(layout)):
            found.append(f"interface {host_interface(layout)}")
    if host_table(layout) in _tables():
        found.append(f"nftables table {host_table(layout)}")
    return found


def host_rules(table: str, interface: str, subnet: str) -> str:
    """The host's table, whole: replaced in one transaction."""
    return f"""\
table ip {table}
delete table ip {table}
table ip {table} {{
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr {subnet} oifname != "{interface}" masquerade
    }}
    chain forward {{
        type filter hook forward priority filter; policy accept;
        iifname "{interface}" accept
        oifname "{interface}" ct state established,related accept
    }}
}}
"""


def inside_rules() -> str:
    return f"""\
table ip p8s-uplink
delete table ip p8s-uplink
table ip p8s-uplink {{
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        oifname "{INSIDE_INTERFACE}" masquerade
    }}
}}
"""


def _set_up_host(interface: str, address: str, namespace: Namespace) -> None:
    with IPRoute() as netlink:
        if not link_index(netlink, interface):
            peer = {"ifname": INSIDE_INTERFACE, "net_ns_fd": namespace.fileno()}
            add_link(netlink, "veth", "veth pairs", ifname=interface, peer=peer)
        netlink.addr("replace", index=up(netlink, interface), address=address, prefixlen=30)


def _set_up_inside(address: str, gateway: str) -> None:
    with IPRoute() as netlink:
        index = up(netlink, INSIDE_INTERFACE)
        netlink.addr("replace", index=index, address=address, prefixlen=30)
        netlink.route("replace", dst="default", gateway=gateway, oif=index)
    _nft(inside_rules())


def _has_link(interface: str) -> bool:
    with IPRoute() as netlink:
        return link_index(netlink, interface) != 0


def _delete_link(interface: str) -> None:
    with IPRoute() as netlink:
        if index := link_index(netlink, interface):
            netlink.link("del", index=index)


def _nft(script: str) -> None:
    """Runs in the calling thread's network namespace: a child process inherits it."""
    done = subprocess.run(["nft", "-f", "-"], input=script, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 0:
        raise CommandFailed(f"nft refused the uplink's rules: {done.stderr.strip()}")


def _tables() -> list[str]:
    try:
        done = subprocess.run(["nft", "list", "tables", "ip"], capture_output=True, text=True, timeout=30, check=False)
    except FileNotFoundError:
        return []  # Without nft nothing can have been added.
    return [line.split()[-1] for line in done.stdout.splitlines() if line.strip()]


def _forwarding_file(layout: Layout) -> Path:
    return layout.roots.run / "host-ip-forward"


def _remember_forwarding(layout: Layout) -> None:
    """Keeps the value from before the first uplink."""
    remembered = _forwarding_file(layout)
    if not remembered.exists():
        remembered.parent.mkdir(parents=True, exist_ok=True)
        remembered.write_text(_FORWARDING.read_text().strip())


def _restore_forwarding(layout: Layout) -> None:
    remembered = _forwarding_file(layout)
    if not remembered.exists() or any(t.startswith(_TABLE_PREFIX) for t in _tables()):
        return
    sysctl("net/ipv4/ip_forward", remembered.read_text().strip())
    remembered.unlink()
