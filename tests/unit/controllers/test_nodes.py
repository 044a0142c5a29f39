from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybernetes.api.meta import Object, get_condition
from pybernetes.api.time import format_time
from pybernetes.controllers.nodeipam.plan import CIDRAllocator
from pybernetes.controllers.nodelifecycle import plan
from pybernetes.controllers.nodelifecycle.plan import Disruption
from pybernetes.controllers.podgc import plan as podgc
from pybernetes.controllers.tainteviction.plan import evict_at, tolerates
from tests.unit.controllers.objects import NOW, pod


def node(name: str = "n1", ready: str = "True", **spec: Any) -> Object:
    conditions = [{"type": "Ready", "status": ready, "lastHeartbeatTime": format_time(NOW)}] if ready else []
    return {
        "metadata": {"name": name, "creationTimestamp": format_time(NOW), "labels": {}},
        "spec": spec,
        "status": {"conditions": conditions},
    }


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20)), max_size=60), st.lists(st.integers(0, 15), max_size=3))
def test_ranges_are_stable_and_never_shared(steps: list[tuple[bool, int]], taken: list[int]) -> None:
    allocator = CIDRAllocator("10.244.0.0/20", 24)
    held: dict[str, str] = {}
    for i in dict.fromkeys(taken):
        held[f"old{i}"] = f"10.244.{i}.0/24"
        allocator.occupy({"metadata": {"name": f"old{i}"}, "spec": {"podCIDR": held[f"old{i}"]}})
    for add, n in steps:
        name = f"n{n}"
        if add and name not in held:
            cidr = allocator.allocate(name)
            if cidr is None:
                assert len(held) == 16
                continue
            assert ipaddress.ip_network(cidr).subnet_of(ipaddress.ip_network("10.244.0.0/20"))  # type: ignore[arg-type]
            assert cidr not in held.values()
            held[name] = cidr
        elif not add and name in held:
            del held[name]
            allocator.release(name)


def test_silence_is_noticed_after_the_grace_period() -> None:
    assert plan.plan_health(node(), NOW, NOW + 49, 50, 60) == plan.Health(None, NOW + 50)
    health = plan.plan_health(node(), NOW, NOW + 50, 50, 60)
    assert health.conditions is not None
    ready = get_condition({"status": {"conditions": health.conditions}}, "Ready")
    assert ready == {
        "type": "Ready",
        "status": "Unknown",
        "reason": "NodeStatusUnknown",
        "message": "Kubelet stopped posting node status.",
        "lastHeartbeatTime": format_time(NOW),
        "lastTransitionTime": format_time(NOW + 50),
    }
    assert {c["type"]: c["reason"] for c in health.conditions}["DiskPressure"] == "NodeStatusNeverUpdated"
    silent = node()
    silent["status"]["conditions"] = health.conditions
    assert plan.plan_health(silent, NOW, NOW + 99, 50, 60).conditions is None


def test_a_node_that_never_spoke_gets_the_start_up_grace() -> None:
    assert plan.plan_health(node(ready=""), None, NOW + 59, 50, 60).conditions is None
    health = plan.plan_health(node(ready=""), None, NOW + 60, 50, 60)
    assert health.conditions is not None and health.conditions[0]["message"] == "Kubelet never posted node status."


def keys(taints: list[Object] | None) -> set[tuple[str, str]]:
    return {(t["key"].removeprefix("node.kubernetes.io/"), t["effect"]) for t in taints or ()}


def test_taints_follow_conditions() -> None:
    mine = {"key": "mine", "effect": "NoExecute"}
    silent = node(ready="Unknown", unschedulable=True, taints=[mine])
    taints = plan.plan_taints(silent, NOW, evict=True)
    assert keys(taints) == {
        ("mine", "NoExecute"),
        ("unreachable", "NoSchedule"),
        ("unreachable", "NoExecute"),
        ("unschedulable", "NoSchedule"),
    }
    assert taints is not None and taints[-1]["timeAdded"] == format_time(NOW)
    silent["spec"]["taints"] = taints
    assert plan.plan_taints(silent, NOW + 9, evict=True) is None
    assert plan.plan_taints(silent, NOW + 9, evict=None) is None
    assert ("unreachable", "NoExecute") not in keys(plan.plan_taints(silent, NOW, evict=False))
    failing = node(ready="False", taints=taints)
    assert {("not-ready", "NoSchedule"), ("not-ready", "NoExecute")} <= keys(
        plan.plan_taints(failing, NOW, evict=None)
    ), "a change of kind is not a new eviction"
    assert keys(plan.plan_taints(node(taints=taints), NOW, evict=True)) == {("mine", "NoExecute")}
    assert plan.plan_taints(node(), NOW, evict=True) is None
    assert keys(plan.plan_taints(node(ready="Unknown"), NOW, evict=None)) == {("unreachable", "NoSchedule")}


