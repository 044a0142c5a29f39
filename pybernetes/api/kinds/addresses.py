"""Networks that must be spelled canonically, and warnings where addresses and networks are accepted in any spelling.

Source of rules and texts: ``k8s.io/apimachinery/pkg/util/validation/ip.go`` (KEP-4858). Pure.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator

from pybernetes.api import names
from pybernetes.api.kinds.faults import Faults
from pybernetes.api.meta import Object


def ip_warnings(path: str, value: str) -> Iterator[str]:
    """What is odd about an address that is legal; nothing about one that is not."""
    address = names.parse_ip(value)
    if address is None:
        return
    try:
        strict: ipaddress.IPv4Address | ipaddress.IPv6Address | None = ipaddress.ip_address(value)
    except ValueError:
        strict = None
    if strict is None or strict.version != address.version:
        # Leading zeros, or an IPv4 address in IPv6's clothes.
        yield (
            f"{path}: non-standard IP address {json.dumps(value)} will be considered invalid in a future Kubernetes "
            f"release: use {json.dumps(str(address))}"
        )
    elif strict.version == 6 and str(strict) != value:
        yield (
            f"{path}: IPv6 address {json.dumps(value)} should be in RFC 5952 canonical format "
            f"({json.dumps(str(strict))})"
        )


def cidr_warnings(path: str, value: str) -> Iterator[str]:
    """As `ip_warnings`, of a network."""
    network = names.parse_cidr(value)
    if network is None:
        return
    base, _, length = value.partition("/")
    address = names.parse_ip(base)
    odd = False
    shown = json.dumps(value)
    if address is not None and address.version == network.version and address != network.network_address:
        odd = True
        single = json.dumps(f"{address}/{address.max_prefixlen}")
        yield (
            f"{path}: CIDR value {shown} is ambiguous in this context (should be {json.dumps(str(network))} or "
            f"{single}?)"
        )
    try:
        strict: ipaddress.IPv4Address | ipaddress.IPv6Address | None = ipaddress.ip_address(base)
    except ValueError:
        strict = None
    if strict is None or (address is not None and strict.version != address.version) or length != str(int(length)):
        odd = True
        yield (
            f"{path}: non-standard CIDR value {shown} will be considered invalid in a future Kubernetes release: "
            f"use {json.dumps(str(network))}"
        )
    elif not odd and network.version == 6 and f"{strict}/{length}" != value:
        canonical = json.dumps(f"{strict}/{length}")
        yield f"{path}: IPv6 CIDR value {shown} should be in RFC 5952 canonical format ({canonical})"


def load_balancer_warnings(obj: Object) -> list[str]:
    """Of the addresses in status.loadBalancer, of a service or an ingress."""
    balancer = (obj.get("status") or {}).get("loadBalancer") or {}
    out: list[str] = []
    for i, ingress in enumerate(balancer.get("ingress") or ()):
        if ingress.get("ip"):
            out += ip_warnings(f"status.loadBalancer.ingress[{i}].ip", ingress["ip"])
    return out


def strict_cidr(faults: Faults, path: str, value: str) -> None:
    """A network in its one canonical spelling, as fields of newer kinds demand."""
    network = names.parse_cidr(value)
    if network is None:
        faults.each(path, value, names.cidr(value))
        return
    address = names.parse_ip(value.partition("/")[0])
    if address is not None and address.version == network.version and address != network.network_address:
        faults.invalid(path, value, "must not have bits set beyond the prefix length")
    elif str(network) != value:
        faults.invalid(path, value, f"must be in canonical form ({json.dumps(str(network))})")
