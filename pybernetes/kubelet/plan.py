"""What to do next for one pod. Pure: the pod, what runs, what its probes say and the time go in, actions come out.

The semantics are upstream's ``computePodActions`` (``pkg/kubelet/kuberuntime``): a dead sandbox is replaced and the
pod initialised again; init containers run one after another, restartable ones stay; containers that ended are started
again by their restart rules and after their back-off; containers that failed a liveness or startup probe, or whose
image changed, are replaced.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pybernetes.api.meta import Object, is_deleting
from pybernetes.kubelet import spec
from pybernetes.kubelet.identity import format_pod, spec_hash
from pybernetes.kubelet.observed import ObservedContainer, ObservedPod
from pybernetes.kubelet.runtime import ContainerState

_KILLED = 137
"""The exit code of a container that SIGKILL ended: 128 + 9."""


@dataclass(frozen=True, slots=True)
class ProbeResults:
    """What the probes of one container say; None where there is no such probe or no verdict yet."""

    startup: bool | None = None
    liveness: bool | None = None
    readiness: bool | None = None


class BackOffs(Protocol):
    """Restart back-off of this pod's containers."""

    def until(self, key: tuple[str, str, str], event_at: float) -> float: ...
    def delay(self, key: tuple[str, str, str]) -> float: ...


@dataclass(frozen=True, slots=True)
class Kill:
    container_id: str
    name: str
    message: str
    reason: str
    """``LivenessProbe``, ``StartupProbe``, ``ContainerChanged``, ``SandboxChanged`` or ``Unknown``."""


@dataclass(frozen=True, slots=True)
class Start:
    kind: spec.ContainerKind
    name: str
    restart_count: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """A container that must wait for its back-off until `until` (seconds since the epoch)."""

    name: str
    until: float
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """`kill_pod` stops everything first. `create_sandbox` follows it where the pod goes on. `kills` come before
    `starts`, which are in order: a start that has to wait (for its image) holds up those after it."""

    kill_pod: bool = False
    create_sandbox: bool = False
    sandbox_attempt: int = 0
    sandbox_id: str = ""
    kills: tuple[Kill, ...] = ()
    starts: tuple[Start, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    done: bool = False
    """Nothing of the pod runs or ever will again."""

    @property
    def empty(self) -> bool:
        return not (self.kill_pod or self.create_sandbox or self.kills or self.starts)

    @property
    def wake_at(self) -> float | None:
        return min((w.until for w in self.waiting), default=None)


@dataclass(slots=True)
class _Draft:
    kills: list[Kill] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)
    kill_pod: bool = False


def backoff_key(pod: Object, container: Object) -> tuple[str, str, str]:
    """A changed container starts without the back-off of the old one."""
    return (str((pod.get("metadata") or {}).get("uid", "")), container["name"], spec_hash(container))


def needs_sandbox(pod: Object, observed: ObservedPod) -> bool:
    """Whether the pod has no sandbox that it could run in."""
    newest = observed.sandbox
    if newest is None or not newest.ready:
        return True
    if sum(1 for s in observed.sandboxes if s.ready) > 1:
        return True
    return not spec.uses_host_network(pod) and not newest.ips


def initialized(pod: Object, observed: ObservedPod) -> bool:
    """Whether any regular container was created in the present sandbox: then the init containers are through."""
    names = {c["name"] for c in spec.containers(pod)}
    sandbox = observed.sandbox
    return sandbox is not None and any(c.name in names and c.sandbox_id == sandbox.id for c in observed.containers)


def should_start(pod: Object, container: Object, latest: ObservedContainer | None) -> bool:
    """Whether a container that does not run should: it never did, or its restart rules say so."""
    if is_deleting(pod):
        return False
    if latest is None or latest.state in (ContainerState.CREATED, ContainerState.UNKNOWN):
        return True
    if latest.running:
        return False
    return spec.restarts_after(pod, container, latest.exit_code)


