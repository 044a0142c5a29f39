"""IP addresses and ranges: ``cidr("10.0.0.0/8").containsIP(ip("10.1.2.3"))``."""

from __future__ import annotations

import ipaddress
from typing import Any

from pybernetes.api.cel.libraries import Declarer
from pybernetes.api.cel.messages import Types

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
_BROADCAST = ipaddress.ip_address("255.255.255.255")


def declare(d: Declarer, types: Types) -> None:
    ip, cidr, string, boolean, integer = (
        d.message("net.IP"), d.message("net.CIDR"), d.type.STRING, d.type.BOOL, d.type.INT,
    )  # fmt: skip

    def new_ip(address: Address) -> Any:
        return types.new("net.IP", text=str(address))

    def new_cidr(interface: Interface) -> Any:
        return types.new("net.CIDR", text=str(interface))

    d.add("ip", [string], ip, lambda text: new_ip(parse_ip(text)), member=False)
    d.add("isIP", [string], boolean, lambda text: _holds(parse_ip, text), member=False)
    d.add("ip.isCanonical", [string], boolean, lambda text: str(parse_ip(text)) == text, member=False)
    d.add("family", [ip], integer, lambda a: _address(a).version)
    d.add("isUnspecified", [ip], boolean, lambda a: _address(a).is_unspecified)
    d.add("isLoopback", [ip], boolean, lambda a: _address(a).is_loopback)
    d.add("isLinkLocalMulticast", [ip], boolean, lambda a: _is_link_local_multicast(_address(a)))
    d.add("isLinkLocalUnicast", [ip], boolean, lambda a: _address(a).is_link_local)
    d.add("isGlobalUnicast", [ip], boolean, lambda a: _is_global_unicast(_address(a)))

    d.add("cidr", [string], cidr, lambda text: new_cidr(parse_cidr(text)), member=False)
    d.add("isCIDR", [string], boolean, lambda text: _holds(parse_cidr, text), member=False)
    d.add("containsIP", [cidr, string], boolean, lambda c, text: parse_ip(text) in _range(c).network)
    d.add("containsIP", [cidr, ip], boolean, lambda c, a: _address(a) in _range(c).network)
    d.add("containsCIDR", [cidr, string], boolean, lambda c, text: _contains(_range(c), parse_cidr(text)))
    d.add("containsCIDR", [cidr, cidr], boolean, lambda a, b: _contains(_range(a), _range(b)))
    d.add("ip", [cidr], ip, lambda c: new_ip(_range(c).ip))
    d.add("masked", [cidr], cidr, lambda c: types.new("net.CIDR", text=str(_range(c).network)))
    d.add("prefixLength", [cidr], integer, lambda c: _range(c).network.prefixlen)


def parse_ip(text: str) -> Address:
    """Raises ValueError; zones and IPv4 in IPv6 are refused, as upstream does."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError as error:
        raise ValueError(f'IP Address "{text}" parse error during conversion from string: {error}') from error
    if "%" in text:
        raise ValueError(f'IP address "{text}" with zone value is not allowed')
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        raise ValueError(f'IPv4-mapped IPv6 address "{text}" is not allowed')
    return address


def parse_cidr(text: str) -> Interface:
    address, slash, length = text.partition("/")
    try:
        if not slash or not length.isdigit():
            raise ValueError("no '/' and prefix length")
        interface = ipaddress.ip_interface(text)
    except ValueError as error:
        raise ValueError(f'network address parse error during conversion from string: "{text}": {error}') from error
    parse_ip(address)
    return interface


def _holds(parse: Any, text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True


def _address(message: Any) -> Address:
    return ipaddress.ip_address(message.text)


def _range(message: Any) -> Interface:
    return ipaddress.ip_interface(message.text)


def _contains(outer: Interface, inner: Interface) -> bool:
    a, b = outer.network, inner.network
    return a.version == b.version and a.prefixlen <= b.prefixlen and b.network_address in a


def _is_link_local_multicast(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return address in ipaddress.ip_network("224.0.0.0/24")
    return address.packed[0] == 0xFF and address.packed[1] & 0x0F == 2


def _is_global_unicast(address: Address) -> bool:
    return not (
        address.is_unspecified
        or address.is_loopback
        or address.is_multicast
        or address.is_link_local
        or address == _BROADCAST
    )
