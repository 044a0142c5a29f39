"""Day 1, pods and their life on a node."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.cluster import Cluster, container, hostname_server, pod, sleeper, workload
from tests.support.waiting import eventually


def test_d07_pod_shares_network(cluster: Cluster, ns: str) -> None:
    """Containers of a pod share one network namespace and IP."""
    cluster.apply(pod("p", hostname_server(8080), sleeper("other")), namespace=ns)
    cluster.wait(ns, "pod/p", "Ready")
    assert cluster.exec(ns, "p", "nc", "127.0.0.1", "8080", container="other").strip() == "p"
    address = cluster.get("pod", "p", ns)["status"]["podIP"]
    for name in ("server", "other"):
        assert f"inet {address}/" in cluster.exec(ns, "p", "ip", "-4", "addr", container=name)


def test_d08_network_conflicts_inside_a_pod(cluster: Cluster, ns: str) -> None:
    """Network conflicts inside a pod are possible."""
    # The second waits until the first listens: otherwise which of them fails is chance.
    late = container("late", "sh", "-c", "until nc -w 1 127.0.0.1 8080; do :; done; exec nc -ll -p 8080 -e hostname")
    cluster.apply(pod("p", hostname_server(8080), late), namespace=ns)

    def failed(pods: dict[str, Any]) -> bool:
        for status in pods["p"]["status"].get("containerStatuses") or ():
            ended = status["state"].get("terminated") or status.get("lastState", {}).get("terminated")
            if status["name"] == "late" and ended:
                return bool(ended["exitCode"] == 1)
        return False

    cluster.watch_until(cluster.core.list_namespaced_pod, failed, ns)
    logs = cluster.kubectl("-n", ns, "logs", "p", "-c", "late")
    logs += cluster.try_kubectl("-n", ns, "logs", "p", "-c", "late", "--previous").stdout
    assert "Address already in use" in logs
    first = cluster.get("pod", "p", ns)["status"]["containerStatuses"]
    assert next(s for s in first if s["name"] == "server")["restartCount"] == 0


def test_d09_bare_pods_stay_deleted(cluster: Cluster, ns: str) -> None:
    """Bare pods stay deleted, managed pods come back."""
    cluster.apply(pod("bare"), workload("ReplicaSet", "kept", 1, [sleeper()]), namespace=ns)
    cluster.wait(ns, "pod/bare", "Ready")
    cluster.wait(ns, "rs/kept", "jsonpath={.status.readyReplicas}=1")
    (managed,) = cluster.items("pods", ns, "app=kept")
    cluster.kubectl("-n", ns, "delete", "pod", "bare", managed["metadata"]["name"], "--wait=true")
    cluster.wait(ns, "rs/kept", "jsonpath={.status.readyReplicas}=1")
    (back,) = [p for p in cluster.items("pods", ns) if "deletionTimestamp" not in p["metadata"]]
    assert back["metadata"]["labels"]["app"] == "kept"
    assert back["metadata"]["uid"] != managed["metadata"]["uid"]


def test_d11_scheduling_uses_requests_only(cluster: Cluster, ns: str) -> None:
    """Requests go to the scheduler, and scheduling uses requests only."""
    node = cluster.items("nodes", ns)[0]
    name, cpus = node["metadata"]["name"], int(node["status"]["allocatable"]["cpu"])
    here = {"nodeSelector": {"kubernetes.io/hostname": name}}
    # It asks for nearly the whole node and does nothing at all.
    full = sleeper(resources={"requests": {"cpu": f"{cpus * 1000 - 50}m"}})
    beyond = sleeper(resources={"limits": {"cpu": str(cpus * 8)}, "requests": {"cpu": "1m"}})
    wants = sleeper(resources={"requests": {"cpu": "100m"}})
    cluster.apply(pod("full", full, **here), namespace=ns)
    cluster.wait(ns, "pod/full", "Ready")
    cluster.apply(pod("beyond", beyond, **here), pod("wants", wants, **here), namespace=ns)
    cluster.wait(ns, "pod/beyond", "Ready")
    cluster.wait(ns, "pod/wants", "condition=PodScheduled=false")
    waiting = cluster.get("pod", "wants", ns)
    assert waiting["status"]["phase"] == "Pending" and "nodeName" not in waiting["spec"]
    events = eventually(lambda: [e for e in cluster.items("events", ns) if e["involvedObject"]["name"] == "wants"])
    assert events[0]["reason"] == "FailedScheduling" and "1 Insufficient cpu" in events[0]["message"]
    # Room made by a deletion is found by itself.
    cluster.kubectl("-n", ns, "delete", "pod", "full")
    cluster.wait(ns, "pod/wants", "Ready")


def test_d16_pod_addresses_are_ephemeral(cluster: Cluster, ns: str) -> None:
    """Pod IPs are ephemeral: a replaced pod has another IP."""
    cluster.apply(workload("Deployment", "d", 1, [sleeper()]), namespace=ns)
    cluster.rollout(ns, "deploy/d")
    (before,) = cluster.items("pods", ns)
    cluster.kubectl("-n", ns, "delete", "pod", before["metadata"]["name"])
    cluster.rollout(ns, "deploy/d")
    (after,) = [p for p in cluster.items("pods", ns) if "deletionTimestamp" not in p["metadata"]]
    assert after["status"]["podIP"] != before["status"]["podIP"]


def test_d35_volumes_belong_to_the_pod(cluster: Cluster, ns: str) -> None:
    """Volumes belong to the pod, mounts to the container."""
    one = sleeper("one", volumeMounts=[{"name": "shared", "mountPath": "/here"}])
    two = sleeper("two", volumeMounts=[{"name": "shared", "mountPath": "/there"}])
    manifest = pod("p", one, two, volumes=[{"name": "shared", "emptyDir": {}}])
    cluster.apply(manifest, namespace=ns)
    cluster.wait(ns, "pod/p", "Ready")
    cluster.exec(ns, "p", "sh", "-c", "echo kept > /here/file", container="one")
    assert cluster.exec(ns, "p", "cat", "/there/file", container="two").strip() == "kept"
    # It survives a container that ends ...
    # The shell goes with the container's first process; whether it can tell of its own end before that is a race.
    cluster.try_kubectl("-n", ns, "exec", "p", "-c", "one", "--", "sh", "-c", "kill -TERM 1")

    def restarted(pods: dict[str, Any]) -> bool:
        statuses = {s["name"]: s for s in pods["p"]["status"]["containerStatuses"]}
        return statuses["one"]["restartCount"] == 1 and bool(statuses["one"]["ready"])

    cluster.watch_until(cluster.core.list_namespaced_pod, restarted, ns)
    assert cluster.exec(ns, "p", "cat", "/here/file", container="one").strip() == "kept"
    # ... and ends with the pod.
    cluster.kubectl("-n", ns, "delete", "pod", "p")
    cluster.apply(manifest, namespace=ns)
    cluster.wait(ns, "pod/p", "Ready")
    assert cluster.exec(ns, "p", "ls", "/here", container="one").strip() == ""


@pytest.mark.parametrize("taint", [True, False], ids=["NoSchedule", "relabelled"])
def test_d12_scheduling_happens_once(cluster: Cluster, ns: str, taint: bool) -> None:
    """Scheduling happens once, at creation."""
    cluster.apply(pod("p", nodeSelector={"kubernetes.io/os": "linux"}), namespace=ns)
    cluster.wait(ns, "pod/p", "Ready")
    before = cluster.get("pod", "p", ns)
    node = before["spec"]["nodeName"]
    try:
        if taint:
            cluster.kubectl("taint", "node", node, "day1=full:NoSchedule")
        else:
            cluster.kubectl("label", "node", node, "kubernetes.io/os=other", "--overwrite")
        # A new pod that the node would take shows that the scheduler has seen the change.
        cluster.apply(
            pod("q", nodeSelector={"kubernetes.io/hostname": node, "kubernetes.io/os": "linux"}), namespace=ns
        )
        cluster.wait(ns, "pod/q", "condition=PodScheduled=false")
        after = cluster.get("pod", "p", ns)
        assert after["spec"]["nodeName"] == node and after["metadata"]["uid"] == before["metadata"]["uid"]
        assert after["status"]["phase"] == "Running"
    finally:
        if taint:
            cluster.kubectl("taint", "node", node, "day1-")
        else:
            cluster.kubectl("label", "node", node, "kubernetes.io/os=linux", "--overwrite")
    refused = cluster.refused("-n", ns, "patch", "pod", "p", "-p", '{"spec":{"nodeName":"elsewhere"}}')
    assert "pod updates may not change fields other than" in refused
