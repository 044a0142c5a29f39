"""Hears from the kernel when one of our tables goes without coming back in the same transaction: somebody flushed the
ruleset. No polling: nftables tells every change to whoever joined its netlink group.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable

import structlog

from pybernetes.proxy.namespace import run_inside

_NETLINK_NETFILTER = 12
_NFNLGRP_NFTABLES = 7
_NEW_TABLE, _DELETE_TABLE = (10 << 8) | 0, (10 << 8) | 2
_NFTA_TABLE_NAME = 1
_FAMILIES = {2: "ip", 10: "ip6"}
_SO_RCVBUFFORCE = 33
_NESTED = 0x8000 | 0x4000
_BUFFER_BYTES = 1 << 20
# What the kernel may keep for us: our own largest transactions are told to us too.
_QUEUE_BYTES = 8 << 20

log = structlog.get_logger(__name__)


class TableWatch:
    """Calls `lost(family)` (``ip``, ``ip6``) when the table `name` of that family is gone, and for every family when
    the kernel had more to tell than was read. Open it in the event loop; `close` ends it."""

    def __init__(self, name: str, lost: Callable[[str], None], *, namespace: str = "") -> None:
        self._name = name
        self._lost = lost
        self._namespace = namespace
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """Raises `OSError`."""
        self._socket = run_inside(self._namespace, _subscribe)
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def close(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _read(self) -> None:
        """Reads all there is before it judges: a replaced table goes and comes in one transaction."""
        assert self._socket is not None
        gone: dict[str, bool] = {}
        while True:
            try:
                data = self._socket.recv(_BUFFER_BYTES)
            except BlockingIOError:
                break
            except OSError as error:
                log.warning("missed changes of the ruleset", error=str(error))
                gone = dict.fromkeys(_FAMILIES.values(), True)
                break
            for kind, family, name in tables_in(data):
                if name == self._name and family in _FAMILIES:
                    gone[_FAMILIES[family]] = kind == _DELETE_TABLE
        for family_name, is_gone in gone.items():
            if is_gone:
                self._lost(family_name)


def _subscribe() -> socket.socket:
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _NETLINK_NETFILTER)
    made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _QUEUE_BYTES)
    made.bind((0, 1 << (_NFNLGRP_NFTABLES - 1)))
    return made


def tables_in(data: bytes) -> list[tuple[int, int, str]]:
    """The messages about tables in a datagram: (message type, family, table's name). What is malformed ends it."""
    found = []
    offset = 0
    while offset + 20 <= len(data):
        length, kind = struct.unpack_from("=IH", data, offset)
        if length < 20 or offset + length > len(data):
            break
        if kind in (_NEW_TABLE, _DELETE_TABLE):
            # After the header of 16 bytes: family, version, resource; then attributes.
            family = data[offset + 16]
            attribute = offset + 20
            while attribute + 4 <= offset + length:
                size, type_ = struct.unpack_from("=HH", data, attribute)
                if size < 4:
                    break
                if type_ & ~_NESTED == _NFTA_TABLE_NAME:
                    name = data[attribute + 4 : attribute + size].rstrip(b"\0").decode(errors="replace")
                    found.append((kind, family, name))
                attribute += (size + 3) & ~3
        offset += (length + 3) & ~3
    return found
