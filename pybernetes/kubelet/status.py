"""A pod's status, made from its spec, what runs, what its probes say and what it said before. Pure.

Rules, reasons and messages are upstream's (``pkg/kubelet/kubelet_pods.go``, ``pkg/kubelet/status/generate.go``). The
status never goes back: a terminal phase stays, what a container once reported as its end is kept when the runtime has
forgotten it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pybernetes.api.meta import Object, is_deleting, metadata
from pybernetes.api.time import format_time
from pybernetes.kubelet import spec
from pybernetes.kubelet.observed import ObservedContainer, ObservedPod
from pybernetes.kubelet.plan import ProbeResults, initialized, needs_sandbox, should_start
from pybernetes.kubelet.resources import qos_class
from pybernetes.kubelet.runtime import ContainerState

OWNED_CONDITIONS = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
_UNKNOWN = "ContainerStatusUnknown"
_KILLED = 137


@dataclass(frozen=True, slots=True)
class StatusInputs:
    """Everything a status is made from. `old` is the status reported last (or found in the API)."""

    pod: Object
    observed: ObservedPod
    now: float
    host_ips: Sequence[str]
    runtime_name: str = "containerd"
    old: Object = field(default_factory=dict)
    probes: Mapping[str, ProbeResults] = field(default_factory=dict)
    """By container id."""
    waiting: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Why a container does not start: (reason, message) by container name."""
    failed: tuple[str, str] | None = None
    """(reason, message) where the kubelet itself ends the pod, such as DeadlineExceeded."""
    stopped: bool = False
    """Everything of the pod has been stopped for good."""


def generate(inputs: StatusInputs) -> Object:
    """The status to report."""
    pod, old = inputs.pod, inputs.old
    regular = _container_statuses(inputs, spec.containers(pod), "containerStatuses", init=False)
    init = _container_statuses(inputs, spec.init_containers(pod), "initContainerStatuses", init=True)
    ephemeral = _container_statuses(inputs, spec.ephemeral_containers(pod), "ephemeralContainerStatuses", init=False)
    everything = {s["name"]: s for s in (*init, *regular)}
    through = initialized(pod, inputs.observed) or any(_has_run(s) for s in regular)
    phase = _phase(pod, everything, terminal=inputs.stopped, through=through)
    reason, message = "", ""
    if inputs.failed is not None:
        phase, (reason, message) = "Failed", inputs.failed
    elif inputs.stopped and not spec.is_terminal(phase):
        phase = "Failed"
    condition_phase = phase
    if spec.is_terminal(old.get("phase")):
        phase = condition_phase = old["phase"]
        reason, message = old.get("reason") or reason, old.get("message") or message
    elif spec.is_terminal(phase) and inputs.observed.running():
        # The end is told when it has come.
        phase = old.get("phase") or "Pending"
        reason, message = "", ""

    generation = metadata(pod).get("generation")
    status: Object = {}
    if generation:
        status["observedGeneration"] = generation
    status["phase"] = phase
    status["conditions"] = _conditions(inputs, everything, condition_phase, through)
    if reason:
        status["reason"] = reason
    if message:
        status["message"] = message
    if inputs.host_ips:
        status["hostIP"] = inputs.host_ips[0]
        status["hostIPs"] = [{"ip": ip} for ip in inputs.host_ips]
    ips = pod_ips(inputs)
    if ips:
        status["podIP"] = ips[0]
        status["podIPs"] = [{"ip": ip} for ip in ips]
    status["startTime"] = old.get("startTime") or format_time(inputs.now)
    if init:
        status["initContainerStatuses"] = init
    status["containerStatuses"] = regular
    if ephemeral:
        status["ephemeralContainerStatuses"] = ephemeral
    status["qosClass"] = qos_class(pod)
    return status


def pod_ips(inputs: StatusInputs) -> list[str]:
    """The pod's addresses: its sandbox's, the node's on the node's network, those it last had once it is down."""
    sandbox = inputs.observed.sandbox
    if sandbox is not None and sandbox.ready:
        if spec.uses_host_network(inputs.pod):
            return list(inputs.host_ips)
        if sandbox.ips:
            return list(sandbox.ips)
    return [entry["ip"] for entry in inputs.old.get("podIPs") or ()]


def _has_run(status: Object) -> bool:
    return bool((status.get("state") or {}).get("running")) or bool(status.get("containerID"))


# -- containers -----------------------------------------------------------------------------------------------------


def _container_statuses(inputs: StatusInputs, containers: Sequence[Object], kind: str, *, init: bool) -> list[Object]:
    before = {s["name"]: s for s in inputs.old.get(kind) or ()}
    return [_container_status(inputs, c, before.get(c["name"]), init=init) for c in containers]


