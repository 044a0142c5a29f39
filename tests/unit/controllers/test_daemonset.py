from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pybernetes.api.meta import Object, name_of
from pybernetes.controllers.daemonset import placement
from pybernetes.controllers.daemonset import plan as p
from tests.unit.controllers.objects import NOW, owner_ref, pod


def daemon_set(**spec: Any) -> Object:
    template = {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [{"name": "c"}], **spec.pop("pod", {})}}
    return {
        "metadata": {"name": "d", "namespace": "default", "uid": "uid-d", "generation": 1},
        "spec": {"selector": {"matchLabels": {"app": "d"}}, "template": template, **spec},
        "status": {},
    }


def node(name: str, *taints: Object, **labels: str) -> Object:
    return {"metadata": {"name": name, "labels": labels}, "spec": {"taints": list(taints)}}


def on(node_name: str, revision: str = "r1", **fields: Any) -> Object:
    return pod(
        f"d-{node_name}-{revision}", node=node_name, labels={"app": "d", "controller-revision-hash": revision}, **fields
    )


def taint(key: str, effect: str = "NoSchedule") -> Object:
    return {"key": key, "effect": effect}


@pytest.mark.parametrize(
    ("pod_spec", "where", "expected"),
    [
        ({}, node("a"), (True, True)),
        ({"nodeName": "b"}, node("a"), (False, False)),
        ({"nodeSelector": {"disk": "ssd"}}, node("a"), (False, False)),
        ({"nodeSelector": {"disk": "ssd"}}, node("a", disk="ssd"), (True, True)),
        ({}, node("a", taint("mine")), (False, True)),
        ({}, node("a", taint("mine", "NoExecute")), (False, False)),
        ({}, node("a", taint("mine", "PreferNoSchedule")), (True, True)),
        ({"tolerations": [{"operator": "Exists"}]}, node("a", taint("mine", "NoExecute")), (True, True)),
        ({}, node("a", taint("node.kubernetes.io/unschedulable")), (True, True)),
        ({}, node("a", taint("node.kubernetes.io/not-ready", "NoExecute")), (True, True)),
        ({}, node("a", taint("node.kubernetes.io/network-unavailable")), (False, True)),
        ({"hostNetwork": True}, node("a", taint("node.kubernetes.io/network-unavailable")), (True, True)),
    ],
)
def test_where_a_daemon_runs(pod_spec: Object, where: Object, expected: tuple[bool, bool]) -> None:
    assert placement.should_run(daemon_set(pod=pod_spec), where) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ({"key": "n", "operator": "In", "values": ["5"]}, True),
        ({"key": "n", "operator": "NotIn", "values": ["5"]}, False),
        ({"key": "n", "operator": "Exists"}, True),
        ({"key": "x", "operator": "DoesNotExist"}, True),
        ({"key": "n", "operator": "Gt", "values": ["4"]}, True),
        ({"key": "n", "operator": "Lt", "values": ["5"]}, False),
        ({"key": "x", "operator": "Gt", "values": ["4"]}, False),
    ],
)
def test_affinity(expression: Object, expected: bool) -> None:
    terms = [{"matchExpressions": [expression]}]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    assert placement.fits_affinity({"affinity": {"nodeAffinity": required}}, node("a", n="5")) is expected


def test_a_new_pod_is_bound_to_its_node_and_tolerates_trouble() -> None:
    made = p.new_pod(daemon_set(), owner_ref("DaemonSet", "d", "uid-d"), "a", "r1")
    assert placement.target_node(made) == "a"
    assert made["metadata"]["labels"] == {"app": "d", "controller-revision-hash": "r1"}
    assert len(made["spec"]["tolerations"]) == 6
    assert "nodeName" not in made["spec"]


def test_one_pod_on_each_node_and_none_elsewhere() -> None:
    nodes = [node("a"), node("b"), node("tainted", taint("x", "NoExecute")), node("failed"), node("leaving")]
    pods = [
        on("b"),
        on("b", "twin", created=NOW - 1),
        on("tainted"),
        on("failed", phase="Failed"),
        on("leaving", deleting=True),
        pod("bound", node="", affinity=p.new_pod(daemon_set(), {}, "gone", "")["spec"]["affinity"]),
    ]
    planned = p.plan_placement(daemon_set(), nodes, p.by_node(pods), "r1", NOW)
    assert planned.create == ["a"]
    assert sorted(name_of(x) for x in planned.delete) == ["bound", "d-b-twin", "d-tainted-r1"]
    assert [name_of(x) for x in planned.finished] == ["d-failed-r1"]


def test_status() -> None:
    nodes = [node("a"), node("b"), node("c"), node("x", taint("x"))]
    pods = [on("a"), on("b", "r0"), on("c", ready=False), on("x")]
    assert p.plan_status(daemon_set(), nodes, p.by_node(pods), "r1", NOW) == {
        "currentNumberScheduled": 3,
        "numberMisscheduled": 1,
        "desiredNumberScheduled": 3,
        "numberReady": 2,
        "observedGeneration": 1,
        "updatedNumberScheduled": 2,
        "numberAvailable": 2,
        "numberUnavailable": 1,
    }


@settings(deadline=None)
@given(
    st.integers(1, 8),
    st.sampled_from([0, 1, 3, "50%"]),
    st.sampled_from([0, 1, 2, "30%"]),
    st.lists(st.tuples(st.sampled_from(["step", "ready", "gone"]), st.integers(0, 20)), max_size=60),
)
def test_an_update_keeps_its_bounds_and_ends(count: int, surge: Any, unavailable: Any, steps: list[Any]) -> None:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    ds = daemon_set(updateStrategy=rolling)
    nodes = [node(f"n{i}") for i in range(count)]
    pods: dict[str, Object] = {name_of(x): x for x in (on(f"n{i}", "old") for i in range(count))}
    max_surge, max_unavailable = p.updated_desired_counts(ds, count)

    def available() -> int:
        return len(
            {
                x["spec"]["nodeName"]
                for x in pods.values()
                if x["status"].get("conditions") and not x["metadata"].get("deletionTimestamp")
            }
        )

    def act(what: str, n: int) -> None:
        if what == "step":
            for planner in (p.plan_placement, p.plan_update):
                planned = planner(ds, nodes, p.by_node(pods.values()), "new", NOW)
                for name in planned.create:
                    made = on(name, "new", ready=False)
                    assert name_of(made) not in pods
                    pods[name_of(made)] = made
                for doomed in planned.delete:
                    pods[name_of(doomed)] = {**doomed, "metadata": {**doomed["metadata"], "deletionTimestamp": "x"}}
                if planned.create or planned.delete:
                    break
            assert available() >= count - (0 if max_surge else max_unavailable)
            if max_surge:
                assert len(pods) <= count + max_surge + sum(
                    1 for x in pods.values() if x["metadata"].get("deletionTimestamp")
                )
        elif what == "ready":
            waiting = [x for x in pods.values() if not x["status"].get("conditions")]
            if waiting:
                chosen = waiting[n % len(waiting)]
                pods[name_of(chosen)] = on(chosen["spec"]["nodeName"], "new")
        else:
            leaving = [k for k, x in pods.items() if x["metadata"].get("deletionTimestamp")]
            if leaving:
                del pods[leaving[n % len(leaving)]]

    for what, n in steps:
        act(what, n)
    for _ in range(count * 4):
        for what in ("step", "gone", "ready"):
            act(what, 0)
    assert sorted(pods) == sorted(f"d-n{i}-new" for i in range(count))
