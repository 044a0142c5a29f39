"""The Pod Security Standards as checks of a pod's metadata and spec. Pure.

A check yields at most one violation: a reason and its detail, worded as upstream's. Checks hold from some minor
version on; where an older version is asked for, today's form of the check is used.

Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from pybernetes.api.meta import Object, annotations_of
from pybernetes.apiserver.node_authorizer import containers_of

Level = Literal["privileged", "baseline", "restricted"]
LEVELS: tuple[Level, ...] = ("privileged", "baseline", "restricted")
LATEST = 1000
"""The minor version that "latest" means."""


@dataclass(frozen=True, slots=True)
class Violation:
    reason: str
    detail: str

    def __str__(self) -> str:
        return f"{self.reason} ({self.detail})" if self.detail else self.reason


def violations(pod: Object, level: Level, minor: int = LATEST) -> list[Violation]:
    """What of the pod (or a pod template) the level forbids, in upstream's order."""
    if level == "privileged":
        return []
    found = []
    for check in _CHECKS:
        if minor < check.since_minor or (level == "baseline" and check.level == "restricted"):
            continue
        if level == "restricted" and check.replaced_since_minor is not None and minor >= check.replaced_since_minor:
            # A restricted check says the same more strictly.
            continue
        violation = check.run(pod)
        if violation is not None:
            found.append(violation)
    return found


def describe(found: Iterable[Violation]) -> str:
    return ", ".join(map(str, found))


# What checks share.


def _spec(pod: Object) -> Object:
    return pod.get("spec") or {}


def _pod_context(pod: Object) -> Object:
    return _spec(pod).get("securityContext") or {}


def _context(container: Object) -> Object:
    return container.get("securityContext") or {}


def _quoted(values: Iterable[str]) -> str:
    return ", ".join(json.dumps(v, ensure_ascii=False) for v in values)


def _containers(names: list[str]) -> str:
    return f"{'container' if len(names) == 1 else 'containers'} {_quoted(names)}"


def _names(pod: Object, is_bad: Callable[[Object], bool]) -> list[str]:
    return [str(c.get("name")) for c in containers_of(pod) if is_bad(c)]


def _setters(pod_is_bad: bool, containers: list[str]) -> str:
    """``pod and containers "a", "b"``."""
    parts = ["pod"] if pod_is_bad else []
    if containers:
        parts.append(_containers(containers))
    return " and ".join(parts)


def _is_windows(pod: Object) -> bool:
    return (_spec(pod).get("os") or {}).get("name") == "windows"


def _in_user_namespace(pod: Object) -> bool:
    return _spec(pod).get("hostUsers") is False


# Baseline.


def _app_armor(pod: Object) -> Violation | None:
    bad = []
    profile = (_pod_context(pod).get("appArmorProfile") or {}).get("type")
    allowed = ("RuntimeDefault", "Localhost", None)
    if profile not in allowed:
        bad.append(f"pod must not set AppArmor profile type to {_quoted([profile])}")
    types = sorted(
        {
            str(kind)
            for c in containers_of(pod)
            if (kind := (_context(c).get("appArmorProfile") or {}).get("type")) not in allowed
        }
    )
    if types:
        names = _names(pod, lambda c: (_context(c).get("appArmorProfile") or {}).get("type") not in allowed)
        bad.append(f"{_containers(names)} must not set AppArmor profile type to {_quoted(types)}")
    for key, value in sorted(annotations_of(pod).items()):
        if key.startswith("container.apparmor.security.beta.kubernetes.io/") and not (
            value in ("", "runtime/default") or value.startswith("localhost/")
        ):
            bad.append(f"{key}={_quoted([value])}")
    if not bad:
        return None
    return Violation(f"forbidden AppArmor profile{'s' if len(bad) > 1 else ''}", ", ".join(bad))


_DEFAULT_CAPABILITIES = frozenset(
    (
        "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP",
        "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
    )
)  # fmt: skip


