"""Decisions: which node, and why not."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pybernetes.api.pod_resources import pod_requests
from pybernetes.scheduler.decide import NO_NODES, decide
from pybernetes.scheduler.framework import Fit, NoFit
from pybernetes.scheduler.nodes import CPU, NodeTable
from pybernetes.scheduler.plugins.registry import default_profile

NAMESPACE_LABELS = {"default": {"team": "a"}, "other": {"team": "b"}}
PROFILE = default_profile(lambda ns: NAMESPACE_LABELS.get(ns, {}))


def node(name: str, cpu: str = "2", memory: str = "4Gi", pods: str = "110", **extra: Any) -> dict[str, Any]:
    labels = {"kubernetes.io/hostname": name, **extra.pop("labels", {})}
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": extra.pop("spec", {}),
        "status": {"allocatable": {"cpu": cpu, "memory": memory, "pods": pods, **extra}},
    }


def pod(name: str, cpu: str = "", memory: str = "", namespace: str = "default", **spec: Any) -> dict[str, Any]:
    requests = {k: v for k, v in (("cpu", cpu), ("memory", memory)) if v}
    labels = spec.pop("labels", {})
    container = {"name": "c", "image": "busybox:1", "resources": {"requests": requests}, **spec.pop("container", {})}
    return {
        "metadata": {"name": name, "namespace": namespace, "uid": name, "labels": labels},
        "spec": {"containers": [container], **spec},
    }


def table_of(*nodes: dict[str, Any], pods: dict[str, list[dict[str, Any]]] | None = None) -> NodeTable:
    table = NodeTable()
    for n in nodes:
        table.put_node(n)
    for name, there in (pods or {}).items():
        for p in there:
            table.add_pod(p, name)
    return table


def place(p: dict[str, Any], table: NodeTable) -> Fit | NoFit:
    return decide(p, table, PROFILE, random.Random(1))


def chosen(p: dict[str, Any], table: NodeTable) -> str:
    decision = place(p, table)
    assert isinstance(decision, Fit), decision
    return decision.node


def refusal(p: dict[str, Any], table: NodeTable) -> str:
    decision = place(p, table)
    assert isinstance(decision, NoFit), decision
    return decision.message


def test_no_nodes() -> None:
    assert refusal(pod("p"), table_of()) == NO_NODES


def test_requests_decide_and_limits_do_not() -> None:
    table = table_of(node("n", cpu="1"))
    greedy = pod("p", cpu="500m", container={"resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "64"}}})
    assert chosen(greedy, table) == "n"
    table.add_pod(greedy, "n")
    assert refusal(pod("q", cpu="1m"), table) == (
        "0/1 nodes are available: 1 Insufficient cpu. "
        "preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
    )
    assert chosen(pod("r"), table) == "n"
    table.remove_pod("default/p")
    assert chosen(pod("q", cpu="1"), table) == "n"


def test_more_than_any_node_has() -> None:
    message = refusal(pod("p", cpu="3", memory="5Gi"), table_of(node("a"), node("b")))
    assert message == (
        "0/2 nodes are available: 2 Insufficient cpu, 2 Insufficient memory. "
        "preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
    )


def test_pod_count_and_extended_resources() -> None:
    table = table_of(node("a", pods="1"), pods={"a": [pod("x")]})
    assert "1 Too many pods" in refusal(pod("p"), table)
    table = table_of(node("a"), node("b", **{"example.com/gpu": "2"}))
    gpu = pod("g", container={"resources": {"requests": {"example.com/gpu": "1"}}})
    assert chosen(gpu, table) == "b"
    table.add_pod(gpu, "b")
    assert "Insufficient example.com/gpu" in refusal(
        pod("h", container={"resources": {"requests": {"example.com/gpu": "2"}}}), table
    )


def test_node_selector_and_affinity() -> None:
    table = table_of(node("a", labels={"disk": "ssd", "gen": "3"}), node("b", labels={"disk": "hdd", "gen": "5"}))
    assert chosen(pod("p", nodeSelector={"disk": "ssd"}), table) == "a"
    assert "2 node(s) didn't match Pod's node affinity/selector" in refusal(
        pod("p", nodeSelector={"disk": "tape"}), table
    )

    def required(*expressions: dict[str, Any]) -> dict[str, Any]:
        terms = {"nodeSelectorTerms": [{"matchExpressions": list(expressions)}]}
        return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}}

    assert chosen(pod("p", **required({"key": "gen", "operator": "Gt", "values": ["4"]})), table) == "b"
    assert chosen(pod("p", **required({"key": "gen", "operator": "Lt", "values": ["4"]})), table) == "a"
    assert chosen(pod("p", **required({"key": "disk", "operator": "NotIn", "values": ["ssd"]})), table) == "b"
    assert isinstance(place(pod("p", **required({"key": "disk", "operator": "DoesNotExist"})), table), NoFit)
    preferred = [
        {"weight": 100, "preference": {"matchExpressions": [{"key": "gen", "operator": "In", "values": ["5"]}]}}
    ]
    liked = pod("p", affinity={"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}})
    assert chosen(liked, table) == "b"


def test_taints() -> None:
    taint = {"key": "k", "value": "v", "effect": "NoSchedule"}
    table = table_of(node("a", spec={"taints": [taint]}))
    assert "1 node(s) had untolerated taint {k: v}" in refusal(pod("p"), table)
    for toleration in (
        {"key": "k", "operator": "Equal", "value": "v", "effect": "NoSchedule"},
        {"key": "k", "operator": "Exists"},
        {"operator": "Exists"},
    ):
        assert chosen(pod("p", tolerations=[toleration]), table) == "a"
    wrong = {"key": "k", "operator": "Equal", "value": "w", "effect": "NoSchedule"}
    assert isinstance(place(pod("p", tolerations=[wrong]), table), NoFit)
    soft = table_of(node("a", spec={"taints": [{"key": "k", "effect": "PreferNoSchedule"}]}), node("b"))
    assert {chosen(pod(f"p{i}"), soft) for i in range(5)} == {"b"}


def test_cordoned() -> None:
    table = table_of(node("a", spec={"unschedulable": True}), node("b"))
    assert chosen(pod("p"), table) == "b"
    assert "1 node(s) were unschedulable" in refusal(pod("p"), table_of(node("a", spec={"unschedulable": True})))


def test_host_ports() -> None:
    def with_port(name: str, ip: str = "") -> dict[str, Any]:
        port = {"containerPort": 80, "hostPort": 8080, "protocol": "TCP", **({"hostIP": ip} if ip else {})}
        return pod(name, container={"ports": [port]})

    table = table_of(node("a"), pods={"a": [with_port("x", "10.0.0.1")]})
    assert chosen(with_port("p", "10.0.0.2"), table) == "a"
    assert "1 node(s) didn't have free ports for the requested pod ports" in refusal(with_port("p"), table)


def test_balanced_spread_over_empty_nodes() -> None:
    table = table_of(node("a"), node("b"), node("c"))
    counts: Counter[str] = Counter()
    for i in range(9):
        p = pod(f"p{i}", cpu="100m", memory="100Mi")
        p["metadata"]["ownerReferences"] = [{"uid": "rs", "controller": True}]
        name = chosen(p, table)
        counts[name] += 1
        table.add_pod(p, name)
    assert set(counts.values()) == {3}


def test_topology_spread_required() -> None:
    constraint = {
        "maxSkew": 1,
        "topologyKey": "zone",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "x"}},
    }
    nodes = [node("a", labels={"zone": "1"}), node("b", labels={"zone": "2"}), node("c")]
    spread = {"labels": {"app": "x"}, "topologySpreadConstraints": [constraint]}
    table = table_of(*nodes, pods={"a": [pod("q", labels={"app": "x"})]})
    assert chosen(pod("p", **spread), table) == "b"
    table = table_of(nodes[0], nodes[2], pods={"a": [pod("q", labels={"app": "x"})]})
    assert chosen(pod("p", labels={"app": "x"}, topologySpreadConstraints=[constraint]), table) == "a"
    table = table_of(nodes[0], node("b", labels={"zone": "2"}, cpu="0"), pods={"a": [pod("q", labels={"app": "x"})]})
    message = refusal(pod("p", cpu="1", labels={"app": "x"}, topologySpreadConstraints=[constraint]), table)
    assert "1 Insufficient cpu" in message and "1 node(s) didn't match pod topology spread constraints" in message


def test_pod_affinity_and_anti_affinity() -> None:
    def affinity(kind: str, **term: Any) -> dict[str, Any]:
        full = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "db"}}, **term}
        return {"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [full]}}}

    there = {"a": [pod("db", labels={"app": "db"})]}
    table = table_of(node("a"), node("b"), pods=there)
    assert chosen(pod("p", **affinity("podAffinity")), table) == "a"
    assert chosen(pod("p", **affinity("podAntiAffinity")), table) == "b"
    assert "didn't match pod affinity rules" in refusal(pod("p", "", "", "other", **affinity("podAffinity")), table)
    assert (
        chosen(
            pod("p", "", "", "other", **affinity("podAffinity", namespaceSelector={"matchLabels": {"team": "a"}})),
            table,
        )
        == "a"
    )
    one = table_of(node("a"), pods=there)
    assert "didn't match pod anti-affinity rules" in refusal(pod("p", **affinity("podAntiAffinity")), one)
    first = pod("db1", labels={"app": "db"}, **affinity("podAffinity"))
    assert chosen(first, table_of(node("a"))) == "a"
    hermit = pod("h", **affinity("podAntiAffinity"))
    assert "didn't satisfy existing pods anti-affinity rules" in refusal(
        pod("p", labels={"app": "db"}), table_of(node("a"), pods={"a": [hermit]})
    )


def test_image_locality_breaks_a_tie() -> None:
    big = {"names": ["docker.io/library/busybox:1"], "sizeBytes": 900 * 1024 * 1024}
    nodes = [node("a"), node("b")]
    nodes[1]["status"]["images"] = [big]
    assert {chosen(pod(f"p{i}"), table_of(*nodes)) for i in range(5)} == {"b"}


def test_init_containers_and_sidecars_count_as_their_peak() -> None:
    def c(cpu: str, **extra: Any) -> dict[str, Any]:
        return {"name": "c", "resources": {"requests": {"cpu": cpu}}, **extra}

    spec = {
        "containers": [c("100m"), c("200m")],
        "initContainers": [c("1"), c("50m", restartPolicy="Always"), c("900m")],
    }
    assert pod_requests({"spec": spec})["cpu"] == 1000
    spec["overhead"] = {"cpu": "10m"}  # type: ignore[assignment]
    assert pod_requests({"spec": spec})["cpu"] == 1010


CPU_MILLIS = st.integers(0, 1500)


@settings(max_examples=60, deadline=None)
@given(
    nodes=st.lists(st.integers(100, 4000), min_size=1, max_size=5),
    steps=st.lists(st.tuples(st.sampled_from(["add", "remove", "node"]), st.integers(0, 9), CPU_MILLIS), max_size=30),
)
def test_no_node_is_ever_overcommitted_and_sums_stay_exact(nodes: list[int], steps: list[tuple[str, int, int]]) -> None:
    table = NodeTable()
    where: dict[str, tuple[str, int]] = {}
    capacity = {f"n{i}": cpu for i, cpu in enumerate(nodes)}
    for name, cpu in capacity.items():
        table.put_node(node(name, cpu=f"{cpu}m"))
    for action, which, cpu in steps:
        name = f"p{which}"
        if action == "add" and name not in where:
            p = pod(name, cpu=f"{cpu}m")
            decision = place(p, table)
            used = {n: sum(c for at, c in where.values() if at == n) for n in capacity}
            if isinstance(decision, Fit):
                assert used[decision.node] + cpu <= capacity[decision.node]
                where[name] = (decision.node, cpu)
                table.add_pod(p, decision.node)
            else:
                assert all(used[n] + cpu > capacity[n] for n in capacity)
        elif action == "remove":
            table.remove_pod(f"default/{name}")
            where.pop(name, None)
        elif action == "node":
            # A node that goes and comes back finds its pods counted again.
            table.remove_node("n0")
            table.put_node(node("n0", cpu=f"{capacity['n0']}m"))
        for n in capacity:
            row = table.row_of(n)
            assert table.requested[row, CPU] == pytest.approx(sum(c for at, c in where.values() if at == n))
