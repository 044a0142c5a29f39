"""Pods and what runs of them, made with little said."""

from __future__ import annotations

from typing import Any

from pybernetes.api.meta import Object
from pybernetes.kubelet import identity, spec
from pybernetes.kubelet.observed import ObservedContainer, ObservedPod
from pybernetes.kubelet.runtime import ContainerState, ContainerStatus, SandboxStatus

UID = "11111111-2222"
NOW = 1_700_000_000.0


def container(name: str = "main", **fields: Any) -> Object:
    return {"name": name, "image": f"{name}:1", **fields}


def pod(*containers: Object, **fields: Any) -> Object:
    """A pod whose spec has these containers and fields; ``meta`` and ``status`` go to their own places."""
    meta, status = fields.pop("meta", {}), fields.pop("status", {})
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "pod", "namespace": "ns", "uid": UID, **meta},
        "spec": {"containers": list(containers or (container(),)), **fields},
        "status": status,
    }


def sandbox(number: int = 0, *, ready: bool = True, ips: tuple[str, ...] = ("10.0.0.1",)) -> SandboxStatus:
    return SandboxStatus(f"s{number}", "pod", "ns", UID, number, ready, NOW - 100 + number, ips, "", {}, {})


def ran(
    name: str = "main",
    state: ContainerState = ContainerState.RUNNING,
    code: int = 0,
    *,
    restarts: int = 0,
    in_sandbox: str = "s0",
    finished: float = NOW - 5,
    image: str = "",
    message: str = "",
) -> ObservedContainer:
    """A container of the runtime; one that exited did so at `finished`."""
    exited = state is ContainerState.EXITED
    status = ContainerStatus(
        f"{name}-{in_sandbox}-{restarts}",
        name,
        restarts,
        state,
        NOW - 50 + restarts,
        NOW - 49 + restarts if state is not ContainerState.CREATED else 0.0,
        finished if exited else 0.0,
        code,
        "" if not exited else "Completed" if code == 0 else "Error",
        "",
        image or f"{name}:1",
        "ref",
        "id",
        {},
        {},
        "",
    )
    hash_ = identity.spec_hash({"name": name, "image": image or f"{name}:1"})
    return ObservedContainer(status, in_sandbox, restarts, hash_, message)


def exited(name: str = "main", code: int = 0, **fields: Any) -> ObservedContainer:
    return ran(name, ContainerState.EXITED, code, **fields)


def observed(*containers: ObservedContainer, sandboxes: tuple[SandboxStatus, ...] | None = None) -> ObservedPod:
    ordered = sorted(containers, key=lambda c: (c.status.created_at, c.restart_count), reverse=True)
    found = (sandbox(),) if sandboxes is None else sandboxes
    return ObservedPod(UID, tuple(sorted(found, key=lambda s: -s.attempt)), tuple(ordered))


def all_names(of: Object) -> list[str]:
    return [c["name"] for _, c in spec.all_containers(of)]
