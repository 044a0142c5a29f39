"""The fixed part of the rules: the table, its base chains, maps and sets, for one address family. Pure text.

What a packet passes: translation of destinations (a virtual IP to an endpoint) where it enters, refusal of what was
not translated, translation of sources where it leaves. The layout's own fingerprint is the name of an empty chain, so
that a later process knows a table that was laid out in the same way and can take it over.
"""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass
from typing import Literal

TABLE = "pybernetes_proxy"
REJECT = "reject_now"
"""The chain that refuses at once."""

_MARK = "0x4000"
"""The bit of the packet mark that asks for masquerading, upstream's default (--iptables-masquerade-bit 14)."""

MASQUERADE = f"meta mark set meta mark or {_MARK}"

ELEMENT_MAPS = ("service_ips", "node_ports", "no_endpoint_ips", "no_endpoint_node_ports")
ELEMENT_SETS = ("hairpin",)

_LAYOUT_PREFIX = "layout-"


@dataclass(frozen=True, slots=True)
class Family:
    """An address family in nft's words."""

    version: Literal[4, 6]

    @property
    def keyword(self) -> str:
        """Both the table's family and the protocol's name in a rule."""
        return "ip" if self.version == 4 else "ip6"

    @property
    def address(self) -> str:
        return f"ipv{self.version}_addr"

    @property
    def address_type(self) -> str:
        """EndpointSlice's."""
        return f"IPv{self.version}"


IPV4 = Family(4)
IPV6 = Family(6)


def family_of(address_or_range: str) -> Family:
    return IPV4 if ipaddress.ip_network(address_or_range, strict=False).version == 4 else IPV6


@dataclass(frozen=True, slots=True)
class LayoutConfig:
    """What the fixed part depends on, of one family."""

    family: Family
    node_ips: tuple[str, ...]
    """Where node ports are answered."""
    service_cidr: str
    pod_cidrs: tuple[str, ...]
    excluded_ips: tuple[str, ...] = ()
    """Virtual IPs that something else on the node answers."""


def affinity_definition(family: Family, timeout_seconds: int) -> str:
    return f"type {family.address}; flags dynamic,timeout; timeout {timeout_seconds}s;"


def fingerprint(config: LayoutConfig) -> str:
    return hashlib.blake2b(_body(config).encode(), digest_size=8).hexdigest()


def marker_chain(config: LayoutConfig) -> str:
    return f"{_LAYOUT_PREFIX}{fingerprint(config)}"


def render_layout(config: LayoutConfig) -> str:
    """A script that replaces the table, whatever it held, by one with only the fixed part."""
    where = f"{config.family.keyword} {TABLE}"
    return (
        f"add table {where}\n"
        f"delete table {where}\n"
        f"table {where} {{\n{_body(config)}  chain {marker_chain(config)} {{ }}\n}}\n"
    )


def fixed_chains(config: LayoutConfig) -> frozenset[str]:
    """The chains that belong to the layout and to no Service."""
    return frozenset(
        (
            REJECT, "services", "no_endpoints", "unknown_services", "nat_prerouting", "nat_output", "nat_postrouting",
            "filter_input", "filter_forward", "filter_output", marker_chain(config),
        )
    )  # fmt: skip


def _body(config: LayoutConfig) -> str:
    ip, address = config.family.keyword, config.family.address
    nodes = ", ".join(config.node_ips)
    own_sources = ", ".join((*config.pod_cidrs, *config.node_ips))
    excluded = f"{ip} daddr != {{ {', '.join(config.excluded_ips)} }} " if config.excluded_ips else ""
    return f"""\
  map service_ips {{ type {address} . inet_proto . inet_service : verdict; }}
  map node_ports {{ type inet_proto . inet_service : verdict; }}
  map no_endpoint_ips {{ type {address} . inet_proto . inet_service : verdict; }}
  map no_endpoint_node_ports {{ type inet_proto . inet_service : verdict; }}
  set hairpin {{ type {address} . {address}; }}

  chain {REJECT} {{
    meta l4proto tcp reject with tcp reset
    reject
  }}
  chain services {{
    {ip} daddr {config.service_cidr} {ip} saddr != {{ {own_sources} }} {MASQUERADE}
    {ip} daddr . meta l4proto . th dport vmap @service_ips
    {ip} daddr {{ {nodes} }} meta l4proto . th dport vmap @node_ports
  }}
  chain no_endpoints {{
    {ip} daddr . meta l4proto . th dport vmap @no_endpoint_ips
    {ip} daddr {{ {nodes} }} meta l4proto . th dport vmap @no_endpoint_node_ports
  }}
  chain unknown_services {{
    {ip} daddr {config.service_cidr} {excluded}goto {REJECT}
  }}

  chain nat_prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    jump services
  }}
  chain nat_output {{
    type nat hook output priority -100; policy accept;
    jump services
  }}
  chain nat_postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    meta mark and {_MARK} == {_MARK} meta mark set meta mark xor {_MARK} masquerade fully-random
    ct status dnat {ip} saddr . {ip} daddr @hairpin masquerade fully-random
  }}
  chain filter_input {{
    type filter hook input priority filter; policy accept;
    ct state new jump no_endpoints
  }}
  chain filter_forward {{
    type filter hook forward priority filter; policy accept;
    ct state new jump no_endpoints
    ct state new jump unknown_services
  }}
  chain filter_output {{
    type filter hook output priority filter; policy accept;
    ct state new jump no_endpoints
    ct state new jump unknown_services
  }}
"""
