"""The process that is fuzzed: ``python -m tests.fuzz.server DIRECTORY``.

It writes one line to its standard output once it serves, the URL, and ends when its standard input does. To each line
that it reads there it answers with what it holds (`held`). What it logs goes to its standard error. Certificates and
an administrator's key lie below the directory. All that is asked is written to an audit log, bodies and all.

What is bounded is given small bounds: it fills at once, is emptied again and again, and what still grows has no bound.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import ipaddress
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import orjson

from pybernetes.api.patch import created, sharing
from pybernetes.apiserver import cacher, http, settled
from pybernetes.apiserver.audit.log import AuditLog, RotatedFile, Rotation
from pybernetes.apiserver.audit.policy import parse
from pybernetes.apiserver.audit.trail import AuditTrail
from pybernetes.apiserver.flowcontrol import control
from pybernetes.apiserver.pki import ClusterPKI
from pybernetes.lib import logs
from pybernetes.lib.clock import SystemClock
from tests.integration.apiserver.conftest import running

COMPACTION_SECONDS = 5.0


_BOUNDS: tuple[tuple[Any, str, float], ...] = (
    (cacher, "WINDOW_CHANGES_MAX", 64),
    (cacher, "WINDOW_CHANGES_MIN", 4),
    (cacher, "WINDOW_SECONDS", 5.0),
    (settled, "_BYTES_MAX", 1 << 16),
    (http, "_TARGETS_KEPT", 64),
    (control, "_CLASSES_MAX", 64),
    (sharing, "SETS_MAX", 64),
    (sharing, "PARTS_MAX", 512),
    (created, "TRIES_MAX", 400),
    (created, "SPECS_MAX", 8),
)


def lower_bounds() -> None:
    for module, name, value in _BOUNDS:
        assert hasattr(module, name), f"{module.__name__} has no bound of that name any more: {name}"
        setattr(module, name, value)


def stay_here() -> None:
    """Objects hold addresses of any kind, and some requests go on to them: no name is asked for."""
    resolve = socket.getaddrinfo

    def numeric(host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> Any:
        return resolve(host, port, family, type, proto, flags | socket.AI_NUMERICHOST)

    socket.getaddrinfo = numeric


def socket_to_loopback(entry: Any) -> socket.socket:
    family, kind, proto, _, address = entry
    try:
        is_here = ipaddress.ip_address(address[0]).is_loopback
    except ValueError:
        is_here = False
    if not is_here:
        raise ConnectionRefusedError(f"{address[0]} is not on this machine")
    return socket.socket(family, kind, proto)


def held() -> bytes:
    """What is alive once garbage is collected and free memory given back."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return orjson.dumps({"tasks": len(asyncio.all_tasks()), "threads": threading.active_count()}) + b"\n"


async def serve(directory: Path) -> None:
    pki = await asyncio.to_thread(ClusterPKI.ensure, directory / "pki", advertise_addresses=["127.0.0.1"])
    clock = SystemClock()
    log = AuditLog(RotatedFile(directory / "audit.log", Rotation(max_size_bytes=16 << 20, max_backups=1), clock), clock)
    policy = parse({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "RequestResponse"}]})
    trail = AuditTrail(policy, log, clock)
    async with running(
        pki, directory, compaction_seconds=COMPACTION_SECONDS, audit=trail, socket_factory=socket_to_loopback
    ) as server:
        sys.stdout.buffer.write(server.url.encode() + b"\n")
        sys.stdout.flush()
        while await asyncio.to_thread(sys.stdin.readline):
            sys.stdout.buffer.write(held())
            sys.stdout.flush()
    log.close()


if __name__ == "__main__":
    logs.configure("error")
    lower_bounds()
    stay_here()
    asyncio.run(serve(Path(sys.argv[1])))
