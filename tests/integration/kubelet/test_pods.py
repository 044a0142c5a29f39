"""Pods' lives on a real runtime: start, restart, end."""

from __future__ import annotations

import pytest

from pybernetes.api.meta import uid_of
from pybernetes.api.resources import PODS
from tests.integration.kubelet.conftest import Machine

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_pod_runs_and_is_deleted(machine: Machine) -> None:
    pod = await machine.pod("simple")
    status = await machine.running("simple")
    assert status["phase"] == "Running"
    assert status["podIP"].startswith("10.243.8.")
    assert status["hostIP"] == "192.0.2.7"
    assert status["qosClass"] == "BestEffort"
    main = machine.container("simple")
    assert main["ready"] and main["started"] and main["restartCount"] == 0
    assert main["containerID"].startswith("containerd://")
    assert machine.conditions("simple") == {
        "PodReadyToStartContainers": ("True", ""),
        "Initialized": ("True", ""),
        "Ready": ("True", ""),
        "ContainersReady": ("True", ""),
        "PodScheduled": ("True", ""),
    }
    assert await machine.exec("simple", "hostname") == "simple\n"
    await machine.until(lambda: machine.events("simple", "Started"))
    assert machine.events("simple", "Created") == ["Container created"]
    assert machine.events("simple", "Started") == ["Container started"]
    assert machine.events("simple", "Pulled") == [
        'Container image "busybox:1" already present on machine and can be accessed by the pod'
    ]
    await machine.delete("simple")
    await machine.until(lambda: machine.events("simple", "Killing") == ["Stopping container main"])
    uid = uid_of(pod)
    assert machine.kubelet is not None
    assert not machine.kubelet.parts.view.pod(uid).running()
