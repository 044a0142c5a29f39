"""Connections into pods: exec, attach, port-forward and logs, through a real server to a peer in a kubelet's place.

Everything runs on asyncio's loop and on uvloop, over TLS on both sides.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvloop

from pybernetes.apiserver.pki import ClusterPKI, client_context
from pybernetes.lib import tunnel
from tests.integration.apiserver.conftest import Server, running
from tests.integration.apiserver.peers import Head, Kubelet, ask, kubelet, make_pod, raw_client, read_head
from tests.support.waiting import until

EXEC = "/api/v1/namespaces/default/pods/web/exec"
SPDY = {"Connection": "Upgrade", "Upgrade": "SPDY/3.1"}


pytestmark = pytest.mark.filterwarnings("ignore:Overriding the .event_loop_policy.")


@pytest.fixture(params=["asyncio", "uvloop"])
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    return uvloop.EventLoopPolicy() if request.param == "uvloop" else asyncio.DefaultEventLoopPolicy()


async def switch(writer: asyncio.StreamWriter, *headers: str) -> None:
    lines = ["HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", *headers]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    await writer.drain()


async def echo(head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Upgrades, greets at once, then says everything again."""
    await switch(writer, f"Upgrade: {head.headers['upgrade']}", "X-Stream-Protocol-Version: v4.channel.k8s.io")
    writer.write(b"hello ")
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


@pytest.fixture
async def echoing(server: Server, pki: ClusterPKI, tmp_path: Path) -> Any:
    async with kubelet(pki, tmp_path, echo) as made:
        await make_pod(server, made.port)
        yield made


async def test_these_tests_run_on_both_loops(request: pytest.FixtureRequest) -> None:
    wanted = request.getfixturevalue("event_loop_policy")
    assert isinstance(asyncio.get_running_loop(), uvloop.Loop) is isinstance(wanted, uvloop.EventLoopPolicy)


async def test_spdy_passes_as_bytes(server: Server, pki: ClusterPKI, echoing: Kubelet) -> None:
    target = EXEC + "?command=sh&command=-c&command=echo+a%26b&stdin=true&stdout=true&tty=true&container=c"
    async with raw_client(server, pki) as (reader, writer):
        head = await ask(
            (reader, writer), "POST", target, **SPDY, X_Stream_Protocol_Version="v4.channel.k8s.io",
            Authorization="Bearer never-to-be-seen", Impersonate_User="bob", Impersonate_Group="system:masters",
        )  # fmt: skip
        assert head.status == 101
        assert head.headers["upgrade"] == "SPDY/3.1"
        assert head.headers["x-stream-protocol-version"] == "v4.channel.k8s.io"
        assert await reader.readexactly(6) == b"hello "
        for chunk in (b"\x00\x01\xff", b"x" * 100_000, b"GET / HTTP/1.1\r\n\r\n"):
            writer.write(chunk)
            assert await reader.readexactly(len(chunk)) == chunk
    (seen,) = echoing.seen
    assert seen.method == "POST"
    assert seen.target == "/exec/default/web/c?input=1&output=1&tty=1&command=sh&command=-c&command=echo+a%26b"
    assert seen.headers["x-stream-protocol-version"] == "v4.channel.k8s.io"
    assert seen.headers["host"] == f"127.0.0.1:{echoing.port}"
    assert not {"authorization", "impersonate-user", "impersonate-group"} & seen.headers.keys()
    await until(lambda: echoing.open == 0, 5)


