"""A kubelet on a private containerd, in a network namespace of its own, against a real API server with a memory store.

The test process itself is moved into the namespace, since a kubelet reaches its pods from the node's network.
"""

from __future__ import annotations

import asyncio
import copy
import ctypes
import os
import shutil
import subprocess
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from pybernetes.api import errors
from pybernetes.api.meta import Object, name_of, uid_of
from pybernetes.api.resources import BUILTIN, EVENTS, NODES, PODS, SERVICEACCOUNTS, Resource
from pybernetes.api.user import AUTHENTICATED, NODES_GROUP, SYSTEM_MASTERS, User
from pybernetes.apiserver.pki import ClusterPKI
from pybernetes.apiserver.server import APIServer
from pybernetes.kubelet import cni
from pybernetes.kubelet.config import KubeletConfig
from pybernetes.kubelet.containerd import ContainerdConfig, ContainerdSupervisor, remove_all_sandboxes
from pybernetes.kubelet.cri import CRIRuntime
from pybernetes.kubelet.kubelet import Kubelet
from pybernetes.kubelet.volumes import mounts
from tests.support.apiserver import api_server
from tests.support.waiting import until, until_changed

NODE = "node-1"
NODE_IP = "192.0.2.7"
POD_CIDR = "10.243.8.0/24"
_CLONE_NEWNET = 0x40000000


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """This thread, and what it starts, in a network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(namespace, os.O_RDONLY)
    try:
        assert libc.setns(there, _CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        yield
    finally:
        assert libc.setns(before, _CLONE_NEWNET) == 0
        os.close(there)
        os.close(before)


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    if os.geteuid() != 0:
        pytest.skip("containers need root")
    name = f"p8s-kl-{uuid.uuid4().hex[:8]}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        for command in ("link set lo up", f"addr add {NODE_IP}/32 dev lo"):
            subprocess.run(["ip", "-n", name, *command.split()], check=True)
        with inside(f"/run/netns/{name}"):
            yield f"/run/netns/{name}"
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


@dataclass
class Machine:
    """The cluster of one node, as a test sees it."""

    api: APIServer
    config: KubeletConfig
    runtime: CRIRuntime
    supervisor: ContainerdSupervisor
    kubelet: Kubelet | None = None
    _task: asyncio.Task[None] | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.admin = self.api.client_for(User("kubernetes-admin", "", (SYSTEM_MASTERS, AUTHENTICATED)))
        for resource in BUILTIN:
            self.api.reader.subscribe(resource, lambda old, new: self._changed.set())

    async def start(self) -> Kubelet:
        client = self.api.client_for(User(f"system:node:{NODE}", "", (NODES_GROUP, AUTHENTICATED)))
        self.kubelet = Kubelet(self.config, client, self.runtime, on_pod_cidrs=lambda cidrs: None)
        self._task = asyncio.create_task(self.kubelet.run())
        await self.until(lambda: self.is_ready())
        return self.kubelet

    async def stop(self) -> None:
        """As a kubelet that is killed: containers stay."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = self.kubelet = None

    async def drained(self, seconds: float = 10.0) -> None:
        """Waits until the kubelet has nothing left to do for any pod."""
        kubelet = self.kubelet
        assert kubelet is not None
        await until(lambda: not kubelet.statistics()["pods"], seconds)

    async def drained_of(self, uid: str, seconds: float = 10.0) -> None:
        """Waits until the kubelet has nothing left to do for one pod."""
        kubelet = self.kubelet
        assert kubelet is not None
        await until(lambda: not kubelet.works_on(uid), seconds)

    def is_ready(self) -> bool:
        node = self.api.reader.get(NODES, "", NODE) or {}
        conditions = (node.get("status") or {}).get("conditions") or ()
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    async def until(self, holds: Callable[[], Any], seconds: float = 30.0) -> Any:
        """Waits until it holds, looking after every change of the API's objects; what it returned."""

        def look() -> Any:
            value = holds()
            assert value or self._task is None or not self._task.done(), self._task
            return value

        return await until_changed(self._changed, look, seconds, self.state)

    def state(self) -> str:
        """The pods that are not as they should be, with their events: for the failure of a wait."""
        lines = []
        for pod in self.api.reader.list(PODS):
            name = name_of(pod)
            if self.conditions(name).get("Ready", ("",))[0] != "True":
                lines.append(f"{name}: {pod.get('status')}\n  events: {self.events(name)}")
        return "\n".join(lines)

    def get(self, resource: Resource, name: str, namespace: str = "default") -> Object | None:
        return self.api.reader.get(resource, namespace, name)

    def get_pod(self, name: str) -> Object:
        pod = self.get(PODS, name)
        assert pod is not None, f"there is no pod {name}"
        return pod

    def status(self, name: str) -> Object:
        return (self.get(PODS, name) or {}).get("status") or {}

    def container(self, name: str, container: str = "main", kind: str = "containerStatuses") -> Object:
        found = self.status(name).get(kind) or ()
        return next((c for c in found if c["name"] == container), {})

    def events(self, name: str, reason: str = "") -> list[str]:
        return [
            e["message"]
            for e in self.api.reader.list(EVENTS)
            if e["involvedObject"].get("name") == name and (not reason or e["reason"] == reason)
        ]

    def conditions(self, name: str) -> dict[str, tuple[str, str]]:
        return {c["type"]: (c["status"], c.get("reason", "")) for c in self.status(name).get("conditions") or ()}

    async def create(self, resource: Resource, body: Object, namespace: str = "default") -> Object:
        made = {"apiVersion": resource.api_version, "kind": resource.kind, **copy.deepcopy(body)}
        made.setdefault("metadata", {})
        return await self.admin.create(resource, made, namespace)

    async def pod(self, name: str, *containers: Object, **spec: Any) -> Object:
        """Creates a pod bound to the node. A container that names no command sleeps."""
        body = {
            "metadata": {"name": name, **spec.pop("metadata", {})},
            "spec": {
                "nodeName": NODE,
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 1,
                "containers": [container(**c) for c in (containers or ({},))],
                **spec,
            },
        }
        return await self.create(PODS, body)

    async def running(self, name: str) -> Object:
        await self.until(lambda: self.conditions(name).get("Ready", ("",))[0] == "True")
        return self.status(name)

    async def delete(self, name: str, *, wait: bool = True, grace: int | None = None) -> None:
        pod = self.get(PODS, name)
        try:
            await self.admin.delete(PODS, name, "default", grace_period_seconds=grace)
        except errors.NotFound:
            return
        if wait and pod is not None:
            await self.until(lambda: uid_of(self.get(PODS, name) or {}) != uid_of(pod))

    async def exec(self, name: str, *command: str, container: str = "main") -> str:
        """What a command in the container printed."""
        id_ = self.container(name, container)["containerID"].partition("//")[2]
        result = await self.runtime.exec_sync(id_, command, 10.0)
        assert result.exit_code == 0, result
        return result.stdout.decode()

    def log(self, name: str, container: str = "main", number: int = 0) -> str:
        """A container's log without the runtime's headers."""
        pod = self.get(PODS, name)
        assert pod is not None
        directory = self.config.log_directory / f"default_{name}_{uid_of(pod)}" / container
        return "\n".join(line.split(" ", 3)[3] for line in (directory / f"{number}.log").read_text().splitlines())

    async def logged(self, name: str, text: str, container: str = "main", number: int = 0) -> None:
        """Waits until a container's log is this."""
        await until(lambda: self.log(name, container, number) == text, message=f"the log of {name} is {text!r}")


