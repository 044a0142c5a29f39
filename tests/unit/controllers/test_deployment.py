"""Deployment plans: by example, and by properties over random interleavings of everybody who acts on a roll-out."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pybernetes.api.meta import Object, annotations_of, clone, get_condition, name_of, uid_of
from pybernetes.api.time import format_time
from pybernetes.controllers.deployment import model, scaling
from pybernetes.controllers.deployment.plan import (
    CreateReplicaSet,
    DeleteReplicaSet,
    Plan,
    UpdateReplicaSet,
    UpdateStatus,
    collision,
    create_failed,
    hash_of,
    plan,
)
from tests.unit.controllers.objects import NOW, owner_ref, pod


def deployment(replicas: int = 3, image: str = "v1", **spec: Any) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default", "uid": "uid-d", "generation": 1},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "revisionHistoryLimit": 10,
            "progressDeadlineSeconds": 600,
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": image}]},
            },
            **spec,
        },
    }


class World:
    """A Deployment, its ReplicaSets and their pods, and everybody who acts on them, one step at a time."""

    def __init__(self, d: Object) -> None:
        self.d = d
        self.sets: dict[str, Object] = {}
        self.pods: dict[str, list[bool]] = {}
        """By ReplicaSet: whether each pod is available."""
        self.now = NOW
        self.events: list[str] = []
        self._serial = itertools.count(1)

    def edit(self, **spec: Any) -> None:
        self.d = clone(self.d)
        self.d["spec"].update(spec)
        self.d["metadata"]["generation"] += 1

    def set_image(self, image: str) -> None:
        template = clone(self.d["spec"]["template"])
        template["spec"]["containers"][0]["image"] = image
        self.edit(template=template)

    def plan(self) -> Plan:
        pods = {
            uid: [pod(f"{uid}-{i}", ready=ready) for i, ready in enumerate(pods)] for uid, pods in self.pods.items()
        }
        return plan(self.d, list(self.sets.values()), pods, self.now)

    def deployment_step(self) -> Plan:
        planned = self.plan()
        for action in planned.actions:
            match action:
                case CreateReplicaSet(obj, event):
                    uid = f"uid-{name_of(obj)}"
                    assert uid not in self.sets
                    obj = clone(obj)
                    self.now += 1
                    obj["metadata"] |= {"uid": uid, "generation": 1, "creationTimestamp": format_time(self.now)}
                    obj["status"] = {"replicas": 0, "terminatingReplicas": 0}
                    self.sets[uid] = obj
                    self.pods[uid] = []
                    self.events.append(event)
                case UpdateReplicaSet(obj, event):
                    before = self.sets[uid_of(obj)]
                    obj = clone(obj)
                    obj["metadata"]["generation"] = before["metadata"]["generation"] + (before["spec"] != obj["spec"])
                    self.sets[uid_of(obj)] = obj
                    self.events.append(event)
                case DeleteReplicaSet(obj):
                    assert not self.pods.pop(uid_of(obj))
                    del self.sets[uid_of(obj)]
                case UpdateStatus(obj):
                    self.d = clone(obj)
        self.events = [e for e in self.events if e]
        return planned

    def replica_set_step(self, uid: str) -> None:
        """Creates or deletes pods, unavailable ones first, and writes the status."""
        rs, pods = self.sets[uid], sorted(self.pods[uid], reverse=True)
        wanted = model.replicas(rs)
        self.pods[uid] = [*pods, *[False] * wanted][:wanted]
        self.status_step(uid)

    def status_step(self, uid: str) -> None:
        rs, pods = clone(self.sets[uid]), self.pods[uid]
        rs["status"] = {
            "replicas": len(pods),
            "readyReplicas": sum(pods),
            "availableReplicas": sum(pods),
            "terminatingReplicas": 0,
            "observedGeneration": rs["metadata"]["generation"],
        }
        self.sets[uid] = rs

    def pods_step(self, uid: str, available: bool = True) -> None:
        """One more pod becomes available."""
        if False in self.pods[uid] and available:
            self.pods[uid][self.pods[uid].index(False)] = True

    def settle(self, rounds: int = 60) -> None:
        for _ in range(rounds):
            self.deployment_step()
            for uid in list(self.sets):
                self.replica_set_step(uid)
                for _ in range(len(self.pods[uid])):
                    self.pods_step(uid)
                self.replica_set_step(uid)
            self.now += 1

    @property
    def size(self) -> int:
        return sum(model.replicas(rs) for rs in self.sets.values())

    @property
    def lasting(self) -> int:
        """Pods that are available and that no size yet dooms."""
        return sum(min(sum(pods), model.replicas(self.sets[uid])) for uid, pods in self.pods.items())


def bound() -> st.SearchStrategy[int | str]:
    return st.one_of(st.integers(0, 5), st.sampled_from(["0%", "25%", "50%", "100%"]))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.integers(0, 12), bound(), bound(), st.data())
def test_rolling_never_breaks_its_bounds_and_ends(replicas: int, surge: Any, unavailable: Any, data: Any) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    world = World(deployment(replicas, strategy=strategy))
    world.settle(rounds=20)
    steps = data.draw(
        st.lists(
            st.tuples(st.sampled_from(["deploy", "rs", "status", "ready", "image", "scale"]), st.integers(0, 7)),
            max_size=60,
        )
    )
    for what, n in steps:
        uids = list(world.sets)
        uid = uids[n % len(uids)]
        match what:
            case "image":
                world.set_image(f"v{n % 4}")
            case "scale" if n > 4:
                world.edit(replicas=replicas + n - 6 if replicas + n >= 6 else 0)
            case "rs":
                world.replica_set_step(uid)
            case "status":
                world.status_step(uid)
            case "ready":
                world.pods_step(uid)
            case "deploy":
                size, lasting = world.size, world.lasting
                sharing = scaling.was_scaled(world.d, list(world.sets.values()))
                world.deployment_step()
                wanted = model.replicas(world.d)
                assert world.size <= max(size, wanted + model.max_surge(world.d))
                if not sharing:
                    floor = wanted - model.max_unavailable(world.d)
                    assert world.lasting >= min(lasting, floor)
    world.settle()
    wanted = model.replicas(world.d)
    live = [rs for rs in world.sets.values() if model.replicas(rs)]
    if wanted:
        assert [model.replicas(rs) for rs in live] == [wanted]
        assert model.same_template(live[0]["spec"]["template"], world.d["spec"]["template"])
        assert world.d["status"]["availableReplicas"] == wanted
    else:
        assert not live
    assert world.plan().actions == ()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 6), st.lists(st.tuples(st.sampled_from(["deploy", "rs", "ready"]), st.integers(0, 3)), max_size=40)
)
def test_recreate_never_runs_two_templates(replicas: int, steps: list[tuple[str, int]]) -> None:
    world = World(deployment(replicas, strategy={"type": "Recreate"}))
    world.settle(rounds=10)
    world.set_image("v2")
    for what, n in steps:
        uid = list(world.sets)[n % len(world.sets)]
        match what:
            case "deploy":
                world.deployment_step()
            case "rs":
                world.replica_set_step(uid)
            case "ready":
                world.pods_step(uid)
        assert sum(1 for pods in world.pods.values() if pods) <= 1
    world.settle(rounds=10)
    assert [sum(p) for p in world.pods.values() if p] == [replicas]


def test_first_roll_out_by_the_letter() -> None:
    world = World(deployment(3))
    planned = world.deployment_step()
    (rs,) = world.sets.values()
    assert name_of(rs) == f"web-{hash_of(deployment(3))}"
    assert rs["metadata"]["labels"] == {"app": "web", "pod-template-hash": name_of(rs)[4:]}
    assert rs["spec"]["selector"]["matchLabels"] == rs["metadata"]["labels"]
    assert rs["spec"]["template"]["metadata"]["labels"] == rs["metadata"]["labels"]
    assert rs["metadata"]["ownerReferences"] == [owner_ref("Deployment", "web", "uid-d")]
    assert annotations_of(rs) == {
        "deployment.kubernetes.io/revision": "1",
        "deployment.kubernetes.io/desired-replicas": "3",
        "deployment.kubernetes.io/max-replicas": "4",
    }
    assert annotations_of(world.d) == {"deployment.kubernetes.io/revision": "1"}
    assert world.events == [f"Scaled up replica set {name_of(rs)} from 0 to 3"]
    progressing = get_condition(world.d, "Progressing")
    assert progressing is not None
    assert (progressing["reason"], progressing["message"]) == (
        "NewReplicaSetCreated",
        f'Created new replica set "{name_of(rs)}"',
    )
    available = get_condition(world.d, "Available")
    assert available is not None
    assert (available["status"], available["reason"], available["message"]) == (
        "False",
        "MinimumReplicasUnavailable",
        "Deployment does not have minimum availability.",
    )
    assert world.d["status"]["unavailableReplicas"] == 3
    assert planned.check_again_at == world.now - 1 + 601
    world.settle(rounds=3)
    progressing = get_condition(world.d, "Progressing")
    assert progressing is not None
    assert (progressing["reason"], progressing["message"]) == (
        "NewReplicaSetAvailable",
        f'ReplicaSet "{name_of(rs)}" has successfully progressed.',
    )
    assert world.plan() == Plan((), None)


def test_roll_back_reuses_the_replica_set_with_a_new_revision() -> None:
    world = World(deployment(2))
    world.settle(rounds=5)
    (first,) = world.sets
    world.set_image("v2")
    world.settle(rounds=10)
    assert annotations_of(world.d)[model.REVISION] == "2"
    world.set_image("v1")
    world.settle(rounds=10)
    assert len(world.sets) == 2
    assert model.replicas(world.sets[first]) == 2
    assert annotations_of(world.sets[first])[model.REVISION] == "3"
    assert annotations_of(world.sets[first])[model.REVISION_HISTORY] == "1"
    assert annotations_of(world.d)[model.REVISION] == "3"


def test_history_is_cut_to_its_limit() -> None:
    world = World(deployment(1, revisionHistoryLimit=2))
    for i in range(6):
        world.set_image(f"v{i}")
        world.settle(rounds=8)
    assert sorted(model.revision_of(rs) for rs in world.sets.values()) == [4, 5, 6]


def test_scaling_in_the_middle_is_shared_in_proportion() -> None:
    world = World(
        deployment(10, strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}})
    )
    world.settle(rounds=10)
    (old,) = world.sets
    world.set_image("v2")
    world.deployment_step()  # creates the new one with 3
    world.replica_set_step(old)
    world.deployment_step()  # old goes down to 8
    (new,) = set(world.sets) - {old}
    world.replica_set_step(new)
    world.replica_set_step(old)
    world.deployment_step()
    assert (model.replicas(world.sets[old]), model.replicas(world.sets[new])) == (8, 5)
    # The example of the documentation of Deployments: 10 to 15 gives the larger one 3 and the smaller one 2.
    world.edit(replicas=15)
    world.deployment_step()
    assert (model.replicas(world.sets[old]), model.replicas(world.sets[new])) == (11, 7)


def test_pause_holds_the_roll_out_but_not_scaling() -> None:
    world = World(deployment(2))
    world.settle(rounds=5)
    world.edit(paused=True)
    world.set_image("v2")
    world.settle(rounds=3)
    assert len(world.sets) == 1
    condition = get_condition(world.d, "Progressing")
    assert condition is not None and (condition["status"], condition["reason"]) == ("Unknown", "DeploymentPaused")
    world.edit(replicas=4)
    world.settle(rounds=3)
    assert world.size == 4
    world.edit(paused=False)
    world.settle(rounds=10)
    assert len(world.sets) == 2
    condition = get_condition(world.d, "Progressing")
    assert condition is not None and condition["reason"] == "NewReplicaSetAvailable"


def test_deadline_exceeded() -> None:
    world = World(deployment(1, progressDeadlineSeconds=10))
    planned = world.deployment_step()
    (uid,) = world.sets
    world.replica_set_step(uid)
    planned = world.deployment_step()
    assert get_condition(world.d, "Progressing")["reason"] == "ReplicaSetUpdated"  # type: ignore[index]
    assert planned.check_again_at is not None
    world.now = planned.check_again_at
    assert world.deployment_step().check_again_at is None
    condition = get_condition(world.d, "Progressing")
    assert condition is not None
    assert (condition["status"], condition["reason"], condition["message"]) == (
        "False",
        "ProgressDeadlineExceeded",
        f'ReplicaSet "{name_of(world.sets[uid])}" has timed out progressing.',
    )
    assert world.plan().actions == ()
    world.settle(rounds=3)
    assert get_condition(world.d, "Progressing")["reason"] == "NewReplicaSetAvailable"  # type: ignore[index]


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "expected"),
    [
        (3, "25%", "25%", (1, 0)),
        (4, "25%", "25%", (1, 1)),
        (10, "30%", "35%", (3, 3)),
        (3, 0, 0, (0, 1)),
        (1, 2, 0, (2, 0)),
    ],
)
def test_fenceposts(replicas: int, surge: Any, unavailable: Any, expected: tuple[int, int]) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    assert model.fenceposts(deployment(replicas, strategy=strategy)) == expected


def test_hash_is_stable_and_changes_with_collisions() -> None:
    d = deployment()
    first = hash_of(d)
    assert first == hash_of(deployment()) and set(first) <= set("bcdfghjklmnpqrstvwxz2456789")
    labelled = deployment()
    labelled["spec"]["template"]["metadata"]["labels"]["pod-template-hash"] = "x"
    assert hash_of(labelled) == first
    counted = collision(d).obj
    assert counted["status"]["collisionCount"] == 1
    assert hash_of(counted) != first
    assert hash_of(deployment(image="v2")) != first


def test_failure_to_create_is_told() -> None:
    message, update = create_failed(deployment(), "web-x", "exceeded quota", NOW)
    assert message == 'Failed to create new replica set "web-x": exceeded quota'
    assert update is not None
    condition = get_condition(update.obj, "Progressing")
    assert condition is not None and (condition["status"], condition["reason"]) == ("False", "ReplicaSetCreateError")


def test_replica_failure_is_passed_on() -> None:
    world = World(deployment(1))
    world.deployment_step()
    (uid,) = world.sets
    failure = {
        "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota",
        "lastTransitionTime": format_time(NOW),
    }  # fmt: skip
    world.sets[uid]["status"]["conditions"] = [failure]
    world.deployment_step()
    assert get_condition(world.d, "ReplicaFailure") == {**failure, "lastUpdateTime": format_time(NOW)}
    del world.sets[uid]["status"]["conditions"]
    world.deployment_step()
    assert get_condition(world.d, "ReplicaFailure") is None


def test_a_status_that_lags_behind_its_size_promises_nothing() -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 3, "maxUnavailable": 0}}
    world = World(deployment(3, strategy=strategy))

    def old(name: str, size: int, available: int) -> Object:
        return {
            "metadata": {"name": name, "namespace": "default", "uid": name, "creationTimestamp": format_time(NOW)},
            "spec": {"replicas": size, "template": {"spec": {"image": name}}},
            "status": {"replicas": available, "availableReplicas": available},
        }

    # Of b's three available pods one is already doomed by its size: taking all of a would leave two.
    sets = [old("a", 3, 3), old("b", 2, 3)]
    sizes = scaling.shrink_old(world.d, None, sets)
    assert sum(sizes.get(uid_of(rs), model.replicas(rs)) for rs in sets) == 3
