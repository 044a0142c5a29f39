"""Answers load balancers that ask whether this node has endpoints of a Service: one small HTTP server a
``healthCheckNodePort`` (type LoadBalancer, externalTrafficPolicy Local); 200 with ready endpoints here, 503 without.

Lifecycle: `set` opens, changes or closes a Service's server; `close` closes all. One event loop owns it. A connection
is one request, read and answered in bounded time.
"""

from __future__ import annotations

import asyncio
import json
import socket

import structlog

from pybernetes.api.meta import split_key
from pybernetes.proxy.namespace import run_inside
from pybernetes.proxy.plan import HealthCheck

_REQUEST_LIMIT_BYTES = 8192
_REQUEST_SECONDS = 5.0
_BACKLOG = 64

log = structlog.get_logger(__name__)


class HealthChecks:
    """The health-check servers of one node, in its network namespace (a path; empty for the process's own)."""

    def __init__(self, namespace: str = "") -> None:
        self._namespace = namespace
        self._checks: dict[str, HealthCheck] = {}
        self._servers: dict[str, asyncio.Server] = {}

    async def set(self, key: str, check: HealthCheck | None) -> None:
        """Makes the Service `key` be answered for by `check`, or not at all. A port that cannot be had is logged."""
        old = self._checks.get(key)
        if check is None:
            self._checks.pop(key, None)
        else:
            self._checks[key] = check
        if (old and old.port) == (check and check.port):
            return
        server = self._servers.pop(key, None)
        if server is not None:
            server.close()
        if check is not None:
            try:
                listener = await asyncio.to_thread(run_inside, self._namespace, lambda: _listen(check.port))
                self._servers[key] = await asyncio.start_server(
                    lambda reader, writer: self._serve(key, reader, writer),
                    sock=listener,
                    limit=_REQUEST_LIMIT_BYTES,
                )
            except OSError as error:
                log.error("no health check", service=key, port=check.port, error=str(error))

    async def close(self) -> None:
        for key in list(self._checks):
            await self.set(key, None)

    async def _serve(self, key: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_REQUEST_SECONDS):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(self._answer(key))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            log.debug("health check not asked properly", service=key, error=str(error))
        finally:
            writer.close()

    def _answer(self, key: str) -> bytes:
        check = self._checks.get(key)
        endpoints = check.endpoints if check else 0
        namespace, name = split_key(key)
        body = json.dumps(
            {
                "service": {"namespace": namespace, "name": name},
                "localEndpoints": endpoints,
                "serviceProxyHealthy": True,
            },
            indent=1,
        ).encode()
        status = "200 OK" if endpoints else "503 Service Unavailable"
        head = (
            f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n"
            f"X-Load-Balancing-Endpoint-Weight: {endpoints}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + body


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=_BACKLOG)
    except (OSError, ValueError):
        # A kernel without IPv6.
        return socket.create_server(("", port), backlog=_BACKLOG)
