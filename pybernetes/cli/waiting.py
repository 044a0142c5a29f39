"""Talking to a local cluster's API server as its administrator: one client, and waiting for what it tells."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import ssl
import time
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from pybernetes.api import errors
from pybernetes.api.resources import NODES
from pybernetes.client.https import HTTPSClient
from pybernetes.client.informer import Informer
from pybernetes.cluster import processes
from pybernetes.cluster.credentials import pki_directory
from pybernetes.cluster.errors import NotReadyInTime, ProcessDied
from pybernetes.cluster.layout import ClusterSpec, Layout
from pybernetes.lib import logs

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
    ago is Ready still). Raises `NotReadyInTime`, which names those that are not, and `ProcessDied` as soon as the
    server or an agent ends."""
    # What the watch has to say while the server is still coming up is no news to whoever waits for it.
    logs.configure("error")
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

        async def serving() -> None:
            await done.wait()
            await asyncio.gather(*(_kubelet_answers(client, name, deadline) for name in sorted(wanted)))

        try:
            async with asyncio.timeout(timeout_seconds):
                await _unless_one_ends(layout, ["server", *spec.node_names], serving())
        except TimeoutError:
            # All are Ready where it was a kubelet that did not answer.
            waiting = sorted(wanted - {n["metadata"]["name"] for n in nodes.cache if is_ready(n)}) or sorted(wanted)
            raise NotReadyInTime(
                f"not Ready after {timeout_seconds:.0f} seconds: {', '.join(waiting)}",
                hint=f"p8s logs{'' if layout.name == 'default' else f' --name {layout.name}'} {waiting[0]}"
                " may say why; what runs keeps running",
            ) from None
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


async def _unless_one_ends(layout: Layout, components: Sequence[str], work: Coroutine[Any, Any, None]) -> None:
    """Does the work, and gives it up with `ProcessDied` when one of the components ends."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[str] = loop.create_future()

    def has_ended(name: str) -> None:
        if not ended.done():
            ended.set_result(name)

    working = asyncio.ensure_future(work)
    with contextlib.ExitStack() as stack:
        for name in components:
            process = processes.read_pid_file(layout.pid_file(name))
            fd = process.open() if process is not None else None
            if fd is None:
                has_ended(name)
                continue
            stack.callback(os.close, fd)
            loop.add_reader(fd, has_ended, name)
            stack.callback(loop.remove_reader, fd)
        try:
            first: set[asyncio.Future[Any]] = {working, ended}
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                log_file = layout.log_file(ended.result())
                raise ProcessDied(ended.result(), str(log_file), processes.tail(log_file))
            working.result()
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)


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
