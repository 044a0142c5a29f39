"""Watches Jobs and their pods, and applies the plan: pods first, then the status, then finalizers.

A key is planned only when the caches show the last status and the last pods written for it; without that, pods
would be counted twice. Pods whose job is gone lose their finalizer under keys of their own (``orphan:…``).
"""

from __future__ import annotations

from pybernetes.api import errors
from pybernetes.api.meta import (
    Object,
    controller_of,
    key_of,
    metadata,
    name_of,
    namespace_of,
    new_controller_ref,
    object_reference,
    uid_of,
)
from pybernetes.api.resources import JOBS, PODS
from pybernetes.client.events import NORMAL, WARNING
from pybernetes.client.interface import MERGE_PATCH
from pybernetes.controllers import pods as podstate
from pybernetes.controllers.adoption import claim_pods
from pybernetes.controllers.batches import all_at_once, slow_start
from pybernetes.controllers.controller import Context, QueueController, is_namespace_terminating, updated_status
from pybernetes.controllers.freshness import Freshness
from pybernetes.controllers.job import model
from pybernetes.controllers.job.plan import NewPod, plan
from pybernetes.controllers.podevents import OwnerEvents
from pybernetes.controllers.selection import SELECTOR_INDEX, selectors_by_pair

STALE_RETRY_SECONDS = 30.0
_ORPHAN = "orphan:"


class JobController(QueueController):
    name = "job"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._jobs = self.watch(JOBS)
        self._pods = self.watch(PODS)
        self._jobs.cache.add_index(SELECTOR_INDEX, selectors_by_pair)
        self._pods.cache.add_index(podstate.CONTROLLER_INDEX, podstate.by_controller, podstate.owners_part)
        self._written_pods = Freshness(self._pods, context.clock)
        self._written_jobs = Freshness(self._jobs, context.clock)
        self._owners = OwnerEvents(JOBS, self._jobs.cache, self.queue.add)
        self._jobs.add_handler(self._on_job)
        self._pods.add_handler(self._on_pod)

    def _on_job(self, old: Object | None, new: Object | None) -> None:
        obj = new or old
        assert obj is not None
        if old is not None and (new is None or uid_of(old) != uid_of(new)):
            self._forget(key_of(obj))
            for pod in self._pods.cache.by_index(podstate.CONTROLLER_INDEX, uid_of(old)):
                if model.is_tracked(pod):
                    self.queue.add(_ORPHAN + key_of(pod))
        self.queue.add(key_of(obj))

    def _on_pod(self, old: Object | None, new: Object | None) -> None:
        self._owners(old, new)
        if new is not None and model.is_tracked(new) and self._job_of(new) is None:
            self.queue.add(_ORPHAN + key_of(new))

    def _job_of(self, pod: Object) -> Object | None:
        key = self._owners.owner_key(pod)
        job = self._jobs.cache.get(key) if key is not None else None
        return job if job is not None and uid_of(job) == (controller_of(pod) or {}).get("uid") else None

    def _forget(self, key: str) -> None:
        self._written_pods.forget(key)
        self._written_jobs.forget(key)

    async def reconcile(self, key: str) -> None:
        if key.startswith(_ORPHAN):
            pod = self._pods.cache.get(key.removeprefix(_ORPHAN))
            if pod is not None and model.is_tracked(pod) and self._job_of(pod) is None:
                await self._release(None, pod)
            return
        job = self._jobs.cache.get(key)
        if job is None:
            self._forget(key)
            return
        if not self._written_jobs.is_fresh(key) or not self._written_pods.is_fresh(key):
            self.queue.add_after(key, STALE_RETRY_SECONDS)
            return
        pods = await claim_pods(
            self.client, self._pods.cache, JOBS, job, job["spec"].get("selector"), adopt_finished=True
        )
        now = self.now()
        planned = plan(job, pods, now)
        about = object_reference(job, "batch/v1", "Job")
        created, error = await self._create(key, job, planned.create, about)
        delete_error = await self._delete(key, job, planned.delete, about)
        status = planned.status
        missing = len(planned.create) - created
        if missing:
            status["active"] = max(0, int(status.get("active") or 0) - missing)
            if not status["active"]:
                del status["active"]
        if status != (job.get("status") or {}):
            try:
                updated = await self.client.update(JOBS, updated_status(job, status), subresource="status")
            except errors.NotFound:
                return
            self._written_jobs.wrote(key, updated)
            for type_, reason, message in planned.events:
                self.events.event(about, NORMAL if type_ == NORMAL else WARNING, reason, message)
        # Only what the status has noted may be let go.
        release_error = await all_at_once(planned.release, lambda pod: self._release(key, pod))
        if failure := error or delete_error or release_error:
            raise failure
        if planned.check_again_at is not None:
            self.queue.add_after(key, max(0.05, planned.check_again_at - now))

    async def _create(
        self, key: str, job: Object, wanted: list[NewPod], about: Object
    ) -> tuple[int, errors.ApiError | None]:
        ref = new_controller_ref(job, "batch/v1", "Job")

        async def create(one: NewPod) -> None:
            pod = model.new_pod(job, ref, one.index, one.failures)
            try:
                created = await self.client.create(PODS, pod, namespace_of(job))
            except errors.ApiError as error:
                if is_namespace_terminating(error):
                    return
                self.events.event(about, WARNING, "FailedCreate", f"Error creating: {error.message}")
                raise
            self._written_pods.wrote(key, created)
            self.events.event(about, NORMAL, "SuccessfulCreate", f"Created pod: {name_of(created)}")

        return await slow_start(wanted, create)

    async def _delete(self, key: str, job: Object, pods: list[Object], about: Object) -> errors.ApiError | None:
        async def delete(pod: Object) -> None:
            try:
                await self.client.delete(PODS, name_of(pod), namespace_of(pod), uid=uid_of(pod))
            except (errors.NotFound, errors.Conflict):
                return
            except errors.ApiError as error:
                self.events.event(about, WARNING, "FailedDelete", f"Error deleting: {error.message}")
                raise
            self._written_pods.deleted(key, pod)
            self.events.event(about, NORMAL, "SuccessfulDelete", f"Deleted pod: {name_of(pod)}")

        return await all_at_once(pods, delete)

    async def _release(self, key: str | None, pod: Object) -> None:
        """Takes the tracking finalizer off the pod."""
        kept = [f for f in metadata(pod).get("finalizers") or () if f != model.TRACKING_FINALIZER]
        patch = {
            "metadata": {
                "uid": uid_of(pod),
                "resourceVersion": metadata(pod)["resourceVersion"],
                "finalizers": kept or None,
            }
        }
        try:
            updated = await self.client.patch(PODS, name_of(pod), patch, namespace_of(pod), patch_type=MERGE_PATCH)
        except errors.NotFound:
            return
        if key is not None:
            self._written_pods.wrote(key, updated)
