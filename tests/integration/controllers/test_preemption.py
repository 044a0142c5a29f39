"""The scheduler makes room for pods of higher priority, with the controllers beside it."""

from __future__ import annotations

from typing import Any

from pybernetes.api import resources as r
from pybernetes.api.meta import Object, get_condition, is_deleting, name_of
from pybernetes.api.user import AUTHENTICATED, User
from pybernetes.scheduler.scheduler import Scheduler
from tests.integration.controllers.conftest import World

SCHEDULER = User("system:kube-scheduler", "", (AUTHENTICATED,))
CHIP = "example.com/chip"


def start_scheduler(world: World) -> None:
    world.tasks.start(Scheduler(world.api.client_for(SCHEDULER)).run(), name="scheduler")


async def make_chips(world: World, count: str) -> None:
    world.pods_run = world.pods_leave = False
    amounts = {CHIP: count, "pods": "110"}
    status = {"capacity": amounts, "allocatable": amounts}
    await world.admin.patch(r.NODES, "node-a", {"status": status}, subresource="status")
    for priority in (1, 2, 3):
        await world.create(r.PRIORITYCLASSES, f"p{priority}", value=priority)
    await world.create(r.PRIORITYCLASSES, "unassuming", value=3, preemptionPolicy="Never")


def pod_spec(priority: int, chips: str, **more: Any) -> Object:
    resources = {"requests": {CHIP: chips}, "limits": {CHIP: chips}}
    containers = [{"name": "c", "image": "web:1", "resources": resources}]
    return {"priorityClassName": f"p{priority}", "containers": containers, **more}


def placed(world: World) -> set[str]:
    return {name_of(p) for p in world.all(r.PODS) if p["spec"].get("nodeName")}


async def test_room_is_made_and_kept(world: World) -> None:
    await make_chips(world, "10")
    start_scheduler(world)
    labels = {"app": "low"}
    template = {"metadata": {"labels": labels}, "spec": pod_spec(1, "4")}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    await world.create(r.REPLICASETS, "low", spec=spec)
    await world.create(r.PODS, "middle", spec=pod_spec(2, "5"))
    await world.until(lambda: len(placed(world)) == 2)
    (victim,) = world.all(r.PODS, app="low")

    await world.create(r.PODS, "unassuming", spec=pod_spec(3, "4", priorityClassName="unassuming"))
    await world.until(lambda: any("preemptionPolicy=Never" in m for m in world.events("FailedScheduling")))
    assert not is_deleting(world.get(r.PODS, name_of(victim)) or {})
    await world.admin.delete(r.PODS, "unassuming", "default", grace_period_seconds=0)

    high = await world.create(r.PODS, "high", spec=pod_spec(3, "4"))
    gone = await world.until(lambda: (p := world.get(r.PODS, name_of(victim))) and is_deleting(p) and p)
    condition = get_condition(gone, "DisruptionTarget") or {}
    assert (condition["status"], condition["reason"], condition["message"]) == (
        "True",
        "PreemptionByScheduler",
        "default-scheduler: preempting to accommodate a higher priority pod",
    )
    assert world.status(r.PODS, "high")["nominatedNodeName"] == "node-a"
    # Neither the replica that takes the victim's place nor a newcomer must take the room.
    replacement = await world.until(lambda: [p for p in world.all(r.PODS, app="low") if p is not gone])
    await world.end_pod(gone)
    await world.create(r.PODS, "late", spec=pod_spec(1, "4"))
    await world.until(lambda: get_condition(world.get(r.PODS, "late") or {}, "PodScheduled"))
    await world.until(lambda: "high" in placed(world))
    assert placed(world) == {"middle", "high"}
    assert "nominatedNodeName" not in world.status(r.PODS, "high")
    preempted = f"Preempted by pod {high['metadata']['uid']} on node node-a"
    await world.until(lambda: world.events("Preempted") == [preempted])
    assert not is_deleting(world.get(r.PODS, name_of(replacement[0])) or {})


async def test_a_scheduler_that_takes_over_waits_for_the_room(world: World) -> None:
    """What one scheduler began lies in the pods: the next evicts no others, and keeps the room."""
    await make_chips(world, "10")
    for name in ("going", "staying"):
        await world.run_pod(await world.create(r.PODS, name, spec=pod_spec(1, "5")), node="node-a")
    await world.admin.delete(r.PODS, "going", "default")
    await world.create(r.PODS, "high", spec=pod_spec(3, "5"))
    status = {"nominatedNodeName": "node-a"}
    await world.admin.patch(r.PODS, "high", {"status": status}, "default", subresource="status")
    await world.create(r.PODS, "low", spec=pod_spec(1, "5"))
    start_scheduler(world)
    await world.until(
        lambda: any("terminating pod on the nominated node" in m for m in world.events("FailedScheduling"))
    )
    assert not is_deleting(world.get(r.PODS, "staying") or {})
    await world.end_pod(world.get(r.PODS, "going") or {})
    await world.until(lambda: "high" in placed(world))
    assert "low" not in placed(world) and not is_deleting(world.get(r.PODS, "staying") or {})


async def test_room_is_free_again_when_nobody_comes(world: World) -> None:
    await make_chips(world, "10")
    start_scheduler(world)
    await world.create(r.PODS, "first", spec=pod_spec(1, "8"))
    await world.until(lambda: placed(world) == {"first"})
    await world.create(r.PODS, "high", spec=pod_spec(3, "10"))
    first = await world.until(lambda: (p := world.get(r.PODS, "first")) and is_deleting(p) and p)
    await world.create(r.PODS, "second", spec=pod_spec(1, "2"))
    await world.until(lambda: get_condition(world.get(r.PODS, "second") or {}, "PodScheduled"))
    await world.admin.delete(r.PODS, "high", "default", grace_period_seconds=0)
    await world.until(lambda: "second" in placed(world))
    await world.end_pod(first)
