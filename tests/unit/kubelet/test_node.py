"""The node manager against a real API server, as the user that a kubelet is; only the runtime is made up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from pybernetes.api.meta import Object, get_condition
from pybernetes.api.resources import BUILTIN, LEASES, NODES, Resource
from pybernetes.api.time import parse_time
from pybernetes.api.user import AUTHENTICATED, NODES_GROUP, SYSTEM_MASTERS, User
from pybernetes.apiserver.pki import ClusterPKI
from pybernetes.apiserver.server import APIServer
from pybernetes.client.events import EventRecorder
from pybernetes.kubelet import nodestatus
from pybernetes.kubelet.config import KubeletConfig
from pybernetes.kubelet.machine import read_machine
from pybernetes.kubelet.node import NodeManager
from pybernetes.kubelet.parts import NodeFacts
from pybernetes.kubelet.runtime import ContainerRuntime, ImageStatus, RuntimeCondition, RuntimeFailure, RuntimeVersion
from pybernetes.lib.clock import SystemClock
from tests.support.apiserver import api_server
from tests.support.waiting import until_changed

NAME = "node-1"
NO_NETWORK = RuntimeCondition(
    "NetworkReady", False, "NetworkPluginNotReady", "Network plugin returns error: cni plugin not initialized"
)
NO_NETWORK_TEXT = (
    "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady "
    "message:Network plugin returns error: cni plugin not initialized"
)


@dataclass
class Runtime:
    """The three questions that a node manager asks."""

    network: bool = False
    down: bool = False
    images: list[ImageStatus] = field(default_factory=list)
    asked: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def version(self) -> RuntimeVersion:
        return RuntimeVersion("containerd", "1.6.20", "v1")

    async def conditions(self) -> Sequence[RuntimeCondition]:
        self.asked += 1
        self.changed.set()
        if self.down:
            raise RuntimeFailure("no connection")
        network = RuntimeCondition("NetworkReady", True, "", "") if self.network else NO_NETWORK
        return [RuntimeCondition("RuntimeReady", True, "", ""), network]

    async def list_images(self) -> Sequence[ImageStatus]:
        return self.images


def image(number: int, size: int) -> ImageStatus:
    return ImageStatus(f"sha256:{number}", [f"r/i:{number}"], [f"r/i@sha256:{number}"], size, None, "")


class Cluster:
    def __init__(self, api: APIServer, config: KubeletConfig) -> None:
        self.api = api
        self.config = config
        self.admin = api.client_for(User("kubernetes-admin", "", (SYSTEM_MASTERS, AUTHENTICATED)))
        self.kubelet = api.client_for(User(f"system:node:{NAME}", "", (NODES_GROUP, AUTHENTICATED)))
        self.runtime = Runtime()
        self.told: list[list[str]] = []
        self.network_after_cidrs = True
        self._changed = self.runtime.changed
        for resource in BUILTIN:
            api.reader.subscribe(resource, lambda old, new: self._changed.set())

    def _on_pod_cidrs(self, cidrs: Sequence[str]) -> None:
        self.told.append(list(cidrs))
        self.runtime.network |= self.network_after_cidrs

    @asynccontextmanager
    async def manager(self, **changes: Any) -> AsyncIterator[NodeManager]:
        clock = SystemClock()
        recorder = EventRecorder(self.kubelet, "kubelet", host=NAME)
        made = NodeManager(
            replace(self.config, **changes),
            self.kubelet,
            cast(ContainerRuntime, self.runtime),
            recorder,
            clock,
            on_pod_cidrs=self._on_pod_cidrs,
        )
        task = asyncio.create_task(made.run())
        try:
            yield made
            assert not task.done(), task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def get(self, resource: Resource, name: str = NAME) -> Object | None:
        return self.api.reader.get(resource, "kube-node-lease" if resource is LEASES else "", name)

    def ready(self) -> Object:
        return get_condition(self.get(NODES) or {}, "Ready") or {}

    async def until(self, holds: Callable[[], Any], seconds: float = 8.0) -> Any:
        return await until_changed(self._changed, holds, seconds, lambda: self.get(NODES))


@pytest.fixture
async def cluster(pki: ClusterPKI, tmp_path: Path) -> AsyncIterator[Cluster]:
    async with api_server(pki, tune_garbage_collection=False) as api:
        yield Cluster(api, KubeletConfig(NAME, "192.0.2.7", tmp_path / "kubelet", tmp_path / "logs"))


async def test_a_node_registers_as_not_ready_without_a_network(cluster: Cluster) -> None:
    taint = {"key": "dedicated", "value": "x", "effect": "NoExecute"}
    async with cluster.manager(labels={"zone": "a"}, taints=(taint,)) as manager:
        node = await cluster.until(lambda: cluster.get(NODES))
        facts: NodeFacts = manager
        assert facts.network_problem == NO_NETWORK_TEXT
    machine = read_machine(cluster.config.root_directory)
    assert node["metadata"]["labels"] == {
        "kubernetes.io/hostname": NAME,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": machine.architecture,
        "beta.kubernetes.io/os": "linux",
        "beta.kubernetes.io/arch": machine.architecture,
        "zone": "a",
    }
    assert node["spec"]["taints"] == [taint, {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]
    status = node["status"]
    assert status["addresses"] == [
        {"type": "InternalIP", "address": "192.0.2.7"},
        {"type": "Hostname", "address": NAME},
    ]
    assert status["capacity"]["cpu"] == str(machine.cpus)
    assert status["capacity"]["pods"] == "110"
    assert status["daemonEndpoints"] == {"kubeletEndpoint": {"Port": 10250}}
    assert status["nodeInfo"]["containerRuntimeVersion"] == "containerd://1.6.20"
    assert status["nodeInfo"]["kubeletVersion"] == "v1.37.0+p8s"
    conditions = {c["type"]: (c["status"], c["reason"], c["message"]) for c in status["conditions"]}
    assert conditions == {
        "MemoryPressure": ("False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        "DiskPressure": ("False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        "PIDPressure": ("False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        "Ready": ("False", "KubeletNotReady", NO_NETWORK_TEXT),
    }
    assert all(c["lastHeartbeatTime"] and c["lastTransitionTime"] for c in status["conditions"])


async def test_pod_ranges_bring_the_network_and_readiness(cluster: Cluster) -> None:
    said: list[bool] = []
    async with cluster.manager() as manager:
        manager.on_ready(lambda: said.append(True))
        await cluster.until(lambda: cluster.get(NODES))
        assert not said
        spec = {"podCIDR": "10.244.3.0/24", "podCIDRs": ["10.244.3.0/24"]}
        await cluster.admin.patch(NODES, NAME, {"spec": spec})
        ready = await cluster.until(lambda: cluster.ready().get("status") == "True" and cluster.ready())
        assert (ready["reason"], ready["message"]) == ("KubeletReady", "kubelet is posting ready status")
        assert cluster.told == [["10.244.3.0/24"]]
        assert said == [True]
        assert manager.network_problem == ""
        later: list[bool] = []
        manager.on_ready(lambda: later.append(True))
        assert later == [True]


async def test_the_network_may_come_after_the_ranges(cluster: Cluster) -> None:
    cluster.network_after_cidrs = False
    async with cluster.manager():
        await cluster.until(lambda: cluster.get(NODES))
        await cluster.admin.patch(NODES, NAME, {"spec": {"podCIDRs": ["10.244.3.0/24"]}})
        await cluster.until(lambda: cluster.get(NODES)["spec"].get("podCIDR"))  # type: ignore[index]
        cluster.runtime.network = True
        await cluster.until(lambda: cluster.ready().get("status") == "True")


async def test_an_existing_node_is_reconciled_and_unchanged_status_is_not_written(cluster: Cluster) -> None:
    cluster.runtime.network = True
    mine = {"metadata": {"name": NAME, "labels": {"kubernetes.io/os": "plan9", "theirs": "kept"}}}
    await cluster.admin.create(NODES, {"apiVersion": "v1", "kind": "Node", **mine})
    async with cluster.manager() as manager:
        await cluster.until(lambda: cluster.ready().get("status") == "True")
        node = cluster.get(NODES)
        assert node is not None
        assert node["metadata"]["labels"]["kubernetes.io/os"] == "linux"
        assert node["metadata"]["labels"]["theirs"] == "kept"
        # A change by somebody else makes it look again, and it finds nothing to write.
        asked = cluster.runtime.asked
        await cluster.admin.patch(NODES, NAME, {"metadata": {"labels": {"more": "x"}}})
        await cluster.until(lambda: cluster.runtime.asked >= asked + 1)
        version = (await cluster.admin.get(NODES, NAME))["metadata"]["resourceVersion"]
        manager.poke()
        await cluster.until(lambda: cluster.runtime.asked >= asked + 3)
        assert (await cluster.admin.get(NODES, NAME))["metadata"]["resourceVersion"] == version


async def test_unchanged_status_is_written_when_it_is_due(cluster: Cluster) -> None:
    cluster.runtime.network = True
    async with cluster.manager(status_report_seconds=0.3):
        node = await cluster.until(lambda: cluster.get(NODES))
        first = node["metadata"]["resourceVersion"]
        await cluster.until(lambda: cluster.get(NODES)["metadata"]["resourceVersion"] != first)  # type: ignore[index]


async def test_a_deleted_node_registers_again_with_a_lease_of_its_own(cluster: Cluster) -> None:
    async with cluster.manager(lease_duration_seconds=1):
        node = await cluster.until(lambda: cluster.get(NODES))
        lease = await cluster.until(lambda: cluster.get(LEASES))
        assert lease["spec"]["holderIdentity"] == NAME
        assert lease["spec"]["leaseDurationSeconds"] == 1
        owner = {"apiVersion": "v1", "kind": "Node", "name": NAME, "uid": node["metadata"]["uid"]}
        assert lease["metadata"]["ownerReferences"] == [owner]

        await cluster.admin.delete(NODES, NAME)

        def again() -> Object | None:
            fresh = cluster.get(NODES)
            return fresh if fresh and fresh["metadata"]["uid"] != node["metadata"]["uid"] else None

        uid = (await cluster.until(again))["metadata"]["uid"]

        def owned() -> bool:
            lease = cluster.get(LEASES) or {}
            return bool(lease["metadata"]["ownerReferences"][0]["uid"] == uid)

        await cluster.until(owned)


async def test_the_lease_is_renewed_whatever_others_do_to_it(cluster: Cluster) -> None:
    async with cluster.manager(lease_duration_seconds=1):
        lease = await cluster.until(lambda: cluster.get(LEASES))

        def renewed_after(time: str) -> bool:
            found = cluster.get(LEASES)
            return found is not None and parse_time(found["spec"]["renewTime"]) > parse_time(time)

        await cluster.admin.patch(LEASES, NAME, {"metadata": {"labels": {"a": "b"}}}, "kube-node-lease")
        await cluster.until(lambda: renewed_after(lease["spec"]["renewTime"]))
        time = (cluster.get(LEASES) or {})["spec"]["renewTime"]
        await cluster.admin.delete(LEASES, NAME, "kube-node-lease")
        await cluster.until(lambda: renewed_after(time))


async def test_a_runtime_that_is_down_makes_the_node_not_ready(cluster: Cluster) -> None:
    cluster.runtime.network = True
    async with cluster.manager() as manager:
        await cluster.until(lambda: cluster.ready().get("status") == "True")
        cluster.runtime.down = True
        manager.poke()
        await cluster.until(lambda: cluster.ready().get("message") == "container runtime is down: no connection")
        cluster.runtime.down = False
        await cluster.until(lambda: cluster.ready().get("status") == "True")


async def test_a_status_overwritten_by_others_is_put_right(cluster: Cluster) -> None:
    cluster.runtime.network = True
    async with cluster.manager():
        await cluster.until(lambda: cluster.ready().get("status") == "True")
        unknown = {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}
        await cluster.admin.patch(NODES, NAME, {"status": {"conditions": [unknown]}}, subresource="status")
        await cluster.until(lambda: cluster.ready().get("status") == "True")


async def test_images_follow_a_poke(cluster: Cluster) -> None:
    cluster.runtime.images = [image(1, 10)]
    async with cluster.manager() as manager:
        node = await cluster.until(lambda: cluster.get(NODES))
        assert node["status"]["images"] == [{"names": ["r/i@sha256:1", "r/i:1"], "sizeBytes": 10}]
        cluster.runtime.images = [image(n, n) for n in range(60)]
        manager.poke()
        await cluster.until(lambda: len(cluster.get(NODES)["status"]["images"]) == 50)  # type: ignore[index]
    assert [i["sizeBytes"] for i in (cluster.get(NODES) or {})["status"]["images"]] == list(range(59, 9, -1))


def test_a_transition_keeps_its_time_until_the_next(tmp_path: Path) -> None:
    config = KubeletConfig(NAME, "192.0.2.7", tmp_path, tmp_path)
    machine = read_machine(tmp_path)

    def made(problem: str, old: Object, now: float) -> Object:
        return nodestatus.status(config, machine, None, (), problem, old, now)

    first = made("no network", {}, 1000.0)
    second = made("no network", first, 2000.0)
    assert not nodestatus.differs(second, first)
    assert (get_condition({"status": second}, "Ready") or {})["lastTransitionTime"] == "1970-01-01T00:16:40Z"
    third = made("", second, 3000.0)
    assert nodestatus.differs(third, second)
    assert (get_condition({"status": third}, "Ready") or {})["lastTransitionTime"] == "1970-01-01T00:50:00Z"
    assert (get_condition({"status": third}, "DiskPressure") or {})["lastTransitionTime"] == "1970-01-01T00:16:40Z"
