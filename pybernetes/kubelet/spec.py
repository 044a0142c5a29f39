"""Reading a pod's spec: its containers by kind, restart rules, ports. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pybernetes.api.meta import Object

ContainerKind = Literal["init", "regular", "ephemeral"]


def containers(pod: Object) -> list[Object]:
    return (pod.get("spec") or {}).get("containers") or []


def init_containers(pod: Object) -> list[Object]:
    return (pod.get("spec") or {}).get("initContainers") or []


def ephemeral_containers(pod: Object) -> list[Object]:
    return (pod.get("spec") or {}).get("ephemeralContainers") or []


def all_containers(pod: Object) -> Iterator[tuple[ContainerKind, Object]]:
    """Init containers, containers, ephemeral containers, in the spec's order."""
    for c in init_containers(pod):
        yield "init", c
    for c in containers(pod):
        yield "regular", c
    for c in ephemeral_containers(pod):
        yield "ephemeral", c


def find_container(pod: Object, name: str) -> tuple[ContainerKind, Object] | None:
    return next(((kind, c) for kind, c in all_containers(pod) if c["name"] == name), None)


def is_sidecar(container: Object) -> bool:
    """Whether an init container is a restartable one (KEP-753)."""
    return container.get("restartPolicy") == "Always"


def restart_policy(pod: Object) -> str:
    return str((pod.get("spec") or {}).get("restartPolicy") or "Always")


def restarts_after(pod: Object, container: Object, exit_code: int) -> bool:
    """Whether a container that ended with this code runs again: its own restart rules (KEP-5307) first, then its
    own policy, then the pod's."""
    own = container.get("restartPolicy")
    if own:
        for rule in container.get("restartPolicyRules") or ():
            codes = rule.get("exitCodes") or {}
            listed = exit_code in (codes.get("values") or ())
            matches = listed if codes.get("operator") == "In" else not listed
            if codes and matches and rule.get("action") == "Restart":
                return True
    policy = own or restart_policy(pod)
    if policy == "Never":
        return False
    return not (policy == "OnFailure" and exit_code == 0)


def may_restart(pod: Object) -> bool:
    """Whether anything of the pod could ever run again after a failure."""
    if restart_policy(pod) != "Never":
        return True
    return any(c.get("restartPolicy") for c in containers(pod))


def resolve_port(port: Any, container: Object) -> int:
    """A number or a named port of the container. ValueError where there is none of the name, in upstream's
    words."""
    if isinstance(port, int):
        number = port
    elif isinstance(port, str) and port.isdigit():
        number = int(port)
    else:
        named = next((p for p in container.get("ports") or () if p.get("name") == port), None)
        if named is None:
            raise ValueError(f"couldn't find port: {port} in container {container.get('name')}")
        number = int(named["containerPort"])
    if not 0 < number < 65536:
        raise ValueError(f"invalid port number: {number}")
    return number


def security(pod: Object) -> Object:
    return (pod.get("spec") or {}).get("securityContext") or {}


def uses_host_network(pod: Object) -> bool:
    return bool((pod.get("spec") or {}).get("hostNetwork"))


def is_terminal(phase: str | None) -> bool:
    return phase in ("Succeeded", "Failed")
