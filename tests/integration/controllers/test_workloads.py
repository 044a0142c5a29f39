"""ReplicaSet and Deployment against the API server."""

from __future__ import annotations

from pybernetes.api import resources as r
from pybernetes.api.meta import Object, annotations_of, controller_of, get_condition, name_of, uid_of
from tests.integration.controllers.conftest import World, template


def deployment(replicas: int = 3, **spec: object) -> Object:
    return {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template(), **spec}


def available(world: World, name: str, count: int) -> bool:
    d = world.get(r.DEPLOYMENTS, name)
    status = (d or {}).get("status") or {}
    return bool(
        d
        and status.get("availableReplicas", 0) == count
        and status.get("updatedReplicas", 0) == count
        and status.get("replicas", 0) == count
        and status.get("observedGeneration") == d["metadata"]["generation"]
    )


async def test_replica_set_makes_and_removes_pods(world: World) -> None:
    spec = {"replicas": 7, "selector": {"matchLabels": {"app": "web"}}, "template": template()}
    rs = await world.create(r.REPLICASETS, "web", spec=spec)
    await world.until(lambda: world.status(r.REPLICASETS, "web").get("availableReplicas") == 7)
    pods = world.all(r.PODS)
    assert len(pods) == 7
    assert all((controller_of(p) or {}).get("uid") == uid_of(rs) for p in pods)
    assert all(name_of(p).startswith("web-") for p in pods)
    await world.until(lambda: len(world.events("SuccessfulCreate")) == 7)
    assert world.events("SuccessfulCreate")[0].startswith("Created pod: web-")
    await world.patch(r.REPLICASETS, "web", {"spec": {"replicas": 2}})
    await world.until(lambda: world.status(r.REPLICASETS, "web").get("replicas") == 2)
    await world.until(lambda: len(world.all(r.PODS)) == 2)
    await world.until(lambda: len(world.events("SuccessfulDelete")) == 5)
    status = world.status(r.REPLICASETS, "web")
    assert status["observedGeneration"] == 2 and status["fullyLabeledReplicas"] == 2


async def test_many_pods_are_made_exactly_once(world: World) -> None:
    spec = {"replicas": 300, "selector": {"matchLabels": {"app": "web"}}, "template": template()}
    made: set[str] = set()
    world.api.reader.subscribe(r.PODS, lambda old, new: made.add(uid_of(new)) if new is not None else None)
    await world.create(r.REPLICASETS, "web", spec=spec)
    await world.until(lambda: world.status(r.REPLICASETS, "web").get("availableReplicas") == 300, seconds=60)
    await world.settled()
    assert len(made) == 300


async def test_orphans_are_adopted_and_strays_released(world: World) -> None:
    await world.create(r.PODS, "mine", meta={"labels": {"app": "web"}}, spec=template()["spec"])
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template()}
    rs = await world.create(r.REPLICASETS, "web", spec=spec)
    await world.until(lambda: world.status(r.REPLICASETS, "web").get("replicas") == 2)
    await world.until(lambda: (controller_of(world.get(r.PODS, "mine") or {}) or {}).get("uid") == uid_of(rs))
    assert len(world.all(r.PODS)) == 2
    await world.patch(r.PODS, "mine", {"metadata": {"labels": {"app": "debug"}}})
    await world.until(lambda: controller_of(world.get(r.PODS, "mine") or {}) is None)
    await world.until(lambda: len(world.all(r.PODS, app="web")) == 2)
    assert len(world.all(r.PODS)) == 3


async def test_a_replication_controller_works_alike(world: World) -> None:
    spec = {"replicas": 2, "selector": {"app": "web"}, "template": template()}
    await world.create(r.REPLICATIONCONTROLLERS, "web", spec=spec)
    await world.until(lambda: world.status(r.REPLICATIONCONTROLLERS, "web").get("availableReplicas") == 2)
    await world.until(lambda: len(world.events("SuccessfulCreate")) == 2)


