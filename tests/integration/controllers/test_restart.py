"""Controllers that are cut off in the middle and started anew: nothing is made twice, everything gets done."""

from __future__ import annotations

import asyncio
import random

from pybernetes.api import resources as r
from pybernetes.api.meta import Object, is_condition_true, is_deleting
from pybernetes.controllers.manager import ControllerConfig, ControllerManager
from tests.integration.controllers.conftest import ROOT_CA, World, template


class Restarts:
    """Runs managers one after another, each cut off after a number of pod events."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._task: asyncio.Task[None] | None = None
        self.starts = 0

    async def again(self) -> None:
        await self.stop()
        manager = ControllerManager(self.world.api.client_for, config=ControllerConfig(root_ca_pem=ROOT_CA))
        self.world.manager = manager
        self._task = self.world.tasks.start(manager.run())
        self.starts += 1
        await manager.synced()

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None


async def test_a_rollout_and_a_job_survive_restarts(world: World) -> None:
    await world.tasks.cancel()
    random.seed(7)
    restarts = Restarts(world)
    changes = 0

    def count(old: Object | None, new: Object | None) -> None:
        nonlocal changes
        changes += 1

    world.api.reader.subscribe(r.PODS, count)
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 2, "maxUnavailable": 1}}
    spec = {"replicas": 12, "selector": {"matchLabels": {"app": "web"}}, "template": template(), "strategy": strategy}
    await world.create(r.DEPLOYMENTS, "web", spec=spec)
    job_template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "work:1"}]}}
    await world.create(r.JOBS, "j", spec={"template": job_template, "completions": 10, "parallelism": 3})

    def finish_jobs(old: Object | None, new: Object | None) -> None:
        is_work = new is not None and "job-name" in (new["metadata"].get("labels") or {})
        if new and is_work and (new.get("status") or {}).get("phase") == "Running" and not is_deleting(new):
            world.tasks.start(world.finish_pod(new))

    world.api.reader.subscribe(r.PODS, finish_jobs)

    def done(image: str) -> bool:
        status = world.status(r.DEPLOYMENTS, "web")
        pods = world.all(r.PODS, app="web")
        return (
            status.get("availableReplicas") == 12 == status.get("updatedReplicas") == status.get("replicas")
            and {p["spec"]["containers"][0]["image"] for p in pods} == {image}
            and len(pods) == 12
        )

    for image in ("web:1", "web:2", "web:3"):
        if image != "web:1":
            patch = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}}
            await world.patch(r.DEPLOYMENTS, "web", patch)
        for _ in range(8):
            await restarts.again()
            until = changes + random.randint(1, 9)
            await world.until(lambda until=until, image=image: changes >= until or done(image))  # type: ignore[misc]
        await world.until(lambda image=image: done(image))  # type: ignore[misc]
    await world.until(lambda: is_condition_true(world.get(r.JOBS, "j") or {}, "Complete"))
    status = world.status(r.JOBS, "j")
    assert (status["succeeded"], status.get("failed")) == (10, None)
    assert len(world.all(r.PODS, **{"job-name": "j"})) == 10
    assert restarts.starts == 24
    await restarts.stop()
