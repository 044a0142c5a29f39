"""The end of a pod, step by step: its containers and sandboxes, its volumes and cgroup, its object, and last what the
runtime and the disk still have. Every step may be repeated; what is gone already is fine."""

from __future__ import annotations

import shutil
from pathlib import Path

import structlog

from pybernetes.api import errors
from pybernetes.api.meta import Object, name_of, namespace_of, uid_of
from pybernetes.api.resources import PODS
from pybernetes.kubelet.identity import format_pod, pod_log_directory
from pybernetes.kubelet.killing import kill_all
from pybernetes.kubelet.observed import ObservedContainer
from pybernetes.kubelet.parts import Parts
from pybernetes.kubelet.runtime import RuntimeFailure

log = structlog.get_logger(__name__)


async def end_pod(parts: Parts, pod: Object, grace_seconds: float) -> None:
    """Ends the pod's containers, then its sandboxes. Returns when nothing of it runs. Raises `RuntimeFailure`."""
    uid = uid_of(pod)
    await kill_all(parts, pod, parts.view.pod(uid), grace_seconds)
    for sandbox in parts.view.pod(uid).sandboxes:
        if sandbox.ready:
            try:
                await parts.runtime.stop_sandbox(sandbox.id)
            except RuntimeFailure as failure:
                if not failure.not_found:
                    raise
            await parts.view.refresh_sandbox(sandbox.id)
    left = [c.name for c in parts.view.pod(uid).running()]
    if left:
        raise RuntimeFailure(f"containers still run: {', '.join(left)}")


async def release(parts: Parts, pod: Object) -> None:
    """Gives back volumes and cgroup. Raises `VolumeError`, `CgroupError`."""
    uid = uid_of(pod)
    await parts.volumes.tear_down(uid)
    await parts.cgroups.remove(uid)


async def leave(parts: Parts, pod: Object, *, in_api: bool) -> None:
    """Removes the pod from the API, once its last status is told, then everything that is left of it on the node."""
    uid = uid_of(pod)
    if in_api:
        await parts.statuses.flush(uid)
        try:
            await parts.client.delete(PODS, name_of(pod), namespace_of(pod), grace_period_seconds=0, uid=uid)
        except (errors.NotFound, errors.Conflict) as error:
            log.debug("pod was gone already", pod=format_pod(pod), error=error.message)
    parts.statuses.forget(uid)
    parts.images.forget(uid)
    parts.tokens.forget(uid)
    parts.backoffs.forget_where(uid)
    observed = await parts.view.refresh_pod(uid)
    for container in observed.containers:
        await remove_container(parts, container)
    for sandbox in observed.sandboxes:
        await remove_sandbox(parts, sandbox.id)
    await parts.cgroups.remove(uid)
    parts.volumes.remove_pod_directory(uid)
    shutil.rmtree(pod_log_directory(parts.config.log_directory, pod), ignore_errors=True)


async def remove_container(parts: Parts, container: ObservedContainer) -> None:
    """Removes a container that has ended, and its logs."""
    try:
        await parts.runtime.remove_container(container.id)
    except RuntimeFailure as failure:
        if not failure.not_found:
            raise
    parts.view.forget(container.id)
    if container.status.log_path:
        log_path = Path(container.status.log_path)
        for path in (log_path, *log_path.parent.glob(f"{log_path.name}.*")):
            path.unlink(missing_ok=True)


async def remove_sandbox(parts: Parts, sandbox_id: str) -> None:
    try:
        await parts.runtime.remove_sandbox(sandbox_id)
    except RuntimeFailure as failure:
        if not failure.not_found:
            raise
    parts.view.forget(sandbox_id)
