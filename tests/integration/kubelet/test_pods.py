"""Pods' lives on a real runtime: start, restart, end."""

from __future__ import annotations

import asyncio

import pytest

from pybernetes.api.meta import clone, uid_of
from pybernetes.api.resources import PODS
from pybernetes.api.time import parse_time
from tests.integration.kubelet.conftest import Machine
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

ALL_WELL = {
    "PodReadyToStartContainers": ("True", ""),
    "Initialized": ("True", ""),
    "Ready": ("True", ""),
    "ContainersReady": ("True", ""),
    "PodScheduled": ("True", ""),
}


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
    assert machine.conditions("simple") == ALL_WELL
    assert await machine.exec("simple", "hostname") == "simple\n"
    await machine.until(lambda: machine.events("simple", "Started"))
    assert machine.events("simple", "Created") == ["Container created"]
    assert machine.events("simple", "Started") == ["Container started"]
    assert machine.events("simple", "Pulled") == [
        'Container image "busybox:1" already present on machine and can be accessed by the pod'
    ]
    await machine.delete("simple")
    await machine.until(lambda: machine.events("simple", "Killing") == ["Stopping container main"])
    assert machine.kubelet is not None
    assert not machine.kubelet.parts.view.pod(uid_of(pod)).running()


async def test_a_pod_that_ends_well_has_succeeded(machine: Machine) -> None:
    script = "echo done; echo -n all is well > /dev/termination-log"
    await machine.pod("ends", {"script": script}, restartPolicy="Never")
    await machine.until(lambda: machine.status("ends").get("phase") == "Succeeded")
    ended = machine.container("ends")["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"], ended["message"]) == (0, "Completed", "all is well")
    assert parse_time(ended["finishedAt"]) >= parse_time(ended["startedAt"])
    assert machine.conditions("ends")["Ready"] == ("False", "PodCompleted")
    assert machine.conditions("ends")["Initialized"] == ("True", "PodCompleted")
    # Its logs stay as long as the object does.
    await machine.logged("ends", "done")


async def test_a_pod_that_fails_has_failed(machine: Machine) -> None:
    await machine.pod(
        "fails",
        {"script": "echo cause; exit 3", "terminationMessagePolicy": "FallbackToLogsOnError"},
        restartPolicy="Never",
    )
    await machine.until(lambda: machine.status("fails").get("phase") == "Failed")
    ended = machine.container("fails")["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"], ended["message"]) == (3, "Error", "cause\n")
    assert machine.conditions("fails")["Ready"] == ("False", "PodFailed")


async def test_a_crashing_container_comes_back_with_a_growing_back_off(machine: Machine) -> None:
    pod = await machine.pod("crashes", {"script": "exit 1"})
    waiting = await machine.until(
        lambda: (
            machine.container("crashes").get("restartCount", 0) >= 2
            and machine.container("crashes")["state"].get("waiting")
        )
    )
    name = f"crashes_default({uid_of(pod)})"
    assert waiting["reason"] == "CrashLoopBackOff"
    assert waiting["message"] == f"back-off 2s restarting failed container=main pod={name}"
    assert machine.container("crashes")["lastState"]["terminated"]["exitCode"] == 1
    assert machine.status("crashes")["phase"] == "Running"
    await machine.until(lambda: machine.events("crashes", "BackOff"))
    assert machine.events("crashes", "BackOff")[0] == f"Back-off restarting failed container main in pod {name}"
    assert machine.conditions("crashes")["Ready"] == ("False", "ContainersNotReady")
    await machine.delete("crashes")


async def test_on_failure_restarts_until_success(machine: Machine) -> None:
    script = "test -e /data/tried && exit 0; touch /data/tried; exit 1"
    await machine.pod(
        "tries",
        {"script": script, "volumeMounts": [{"name": "data", "mountPath": "/data"}]},
        restartPolicy="OnFailure",
        volumes=[{"name": "data", "emptyDir": {}}],
    )
    await machine.until(lambda: machine.status("tries").get("phase") == "Succeeded")
    assert machine.container("tries")["restartCount"] == 1