def container(script: str = "", **fields: Any) -> Object:
    """A busybox container named ``main``, that sleeps or runs a shell script."""
    command = ["/sbin/init", "--", "sleep", "1000"] if not script else ["sh", "-c", script]
    return {"name": "main", "image": "busybox:1", "command": command, **fields}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def machine(
    namespace: str, images: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Machine]:
    base = Path("/tmp") / f"p8s-kl-{uuid.uuid4().hex[:8]}"
    cni.configure(base / "cni", [POD_CIDR], mtu=1500, data_dir=base / "leases")
    supervisor = ContainerdSupervisor(
        ContainerdConfig(
            root_dir=base / "root",
            state_dir=base / "run",
            cni_bin_dir=cni.find_plugins(),
            cni_conf_dir=base / "cni",
            registry_dir=base / "registries",
        ),
        network_namespace=namespace,
    )
    await supervisor.start()
    watching = asyncio.create_task(supervisor.run())
    for archive in images:
        if archive.name in ("busybox.tar", "web.tar"):
            await supervisor.import_image(archive)
    runtime = CRIRuntime(str(supervisor.socket_path))
    pki = ClusterPKI.ensure(tmp_path_factory.mktemp("pki"), advertise_addresses=["127.0.0.1"])
    serving = AsyncExitStack()
    api = await serving.enter_async_context(api_server(pki, tune_garbage_collection=False))
    config = KubeletConfig(
        NODE,
        NODE_IP,
        base / "kubelet",
        base / "logs",
        cgroup_root=f"/{base.name}",
        cluster_dns=("10.96.0.10",),
        restart_backoff_initial_seconds=1.0,
        image_backoff_initial_seconds=1.0,
    )
    made = Machine(api, config, runtime, supervisor)
    await made.create(SERVICEACCOUNTS, {"metadata": {"name": "default"}})
    try:
        kubelet = await made.start()
        yield made
        if made.kubelet is None:
            kubelet = await made.start()
        kubelet = made.kubelet or kubelet
        for pod in api.reader.list(PODS):
            await made.delete(name_of(pod), wait=False, grace=1)
        await made.until(lambda: not api.reader.list(PODS))
        await made.drained()
        await made.stop()
        assert not list((base / "kubelet" / "pods").iterdir()), "pods left directories behind"
        assert not mounts.mount_points(base / "kubelet")
        await kubelet.parts.cgroups.remove_all()
    finally:
        await made.stop()
        await remove_all_sandboxes(runtime)
        await runtime.close()
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await supervisor.stop()
        await serving.aclose()
        for hierarchy in (Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").iterdir()):
            for step in sorted((hierarchy / base.name).rglob("*"), reverse=True):
                if step.is_dir():
                    step.rmdir()
            if (hierarchy / base.name).is_dir():
                (hierarchy / base.name).rmdir()
        mounts.unmount_below(base)
        shutil.rmtree(base)
