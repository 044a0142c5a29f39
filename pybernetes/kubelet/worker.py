"""One pod's worker: a task that brings the pod to where its spec says, one step a wake-up, until the pod is gone.

Stages: *syncing* (make the sandbox, start and replace containers) until the pod is deleted, ends by itself or exceeds
its deadline; *ending* (hooks, signals, grace); *ended* (volumes and cgroup are gone; the object stays until somebody
deletes it); *leaving* (the object is removed, then what the runtime and the disk still have).

Whatever takes time is the worker's one *job*, a task of its own: the worker itself stays awake, reports the status and
takes back a job that the world has overtaken (a start, when the pod is deleted; a slow end, when the grace period was
cut). It is woken by the pod's watch, the runtime's events, probes, pulls, changed objects and due times; it never
polls. Only the worker acts on its pod. A cancelled worker leaves the containers as they are: the next kubelet adopts
them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from enum import Enum
from typing import Any

import structlog

from pybernetes.api import errors
from pybernetes.api.meta import Object, is_deleting, metadata
from pybernetes.api.time import parse_time
from pybernetes.client.events import NORMAL, WARNING
from pybernetes.kubelet import spec
from pybernetes.kubelet.cgroups import CgroupError
from pybernetes.kubelet.ending import end_pod, leave, release
from pybernetes.kubelet.identity import container_reference, format_pod, pod_reference
from pybernetes.kubelet.objects import references_of
from pybernetes.kubelet.observed import ObservedPod
from pybernetes.kubelet.parts import Parts
from pybernetes.kubelet.plan import Plan, compute
from pybernetes.kubelet.runtime import RuntimeFailure
from pybernetes.kubelet.starting import PodStarter, Retry
from pybernetes.kubelet.status import StatusInputs, generate
from pybernetes.kubelet.volumes.interface import VolumeError

log = structlog.get_logger(__name__)

_RETRY_FIRST_SECONDS = 0.5
_RETRY_MAX_SECONDS = 60.0
_DEADLINE = ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")


class Stage(Enum):
    SYNCING = "syncing"
    ENDING = "ending"
    ENDED = "ended"
    LEAVING = "leaving"
    GONE = "gone"


class PodWorker:
    """The worker of one pod uid. `update` and `removed` come from the watch; `run` ends when nothing of it is left."""

    def __init__(self, parts: Parts, pod: Object, *, known_to_api: bool = True) -> None:
        self._parts = parts
        self.pod = pod
        self.uid = str(metadata(pod)["uid"])
        self.stage = Stage.SYNCING
        self._in_api = known_to_api
        self._woken = asyncio.Event()
        self._woken.set()
        self._status: Object = dict(pod.get("status") or {})
        self._failed: tuple[str, str] | None = None
        self._starter = PodStarter(parts, self.uid, self.wake, self._report)
        self._job: asyncio.Task[None] | None = None
        self._job_stage = Stage.SYNCING
        self._job_grace = 0.0
        self._job_taken_back = False
        # Whether a job was taken back amid its work: then the runtime may have what the view does not know of.
        self._interrupted = False
        self._retry_seconds = 0.0
        self._retry_at: float | None = None
        self._due: float | None = None

    # -- what the world says ---------------------------------------------------------------------------------------

    def update(self, pod: Object) -> None:
        before, self.pod = self.pod, pod
        for field in ("labels", "annotations"):
            if metadata(before).get(field) != metadata(pod).get(field):
                self._starter.volumes_stale = True
        if before.get("spec") != pod.get("spec"):
            self._parts.objects.retain(self.uid, references_of(pod), self._objects_changed)
        self._starter.blocked.clear()
        self._retry_at = None
        self._woken.set()

    def removed(self, last: Object | None = None) -> None:
        """The API no longer has the pod, whose last state this was."""
        if last is not None:
            self.pod = last
        self._in_api = False
        self._retry_at = None
        self._woken.set()

    def wake(self) -> None:
        self._woken.set()

    def retry_now(self) -> None:
        """What may have been in the way is there now: the network, for one."""
        self._retry_at = None
        self._woken.set()

    def _objects_changed(self) -> None:
        self._starter.volumes_stale = True
        self._starter.blocked.clear()
        self._retry_at = None
        self._woken.set()

    # -- the loop --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Works until nothing of the pod is left. Cancelled, it leaves what runs."""
        self._parts.objects.retain(self.uid, references_of(self.pod), self._objects_changed)
        try:
            while self.stage is not Stage.GONE:
                await self._next_wake()
                self._turn()
        finally:
            if self._job is not None:
                self._job.cancel()
                await asyncio.gather(self._job, return_exceptions=True)
            self._parts.objects.release(self.uid)
            self._parts.probes.remove(self.uid)

    async def _next_wake(self) -> None:
        if self._due is None:
            await self._woken.wait()
        else:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, self._due - self._now())):
                    await self._woken.wait()
        self._woken.clear()

    def _now(self) -> float:
        return self._parts.clock.now()

    def _due_at(self, when: float | None) -> None:
        if when is not None:
            self._due = when if self._due is None else min(self._due, when)

    def _observed(self) -> ObservedPod:
        return self._parts.view.pod(self.uid)

    @property
    def _wanted(self) -> bool:
        """Whether the API wants the pod to be there."""
        return self._in_api and not is_deleting(self.pod)

    def _turn(self) -> None:
        """Looks at everything once, reports, and gives out the next job."""
        self._due = None
        self._collect_job()
        if self.stage is Stage.GONE:
            return
        plan = self._advance()
        self._report()
        if self._job is not None:
            self._reconsider_job()
            return
        if self._retry_at is not None and self._now() < self._retry_at:
            self._due_at(self._retry_at)
            return
        self._retry_at = None
        if self.stage is Stage.SYNCING:
            assert plan is not None
            if self._starter.has_work(plan, self._now()):
                self._begin(self._starter.carry_out(self.pod, plan, self._grace()))
            self._due_at(self._starter.due(self.pod, plan))
        elif self.stage is Stage.ENDING:
            self._job_grace = self._grace()
            self._begin(self._end(self._job_grace))
        elif self.stage is Stage.LEAVING:
            self._begin(leave(self._parts, self.pod, in_api=self._in_api))

    def _advance(self) -> Plan | None:
        """Moves on to the stage that the pod is in now; while syncing, the plan for it."""
        if self.stage is Stage.SYNCING:
            if not self._wanted or spec.is_terminal((self.pod.get("status") or {}).get("phase")):
                self.stage = Stage.ENDING
            elif self._past_deadline():
                self._failed = _DEADLINE
                self._parts.recorder.event(pod_reference(self.pod), NORMAL, *_DEADLINE)
                self.stage = Stage.ENDING
            else:
                plan = self._plan()
                if not plan.done:
                    return plan
                self.stage = Stage.ENDING
            self._retry_at = None
        if self.stage is Stage.ENDED and not self._wanted:
            self.stage = Stage.LEAVING
        return None

    def _past_deadline(self) -> bool:
        seconds = (self.pod.get("spec") or {}).get("activeDeadlineSeconds")
        started = self._status.get("startTime")
        if seconds is None or not started:
            return False
        ends = parse_time(started) + float(seconds)
        self._due_at(ends if ends > self._now() else None)
        return ends <= self._now()

    def _plan(self) -> Plan:
        parts, pod, observed = self._parts, self.pod, self._observed()
        plan = compute(pod, observed, parts.probes.results(self.uid), parts.backoffs, self._now())
        for waiting in self._starter.note_waiting(plan, observed):
            parts.recorder.event(
                container_reference(pod, waiting.name),
                WARNING,
                "BackOff",
                f"Back-off restarting failed container {waiting.name} in pod {format_pod(pod)}",
            )
        return plan

    # -- jobs ------------------------------------------------------------------------------------------------------

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._job_stage, self._job_taken_back = self.stage, False
        self._job = asyncio.get_running_loop().create_task(work, name=f"pod/{self.uid}/{self.stage.value}")
        self._job.add_done_callback(lambda _: self._woken.set())

    def _reconsider_job(self) -> None:
        """Takes back a job that the world has overtaken."""
        assert self._job is not None
        overtaken = self._job_stage is not self.stage or (
            self.stage is Stage.ENDING and self._grace() < self._job_grace
        )
        if overtaken and not self._job_taken_back:
            self._job_taken_back = self._interrupted = True
            self._job.cancel()

    def _collect_job(self) -> None:
        job = self._job
        if job is None or not job.done():
            return
        self._job = None
        if job.cancelled():
            return
        error = job.exception()
        if error is None:
            self._retry_seconds = 0.0
            if self._job_stage is self.stage:
                self.stage = {Stage.ENDING: Stage.ENDED, Stage.LEAVING: Stage.GONE}.get(self.stage, self.stage)
            return
        if not isinstance(error, Retry):
            known = isinstance(error, (RuntimeFailure, CgroupError, VolumeError, errors.ApiError, OSError))
            log.warning(
                "pod step failed", pod=format_pod(self.pod), stage=self._job_stage.value, error=str(error),
                exc_info=None if known else error,
            )  # fmt: skip
        if self._job_stage is self.stage:
            self._retry_seconds = min(max(_RETRY_FIRST_SECONDS, self._retry_seconds * 2), _RETRY_MAX_SECONDS)
            self._retry_at = self._now() + self._retry_seconds

    def _grace(self) -> float:
        """Seconds the containers may take to end."""
        given = metadata(self.pod).get("deletionGracePeriodSeconds")
        if given is None:
            given = (self.pod.get("spec") or {}).get("terminationGracePeriodSeconds")
        return max(1.0, float(30 if given is None else given))

    async def _end(self, grace_seconds: float) -> None:
        """Stops everything of the pod, then gives back its volumes and cgroup."""
        if self._interrupted:
            await self._parts.view.refresh_pod(self.uid)
            self._interrupted = False
        await end_pod(self._parts, self.pod, grace_seconds)
        self._starter.mounted = None
        await release(self._parts, self.pod)

    # -- saying how it stands --------------------------------------------------------------------------------------

    def _report(self) -> None:
        """Submits the status as it is now, and keeps the probes in step with the containers."""
        parts, pod, observed = self._parts, self.pod, self._starter.visible(self._observed())
        stopped = self.stage in (Stage.ENDED, Stage.LEAVING)
        if stopped:
            parts.probes.remove(self.uid)
        else:
            parts.probes.sync(pod, observed, self._starter.pod_ip(pod), self.wake)
        if not self._in_api or (self.stage is Stage.LEAVING and self._job is not None):
            return
        self._status = generate(
            StatusInputs(
                pod=pod,
                observed=observed,
                now=self._now(),
                host_ips=parts.node.host_ips,
                runtime_name=parts.node.runtime_name,
                old=self._status,
                probes=parts.probes.results(self.uid),
                waiting=self._starter.waiting,
                failed=self._failed,
                stopped=stopped,
            )
        )
        parts.statuses.submit(pod, self._status)