async def test_refused_creations_are_told_until_they_succeed(world: World) -> None:
    spec = {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": template()}
    spec["template"]["spec"]["serviceAccountName"] = "nobody"  # type: ignore[index]
    await world.create(r.REPLICASETS, "web", spec=spec)
    condition = await world.until(lambda: get_condition(world.get(r.REPLICASETS, "web") or {}, "ReplicaFailure"))
    assert condition["reason"] == "FailedCreate" and 'serviceaccount "nobody" not found' in condition["message"]
    await world.until(lambda: world.events("FailedCreate"))
    assert world.events("FailedCreate")[0].startswith('Error creating: pods "web-')
    await world.create(r.SERVICEACCOUNTS, "nobody")
    await world.until(lambda: world.status(r.REPLICASETS, "web").get("availableReplicas") == 3)
    await world.until(lambda: not get_condition(world.get(r.REPLICASETS, "web") or {}, "ReplicaFailure"))


async def test_deployment_rolls_out_scales_and_rolls_back(world: World) -> None:
    await world.create(r.DEPLOYMENTS, "web", spec=deployment())
    await world.until(lambda: available(world, "web", 3))
    (first,) = world.all(r.REPLICASETS)
    await world.until(lambda: world.events("ScalingReplicaSet"))
    assert world.events("ScalingReplicaSet") == [f"Scaled up replica set {name_of(first)} from 0 to 3"]
    d = world.get(r.DEPLOYMENTS, "web") or {}
    assert annotations_of(d)["deployment.kubernetes.io/revision"] == "1"
    assert (get_condition(d, "Progressing") or {})["reason"] == "NewReplicaSetAvailable"

    await world.patch(r.DEPLOYMENTS, "web", {"spec": {"replicas": 5}})
    await world.until(lambda: available(world, "web", 5))

    image = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "web:2"}]}}}}
    await world.patch(r.DEPLOYMENTS, "web", image)
    await world.until(lambda: len(world.all(r.REPLICASETS)) == 2 and available(world, "web", 5))
    assert {
        p["spec"]["containers"][0]["image"] for p in world.all(r.PODS) if not p["metadata"].get("deletionTimestamp")
    } == {"web:2"}

    undo = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "web:1"}]}}}}
    await world.patch(r.DEPLOYMENTS, "web", undo)
    await world.until(
        lambda: (world.get(r.REPLICASETS, name_of(first)) or {})["spec"]["replicas"] == 5 and available(world, "web", 5)
    )
    assert len(world.all(r.REPLICASETS)) == 2
    again = world.get(r.REPLICASETS, name_of(first)) or {}
    assert annotations_of(again)["deployment.kubernetes.io/revision"] == "3"
    await world.until(
        lambda: annotations_of(world.get(r.DEPLOYMENTS, "web") or {})["deployment.kubernetes.io/revision"] == "3"
    )
    await world.settled()


async def test_bounds_hold_at_every_moment_of_a_roll_out(world: World) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 2, "maxUnavailable": 1}}
    await world.create(r.DEPLOYMENTS, "web", spec=deployment(8, strategy=strategy))
    await world.until(lambda: available(world, "web", 8))
    worst = [99, 0]

    def watch(old: Object | None, new: Object | None) -> None:
        pods = [p for p in world.all(r.PODS) if not p["metadata"].get("deletionTimestamp")]
        ready = sum(1 for p in pods if (get_condition(p, "Ready") or {}).get("status") == "True")
        worst[0] = min(worst[0], ready)
        worst[1] = max(worst[1], len(pods))

    unsubscribe = world.api.reader.subscribe(r.PODS, watch)
    image = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "web:2"}]}}}}
    worst[0] = 99
    await world.patch(r.DEPLOYMENTS, "web", image)
    await world.until(lambda: available(world, "web", 8) and len(world.all(r.REPLICASETS)) == 2)
    unsubscribe()
    assert worst[0] >= 7 and worst[1] <= 10


async def test_recreate_ends_the_old_before_the_new(world: World) -> None:
    await world.create(r.DEPLOYMENTS, "web", spec=deployment(3, strategy={"type": "Recreate"}))
    await world.until(lambda: available(world, "web", 3))
    images: list[int] = []
    world.api.reader.subscribe(
        r.PODS, lambda old, new: images.append(len({p["spec"]["containers"][0]["image"] for p in world.all(r.PODS)}))
    )
    image = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "web:2"}]}}}}
    await world.patch(r.DEPLOYMENTS, "web", image)
    await world.until(lambda: available(world, "web", 3) and len(world.all(r.REPLICASETS)) == 2)
    assert max(images) == 1


async def test_a_taken_name_is_counted_as_collision(world: World) -> None:
    d = await world.create(r.DEPLOYMENTS, "web", spec=deployment(1, paused=True))
    from pybernetes.controllers.deployment.plan import hash_of

    taken = f"web-{hash_of(d)}"
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": "other"}}, "template": template(app="other")}
    await world.create(r.REPLICASETS, taken, spec=spec)
    await world.patch(r.DEPLOYMENTS, "web", {"spec": {"paused": False}})
    await world.until(lambda: available(world, "web", 1))
    assert world.status(r.DEPLOYMENTS, "web")["collisionCount"] == 1
    assert len(world.all(r.REPLICASETS)) == 2