def compute(
    pod: Object,
    observed: ObservedPod,
    probes: Mapping[str, ProbeResults],
    backoffs: BackOffs,
    now: float,
) -> Plan:
    """The next actions. `probes` is by container id. The pod is neither being deleted nor terminal."""
    if needs_sandbox(pod, observed):
        return _without_sandbox(pod, observed, backoffs, now)
    sandbox = observed.sandbox
    assert sandbox is not None
    strays = [c for c in observed.running() if c.sandbox_id != sandbox.id]
    if strays:
        # Their sandbox was replaced under them; what is started now must not run beside them.
        return Plan(
            sandbox_id=sandbox.id,
            kills=tuple(Kill(c.id, c.name, f"Stopping container {c.name}", "SandboxChanged") for c in strays),
        )
    draft = _Draft()
    for container in spec.ephemeral_containers(pod):
        if observed.latest(container["name"]) is None:
            draft.starts.append(Start("ephemeral", container["name"], 0))

    through = _plan_init(pod, observed, sandbox.id, probes, backoffs, now, draft)
    if draft.kill_pod:
        return Plan(kill_pod=True, done=True, sandbox_id=sandbox.id)
    if not through:
        return _finish(draft, sandbox.id)

    # Not a generator: every container must be planned, whatever the first one says. Sidecars do not keep a pod alive.
    alive = [_plan_regular(pod, c, observed, probes, backoffs, now, draft) for c in spec.containers(pod)]
    if not any(alive):
        return Plan(kill_pod=True, done=True, sandbox_id=sandbox.id)
    return _finish(draft, sandbox.id)


def _finish(draft: _Draft, sandbox_id: str) -> Plan:
    return Plan(
        sandbox_id=sandbox_id,
        kills=tuple(draft.kills),
        starts=tuple(draft.starts),
        waiting=tuple(draft.waiting),
    )


def _without_sandbox(pod: Object, observed: ObservedPod, backoffs: BackOffs, now: float) -> Plan:
    newest = observed.sandbox
    attempt = newest.attempt + 1 if newest is not None else 0
    ran = bool(observed.containers)
    if attempt and ran and not spec.may_restart(pod):
        # Its sandbox died with it, and nothing of it may run twice.
        return Plan(kill_pod=True, done=True)
    to_start = []
    for container in spec.containers(pod):
        latest = observed.latest(container["name"])
        ended_well = latest is not None and latest.exited and latest.exit_code == 0
        if not (ended_well and not spec.restarts_after(pod, container, 0)):
            to_start.append(container)
    was_through = any(c.name in {x["name"] for x in spec.containers(pod)} for c in observed.containers)
    if not to_start and (was_through or not spec.init_containers(pod)):
        return Plan(kill_pod=True, done=True)
    return Plan(kill_pod=newest is not None or ran, create_sandbox=True, sandbox_attempt=attempt)


def _start(
    kind: spec.ContainerKind,
    pod: Object,
    container: Object,
    observed: ObservedPod,
    backoffs: BackOffs,
    now: float,
    draft: _Draft,
) -> bool:
    """Plans a start, or the wait for its back-off. Whether it starts."""
    latest = observed.latest(container["name"])
    if latest is not None and latest.exited:
        key = backoff_key(pod, container)
        until = backoffs.until(key, latest.status.finished_at)
        if until > now:
            draft.waiting.append(
                Waiting(
                    container["name"],
                    until,
                    f"back-off {_go_seconds(backoffs.delay(key))} restarting failed container={container['name']} "
                    f"pod={format_pod(pod)}",
                )
            )
            return False
    draft.starts.append(Start(kind, container["name"], 0 if latest is None else latest.restart_count + 1))
    return True


