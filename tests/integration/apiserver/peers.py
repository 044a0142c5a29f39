"""Peers of the API server on real TLS sockets: a kubelet's side of upgrades and logs, and a raw client."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pybernetes.api.resources import NODES, PODS, SERVICEACCOUNTS
from pybernetes.apiserver.pki import ClusterPKI, client_context, server_context, write_private
from tests.integration.apiserver.conftest import Server

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Head:
    """A request's or answer's first line and headers, names in lower case."""

    first: str
    headers: dict[str, str]
    raw_headers: list[tuple[str, str]] = field(default_factory=list)

    @property
    def target(self) -> str:
        return self.first.split(" ")[1]

    @property
    def method(self) -> str:
        return self.first.split(" ")[0]

    @property
    def status(self) -> int:
        return int(self.first.split(" ")[1])


async def read_head(reader: asyncio.StreamReader) -> Head:
    text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = text.strip().split("\r\n")
    pairs = [(k.lower(), v.strip()) for k, _, v in (line.partition(":") for line in lines)]
    return Head(first, dict(pairs), pairs)


Serve = Callable[[Head, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Kubelet:
    """What listens in a kubelet's place. `serve` answers each connection's one request."""

    port: int
    seen: list[Head]
    serve: Serve
    open: int = 0
    """Connections that are open now."""


@asynccontextmanager
async def kubelet(
    pki: ClusterPKI, directory: Path, serve: Serve, listening: socket.socket | None = None
) -> AsyncIterator[Kubelet]:
    """A TLS server with a kubelet's certificate, which demands the client certificate that kubelets demand.

    It listens on a free port of loopback, or where it is told to.
    """
    address = listening.getsockname()[0] if listening is not None else "127.0.0.1"
    pair = pki.issue_kubelet_serving("n1", [address])
    certificate, key = directory / "kubelet.crt", directory / "kubelet.key"
    write_private(certificate, pair.certificate_pem)
    write_private(key, pair.key_pem)
    context = server_context(certificate, key, pki.ca_path)
    context.verify_mode = ssl.CERT_REQUIRED
    tasks: set[asyncio.Task[Any]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        made.open += 1
        try:
            head = await read_head(reader)
            made.seen.append(head)
            await made.serve(head, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            made.open -= 1
            tasks.discard(task)
            writer.close()

    if listening is not None:
        server = await asyncio.start_server(accept, sock=listening, ssl=context)
    else:
        server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    made = Kubelet(server.sockets[0].getsockname()[1], [], serve)
    try:
        yield made
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def make_pod(server: Server, port: int, name: str = "web", **spec: Any) -> None:
    """A pod on node n1, whose kubelet is at 127.0.0.1:port."""
    client = server.admin
    await client.create(SERVICEACCOUNTS, {"metadata": {"name": "default"}}, "default")
    node = await client.create(NODES, {"metadata": {"name": "n1"}})
    status = {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
    }
    await client.update(NODES, {**node, "status": status}, subresource="status")
    containers = spec.pop("containers", [{"name": "c", "image": "i"}])
    body = {"metadata": {"name": name}, "spec": {"nodeName": "n1", "containers": containers, **spec}}
    await client.create(PODS, body, "default")


@asynccontextmanager
async def raw_client(server: Server, pki: ClusterPKI) -> AsyncIterator[Stream]:
    """An administrator's connection to the API server, without an HTTP client on top."""
    context = client_context(pki.ca_path, *pki.paths("admin"))
    host, _, port = server.url.removeprefix("https://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context, limit=1 << 22)
    try:
        yield reader, writer
    finally:
        writer.close()


async def ask(stream: Stream, method: str, target: str, **headers: str) -> Head:
    """Sends a request without a body and reads the answer's head."""
    reader, writer = stream
    lines = [f"{method} {target} HTTP/1.1", "Host: x"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if method == "POST":
        lines.append("Content-Length: 0")
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    return await read_head(reader)
