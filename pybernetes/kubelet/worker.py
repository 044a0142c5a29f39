"""One pod's worker: a task that brings the pod to where its spec says, one step a wake-up, until the pod is gone.

Lifecycle: *sync* (make the sandbox, start and replace containers) until the pod is deleted, ends by itself or exceeds
its deadline; then *terminate* (hooks, signals, grace); then *clean up* and, where the API has the pod as deleted,
remove the object. A worker is woken by its pod's watch, the runtime's events, probes, pulls, changed config and due
times; it never polls. Only the worker acts on its pod. A cancelled worker leaves the containers as they are: the next
kubelet adopts them.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Awaitable, Sequence
from pathlib import Path

import structlog

from pybernetes.api import errors
from pybernetes.api.meta import Object, is_deleting, metadata, name_of, namespace_of, uid_of
from pybernetes.api.resources import PODS, RUNTIMECLASSES, SECRETS
from pybernetes.api.time import parse_time
from pybernetes.client.events import NORMAL, WARNING
from pybernetes.kubelet import spec
from pybernetes.kubelet.cgroups import CgroupError
from pybernetes.kubelet.containers import ContainerInputs, container_config, sandbox_config
from pybernetes.kubelet.dns import HostnameError
from pybernetes.kubelet.downward import PodFacts
from pybernetes.kubelet.env import ContainerConfigError
from pybernetes.kubelet.hooks import HookFailed
from pybernetes.kubelet.identity import container_reference, format_pod, pod_log_directory, pod_reference
from pybernetes.kubelet.images import Pulling, Ready, Unavailable
from pybernetes.kubelet.killing import kill_all, kill_container, probe_grace
from pybernetes.kubelet.objects import references_of
from pybernetes.kubelet.observed import ObservedPod
from pybernetes.kubelet.parts import Parts
from pybernetes.kubelet.plan import Kill, Plan, Start, backoff_key, compute
from pybernetes.kubelet.runtime import ContainerState, RuntimeFailure, SandboxConfig
from pybernetes.kubelet.security import SecurityError
from pybernetes.kubelet.status import StatusInputs, generate
from pybernetes.kubelet.volumes.interface import Mounted, VolumeError
from pybernetes.kubelet.volumes.manager import VolumesNotReady

log = structlog.get_logger(__name__)

_RETRY_FIRST_SECONDS = 0.5
_RETRY_MAX_SECONDS = 60.0
_HOOK_SECONDS = 300.0
_DEADLINE = ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")


class _Retry(Exception):
    """A step failed; what was to be said has been said. Try again after a growing while, or when woken."""


class PodWorker:
    """The worker of one pod uid. `update` and `removed` come from the watch; `run` ends when nothing of it is left."""

    def __init__(self, parts: Parts, pod: Object, *, known_to_api: bool = True) -> None:
        self._parts = parts
        self.pod = pod
        self.uid = uid_of(pod)
        self._in_api = known_to_api
        self._wake = asyncio.Event()
        self._wake.set()
        self._mounted: dict[str, Mounted] | None = None
        self._volumes_stale = False
        self._waiting: dict[str, tuple[str, str]] = {}
        self._status: Object = dict(pod.get("status") or {})
        self._failed: tuple[str, str] | None = None
        self._stopped = False
        self._cleaned = False
        self._retry_seconds = 0.0
        self._due: float | None = None

    # -- what the world says ---------------------------------------------------------------------------------------

    def update(self, pod: Object) -> None:
        self.pod = pod
        self._wake.set()

    def removed(self) -> None:
        """The API no longer has the pod."""
        self._in_api = False
        self._wake.set()

    def wake(self) -> None:
        self._wake.set()

    def _objects_changed(self) -> None:
        self._volumes_stale = True
        self._wake.set()

    # -- the loop --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Works until nothing of the pod is left. Cancelled, it leaves what runs."""
        self._parts.objects.retain(self.uid, references_of(self.pod), self._objects_changed)
        try:
            while True:
                await self._next_wake()
                self._due = None
                try:
                    if await self._step():
                        return
                    self._retry_seconds = 0.0
                except (_Retry, RuntimeFailure, CgroupError, VolumeError, errors.ApiError, OSError) as error:
                    if not isinstance(error, _Retry):
                        log.warning("pod step failed", pod=format_pod(self.pod), error=str(error))
                    self._retry_seconds = min(max(_RETRY_FIRST_SECONDS, self._retry_seconds * 2), _RETRY_MAX_SECONDS)
                    self._due_at(self._now() + self._retry_seconds)
                    self._report()
        finally:
            self._parts.objects.release(self.uid)
            self._parts.probes.remove(self.uid)

    async def _next_wake(self) -> None:
        if self._due is None:
            await self._wake.wait()
        else:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, self._due - self._now())):
                    await self._wake.wait()
        self._wake.clear()

    def _now(self) -> float:
        return self._parts.clock.now()

    def _due_at(self, when: float | None) -> None:
        if when is not None:
            self._due = when if self._due is None else min(self._due, when)

    def _observed(self) -> ObservedPod:
        return self._parts.view.pod(self.uid)

    async def _step(self) -> bool:
        """One step; whether it was the last."""
        pod = self.pod
        if not self._in_api or is_deleting(pod):
            await self._terminate()
            await self._clean_up(containers=True)
            return await self._remove_object()
        if self._stopped or spec.is_terminal((pod.get("status") or {}).get("phase")):
            await self._finish()
            return False
        if self._past_deadline():
            self._failed = _DEADLINE
            self._parts.recorder.event(pod_reference(pod), NORMAL, *_DEADLINE)
            await self._finish()
            return False
        await self._sync()
        return False

    def _past_deadline(self) -> bool:
        seconds = (self.pod.get("spec") or {}).get("activeDeadlineSeconds")
        started = self._status.get("startTime")
        if seconds is None or not started:
            return False
        ends = parse_time(started) + float(seconds)
        self._due_at(ends if ends > self._now() else None)
        return ends <= self._now()

    # -- saying how it stands --------------------------------------------------------------------------------------

    def _report(self) -> None:
        """Submits the status as it is now, and keeps the probes in step with the containers."""
        observed = self._observed()
        if not self._stopped:
            self._parts.probes.sync(self.pod, observed, self._pod_ip(observed), self.wake)
        if not self._in_api:
            return
        self._status = generate(
            StatusInputs(
                pod=self.pod,
                observed=observed,
                now=self._now(),
                host_ips=self._parts.node.host_ips,
                runtime_name=self._parts.node.runtime_name,
                old=self._status,
                probes=self._parts.probes.results(self.uid),
                waiting=self._waiting,
                failed=self._failed,
                stopped=self._stopped,
            )
        )
        self._parts.statuses.submit(self.pod, self._status)

    def _pod_ip(self, observed: ObservedPod) -> str:
        if spec.uses_host_network(self.pod):
            return next(iter(self._parts.node.host_ips), "")
        return observed.sandbox.ips[0] if observed.sandbox is not None and observed.sandbox.ips else ""

    def _facts(self, observed: ObservedPod) -> PodFacts:
        node = self._parts.node
        ips: Sequence[str] = (
            node.host_ips if spec.uses_host_network(self.pod) else observed.sandbox.ips if observed.sandbox else ()
        )
        return PodFacts(self._parts.config.node_name, node.host_ips, ips, node.allocatable)

    def _event(self, kind: str, reason: str, message: str, container: str = "") -> None:
        about = container_reference(self.pod, container) if container else pod_reference(self.pod)
        self._parts.recorder.event(about, NORMAL if kind == "Normal" else WARNING, reason, message)

    # -- towards the spec ------------------------------------------------------------------------------------------

    async def _sync(self) -> None:
        pod, parts = self.pod, self._parts
        parts.probes.sync(pod, self._observed(), self._pod_ip(self._observed()), self.wake)
        observed = self._observed()
        plan = compute(pod, observed, parts.probes.results(self.uid), parts.backoffs, self._now())
        self._waiting = {
            name: why for name, why in self._waiting.items() if (c := observed.latest(name)) is None or not c.running
        }
        for waiting in plan.waiting:
            if self._waiting.get(waiting.name, ("",))[0] != "CrashLoopBackOff":
                self._event(
                    "Warning",
                    "BackOff",
                    f"Back-off restarting failed container {waiting.name} in pod {format_pod(pod)}",
                    waiting.name,
                )
            self._waiting[waiting.name] = ("CrashLoopBackOff", waiting.message)
        self._due_at(plan.wake_at)
        self._report()
        if plan.kill_pod:
            if plan.done:
                await self._finish()
                return
            await kill_all(parts, pod, observed, self._grace())
            await self._stop_sandboxes()
        if plan.create_sandbox or plan.starts or self._mounted is None or self._volumes_stale:
            await self._prepare()
        config = self._sandbox_config(plan, observed)
        if plan.create_sandbox:
            await self._create_sandbox(config)
            again = compute(pod, self._observed(), {}, parts.backoffs, self._now())
            self._report()
            if not again.create_sandbox:
                plan = again
                self._due_at(plan.wake_at)
        if plan.kills:
            await self._kill(plan.kills)
            self._wake.set()
        for start in plan.starts:
            if not await self._start(start, config):
                break
        self._due_at(self._parts.volumes.renew_at(pod, self._facts(self._observed())))
        self._report()

    def _grace(self) -> float:
        meta = metadata(self.pod)
        if meta.get("deletionGracePeriodSeconds") is not None:
            return float(meta["deletionGracePeriodSeconds"])
        return float((self.pod.get("spec") or {}).get("terminationGracePeriodSeconds") or 0)

    async def _prepare(self) -> None:
        """The pod's cgroup and its volumes."""
        parts = self._parts
        problem = parts.node.network_problem
        if problem and not spec.uses_host_network(self.pod):
            self._event("Warning", "NetworkNotReady", f"network is not ready: {problem}")
            raise _Retry
        parts.cgroups.create(self.pod)
        stale, self._volumes_stale = self._volumes_stale, False
        if self._mounted is not None and not stale and self._renewal_is_far():
            return
        try:
            self._mounted = await parts.volumes.set_up(self.pod, self._facts(self._observed()), mounted=self._mounted)
        except VolumesNotReady as error:
            self._volumes_stale = self._mounted is not None
            for text in error.failures.values():
                self._event("Warning", "FailedMount", text)
            raise _Retry from error

    def _renewal_is_far(self) -> bool:
        renew = self._parts.volumes.renew_at(self.pod, self._facts(self._observed()))
        return renew is None or renew > self._now()

    def _sandbox_config(self, plan: Plan, observed: ObservedPod) -> SandboxConfig:
        attempt = plan.sandbox_attempt if plan.create_sandbox else observed.sandbox.attempt if observed.sandbox else 0
        try:
            return sandbox_config(self.pod, self._parts.config, self._parts.cgroups.path(self.pod), attempt)
        except HostnameError as error:
            self._event("Warning", "FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}")
            raise _Retry from error

    async def _create_sandbox(self, config: SandboxConfig) -> None:
        parts = self._parts
        try:
            Path(config.log_directory).mkdir(parents=True, exist_ok=True)
            sandbox = await parts.runtime.run_sandbox(config, await self._runtime_handler())
        except RuntimeFailure as failure:
            self._event("Warning", "FailedCreatePodSandBox", f"Failed to create pod sandbox: {failure}")
            await parts.view.refresh_pod(self.uid)
            raise _Retry from failure
        await parts.view.refresh_sandbox(sandbox)
        await self._forget_old_sandboxes(keep=sandbox)

    async def _runtime_handler(self) -> str:
        name = (self.pod.get("spec") or {}).get("runtimeClassName")
        if not name:
            return ""
        found = await self._parts.client.get(RUNTIMECLASSES, name)
        return str(found.get("handler") or "")

    async def _kill(self, kills: Sequence[Kill]) -> None:
        observed = self._observed()
        for kill in kills:
            container = next((c for c in observed.containers if c.id == kill.container_id), None)
            if container is None:
                continue
            found = spec.find_container(self.pod, kill.name)
            grace = probe_grace(found[1], kill.reason) if found is not None else None
            await kill_container(
                self._parts, self.pod, container, self._grace() if grace is None else grace, kill.message
            )

    async def _start(self, start: Start, sandbox: SandboxConfig) -> bool:
        """Starts one container; whether the ones after it may be started too."""
        parts, pod = self._parts, self.pod
        found = spec.find_container(pod, start.name)
        assert found is not None, "a plan names containers of the spec"
        container = found[1]
        image = await parts.images.ensure(pod, container, sandbox, self._pull_secrets, self.wake)
        if isinstance(image, Pulling):
            if self._waiting.get(start.name, ("",))[0] not in ("ErrImagePull", "ImagePullBackOff"):
                self._waiting.pop(start.name, None)
            return start.kind != "init"
        if isinstance(image, Unavailable):
            self._waiting[start.name] = (image.reason, image.message)
            self._due_at(image.until)
            return start.kind != "init"
        observed = self._observed()
        latest = observed.latest(start.name)
        try:
            config = await container_config(pod, container, await self._inputs(container, image, start.restart_count))
        except (ContainerConfigError, SecurityError) as error:
            self._fail(start.name, "CreateContainerConfigError", str(error))
            raise _Retry from error
        except (VolumeError, OSError) as error:
            self._fail(start.name, "CreateContainerConfigError", str(error))
            raise _Retry from error
        assert observed.sandbox is not None, "containers are started in a sandbox"
        if latest is not None and latest.exited:
            parts.backoffs.next(backoff_key(pod, container), latest.status.finished_at, self._now())
        try:
            container_id = await parts.runtime.create_container(observed.sandbox.id, config, sandbox)
        except RuntimeFailure as failure:
            self._fail(start.name, "CreateContainerError", str(failure))
            raise _Retry from failure
        self._event("Normal", "Created", f"Created container: {start.name}", start.name)
        try:
            await parts.runtime.start_container(container_id)
        except RuntimeFailure as failure:
            self._fail(start.name, "RunContainerError", str(failure))
            ended = await parts.view.refresh_container(container_id, observed.sandbox.id)
            if ended is None or ended.state is ContainerState.CREATED:
                with contextlib.suppress(RuntimeFailure):
                    await parts.runtime.remove_container(container_id)
                parts.view.forget(container_id)
            raise _Retry from failure
        self._waiting.pop(start.name, None)
        self._event("Normal", "Started", f"Started container {start.name}", start.name)
        await parts.view.refresh_container(container_id, observed.sandbox.id)
        self._report()
        await self._post_start(container, container_id)
        await self._collect_dead(start.name)
        return True

    def _fail(self, name: str, reason: str, message: str) -> None:
        if self._waiting.get(name) != (reason, message):
            self._event("Warning", "Failed", f"Error: {message}", name)
        self._waiting[name] = (reason, message)

    async def _inputs(self, container: Object, image: Ready, restart_count: int) -> ContainerInputs:
        parts, observed = self._parts, self._observed()
        target = container.get("targetContainerName") or ""
        beside = observed.latest(target) if target else None
        return ContainerInputs(
            config=parts.config,
            objects=parts.objects,
            services=await parts.services.all(),
            facts=self._facts(observed),
            volumes=self._mounted or {},
            image=image,
            restart_count=restart_count,
            node_memory_bytes=parts.node.memory_bytes,
            target_id=beside.id if beside is not None else "",
        )

    async def _pull_secrets(self) -> Sequence[Object]:
        secrets = []
        for reference in (self.pod.get("spec") or {}).get("imagePullSecrets") or ():
            try:
                secrets.append(await self._parts.objects.get(SECRETS, namespace_of(self.pod), reference["name"]))
            except errors.NotFound:
                self._event(
                    "Warning",
                    "FailedToRetrieveImagePullSecret",
                    f"Unable to retrieve some image pull secrets ({reference['name']}); attempting to pull the image "
                    "may not succeed.",
                )
        return secrets

    async def _post_start(self, container: Object, container_id: str) -> None:
        hook = (container.get("lifecycle") or {}).get("postStart")
        if not hook:
            return
        try:
            async with asyncio.timeout(_HOOK_SECONDS):
                await self._parts.hooks.run(hook, container, container_id, self._pod_ip(self._observed()))
        except (HookFailed, TimeoutError) as error:
            self._event("Warning", "FailedPostStartHook", f"PostStartHook failed: {error}"[:1024], container["name"])
            running = next((c for c in self._observed().containers if c.id == container_id), None)
            if running is not None:
                await kill_container(
                    self._parts, self.pod, running, self._grace(), f"FailedPostStartHook: {container['name']}"
                )

    # -- the end ---------------------------------------------------------------------------------------------------

    async def _finish(self) -> None:
        """The pod has come to its end, and stays in the API until somebody deletes it: logs are kept."""
        if not self._cleaned:
            await self._terminate()
            await self._clean_up(containers=False)
        self._report()

    async def _terminate(self) -> None:
        """Stops everything of the pod. A deletion with a shorter grace period meanwhile hurries it up."""
        pod, parts = self.pod, self._parts
        if self._stopped:
            return
        grace = self._grace()
        killing = asyncio.ensure_future(kill_all(parts, pod, self._observed(), grace))
        try:
            while not killing.done():
                self._report()
                waking = asyncio.ensure_future(self._wake.wait())
                await asyncio.wait({killing, waking}, return_when=asyncio.FIRST_COMPLETED)
                waking.cancel()
                self._wake.clear()
                if not killing.done() and self._grace() < grace:
                    grace = self._grace()
                    killing.cancel()
                    await asyncio.gather(killing, return_exceptions=True)
                    killing = asyncio.ensure_future(kill_all(parts, self.pod, self._observed(), grace))
            await killing
        finally:
            killing.cancel()
        await self._stop_sandboxes()
        parts.probes.remove(self.uid)
        self._stopped = True
        self._report()

    async def _stop_sandboxes(self) -> None:
        for sandbox in self._observed().sandboxes:
            if sandbox.ready:
                await self._gone_is_fine(self._parts.runtime.stop_sandbox(sandbox.id))
                await self._parts.view.refresh_sandbox(sandbox.id)

    async def _gone_is_fine(self, call: Awaitable[None]) -> None:
        try:
            await call
        except RuntimeFailure as failure:
            if not failure.not_found:
                raise

    async def _clean_up(self, *, containers: bool) -> None:
        """Volumes and cgroup; with `containers` also what is left in the runtime and on disk."""
        parts = self._parts
        if not self._cleaned:
            await parts.volumes.tear_down(self.uid)
            await parts.cgroups.remove(self.uid)
            self._mounted = None
            self._cleaned = True
        if not containers:
            return
        observed = await parts.view.refresh_pod(self.uid)
        for container in observed.containers:
            await self._remove_container(container.id)
        for sandbox in observed.sandboxes:
            await self._gone_is_fine(parts.runtime.remove_sandbox(sandbox.id))
            parts.view.forget(sandbox.id)
        await parts.cgroups.remove(self.uid)
        parts.volumes.remove_pod_directory(self.uid)
        shutil.rmtree(pod_log_directory(parts.config.log_directory, self.pod), ignore_errors=True)

    async def _remove_container(self, container_id: str) -> None:
        await self._gone_is_fine(self._parts.runtime.remove_container(container_id))
        self._parts.view.forget(container_id)

    async def _remove_object(self) -> bool:
        """Removes the pod from the API once all else is gone; whether the worker has nothing left to do."""
        parts, pod = self._parts, self.pod
        if self._in_api:
            await parts.statuses.flush(self.uid)
            try:
                await parts.client.delete(PODS, name_of(pod), namespace_of(pod), grace_period_seconds=0, uid=self.uid)
            except (errors.NotFound, errors.Conflict) as error:
                log.debug("pod was gone already", pod=format_pod(pod), error=error.message)
        parts.statuses.forget(self.uid)
        parts.images.forget(self.uid)
        parts.tokens.forget(self.uid)
        parts.backoffs.forget_where(self.uid)
        # A finalizer may keep the object: then the watch shows it still, and there is nothing left to do for it here.
        return True

    # -- what is kept ----------------------------------------------------------------------------------------------

    async def _collect_dead(self, name: str) -> None:
        """Keeps only the newest dead containers of a name, for ``logs --previous``."""
        dead = [c for c in self._observed().history(name) if c.exited]
        for container in dead[self._parts.config.dead_containers_kept :]:
            await self._remove_container(container.id)
            if container.status.log_path:
                Path(container.status.log_path).unlink(missing_ok=True)

    async def _forget_old_sandboxes(self, keep: str) -> None:
        observed = self._observed()
        used = {c.sandbox_id for c in observed.containers}
        for sandbox in observed.sandboxes:
            if sandbox.id != keep and not sandbox.ready and sandbox.id not in used:
                await self._gone_is_fine(self._parts.runtime.remove_sandbox(sandbox.id))
                self._parts.view.forget(sandbox.id)