def test_disruption() -> None:
    def state(ready: int, not_ready: int) -> Disruption:
        nodes = [node(f"r{i}") for i in range(ready)] + [node(f"u{i}", "Unknown") for i in range(not_ready)]
        return plan.zone_disruptions(nodes)[":"][0]

    assert state(1, 1) is Disruption.NORMAL
    assert state(0, 2) is Disruption.FULL
    assert state(2, 3) is Disruption.PARTIAL
    assert state(3, 3) is Disruption.NORMAL
    assert plan.is_cluster_down(plan.zone_disruptions([node("a", "Unknown")]))
    assert not plan.is_cluster_down(plan.zone_disruptions([node("a", "Unknown"), node("b")]))
    assert plan.eviction_rate_per_second(Disruption.PARTIAL, 10, 0.1) == 0
    assert plan.eviction_rate_per_second(Disruption.PARTIAL, 51, 0.1) == 0.01


@pytest.mark.parametrize(
    ("toleration", "expected"),
    [
        ({"operator": "Exists"}, True),
        ({"key": "k", "operator": "Exists"}, True),
        ({"key": "k", "value": "v"}, True),
        ({"key": "k", "operator": "Equal", "value": "v", "effect": "NoExecute"}, True),
        ({"key": "k", "value": "x"}, False),
        ({"key": "k", "value": "v", "effect": "NoSchedule"}, False),
        ({"key": "other", "operator": "Exists"}, False),
        ({"value": "v"}, False),
    ],
)
def test_tolerations(toleration: Object, expected: bool) -> None:
    assert tolerates(toleration, {"key": "k", "value": "v", "effect": "NoExecute"}) is expected


def test_eviction_times() -> None:
    taint = {"key": "k", "effect": "NoExecute", "timeAdded": format_time(NOW)}

    def due(*tolerations: Object, created: float = NOW - 500, taints: int = 1) -> float | None:
        return evict_at(pod("a", created=created, tolerations=list(tolerations)), [taint] * taints, NOW + 10, NOW + 10)

    def seconds(n: int) -> Object:
        return {"key": "k", "operator": "Exists", "tolerationSeconds": n}

    assert due(taints=0) is None
    assert due() == NOW + 10
    assert due({"key": "k", "operator": "Exists"}) is None
    assert due(seconds(300)) == NOW + 300
    assert due(seconds(300), seconds(30)) == NOW + 30
    assert due(seconds(0)) == NOW + 10
    undated = {"key": "k", "effect": "NoExecute"}
    assert evict_at(pod("a", tolerations=[seconds(30)]), [undated], NOW + 10, NOW + 5) == NOW + 35
    assert due(seconds(300), created=NOW + 100) == NOW + 400, "a pod placed later has its time from then on"


def test_terminated_pods_beyond_the_threshold() -> None:
    pods = [pod(f"p{i}", phase="Succeeded", created=NOW - i) for i in range(5)]
    pods[1]["status"]["reason"] = "Evicted"
    assert [p["metadata"]["name"] for p in podgc.surplus_terminated(pods, 3)] == ["p1", "p4"]
    assert podgc.surplus_terminated(pods, 5) == []
    assert podgc.surplus_terminated(pods, 0) == []


def test_pods_of_an_out_of_service_node() -> None:
    leaving = pod("a", deleting=True)
    out = node(ready="Unknown", taints=[{"key": plan.OUT_OF_SERVICE, "effect": "NoExecute"}])
    assert podgc.is_out_of_service(leaving, out)
    assert not podgc.is_out_of_service(pod("a"), out)
    assert not podgc.is_out_of_service(leaving, node(ready="Unknown"))
    patch = podgc.disruption_patch(leaving, "DeletionByPodGC", "PodGC: node is out of service", NOW, fail=True)
    assert patch["status"]["phase"] == "Failed"
    assert patch["status"]["conditions"][0]["type"] == "DisruptionTarget"
