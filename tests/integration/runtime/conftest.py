"""A private containerd in a fresh network namespace, with the test images loaded; gone afterwards."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from pybernetes.kubelet import cni
from pybernetes.kubelet import runtime as rt
from pybernetes.kubelet.containerd import ContainerdConfig, ContainerdSupervisor, remove_all_sandboxes
from pybernetes.kubelet.cri import CRIRuntime

POD_CIDR = "10.243.7.0/24"


@pytest.fixture
def namespace() -> Iterator[str]:
    """The path of a network namespace with its loopback up."""
    name = f"p8s-rt-{uuid.uuid4().hex[:8]}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    path = f"/run/netns/{name}"
    try:
        subprocess.run(["nsenter", f"--net={path}", "ip", "link", "set", "lo", "up"], check=True)
        yield path
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


@pytest.fixture(scope="session")
def busybox_archive(images: list[Path]) -> Path:
    return next(archive for archive in images if archive.name == "busybox.tar")


@pytest.fixture
def containerd_config() -> Iterator[ContainerdConfig]:
    base = Path("/tmp") / f"p8s-rt-{uuid.uuid4().hex[:8]}"
    conf_dir = base / "cni"
    cni.configure(conf_dir, [POD_CIDR], mtu=1500, data_dir=base / "leases")
    yield ContainerdConfig(
        root_dir=base / "root",
        state_dir=base / "run",
        cni_bin_dir=cni.find_plugins(),
        cni_conf_dir=conf_dir,
        registry_dir=base / "registries",
    )
    shutil.rmtree(base)


@pytest.fixture
async def supervisor(namespace: str, containerd_config: ContainerdConfig) -> AsyncIterator[ContainerdSupervisor]:
    made = ContainerdSupervisor(containerd_config, network_namespace=namespace)
    await made.start()
    watching = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await made.stop()


@pytest.fixture
async def runtime(supervisor: ContainerdSupervisor, busybox_archive: Path) -> AsyncIterator[CRIRuntime]:
    await supervisor.import_image(busybox_archive)
    made = CRIRuntime(str(supervisor.socket_path))
    yield made
    await made.close()


@dataclass
class Pods:
    """Makes sandboxes and containers with little said."""

    runtime: CRIRuntime
    directory: Path
    cgroup: str
    configs: dict[str, rt.SandboxConfig] = field(default_factory=dict)

    async def sandbox(self, name: str = "pod", **changes: object) -> str:
        config = rt.SandboxConfig(
            name=name,
            uid=uuid.uuid4().hex,
            namespace="default",
            attempt=0,
            hostname=name,
            log_directory=str(self.directory / name),
            dns=rt.DNSConfig(servers=["10.96.0.10"], searches=["cluster.local"], options=["ndots:5"]),
            port_mappings=(),
            labels={"io.kubernetes.pod.name": name},
            annotations={},
            cgroup_parent=self.cgroup,
        )
        (self.directory / name).mkdir(parents=True, exist_ok=True)
        config = replace(config, **changes)  # type: ignore[arg-type]
        id_ = await self.runtime.run_sandbox(config)
        self.configs[id_] = config
        return id_

    async def container(self, sandbox: str, command: list[str], *, name: str = "main", **changes: object) -> str:
        config = rt.ContainerConfig(
            name=name,
            attempt=0,
            image="busybox:1",
            image_name="busybox:1",
            command=command,
            args=(),
            working_dir="",
            envs=[("GREETING", "hello")],
            mounts=(),
            devices=(),
            labels={"io.kubernetes.container.name": name},
            annotations={},
            log_path=f"{name}.log",
        )
        return await self.runtime.create_container(
            sandbox,
            replace(config, **changes),
            self.configs[sandbox],  # type: ignore[arg-type]
        )

    def log(self, sandbox: str, name: str = "main") -> str:
        return (Path(self.configs[sandbox].log_directory) / f"{name}.log").read_text()


@pytest.fixture
async def pods(runtime: CRIRuntime, tmp_path: Path) -> AsyncIterator[Pods]:
    cgroup = f"/p8s-rt-{uuid.uuid4().hex[:8]}"
    yield Pods(runtime, tmp_path, cgroup)
    await remove_all_sandboxes(runtime)
    # runc makes the parent in each hierarchy and leaves it.
    for mount_point in (Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").iterdir()):
        directory = mount_point / cgroup[1:]
        if directory.is_dir():
            directory.rmdir()
