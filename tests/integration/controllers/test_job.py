"""Jobs against the API server."""

from __future__ import annotations

from pybernetes.api import resources as r
from pybernetes.api.meta import Object, is_condition_true, labels_of
from pybernetes.controllers.job.model import is_tracked
from tests.integration.controllers.conftest import World


def spec(**fields: object) -> Object:
    return {
        "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "work:1"}]}},
        **fields,
    }


async def finish(world: World, phase: str = "Succeeded") -> None:
    for pod in world.all(r.PODS):
        if (pod.get("status") or {}).get("phase") == "Running":
            await world.finish_pod(pod, phase)


async def test_a_job_runs_to_its_completions(world: World) -> None:
    await world.create(r.JOBS, "j", spec=spec(completions=5, parallelism=2))
    for _ in range(50):
        if is_condition_true(world.get(r.JOBS, "j") or {}, "Complete"):
            break
        await world.until(
            lambda: (
                any((p.get("status") or {}).get("phase") == "Running" for p in world.all(r.PODS))
                or is_condition_true(world.get(r.JOBS, "j") or {}, "Complete")
            )
        )
        await finish(world)
    status = world.status(r.JOBS, "j")
    assert status["succeeded"] == 5 and "active" not in status and status["completionTime"]
    assert len(world.all(r.PODS)) == 5
    await world.until(lambda: not any(is_tracked(p) for p in world.all(r.PODS)))
    assert all(labels_of(p)["batch.kubernetes.io/job-name"] == "j" for p in world.all(r.PODS))
    await world.until(lambda: world.events("Completed") == ["Job completed"])


async def test_a_job_fails_at_its_limit(world: World) -> None:
    await world.create(r.JOBS, "j", spec=spec(backoffLimit=0))
    await world.until(lambda: any((p.get("status") or {}).get("phase") == "Running" for p in world.all(r.PODS)))
    await finish(world, "Failed")
    await world.until(lambda: is_condition_true(world.get(r.JOBS, "j") or {}, "Failed"))
    assert world.status(r.JOBS, "j")["failed"] == 1
    await world.until(lambda: world.events("BackoffLimitExceeded"))


async def test_deleting_a_job_takes_its_pods(world: World) -> None:
    await world.create(r.JOBS, "j", spec=spec(completions=3, parallelism=3))
    await world.until(lambda: world.status(r.JOBS, "j").get("ready") == 3)
    await world.admin.delete(r.JOBS, "j", "default", propagation="Background")
    await world.until(lambda: not world.all(r.PODS) and world.get(r.JOBS, "j") is None)
    await world.create(r.JOBS, "again", spec=spec(completions=2, parallelism=2))
    await world.until(lambda: world.status(r.JOBS, "again").get("ready") == 2)
    await world.admin.delete(r.JOBS, "again", "default", propagation="Foreground")
    await world.until(lambda: not world.all(r.PODS) and world.get(r.JOBS, "again") is None)


async def test_a_cron_job_starts_jobs_and_a_finished_job_goes(world: World) -> None:
    job_spec = spec(ttlSecondsAfterFinished=0)
    await world.create(r.CRONJOBS, "c", spec={"schedule": "@every 1s", "jobTemplate": {"spec": job_spec}})
    first = await world.until(lambda: world.all(r.JOBS))
    assert first[0]["metadata"]["ownerReferences"][0]["kind"] == "CronJob"
    await world.until(lambda: world.status(r.CRONJOBS, "c").get("active"))
    await world.patch(r.CRONJOBS, "c", {"spec": {"suspend": True}})
    await world.settled()
    for job in world.all(r.JOBS):
        name = job["metadata"]["name"]
        await world.until(
            lambda name=name: [  # type: ignore[misc]
                p
                for p in world.all(r.PODS, **{"batch.kubernetes.io/job-name": name})
                if (p.get("status") or {}).get("phase") == "Running"
            ]
        )
    await finish(world)
    await world.until(lambda: not world.all(r.JOBS))
    await world.until(lambda: not world.status(r.CRONJOBS, "c").get("active"))
    assert world.events("SuccessfulCreate")
