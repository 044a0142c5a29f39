"""Annotations that have a meaning on pods and templates: mirror pods, deletion cost, seccomp's and AppArmor's old ways.

Most pods have none of them, so every function returns at once where no key can match.
Source of rules and texts: ``pkg/apis/core/validation/validation.go`` and ``pkg/registry/core/pod/strategy.go``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from pybernetes.api.kinds.faults import Faults
from pybernetes.api.kinds.podspec.paths import descending_path
from pybernetes.api.kinds.podspec.windows import visit_containers
from pybernetes.api.meta import Object, clone

POD_DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
MIRROR_POD = "kubernetes.io/config.mirror"
SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
APPARMOR_CONTAINER = "container.apparmor.security.beta.kubernetes.io/"
_LOCALHOST = "localhost/"
_MAX_INT32 = 2**31 - 1
_SECCOMP_NAMES = {"Unconfined": ("unconfined",), "RuntimeDefault": ("runtime/default", "docker/default")}
_APPARMOR_NAMES = {"Unconfined": ("unconfined",), "RuntimeDefault": ("runtime/default",)}
_APPARMOR_TYPES = {"runtime/default": "RuntimeDefault", "unconfined": "Unconfined"}


def pod_annotations(faults: Faults, path: str, annotations: Mapping[str, str] | None, spec: Object) -> None:
    """Every fault of the annotations themselves."""
    if not annotations:
        return
    mirror = annotations.get(MIRROR_POD)
    if mirror is not None and not spec.get("nodeName"):
        faults.invalid(f"{path}[{MIRROR_POD}]", mirror, "must set spec.nodeName if mirror pod annotation is set")
    cost = annotations.get(POD_DELETION_COST)
    if cost is not None and not _is_int32(cost):
        faults.invalid(f"{path}[{POD_DELETION_COST}]", cost, "must be a 32bit integer")
    for key, value in annotations.items():
        if key == SECCOMP_POD or key.startswith(SECCOMP_CONTAINER):
            _seccomp_profile(faults, f"{path}.{key}", value)
        elif key.startswith(APPARMOR_CONTAINER):
            container = key.removeprefix(APPARMOR_CONTAINER)
            if all(c.get("name") != container for _, c in visit_containers("", spec)):
                faults.invalid(f"{path}[{key}]", container, "container not found")
            if value not in ("", *_APPARMOR_TYPES) and not value.startswith(_LOCALHOST):
                faults.invalid(f"{path}[{key}]", value, f"invalid AppArmor profile name: {json.dumps(value)}")


def _is_int32(text: str) -> bool:
    digits = text.removeprefix("-")
    if not digits.isascii() or not digits.isdigit() or (digits != "0" and digits[0] == "0"):
        return False
    return len(digits) <= 10 and -(2**31) <= int(text) <= _MAX_INT32


def _seccomp_profile(faults: Faults, path: str, profile: str) -> None:
    if profile in ("runtime/default", "docker/default", "unconfined"):
        return
    if profile.startswith(_LOCALHOST):
        descending_path(faults, path, profile.removeprefix(_LOCALHOST))
    else:
        faults.invalid(path, profile, "must be a valid seccomp profile")


def annotations_and_fields(faults: Faults, path: str, annotations: Mapping[str, str] | None, spec: Object) -> None:
    """Where a profile is given both ways, by annotation and by field, they must say the same. Asked at creation."""
    if not annotations:
        return
    context = spec.get("securityContext") or {}
    profile, annotation = context.get("seccompProfile"), annotations.get(SECCOMP_POD)
    if profile is not None and annotation is not None:
        _match(faults, f"{path}.securityContext.seccompProfile", annotation, profile, "seccomp", _SECCOMP_NAMES)
    if any(key.startswith(SECCOMP_CONTAINER) for key in annotations):
        for at, container in visit_containers(path, spec):
            profile = (container.get("securityContext") or {}).get("seccompProfile")
            annotation = annotations.get(SECCOMP_CONTAINER + (container.get("name") or ""))
            if profile is not None and annotation is not None:
                _match(faults, f"{at}.securityContext.seccompProfile", annotation, profile, "seccomp", _SECCOMP_NAMES)
    if _is_windows(spec) or not any(key.startswith(APPARMOR_CONTAINER) for key in annotations):
        return
    for at, container in visit_containers(path, spec):
        profile = (container.get("securityContext") or {}).get("appArmorProfile") or context.get("appArmorProfile")
        annotation = annotations.get(APPARMOR_CONTAINER + (container.get("name") or ""))
        if profile is not None and annotation is not None:
            _match(faults, f"{at}.securityContext.appArmorProfile", annotation, profile, "apparmor", _APPARMOR_NAMES)


def _match(
    faults: Faults, path: str, annotation: str, profile: Object, what: str, names_: Mapping[str, tuple[str, ...]]
) -> None:
    kind = profile.get("type") or ""
    if kind == "Localhost" and annotation.startswith(_LOCALHOST):
        if annotation.removeprefix(_LOCALHOST) != profile.get("localhostProfile"):
            faults.forbidden(f"{path}.localhostProfile", f"{what} profile in annotation and field must match")
    elif kind == "Localhost" or (kind in names_ and annotation not in names_[kind]):
        faults.forbidden(f"{path}.type", f"{what} type in annotation and field must match")


def _is_windows(spec: Object) -> bool:
    return ((spec.get("os") or {}).get("name") or "") == "windows"


def apparmor_fields(annotations: Mapping[str, str], spec: Object) -> None:
    """Fills in a container's AppArmor profile from its annotation, where it has no profile of its own (KEP-24)."""
    if _is_windows(spec) or not any(key.startswith(APPARMOR_CONTAINER) for key in annotations):
        return
    of_pod = (spec.get("securityContext") or {}).get("appArmorProfile")
    # The containers may be those of a template that others use too.
    for field in ("containers", "initContainers", "ephemeralContainers"):
        if spec.get(field):
            spec[field] = clone(spec[field])
    for _, container in visit_containers("", spec):
        annotation = annotations.get(APPARMOR_CONTAINER + (container.get("name") or ""))
        if annotation is None or (container.get("securityContext") or {}).get("appArmorProfile") is not None:
            continue
        profile: Object | None = None
        if annotation in _APPARMOR_TYPES:
            profile = {"type": _APPARMOR_TYPES[annotation]}
        elif annotation.startswith(_LOCALHOST) and annotation != _LOCALHOST:
            profile = {"type": "Localhost", "localhostProfile": annotation.removeprefix(_LOCALHOST)}
        if profile is not None and profile != of_pod:
            container.setdefault("securityContext", {})["appArmorProfile"] = profile