def _container_status(inputs: StatusInputs, container: Object, old: Object | None, *, init: bool) -> Object:
    pod, name = inputs.pod, container["name"]
    history = inputs.observed.history(name)
    if history:
        status = _from_runtime(inputs, container, history[0])
        if len(history) > 1:
            status["lastState"] = _state(inputs, history[1])
        elif old is not None and status["state"].get("terminated") is None:
            status["lastState"] = old.get("lastState") or {}
            if old.get("containerID") != status["containerID"] and (old.get("state") or {}).get("terminated"):
                status["lastState"] = old["state"]
    else:
        status = _without_runtime(inputs, container, old)
    latest = history[0] if history else None
    done_init = (
        init and latest is not None and latest.exited and latest.exit_code == 0 and not spec.is_sidecar(container)
    )
    why = inputs.waiting.get(name)
    if why is not None and not done_init and not inputs.stopped and should_start(pod, container, latest):
        if status["state"].get("terminated"):
            status["lastState"] = status["state"]
        waiting = {"reason": why[0]}
        if why[1]:
            waiting["message"] = why[1]
        status["state"] = {"waiting": waiting}
    _set_readiness(inputs, container, status, latest, old, init=init)
    return status


def _identity(container: Object) -> Object:
    status: Object = {"name": container["name"], "image": container.get("image") or "", "imageID": ""}
    return status


def _from_runtime(inputs: StatusInputs, container: Object, observed: ObservedContainer) -> Object:
    status = _identity(container)
    status["image"] = observed.status.image or status["image"]
    status["imageID"] = observed.status.image_ref or observed.status.image_id
    status["containerID"] = f"{inputs.runtime_name}://{observed.id}"
    status["restartCount"] = observed.restart_count
    status["state"] = _state(inputs, observed)
    status["lastState"] = {}
    resources = container.get("resources") or {}
    status["resources"] = resources
    if resources.get("requests"):
        status["allocatedResources"] = resources["requests"]
    mounts = []
    for mount in container.get("volumeMounts") or ():
        entry = {"name": mount["name"], "mountPath": mount["mountPath"]}
        if mount.get("readOnly"):
            entry.update(readOnly=True, recursiveReadOnly="Disabled")
        mounts.append(entry)
    if mounts:
        status["volumeMounts"] = mounts
    if observed.status.user is not None:
        uid, gid, groups = observed.status.user
        linux: Object = {"uid": uid, "gid": gid}
        if groups:
            linux["supplementalGroups"] = list(groups)
        status["user"] = {"linux": linux}
    return status


def _state(inputs: StatusInputs, observed: ObservedContainer) -> Object:
    runtime = observed.status
    if runtime.state is ContainerState.RUNNING:
        return {"running": {"startedAt": format_time(runtime.started_at)}}
    if runtime.state is ContainerState.EXITED:
        ended: Object = {
            "exitCode": runtime.exit_code,
            "reason": runtime.reason or ("Completed" if runtime.exit_code == 0 else "Error"),
        }
        if observed.message:
            ended["message"] = observed.message
        ended["startedAt"] = format_time(runtime.started_at) if runtime.started_at else None
        ended["finishedAt"] = format_time(runtime.finished_at) if runtime.finished_at else None
        ended["containerID"] = f"{inputs.runtime_name}://{runtime.id}"
        return {"terminated": ended}
    if runtime.state is ContainerState.CREATED:
        return {"waiting": {"reason": "ContainerCreating"}}
    return {"waiting": {}}


def _lost(message: str) -> Object:
    return {
        "terminated": {
            "exitCode": _KILLED,
            "reason": _UNKNOWN,
            "message": message,
            "startedAt": None,
            "finishedAt": None,
        }
    }


def _without_runtime(inputs: StatusInputs, container: Object, old: Object | None) -> Object:
    """The status of a container the runtime has nothing of."""
    pod = inputs.pod
    status = _identity(container)
    status["restartCount"] = 0
    status["lastState"] = {}
    status["state"] = {"waiting": {"reason": "PodInitializing" if spec.init_containers(pod) else "ContainerCreating"}}
    if old is None:
        return status
    state = old.get("state") or {}
    if state.get("terminated"):
        # How it ended was told already.
        return {k: v for k, v in old.items() if k not in ("ready", "started")}
    status["restartCount"] = old.get("restartCount") or 0
    status["lastState"] = old.get("lastState") or {}
    if state.get("running"):
        if inputs.stopped:
            status["state"] = _lost("The container could not be located when the pod was terminated")
            status["containerID"] = old.get("containerID") or ""
        elif not status["lastState"].get("terminated"):
            status["lastState"] = _lost(
                "The container could not be located when the pod was deleted.  The container used to be Running"
            )
            if not is_deleting(pod):
                status["restartCount"] += 1
    return status


