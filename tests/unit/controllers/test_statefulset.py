from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pybernetes.api.meta import Object, name_of
from pybernetes.controllers.statefulset import identity
from pybernetes.controllers.statefulset.plan import (
    CreatePod,
    DeletePod,
    FixLabels,
    Plan,
    is_running_and_ready,
    plan,
    revision_of,
)
from tests.unit.controllers.objects import NOW, pod


def stateful_set(replicas: int = 3, **spec: Any) -> Object:
    return {
        "metadata": {"name": "db", "namespace": "default", "uid": "uid-db", "generation": 1},
        "spec": {
            "replicas": replicas,
            "serviceName": "db",
            "selector": {"matchLabels": {"app": "db"}},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
            "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "c"}]}},
            **spec,
        },
        "status": {},
    }


class World:
    """A StatefulSet's pods, and everybody who acts on them."""

    def __init__(self, sts: Object) -> None:
        self.sts = sts
        self.pods: dict[str, Object] = {}
        self.current, self.update = "r1", "r1"

    def member(
        self, ordinal: int, revision: str, *, ready: bool = True, deleting: bool = False, phase: str = "Running"
    ) -> Object:
        labels = {"controller-revision-hash": revision, **identity.identity_labels(self.sts, ordinal)}
        return pod(f"db-{ordinal}", labels=labels, ready=ready, deleting=deleting, phase=phase)

    def step(self) -> Plan:
        planned = plan(self.sts, list(self.pods.values()), self.current, self.update, NOW)
        for action in planned.actions:
            match action:
                case CreatePod(ordinal, revision):
                    made = self.member(ordinal, revision, ready=False, phase="Pending")
                    assert name_of(made) not in self.pods
                    self.pods[name_of(made)] = made
                case DeletePod(doomed):
                    self.pods[name_of(doomed)] = {
                        **doomed,
                        "metadata": {**doomed["metadata"], "deletionTimestamp": "x"},
                    }
        self.sts = {**self.sts, "status": planned.status}
        self.current = planned.status["currentRevision"]
        return planned

    def ready(self, n: int) -> None:
        waiting = [
            p for p in self.pods.values() if not is_running_and_ready(p) and not p["metadata"].get("deletionTimestamp")
        ]
        if waiting:
            chosen = waiting[n % len(waiting)]
            self.pods[name_of(chosen)] = self.member(int(name_of(chosen)[3:]), revision_of(chosen))

    def end(self, n: int) -> None:
        leaving = [k for k, p in self.pods.items() if p["metadata"].get("deletionTimestamp")]
        if leaving:
            del self.pods[leaving[n % len(leaving)]]

    def settle(self) -> None:
        for _ in range(80):
            self.step()
            self.end(0)
            self.ready(0)

    def healthy(self) -> list[int]:
        return sorted(
            int(name_of(p)[3:])
            for p in self.pods.values()
            if is_running_and_ready(p) and not p["metadata"].get("deletionTimestamp")
        )


STEPS = st.lists(
    st.tuples(st.sampled_from(["step", "ready", "end", "update", "scale"]), st.integers(0, 9)), max_size=60
)


@settings(deadline=None)
@given(st.integers(0, 6), STEPS)
def test_order_is_kept_and_the_end_is_reached(replicas: int, steps: list[tuple[str, int]]) -> None:
    world = World(stateful_set(replicas))
    revisions = 1
    for what, n in steps:
        match what:
            case "step":
                healthy = world.healthy()
                for action in world.step().actions:
                    if isinstance(action, CreatePod):
                        assert all(o in healthy for o in range(action.ordinal)), "lower ones first"
                    if isinstance(action, DeletePod) and not action.reason:
                        # One at a time: whatever else is wanted is well, or this is the one that is not.
                        lower = range(min(identity.replicas(world.sts), int(name_of(action.pod)[3:])))
                        assert all(o in healthy for o in lower)
            case "ready":
                world.ready(n)
            case "end":
                world.end(n)
            case "update":
                revisions += 1
                world.update = f"r{revisions}"
            case "scale":
                world.sts = {**world.sts, "spec": {**world.sts["spec"], "replicas": n}}
    world.settle()
    wanted = identity.replicas(world.sts)
    assert world.healthy() == list(range(wanted))
    assert {revision_of(p) for p in world.pods.values()} <= {world.update}
    if wanted:
        assert world.sts["status"]["currentRevision"] == world.update
    assert world.step().actions == ()


def test_parallel_creates_and_deletes_at_once() -> None:
    world = World(stateful_set(3, podManagementPolicy="Parallel"))
    assert [a.ordinal for a in world.step().actions if isinstance(a, CreatePod)] == [0, 1, 2]
    world.sts["spec"]["replicas"] = 1
    assert [name_of(a.pod) for a in world.step().actions if isinstance(a, DeletePod)] == ["db-2", "db-1"]