async def test_init_containers_run_in_order_and_sidecars_stay(machine: Machine) -> None:
    volume = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    side = (
        "echo side >> /data/order; touch /data/up; trap 'echo side ends >> /data/order; exit 0' TERM; "
        "while :; do sleep 0.1; done"
    )
    main = (
        "echo main >> /data/order; cat /data/order; trap 'sleep 0.3; echo main ends >> /data/order; exit 0' TERM; "
        "while :; do sleep 0.1; done"
    )
    await machine.pod(
        "ordered",
        {"script": main, **volume},
        initContainers=[
            {"name": "one", "image": "busybox:1", "command": ["sh", "-c", "echo one >> /data/order"], **volume},
            {
                "name": "side",
                "image": "busybox:1",
                "restartPolicy": "Always",
                "command": ["sh", "-c", side],
                "startupProbe": {"exec": {"command": ["test", "-e", "/data/up"]}, "periodSeconds": 1},
                **volume,
            },
            {"name": "two", "image": "busybox:1", "command": ["sh", "-c", "echo two >> /data/order"], **volume},
        ],
        volumes=[
            {
                "name": "data",
                "hostPath": {
                    "path": f"/tmp/{machine.config.root_directory.parent.name}/order",
                    "type": "DirectoryOrCreate",
                },
            }
        ],
        terminationGracePeriodSeconds=10,
    )
    await machine.running("ordered")
    await machine.logged("ordered", "one\nside\ntwo\nmain")
    assert machine.container("ordered", "side", "initContainerStatuses")["started"] is True
    assert machine.container("ordered", "one", "initContainerStatuses")["state"]["terminated"]["exitCode"] == 0
    await machine.delete("ordered")
    order = (machine.config.root_directory.parent / "order" / "order").read_text().splitlines()
    assert order[-2:] == ["main ends", "side ends"]


async def test_a_failing_init_container_fails_the_pod(machine: Machine) -> None:
    await machine.pod(
        "uninitialized",
        restartPolicy="Never",
        initContainers=[{"name": "one", "image": "busybox:1", "command": ["false"]}],
    )
    await machine.until(lambda: machine.status("uninitialized").get("phase") == "Failed")
    assert machine.container("uninitialized")["state"]["waiting"]["reason"] == "PodInitializing"
    assert machine.container("uninitialized")["restartCount"] == 0


async def test_the_grace_period_is_given_and_can_be_cut(machine: Machine) -> None:
    stubborn = {"script": "trap '' TERM; while :; do sleep 0.1; done"}
    await machine.pod("stubborn", stubborn, terminationGracePeriodSeconds=300)
    await machine.running("stubborn")
    await machine.delete("stubborn", wait=False)
    await machine.until(lambda: machine.events("stubborn", "Killing"))
    assert machine.container("stubborn")["state"].get("running")
    began = asyncio.get_running_loop().time()
    await machine.delete("stubborn", grace=1)
    assert asyncio.get_running_loop().time() - began < 15


async def test_a_pod_deleted_while_it_starts_is_gone(machine: Machine) -> None:
    await machine.pod("short", {"lifecycle": {"postStart": {"exec": {"command": ["sleep", "100"]}}}})
    await machine.until(lambda: machine.events("short", "Started"))
    assert machine.container("short")["state"] == {"waiting": {"reason": "ContainerCreating"}}
    began = asyncio.get_running_loop().time()
    await machine.delete("short")
    assert asyncio.get_running_loop().time() - began < 15


