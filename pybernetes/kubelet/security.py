"""Security contexts turned into what the runtime confines a container with. Pure, but for the image's user that the
caller looks up.

Defaults and texts are upstream's (``pkg/kubelet/kuberuntime/security_context.go``, ``pkg/securitycontext``).
"""

from __future__ import annotations

from typing import Any

from pybernetes.api.meta import Object
from pybernetes.kubelet import spec
from pybernetes.kubelet.runtime import (
    ContainerSecurity,
    ImageStatus,
    NamespaceMode,
    NamespaceOptions,
    SecurityProfile,
    SELinuxOptions,
)

MASKED_PATHS = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
READ_ONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


class SecurityError(ValueError):
    """The container may not run as its security context asks. The text is the API's."""


def namespaces(pod: Object, container: Object | None = None, target_id: str = "") -> NamespaceOptions:
    own = pod.get("spec") or {}
    if own.get("hostPID"):
        pid = NamespaceMode.NODE
    elif own.get("shareProcessNamespace"):
        pid = NamespaceMode.POD
    elif target_id:
        pid = NamespaceMode.TARGET
    else:
        pid = NamespaceMode.CONTAINER
    return NamespaceOptions(
        network=NamespaceMode.NODE if own.get("hostNetwork") else NamespaceMode.POD,
        pid=pid,
        ipc=NamespaceMode.NODE if own.get("hostIPC") else NamespaceMode.POD,
        target_id=target_id if pid is NamespaceMode.TARGET else "",
    )


def _setting(pod: Object, container: Object, name: str) -> Any:
    """A setting that the container's context has before the pod's."""
    own = (container.get("securityContext") or {}).get(name)
    return own if own is not None else spec.security(pod).get(name)


def _profile(value: Object | None) -> SecurityProfile | None:
    if not value:
        return None
    return SecurityProfile(value.get("type") or "Unconfined", value.get("localhostProfile") or "")


def seccomp(pod: Object, container: Object | None) -> SecurityProfile:
    """Unconfined unless asked, as upstream without ``seccompDefault``."""
    value = _setting(pod, container, "seccompProfile") if container else spec.security(pod).get("seccompProfile")
    return _profile(value) or SecurityProfile("Unconfined")


def selinux(value: Object | None) -> SELinuxOptions | None:
    if not value:
        return None
    return SELinuxOptions(
        value.get("user") or "", value.get("role") or "", value.get("type") or "", value.get("level") or ""
    )


def is_privileged(container: Object) -> bool:
    return bool((container.get("securityContext") or {}).get("privileged"))


def any_privileged(pod: Object) -> bool:
    return any(is_privileged(c) for _, c in spec.all_containers(pod))


def supplemental_groups(pod: Object) -> tuple[int, ...]:
    own = spec.security(pod)
    groups = [int(g) for g in own.get("supplementalGroups") or ()]
    if own.get("fsGroup") is not None and int(own["fsGroup"]) not in groups:
        groups.append(int(own["fsGroup"]))
    return tuple(groups)


def check_non_root(pod: Object, container: Object, image: ImageStatus) -> None:
    """Raises `SecurityError` where the container must not run as root and would, or might."""
    if not _setting(pod, container, "runAsNonRoot"):
        return
    name = container["name"]
    where = f'(pod: "{_pod(pod)}", container: {name})'
    user = _setting(pod, container, "runAsUser")
    if user is not None:
        if int(user) == 0:
            raise SecurityError(f"container's runAsUser breaks non-root policy {where}")
        return
    if image.username:
        if image.username == "root":
            raise SecurityError(f"container has runAsNonRoot and image will run as root {where}")
        if not image.username.isdigit():
            raise SecurityError(
                f"container has runAsNonRoot and image has non-numeric user ({image.username}), cannot verify user is "
                f"non-root {where}"
            )
        if int(image.username) == 0:
            raise SecurityError(f"container has runAsNonRoot and image will run as root {where}")
        return
    if not image.uid:
        raise SecurityError(f"container has runAsNonRoot and image will run as root {where}")


def _pod(pod: Object) -> str:
    from pybernetes.kubelet.identity import format_pod

    return format_pod(pod)


def container_security(
    pod: Object, container: Object, image: ImageStatus | None = None, target_id: str = ""
) -> ContainerSecurity:
    """What the runtime is told. Raises `SecurityError` (see `check_non_root`)."""
    if image is not None:
        check_non_root(pod, container, image)
    own = container.get("securityContext") or {}
    capabilities = own.get("capabilities") or {}
    privileged = is_privileged(container)
    user = _setting(pod, container, "runAsUser")
    group = _setting(pod, container, "runAsGroup")
    username = ""
    if user is None and image is not None and image.username:
        username = image.username
    elif user is None and image is not None:
        # An image that names nobody runs as root.
        user = image.uid or 0
    escalation = own.get("allowPrivilegeEscalation")
    unmasked = own.get("procMount") == "Unmasked"
    apparmor = _profile(_setting(pod, container, "appArmorProfile"))
    return ContainerSecurity(
        namespaces=namespaces(pod, container, target_id),
        privileged=privileged,
        add_capabilities=tuple(_capability(c) for c in capabilities.get("add") or ()),
        drop_capabilities=tuple(_capability(c) for c in capabilities.get("drop") or ()),
        run_as_user=int(user) if user is not None else None,
        run_as_group=int(group) if group is not None else None,
        run_as_username=username,
        supplemental_groups=supplemental_groups(pod),
        read_only_root=bool(own.get("readOnlyRootFilesystem")),
        no_new_privileges=escalation is False,
        masked_paths=() if privileged or unmasked else MASKED_PATHS,
        read_only_paths=() if privileged or unmasked else READ_ONLY_PATHS,
        seccomp=SecurityProfile("Unconfined") if privileged else seccomp(pod, container),
        apparmor=apparmor,
        selinux=selinux(_setting(pod, container, "seLinuxOptions")),
    )


def _capability(name: str) -> str:
    """CRI wants names without the prefix."""
    return name.removeprefix("CAP_")


def sysctls(pod: Object) -> dict[str, str]:
    return {s["name"]: str(s["value"]) for s in spec.security(pod).get("sysctls") or ()}