def is_started(
    container: Object, latest: ObservedContainer | None, results: ProbeResults | None, old: Object | None, *, init: bool
) -> bool:
    """Whether a running container counts as started: its startup probe succeeded, or it has none. After a restart of
    the kubelet what was told before holds until the probe has run again."""
    if latest is None or not latest.running:
        return False
    if init and not spec.is_sidecar(container):
        return False
    if container.get("startupProbe") is None:
        return True
    if results is not None and results.startup is not None:
        return results.startup
    return old is not None and bool(old.get("started")) and str(old.get("containerID", "")).endswith(latest.id)


def _set_readiness(
    inputs: StatusInputs,
    container: Object,
    status: Object,
    latest: ObservedContainer | None,
    old: Object | None,
    *,
    init: bool,
) -> None:
    running = bool(status["state"].get("running")) and latest is not None
    results = inputs.probes.get(latest.id) if latest is not None else None
    started = running and is_started(container, latest, results, old, init=init)
    if init and not spec.is_sidecar(container):
        ended = status["state"].get("terminated")
        status["ready"] = bool(ended) and ended.get("exitCode") == 0
        status["started"] = False
        return
    if not started or inputs.stopped:
        ready = False
    elif container.get("readinessProbe") is None:
        ready = True
    elif results is not None and results.readiness is not None:
        ready = results.readiness
    else:
        assert latest is not None
        ready = old is not None and bool(old.get("ready")) and str(old.get("containerID", "")).endswith(latest.id)
    status["ready"] = ready
    status["started"] = started


# -- phase ----------------------------------------------------------------------------------------------------------


def _phase(pod: Object, statuses: Mapping[str, Object], *, terminal: bool, through: bool) -> str:
    pending_init = pending_sidecars = failed_for_good = 0
    for container in spec.init_containers(pod):
        state, ended = _ends(statuses.get(container["name"]))
        if spec.is_sidecar(container):
            continue
        if state == "running" or (state == "waiting" and ended is None) or state == "unknown":
            pending_init += 1
        elif ended is not None and ended != 0 and not spec.restarts_after(pod, container, ended):
            failed_for_good += 1
    unknown = running = waiting = stopped = stopped_for_good = succeeded = 0
    for container in spec.init_containers(pod):
        if not spec.is_sidecar(container):
            continue
        status = statuses.get(container["name"])
        state, ended = _ends(status)
        if state == "running":
            running += 1
            if not (status or {}).get("started"):
                pending_sidecars += 1
        elif state == "waiting" and ended is None:
            pending_sidecars += 1
            waiting += 1
        elif state == "unknown":
            pending_sidecars += 1
            unknown += 1
    for container in spec.containers(pod):
        state, ended = _ends(statuses.get(container["name"]))
        if state == "running":
            running += 1
        elif ended is not None:
            stopped += 1
            if state == "terminated" and ended == 0:
                succeeded += 1
            if not spec.restarts_after(pod, container, ended):
                stopped_for_good += 1
        elif state == "waiting":
            waiting += 1
        else:
            unknown += 1
    if failed_for_good:
        return "Failed"
    if pending_init or (pending_sidecars and not through) or waiting:
        return "Pending"
    if running and not unknown:
        return "Running"
    if not running and stopped and not unknown:
        if terminal:
            return "Succeeded" if stopped == succeeded else "Failed"
        if stopped != stopped_for_good:
            return "Running"
        return "Succeeded" if stopped == succeeded else "Failed"
    return "Pending"


def _ends(status: Object | None) -> tuple[str, int | None]:
    """(state, exit code it ended with last): the code of a waiting container is that of its last run."""
    if status is None:
        return "unknown", None
    state = status.get("state") or {}
    if state.get("running") is not None:
        return "running", None
    if state.get("terminated") is not None:
        return "terminated", int(state["terminated"].get("exitCode") or 0)
    if state.get("waiting") is not None:
        last = (status.get("lastState") or {}).get("terminated")
        return "waiting", None if last is None else int(last.get("exitCode") or 0)
    return "unknown", None


# -- conditions -----------------------------------------------------------------------------------------------------


def _names(names: Sequence[str]) -> str:
    return "[" + " ".join(names) + "]"