def _added(container: Object) -> set[str]:
    return set((_context(container).get("capabilities") or {}).get("add") or ())


def _default_capabilities(pod: Object) -> Violation | None:
    bad = _names(pod, lambda c: not _added(c) <= _DEFAULT_CAPABILITIES)
    if not bad:
        return None
    forbidden = sorted(set().union(*(_added(c) for c in containers_of(pod))) - _DEFAULT_CAPABILITIES)
    return Violation(
        "non-default capabilities",
        f"{_containers(bad)} must not include {_quoted(forbidden)} in securityContext.capabilities.add",
    )


def _host_namespaces(pod: Object) -> Violation | None:
    used = [f"{field}=true" for field in ("hostNetwork", "hostPID", "hostIPC") if _spec(pod).get(field)]
    return Violation("host namespaces", ", ".join(used)) if used else None


def _host_path_volumes(pod: Object) -> Violation | None:
    bad = sorted(str(v.get("name")) for v in _spec(pod).get("volumes") or () if "hostPath" in v)
    if not bad:
        return None
    return Violation("hostPath volumes", f"{'volume' if len(bad) == 1 else 'volumes'} {_quoted(bad)}")


def _host_ports(pod: Object) -> Violation | None:
    def ports(container: Object) -> list[int]:
        return [int(p["hostPort"]) for p in container.get("ports") or () if p.get("hostPort")]

    bad = _names(pod, lambda c: bool(ports(c)))
    if not bad:
        return None
    used = sorted({str(port) for c in containers_of(pod) for port in ports(c)})
    return Violation(
        "hostPort",
        f"{_containers(bad)} {'uses' if len(bad) == 1 else 'use'} {'hostPort' if len(used) == 1 else 'hostPorts'} "
        f"{', '.join(used)}",
    )


def _hosts(container: Object) -> Iterator[str]:
    lifecycle = container.get("lifecycle") or {}
    handlers = [container.get(probe) for probe in ("livenessProbe", "readinessProbe", "startupProbe")]
    for handler in [*handlers, lifecycle.get("postStart"), lifecycle.get("preStop")]:
        for kind in ("httpGet", "tcpSocket"):
            host = ((handler or {}).get(kind) or {}).get("host")
            if host:
                yield str(host)


def _probe_hosts(pod: Object) -> Violation | None:
    bad = sorted(_names(pod, lambda c: any(_hosts(c))))
    if not bad:
        return None
    hosts = sorted({host for c in containers_of(pod) for host in _hosts(c)})
    return Violation(
        "probe or lifecycle host",
        f"{_containers(bad)} {'uses' if len(bad) == 1 else 'use'} probe or lifecycle "
        f"{'host' if len(hosts) == 1 else 'hosts'} {_quoted(hosts)}",
    )


def _privileged(pod: Object) -> Violation | None:
    bad = _names(pod, lambda c: bool(_context(c).get("privileged")))
    return Violation("privileged", f"{_containers(bad)} must not set securityContext.privileged=true") if bad else None


def _proc_mount(pod: Object) -> Violation | None:
    def mount(container: Object) -> str:
        return str(_context(container).get("procMount") or "Default")

    bad = _names(pod, lambda c: mount(c) != "Default")
    if not bad:
        return None
    kinds = sorted({mount(c) for c in containers_of(pod)} - {"Default"})
    return Violation("procMount", f"{_containers(bad)} must not set securityContext.procMount to {_quoted(kinds)}")


def _proc_mount_baseline(pod: Object) -> Violation | None:
    return None if _in_user_namespace(pod) else _proc_mount(pod)


_SELINUX_TYPES = ("", "container_t", "container_init_t", "container_kvm_t", "container_engine_t")


