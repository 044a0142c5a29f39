"""Carrying out a plan: volumes, the sandbox, images, containers and their hooks.

A `PodStarter` belongs to one pod's worker, which runs one `carry_out` at a time and may cancel it at any point: what
the runtime has by then is found again by looking. What keeps a container from starting is kept in `waiting` (reason
and message by container name), for the pod's status, and in `blocked`, until when it is not tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from pybernetes.api import errors
from pybernetes.api.meta import Object, namespace_of
from pybernetes.api.resources import RUNTIMECLASSES, SECRETS
from pybernetes.client.events import NORMAL, WARNING
from pybernetes.kubelet import spec
from pybernetes.kubelet.containers import ContainerInputs, container_config, sandbox_config
from pybernetes.kubelet.dns import HostnameError
from pybernetes.kubelet.downward import PodFacts
from pybernetes.kubelet.ending import end_pod, remove_container, remove_sandbox
from pybernetes.kubelet.env import ContainerConfigError
from pybernetes.kubelet.hooks import HookFailed
from pybernetes.kubelet.identity import container_reference, pod_reference
from pybernetes.kubelet.images import Pulling, Ready, Unavailable
from pybernetes.kubelet.killing import kill_container, probe_grace
from pybernetes.kubelet.observed import ObservedPod
from pybernetes.kubelet.parts import Parts
from pybernetes.kubelet.plan import Kill, Plan, Start, Waiting, backoff_key
from pybernetes.kubelet.runtime import ContainerState, RuntimeFailure, SandboxConfig
from pybernetes.kubelet.security import SecurityError
from pybernetes.kubelet.volumes.interface import Mounted
from pybernetes.kubelet.volumes.manager import VolumesNotReady

_BLOCKED_FIRST_SECONDS = 5.0
_BLOCKED_MAX_SECONDS = 60.0
_CRASH_LOOP = "CrashLoopBackOff"


class Retry(Exception):
    """A step failed; what was to be said has been said. Try again after a growing while, or when something changed."""


class PodStarter:
    """What it takes to start one pod's containers. `report` tells the pod's status at once."""

    def __init__(self, parts: Parts, uid: str, wake: Callable[[], None], report: Callable[[], None]) -> None:
        self._parts = parts
        self._uid = uid
        self._wake = wake
        self._report = report
        self.mounted: dict[str, Mounted] | None = None
        self.volumes_stale = False
        self.waiting: dict[str, tuple[str, str]] = {}
        self.blocked: dict[str, float] = {}
        self._delays: dict[str, float] = {}
        # Containers whose postStart hook runs: they count as running when it is done.
        self._hooking: set[str] = set()

    def visible(self, observed: ObservedPod) -> ObservedPod:
        """What the world is told of: not containers that were made and have not started, or whose postStart hook is
        not done (the API promises that a container is not Running before)."""
        hidden = [c for c in observed.containers if c.state is ContainerState.CREATED or c.id in self._hooking]
        if not hidden:
            return observed
        return replace(observed, containers=tuple(c for c in observed.containers if c not in hidden))

    # -- looking ---------------------------------------------------------------------------------------------------

    def _observed(self) -> ObservedPod:
        return self._parts.view.pod(self._uid)

    def pod_ip(self, pod: Object) -> str:
        """Where the pod's probes and hooks go; empty while it has no address."""
        return next(iter(self._ips(pod)), "")

    def _ips(self, pod: Object) -> Sequence[str]:
        if spec.uses_host_network(pod):
            return self._parts.node.host_ips
        sandbox = self._observed().sandbox
        return sandbox.ips if sandbox is not None else ()

    def _facts(self, pod: Object) -> PodFacts:
        node = self._parts.node
        return PodFacts(self._parts.config.node_name, node.host_ips, self._ips(pod), node.allocatable)

    def _event(self, pod: Object, kind: str, reason: str, message: str, container: str = "") -> None:
        about = container_reference(pod, container) if container else pod_reference(pod)
        self._parts.recorder.event(about, NORMAL if kind == "Normal" else WARNING, reason, message)

    def note_waiting(self, plan: Plan, observed: ObservedPod) -> list[Waiting]:
        """Brings `waiting` up to date with a plan; the waits that are new."""
        self.waiting = {
            name: why for name, why in self.waiting.items() if (c := observed.latest(name)) is None or not c.running
        }
        new = [w for w in plan.waiting if self.waiting.get(w.name, ("",))[0] != _CRASH_LOOP]
        for waiting in plan.waiting:
            self.waiting[waiting.name] = (_CRASH_LOOP, waiting.message)
        return new

    def has_work(self, plan: Plan, now: float) -> bool:
        if plan.kill_pod or plan.create_sandbox or plan.kills or self.mounted is None or self.volumes_stale:
            return True
        return any(self.blocked.get(s.name, 0.0) <= now for s in plan.starts)

    def due(self, pod: Object, plan: Plan) -> float | None:
        """When to look at the pod again, whatever happens."""
        times = [self.blocked[s.name] for s in plan.starts if s.name in self.blocked]
        for when in (plan.wake_at, self._renew_at(pod)):
            if when is not None:
                times.append(when)
        return min(times, default=None)

    def _renew_at(self, pod: Object) -> float | None:
        return self._parts.volumes.renew_at(pod, self._facts(pod)) if self.mounted is not None else None

    # -- doing -----------------------------------------------------------------------------------------------------

    async def carry_out(self, pod: Object, plan: Plan, grace_seconds: float) -> None:
        """Does what the plan says, in its order. Raises `Retry`, `RuntimeFailure`, `CgroupError`, API errors, OSError.
        Cancelled, it leaves what has been done; a container may have been made that nobody has noted."""
        parts = self._parts
        if plan.kills:
            await self._kill(pod, plan.kills, grace_seconds)
        if plan.kill_pod:
            if plan.create_sandbox and self._observed().sandbox is not None:
                self._event(pod, "Normal", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
            await end_pod(parts, pod, grace_seconds)
        now = parts.clock.now()
        starts = [s for s in plan.starts if self.blocked.get(s.name, 0.0) <= now]
        renew_at = self._renew_at(pod)
        if renew_at is not None and renew_at <= now:
            self.volumes_stale = True
        if self.mounted is None or self.volumes_stale:
            await self._set_up_volumes(pod)
        if plan.create_sandbox:
            await self._create_sandbox(pod, plan.sandbox_attempt)
            return
        if not starts:
            return
        config = self._sandbox_config(pod, self._attempt())
        for start in starts:
            if not await self._start(pod, start, config, grace_seconds):
                return

    def _attempt(self) -> int:
        sandbox = self._observed().sandbox
        return sandbox.attempt if sandbox is not None else 0

    async def _kill(self, pod: Object, kills: Sequence[Kill], grace_seconds: float) -> None:
        observed = self._observed()
        work = []
        for kill in kills:
            container = next((c for c in observed.containers if c.id == kill.container_id), None)
            if container is None:
                continue
            found = spec.find_container(pod, kill.name)
            own = probe_grace(found[1], kill.reason) if found is not None else None
            work.append(
                kill_container(self._parts, pod, container, grace_seconds if own is None else own, kill.message)
            )
        # Every one is waited for: a kill that fails must not leave the others to themselves.
        for result in await asyncio.gather(*work, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    async def _set_up_volumes(self, pod: Object) -> None:
        self.volumes_stale = False
        try:
            self.mounted = await self._parts.volumes.set_up(pod, self._facts(pod), mounted=self.mounted)
        except VolumesNotReady as error:
            self.volumes_stale = self.mounted is not None
            for text in error.failures.values():
                self._event(pod, "Warning", "FailedMount", text)
            raise Retry from error
        except BaseException:
            self.volumes_stale = True
            raise

    def _sandbox_config(self, pod: Object, attempt: int) -> SandboxConfig:
        try:
            return sandbox_config(pod, self._parts.config, self._parts.cgroups.path(pod), attempt)
        except HostnameError as error:
            self._event(pod, "Warning", "FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}")
            raise Retry from error

    async def _create_sandbox(self, pod: Object, attempt: int) -> None:
        parts = self._parts
        problem = parts.node.network_problem
        if problem and not spec.uses_host_network(pod):
            self._event(pod, "Warning", "NetworkNotReady", f"network is not ready: {problem}")
            raise Retry
        parts.cgroups.create(pod)
        config = self._sandbox_config(pod, attempt)
        try:
            Path(config.log_directory).mkdir(parents=True, exist_ok=True)
            sandbox = await parts.runtime.run_sandbox(config, await self._runtime_handler(pod))
        except RuntimeFailure as failure:
            self._event(pod, "Warning", "FailedCreatePodSandBox", f"Failed to create pod sandbox: {failure}")
            await parts.view.refresh_pod(self._uid)
            raise Retry from failure
        await parts.view.refresh_sandbox(sandbox)
        observed = self._observed()
        used = {c.sandbox_id for c in observed.containers}
        for old in observed.sandboxes:
            if old.id != sandbox and not old.ready and old.id not in used:
                await remove_sandbox(parts, old.id)

    async def _runtime_handler(self, pod: Object) -> str:
        name = (pod.get("spec") or {}).get("runtimeClassName")
        if not name:
            return ""
        found = await self._parts.client.get(RUNTIMECLASSES, name)
        return str(found.get("handler") or "")

    async def _start(self, pod: Object, start: Start, sandbox: SandboxConfig, grace_seconds: float) -> bool:
        """Starts one container; whether the ones after it may be started too (not while its image is on its way: they
        start in the spec's order)."""
        parts = self._parts
        found = spec.find_container(pod, start.name)
        assert found is not None, "a plan names containers of the spec"
        container = found[1]
        image = await parts.images.ensure(pod, container, sandbox, lambda: self._pull_secrets(pod), self._wake)
        if isinstance(image, Pulling):
            return False
        if isinstance(image, Unavailable):
            self.waiting[start.name] = (image.reason, image.message)
            self.blocked[start.name] = image.until if image.until is not None else parts.clock.now()
            return start.kind != "init"
        observed = self._observed()
        latest = observed.latest(start.name)
        assert observed.sandbox is not None, "containers are started in a sandbox"
        try:
            inputs = await self._inputs(pod, container, image, start.restart_count)
            config = await container_config(pod, container, inputs)
        except (ContainerConfigError, SecurityError) as error:
            return self._block(pod, start, "CreateContainerConfigError", str(error))
        if latest is not None and latest.exited:
            parts.backoffs.next(backoff_key(pod, container), latest.status.finished_at, parts.clock.now())
        try:
            container_id = await parts.runtime.create_container(observed.sandbox.id, config, sandbox)
        except RuntimeFailure as failure:
            return self._block(pod, start, "CreateContainerError", str(failure))
        # Noted before it runs, so that its end cannot come unknown.
        await parts.view.refresh_container(container_id, observed.sandbox.id)
        self._event(pod, "Normal", "Created", "Container created", start.name)
        # Noted before it starts: the runtime's event that it runs can come before the answer to the call.
        if (container.get("lifecycle") or {}).get("postStart"):
            self._hooking.add(container_id)
        try:
            try:
                await parts.runtime.start_container(container_id)
            except RuntimeFailure as failure:
                ended = await parts.view.refresh_container(container_id)
                if ended is not None and ended.state is ContainerState.CREATED:
                    await remove_container(parts, ended)
                return self._block(pod, start, "RunContainerError", str(failure))
            self.waiting.pop(start.name, None)
            self.blocked.pop(start.name, None)
            self._delays.pop(start.name, None)
            self._event(pod, "Normal", "Started", "Container started", start.name)
            await parts.view.refresh_container(container_id)
            ran = await self._post_start(pod, container, container_id, grace_seconds)
        finally:
            self._hooking.discard(container_id)
        self._report()
        await self._collect_dead(start.name)
        return ran or start.kind != "init"

    def _block(self, pod: Object, start: Start, reason: str, message: str) -> bool:
        """Notes why a container cannot start, for now; whether those after it may."""
        delay = min(max(_BLOCKED_FIRST_SECONDS, self._delays.get(start.name, 0.0) * 2), _BLOCKED_MAX_SECONDS)
        self._delays[start.name] = delay
        self.blocked[start.name] = self._parts.clock.now() + delay
        self.waiting[start.name] = (reason, message)
        self._event(pod, "Warning", "Failed", f"Error: {message}", start.name)
        return start.kind != "init"

    async def _inputs(self, pod: Object, container: Object, image: Ready, restart_count: int) -> ContainerInputs:
        parts, observed = self._parts, self._observed()
        target = container.get("targetContainerName") or ""
        beside = observed.latest(target) if target else None
        return ContainerInputs(
            config=parts.config,
            objects=parts.objects,
            services=await parts.services.all(),
            facts=self._facts(pod),
            volumes=self.mounted or {},
            image=image,
            restart_count=restart_count,
            node_memory_bytes=parts.node.memory_bytes,
            target_id=beside.id if beside is not None else "",
        )

    async def _pull_secrets(self, pod: Object) -> Sequence[Object]:
        secrets, missing = [], []
        for reference in (pod.get("spec") or {}).get("imagePullSecrets") or ():
            try:
                secrets.append(await self._parts.objects.get(SECRETS, namespace_of(pod), reference["name"]))
            except errors.NotFound:
                missing.append(reference["name"])
        if missing:
            self._event(
                pod,
                "Warning",
                "FailedToRetrieveImagePullSecret",
                f"Unable to retrieve some image pull secrets ({', '.join(missing)}); attempting to pull the image may "
                "not succeed.",
            )
        return secrets

    async def _post_start(self, pod: Object, container: Object, container_id: str, grace_seconds: float) -> bool:
        """Runs the container's postStart hook, if it has one; a failure ends the container. Whether all is well."""
        hook = (container.get("lifecycle") or {}).get("postStart")
        if not hook:
            return True
        try:
            await self._parts.hooks.run(hook, container, container_id, self.pod_ip(pod))
        except HookFailed as error:
            name = container["name"]
            self._event(pod, "Warning", "FailedPostStartHook", f"PostStartHook failed: {error}"[:1024], name)
            running = self._parts.view.container(container_id)
            if running is not None and running.running:
                await kill_container(self._parts, pod, running, grace_seconds, "FailedPostStartHook")
            self.waiting[name] = ("PostStartHookError", str(error))
            return False
        return True

    async def _collect_dead(self, name: str) -> None:
        """Keeps only the newest dead containers of a name, for ``logs --previous``."""
        dead = [c for c in self._observed().history(name) if c.exited]
        for container in dead[self._parts.config.dead_containers_kept :]:
            await remove_container(self._parts, container)
