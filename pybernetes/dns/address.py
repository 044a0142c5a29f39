"""The cluster DNS's virtual IP as an address of the node's own loopback, over netlink. Synchronous, for a worker
thread; idempotent. Works in the network namespace of the calling thread."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterator
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

_EEXIST, _EADDRNOTAVAIL = 17, 99


@contextlib.contextmanager
def _addresses() -> Iterator[Any]:
    handle = IPRoute()
    try:
        yield handle
    finally:
        handle.close()


def claim(address: str) -> bool:
    """Adds the address to the loopback; False where it was there already. Raises `OSError`."""
    return _change("add", address, _EEXIST)


def release(address: str) -> bool:
    """Takes the address away; False where it was not there. Raises `OSError`."""
    return _change("del", address, _EADDRNOTAVAIL)


def _change(action: str, address: str, no_change: int) -> bool:
    parsed = ipaddress.ip_address(address)
    with _addresses() as ip:
        (loopback,) = ip.link_lookup(ifname="lo")
        try:
            ip.addr(action, index=loopback, address=str(parsed), prefixlen=parsed.max_prefixlen)
            return True
        except NetlinkError as error:
            if error.code == no_change:
                return False
            raise OSError(error.code, f"{action} {address} at lo: {error}") from error
