"""The kubelet's server over real TLS: a runtime view fed by a scripted runtime, log files on disk."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from pybernetes.apiserver.pki import ClusterPKI, client_context
from pybernetes.kubelet import identity
from pybernetes.kubelet.config import KubeletConfig
from pybernetes.kubelet.observed import RuntimeView
from pybernetes.kubelet.runtime import ContainerState, ContainerStatus, ContainerSummary, SandboxStatus, SandboxSummary
from pybernetes.kubelet.server import KubeletServer
from pybernetes.lib.clock import SystemClock
from tests.support.waiting import until

LABELS = {identity.POD_UID: "u1", identity.CONTAINER_NAME: "main"}
POD: dict[str, Any] = {
    "metadata": {"name": "web", "namespace": "default", "uid": "u1"},
    "spec": {"containers": [{"name": "main"}, {"name": "late"}]},
    "status": {"containerStatuses": [{"name": "late", "state": {"waiting": {"reason": "ImagePullBackOff"}}}]},
}


class ScriptedRuntime:
    """Tells the statuses it is given and hands out the URL of a streaming server."""

    def __init__(self) -> None:
        self.containers: dict[str, ContainerStatus] = {}
        self.url = ""
        self.asked: list[Any] = []

    async def container_status(self, container_id: str) -> ContainerStatus:
        return self.containers[container_id]

    async def list_containers(
        self, *, sandbox_id: str = "", labels: Mapping[str, str] | None = None
    ) -> Sequence[ContainerSummary]:
        return [
            ContainerSummary(c.id, "s1", c.name, c.attempt, c.state, "", c.created_at, c.labels, c.annotations)
            for c in self.containers.values()
        ]

    async def list_sandboxes(self, labels: Mapping[str, str] | None = None) -> Sequence[SandboxSummary]:
        return [SandboxSummary("s1", "web", "default", "u1", 0, True, 1.0, LABELS, {})]

    async def sandbox_status(self, sandbox_id: str) -> SandboxStatus:
        return SandboxStatus("s1", "web", "default", "u1", 0, True, 1.0, (), "", LABELS, {})

    async def exec(
        self, container_id: str, command: Sequence[str], *, tty: bool, stdin: bool, stdout: bool, stderr: bool
    ) -> str:
        self.asked.append((container_id, list(command), tty, stdin, stdout, stderr))
        return self.url

    async def port_forward(self, sandbox_id: str, ports: Sequence[int]) -> str:
        self.asked.append((sandbox_id, list(ports)))
        return self.url


class Node:
    """A kubelet's server and its surroundings."""

    def __init__(self, directory: Path) -> None:
        self.pki = ClusterPKI.ensure(directory / "pki")
        serving = self.pki.issue_kubelet_serving("n1", ["127.0.0.1"])
        certificate, key = directory / "kubelet.crt", directory / "kubelet.key"
        certificate.write_bytes(serving.certificate_pem)
        key.write_bytes(serving.key_pem)
        self.directory = directory
        config = KubeletConfig(
            "n1",
            "127.0.0.1",
            directory / "root",
            directory,
            port=0,
            tls_certificate=certificate,
            tls_key=key,
            client_ca=self.pki.ca_path,
        )
        self.runtime = ScriptedRuntime()
        self.view = RuntimeView(self.runtime, config, SystemClock())  # type: ignore[arg-type]
        self.server = KubeletServer(
            config,
            find_pod=lambda namespace, name: POD if (namespace, name) == ("default", "web") else None,
            list_pods=lambda: [POD],
            view=self.view,
            runtime=self.runtime,  # type: ignore[arg-type]
        )
        self.tls = self.pki.kubelet_client_context()

    async def container(self, id_: str, created: float, state: ContainerState) -> Path:
        path = self.directory / f"{id_}.log"
        self.runtime.containers[id_] = ContainerStatus(
            id_, "main", 0, state, created, created, 0.0, 0, "", "", "", "", "", LABELS, {}, str(path)
        )
        await self.view.refresh_pod("u1")
        return path

    async def exit(self, id_: str) -> None:
        self.runtime.containers[id_] = replace(self.runtime.containers[id_], state=ContainerState.EXITED)
        await self.view.refresh_container(id_)

    def url(self, path: str) -> str:
        return f"https://127.0.0.1:{self.server.port}{path}"

    def client(self, user: str, groups: Sequence[str] = ()) -> ssl.SSLContext:
        pair = self.pki.issue_client(user, groups)
        certificate, key = self.directory / "client.crt", self.directory / "client.key"
        certificate.write_bytes(pair.certificate_pem)
        key.write_bytes(pair.key_pem)
        return client_context(self.pki.ca_path, certificate, key)


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    node = Node(tmp_path)
    await node.server.start()
    yield node
    await node.server.stop()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        yield session


async def get(session: aiohttp.ClientSession, node: Node, path: str) -> tuple[int, str]:
    async with session.get(node.url(path), ssl=node.tls) as answer:
        return answer.status, await answer.text()


async def test_only_the_api_server_and_masters(node: Node, session: aiohttp.ClientSession) -> None:
    assert await get(session, node, "/healthz") == (200, "ok")
    async with session.get(node.url("/pods"), ssl=node.client("root", ["system:masters"])) as answer:
        assert (await answer.json())["items"][0]["metadata"]["name"] == "web"
    async with session.post(
        node.url("/exec/default/web/main?command=id&output=1"), ssl=node.client("system:node:n2", ["system:nodes"])
    ) as answer:
        assert answer.status == 403
        assert await answer.text() == (
            "Forbidden (user=system:node:n2, verb=create, resource=nodes, subresource(s)=[proxy])"
        )
    async with session.get(node.url("/pods"), ssl=client_context(node.pki.ca_path)) as answer:
        assert (answer.status, await answer.text()) == (401, "Unauthorized")


