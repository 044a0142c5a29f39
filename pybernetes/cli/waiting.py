"""Talking to a local cluster's API server as its administrator: one client, and waiting for what it tells."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import ssl
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from pybernetes.api import errors
from pybernetes.api.resources import NODES
from pybernetes.client.https import HTTPSClient
from pybernetes.client.informer import Informer
from pybernetes.cluster.credentials import pki_directory
from pybernetes.cluster.errors import NotReadyInTime
from pybernetes.cluster.layout import ClusterSpec, Layout

T = TypeVar("T")


def run_interruptible(work: Coroutine[Any, Any, T]) -> T:
    """As ``asyncio.run``, but Ctrl-C meets either the work, which is cancelled, or the caller as KeyboardInterrupt,
    and never a half-made or half-closed event loop, which would complain on stderr."""

    async def unblocked() -> T:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        try:
            return await work
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})

    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with asyncio.Runner() as runner:
            return runner.run(unblocked())
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def admin_client(layout: Layout, spec: ClusterSpec) -> HTTPSClient:
    """A client with the administrator's certificate, through the host's loopback."""
    directory = pki_directory(layout)
    context = ssl.create_default_context(cafile=str(directory / "ca.crt"))
    context.load_cert_chain(directory / "admin.crt", directory / "admin.key")
    return HTTPSClient(f"https://127.0.0.1:{spec.api_port}", context, user_agent="p8s")


def is_ready(node: dict[str, Any]) -> bool:
    conditions = node.get("status", {}).get("conditions") or ()
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


async def wait_for_nodes(layout: Layout, spec: ClusterSpec, *, timeout_seconds: float) -> None:
    """Returns when every node is Ready, as a watch tells, and its kubelet answers (a node whose agent died a moment
    ago is Ready still). Raises `NotReadyInTime`, which names those that are not."""
    deadline = time.monotonic() + timeout_seconds
    wanted = set(spec.node_names)
    async with admin_client(layout, spec) as client:
        nodes = Informer(client, NODES)
        done = asyncio.Event()

        def look(_old: Any, _new: Any) -> None:
            if wanted <= {n["metadata"]["name"] for n in nodes.cache if is_ready(n)}:
                done.set()

        nodes.add_handler(look)
        following = asyncio.create_task(nodes.run())
        try:
            await asyncio.wait_for(done.wait(), timeout_seconds)
            await asyncio.gather(*(_kubelet_answers(client, name, deadline) for name in sorted(wanted)))
        except TimeoutError:
            waiting = sorted(wanted - {n["metadata"]["name"] for n in nodes.cache if is_ready(n)})
            raise NotReadyInTime(
                f"not Ready after {timeout_seconds:.0f} seconds: {', '.join(waiting)}",
                hint=f"p8s logs{'' if layout.name == 'default' else f' --name {layout.name}'} {waiting[0]}"
                " may say why; what runs keeps running",
            ) from None
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


async def _kubelet_answers(client: HTTPSClient, node: str, deadline: float) -> None:
    """Asks until it does: nothing tells when a kubelet begins to serve. Raises `NotReadyInTime`."""
    pause = 0.02
    while True:
        try:
            await client.request("GET", f"/api/v1/nodes/{node}/proxy/pods")
            return
        except errors.ApiError as error:
            if time.monotonic() > deadline:
                raise NotReadyInTime(f"the kubelet of {node} does not answer: {error.message}") from None
        await asyncio.sleep(pause)
        pause = min(pause * 2, 0.5)


async def wait_for_server(layout: Layout, spec: ClusterSpec, *, timeout_seconds: float) -> None:
    """For a server that was started by somebody else, whose readiness was told to them: asks until it answers."""
    deadline = time.monotonic() + timeout_seconds
    async with admin_client(layout, spec) as client:
        pause = 0.02
        while True:
            with contextlib.suppress(errors.TransportError, errors.ServiceUnavailable):
                await client.list(NODES, limit=1)
                return
            if time.monotonic() > deadline:
                raise NotReadyInTime(f"the API server does not answer after {timeout_seconds:.0f} seconds")
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.5)
