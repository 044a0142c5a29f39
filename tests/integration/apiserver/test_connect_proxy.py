"""The proxies to pods, services and nodes: backends in a network namespace, reached through a socket factory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from pybernetes.api.resources import ENDPOINTS, NODES, PODS, SERVICEACCOUNTS, SERVICES
from pybernetes.apiserver.pki import ClusterPKI
from tests.integration.apiserver.conftest import Server, running
from tests.integration.apiserver.peers import ask, raw_client
from tests.support.networks import pod_network

POD_IP = "192.0.2.10"


async def answer(request: web.BaseRequest) -> web.StreamResponse:
    """Tells what it was asked; /away redirects, /upgrade upgrades, /stream streams."""
    match request.path:
        case "/away":
            return web.Response(status=302, headers={"Location": "/there?x=1"})
        case "/far":
            return web.Response(status=302, headers={"Location": "https://example.com/"})
        case "/break":
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b"part")
            assert request.transport is not None
            request.transport.abort()
            return response
        case "/socket":
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            async for message in socket:
                await socket.send_str("you said " + message.data)
            return socket
    body = await request.read()
    return web.json_response(
        {
            "method": request.method,
            "target": request.raw_path,
            "headers": {k.lower(): v for k, v in request.headers.items()},
            "body": body.decode(),
        },
        headers={"X-Mine": "yes"},
    )


@pytest.fixture
async def world(pki: ClusterPKI, tmp_path: Path) -> AsyncIterator[tuple[Server, int]]:
    """A server whose pods live in a namespace of their own, and the port of a web server there."""
    with pod_network("proxy", POD_IP) as namespace:
        listening = namespace.listen(POD_IP, 0)
        port = listening.getsockname()[1]
        backend = web.Server(answer)
        listener = await asyncio.get_running_loop().create_server(backend, sock=listening)
        try:
            async with running(pki, tmp_path, socket_factory=namespace.socket_factory) as server:
                await fill(server, port)
                yield server, port
        finally:
            listener.close()
            await backend.shutdown(0)


async def fill(server: Server, port: int) -> None:
    client = server.admin
    await client.create(SERVICEACCOUNTS, {"metadata": {"name": "default"}}, "default")
    container = {"name": "c", "image": "i", "ports": [{"containerPort": port}]}
    pod = await client.create(PODS, {"metadata": {"name": "web"}, "spec": {"containers": [container]}}, "default")
    status = {"phase": "Running", "podIP": POD_IP, "podIPs": [{"ip": POD_IP}]}
    await client.update(PODS, {**pod, "status": status}, subresource="status")
    ports = [{"name": "http", "port": 80, "targetPort": port}]
    await client.create(SERVICES, {"metadata": {"name": "web"}, "spec": {"ports": ports}}, "default")
    await client.create(SERVICES, {"metadata": {"name": "empty"}, "spec": {"ports": ports}}, "default")
    subset = {"addresses": [{"ip": POD_IP}], "ports": [{"name": "http", "port": port}]}
    await client.create(ENDPOINTS, {"metadata": {"name": "web"}, "subsets": [subset]}, "default")
    await client.create(ENDPOINTS, {"metadata": {"name": "empty"}}, "default")
    node = await client.create(NODES, {"metadata": {"name": "n1"}})
    node_status = {"addresses": [{"type": "InternalIP", "address": POD_IP}]}
    await client.update(NODES, {**node, "status": node_status}, subresource="status")


def ns(tail: str) -> str:
    return "/api/v1/namespaces/default/" + tail


async def test_what_the_backend_sees(world: tuple[Server, int]) -> None:
    server, _ = world
    path = ns("pods/web/proxy/a%2Fb/c/?q=1&q=%20")
    headers = {"X-Custom": "v", "Impersonate-User": "system:admin", "Impersonate-Group": "system:masters"}
    got = await server.session.request("POST", _url(server, path), data=b"body", headers=headers)
    said = await got.json()
    assert (got.status, got.headers["X-Mine"]) == (200, "yes")
    assert (said["method"], said["target"], said["body"]) == ("POST", "/a%2Fb/c/?q=1&q=%20", "body")
    sent = said["headers"]
    assert sent["x-custom"] == "v"
    assert sent["x-forwarded-uri"] == ns("pods/web/proxy/a%2Fb/c/")
    assert sent["x-forwarded-proto"] == "https" and sent["x-forwarded-for"] == "127.0.0.1"
    assert not {"authorization", "impersonate-user", "impersonate-group"} & sent.keys()


def _url(server: Server, path: str) -> Any:
    from yarl import URL

    return URL(server.url + path, encoded=True)


async def test_ports_and_schemes(world: tuple[Server, int]) -> None:
    server, port = world
    for name in ("web", f"web:{port}", f"http:web:{port}"):
        assert (await server.get(ns(f"pods/{name}/proxy/x"))).json["target"] == "/x", name
    for name in ("web:80", "web:http", "http:web:http"):
        assert (await server.get(ns(f"services/{name}/proxy/x"))).json["target"] == "/x", name
    assert (await server.get(f"/api/v1/nodes/n1:{port}/proxy/x")).json["target"] == "/x"


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("pods/none/proxy/", 404, 'pods "none" not found'),
        ("pods/a:b:c:d/proxy/", 400, 'invalid pod request "a:b:c:d"'),
        ("services/none/proxy/", 404, 'services "none" not found'),
        ("services/empty:http/proxy/", 503, 'no endpoints available for service "empty"'),
        ("services/web:81/proxy/", 503, 'no service port 81 found for service "web"'),
        ("pods/web:1/proxy/", 500, f"error dialing backend: dial tcp {POD_IP}:1: connect: connection refused"),
    ],
)
async def test_what_cannot_be_reached(world: tuple[Server, int], path: str, status: int, text: str) -> None:
    answer = await world[0].get(ns(path))
    assert (answer.status, answer.json["message"]) == (status, text)


async def test_no_way_back_to_the_host(world: tuple[Server, int]) -> None:
    """A pod cannot claim an address through which the API server would reach itself or the machine's metadata."""
    server, _ = world
    for ip in ("127.0.0.1", "169.254.169.254", "0.0.0.0"):
        pod = await server.admin.get(PODS, "web", "default")
        status = {**pod["status"], "podIP": ip, "podIPs": [{"ip": ip}]}
        await server.admin.update(PODS, {**pod, "status": status}, subresource="status")
        answer = await server.get(ns("pods/web/proxy/"))
        assert (answer.status, answer.json["message"]) == (400, "address not allowed")


