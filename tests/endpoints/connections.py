"""What must hold of connections: logs, exec, attach, port-forward and the proxies, against peers on real sockets.

The peers live in a network namespace, since pods, services and nodes on loopback are not to be proxied to: a web server
for pods and services, and a TLS server in a kubelet's place.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from pybernetes.apiserver.pki import ClusterPKI
from pybernetes.cluster import netns
from tests.endpoints.rows import Row
from tests.endpoints.walker import Fault, Kind, Walker, expect
from tests.integration.apiserver.conftest import Server
from tests.integration.apiserver.peers import Head, Kubelet, ask, kubelet, raw_client
from tests.support.networks import pod_network

ADDRESS = "192.0.2.10"
_SPDY = {"Connection": "Upgrade", "Upgrade": "SPDY/3.1", "X_Stream_Protocol_Version": "v4.channel.k8s.io"}
_WEBSOCKET = {
    "Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13",
    "Sec_WebSocket_Key": "d2Fsa2VkIHdhbGtlZCBvbg==", "Sec_WebSocket_Protocol": "v4.channel.k8s.io",
}  # fmt: skip


@dataclass(slots=True)
class Peers:
    namespace: netns.Namespace
    port: int
    """Where the web server listens."""
    kubelet: Kubelet


async def _echo(request: web.BaseRequest) -> web.StreamResponse:
    said = {"method": request.method, "target": request.raw_path, "body": (await request.read()).decode()}
    return web.json_response(said, headers={"X-Said": json.dumps(said)})


async def _as_kubelet(head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Upgrades and says everything again; else answers with the request's line."""
    if "upgrade" in head.headers:
        answer = ["HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", f"Upgrade: {head.headers['upgrade']}"]
        writer.write(("\r\n".join(answer) + "\r\n\r\n").encode())
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        return
    said = json.dumps({"method": head.method, "target": head.target})
    body = b"" if head.method == "HEAD" else said.encode()
    writer.write(
        f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Said: {said}\r\nContent-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n".encode()
        + body
    )
    await writer.drain()


@asynccontextmanager
async def peers(pki: ClusterPKI, directory: Path) -> AsyncIterator[Peers]:
    with pod_network("walk", ADDRESS) as namespace:
        listening = namespace.listen(ADDRESS, 0)
        backend = web.Server(_echo)
        listener = await asyncio.get_running_loop().create_server(backend, sock=listening)
        try:
            async with kubelet(pki, directory, _as_kubelet, namespace.listen(ADDRESS, 0)) as node:
                yield Peers(namespace, listening.getsockname()[1], node)
        finally:
            listener.close()
            await backend.shutdown(0)


async def furnish(server: Server, namespace: str, found: Peers) -> None:
    """A node with a pod on it and a service before it, all called ``web``."""
    at = f"/api/v1/namespaces/{namespace}"
    node: Any = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "web"}}
    status: Any = {
        "addresses": [{"type": "InternalIP", "address": ADDRESS}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": found.kubelet.port}},
    }
    container = {"name": "c", "image": "example.com/image:1", "ports": [{"containerPort": found.port}]}
    pod = {"metadata": {"name": "web"}, "spec": {"nodeName": "web", "containers": [container]}}
    pod_status = {"phase": "Running", "podIP": ADDRESS, "podIPs": [{"ip": ADDRESS}]}
    service = {"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80, "targetPort": found.port}]}}
    subset = {"addresses": [{"ip": ADDRESS}], "ports": [{"port": found.port}]}
    for answer in (
        await server.post("/api/v1/nodes", node),
        await server.patch("/api/v1/nodes/web/status", {"status": status}, "merge"),
        await server.post(f"{at}/pods", pod),
        await server.patch(f"{at}/pods/web/status", {"status": pod_status}, "merge"),
        await server.post(f"{at}/services", service),
        await server.post(f"{at}/endpoints", {"metadata": {"name": "web"}, "subsets": [subset]}),
    ):
        if answer.status not in (200, 201):
            raise Fault(f"the peers' objects cannot be made: {answer.body[:300]!r}")


async def stream(w: Walker, k: Kind, row: Row) -> None:
    """exec, attach and port-forward: a GET upgrades to WebSockets, a POST to SPDY; bytes go both ways."""
    subresource = row.path.rpartition("/")[2]
    query = {"exec": "?command=true&stdin=true&stdout=true", "attach": "?stdin=true&stdout=true"}.get(
        subresource, "?ports=80"
    )
    async with raw_client(w.server, w.server.pki) as (reader, writer):
        headers = _WEBSOCKET if row.method == "GET" else _SPDY
        head = await ask((reader, writer), row.method, k.path("web", subresource) + query, **headers)
        expect("the status code of the upgrade", head.status, 101)
        expect("the protocol", head.headers["upgrade"].lower(), headers["Upgrade"].lower())
        writer.write(b"\x00\x01walked\xff")
        async with asyncio.timeout(5):
            expect("what comes back", await reader.readexactly(9), b"\x00\x01walked\xff")
    await w.answer(row.method, k.path("absent", subresource) + query, status=404)


async def log(w: Walker, k: Kind) -> None:
    read = await w.answer("GET", k.path("web", "log"), status=200, tailLines=3)
    expect("what the kubelet was asked", read.json["target"], f"/containerLogs/{k.namespace}/web/c?tailLines=3")
    expect("the type", read.headers["Content-Type"], "text/plain")
    text = "container nothing is not valid for pod web"
    await w.refused("GET", k.path("web", "log"), status=400, reason="BadRequest", text=text, container="nothing")
    await w.refused("GET", k.path("absent", "log"), status=404, reason="NotFound")


async def proxy(w: Walker, k: Kind, row: Row) -> None:
    tail = "/walked/on" if row.path.endswith("{path}") else "/"
    path = k.path("web", "proxy") + (tail if tail != "/" else "")
    body = b"walked" if row.method in ("POST", "PUT", "PATCH") else None
    answer = await w.answer(row.method, path, body, status=200, q="1")
    said = json.loads(answer.headers["X-Said"])
    wanted = {"method": row.method, "target": f"{tail}?q=1"}
    if k.kind != "Node":
        wanted["body"] = (body or b"").decode()
    expect("what the peer was asked", said, wanted)
    expect("whether there is a body", bool(answer.body), row.method != "HEAD")
    await w.answer(row.method, k.path("absent", "proxy") + (tail if tail != "/" else ""), status=404)