def _selinux(pod: Object) -> Violation | None:
    def is_bad(options: Object) -> bool:
        return (
            (options.get("type") or "") not in _SELINUX_TYPES or bool(options.get("user")) or bool(options.get("role"))
        )

    pod_options = _pod_context(pod).get("seLinuxOptions") or {}
    bad = _names(pod, lambda c: is_bad(_context(c).get("seLinuxOptions") or {}))
    if not bad and not is_bad(pod_options):
        return None
    everything = [pod_options, *((_context(c).get("seLinuxOptions") or {}) for c in containers_of(pod))]
    types = sorted({str(o["type"]) for o in everything if (o.get("type") or "") not in _SELINUX_TYPES})
    data = []
    if types:
        data.append(f"{'type' if len(types) == 1 else 'types'} {_quoted(types)}")
    if any(o.get("user") for o in everything):
        data.append("user may not be set")
    if any(o.get("role") for o in everything):
        data.append("role may not be set")
    return Violation(
        "seLinuxOptions",
        f"{_setters(is_bad(pod_options), bad)} set forbidden securityContext.seLinuxOptions: {'; '.join(data)}",
    )


def _seccomp_type(context: Object) -> str | None:
    profile = context.get("seccompProfile")
    return None if profile is None else str(profile.get("type") or "")


_SECCOMP_ALLOWED = ("RuntimeDefault", "Localhost")


def _explicit_seccomp(pod: Object) -> Violation | None:
    pod_type = _seccomp_type(_pod_context(pod))
    pod_is_bad = pod_type is not None and pod_type not in _SECCOMP_ALLOWED
    bad = _names(pod, lambda c: (kind := _seccomp_type(_context(c))) is not None and kind not in _SECCOMP_ALLOWED)
    if not bad and not pod_is_bad:
        return None
    kinds = {pod_type, *(_seccomp_type(_context(c)) for c in containers_of(pod))}
    shown = sorted(k for k in kinds if k is not None and k not in _SECCOMP_ALLOWED)
    return Violation(
        "seccompProfile",
        f"{_setters(pod_is_bad, bad)} must not set securityContext.seccompProfile.type to {_quoted(shown)}",
    )


_SYSCTLS = frozenset(
    (
        "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range", "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem",
    )
)  # fmt: skip


def _sysctls(pod: Object) -> Violation | None:
    bad = [str(s.get("name")) for s in _pod_context(pod).get("sysctls") or () if s.get("name") not in _SYSCTLS]
    return Violation("forbidden sysctls", ", ".join(bad)) if bad else None


def _host_process(pod: Object) -> Violation | None:
    def is_bad(context: Object) -> bool:
        return bool((context.get("windowsOptions") or {}).get("hostProcess"))

    bad = _names(pod, lambda c: is_bad(_context(c)))
    pod_is_bad = is_bad(_pod_context(pod))
    if not bad and not pod_is_bad:
        return None
    return Violation(
        "hostProcess", f"{_setters(pod_is_bad, bad)} must not set securityContext.windowsOptions.hostProcess=true"
    )


# Restricted.


def _privilege_escalation(pod: Object) -> Violation | None:
    if _is_windows(pod):
        return None
    bad = _names(pod, lambda c: _context(c).get("allowPrivilegeEscalation") is not False)
    if not bad:
        return None
    return Violation(
        "allowPrivilegeEscalation != false",
        f"{_containers(bad)} must set securityContext.allowPrivilegeEscalation=false",
    )


def _restricted_capabilities(pod: Object) -> Violation | None:
    if _is_windows(pod):
        return None
    undropped = _names(pod, lambda c: "ALL" not in ((_context(c).get("capabilities") or {}).get("drop") or ()))
    adding = _names(pod, lambda c: not _added(c) <= {"NET_BIND_SERVICE"})
    details = []
    if undropped:
        details.append(f'{_containers(undropped)} must set securityContext.capabilities.drop=["ALL"]')
    if adding:
        forbidden = sorted(set().union(*(_added(c) for c in containers_of(pod))) - {"NET_BIND_SERVICE"})
        details.append(
            f"{_containers(adding)} must not include {_quoted(forbidden)} in securityContext.capabilities.add"
        )
    return Violation("unrestricted capabilities", "; ".join(details)) if details else None


