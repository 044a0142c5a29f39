"""The row of a pod: READY, STATUS and RESTARTS as users know them.

Source of the logic: ``printPod`` in ``pkg/printers/internalversion/printers.go``.
"""

from __future__ import annotations

from typing import Any

from pybernetes.api import time
from pybernetes.api.meta import Object, get_condition, is_condition_true, is_deleting, name_of
from pybernetes.api.printers.values import NONE, age, human_duration

_TERMINAL = ("Succeeded", "Failed")
ROW_CONDITIONS = {
    "Succeeded": [
        {
            "type": "Completed",
            "status": "True",
            "reason": "Succeeded",
            "message": "The pod has completed successfully.",
        }
    ],
    "Failed": [{"type": "Completed", "status": "True", "reason": "Failed", "message": "The pod failed."}],
}


class _Restarts:
    """How often containers restarted, and when the last of them ended before."""

    def __init__(self) -> None:
        self.count = 0
        self.last = 0.0

    def add(self, status: Object) -> None:
        self.count += status.get("restartCount") or 0
        ended = (status.get("lastState") or {}).get("terminated")
        if ended and ended.get("finishedAt"):
            self.last = max(self.last, time.parse_time(ended["finishedAt"]))

    def text(self, now: float) -> str:
        if self.count and self.last:
            return f"{self.count} ({human_duration(now - self.last)} ago)"
        return str(self.count)


def _ended(terminated: Object) -> str:
    """Why a container ended, in one word."""
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode') or 0}"


def pod_cells(obj: Object, now: float) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    phase = status.get("phase") or ""
    reason = status.get("reason") or phase
    scheduled = get_condition(obj, "PodScheduled")
    if scheduled is not None and scheduled.get("reason") == "SchedulingGated":
        reason = "SchedulingGated"
    init = spec.get("initContainers") or ()
    sidecars = {c.get("name") for c in init if c.get("restartPolicy") == "Always"}
    total = len(spec.get("containers") or ()) + len(sidecars)
    ready = 0
    restarts, sidecar_restarts = _Restarts(), _Restarts()
    initializing = False
    for i, container in enumerate(status.get("initContainerStatuses") or ()):
        state = container.get("state") or {}
        terminated, waiting = state.get("terminated"), state.get("waiting") or {}
        restarts.add(container)
        if container.get("name") in sidecars:
            sidecar_restarts.add(container)
        if terminated and not terminated.get("exitCode"):
            continue
        if container.get("name") in sidecars and container.get("started"):
            ready += bool(container.get("ready"))
            continue
        if terminated:
            reason = "Init:" + _ended(terminated)
        elif waiting.get("reason") and waiting["reason"] != "PodInitializing":
            reason = "Init:" + waiting["reason"]
        else:
            reason = f"Init:{i}/{len(init)}"
        initializing = True
        break
    if not initializing or is_condition_true(obj, "Initialized"):
        restarts = sidecar_restarts
        running = False
        for container in reversed(status.get("containerStatuses") or ()):
            state = container.get("state") or {}
            restarts.add(container)
            if (state.get("waiting") or {}).get("reason"):
                reason = state["waiting"]["reason"]
            elif state.get("terminated") is not None:
                reason = _ended(state["terminated"])
            elif container.get("ready") and state.get("running") is not None:
                running = True
                ready += 1
        if reason == "Completed" and running:
            reason = "Running" if is_condition_true(obj, "Ready") else "NotReady"
    if is_deleting(obj):
        if status.get("reason") == "NodeLost":
            reason = "Unknown"
        elif phase not in _TERMINAL:
            reason = "Terminating"
    ips = status.get("podIPs") or ()
    ip = (ips[0].get("ip") if ips else "") or status.get("podIP")
    gates = spec.get("readinessGates") or ()
    passed = sum(is_condition_true(obj, g.get("conditionType") or "") for g in gates)
    return [
        name_of(obj),
        f"{ready}/{total}",
        reason,
        restarts.text(now),
        age(obj, now),
        ip or NONE,
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        f"{passed}/{len(gates)}" if gates else NONE,
    ]
