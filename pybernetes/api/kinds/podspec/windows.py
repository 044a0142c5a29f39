"""Rules of pods for Windows, and of Windows' options in other pods' security contexts.

No node of this cluster runs Windows; the API takes such pods all the same, and judges them as upstream's does.
Source of rules and texts: ``pkg/apis/core/validation/validation.go``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pybernetes.api import names
from pybernetes.api.kinds.faults import Faults
from pybernetes.api.meta import Object

_SPEC_MAX_KIB = 64
_DOMAIN_MAX = 256
_USER_MAX = 104
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NETBIOS = re.compile(r'[^\\/:*?"<>|.][^\\/:*?"<>|]{0,14}')
_DNS_PART = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_DNS = re.compile(rf"{_DNS_PART}(?:\.{_DNS_PART})*")
_ONLY_DOTS_AND_SPACES = re.compile(r"[. ]+")
_BAD_IN_USER = re.compile(r'["/\\:;|=,+*?<>@\[\]]')
_FORBIDDEN = "cannot be set for a windows pod"
_POD_FIELDS: tuple[tuple[str, str], ...] = (
    ("securityContext.appArmorProfile", "appArmorProfile"),
    ("securityContext.seLinuxOptions", "seLinuxOptions"),
    ("hostUsers", ""),
    ("hostPID", ""),
    ("hostIPC", ""),
    ("securityContext.seccompProfile", "seccompProfile"),
    ("securityContext.fsGroup", "fsGroup"),
    ("securityContext.fsGroupChangePolicy", "fsGroupChangePolicy"),
    ("securityContext.sysctls", "sysctls"),
    ("shareProcessNamespace", ""),
    ("securityContext.runAsUser", "runAsUser"),
    ("securityContext.runAsGroup", "runAsGroup"),
    ("securityContext.supplementalGroups", "supplementalGroups"),
    ("securityContext.supplementalGroupsPolicy", "supplementalGroupsPolicy"),
    ("securityContext.seLinuxChangePolicy", "seLinuxChangePolicy"),
)
"""(path below the spec, field of the security context; empty where it is a field of the spec), in upstream's order."""
_ONLY_IF_TRUE = ("hostPID", "hostIPC")
_CONTAINER_FIELDS = (
    "appArmorProfile", "seLinuxOptions", "seccompProfile", "capabilities", "readOnlyRootFilesystem", "privileged",
    "allowPrivilegeEscalation", "procMount", "runAsUser", "runAsGroup",
)  # fmt: skip


def visit_containers(path: str, spec: Object) -> Iterator[tuple[str, Object]]:
    """Every container of a pod spec with its path, in upstream's order."""
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for i, container in enumerate(spec.get(field) or ()):
            yield f"{path}.{field}[{i}]", container


def options(faults: Faults, path: str, value: Object) -> None:
    """``windowsOptions`` of a pod or a container."""
    credential, spec, user = (value.get(k) for k in ("gmsaCredentialSpecName", "gmsaCredentialSpec", "runAsUserName"))
    if credential is not None:
        faults.each(f"{path}.gmsaCredentialSpecName", credential, names.dns_subdomain(credential))
    if spec is not None:
        if not spec:
            faults.invalid(f"{path}.gmsaCredentialSpec", spec, "gmsaCredentialSpec cannot be an empty string")
        elif len(spec.encode()) > _SPEC_MAX_KIB * 1024:
            faults.invalid(
                f"{path}.gmsaCredentialSpec", spec, f"gmsaCredentialSpec size must be under {_SPEC_MAX_KIB} KiB"
            )
    if user is not None:
        for message in _user_name(user):
            faults.invalid(f"{path}.runAsUserName", user, message)


def _user_name(value: str) -> Iterator[str]:
    if not value:
        yield "runAsUserName cannot be an empty string"
        return
    if _CONTROL.search(value):
        yield "runAsUserName cannot contain control characters"
        return
    if value.count("\\") > 1:
        yield "runAsUserName cannot contain more than one backslash"
        return
    domain, slash, user = value.rpartition("\\")
    if len(domain.encode()) >= _DOMAIN_MAX:
        yield f"runAsUserName's Domain length must be under {_DOMAIN_MAX} characters"
    if slash and not (_NETBIOS.fullmatch(domain) or _DNS.fullmatch(domain)):
        yield "runAsUserName's Domain doesn't match the NetBios nor the DNS format"
    if not user:
        yield "runAsUserName's User cannot be empty"
    elif len(user.encode()) > _USER_MAX:
        yield f"runAsUserName's User length must not be longer than {_USER_MAX} characters"
    if _ONLY_DOTS_AND_SPACES.fullmatch(user):
        yield "runAsUserName's User cannot contain only periods or spaces"
    if _BAD_IN_USER.search(user):
        yield "runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]"


def _host_process(context: Object | None) -> bool | None:
    value: bool | None = ((context or {}).get("windowsOptions") or {}).get("hostProcess")
    return value


def host_process(faults: Faults, path: str, spec: Object) -> None:
    """HostProcess containers: all of a pod or none, and on the host's network."""
    of_pod = _host_process(spec.get("securityContext"))
    total = host_processes = 0
    for at, container in visit_containers(path, spec):
        total += 1
        own = _host_process(container.get("securityContext"))
        if of_pod is not None and own is not None and of_pod != own:
            faults.invalid(
                f"{at}.securityContext.windowsOptions.hostProcess",
                own,
                f"pod hostProcess value must be identical if both are specified, was {'true' if of_pod else 'false'}",
            )
        host_processes += bool(own if own is not None else of_pod)
    if not host_processes:
        return
    if host_processes != total:
        faults.invalid(
            path,
            "",
            "If pod contains any hostProcess containers then all containers must be HostProcess containers",
        )
    if not spec.get("hostNetwork"):
        faults.invalid(
            f"{path}.hostNetwork", False, "hostNetwork must be true if pod contains any hostProcess containers"
        )


def linux_pod(faults: Faults, path: str, spec: Object) -> None:
    """What a pod that says it is for Linux may not have."""
    text = "windows options cannot be set for a linux pod"
    if (spec.get("securityContext") or {}).get("windowsOptions") is not None:
        faults.forbidden(f"{path}.securityContext.windowsOptions", text)
    for at, container in visit_containers(path, spec):
        if (container.get("securityContext") or {}).get("windowsOptions") is not None:
            faults.forbidden(f"{at}.securityContext.windowsOptions", text)


def windows_pod(faults: Faults, path: str, spec: Object) -> None:
    """What a pod that says it is for Windows may not have."""
    context = spec.get("securityContext") or {}
    for where, field in _POD_FIELDS:
        value = context.get(field) if field else spec.get(where)
        if value is None or (not value and (where in _ONLY_IF_TRUE or field == "sysctls")):
            continue
        faults.forbidden(f"{path}.{where}", _FORBIDDEN)
    for at, container in visit_containers(path, spec):
        own = container.get("securityContext") or {}
        for field in _CONTAINER_FIELDS:
            if own.get(field) is not None:
                faults.forbidden(f"{at}.securityContext.{field}", _FORBIDDEN)