def _go_seconds(seconds: float) -> str:
    """A duration as Go prints it: ``10s``, ``1m20s``, ``5m0s``."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60}s"
    return f"{whole // 3600}h{whole % 3600 // 60}m{whole % 60}s"


def _replace_reason(
    container: Object, latest: ObservedContainer, results: ProbeResults | None, *, init: bool
) -> tuple[str, str] | None:
    """(message, reason) where a running container must be killed and, by its policy, started again."""
    what = "Init container" if init else "Container"
    name = container["name"]
    if latest.spec_hash and latest.spec_hash != spec_hash(container):
        return f"{what} {name} definition changed", "ContainerChanged"
    if results is not None and results.liveness is False:
        return f"{what} {name} failed liveness probe", "LivenessProbe"
    if results is not None and results.startup is False:
        return f"{what} {name} failed startup probe", "StartupProbe"
    return None


def _plan_regular(
    pod: Object,
    container: Object,
    observed: ObservedPod,
    probes: Mapping[str, ProbeResults],
    backoffs: BackOffs,
    now: float,
    draft: _Draft,
) -> bool:
    """Plans one regular container; whether it runs, or will again."""
    latest = observed.latest(container["name"])
    if latest is None or not latest.running:
        if not should_start(pod, container, latest):
            return False
        if latest is not None and latest.state is ContainerState.UNKNOWN:
            draft.kills.append(_kill_unknown(latest, init=False))
        else:
            _start("regular", pod, container, observed, backoffs, now, draft)
        return True
    replace = _replace_reason(container, latest, probes.get(latest.id), init=False)
    if replace is not None:
        message, reason = replace
        if reason == "ContainerChanged" or spec.restarts_after(pod, container, _KILLED):
            message += ", will be restarted"
        draft.kills.append(Kill(latest.id, latest.name, message, reason))
    return True


def _kill_unknown(container: ObservedContainer, *, init: bool) -> Kill:
    what = "Init container" if init else "Container"
    message = f"{what} is in unknown state, try killing it before starting again"
    return Kill(container.id, container.name, message, "Unknown")


def _plan_init(
    pod: Object,
    observed: ObservedPod,
    sandbox_id: str,
    probes: Mapping[str, ProbeResults],
    backoffs: BackOffs,
    now: float,
    draft: _Draft,
) -> bool:
    """Plans init containers. Whether the pod is initialised, so that regular containers may start. Containers of
    an earlier sandbox count for back-off and restart counts only."""
    was_through = initialized(pod, observed)
    for container in spec.init_containers(pod):
        latest = observed.latest(container["name"])
        here = latest if latest is not None and latest.sandbox_id == sandbox_id else None
        if spec.is_sidecar(container):
            up = _plan_sidecar(pod, container, here, observed, probes, backoffs, now, draft)
            if not up and not was_through:
                return False
            continue
        if was_through:
            continue
        if here is None or here.state is ContainerState.CREATED:
            _start("init", pod, container, observed, backoffs, now, draft)
            return False
        if here.state is ContainerState.UNKNOWN:
            draft.kills.append(_kill_unknown(here, init=True))
            return False
        if here.running:
            return False
        if here.exit_code != 0:
            if spec.restarts_after(pod, container, here.exit_code):
                _start("init", pod, container, observed, backoffs, now, draft)
            else:
                draft.kill_pod = True
            return False
    return True


def _plan_sidecar(
    pod: Object,
    container: Object,
    here: ObservedContainer | None,
    observed: ObservedPod,
    probes: Mapping[str, ProbeResults],
    backoffs: BackOffs,
    now: float,
    draft: _Draft,
) -> bool:
    """Plans one restartable init container; whether it has started, so that the next container may."""
    if here is None or here.exited or here.state is ContainerState.CREATED:
        _start("init", pod, container, observed, backoffs, now, draft)
        return False
    results = probes.get(here.id)
    if here.state is ContainerState.UNKNOWN:
        draft.kills.append(_kill_unknown(here, init=True))
        return False
    replace = _replace_reason(container, here, results, init=True)
    if replace is not None:
        draft.kills.append(Kill(here.id, here.name, replace[0] + ", will be restarted", replace[1]))
        return False
    return container.get("startupProbe") is None or (results is not None and results.startup is True)