async def test_hooks_run(machine: Machine) -> None:
    out = machine.config.root_directory.parent / "hooks"
    hook = {
        "postStart": {"exec": {"command": ["sh", "-c", "echo started >> /out/hooks"]}},
        "preStop": {"exec": {"command": ["sh", "-c", "echo stopping >> /out/hooks"]}},
    }
    await machine.pod(
        "hooks",
        {"lifecycle": hook, "volumeMounts": [{"name": "out", "mountPath": "/out"}]},
        volumes=[{"name": "out", "hostPath": {"path": str(out), "type": "DirectoryOrCreate"}}],
        terminationGracePeriodSeconds=10,
    )
    await machine.running("hooks")
    await machine.delete("hooks")
    assert (out / "hooks").read_text().split() == ["started", "stopping"]


async def test_a_failing_post_start_hook_ends_the_container(machine: Machine) -> None:
    hook = {"postStart": {"exec": {"command": ["sh", "-c", "echo no; exit 7"]}}}
    await machine.pod("badhook", {"lifecycle": hook}, restartPolicy="Never")
    await machine.until(lambda: machine.events("badhook", "FailedPostStartHook"))
    assert "exited with 7: no" in machine.events("badhook", "FailedPostStartHook")[0]
    await machine.until(lambda: machine.status("badhook").get("phase") == "Failed")


async def test_the_deadline_ends_a_pod(machine: Machine) -> None:
    await machine.pod("late", activeDeadlineSeconds=2)
    status = await machine.until(lambda: machine.status("late").get("phase") == "Failed" and machine.status("late"))
    assert status["reason"] == "DeadlineExceeded"
    assert status["message"] == "Pod was active on the node longer than the specified deadline"
    assert status["containerStatuses"][0]["state"].get("terminated")


async def test_a_missing_image_is_told_and_asked_for_again(machine: Machine) -> None:
    await machine.pod("noimage", {"image": "192.0.2.7:1/nothing:here"})
    await machine.until(
        lambda: machine.container("noimage").get("state", {}).get("waiting", {}).get("reason") == "ErrImagePull"
    )
    waiting = await machine.until(
        lambda: (w := machine.container("noimage")["state"]["waiting"])["reason"] == "ImagePullBackOff" and w
    )
    assert waiting["message"].startswith(
        'Back-off pulling image "192.0.2.7:1/nothing:here": ErrImagePull: failed to pull'
    )
    assert machine.status("noimage")["phase"] == "Pending"
    await machine.until(lambda: len(machine.events("noimage", "BackOff")) >= 1)
    assert machine.events("noimage", "Pulling") == ['Pulling image "192.0.2.7:1/nothing:here"']
    await machine.pod("never", {"image": "nothing:here", "imagePullPolicy": "Never"})
    await machine.until(
        lambda: machine.container("never").get("state", {}).get("waiting", {}).get("reason") == "ErrImageNeverPull"
    )
    await machine.pod("badname", {"image": "Nothing:here"})
    await machine.until(
        lambda: machine.container("badname").get("state", {}).get("waiting", {}).get("reason") == "InvalidImageName"
    )


async def test_a_command_that_is_not_there(machine: Machine) -> None:
    await machine.pod("nocommand", {"command": ["/no/such/thing"]}, restartPolicy="Never")
    await machine.until(lambda: machine.events("nocommand", "Failed"))
    assert "no such file or directory" in machine.events("nocommand", "Failed")[0]
    await machine.until(lambda: machine.status("nocommand").get("phase") == "Failed")
    assert machine.container("nocommand")["state"]["terminated"]["exitCode"] in (127, 128)


