"""Day 1, networking: Services in front of pods that come and go."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.support.cluster import Cluster, container, hostname_server, pod, service, sleeper, workload
from tests.support.waiting import eventually


def endpoints(cluster: Cluster, ns: str, name: str) -> set[str]:
    """Ready addresses of a Service, by its EndpointSlices."""
    found = set()
    for piece in cluster.items("endpointslices", ns, f"kubernetes.io/service-name={name}"):
        for endpoint in piece.get("endpoints") or ():
            if endpoint["conditions"].get("ready"):
                found.update(endpoint["addresses"])
    return found


def ask(cluster: Cluster, ns: str, client: str, host: str, port: int, times: int = 1) -> list[str]:
    """Answers of so many connections, one after the other, made inside the client pod."""
    script = f"for i in $(seq {times}); do nc -w 5 {host} {port} </dev/null || echo failed; done"
    return cluster.exec(ns, client, "sh", "-c", script, timeout=120).split()


def test_d17_a_service_is_a_stable_address_and_name(cluster: Cluster, ns: str) -> None:
    """A Service is a stable address and a DNS name."""
    cluster.apply(
        workload("Deployment", "web", 2, [hostname_server()]), service("web", 8080), pod("client"), namespace=ns
    )
    cluster.rollout(ns, "deploy/web")
    cluster.wait(ns, "pod/client", "Ready")
    address = cluster.get("service", "web", ns)["spec"]["clusterIP"]
    names = ("web", f"web.{ns}", f"web.{ns}.svc.cluster.local", address)
    before = {p["metadata"]["name"] for p in cluster.items("pods", ns, "app=web")}
    for host in names:
        assert eventually(lambda host=host: ask(cluster, ns, "client", host, 8080))[0] in before
    cluster.kubectl("-n", ns, "delete", "pods", "-l", "app=web")
    cluster.rollout(ns, "deploy/web")
    after = {p["metadata"]["name"] for p in cluster.items("pods", ns, "app=web")}
    assert not before & after
    assert cluster.get("service", "web", ns)["spec"]["clusterIP"] == address
    for host in names:
        assert eventually(lambda host=host: set(ask(cluster, ns, "client", host, 8080)) & after)
    resolved = cluster.exec(ns, "client", "nslookup", f"web.{ns}.svc.cluster.local")
    assert address in resolved


def test_d18_selectors_link_services_to_pods(cluster: Cluster, ns: str) -> None:
    """Selectors link Services to pods."""
    labels = {"app": "web"}
    cluster.apply(
        pod("a", hostname_server(), labels=labels), pod("b", hostname_server(), labels=labels), service("web", 8080),
        namespace=ns,
    )  # fmt: skip
    for name in ("a", "b"):
        cluster.wait(ns, f"pod/{name}", "Ready")
    addresses = {n: cluster.get("pod", n, ns)["status"]["podIP"] for n in ("a", "b")}
    eventually(lambda: endpoints(cluster, ns, "web") == set(addresses.values()))
    cluster.kubectl("-n", ns, "label", "pod", "a", "app=other", "--overwrite")
    eventually(lambda: endpoints(cluster, ns, "web") == {addresses["b"]})
    cluster.kubectl("-n", ns, "label", "pod", "a", "app=web", "--overwrite")
    eventually(lambda: endpoints(cluster, ns, "web") == set(addresses.values()))


def test_d19_layer_4(cluster: Cluster, ns: str) -> None:
    """Layer 4: anything over TCP, and UDP."""
    counter = "read word; echo heard:$word"
    tcp = container("tcp", "nc", "-ll", "-p", "7000", "-e", "sh", "-c", counter)
    udp = {
        "name": "udp",
        "image": "socat:1",
        "command": ["socat", "UDP-LISTEN:7001,fork", "EXEC:cat"],
    }
    ports = [
        {"name": "tcp", "port": 7000, "protocol": "TCP"},
        {"name": "udp", "port": 7001, "protocol": "UDP"},
    ]
    cluster.apply(
        pod("server", tcp, udp, labels={"app": "echo"}),
        pod("client", {"name": "main", "image": "socat:1", "command": ["socat", "PIPE", "TCP-LISTEN:9,fork"]}),
        service("echo", 0, ports=ports),
        namespace=ns,
    )
    for name in ("server", "client"):
        cluster.wait(ns, f"pod/{name}", "Ready")
    for target in ("TCP:echo:7000", "UDP:echo:7001"):
        word = "heard:hello" if target.startswith("TCP") else "hello"

        def answered(target: str = target, word: str = word) -> bool:
            result = cluster.try_kubectl(
                "-n", ns, "exec", "-i", "client", "--", "socat", "-t2", "-T2", "-", target, stdin="hello\n"
            )
            return word in result.stdout

        eventually(answered, message=target)


def test_d20_always_round_robin(cluster: Cluster, ns: str) -> None:
    """Always round robin: 300 connections over 3 pods, 100 each."""
    cluster.apply(
        workload("Deployment", "web", 3, [hostname_server()]), service("web", 8080), pod("client"), namespace=ns
    )
    cluster.rollout(ns, "deploy/web")
    cluster.wait(ns, "pod/client", "Ready")
    eventually(lambda: len(endpoints(cluster, ns, "web")) == 3)
    address = cluster.get("service", "web", ns)["spec"]["clusterIP"]
    # Once all three answer, the node's rules are in place.
    eventually(lambda: len(set(ask(cluster, ns, "client", address, 8080, 3))) == 3)
    counts = Counter(ask(cluster, ns, "client", address, 8080, 300))
    assert sorted(counts.values()) == [100, 100, 100], counts


def test_d22_namespaces_organise_and_can_be_crossed(cluster: Cluster, ns: str) -> None:
    """Namespaces organise, and can be crossed."""
    with cluster.namespace() as other:
        for where in (ns, other):
            cluster.apply(pod("web", hostname_server(), labels={"app": "web"}), service("web", 8080), namespace=where)
        cluster.apply(pod("client"), namespace=ns)
        for where, name in ((ns, "web"), (other, "web"), (ns, "client")):
            cluster.wait(where, f"pod/{name}", "Ready")
        for where in (ns, other):
            eventually(lambda where=where: ask(cluster, ns, "client", f"web.{where}", 8080) == ["web"])
        there = {w: cluster.get("pod", "web", w)["metadata"]["uid"] for w in (ns, other)}
        assert there[ns] != there[other]


def test_d23_deleting_a_namespace_cleans_up_only_that(cluster: Cluster, ns: str) -> None:
    """Deleting a namespace cleans up what is in it, and only that."""
    with cluster.namespace() as doomed:
        kept: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1"}}
        for where in (ns, doomed):
            cluster.apply(workload("Deployment", "d", 1, [sleeper()]), service("d", 80), kept, namespace=where)
            cluster.rollout(where, "deploy/d")
        cluster.kubectl("delete", "ns", doomed, "--timeout=60s")
        assert "NotFound" in cluster.refused("get", "ns", doomed)
        for kind in ("pods", "deployments", "services", "configmaps", "replicasets"):
            assert cluster.items(kind, doomed) == []
        assert cluster.items("deployments", ns)[0]["status"]["readyReplicas"] == 1
        assert cluster.get("configmap", "c", ns)["data"] == {"a": "1"}
        cluster.core.create_namespace({"metadata": {"name": doomed}})
