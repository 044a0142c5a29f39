"""Validation of security contexts, of pods and of containers.

Source of rules and texts: ``pkg/apis/core/validation/validation.go``.
"""

from __future__ import annotations

import re
from typing import Any

from pybernetes.api import names
from pybernetes.api.kinds.faults import Faults
from pybernetes.api.kinds.podspec import windows
from pybernetes.api.kinds.podspec.paths import descending_path
from pybernetes.api.meta import Object

_PROFILES = ("Localhost", "RuntimeDefault", "Unconfined")
_SYSCTL = re.compile(r"([a-z0-9]([-_a-z0-9]*[a-z0-9])?[./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?")
_SYSCTL_TEXT = (
    "must have at most 253 characters and match regex "
    r"^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"
)
_SYSCTL_MAX = 253
_APPARMOR_MAX = 4095
_IPC_SYSCTLS = ("kernel.shm", "kernel.msg", "fs.mqueue.")


def _identity(faults: Faults, path: str, context: Object, fields: tuple[str, ...]) -> None:
    for name in fields:
        value = context.get(name)
        if value is not None and not 0 <= value <= 2**31 - 1:
            faults.each(f"{path}.{name}", value, names.user_id(value))


def _seccomp(faults: Faults, path: str, profile: Object | None) -> None:
    if profile is None:
        return
    kind, local = profile.get("type"), profile.get("localhostProfile")
    if not kind:
        faults.required(f"{path}.type", "type is required when seccompProfile is set")
    elif kind not in _PROFILES:
        faults.not_supported(f"{path}.type", kind, _PROFILES)
    if kind == "Localhost":
        if local is None:
            faults.required(f"{path}.localhostProfile", "must be set when seccomp type is Localhost")
        else:
            descending_path(faults, f"{path}.localhostProfile", local)
    elif local is not None:
        faults.invalid(f"{path}.localhostProfile", profile, "can only be set when seccomp type is Localhost")


def _apparmor(faults: Faults, path: str, profile: Object | None) -> None:
    if profile is None:
        return
    kind, local = profile.get("type"), profile.get("localhostProfile")
    at = f"{path}.localhostProfile"
    if not kind:
        faults.required(f"{path}.type", "type is required when appArmorProfile is set")
    elif kind == "Localhost":
        if local is None or not local:
            faults.required(at, "must be set when AppArmor type is Localhost")
        elif local != local.strip():
            faults.invalid(at, local, "must not be padded with whitespace")
        if local and len(local.encode()) > _APPARMOR_MAX:
            faults.too_long(at, _APPARMOR_MAX)
    elif kind not in _PROFILES:
        faults.not_supported(f"{path}.type", kind, _PROFILES)
    elif local is not None:
        faults.invalid(at, local, "can only be set when AppArmor type is Localhost")


def container_security_context(faults: Faults, path: str, context: Object, host_users: bool) -> None:
    _identity(faults, path, context, ("runAsUser", "runAsGroup"))
    mount = context.get("procMount")
    if mount is not None:
        if mount not in ("Default", "Unmasked"):
            faults.not_supported(f"{path}.procMount", mount, ("Default", "Unmasked"))
        if host_users and mount == "Unmasked":
            faults.invalid(f"{path}.procMount", mount, "`hostUsers` must be false to use `Unmasked`")
    _seccomp(faults, f"{path}.seccompProfile", context.get("seccompProfile"))
    if context.get("allowPrivilegeEscalation") is False:
        if context.get("privileged"):
            faults.invalid(path, context, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true")
        if "CAP_SYS_ADMIN" in ((context.get("capabilities") or {}).get("add") or ()):
            faults.invalid(
                path, context, "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
            )
    if context.get("windowsOptions"):
        windows.options(faults, f"{path}.windowsOptions", context["windowsOptions"])
    _apparmor(faults, f"{path}.appArmorProfile", context.get("appArmorProfile"))


def pod_security_context(faults: Faults, path: str, context: Object, spec: Object) -> None:
    _identity(faults, path, context, ("fsGroup", "runAsUser", "runAsGroup"))
    for i, group in enumerate(context.get("supplementalGroups") or ()):
        faults.each(f"{path}.supplementalGroups[{i}]", group, names.user_id(group))
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        faults.invalid(
            f"{path}.shareProcessNamespace", True, "ShareProcessNamespace and HostPID cannot both be enabled"
        )
    if context.get("sysctls"):
        _sysctls(faults, f"{path}.sysctls", context["sysctls"], spec)
    _choice(faults, f"{path}.fsGroupChangePolicy", context.get("fsGroupChangePolicy"), ("Always", "OnRootMismatch"))
    _seccomp(faults, f"{path}.seccompProfile", context.get("seccompProfile"))
    if context.get("windowsOptions"):
        windows.options(faults, f"{path}.windowsOptions", context["windowsOptions"])
    _apparmor(faults, f"{path}.appArmorProfile", context.get("appArmorProfile"))
    _choice(faults, f"{path}.supplementalGroupsPolicy", context.get("supplementalGroupsPolicy"), ("Merge", "Strict"))
    _choice(faults, f"{path}.seLinuxChangePolicy", context.get("seLinuxChangePolicy"), ("MountOption", "Recursive"))


def _choice(faults: Faults, path: str, value: Any, supported: tuple[str, ...]) -> None:
    if value is not None and value not in supported:
        faults.not_supported(path, value, supported)


def _sysctls(faults: Faults, path: str, sysctls: list[Object], spec: Object) -> None:
    seen: set[str] = set()
    for i, sysctl in enumerate(sysctls):
        at, name = f"{path}[{i}].name", sysctl.get("name") or ""
        if not name:
            faults.required(at)
        elif len(name) > _SYSCTL_MAX or not _SYSCTL.fullmatch(name):
            faults.invalid(at, name, _SYSCTL_TEXT)
        elif name in seen:
            faults.duplicate(at, name)
        seen.add(name)
        dotted = name.replace("/", ".")
        if spec.get("hostNetwork") and dotted.startswith("net."):
            faults.invalid(at, name, "may not be specified when 'hostNetwork' is true")
        elif spec.get("hostIPC") and (dotted.startswith(_IPC_SYSCTLS) or dotted == "kernel.sem"):
            faults.invalid(at, name, "may not be specified when 'hostIPC' is true")
