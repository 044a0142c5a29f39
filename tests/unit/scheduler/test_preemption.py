"""Preemption: who must go, and from where."""

from __future__ import annotations

import random
from typing import Any

import pytest

from pybernetes.scheduler.decide import decide
from pybernetes.scheduler.framework import Fit, NoFit
from pybernetes.scheduler.nodes import NodeTable
from pybernetes.scheduler.preemption import Preemption, preempt
from tests.unit.scheduler.test_decide import PROFILE, node, pod, table_of


def ranked(name: str, priority: int, cpu: str, started: str = "", **more: Any) -> dict[str, Any]:
    made = pod(name, cpu=cpu, priority=priority, **more)
    if started:
        made["status"] = {"startTime": f"2026-01-01T{started}:00Z"}
    return made


def budget(allowed: int, **labels: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "b", "namespace": "default"},
        "spec": {"selector": {"matchLabels": labels}},
        "status": {"disruptionsAllowed": allowed},
    }


def evictions(p: dict[str, Any], table: NodeTable, *budgets: dict[str, Any], **more: Any) -> Preemption | None:
    rng = random.Random(1)
    before = {key: a.row for key, a in table.pods.items()}, table.requested.tolist()
    no_fit = decide(p, table, PROFILE, rng, more.get("nominees", ()))
    assert isinstance(no_fit, NoFit), no_fit
    found = preempt(p, no_fit, table, PROFILE, rng, budgets=budgets, **more)
    assert ({key: a.row for key, a in table.pods.items()}, table.requested.tolist()) == before
    return found


def names(found: Preemption | None) -> tuple[str, list[str]] | None:
    return found and (found.node, sorted(v["metadata"]["name"] for v in found.victims))


def test_only_what_must_go_goes() -> None:
    there = [ranked("one", 1, "200m"), ranked("two", 2, "300m"), ranked("three", 3, "450m")]
    table = table_of(node("n", cpu="1"), pods={"n": there})
    assert names(evictions(ranked("p", 4, "500m"), table)) == ("n", ["one", "two"])
    assert names(evictions(ranked("p", 4, "250m"), table)) == ("n", ["one"])
    assert names(evictions(ranked("p", 2, "250m"), table)) == ("n", ["one"])
    assert evictions(ranked("p", 1, "100m"), table) is None, "equals stay"
    assert evictions(ranked("p", 2, "300m"), table) is None, "who is lower is not enough"
    assert evictions(ranked("p", 9, "2"), table) is None


@pytest.mark.parametrize(
    ("left", "right", "chosen"),
    [
        ([ranked("a", 5, "1")], [ranked("b", 4, "1")], "right"),
        ([ranked("a", 5, "500m"), ranked("c", 5, "500m")], [ranked("b", 5, "1")], "right"),
        ([ranked("a", 5, "500m"), ranked("c", 1, "500m")], [ranked("b", 5, "500m"), ranked("d", 2, "500m")], "left"),
        ([ranked("a", 5, "1", "10:00")], [ranked("b", 5, "1", "09:00")], "left"),
        ([ranked("a", 5, "1", labels={"app": "x"})], [ranked("b", 6, "1")], "right"),
    ],
    ids=["lowest of the highest", "fewest", "least sum", "youngest", "budgets first"],
)
def test_the_node_that_loses_least(left: list[Any], right: list[Any], chosen: str) -> None:
    table = table_of(node("left", cpu="1"), node("right", cpu="1"), pods={"left": left, "right": right})
    found = evictions(ranked("p", 10, "1"), table, budget(0, app="x"))
    assert found is not None and found.node == chosen


def test_of_equals_the_one_without_a_budget_goes() -> None:
    there = [ranked("guarded", 1, "500m", labels={"app": "x"}), ranked("free", 2, "500m")]
    table = table_of(node("n", cpu="1"), pods={"n": there})
    assert names(evictions(ranked("p", 3, "500m"), table, budget(0, app="x"))) == ("n", ["free"])
    assert names(evictions(ranked("p", 3, "500m"), table, budget(1, app="x"))) == ("n", ["guarded"])
    assert names(evictions(ranked("p", 3, "500m"), table, budget(0))) == ("n", ["guarded"]), "all are guarded"


def test_nodes_that_evictions_cannot_help() -> None:
    tainted = node("t", cpu="1", spec={"taints": [{"key": "k", "effect": "NoSchedule"}]})
    table = table_of(tainted, node("n", cpu="1"), pods={"t": [ranked("a", 1, "1")], "n": [ranked("b", 9, "1")]})
    assert evictions(ranked("p", 5, "1"), table) is None


def test_what_keeps_the_pod_away_goes_wherever_it_lies() -> None:
    """Ports and anti-affinity are room too; of a pod that others keep away, only those on the node itself can go."""
    port = {"ports": [{"containerPort": 1, "hostPort": 80}]}
    table = table_of(node("n"), pods={"n": [ranked("a", 1, "1m", container=port), ranked("b", 1, "1m")]})
    assert names(evictions(ranked("p", 2, "1m", container=port), table)) == ("n", ["a"])

    term = {"labelSelector": {"matchLabels": {"app": "x"}}, "topologyKey": "kubernetes.io/hostname"}
    away = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    table = table_of(node("n"), pods={"n": [ranked("a", 1, "1m", labels={"app": "x"}), ranked("b", 1, "1m")]})
    assert names(evictions(ranked("p", 2, "1m", affinity=away), table)) == ("n", ["a"])
    zone = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term | {"topologyKey": "zone"}]}}
    there = {"l": [ranked("a", 1, "1m", labels={"app": "x"})], "r": [ranked("b", 1, "1m")]}
    table = table_of(node("l", labels={"zone": "z"}), node("r", labels={"zone": "z"}), pods=there)
    assert names(evictions(ranked("p", 2, "1m", affinity=zone), table)) == ("l", ["a"])


def test_room_that_is_made_for_others_is_taken() -> None:
    table = table_of(node("n", cpu="1"), pods={"n": [ranked("a", 1, "300m")]})
    first = (ranked("first", 5, "700m"), "n")
    rng = random.Random(1)
    assert isinstance(decide(ranked("p", 3, "500m"), table, PROFILE, rng), Fit)
    behind = decide(ranked("p", 3, "500m"), table, PROFILE, rng, [first])
    assert isinstance(behind, NoFit) and behind.plugins == {"NodeResourcesFit"}
    assert evictions(ranked("p", 3, "500m"), table, nominees=[first]) is None
    assert names(evictions(ranked("p", 3, "300m"), table, nominees=[first])) == ("n", ["a"])


def test_who_waits_behind_others_waits_for_all_that_was_in_its_way() -> None:
    tainted = node("t", cpu="1", spec={"taints": [{"key": "k", "effect": "NoSchedule"}]})
    table = table_of(tainted, node("full", cpu="1"), node("nominated", cpu="1"), pods={"full": [ranked("a", 9, "1")]})
    behind = decide(ranked("p", 3, "1"), table, PROFILE, random.Random(1), [(ranked("first", 5, "1"), "nominated")])
    assert isinstance(behind, NoFit) and behind.plugins == {"TaintToleration", "NodeResourcesFit"}


def test_the_nominated_node_is_taken_if_it_fits() -> None:
    table = table_of(node("big", cpu="8"), node("small", cpu="1"))
    for nominated, chosen in (("", "big"), ("small", "small"), ("gone", "big")):
        decision = decide(ranked("p", 1, "500m"), table, PROFILE, random.Random(1), nominated=nominated)
        assert isinstance(decision, Fit) and decision.node == chosen
