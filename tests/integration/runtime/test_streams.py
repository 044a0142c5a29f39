"""Exec, port-forward and logs through the kubelet's server, with a real containerd behind it."""

from __future__ import annotations

import asyncio
import ctypes
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from pybernetes.apiserver.pki import ClusterPKI
from pybernetes.kubelet import identity
from pybernetes.kubelet.config import KubeletConfig
from pybernetes.kubelet.cri import CRIRuntime
from pybernetes.kubelet.observed import RuntimeView
from pybernetes.kubelet.server import KubeletServer
from pybernetes.lib.clock import SystemClock
from tests.integration.runtime.conftest import Pods

_CLONE_NEWNET = 0x40000000
POD: dict[str, Any] = {
    "metadata": {"name": "pod", "namespace": "default", "uid": uuid.uuid4().hex},
    "spec": {"containers": [{"name": "main"}]},
}
LABELS = {
    identity.POD_UID: POD["metadata"]["uid"],
    identity.POD_NAME: "pod",
    identity.POD_NAMESPACE: "default",
    identity.CONTAINER_NAME: "main",
}


@pytest.fixture
def inside(namespace: str) -> Iterator[None]:
    """This thread's new sockets belong to the node's network, as a kubelet's do."""
    with open("/proc/self/ns/net", "rb") as before, open(namespace, "rb") as there:
        _setns(there.fileno())
        try:
            yield
        finally:
            _setns(before.fileno())


def _setns(file: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(file, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


@pytest.fixture
async def server(runtime: CRIRuntime, inside: None, tmp_path: Path) -> AsyncIterator[tuple[KubeletServer, ClusterPKI]]:
    pki = ClusterPKI.ensure(tmp_path / "pki")
    pair = pki.issue_kubelet_serving("n1", ["127.0.0.1"])
    certificate, key = tmp_path / "kubelet.crt", tmp_path / "kubelet.key"
    certificate.write_bytes(pair.certificate_pem)
    key.write_bytes(pair.key_pem)
    config = KubeletConfig(
        "n1", "127.0.0.1", tmp_path / "root", tmp_path, port=0,
        tls_certificate=certificate, tls_key=key, client_ca=pki.ca_path,
    )  # fmt: skip
    view = RuntimeView(runtime, config, SystemClock())
    watching = asyncio.create_task(view.run())
    made = KubeletServer(
        config, find_pod=lambda namespace, name: POD, list_pods=lambda: [POD], view=view, runtime=runtime
    )
    await made.start()
    await view.synced.wait()
    yield made, pki
    await made.stop()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_streams_through_the_kubelet(
    pods: Pods, runtime: CRIRuntime, server: tuple[KubeletServer, ClusterPKI]
) -> None:
    kubelet, pki = server
    uid = POD["metadata"]["uid"]
    sandbox = await pods.sandbox(uid=uid, labels=LABELS)
    command = ["sh", "-c", "echo up; nc -l -p 8080 -e cat; printf half; sleep 0.1; echo way; exit 0"]
    await runtime.start_container(await pods.container(sandbox, command, labels=LABELS))
    await kubelet._view.refresh_pod(uid)
    base, tls = f"https://127.0.0.1:{kubelet.port}", pki.kubelet_client_context()
    async with aiohttp.ClientSession() as session, asyncio.timeout(30):
        log = await session.get(base + "/containerLogs/default/pod/main?follow=true", ssl=tls)
        assert await log.content.readline() == b"up\n"

        got: dict[int, bytes] = {}
        url = (
            base
            + "/exec/default/pod/main?command=sh&command=-c&command=read+x;+echo+$x;+exit+3&input=1&output=1&error=1"
        )
        async with session.ws_connect(url, ssl=tls, protocols=("v4.channel.k8s.io",)) as socket:
            await socket.send_bytes(b"\x00over and out\n")
            async for message in socket:
                got[message.data[0]] = got.get(message.data[0], b"") + message.data[1:]
        assert got[1] == b"over and out\n"
        assert json.loads(got[3])["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]

        url = base + "/portForward/default/pod?port=8080"
        async with session.ws_connect(url, ssl=tls, protocols=("v4.channel.k8s.io",)) as socket:
            await socket.send_bytes(b"\x00echo")
            data = b""
            while not data.endswith(b"echo"):
                message = await socket.receive()
                assert message.type is aiohttp.WSMsgType.BINARY
                data += message.data[1:] if message.data[0] == 0 else b""

        # Its one connection over, the container ends, and the log with it.
        assert await log.content.read() == b"halfway\n"
