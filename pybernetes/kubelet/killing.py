"""Stopping containers gracefully: hooks, signals, the time left, sidecars last.

Order and figures are upstream's (``pkg/kubelet/kuberuntime/kuberuntime_container.go``, KEP-753): preStop hooks take
from the grace period, at least two seconds of it stay for SIGTERM, restartable init containers end in reverse order
after the others.
"""

from __future__ import annotations

import asyncio
import math

import structlog

from pybernetes.api.meta import Object
from pybernetes.client.events import NORMAL, WARNING
from pybernetes.kubelet import spec
from pybernetes.kubelet.hooks import HookFailed
from pybernetes.kubelet.identity import container_reference
from pybernetes.kubelet.observed import ObservedContainer, ObservedPod
from pybernetes.kubelet.parts import Parts
from pybernetes.kubelet.runtime import RuntimeFailure

log = structlog.get_logger(__name__)

_MIN_GRACE_SECONDS = 2


def probe_grace(container: Object, reason: str) -> int | None:
    """The grace period a failed probe prescribes, if it does."""
    field = {"LivenessProbe": "livenessProbe", "StartupProbe": "startupProbe"}.get(reason)
    if field is None:
        return None
    value = (container.get(field) or {}).get("terminationGracePeriodSeconds")
    return None if value is None else int(value)


async def kill_container(
    parts: Parts, pod: Object, container: ObservedContainer, grace_seconds: float, message: str = ""
) -> None:
    """Ends one container: its preStop hook, SIGTERM, and SIGKILL when the grace period is over. Returns when it has
    ended. Cancelled, it leaves the container with its signal sent; calling again goes on. Raises `RuntimeFailure`."""
    about = container_reference(pod, container.name)
    parts.recorder.event(about, NORMAL, "Killing", message or f"Stopping container {container.name}")
    found = spec.find_container(pod, container.name)
    hook = ((found[1].get("lifecycle") or {}) if found else {}).get("preStop")
    left = grace_seconds
    if hook and found is not None and container.running and grace_seconds > 0:
        began = parts.clock.monotonic()
        observed = parts.view.pod(str((pod.get("metadata") or {}).get("uid", "")))
        ip = observed.sandbox.ips[0] if observed.sandbox and observed.sandbox.ips else ""
        if spec.uses_host_network(pod) and parts.node.host_ips:
            ip = parts.node.host_ips[0]
        try:
            async with asyncio.timeout(grace_seconds):
                await parts.hooks.run(hook, found[1], container.id, ip)
        except TimeoutError:
            log.info("preStop hook did not complete", container=container.name, grace_s=grace_seconds)
        except HookFailed as error:
            parts.recorder.event(about, WARNING, "FailedPreStopHook", f"PreStopHook failed: {error}"[:1024])
        left -= parts.clock.monotonic() - began
    try:
        await parts.runtime.stop_container(container.id, max(_MIN_GRACE_SECONDS, math.ceil(left)))
    except RuntimeFailure as failure:
        if not failure.not_found:
            raise
    await parts.view.refresh_container(container.id)


async def kill_all(parts: Parts, pod: Object, observed: ObservedPod, grace_seconds: float) -> None:
    """Ends every container of a pod: all but the sidecars at once, then the sidecars, last started first, in what is
    left of the grace period. Raises `RuntimeFailure` after trying all of them."""
    began = parts.clock.monotonic()
    sidecars = {c["name"]: i for i, c in enumerate(spec.init_containers(pod)) if spec.is_sidecar(c)}
    running = observed.running()
    first = [c for c in running if c.name not in sidecars]
    results = await asyncio.gather(
        *(kill_container(parts, pod, c, grace_seconds) for c in first), return_exceptions=True
    )
    problem = next((r for r in results if isinstance(r, BaseException)), None)
    for container in sorted((c for c in running if c.name in sidecars), key=lambda c: -sidecars[c.name]):
        left = max(0.0, grace_seconds - (parts.clock.monotonic() - began))
        try:
            await kill_container(parts, pod, container, left)
        except RuntimeFailure as failure:
            problem = problem or failure
    if problem is not None:
        raise problem