async def test_logs_of_the_newest_and_the_previous(node: Node, session: aiohttp.ClientSession) -> None:
    path = "/containerLogs/default/web/main"
    assert await get(session, node, path) == (
        400,
        'container "main" in pod "web" is waiting to start: ContainerCreating',
    )
    old = await node.container("c1", 1.0, ContainerState.EXITED)
    old.write_bytes(b"2026-01-02T03:04:05Z stdout F before\n")
    assert await get(session, node, path + "?previous=true") == (
        400,
        'previous terminated container "main" in pod "web" not found',
    )
    new = await node.container("c2", 2.0, ContainerState.RUNNING)
    new.write_bytes(b"2026-01-02T03:04:05Z stdout F one\n2026-01-02T03:04:06Z stdout F two\n")
    assert await get(session, node, path + "?previous=true") == (200, "before\n")
    assert await get(session, node, path + "?tailLines=1&timestamps=true") == (
        200,
        "2026-01-02T03:04:06.000000000Z two\n",
    )
    assert await get(session, node, "/containerLogs/default/web/late") == (
        400,
        'container "late" in pod "web" is waiting to start: trying and failing to pull image',
    )
    assert await get(session, node, "/containerLogs/default/web/x") == (404, 'container "x" not found in pod "web"')
    assert await get(session, node, "/containerLogs/default/none/x") == (404, 'pod "none" does not exist')


async def test_follow_ends_with_the_container(node: Node, session: aiohttp.ClientSession) -> None:
    path = await node.container("c1", 1.0, ContainerState.RUNNING)
    path.write_bytes(b"2026-01-02T03:04:05Z stdout F one\n")
    async with session.get(node.url("/containerLogs/default/web/main?follow=true"), ssl=node.tls) as answer:
        assert await answer.content.readline() == b"one\n"
        with path.open("ab", buffering=0) as file:
            file.write(b"2026-01-02T03:04:06Z stdout F two\n")
            assert await answer.content.readline() == b"two\n"
            file.write(b"2026-01-02T03:04:07Z stdout F last\n")
        await node.exit("c1")
        assert await answer.content.read() == b"last\n"
    assert not node.server._followers


async def test_a_follower_that_leaves_is_forgotten(node: Node, session: aiohttp.ClientSession) -> None:
    path = await node.container("c1", 1.0, ContainerState.RUNNING)
    path.write_bytes(b"2026-01-02T03:04:05Z stdout F one\n")
    answer = await session.get(node.url("/containerLogs/default/web/main?follow=true"), ssl=node.tls)
    assert await answer.content.readline() == b"one\n"
    answer.close()
    await until(lambda: not node.server._followers, 5)


async def test_upgrades_are_tunnelled_to_the_runtime(node: Node) -> None:
    heads: list[bytes] = []

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\nhello ")
        writer.write((await reader.readexactly(4)).upper())
        await writer.drain()
        writer.close()

    await node.container("c1", 1.0, ContainerState.RUNNING)
    backend = await asyncio.start_server(stream, "127.0.0.1", 0)
    node.runtime.url = f"http://127.0.0.1:{backend.sockets[0].getsockname()[1]}/exec/token"
    try:
        for target in (
            "/exec/default/web/main?command=sh&command=-c+x&input=1&output=1&error=1&tty=1",
            "/portForward/default/web",
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", node.server.port, ssl=node.tls)
            writer.write(
                f"POST {target} HTTP/1.1\r\nHost: n1\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
                "X-Stream-Protocol-Version: v4.channel.k8s.io\r\nContent-Length: 0\r\n\r\n".encode()
            )
            async with asyncio.timeout(5):
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 101 ")
                writer.write(b"ping")
                assert await reader.read() == b"hello PING"
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
    finally:
        backend.close()
    assert node.runtime.asked == [("c1", ["sh", "-c x"], True, True, True, False), ("s1", [])]
    assert heads[0].startswith(b"POST /exec/token HTTP/1.1\r\n")
    assert b"x-stream-protocol-version: v4.channel.k8s.io" in heads[0].lower()


@pytest.mark.parametrize(
    ("sent", "status", "text"),
    [
        (b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\nno such token", 403, "no such token"),
        (b"", 502, "the connection was closed during the handshake"),
    ],
)
async def test_a_runtime_that_does_not_upgrade(
    node: Node, session: aiohttp.ClientSession, sent: bytes, status: int, text: str
) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(sent)
        writer.close()

    await node.container("c1", 1.0, ContainerState.RUNNING)
    backend = await asyncio.start_server(refuse, "127.0.0.1", 0)
    node.runtime.url = f"http://127.0.0.1:{backend.sockets[0].getsockname()[1]}/exec/token"
    headers = {"Connection": "Upgrade", "Upgrade": "SPDY/3.1"}
    try:
        url = node.url("/exec/default/web/main?command=id&output=1")
        async with session.post(url, ssl=node.tls, headers=headers) as answer:
            assert answer.status == status
            assert text in await answer.text()
    finally:
        backend.close()
