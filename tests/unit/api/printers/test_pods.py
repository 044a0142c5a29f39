"""The STATUS, READY and RESTARTS columns of pods."""

from __future__ import annotations

from typing import Any

import pytest

from pybernetes.api import resources as r
from pybernetes.api.meta import Object
from pybernetes.api.printers import cells, table
from pybernetes.api.time import format_time

NOW = 1_800_000_000.0


def pod(status: Object, *, init: int = 0, sidecars: int = 0, containers: int = 1, **meta: Any) -> Object:
    inits = [{"name": f"i{n}"} for n in range(init)]
    inits += [{"name": f"s{n}", "restartPolicy": "Always"} for n in range(sidecars)]
    return {
        "metadata": {"name": "web", "creationTimestamp": format_time(NOW - 303), **meta},
        "spec": {"containers": [{"name": f"c{n}"} for n in range(containers)], "initContainers": inits},
        "status": status,
    }


def running(name: str = "c0", *, ready: bool = True, restarts: int = 0, **more: Any) -> Object:
    return {"name": name, "ready": ready, "restartCount": restarts, "state": {"running": {}}, **more}


def waiting(reason: str, name: str = "c0") -> Object:
    return {"name": name, "ready": False, "restartCount": 0, "state": {"waiting": {"reason": reason}}}


def ended(code: int = 0, reason: str = "", name: str = "c0", signal: int = 0) -> Object:
    terminated: Object = {"exitCode": code}
    if reason:
        terminated["reason"] = reason
    if signal:
        terminated["signal"] = signal
    return {"name": name, "ready": False, "restartCount": 0, "state": {"terminated": terminated}}


READY = {"conditions": [{"type": "Ready", "status": "True"}]}
INITIALIZED = {"conditions": [{"type": "Initialized", "status": "True"}]}


@pytest.mark.parametrize(
    ("obj", "ready", "status", "restarts"),
    [
        (pod({"phase": "Pending"}), "0/1", "Pending", "0"),
        (
            pod({"phase": "Pending", "containerStatuses": [waiting("ContainerCreating")]}),
            "0/1", "ContainerCreating", "0",
        ),
        (pod({"phase": "Running", "containerStatuses": [running()]}), "1/1", "Running", "0"),
        (pod({"phase": "Running", "containerStatuses": [running(ready=False)]}), "0/1", "Running", "0"),
        (
            pod({"phase": "Running", "containerStatuses": [running(), running("c1")]}, containers=2),
            "2/2", "Running", "0",
        ),
        (
            pod({"phase": "Running", "containerStatuses": [waiting("CrashLoopBackOff")]}),
            "0/1", "CrashLoopBackOff", "0",
        ),
        (pod({"phase": "Pending", "containerStatuses": [waiting("ImagePullBackOff")]}), "0/1", "ImagePullBackOff", "0"),
        (pod({"phase": "Succeeded", "containerStatuses": [ended(0, "Completed")]}), "0/1", "Completed", "0"),
        (pod({"phase": "Failed", "containerStatuses": [ended(1, "Error")]}), "0/1", "Error", "0"),
        (pod({"phase": "Failed", "containerStatuses": [ended(3)]}), "0/1", "ExitCode:3", "0"),
        (pod({"phase": "Failed", "containerStatuses": [ended(137, signal=9)]}), "0/1", "Signal:9", "0"),
        (pod({"phase": "Failed", "reason": "Evicted"}), "0/1", "Evicted", "0"),
        (
            pod({"phase": "Pending", "initContainerStatuses": [{"name": "i0", "state": {"running": {}}}]}, init=2),
            "0/1", "Init:0/2", "0",
        ),
        (
            pod({"phase": "Pending", "initContainerStatuses": [
                ended(0, "Completed", "i0"), waiting("PodInitializing", "i1")
            ]}, init=2),
            "0/1", "Init:1/2", "0",
        ),
        (
            pod({"phase": "Pending", "initContainerStatuses": [waiting("ImagePullBackOff", "i0")]}, init=1),
            "0/1", "Init:ImagePullBackOff", "0",
        ),
        (
            pod({"phase": "Pending", "initContainerStatuses": [ended(1, "Error", "i0")]}, init=1),
            "0/1", "Init:Error", "0",
        ),
        (
            pod({"phase": "Pending", "initContainerStatuses": [ended(2, "", "i0")]}, init=1),
            "0/1", "Init:ExitCode:2", "0",
        ),
        (
            pod({"phase": "Pending", "initContainerStatuses": [ended(0, "Completed", "i0")],
                 "containerStatuses": [waiting("PodInitializing")]}, init=1),
            "0/1", "PodInitializing", "0",
        ),
        (
            pod({**INITIALIZED, "phase": "Running", "initContainerStatuses": [running("s0", started=True)],
                 "containerStatuses": [running()]}, sidecars=1),
            "2/2", "Running", "0",
        ),
        (
            pod({"phase": "Pending", "conditions": [
                {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}
            ]}),
            "0/1", "SchedulingGated", "0",
        ),
        (
            pod({"phase": "Running", "containerStatuses": [running()]}, deletionTimestamp=format_time(NOW)),
            "1/1", "Terminating", "0",
        ),
        (
            pod({"phase": "Succeeded", "containerStatuses": [ended(0, "Completed")]},
                deletionTimestamp=format_time(NOW)),
            "0/1", "Completed", "0",
        ),
        (
            pod({"phase": "Running", "reason": "NodeLost"}, deletionTimestamp=format_time(NOW)),
            "0/1", "Unknown", "0",
        ),
        (
            pod({**READY, "phase": "Running", "containerStatuses": [ended(0, "Completed"), running("c1")]},
                containers=2),
            "1/2", "Running", "0",
        ),
        (
            pod({"phase": "Running", "containerStatuses": [ended(0, "Completed"), running("c1")]}, containers=2),
            "1/2", "NotReady", "0",
        ),
        (
            pod({"phase": "Running", "containerStatuses": [running(
                restarts=3, lastState={"terminated": {"finishedAt": format_time(NOW - 300)}}
            )]}),
            "1/1", "Running", "3 (5m ago)",
        ),
        (pod({"phase": "Running", "containerStatuses": [running(restarts=2)]}), "1/1", "Running", "2"),
    ],
)  # fmt: skip
def test_status(obj: Object, ready: str, status: str, restarts: str) -> None:
    assert cells(r.PODS, obj, NOW)[:5] == ["web", ready, status, restarts, "5m3s"]


def test_wide_columns() -> None:
    obj = pod({"phase": "Running", "podIPs": [{"ip": "10.1.0.5"}], "conditions": [{"type": "x/y", "status": "True"}]})
    obj["spec"].update(nodeName="n1", readinessGates=[{"conditionType": "x/y"}, {"conditionType": "z/w"}])
    assert cells(r.PODS, obj, NOW)[5:] == ["10.1.0.5", "n1", "<none>", "1/2"]


def test_finished_pods_are_marked_for_clients_that_hide_them() -> None:
    (row,) = table(r.PODS, [pod({"phase": "Succeeded"})], NOW)["rows"]
    assert row["conditions"] == [
        {
            "type": "Completed",
            "status": "True",
            "reason": "Succeeded",
            "message": "The pod has completed successfully.",
        }
    ]