async def test_either_side_ends_both(server: Server, pki: ClusterPKI, tmp_path: Path) -> None:
    async def goodbye(head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await switch(writer, "Upgrade: SPDY/3.1")
        writer.write(b"z" * 300_000)
        await writer.drain()

    async with kubelet(pki, tmp_path, goodbye) as made:
        await make_pod(server, made.port)
        async with raw_client(server, pki) as (reader, writer):
            assert (await ask((reader, writer), "POST", EXEC + "?command=x", **SPDY)).status == 101
            # What the kubelet sent before it closed comes whole, then the end.
            async with asyncio.timeout(5):
                assert await reader.read(-1) == b"z" * 300_000
        made.serve = echo
        async with raw_client(server, pki) as stream:
            assert (await ask(stream, "POST", EXEC + "?command=x", **SPDY)).status == 101
            await until(lambda: made.open == 1, 5)
        await until(lambda: made.open == 0, 5)


async def test_a_slow_reader_slows_the_writer(
    server: Server, pki: ClusterPKI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both ways 64 MiB go through, with a reader that first does not read: memory in between stays bounded."""
    size, most, chunk = 64 << 20, 32 << 20, os.urandom(1 << 16)
    total = {"out": 0, "in": 0}
    digest = hashlib.sha256()
    blocked = False
    upstreams: list[tunnel.Upstream] = []

    class Noted(tunnel.Upstream):
        """The server's connection to the kubelet."""

        def __init__(self) -> None:
            super().__init__()
            upstreams.append(self)

    def stopped() -> bool:
        """The server reads no more from the kubelet, which waits until it can send more: since the client reads
        nothing, only what the sockets' own buffers yet take can still move."""
        (upstream,) = upstreams
        return blocked and upstream.transport is not None and not upstream.transport.is_reading()

    monkeypatch.setattr(tunnel, "Upstream", Noted)

    async def pump(head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await switch(writer, "Upgrade: SPDY/3.1")

        async def send() -> None:
            nonlocal blocked
            while total["out"] < size:
                writer.write(chunk)
                total["out"] += len(chunk)
                blocked = True
                await writer.drain()
                blocked = False

        async def receive() -> None:
            while total["in"] < size and (data := await reader.read(1 << 18)):
                total["in"] += len(data)
                digest.update(data)

        await asyncio.gather(send(), receive())

    async with kubelet(pki, tmp_path, pump) as made:
        await make_pod(server, made.port)
        async with raw_client(server, pki) as (reader, writer):
            assert (await ask((reader, writer), "POST", EXEC + "?command=x", **SPDY)).status == 101
            # Unread, the flow stops: only buffers fill (the sockets' own, and ours of 64 KiB a hop).
            transport = writer.transport
            transport.pause_reading()
            await until(lambda: stopped() or total["out"] > most, 20)
            assert 0 < total["out"] < most
            transport.resume_reading()

            async def send() -> None:
                for _ in range(size // len(chunk)):
                    writer.write(chunk)
                    await writer.drain()

            sending = asyncio.create_task(send())
            received = hashlib.sha256()
            left = size
            while left:
                data = await reader.read(1 << 18)
                assert data
                received.update(data)
                left -= len(data)
            await sending
            await until(lambda: total["in"] == size, 20)
    assert digest.hexdigest() == received.hexdigest()


async def test_websockets_pass_too(server: Server, pki: ClusterPKI, tmp_path: Path) -> None:
    """The client's early bytes, sent with the request, reach the kubelet; subprotocols are the kubelet's choice."""

    async def answer(head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await switch(
            writer, "Upgrade: websocket", "Sec-WebSocket-Accept: abc", "Sec-WebSocket-Protocol: v4.channel.k8s.io"
        )
        writer.write(await reader.readexactly(5))
        await writer.drain()

    async with kubelet(pki, tmp_path, answer) as made:
        await make_pod(server, made.port)
        async with raw_client(server, pki) as (reader, writer):
            writer.write(
                f"GET {EXEC}?command=x&stdout=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                "Sec-WebSocket-Protocol: v4.channel.k8s.io, base64url.bearer.authorization.k8s.io.eA\r\n\r\n"
                "early".encode()
            )
            head = await read_head(reader)
            assert head.status == 101
            assert head.headers["sec-websocket-accept"] == "abc"
            assert head.headers["sec-websocket-protocol"] == "v4.channel.k8s.io"
            assert await reader.readexactly(5) == b"early"
    (seen,) = made.seen
    assert seen.method == "GET"
    assert seen.headers["sec-websocket-protocol"] == "v4.channel.k8s.io"


async def test_a_refusal_is_relayed(server: Server, pki: ClusterPKI, tmp_path: Path) -> None:
    """kubectl offers WebSockets first and falls back to SPDY on the kubelet's word."""

    async def refuse(head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = b"unable to upgrade: no such subprotocol\n"
        writer.write(
            b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        await writer.drain()

    async with kubelet(pki, tmp_path, refuse) as made:
        await make_pod(server, made.port)
        async with raw_client(server, pki) as (reader, writer):
            head = await ask((reader, writer), "POST", EXEC + "?command=x", **SPDY)
            assert head.status == 403
            assert await reader.readexactly(int(head.headers["content-length"])) == (
                b"unable to upgrade: no such subprotocol\n"
            )


async def test_a_kubelet_that_is_not_there(server: Server, pki: ClusterPKI, tmp_path: Path) -> None:
    async with kubelet(pki, tmp_path, echo) as made:
        await make_pod(server, made.port)
    async with raw_client(server, pki) as stream:
        assert (await ask(stream, "POST", EXEC + "?command=x", **SPDY)).status == 500
    answer = await server.get("/api/v1/namespaces/default/pods/web/log")
    assert answer.status == 500
    assert (
        answer.json["message"] == f"error dialing backend: dial tcp 127.0.0.1:{made.port}: connect: connection refused"
    )


async def test_a_kubelet_that_is_another(server: Server, pki: ClusterPKI, tmp_path: Path) -> None:
    """A peer with a certificate of another CA gets nothing."""
    other = ClusterPKI.ensure(tmp_path / "other-pki")
    async with kubelet(other, tmp_path, echo) as made:
        await make_pod(server, made.port)
        async with raw_client(server, pki) as (reader, writer):
            head = await ask((reader, writer), "POST", EXEC + "?command=x", **SPDY)
            assert head.status == 500
            assert b"tls: CERTIFICATE_VERIFY_FAILED" in await reader.readexactly(int(head.headers["content-length"]))
        assert made.seen == []


async def test_what_is_wrong_is_said_before_any_upgrade(server: Server, pki: ClusterPKI, echoing: Kubelet) -> None:
    async def refused(path: str, **headers: str) -> tuple[int, str]:
        answer = await server.request("POST", "/api/v1/namespaces/default/pods/" + path, headers=headers)
        return answer.status, answer.json["message"]

    assert await refused("none/exec?command=x", **SPDY) == (404, 'pods "none" not found')
    assert await refused("web/exec?command=x&container=z", **SPDY) == (400, "container z is not valid for pod web")
    assert await refused("web/exec?command=x") == (400, "Upgrade request required")
    assert echoing.seen == []


async def test_port_forward(server: Server, pki: ClusterPKI, echoing: Kubelet) -> None:
    async with raw_client(server, pki) as (reader, writer):
        target = "/api/v1/namespaces/default/pods/web/portforward"
        assert (await ask((reader, writer), "POST", target, **SPDY)).status == 101
        writer.write(b"data")
        assert await reader.readexactly(10) == b"hello data"
    assert echoing.seen[0].target == "/portForward/default/web"


async def test_port_forward_inside_a_websocket(server: Server, pki: ClusterPKI, echoing: Kubelet) -> None:
    """As kubectl 1.31 and newer: WebSocket messages carry an SPDY connection's bytes."""
    async with server.session.ws_connect(
        server.url + "/api/v1/namespaces/default/pods/web/portforward", protocols=["SPDY/3.1+portforward.k8s.io"]
    ) as ws:
        assert ws.protocol == "SPDY/3.1+portforward.k8s.io"
        received = b""
        sent = os.urandom(700_000)
        for start in range(0, len(sent), 50_000):
            await ws.send_bytes(sent[start : start + 50_000])
        while len(received) < len(sent) + 6:
            received += await ws.receive_bytes(timeout=5)
        assert received == b"hello " + sent
    (seen,) = echoing.seen
    assert seen.method == "POST"
    assert seen.headers["upgrade"] == "SPDY/3.1"
    assert seen.headers["x-stream-protocol-version"] == "portforward.k8s.io"
    await until(lambda: echoing.open == 0, 5)


async def test_a_forwarding_kubelet_that_ends(server: Server, pki: ClusterPKI, tmp_path: Path) -> None:
    async def goodbye(head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await switch(writer, "Upgrade: SPDY/3.1")
        writer.write(b"z" * 500_000)
        await writer.drain()

    async with kubelet(pki, tmp_path, goodbye) as made:
        await make_pod(server, made.port)
        url = server.url + "/api/v1/namespaces/default/pods/web/portforward"
        async with server.session.ws_connect(url, protocols=["SPDY/3.1+portforward.k8s.io"]) as ws:
            received = 0
            while (message := await ws.receive(timeout=5)).type is aiohttp.WSMsgType.BINARY:
                received += len(message.data)
            assert received == 500_000
            assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)


# Logs


async def chunked(writer: asyncio.StreamWriter, *chunks: bytes, end: bool = True) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
    for chunk in chunks:
        writer.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
    if end:
        writer.write(b"0\r\n\r\n")
    await writer.drain()


async def test_logs(server: Server, pki: ClusterPKI, tmp_path: Path) -> None:
    async def serve(head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await chunked(writer, b"one\n", b"two\n")

    async with kubelet(pki, tmp_path, serve) as made:
        await make_pod(server, made.port)
        path = "/api/v1/namespaces/default/pods/web/log"
        answer = await server.get(path, tailLines=5, timestamps="true", previous="true", sinceSeconds=60)
        assert (answer.status, answer.body) == (200, b"one\ntwo\n")
        assert answer.headers["Content-Type"] == "text/plain"
        assert made.seen[0].target == (
            "/containerLogs/default/web/c?previous=true&timestamps=true&sinceSeconds=60&tailLines=5"
        )
        for query, text in (
            ({"tailLines": "-1"}, "must be greater than or equal to 0"),
            ({"limitBytes": "0"}, "must be greater than 0"),
            ({"sinceSeconds": "0"}, "must be greater than 0"),
            ({"sinceSeconds": "1", "sinceTime": "2026-01-01T00:00:00Z"}, "at most one of"),
        ):
            refused = await server.get(path, **query)
            assert refused.status == 422 and text in refused.json["message"], query
        assert (await server.get(path, tailLines="x")).status == 400


async def test_a_followed_log_comes_as_it_is_written(server: Server, pki: ClusterPKI, tmp_path: Path) -> None:
    more: asyncio.Queue[bytes] = asyncio.Queue()

    async def serve(head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await chunked(writer, end=False)

        async def write() -> None:
            while True:
                line = await more.get()
                writer.write(b"%x\r\n%s\r\n" % (len(line), line))
                await writer.drain()

        writing = asyncio.create_task(write())
        try:
            await reader.read()
        finally:
            writing.cancel()

    async with kubelet(pki, tmp_path, serve) as made:
        await make_pod(server, made.port)
        url = server.url + "/api/v1/namespaces/default/pods/web/log?follow=true"
        async with server.session.get(url) as response:
            for line in (b"one\n", b"two\n"):
                more.put_nowait(line)
                assert await asyncio.wait_for(response.content.readline(), 5) == line
        # The log is silent, and yet the client's end is noticed.
        await until(lambda: made.open == 0, 5)


async def test_a_log_that_breaks_off_is_not_taken_for_whole(server: Server, pki: ClusterPKI, tmp_path: Path) -> None:
    async def serve(head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await chunked(writer, b"one\n", end=False)

    async with kubelet(pki, tmp_path, serve) as made:
        await make_pod(server, made.port)
        for query in ("", "?follow=true"):
            with pytest.raises(aiohttp.ClientPayloadError):
                await server.request("GET", "/api/v1/namespaces/default/pods/web/log" + query)


@pytest.mark.parametrize(
    ("status", "text", "code", "reason", "message"),
    [
        (400, "container \"c\" in pod \"web\" is waiting to start: ContainerCreating", 400, "BadRequest",
         "container \"c\" in pod \"web\" is waiting to start: ContainerCreating"),
        (500, "boom", 500, "InternalError", "Internal error occurred: boom"),
        (404, "pod gone", 404, "NotFound", "the server could not find the requested resource ( pods web)"),
    ],
)  # fmt: skip
async def test_a_kubelets_complaint(
    server: Server, pki: ClusterPKI, tmp_path: Path, status: int, text: str, code: int, reason: str, message: str
) -> None:
    async def serve(head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())
        await writer.drain()

    async with kubelet(pki, tmp_path, serve) as made:
        await make_pod(server, made.port)
        answer = await server.get("/api/v1/namespaces/default/pods/web/log")
        assert (answer.status, answer.json["reason"], answer.json["message"]) == (code, reason, message)


async def test_which_container(server: Server, pki: ClusterPKI, tmp_path: Path) -> None:
    async def serve(head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await chunked(writer)

    async with kubelet(pki, tmp_path, serve) as made:
        names = [{"name": n, "image": "i"} for n in ("a", "b")]
        await make_pod(server, made.port, containers=names, initContainers=[{"name": "i", "image": "i"}])
        path = "/api/v1/namespaces/default/pods/web/log"
        answer = await server.get(path)
        assert (answer.status, answer.json["message"]) == (
            400, "a container name must be specified for pod web, choose one of: [i a b]"
        )  # fmt: skip
        assert (await server.get(path, container="i")).status == 200
        assert (await server.get(path, container="z")).json["message"] == "container z is not valid for pod web"


async def test_a_pod_without_a_node(server: Server, pki: ClusterPKI) -> None:
    await make_pod(server, 1, nodeName="")
    answer = await server.get("/api/v1/namespaces/default/pods/web/log")
    assert (answer.status, answer.body) == (200, b"")
    exec_ = await server.request("POST", EXEC + "?command=x", headers=SPDY)
    assert (exec_.status, exec_.json["message"]) == (400, "pod web does not have a host assigned")


async def test_stopping_ends_tunnels(pki: ClusterPKI, tmp_path: Path) -> None:
    async with kubelet(pki, tmp_path, echo) as made:
        async with running(pki, tmp_path) as server:
            await make_pod(server, made.port)
            context = client_context(pki.ca_path, *pki.paths("admin"))
            host, _, port = server.url.removeprefix("https://").partition(":")
            stream = await asyncio.open_connection(host, int(port), ssl=context)
            assert (await ask(stream, "POST", EXEC + "?command=x", **SPDY)).status == 101
            await until(lambda: made.open == 1, 5)
        await until(lambda: made.open == 0, 5)
        stream[1].close()