def test_partition_holds_the_lower_ones_back() -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}
    world = World(stateful_set(4, updateStrategy=strategy))
    world.settle()
    world.update = "r2"
    world.settle()
    assert [revision_of(world.pods[f"db-{i}"]) for i in range(4)] == ["r1", "r1", "r2", "r2"]
    status = world.sts["status"]
    assert (status["currentRevision"], status["currentReplicas"], status["updatedReplicas"]) == ("r1", 2, 2)
    del world.pods["db-1"]
    world.step()
    assert revision_of(world.pods["db-1"]) == "r1", "a lost pod comes back as it was"


def test_a_pod_that_is_gone_at_once_is_made_of_the_update() -> None:
    """Without a grace period nobody sees the pod go: the status of the pass that deletes it says so."""
    world = World(stateful_set(3, updateStrategy={"type": "RollingUpdate"}))
    for ordinal in range(3):
        made = world.member(ordinal, "r1")
        world.pods[name_of(made)] = made
    world.sts["status"] = {"currentReplicas": 3}
    first = plan(world.sts, list(world.pods.values()), "r1", "r2", NOW)
    assert [name_of(a.pod) for a in first.actions if isinstance(a, DeletePod)] == ["db-2"]
    del world.pods["db-2"]
    again = plan({**world.sts, "status": first.status}, list(world.pods.values()), "r1", "r2", NOW)
    assert again.actions == (CreatePod(2, "r2"),)


def test_max_unavailable_takes_several() -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}}
    world = World(stateful_set(4, updateStrategy=strategy))
    world.settle()
    world.update = "r2"
    assert [name_of(a.pod) for a in world.step().actions if isinstance(a, DeletePod)] == ["db-3", "db-2"]


def test_on_delete_waits_for_the_user() -> None:
    world = World(stateful_set(2, updateStrategy={"type": "OnDelete"}))
    world.settle()
    world.update = "r2"
    assert world.step().actions == ()
    del world.pods["db-0"]
    world.step()
    assert revision_of(world.pods["db-0"]) == "r2"


@pytest.mark.parametrize(
    ("phase", "reason"), [("Failed", "RecreatingFailedPod"), ("Succeeded", "RecreatingTerminatedPod")]
)
def test_finished_pods_are_made_again(phase: str, reason: str) -> None:
    world = World(stateful_set(1))
    world.pods["db-0"] = world.member(0, "r1", phase=phase)
    (action,) = world.step().actions
    assert isinstance(action, DeletePod) and action.reason == reason


def test_lost_labels_come_back() -> None:
    world = World(stateful_set(1))
    member = world.member(0, "r1")
    del member["metadata"]["labels"][identity.POD_NAME_LABEL]
    world.pods["db-0"] = member
    (action,) = world.step().actions
    assert isinstance(action, FixLabels) and action.labels[identity.POD_NAME_LABEL] == "db-0"


def test_ordinals_may_start_elsewhere() -> None:
    world = World(stateful_set(2, ordinals={"start": 5}, podManagementPolicy="Parallel"))
    world.step()
    assert sorted(world.pods) == ["db-5", "db-6"]


def test_identity_and_storage() -> None:
    claim = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}
    sts = stateful_set(volumeClaimTemplates=[claim])
    sts["spec"]["template"]["spec"]["volumes"] = [{"name": "data", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}]
    made = identity.new_pod(sts, sts["spec"]["template"], "db-r1", 2)
    assert made["metadata"]["name"] == "db-2"
    assert made["metadata"]["labels"] == {
        "app": "db",
        "statefulset.kubernetes.io/pod-name": "db-2",
        "apps.kubernetes.io/pod-index": "2",
        "controller-revision-hash": "db-r1",
    }
    assert (made["spec"]["hostname"], made["spec"]["subdomain"]) == ("db-2", "db")
    assert made["spec"]["volumes"] == [
        {"name": "data", "persistentVolumeClaim": {"claimName": "data-db-2"}},
        {"name": "tmp", "emptyDir": {}},
    ]
    (made_claim,) = identity.claims(sts, 2)
    assert made_claim["metadata"] == {"name": "data-db-2", "namespace": "default", "labels": {"app": "db"}}
    assert identity.ordinal_of(sts, {"metadata": {"name": "db-x-2"}}) is None


def test_claims_are_owned_as_the_policy_says() -> None:
    policy = {"whenDeleted": "Delete", "whenScaled": "Delete"}
    sts = stateful_set(persistentVolumeClaimRetentionPolicy=policy)
    claim: Object = {"metadata": {"name": "data-db-0"}}
    owners = identity.wanted_claim_owners(sts, pod("db-0"), claim, condemned=False)
    assert owners is not None and [(o["kind"], o["uid"]) for o in owners] == [("StatefulSet", "uid-db")]
    claim["metadata"]["ownerReferences"] = owners
    assert identity.wanted_claim_owners(sts, pod("db-0"), claim, condemned=False) is None
    owners = identity.wanted_claim_owners(sts, pod("db-0"), claim, condemned=True)
    assert owners is not None and [(o["kind"], o["name"]) for o in owners] == [("Pod", "db-0")]
    assert identity.wanted_claim_owners(stateful_set(), pod("db-0"), {"metadata": {}}, condemned=True) is None