_VOLUME_KINDS = frozenset(
    (
        "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret",
        "image",
    )
)  # fmt: skip


def _restricted_volumes(pod: Object) -> Violation | None:
    bad, kinds = [], set()
    for volume in _spec(pod).get("volumes") or ():
        sources = {key for key in volume if key != "name"}
        if not sources & _VOLUME_KINDS:
            bad.append(str(volume.get("name")))
            kinds |= sources or {"unknown"}
    if not bad:
        return None
    one = len(bad) == 1
    return Violation(
        "restricted volume types",
        f"{'volume' if one else 'volumes'} {_quoted(bad)} {'uses' if one else 'use'} restricted volume "
        f"{'type' if len(kinds) == 1 else 'types'} {_quoted(sorted(kinds))}",
    )


def _run_as_non_root(pod: Object) -> Violation | None:
    if _in_user_namespace(pod):
        return None
    pod_wish = _pod_context(pod).get("runAsNonRoot")
    explicit = _names(pod, lambda c: _context(c).get("runAsNonRoot") is False)
    if explicit or pod_wish is False:
        return Violation(
            "runAsNonRoot != true",
            f"{_setters(pod_wish is False, explicit)} must not set securityContext.runAsNonRoot=false",
        )
    implicit = [] if pod_wish else _names(pod, lambda c: _context(c).get("runAsNonRoot") is None)
    if not implicit:
        return None
    return Violation(
        "runAsNonRoot != true", f"pod or {_containers(implicit)} must set securityContext.runAsNonRoot=true"
    )


def _run_as_user(pod: Object) -> Violation | None:
    if _in_user_namespace(pod):
        return None
    pod_is_bad = _pod_context(pod).get("runAsUser") == 0
    bad = _names(pod, lambda c: _context(c).get("runAsUser") == 0)
    if not bad and not pod_is_bad:
        return None
    return Violation("runAsUser=0", f"{_setters(pod_is_bad, bad)} must not set runAsUser=0")


def _restricted_seccomp(pod: Object) -> Violation | None:
    if _is_windows(pod):
        return None
    explicit = _explicit_seccomp(pod)
    if explicit is not None:
        return explicit
    if _seccomp_type(_pod_context(pod)) is not None:
        return None
    implicit = _names(pod, lambda c: _seccomp_type(_context(c)) is None)
    if not implicit:
        return None
    return Violation(
        "seccompProfile",
        f'pod or {_containers(implicit)} must set securityContext.seccompProfile.type to "RuntimeDefault" or '
        '"Localhost"',
    )


@dataclass(frozen=True, slots=True)
class _Check:
    level: Level
    run: Callable[[Object], Violation | None]
    replaced_since_minor: int | None = None
    """From which version on a restricted check takes this one's place at the restricted level."""
    since_minor: int = 0


_CHECKS: tuple[_Check, ...] = (
    _Check("baseline", _app_armor),
    _Check("baseline", _default_capabilities, replaced_since_minor=22),
    _Check("baseline", _host_namespaces),
    _Check("baseline", _host_path_volumes, replaced_since_minor=0),
    _Check("baseline", _host_ports),
    _Check("baseline", _probe_hosts, since_minor=34),
    _Check("baseline", _privileged),
    _Check("baseline", _proc_mount_baseline, replaced_since_minor=0),
    _Check("baseline", _selinux),
    _Check("baseline", _explicit_seccomp, replaced_since_minor=19),
    _Check("baseline", _sysctls),
    _Check("baseline", _host_process),
    _Check("restricted", _privilege_escalation, since_minor=8),
    _Check("restricted", _restricted_capabilities, since_minor=22),
    _Check("restricted", _proc_mount),
    _Check("restricted", _restricted_volumes),
    _Check("restricted", _run_as_non_root),
    _Check("restricted", _run_as_user, since_minor=23),
    _Check("restricted", _restricted_seccomp, since_minor=19),
)
"""Baseline before restricted, each in the order of upstream's ids."""
