"""containerd's supervisor: restarts, adoption, errors; a registry to pull from; odd archives."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from pybernetes.kubelet import runtime as rt
from pybernetes.kubelet.containerd import (
    ContainerdConfig,
    ContainerdError,
    ContainerdSupervisor,
    import_image,
    remove_all_sandboxes,
    write_registry_host,
)
from pybernetes.kubelet.cri import CRIRuntime
from tests.integration.runtime.conftest import Pods
from tests.integration.runtime.test_containers import FOREVER, listening
from tests.support.waiting import until


async def test_containers_survive_containerd(supervisor: ContainerdSupervisor, runtime: CRIRuntime, pods: Pods) -> None:
    sandbox = await pods.sandbox()
    lasting = await pods.container(sandbox, FOREVER, name="lasting")
    ending = await pods.container(sandbox, ["sh", "-c", "until test -e /end; do usleep 20000; done"], name="ending")
    await runtime.start_container(lasting)
    await runtime.start_container(ending)
    pid = await runtime.container_pid(lasting)
    async with listening(runtime) as events:
        before = supervisor.pid
        ends = Path(f"/proc/{await runtime.container_pid(ending)}/root/end")
        os.kill(before, signal.SIGKILL)
        # This one ends while nobody looks: the RESYNC after the break must cover it.
        ends.touch()
        resync = rt.RuntimeEvent(rt.EventKind.RESYNC, "")
        await events.until(lambda seen: seen.count(resync) >= 2)
        assert supervisor.pid not in (0, before)
        assert await runtime.container_pid(lasting) == pid
        assert (await runtime.container_status(lasting)).state is rt.ContainerState.RUNNING
        await events.until(lambda seen: rt.RuntimeEvent(rt.EventKind.STOPPED, ending) in seen[seen.index(resync) :])
        assert (await runtime.container_status(ending)).state is rt.ContainerState.EXITED


async def test_a_later_supervisor_adopts(namespace: str, containerd_config: ContainerdConfig) -> None:
    first = ContainerdSupervisor(containerd_config, network_namespace=namespace)
    await first.start()
    pid = first.pid
    second = ContainerdSupervisor(containerd_config, network_namespace=namespace)
    with pytest.raises(ContainerdError, match="another supervisor owns"):
        await second.start()
    first.detach()
    await second.start()
    assert second.pid == pid
    # An adopted process is watched like a child.
    watching = asyncio.create_task(second.run())
    os.kill(pid, signal.SIGKILL)
    await until(lambda: second.restarts and second.pid, 30)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    pid = second.pid
    second.detach()
    # With another configuration it is not what we would have started.
    third = ContainerdSupervisor(replace(containerd_config, log_level="info"), network_namespace=namespace)
    await third.start()
    assert third.pid not in (0, pid)
    await third.stop()
    # Gone, but for its entry, which its first parent (this process) has no more interest in.
    assert not Path(f"/proc/{pid}/cmdline").read_bytes()
    assert not containerd_config.socket_path.exists()


async def test_what_keeps_it_from_starting_is_told(namespace: str, containerd_config: ContainerdConfig) -> None:
    broken = ContainerdSupervisor(replace(containerd_config, log_level="loud"), network_namespace=namespace)
    with pytest.raises(ContainerdError, match="loud"):
        await broken.start()
    assert broken.pid == 0
    with pytest.raises(ContainerdError, match="not installed"):
        await ContainerdSupervisor(containerd_config, program="no-such-containerd").start()


async def test_odd_archives(
    supervisor: ContainerdSupervisor, runtime: CRIRuntime, busybox_archive: Path, tmp_path: Path
) -> None:
    (tmp_path / "not.tar").write_bytes(b"x" * 2000)
    with pytest.raises(ContainerdError, match="not an image archive"):
        await supervisor.import_image(tmp_path / "not.tar")
    assert await supervisor.import_image(busybox_archive, ["again:2"]) == [
        "docker.io/library/busybox:1",
        "docker.io/library/again:2",
    ]
    assert await runtime.image_status("again:2") is not None

    def rewritten(name: str, annotations: dict[str, str]) -> Path:
        """The archive as other tools name images."""
        target = tmp_path / name
        with tarfile.open(busybox_archive) as old, tarfile.open(target, "w") as new:
            for member in old:
                content = old.extractfile(member)
                assert content is not None
                if member.name == "index.json":
                    index = json.load(content)
                    index["manifests"][0]["annotations"] = annotations
                    data = tmp_path / "index.json"
                    data.write_text(json.dumps(index))
                    new.add(data, "index.json")
                else:
                    new.addfile(member, content)
        return target

    by_ref_name = rewritten("ref.tar", {"org.opencontainers.image.ref.name": "other/tool:3"})
    assert await supervisor.import_image(by_ref_name) == ["docker.io/other/tool:3"]
    nameless = rewritten("nameless.tar", {"org.opencontainers.image.ref.name": "latest"})
    with pytest.raises(ContainerdError, match="names no image"):
        await import_image(supervisor.socket_path, nameless)
    assert await import_image(supervisor.socket_path, nameless, names=["given:4"]) == ["docker.io/library/given:4"]
    assert not [tag for image in await runtime.list_images() for tag in image.tags if "import-" in tag]


async def test_pulling_from_a_registry(
    namespace: str, containerd_config: ContainerdConfig, supervisor: ContainerdSupervisor, runtime: CRIRuntime,
    tmp_path: Path,
) -> None:  # fmt: skip
    (tmp_path / "registry.yml").write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {tmp_path}}}}}\nhttp: {{addr: '127.0.0.1:5000'}}\n"
    )
    enter = ["nsenter", f"--net={namespace}"]
    registry = subprocess.Popen(
        [*enter, "docker-registry", "serve", tmp_path / "registry.yml"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert registry.stderr is not None
        await asyncio.to_thread(lambda: next(line for line in registry.stderr if b"listening on" in line))  # type: ignore[union-attr]
        ctr = ["ctr", "--address", str(supervisor.socket_path), "--namespace", "k8s.io", "images"]
        pushed = subprocess.run(
            [*enter, *ctr, "push", "--plain-http", "127.0.0.1:5000/team/busybox:1", "docker.io/library/busybox:1"],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert pushed.returncode == 0, pushed.stderr
        with pytest.raises(rt.RuntimeFailure) as failure:
            await runtime.pull_image("mirrored.example/team/absent:1")
        assert "mirrored.example/team/absent:1" in str(failure.value)
        # A mirror for a name, over plain HTTP, taken up without a restart.
        write_registry_host(
            containerd_config.registry_dir, "mirrored.example", endpoints=["http://127.0.0.1:5000"],
            server="http://127.0.0.1:5000",
        )  # fmt: skip
        with pytest.raises(rt.RuntimeFailure, match="not found"):
            await runtime.pull_image("mirrored.example/team/absent:1")
        image = await runtime.pull_image("mirrored.example/team/busybox:1")
        status = await runtime.image_status("mirrored.example/team/busybox:1")
        assert status is not None and status.id == image
        assert any(digest.startswith("mirrored.example/team/busybox@sha256:") for digest in status.digests)
    finally:
        registry.terminate()
        await asyncio.to_thread(registry.communicate)


async def test_a_node_is_emptied_at_once(runtime: CRIRuntime, pods: Pods) -> None:
    for name in ("a", "b", "c"):
        sandbox = await pods.sandbox(name)
        await runtime.start_container(await pods.container(sandbox, ["sleep", "3600"], name=name))
    await remove_all_sandboxes(runtime)
    assert not await runtime.list_sandboxes()
    assert not await runtime.list_containers()


async def test_containerd_joins_the_cgroup_it_is_given(namespace: str, containerd_config: ContainerdConfig) -> None:
    directory = Path(f"/sys/fs/cgroup/pids/{containerd_config.root_dir.parent.name}")
    if not directory.parent.is_dir():
        directory = Path(f"/sys/fs/cgroup/{directory.name}")
    directory.mkdir()
    supervisor = ContainerdSupervisor(containerd_config, network_namespace=namespace, cgroup_directories=[directory])
    try:
        await supervisor.start()
        assert str(supervisor.pid) in (directory / "cgroup.procs").read_text().split()
        assert os.readlink(f"/proc/{supervisor.pid}/ns/net") == f"net:[{os.stat(namespace).st_ino}]"
    finally:
        await supervisor.stop()
        directory.rmdir()
