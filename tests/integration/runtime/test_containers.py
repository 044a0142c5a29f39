"""Real pods through CRI: `CRIRuntime` on a private containerd."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager

import pytest

from pybernetes.kubelet import runtime as rt
from pybernetes.kubelet.cri import CRIRuntime
from tests.integration.runtime.conftest import Pods

FOREVER = ["/sbin/init", "--", "sleep", "3600"]


class Events:
    """Collects a runtime's events and waits for them."""

    def __init__(self) -> None:
        self.seen: list[rt.RuntimeEvent] = []
        self._changed = asyncio.Condition()

    async def collect(self, runtime: CRIRuntime) -> None:
        async with aclosing(runtime.events()) as events:  # type: ignore[type-var]
            async for event in events:
                async with self._changed:
                    self.seen.append(event)
                    self._changed.notify_all()

    async def until(self, condition: Callable[[list[rt.RuntimeEvent]], bool], seconds: float = 30.0) -> None:
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(lambda: condition(self.seen))

    async def of(self, kind: rt.EventKind, id_: str = "") -> None:
        await self.until(lambda seen: rt.RuntimeEvent(kind, id_) in seen)


@asynccontextmanager
async def listening(runtime: CRIRuntime) -> AsyncIterator[Events]:
    events = Events()
    task = asyncio.create_task(events.collect(runtime))
    try:
        await events.of(rt.EventKind.RESYNC)
        yield events
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_pod_from_start_to_end(runtime: CRIRuntime, pods: Pods) -> None:
    assert (await runtime.version()).name == "containerd"
    assert {c.type: c.status for c in await runtime.conditions()} == {"RuntimeReady": True, "NetworkReady": True}
    async with listening(runtime) as events:
        sandbox = await pods.sandbox("web-0")
        status = await runtime.sandbox_status(sandbox)
        assert status.ready
        assert status.name == "web-0"
        assert [ip.rpartition(".")[0] for ip in status.ips] == ["10.243.7"]
        assert os.path.exists(status.network_namespace)

        container = await pods.container(sandbox, ["sh", "-c", "echo $GREETING; hostname; exec sleep 3600"])
        assert (await runtime.container_status(container)).state is rt.ContainerState.CREATED
        await runtime.start_container(container)
        running = await runtime.container_status(container)
        assert running.state is rt.ContainerState.RUNNING
        assert running.started_at >= running.created_at > 0
        pid = await runtime.container_pid(container)
        assert os.path.exists(f"/proc/{pid}")

        result = await runtime.exec_sync(container, ["sh", "-c", "echo out; echo err >&2; exit 3"], 10)
        assert (result.exit_code, result.stdout, result.stderr) == (3, b"out\n", b"err\n")
        assert b"nameserver 10.96.0.10" in (await runtime.exec_sync(container, ["cat", "/etc/resolv.conf"], 10)).stdout
        with pytest.raises(rt.RuntimeFailure) as failure:
            await runtime.exec_sync(container, ["sleep", "60"], 1)
        assert failure.value.timed_out

        usage = await runtime.container_usage()
        assert [u.id for u in usage] == [container]
        assert usage[0].memory_usage_bytes > 0

        assert [c.id for c in await runtime.list_containers(sandbox_id=sandbox)] == [container]
        assert not await runtime.list_containers(labels={"io.kubernetes.container.name": "other"})

        await runtime.stop_container(container, 0)
        await events.of(rt.EventKind.STOPPED, container)
        ended = await runtime.container_status(container)
        assert ended.state is rt.ContainerState.EXITED
        assert (ended.exit_code, ended.reason) == (137, "Error")
        assert ended.finished_at >= ended.started_at
        lines = [line.split(" ", 3)[1:] for line in pods.log(sandbox).splitlines()]
        assert lines == [["stdout", "F", "hello"], ["stdout", "F", "web-0"]]

        await runtime.remove_container(container)
        await events.of(rt.EventKind.DELETED, container)
        with pytest.raises(rt.RuntimeFailure) as failure:
            await runtime.container_status(container)
        assert failure.value.not_found
        await runtime.stop_sandbox(sandbox)
        await events.of(rt.EventKind.STOPPED, sandbox)
        assert not (await runtime.sandbox_status(sandbox)).ready
        await runtime.remove_sandbox(sandbox)
        assert not await runtime.list_sandboxes()
        kinds = [event.kind for event in events.seen if event.id == container]
        assert kinds == [
            rt.EventKind.CREATED, rt.EventKind.STARTED, rt.EventKind.STOPPED, rt.EventKind.DELETED,
        ]  # fmt: skip


async def test_a_status_read_right_after_a_stop_event_is_never_stale(runtime: CRIRuntime, pods: Pods) -> None:
    async with listening(runtime) as events:
        sandbox = await pods.sandbox()
        for code in range(8):
            container = await pods.container(sandbox, ["sh", "-c", f"exit {code}"], name=f"c{code}")
            await runtime.start_container(container)
            await events.of(rt.EventKind.STOPPED, container)
            status = await runtime.container_status(container)
            assert status.state is rt.ContainerState.EXITED
            assert status.exit_code == code
            assert status.reason == ("Completed" if code == 0 else "Error")


async def test_out_of_memory(runtime: CRIRuntime, pods: Pods) -> None:
    async with listening(runtime) as events:
        sandbox = await pods.sandbox()
        container = await pods.container(
            sandbox,
            ["sh", "-c", "exec tail /dev/zero"],
            resources=rt.LinuxResources(memory_limit_bytes=16 << 20),
        )
        await runtime.start_container(container)
        await events.of(rt.EventKind.STOPPED, container)
        status = await runtime.container_status(container)
        assert (status.exit_code, status.reason) == (137, "OOMKilled")
        await events.of(rt.EventKind.OOM, container)


async def test_limits_can_be_changed(runtime: CRIRuntime, pods: Pods) -> None:
    sandbox = await pods.sandbox()
    container = await pods.container(sandbox, FOREVER, resources=rt.LinuxResources(memory_limit_bytes=64 << 20))
    await runtime.start_container(container)
    await runtime.update_container_resources(container, rt.LinuxResources(memory_limit_bytes=32 << 20))
    limit = await runtime.exec_sync(
        container, ["sh", "-c", "cat /sys/fs/cgroup/memory/memory.limit_in_bytes || cat /sys/fs/cgroup/memory.max"], 10
    )
    assert int(limit.stdout) == 32 << 20


async def test_pods_reach_each_other(runtime: CRIRuntime, pods: Pods) -> None:
    first, second = await asyncio.gather(pods.sandbox("a"), pods.sandbox("b"))
    server = await pods.container(first, ["/sbin/init", "--", "nc", "-ll", "-p", "7", "-e", "hostname"])
    client = await pods.container(second, FOREVER)
    await runtime.start_container(server)
    await runtime.start_container(client)
    (address,) = (await runtime.sandbox_status(first)).ips
    answer = await runtime.exec_sync(
        client, ["sh", "-c", f"until nc -w 5 {address} 7 </dev/null; do usleep 50000; done"], 30
    )
    assert answer.stdout == b"a\n"


async def test_images(runtime: CRIRuntime) -> None:
    image = await runtime.image_status("busybox:1")
    assert image is not None
    assert list(image.tags) == ["docker.io/library/busybox:1"]
    assert await runtime.image_status("docker.io/library/busybox:1") == image
    assert await runtime.image_status("absent:1") is None
    assert image.id in {i.id for i in await runtime.list_images()}
    await runtime.remove_image("busybox:1")
    assert await runtime.image_status("busybox:1") is None
    await runtime.remove_image("busybox:1")
