"""What the proxy needs of the kernel beside nft's rules: the route for the service range, and forgetting datagram
flows to endpoints that are gone. Over netlink; synchronous, for a worker thread.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Iterator, Sequence
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.nfnetlink.nfctsocket import NFCTAttrTuple, NFCTSocket

from pybernetes.proxy.plan import StaleFlows

_NOT_FOUND = (2, 3)  # ENOENT, ESRCH


@contextlib.contextmanager
def _routes(namespace: str) -> Iterator[Any]:
    handle = IPRoute(netns=namespace) if namespace else IPRoute()
    try:
        yield handle
    finally:
        handle.close()


def install_route(service_cidr: str, source_ip: str, *, namespace: str = "") -> None:
    """A route for virtual IPs through the loopback, with the node's address as the source. Without one a connection
    of the node's own to a virtual IP fails before the rules see it; sent anywhere else, one that no rule translates
    would leave the node. Raises `OSError`."""
    with _routes(namespace) as ip:
        (loopback,) = ip.link_lookup(ifname="lo")
        try:
            ip.route("replace", dst=service_cidr, oif=loopback, prefsrc=source_ip, scope="link", proto="static")
        except NetlinkError as error:
            raise OSError(error.code, f"route for {service_cidr}: {error}") from error


def remove_route(service_cidr: str, *, namespace: str = "") -> None:
    with _routes(namespace) as ip:
        (loopback,) = ip.link_lookup(ifname="lo")
        try:
            ip.route("del", dst=service_cidr, oif=loopback, scope="link", proto="static")
        except NetlinkError as error:
            if error.code not in _NOT_FOUND:
                raise OSError(error.code, f"route for {service_cidr}: {error}") from error


def forget_flows(stale: Sequence[StaleFlows], node_ips: Sequence[str], *, namespace: str = "") -> int:
    """Deletes what the kernel remembers of these UDP flows; returns how many there were. Raises `OSError`."""
    if not stale:
        return 0
    wanted = {(s.frontend.ip, s.frontend.port, s.backend_ip) for s in stale}
    version = ipaddress.ip_address(node_ips[0]).version
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    # The entries are listed whole: the kernel filters by neither port nor the answer's address.
    options: dict[str, Any] = {"netns": namespace} if namespace else {}
    conntrack = NFCTSocket(nfgen_family=family, **options)
    try:
        flows = [flow for message in conntrack.dump() if (flow := _Flow.of(message, version)) is not None]
        forgotten = 0
        for flow in flows:
            frontend = "" if flow.destination in node_ips else flow.destination
            answered_by = "" if flow.answerer == flow.destination else flow.answerer
            if (frontend, flow.destination_port, answered_by) in wanted:
                with contextlib.suppress(NetlinkError):  # ended by itself in between
                    conntrack.entry("del", tuple_orig=flow.tuple)
                    forgotten += 1
        return forgotten
    except NetlinkError as error:
        raise OSError(error.code, f"conntrack: {error}") from error
    finally:
        conntrack.close()


class _Flow:
    """One UDP entry: where it was sent to, and who answers it."""

    def __init__(self, original: Any, reply: Any, version: int) -> None:
        addresses = original.get("CTA_TUPLE_IP")
        ports = original.get("CTA_TUPLE_PROTO")
        suffix = f"V{version}"
        source = addresses.get(f"CTA_IP_{suffix}_SRC")
        self.destination: str = addresses.get(f"CTA_IP_{suffix}_DST")
        self.destination_port: int = ports.get("CTA_PROTO_DST_PORT")
        self.answerer: str = reply.get("CTA_TUPLE_IP").get(f"CTA_IP_{suffix}_SRC")
        self.tuple = NFCTAttrTuple(
            saddr=source,
            daddr=self.destination,
            proto=socket.IPPROTO_UDP,
            sport=ports.get("CTA_PROTO_SRC_PORT"),
            dport=self.destination_port,
            family=socket.AF_INET if version == 4 else socket.AF_INET6,
        )

    @classmethod
    def of(cls, message: Any, version: int) -> _Flow | None:
        original, reply = message.get("CTA_TUPLE_ORIG"), message.get("CTA_TUPLE_REPLY")
        if original is None or reply is None:
            return None
        if original.get("CTA_TUPLE_PROTO").get("CTA_PROTO_NUM") != socket.IPPROTO_UDP:
            return None
        return cls(original, reply, version)
