"""Texts that warn of legal but doubtful pods and templates, for Warning headers.

Source of rules and texts: ``pkg/api/pod/warnings.go``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from pybernetes.api.kinds.amounts import amount, show
from pybernetes.api.meta import Object, annotations_of
from pybernetes.api.quantity import NANO

_ANNOTATIONS = {
    "scheduler.alpha.kubernetes.io/critical-pod": (
        'non-functional in v1.16+; use the "priorityClassName" field instead'
    ),
    "security.alpha.kubernetes.io/sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
    "security.alpha.kubernetes.io/unsafe-sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
}
_VOLUMES = {
    "photonPersistentDisk": "deprecated in v1.11, non-functional in v1.16+",
    "gitRepo": "deprecated in v1.11",
    "scaleIO": "deprecated in v1.16, non-functional in v1.22+",
    "flocker": "deprecated in v1.22, non-functional in v1.25+",
    "storageos": "deprecated in v1.22, non-functional in v1.25+",
    "quobyte": "deprecated in v1.22, non-functional in v1.25+",
    "glusterfs": "deprecated in v1.25, non-functional in v1.26+",
    "cephfs": "deprecated in v1.28, non-functional in v1.31+",
    "rbd": "deprecated in v1.28, non-functional in v1.31+",
}
_NODE_LABELS = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": 'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
    "failure-domain.beta.kubernetes.io/zone": 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
    "beta.kubernetes.io/instance-type": 'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
}
_SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"


def pod_warnings(obj: Object, path: str = "") -> list[str]:
    """Warnings of a Pod (empty path) or of a template found at `path`."""
    out: list[str] = []
    prefix = f"{path}." if path else ""
    spec, annotations = obj.get("spec") or {}, annotations_of(obj)
    at = f"{prefix}spec"
    for key in spec.get("nodeSelector") or ():
        if key in _NODE_LABELS:
            out.append(f"{at}.nodeSelector[{key}]: {_NODE_LABELS[key]}")
    for i, constraint in enumerate(spec.get("topologySpreadConstraints") or ()):
        key = constraint.get("topologyKey")
        if key in _NODE_LABELS:
            out.append(f"{at}.topologySpreadConstraints[{i}].topologyKey: {key} is {_NODE_LABELS[key]}")
        if constraint.get("labelSelector") is None:
            out.append(
                f"{at}.topologySpreadConstraints[{i}].labelSelector: a null labelSelector results in matching no pod"
            )
    for key, text in _ANNOTATIONS.items():
        if key in annotations:
            out.append(f"{prefix}metadata.annotations[{key}]: {text}")
    for i, volume in enumerate(spec.get("volumes") or ()):
        for kind in volume:
            if kind in _VOLUMES:
                out.append(f"{at}.volumes[{i}].{kind}: {_VOLUMES[kind]}")
    out.extend(_repeats(f"{at}.hostAliases", "ip", spec.get("hostAliases") or []))
    secrets = spec.get("imagePullSecrets") or []
    out.extend(_repeats(f"{at}.imagePullSecrets", "name", secrets))
    for i, secret in enumerate(secrets):
        if not secret.get("name"):
            out.append(f'{at}.imagePullSecrets[{i}].name: invalid empty name ""')
    if annotations and _SECCOMP_POD in annotations and not (spec.get("securityContext") or {}).get("seccompProfile"):
        out.append(
            f"{prefix}metadata.annotations[{_SECCOMP_POD}]: "
            'non-functional in v1.27+; use the "seccompProfile" field instead'
        )
    out.extend(_container_warnings(at, spec))
    out.extend(_port_warnings(at, spec))
    # A negative period is taken as 1 second everywhere.
    if (spec.get("terminationGracePeriodSeconds") or 0) < 0:
        out.append(
            f"{at}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
        )
    return out


def _containers(at: str, spec: Object) -> Iterator[tuple[str, Object]]:
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for i, container in enumerate(spec.get(field) or ()):
            yield f"{at}.{field}[{i}]", container


def _repeats(path: str, field: str, items: list[Object]) -> Iterator[str]:
    seen: set[str] = set()
    for i, item in enumerate(items):
        value = item.get(field) or ""
        if value in seen:
            yield f"{path}[{i}].{field}: duplicate {field} {json.dumps(value)}"
        seen.add(value)


def _container_warnings(at: str, spec: Object) -> Iterator[str]:
    for path, container in _containers(at, spec):
        resources = container.get("resources") or {}
        for kind in ("limits", "requests") if resources else ():
            for name in ("memory", "ephemeral-storage"):
                value = amount((resources.get(kind) or {}).get(name))
                if value is not None and value % NANO:
                    where, text = f"{path}.resources.{kind}[{name}]", show(resources[kind][name])
                    yield f'{where}: fractional byte value "{text}" is invalid, must be an integer'
        env = container.get("env") or ()
        if len(env) > 1:
            seen: set[str] = set()
            for i, variable in enumerate(env):
                name = variable.get("name") or ""
                # X=$(X)more builds on the value before and is meant.
                reference, text = f"$({name})", variable.get("value") or ""
                builds = variable.get("valueFrom") is None and text != reference and reference in text
                if name in seen and not builds:
                    yield (
                        f'{path}.env[{i}]: hides previous definition of "{name}", which may be dropped when using apply'
                    )
                seen.add(name)


def _port_warnings(at: str, spec: Object) -> Iterator[str]:
    seen: dict[tuple[int, str], list[tuple[str, Object]]] = {}
    for path, container in _containers(at, spec):
        for i, port in enumerate(container.get("ports") or ()):
            here = f"{path}.ports[{i}]"
            key = (port.get("containerPort") or 0, port.get("protocol") or "")
            host, host_ip = port.get("hostPort") or 0, port.get("hostIP") or ""
            for where, other in seen.get(key, ()):
                other_host, other_ip = other.get("hostPort") or 0, other.get("hostIP") or ""
                if (host, host_ip) == (other_host, other_ip):
                    yield f"{here}: duplicate port definition with {where}"
                elif not host or not other_host:
                    yield f"{here}: overlapping port definition with {where}"
                elif host == other_host and (not host_ip or not other_ip):
                    yield f"{here}: dangerously ambiguous port definition with {where}"
            seen.setdefault(key, []).append((here, port))
