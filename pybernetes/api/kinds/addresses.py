"""Networks that must be spelled canonically, and warnings where addresses and networks are accepted in any spelling.

Source of rules and texts: ``k8s.io/apimachinery/pkg/util/validation/ip.go`` (KEP-4858). Pure.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Collection, Iterator

from pybernetes.api import names
from pybernetes.api.kinds.faults import Faults
from pybernetes.api.meta import Object


def ip_warnings(path: str, value: str) -> Iterator[str]:
    """What is odd about an address that is legal; nothing about one that is not."""
    parsed = names.parse_ip(value)
    if parsed is None:
        return
    try:
        strict: ipaddress.IPv4Address | ipaddress.IPv6Address | None = ipaddress.ip_address(value)
    except ValueError:
        strict = None
    if strict is None or strict.version != parsed.version:
        # Leading zeros, or an IPv4 address in IPv6's clothes.
        yield (
            f"{path}: non-standard IP address {json.dumps(value)} will be considered invalid in a future Kubernetes "
            f"release: use {json.dumps(str(parsed))}"
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
    parsed = names.parse_ip(base)
    odd = False
    shown = json.dumps(value)
    if parsed is not None and parsed.version == network.version and parsed != network.network_address:
        odd = True
        single = json.dumps(f"{parsed}/{parsed.max_prefixlen}")
        yield (
            f"{path}: CIDR value {shown} is ambiguous in this context (should be {json.dumps(str(network))} or "
            f"{single}?)"
        )
    try:
        strict: ipaddress.IPv4Address | ipaddress.IPv6Address | None = ipaddress.ip_address(base)
    except ValueError:
        strict = None
    if strict is None or (parsed is not None and strict.version != parsed.version) or length != str(int(length)):
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


def address(faults: Faults, path: str, value: str, stored: Collection[str] = ()) -> None:
    """An address; what was `stored` before its spelling mattered may stay."""
    if value not in stored:
        faults.each(path, value, names.is_ip(value))


def cidr(faults: Faults, path: str, value: str, stored: Collection[str] = ()) -> None:
    """As `address`, a network."""
    if value not in stored:
        faults.each(path, value, names.cidr(value))


def balancer_addresses(obj: Object) -> frozenset[str]:
    """The addresses in status.loadBalancer, of a service or an ingress."""
    ingresses = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return frozenset(ingress.get("ip") or "" for ingress in ingresses)


def interface_address(faults: Faults, path: str, value: str) -> None:
    """An address with its network's prefix length, in its one canonical spelling."""
    base, _, length = value.partition("/")
    network, parsed = names.parse_cidr(value), names.parse_ip(base)
    if network is None or parsed is None:
        faults.invalid(path, value, "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)")
        return
    # A mapped address counts its 96 leading bits.
    bits = int(length) - (96 if parsed.version < network.version and int(length) > 32 else 0)
    canonical = f"{parsed}/{bits}"
    if value != canonical:
        faults.invalid(path, value, f"must be in canonical form ({json.dumps(canonical)})")


def canonical_cidr(faults: Faults, path: str, value: str) -> None:
    """A network in its one canonical spelling, as fields of newer kinds demand."""
    messages = names.cidr(value)
    faults.each(path, value, messages)
    canonical = str(names.parse_cidr(value))
    if not messages and canonical != value:
        faults.invalid(path, value, f"must be in canonical form ({json.dumps(canonical)})")