async def test_redirects(world: tuple[Server, int]) -> None:
    server, _ = world

    async def location(path: str) -> tuple[int, str]:
        async with server.session.get(server.url + path, allow_redirects=False) as got:
            return got.status, got.headers["Location"]

    assert await location(ns("pods/web/proxy")) == (301, ns("pods/web/proxy/"))
    assert await location(ns("pods/web/proxy/away")) == (302, ns("pods/web/proxy/there?x=1"))
    assert await location(ns("pods/web/proxy/far")) == (302, "https://example.com/")


async def test_websockets(world: tuple[Server, int]) -> None:
    server, _ = world
    async with server.session.ws_connect(server.url + ns("services/web:http/proxy/socket")) as socket:
        await socket.send_str("hello")
        assert await socket.receive_str(timeout=5) == "you said hello"


async def test_an_answer_that_breaks_off(world: tuple[Server, int]) -> None:
    with pytest.raises(aiohttp.ClientPayloadError):
        await world[0].get(ns("pods/web/proxy/break"))


async def test_large_bodies_stream(world: tuple[Server, int]) -> None:
    server, _ = world
    async with server.session.put(server.url + ns("pods/web/proxy/x"), data=b"a" * 900_000) as got:
        assert len((await got.json())["body"]) == 900_000


async def test_upgrades_need_no_websocket(world: tuple[Server, int], pki: ClusterPKI) -> None:
    """A backend that does not know the protocol says so itself."""
    server, _ = world
    async with raw_client(server, pki) as stream:
        head = await ask(stream, "GET", ns("pods/web/proxy/x"), Connection="Upgrade", Upgrade="chat")
        assert head.status == 200
