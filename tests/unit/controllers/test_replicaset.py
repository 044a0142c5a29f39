import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybernetes.api import errors
from pybernetes.api.meta import Object, name_of
from pybernetes.controllers.batches import slow_start
from pybernetes.controllers.claims import plan_claims
from pybernetes.controllers.replicaset.plan import (
    REPLICA_SET,
    REPLICATION_CONTROLLER,
    new_pod,
    next_available_at,
    plan_scaling,
    plan_status,
)
from pybernetes.controllers.replicaset.ranking import rank_for_deletion
from pybernetes.controllers.selection import matcher
from tests.unit.controllers.objects import NOW, owner_ref, pod, replica_set


def names(pods: Sequence[Object]) -> list[str]:
    return [name_of(p) for p in pods]


@given(st.integers(0, 1200), st.integers(0, 1200))
def test_scaling_moves_towards_the_wanted_number_and_never_past_it(wanted: int, there: int) -> None:
    rs = replica_set(replicas=wanted)
    pods = [pod(f"p{i}") for i in range(there)]
    scaling = plan_scaling(rs, pods, lambda: pods, NOW)
    after = there + scaling.create - len(scaling.delete)
    assert scaling.create == 0 or not scaling.delete
    assert min(wanted, there) <= after <= max(wanted, there)
    assert after == wanted or abs(after - there) == 500


def test_a_set_that_goes_away_neither_creates_nor_deletes() -> None:
    rs = replica_set(replicas=3)
    rs["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert plan_scaling(rs, [], list, NOW).create == 0


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (pod("a", node=""), pod("b")),
        (pod("a", phase="Pending", ready=False), pod("b", ready=False)),
        (pod("a", ready=False), pod("b")),
        (
            pod("a", annotations={"controller.kubernetes.io/pod-deletion-cost": "-5"}),
            pod("b", annotations={"controller.kubernetes.io/pod-deletion-cost": "1"}),
        ),
        (pod("a", ready_at=NOW - 10), pod("b", ready_at=NOW - 900)),
        (pod("a", restarts=4), pod("b", restarts=1)),
        (pod("a", created=NOW - 10, ready_at=NOW - 5), pod("b", created=NOW - 5000, ready_at=NOW - 5)),
    ],
)
def test_deletion_order(first: Object, then: Object) -> None:
    assert names(rank_for_deletion([then, first], [], NOW)) == ["a", "b"]
    assert names(rank_for_deletion([first, then], [], NOW)) == ["a", "b"]


def test_of_pods_alike_the_doubled_up_node_gives_first() -> None:
    alone, doubled, sibling = pod("a", node="n1"), pod("b", node="n2"), pod("sibling", node="n2")
    assert names(rank_for_deletion([alone, doubled], [alone, doubled, sibling], NOW)) == ["b", "a"]


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 3), st.integers(0, 4000)), max_size=12))
def test_ranking_is_a_permutation_with_unready_first(shapes: list[tuple[bool, bool, int, int]]) -> None:
    pods = [
        pod(f"p{i}", ready=ready, node="n" if placed else "", restarts=restarts, created=NOW - age - 2)
        for i, (ready, placed, restarts, age) in enumerate(shapes)
    ]
    ranked = rank_for_deletion(pods, pods, NOW)
    assert sorted(names(ranked)) == sorted(names(pods))
    order = [(bool(p["spec"].get("nodeName")), p["status"].get("conditions") is not None) for p in ranked]
    assert order == sorted(order)


def test_claims() -> None:
    rs = replica_set()
    mine = owner_ref("ReplicaSet", "web", "uid-web")
    other = owner_ref("ReplicaSet", "other", "uid-other")
    pods = [
        pod("owned", owner=mine),
        pod("strayed", owner=mine, labels={"app": "x"}),
        pod("orphan"),
        pod("orphan-else", labels={"app": "x"}),
        pod("leaving", deleting=True),
        pod("foreign", owner=other),
    ]
    claims = plan_claims(rs, pods, matcher(rs["spec"]["selector"]))
    assert names(claims.owned) == ["owned"]
    assert [name_of(a.obj) for a in claims.adopt] == ["orphan"]
    assert [name_of(r.obj) for r in claims.release] == ["strayed"]
    assert claims.release[0].patch() == {
        "metadata": {"ownerReferences": [{"$patch": "delete", "uid": "uid-web"}], "uid": "uid-strayed"}
    }
    assert claims.adopt[0].patch(mine)["metadata"]["uid"] == "uid-orphan"
    rs["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    claims = plan_claims(rs, pods, matcher(rs["spec"]["selector"]))
    assert not claims.adopt and not claims.release


def test_status_counts_and_min_ready_seconds() -> None:
    rs = replica_set(minReadySeconds=30)
    rs["spec"]["template"]["metadata"]["labels"]["tier"] = "front"
    pods = [
        pod("full", labels={"app": "web", "tier": "front"}, ready_at=NOW - 60),
        pod("fresh", ready_at=NOW - 10),
        pod("unready", ready=False),
    ]
    assert plan_status(REPLICA_SET, rs, pods, 2, None, NOW) == {
        "replicas": 3,
        "fullyLabeledReplicas": 1,
        "readyReplicas": 2,
        "availableReplicas": 1,
        "terminatingReplicas": 2,
        "observedGeneration": 1,
    }
    assert "terminatingReplicas" not in plan_status(REPLICATION_CONTROLLER, rs, pods, 2, None, NOW)
    assert next_available_at(rs, pods, NOW) == NOW + 20
    assert next_available_at(rs, pods, NOW + 20) is None
    assert plan_status(REPLICA_SET, rs, pods, 0, None, NOW + 20)["availableReplicas"] == 2


def test_a_failure_is_a_condition_until_it_ends() -> None:
    rs = replica_set()
    status = plan_status(REPLICA_SET, rs, [], 0, ("FailedCreate", "exceeded quota"), NOW)
    assert status["conditions"] == [
        {
            "type": "ReplicaFailure",
            "status": "True",
            "lastTransitionTime": "2023-11-14T22:13:20Z",
            "reason": "FailedCreate",
            "message": "exceeded quota",
        }
    ]
    rs["status"] = status
    assert plan_status(REPLICA_SET, rs, [], 0, ("FailedCreate", "again"), NOW + 5) == status
    assert "conditions" not in plan_status(REPLICA_SET, rs, [], 0, None, NOW + 5)


def test_a_new_pod_is_the_template_owned_and_nameless() -> None:
    rs = replica_set()
    ref = owner_ref("ReplicaSet", "web", "uid-web")
    assert new_pod(rs, ref) == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "web-",
            "namespace": "default",
            "labels": {"app": "web"},
            "ownerReferences": [ref],
        },
        "spec": {"containers": [{"name": "c"}]},
    }


async def test_slow_start_doubles_and_stops_at_the_first_error() -> None:
    at_once: list[int] = []
    running = 0

    async def act(i: int) -> None:
        nonlocal running
        running += 1
        await asyncio.sleep(0)
        at_once.append(running)
        await asyncio.sleep(0)
        running -= 1
        if i >= 5:
            raise errors.Forbidden("exceeded quota")

    done, error = await slow_start(list(range(100)), act)
    # Batches of 1, 2 and 4: items 5 and 6 fail, the other 93 are never tried.
    assert (done, isinstance(error, errors.Forbidden), len(at_once)) == (5, True, 7)
    assert max(at_once) == 4
