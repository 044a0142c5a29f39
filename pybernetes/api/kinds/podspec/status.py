"""What a new status of a Pod may say.

Source of rules and texts: ``ValidatePodStatusUpdate`` in ``pkg/apis/core/validation/validation.go``.
"""

from __future__ import annotations

from pybernetes.api import names
from pybernetes.api.kinds.faults import Faults
from pybernetes.api.meta import Object

_SYSTEM_CONDITIONS = ("PodScheduled", "Ready", "Initialized", "ContainersReady")
_HEALTH = ("Healthy", "Unhealthy", "Unknown")


def status_update(faults: Faults, status: Object, before: Object, spec: Object) -> None:
    """The change from one PodStatus to the next, of a pod whose spec is `spec`."""
    for i, condition in enumerate(status.get("conditions") or ()):
        kind = condition.get("type") or ""
        if kind not in _SYSTEM_CONDITIONS:
            faults.each(f"metadata.conditions[{i}].Type", kind, names.qualified_name(kind))
    nominated = status.get("nominatedNodeName")
    if nominated and nominated != before.get("nominatedNodeName"):
        faults.each("status.nominatedNodeName", nominated, names.dns_subdomain(nominated))
    if before.get("qosClass"):
        faults.immutable("status.qosClass", status.get("qosClass"), before["qosClass"])
    policy = spec.get("restartPolicy") or ""
    _transitions(faults, "containerStatuses", status, before, policy, spec.get("containers") or [])
    _transitions(faults, "initContainerStatuses", status, before, policy, spec.get("initContainers") or [])
    _transitions(faults, "ephemeralContainerStatuses", status, before, "Never", [])
    if status.get("resourceClaimStatuses"):
        _claims(faults, "status.resourceClaimStatuses", status["resourceClaimStatuses"], spec)
    _addresses(faults, "podIPs", status, before)
    hosts = status.get("hostIPs") or ()
    if hosts and hosts[0].get("ip") != (status.get("hostIP") or ""):
        faults.invalid("status.hostIPs[0].ip", hosts[0].get("ip"), "must be equal to `hostIP`")
    _addresses(faults, "hostIPs", status, before)
    windows = ((spec.get("os") or {}).get("name") or "linux") == "windows"
    for field, containers in (
        ("containerStatuses", "containers"), ("initContainerStatuses", "initContainers"),
        ("ephemeralContainerStatuses", ""),
    ):  # fmt: skip
        for i, container in enumerate(status.get(field) or ()):
            at = f"status.{field}[{i}]"
            user = (container.get("user") or {}).get("linux")
            if user is not None:
                _user(faults, f"{at}.linux", user, windows)
            if container.get("allocatedResourcesStatus"):
                _allocated(faults, f"{at}.allocatedResourcesStatus", container, spec.get(containers), bool(containers))


def _transitions(faults: Faults, field: str, status: Object, before: Object, policy: str, specs: list[Object]) -> None:
    """A container that ended for good may not come back to life in the status."""
    if policy == "Always" or not before.get(field):
        return
    restarted = {c.get("name") for c in specs if c.get("restartPolicy") == "Always" or c.get("restartPolicyRules")}
    alive = {c.get("name") for c in status.get(field) or () if not (c.get("state") or {}).get("terminated")}
    for i, was in enumerate(before[field]):
        ended = (was.get("state") or {}).get("terminated")
        if not ended or (ended.get("exitCode") and policy == "OnFailure") or was.get("name") in restarted:
            continue
        if was.get("name") in alive:
            faults.forbidden(f"status.{field}[{i}].state", "may not be transitioned to non-terminated state")


def _claims(faults: Faults, path: str, statuses: list[Object], spec: Object) -> None:
    known = {c.get("name") for c in spec.get("resourceClaims") or ()}
    seen: set[str] = set()
    for i, entry in enumerate(statuses):
        name, claim = entry.get("name") or "", entry.get("resourceClaimName")
        if name not in known:
            faults.invalid(f"{path}[{i}].name", name, "must match the name of an entry in `spec.resourceClaims`")
        if name in seen:
            faults.duplicate(f"{path}[{i}].name", name)
        seen.add(name)
        if claim is not None:
            faults.each(f"{path}[{i}].name", claim, names.dns_subdomain(claim))


def _addresses(faults: Faults, field: str, status: Object, before: Object) -> None:
    entries = status.get(field)
    # Addresses seldom change, and what has not was judged before.
    if not entries or entries == before.get(field):
        return
    seen: set[str] = set()
    families: list[int] = []
    for i, entry in enumerate(entries):
        ip = entry.get("ip") or ""
        faults.each(f"status.{field}[{i}]", ip, names.is_ip(ip))
        address = names.parse_ip(ip)
        if address is not None:
            families.append(address.version)
        if ip in seen:
            faults.duplicate(f"status.{field}[{i}]", entry)
        seen.add(ip)
    if len(set(families)) != len(families):
        faults.invalid(f"status.{field}", entries, "may specify no more than one IP for each IP family")


def _user(faults: Faults, path: str, user: Object, windows: bool) -> None:
    if windows:
        faults.forbidden(path, "cannot be set for a windows pod")
        return
    for name in ("uid", "gid"):
        faults.each(f"{path}.{name}", user.get(name) or 0, names.user_id(user.get(name) or 0))
    for i, group in enumerate(user.get("supplementalGroups") or ()):
        faults.each(f"{path}.supplementalGroups[{i}]", group, names.user_id(group))


def _allocated(
    faults: Faults, path: str, container: Object, specs: list[Object] | None, may_have_resources: bool
) -> None:
    """The health of devices that were given to a container (KEP-4680)."""
    if not may_have_resources:
        faults.forbidden(path, "must not be specified in container status")
        return
    spec = next((c for c in specs or () if c.get("name") == container.get("name")), None)
    for j, entry in enumerate(container["allocatedResourcesStatus"]):
        at, name = f"{path}[{j}]", entry.get("name") or ""
        if spec is not None:
            own = spec.get("resources") or {}
            if name.startswith("claim:"):
                known = {
                    f"claim:{c.get('name')}" + (f"/{c['request']}" if c.get("request") else "")
                    for c in own.get("claims") or ()
                }
                text = (
                    "must match one of the container's resource claims in a format 'claim:<claimName>/<request>' or "
                    "'claim:<claimName>' if request is empty"
                )
            else:
                known, text = set(own.get("requests") or ()), "must match one of the container's resource requests"
            if name not in known:
                faults.invalid(f"{at}.name", name, text)
        seen: set[str] = set()
        for k, resource in enumerate(entry.get("resources") or ()):
            health, identifier = resource.get("health") or "", resource.get("resourceID") or ""
            if health not in _HEALTH:
                faults.not_supported(f"{at}.resources[{k}].health", health, _HEALTH)
            if identifier in seen:
                faults.duplicate(f"{at}.resources[{k}].resourceID", identifier)
            seen.add(identifier)