async def test_memory_over_the_limit_is_an_oom_kill(machine: Machine) -> None:
    await machine.pod(
        "hungry",
        {"script": "head -c 200m /dev/zero | tail", "resources": {"limits": {"memory": "32Mi", "cpu": "500m"}}},
        restartPolicy="Never",
    )
    await machine.until(lambda: machine.status("hungry").get("phase") == "Failed")
    ended = machine.container("hungry")["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (137, "OOMKilled")
    assert machine.status("hungry")["qosClass"] == "Guaranteed"


async def test_a_changed_image_replaces_the_container(machine: Machine) -> None:
    await machine.pod("changes")
    before = (await machine.running("changes"))["containerStatuses"][0]["containerID"]
    pod = clone(machine.get(PODS, "changes"))
    pod["spec"]["containers"][0]["image"] = "docker.io/library/busybox:1"
    await machine.admin.update(PODS, pod)
    await machine.until(
        lambda: machine.container("changes").get("ready") and machine.container("changes")["containerID"] != before
    )
    assert machine.container("changes")["restartCount"] == 1
    assert machine.events("changes", "Killing") == ["Container main definition changed, will be restarted"]


async def test_a_dead_sandbox_is_replaced(machine: Machine) -> None:
    pod = await machine.pod("resand")
    await machine.running("resand")
    assert machine.kubelet is not None
    sandbox = machine.kubelet.parts.view.pod(uid_of(pod)).sandbox
    assert sandbox is not None
    await machine.runtime.stop_sandbox(sandbox.id)
    await machine.until(lambda: machine.container("resand")["restartCount"] == 1)
    await machine.running("resand")
    after = machine.kubelet.parts.view.pod(uid_of(pod)).sandbox
    assert after is not None and after.id != sandbox.id and after.attempt == 1
    await machine.until(
        lambda: machine.events("resand", "SandboxChanged") == ["Pod sandbox changed, it will be killed and re-created."]
    )


async def test_an_adopted_pod_keeps_running(machine: Machine) -> None:
    await machine.pod("adopted", {"script": "echo $$; exec sleep 1000"})
    await machine.pod("leaves")
    before = (await machine.running("adopted"))["containerStatuses"]
    await machine.running("leaves")
    leaving = machine.get(PODS, "leaves")
    await machine.stop()
    await machine.admin.delete(PODS, "leaves", "default", grace_period_seconds=0)
    await machine.start()
    assert machine.kubelet is not None
    view = machine.kubelet.parts.view
    await until(lambda: not view.pod(uid_of(leaving or {})).running(), 15)
    assert machine.status("adopted")["containerStatuses"] == before
    assert machine.conditions("adopted") == ALL_WELL
    await machine.drained_of(uid_of(leaving or {}))


async def test_an_ephemeral_container_joins(machine: Machine) -> None:
    await machine.pod("debugged")
    await machine.running("debugged")
    pod = clone(machine.get(PODS, "debugged"))
    pod["spec"]["ephemeralContainers"] = [
        {
            "name": "debugger",
            "image": "busybox:1",
            "command": ["sh", "-c", "ps; sleep 1000"],
            "targetContainerName": "main",
        }
    ]
    await machine.admin.update(PODS, pod, subresource="ephemeralcontainers")
    await machine.until(
        lambda: machine.container("debugged", "debugger", "ephemeralContainerStatuses").get("state", {}).get("running")
    )


async def test_cgroups_hold_the_limits(machine: Machine) -> None:
    resources = {"limits": {"memory": "64Mi", "cpu": "250m"}, "requests": {"cpu": "100m"}}
    pod = await machine.pod("limited", {"resources": resources})
    await machine.running("limited")
    assert machine.kubelet is not None
    path = machine.kubelet.parts.cgroups.path(pod).lstrip("/")
    assert path.endswith(f"kubepods/burstable/pod{uid_of(pod)}")
    mount = machine.config.cgroup_mount
    if (mount / "cpu").is_dir():
        assert (mount / "memory" / path / "memory.limit_in_bytes").read_text().strip() == str(64 << 20)
        assert (mount / "cpu" / path / "cpu.cfs_quota_us").read_text().strip() == "25000"
        assert (mount / "cpu" / path / "cpu.shares").read_text().strip() == "102"
    else:
        assert (mount / path / "memory.max").read_text().strip() == str(64 << 20)
        assert (mount / path / "cpu.max").read_text().split()[0] == "25000"
    await machine.delete("limited")
    await machine.drained_of(uid_of(pod))
    assert not (mount / "cpu" / path).exists() and not (mount / path).exists()