def _conditions(inputs: StatusInputs, statuses: Mapping[str, Object], phase: str, through: bool) -> list[Object]:
    pod, old = inputs.pod, inputs.old
    containers_ready = _containers_ready(pod, statuses, phase)
    made = {
        "PodReadyToStartContainers": (
            ("False", "", "") if inputs.stopped or needs_sandbox(pod, inputs.observed) else ("True", "", "")
        ),
        "Initialized": _initialized(pod, statuses, phase, through),
        "Ready": _ready(pod, containers_ready),
        "ContainersReady": containers_ready,
        "PodScheduled": ("True", "", ""),
    }
    known = {c["type"]: c for c in (pod.get("status") or {}).get("conditions") or ()}
    known.update({c["type"]: c for c in old.get("conditions") or () if c["type"] in OWNED_CONDITIONS})
    generation = metadata(pod).get("generation")
    result = []
    for type_, (value, reason, message) in made.items():
        before = known.get(type_)
        condition: Object = {"type": type_, "status": value, "lastProbeTime": None}
        if generation:
            condition["observedGeneration"] = generation
        same = before is not None and before.get("status") == value
        condition["lastTransitionTime"] = (
            before["lastTransitionTime"]
            if same and before is not None and before.get("lastTransitionTime")
            else format_time(inputs.now)
        )
        if reason:
            condition["reason"] = reason
        if message:
            condition["message"] = message
        result.append(condition)
    return result


def _containers_ready(pod: Object, statuses: Mapping[str, Object], phase: str) -> tuple[str, str, str]:
    if phase == "Succeeded":
        return "False", "PodCompleted", ""
    if phase == "Failed":
        return "False", "PodFailed", ""
    counted = [c["name"] for c in spec.init_containers(pod) if spec.is_sidecar(c)]
    counted += [c["name"] for c in spec.containers(pod)]
    unknown = [n for n in counted if n not in statuses]
    unready = [n for n in counted if n in statuses and not statuses[n].get("ready")]
    parts = []
    if unknown:
        parts.append(f"containers with unknown status: {_names(unknown)}")
    if unready:
        parts.append(f"containers with unready status: {_names(unready)}")
    return ("False", "ContainersNotReady", ", ".join(parts)) if parts else ("True", "", "")


def _ready(pod: Object, containers_ready: tuple[str, str, str]) -> tuple[str, str, str]:
    if containers_ready[0] != "True":
        return containers_ready
    present: dict[str, Any] = {c["type"]: c for c in (pod.get("status") or {}).get("conditions") or ()}
    parts = []
    for gate in (pod.get("spec") or {}).get("readinessGates") or ():
        condition = present.get(gate["conditionType"])
        if condition is None:
            parts.append(f'corresponding condition of pod readiness gate "{gate["conditionType"]}" does not exist.')
        elif condition.get("status") != "True":
            parts.append(
                f'the status of pod readiness gate "{gate["conditionType"]}" is not "True", '
                f"but {condition.get('status')}"
            )
    return ("False", "ReadinessGatesNotReady", ", ".join(parts)) if parts else ("True", "", "")


def _initialized(pod: Object, statuses: Mapping[str, Object], phase: str, through: bool) -> tuple[str, str, str]:
    unknown, incomplete = [], []
    for container in spec.init_containers(pod):
        status = statuses.get(container["name"])
        if status is None:
            unknown.append(container["name"])
        elif not (status.get("started") if spec.is_sidecar(container) else status.get("ready")):
            incomplete.append(container["name"])
    if phase == "Succeeded" and not unknown:
        return "True", "PodCompleted", ""
    if through:
        return "True", "", ""
    parts = []
    if unknown:
        parts.append(f"containers with unknown status: {_names(unknown)}")
    if incomplete:
        parts.append(f"containers with incomplete status: {_names(incomplete)}")
    return ("False", "ContainersNotInitialized", ", ".join(parts)) if parts else ("True", "", "")


# -- writing --------------------------------------------------------------------------------------------------------


def patch_for(pod: Object, status: Object, sent: Object) -> Object | None:
    """The strategic merge patch of the status subresource that turns `sent` (what the API has) into `status`; None
    where nothing differs. The pod's uid is a precondition. Conditions of others are left alone."""
    changed: Object = {}
    for key in (*status, *(k for k in sent if k not in status and k in _OWNED_FIELDS)):
        new, before = status.get(key), sent.get(key)
        if new == before:
            continue
        if key == "conditions":
            known = {c["type"]: c for c in before or ()}
            # The entries are merged by type: what is gone from one must be said to be.
            different = [
                {**{k: None for k in known.get(c["type"], ()) if k not in c}, **c}
                for c in new or ()
                if known.get(c["type"]) != c
            ]
            if different:
                changed["conditions"] = different
        elif key in ("podIPs", "hostIPs") and new:
            changed[key] = [*new, {"$patch": "replace"}] if before else new
        else:
            changed[key] = new
    if not changed:
        return None
    return {"metadata": {"uid": metadata(pod).get("uid")}, "status": changed}


_OWNED_FIELDS = frozenset(
    {
        "phase", "reason", "message", "hostIP", "hostIPs", "podIP", "podIPs", "startTime", "initContainerStatuses",
        "containerStatuses", "ephemeralContainerStatuses", "qosClass", "observedGeneration",
    }
)  # fmt: skip
