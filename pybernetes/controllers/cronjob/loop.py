"""Watches CronJobs and their jobs, starts jobs when they are due and removes old ones. Each waits on one timer."""

from __future__ import annotations

from pybernetes.api import errors
from pybernetes.api.meta import (
    Object,
    controller_of,
    key_of,
    name_of,
    namespace_of,
    object_reference,
    uid_of,
)
from pybernetes.api.resources import CRONJOBS, JOBS
from pybernetes.api.time import format_time
from pybernetes.client.events import NORMAL, WARNING
from pybernetes.controllers import pods as podstate
from pybernetes.controllers.controller import Context, QueueController, is_namespace_terminating, updated_status
from pybernetes.controllers.cronjob.plan import job_reference, plan
from pybernetes.controllers.freshness import Freshness

STALE_RETRY_SECONDS = 30.0


class CronJobController(QueueController):
    name = "cronjob"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._cron_jobs = self.watch(CRONJOBS)
        self._jobs = self.watch(JOBS)
        self._jobs.cache.add_index(podstate.CONTROLLER_INDEX, podstate.by_controller, podstate.owners_part)
        self._written = Freshness(self._cron_jobs, context.clock)
        self._written_jobs = Freshness(self._jobs, context.clock)
        self._cron_jobs.add_handler(self._on_cron_job)
        self._jobs.add_handler(self._on_job)

    def _on_cron_job(self, old: Object | None, new: Object | None) -> None:
        obj = new or old
        assert obj is not None
        self.queue.add(key_of(obj))

    def _on_job(self, old: Object | None, new: Object | None) -> None:
        for job in (old, new):
            ref = controller_of(job) if job is not None else None
            if job is not None and ref is not None and ref.get("kind") == "CronJob":
                self.queue.add(f"{namespace_of(job)}/{ref['name']}")

    async def reconcile(self, key: str) -> None:
        cron_job = self._cron_jobs.cache.get(key)
        if cron_job is None:
            self._written.forget(key)
            self._written_jobs.forget(key)
            return
        if not self._written.is_fresh(key) or not self._written_jobs.is_fresh(key):
            self.queue.add_after(key, STALE_RETRY_SECONDS)
            return
        jobs = self._jobs.cache.by_index(podstate.CONTROLLER_INDEX, uid_of(cron_job))
        now = self.now()
        planned = plan(cron_job, jobs, now)
        about = object_reference(cron_job, "batch/v1", "CronJob")
        for type_, reason, message in planned.events:
            self.events.event(about, NORMAL if type_ == NORMAL else WARNING, reason, message)
        for job in (*planned.remove, *planned.replace):
            await self._delete(key, job, about)
        status = planned.status
        if planned.start is not None and planned.scheduled_at is not None:
            started = await self._start(key, planned.start, about)
            if started is not None:
                status["active"] = [*(status.get("active") or ()), job_reference(started)]
                status["lastScheduleTime"] = format_time(planned.scheduled_at)
        if status != (cron_job.get("status") or {}):
            try:
                updated = await self.client.update(CRONJOBS, updated_status(cron_job, status), subresource="status")
            except errors.NotFound:
                return
            self._written.wrote(key, updated)
        if planned.check_again_at is not None:
            self.queue.add_after(key, max(0.1, planned.check_again_at - self.now()))

    async def _start(self, key: str, job: Object, about: Object) -> Object | None:
        try:
            created = await self.client.create(JOBS, job, namespace_of(job))
        except errors.AlreadyExists:
            existing = await self.client.get(JOBS, name_of(job), namespace_of(job))
            if (controller_of(existing) or {}).get("uid") != job["metadata"]["ownerReferences"][0]["uid"]:
                text = f"Error creating job: {name_of(job)} already exists"
                self.events.event(about, WARNING, "FailedCreate", text)
                return None
            created = existing
        except errors.ApiError as error:
            if is_namespace_terminating(error):
                return None
            self.events.event(about, WARNING, "FailedCreate", f"Error creating job: {error.message}")
            raise
        self._written_jobs.wrote(key, created)
        self.events.event(about, NORMAL, "SuccessfulCreate", f"Created job {name_of(created)}")
        return created

    async def _delete(self, key: str, job: Object, about: Object) -> None:
        try:
            await self.client.delete(JOBS, name_of(job), namespace_of(job), propagation="Background", uid=uid_of(job))
        except errors.NotFound:
            return
        except errors.ApiError as error:
            self.events.event(about, WARNING, "FailedDelete", f"Deleted job: {error.message}")
            raise
        self._written_jobs.deleted(key, job)
        self.events.event(about, NORMAL, "SuccessfulDelete", f"Deleted job {name_of(job)}")
