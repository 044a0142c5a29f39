"""Probes of every kind against real containers."""

from __future__ import annotations

from typing import Any

import pytest

from pybernetes.api.meta import Object, uid_of
from tests.integration.kubelet.conftest import Machine
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

SERVE = "mkdir -p /www; echo ok > /www/up; exec httpd -f -p 8080 -h /www"


def probe(kind: str, **fields: Any) -> Object:
    return {f"{kind}Probe": {"periodSeconds": 1, "failureThreshold": 1, **fields}}


def get(path: str, **fields: Any) -> Object:
    return {"httpGet": {"path": path, "port": 8080, **fields}}


async def test_readiness_decides_and_never_restarts(machine: Machine) -> None:
    pod = await machine.pod("ready", {"script": SERVE, **probe("readiness", **get("/up"))})
    status = await machine.running("ready")
    await machine.exec("ready", "mv", "/www/up", "/www/down")
    await machine.until(lambda: machine.conditions("ready")["Ready"] == ("False", "ContainersNotReady"))
    message = next(c["message"] for c in machine.status("ready")["conditions"] if c["type"] == "Ready")
    assert message == "containers with unready status: [main]"
    # On a busy machine the first probe may have come before the server listened, and is told too.
    told = "Readiness probe failed: HTTP probe failed with statuscode: 404"
    await machine.until(lambda: told in machine.events("ready", "Unhealthy"))
    await machine.exec("ready", "mv", "/www/down", "/www/up")
    await machine.running("ready")
    assert machine.container("ready")["restartCount"] == 0
    assert machine.status("ready")["podIP"] == status["podIP"]
    assert uid_of(machine.get_pod("ready")) == uid_of(pod)


async def test_liveness_restarts_the_container_and_nothing_else(machine: Machine) -> None:
    await machine.pod("alive", {"script": SERVE, **probe("liveness", **get("/up"))}, {"name": "other"})
    status = await machine.running("alive")
    other = machine.container("alive", "other")
    await machine.exec("alive", "rm", "/www/up")
    await machine.until(lambda: machine.container("alive")["restartCount"] == 1)
    await machine.running("alive")
    assert machine.container("alive", "other") == other
    assert machine.status("alive")["podIP"] == status["podIP"]
    assert machine.container("alive")["lastState"]["terminated"]["exitCode"] == 137
    await machine.until(lambda: machine.events("alive", "Killing"))
    assert machine.events("alive", "Killing") == ["Container main failed liveness probe, will be restarted"]


async def test_a_refused_connection_is_told_as_go_tells_it(machine: Machine) -> None:
    await machine.pod("refused", {**probe("readiness", **get("/x"))}, restartPolicy="Never")
    await machine.until(lambda: machine.events("refused", "Unhealthy"))
    ip = machine.status("refused")["podIP"]
    assert machine.events("refused", "Unhealthy") == [
        f'Readiness probe failed: Get "http://{ip}:8080/x": dial tcp {ip}:8080: connect: connection refused'
    ]
    assert machine.status("refused")["phase"] == "Running"


async def test_tcp_probes_connect(machine: Machine) -> None:
    opens = {"tcpSocket": {"port": "web"}}
    await machine.pod(
        "tcp",
        {
            "script": "sleep 1; " + SERVE,
            "ports": [{"name": "web", "containerPort": 8080}],
            **probe("readiness", **opens),
        },
    )
    await machine.running("tcp")
    ip = machine.status("tcp")["podIP"]
    await machine.until(lambda: machine.events("tcp", "Unhealthy"))
    assert machine.events("tcp", "Unhealthy") == [
        f"Readiness probe failed: dial tcp {ip}:8080: connect: connection refused"
    ]


async def test_a_hanging_command_fails_the_probe_and_is_killed(machine: Machine) -> None:
    await machine.pod("hangs", {**probe("readiness", exec={"command": ["sleep", "4321"]})})
    await machine.until(lambda: machine.events("hangs", "Unhealthy"))
    assert machine.events("hangs", "Unhealthy") == [
        'Readiness probe failed: command timed out: "sleep 4321" timed out after 1s'
    ]

    async def killed() -> bool:
        return (await machine.exec("hangs", "ps")).count("sleep 4321") <= 1

    await until(killed)


async def test_a_failing_command_tells_its_output(machine: Machine) -> None:
    command = {"command": ["sh", "-c", "echo not yet; exit 1"]}
    await machine.pod("says", {**probe("readiness", exec=command)})
    await machine.until(lambda: machine.events("says", "Unhealthy"))
    assert machine.events("says", "Unhealthy") == ["Readiness probe failed: not yet\n"]


async def test_startup_comes_first(machine: Machine) -> None:
    await machine.pod(
        "slow",
        {
            "script": "sleep 2; touch /started; sleep 1000",
            **probe("startup", exec={"command": ["test", "-e", "/started"]}, failureThreshold=30),
            **probe("liveness", exec={"command": ["test", "-e", "/started"]}),
        },
    )
    await machine.until(lambda: machine.container("slow").get("state", {}).get("running"))
    assert machine.container("slow")["started"] is False and machine.container("slow")["ready"] is False
    await machine.running("slow")
    assert machine.container("slow")["started"] is True and machine.container("slow")["restartCount"] == 0


async def test_a_failed_startup_restarts(machine: Machine) -> None:
    await machine.pod(
        "nostart",
        {**probe("startup", exec={"command": ["false"]}, terminationGracePeriodSeconds=1)},
        terminationGracePeriodSeconds=60,
    )
    await machine.until(lambda: machine.container("nostart").get("restartCount", 0) == 1)
    assert machine.events("nostart", "Killing")[0] == "Container main failed startup probe, will be restarted"


async def test_a_restarted_kubelet_does_not_unready_pods(machine: Machine) -> None:
    # A probe that cannot fail: with this period a second try would come too late.
    await machine.pod("stays", {**probe("readiness", exec={"command": ["true"]}, periodSeconds=60)})
    await machine.running("stays")
    before = machine.get_pod("stays")["metadata"]["resourceVersion"]
    await machine.stop()
    await machine.start()
    assert machine.kubelet is not None
    probes = machine.kubelet.parts.probes
    await until(lambda: probes.statistics()["probes"])
    assert machine.conditions("stays")["Ready"] == ("True", "")
    assert machine.get_pod("stays")["metadata"]["resourceVersion"] == before
