"""Day 1, probes: run by the node's agent, against each container."""

from __future__ import annotations

from typing import Any

from tests.day1.test_services import endpoints
from tests.support.cluster import Cluster, container, hostname_server, is_ready, pod, service, sleeper
from tests.support.waiting import eventually

QUICK = {"periodSeconds": 1, "failureThreshold": 1}


def statuses(pods: dict[str, Any], name: str = "p") -> dict[str, Any]:
    return {s["name"]: s for s in pods.get(name, {}).get("status", {}).get("containerStatuses") or ()}


def messages(cluster: Cluster, ns: str, name: str, reason: str) -> list[str]:
    events = cluster.items("events", ns)
    return [e["message"] for e in events if e["reason"] == reason and e["involvedObject"]["name"] == name]


def test_d32_liveness_restarts_the_container_not_the_pod(cluster: Cluster, ns: str) -> None:
    """Liveness restarts the container, not the pod."""
    probe = {"exec": {"command": ["sh", "-c", "test ! -e /tmp/ill"]}, **QUICK}
    cluster.apply(pod("p", sleeper("weak", livenessProbe=probe), sleeper("other")), namespace=ns)
    cluster.wait(ns, "pod/p", "Ready")
    before = cluster.get("pod", "p", ns)
    cluster.exec(ns, "p", "touch", "/tmp/ill", container="weak")
    cluster.watch_until(
        cluster.core.list_namespaced_pod,
        lambda pods: statuses(pods)["weak"]["restartCount"] == 1 and statuses(pods)["weak"]["ready"],
        ns,
    )
    after = cluster.get("pod", "p", ns)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["status"]["podIP"] == before["status"]["podIP"]
    other = {p: statuses({"p": o})["other"] for p, o in (("before", before), ("after", after))}
    assert other["after"]["containerID"] == other["before"]["containerID"] and other["after"]["restartCount"] == 0
    assert any("Liveness probe failed" in m for m in messages(cluster, ns, "p", "Unhealthy"))
    assert "Container weak failed liveness probe, will be restarted" in messages(cluster, ns, "p", "Killing")


def test_d33_readiness_decides_traffic_and_never_restarts(cluster: Cluster, ns: str) -> None:
    """Readiness decides traffic and never restarts."""
    probe = {"exec": {"command": ["sh", "-c", "test ! -e /tmp/busy"]}, **QUICK}
    cluster.apply(
        pod("p", hostname_server(readinessProbe=probe), labels={"app": "web"}), service("web", 8080), namespace=ns
    )
    cluster.wait(ns, "pod/p", "Ready")
    address = cluster.get("pod", "p", ns)["status"]["podIP"]
    eventually(lambda: endpoints(cluster, ns, "web") == {address})
    cluster.exec(ns, "p", "touch", "/tmp/busy")
    cluster.wait(ns, "pod/p", "condition=Ready=false")
    eventually(lambda: endpoints(cluster, ns, "web") == set())
    cluster.exec(ns, "p", "rm", "/tmp/busy")
    cluster.wait(ns, "pod/p", "Ready")
    eventually(lambda: endpoints(cluster, ns, "web") == {address})
    assert statuses({"p": cluster.get("pod", "p", ns)})["server"]["restartCount"] == 0


def test_d34_http_tcp_exec_and_grpc(cluster: Cluster, ns: str) -> None:
    """The node's agent runs the probes."""
    page = container("main", "sh", "-c", "mkdir /www; echo ok > /www/ok; exec httpd -f -p 8080 -h /www")
    etcd = {
        "name": "main",
        "image": "etcd:1",
        "command": ["etcd", "--data-dir=/data", "--listen-client-urls=http://0.0.0.0:2379"],
        "args": ["--advertise-client-urls=http://127.0.0.1:2379"],
    }
    good: dict[str, Any] = {
        "http": {**page, "readinessProbe": {"httpGet": {"path": "/ok", "port": 8080}, **QUICK}},
        "tcp": hostname_server(readinessProbe={"tcpSocket": {"port": 8080}, **QUICK}),
        "exec": sleeper(readinessProbe={"exec": {"command": ["true"]}, **QUICK}),
        "grpc": {**etcd, "readinessProbe": {"grpc": {"port": 2379}, **QUICK}},
    }
    bad: dict[str, Any] = {
        "http-bad": {**page, "readinessProbe": {"httpGet": {"path": "/none", "port": 8080}, **QUICK}},
        "tcp-bad": hostname_server(readinessProbe={"tcpSocket": {"port": 8081}, **QUICK}),
        "exec-bad": sleeper(readinessProbe={"exec": {"command": ["false"]}, **QUICK}),
        "grpc-bad": hostname_server(readinessProbe={"grpc": {"port": 8080}, **QUICK}),
    }
    cluster.apply(*(pod(n, c) for n, c in (good | bad).items()), namespace=ns)
    for name in good:
        cluster.wait(ns, f"pod/{name}", "Ready")
    expected = {
        "http-bad": "Readiness probe failed: HTTP probe failed with statuscode: 404",
        "tcp-bad": "connect: connection refused",
        "exec-bad": "Readiness probe failed: ",
        "grpc-bad": "Readiness probe failed: ",
    }
    for name, text in expected.items():
        eventually(lambda n=name, t=text: any(t in m for m in messages(cluster, ns, n, "Unhealthy")), message=name)
        assert not is_ready(cluster.get("pod", name, ns))


def test_d34_thresholds_startup_and_hanging_probes(cluster: Cluster, ns: str) -> None:
    """The node's agent runs the probes."""
    counted = "echo >> /tmp/runs; test $(wc -l < /tmp/runs) -ge 3"
    started = sleeper(
        startupProbe={"exec": {"command": ["sh", "-c", counted]}, "periodSeconds": 1, "failureThreshold": 30},
        # It would kill at once, but it is not asked before the start-up probe has succeeded.
        livenessProbe={"exec": {"command": ["sh", "-c", "test $(wc -l < /tmp/runs) -ge 3"]}, **QUICK},
    )
    hanging = sleeper(
        livenessProbe={"exec": {"command": ["sleep", "600"]}, "timeoutSeconds": 1, **QUICK},
    )
    twice = sleeper(
        readinessProbe={
            "exec": {"command": ["sh", "-c", "echo >> /tmp/runs"]},
            "periodSeconds": 1,
            "successThreshold": 3,
        }
    )
    cluster.apply(pod("started", started), pod("hanging", hanging), pod("twice", twice), namespace=ns)
    cluster.wait(ns, "pod/started", "Ready")
    assert statuses({"p": cluster.get("pod", "started", ns)})["main"]["restartCount"] == 0
    cluster.wait(ns, "pod/twice", "Ready")
    assert len(cluster.exec(ns, "twice", "cat", "/tmp/runs").splitlines()) >= 3
    cluster.watch_until(
        cluster.core.list_namespaced_pod,
        lambda pods: statuses(pods, "hanging")["main"]["restartCount"] >= 1,
        ns,
    )
    assert any("timed out" in m or "timeout" in m for m in messages(cluster, ns, "hanging", "Unhealthy"))
