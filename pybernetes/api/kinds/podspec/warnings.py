"""Texts that warn of legal but doubtful pods and templates, for Warning headers.

Source of rules and texts: ``pkg/api/pod/warnings.go``. Overlapping paths of volumes are in `overlaps`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from pybernetes.api import names
from pybernetes.api.kinds.addresses import ip_warnings
from pybernetes.api.kinds.amounts import amount, show
from pybernetes.api.kinds.podspec.annotations import APPARMOR_CONTAINER, SECCOMP_CONTAINER, SECCOMP_POD
from pybernetes.api.kinds.podspec.overlaps import overlapping_paths
from pybernetes.api.kinds.podspec.windows import visit_containers
from pybernetes.api.meta import Object, annotations_of, name_of
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
    "gitRepo": "deprecated in v1.11, and disabled by default in v1.33+",
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
NODE_LABELS_GA = {
    "beta.kubernetes.io/arch": "kubernetes.io/arch",
    "beta.kubernetes.io/os": "kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "beta.kubernetes.io/instance-type": "node.kubernetes.io/instance-type",
}
"""The successors of deprecated node labels."""
_VOLUME_SPELLED = {"storageos": "storageOS"}
_SECCOMP_TEXT = 'non-functional in v1.27+; use the "seccompProfile" field instead'
_APPARMOR_TEXT = 'deprecated since v1.30; use the "appArmorProfile" field instead'
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def name_warning(obj: Object, used_in: str) -> list[str]:
    """What is said of an object whose name becomes (part of) a host's name and is no DNS label."""
    messages = names.dns_label(name_of(obj))
    if not messages:
        return []
    return [
        f"metadata.name: this is used in {used_in}, which can result in surprising behavior; "
        f"a DNS label is recommended: [{' '.join(messages)}]"
    ]


def warned_of(annotations: Mapping[str, str]) -> bool:
    """Whether an annotation is there that may give cause for a warning: only Kubernetes' own can."""
    return any(".kubernetes.io/" in key for key in annotations)


def pod_warnings(obj: Object, path: str = "") -> list[str]:
    """Warnings of a Pod (empty path) or of a template found at `path`."""
    out: list[str] = []
    prefix = f"{path}." if path else ""
    spec, annotations = obj.get("spec") or {}, annotations_of(obj)
    at = f"{prefix}spec"
    for key in spec.get("nodeSelector") or ():
        if key in _NODE_LABELS:
            out.append(f"{at}.nodeSelector[{key}]: {_NODE_LABELS[key]}")
    if spec.get("affinity"):
        out.extend(_affinity(f"{at}.affinity.nodeAffinity", spec["affinity"].get("nodeAffinity") or {}))
        for kind in ("podAffinity", "podAntiAffinity"):
            out.extend(_pod_affinity(f"{at}.affinity.{kind}", spec["affinity"].get(kind) or {}))
    for i, constraint in enumerate(spec.get("topologySpreadConstraints") or ()):
        key = constraint.get("topologyKey")
        if key in _NODE_LABELS:
            out.append(f"{at}.topologySpreadConstraints[{i}].topologyKey: {key} is {_NODE_LABELS[key]}")
        if constraint.get("labelSelector") is None:
            out.append(
                f"{at}.topologySpreadConstraints[{i}].labelSelector: a null labelSelector results in matching no pod"
            )
    if annotations:
        for key, text in _ANNOTATIONS.items():
            if key in annotations:
                out.append(f"{prefix}metadata.annotations[{key}]: {text}")
    if spec.get("volumes"):
        out.extend(_volumes(at, spec["volumes"]))
    if spec.get("hostAliases"):
        out.extend(_repeats(f"{at}.hostAliases", "ip", spec["hostAliases"]))
        for i, alias in enumerate(spec["hostAliases"]):
            out.extend(ip_warnings(f"{at}.hostAliases[{i}].ip", alias.get("ip") or ""))
    if spec.get("imagePullSecrets"):
        out.extend(_repeats(f"{at}.imagePullSecrets", "name", spec["imagePullSecrets"]))
        for i, secret in enumerate(spec["imagePullSecrets"]):
            if not secret.get("name"):
                out.append(f'{at}.imagePullSecrets[{i}].name: invalid empty name ""')
    if spec.get("dnsConfig"):
        for i, server in enumerate(spec["dnsConfig"].get("nameservers") or ()):
            out.extend(ip_warnings(f"{at}.dnsConfig.nameservers[{i}]", server))
    if spec.get("overhead"):
        out.extend(_fractions(f"{at}.overhead", spec["overhead"]))
    if annotations:
        out.extend(_profiles(prefix, annotations, spec))
    ports = 0
    for where, container in visit_containers(at, spec):
        if container.get("resources") or len(container.get("env") or ()) > 1:
            out.extend(_container(where, container))
        ports += len(container.get("ports") or ())
    if ports:
        out.extend(_port_warnings(at, spec))
    # A negative period is taken as 1 second everywhere.
    if (spec.get("terminationGracePeriodSeconds") or 0) < 0:
        out.append(
            f"{at}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
        )
    return out


def claim_warnings(path: str, spec: Object) -> Iterator[str]:
    """Of a PersistentVolumeClaimSpec at `path`, wherever it stands."""
    requests = (spec.get("resources") or {}).get("requests")
    if requests:
        yield from _fractions(f"{path}.resources.requests", requests, ("storage",))


def _fractions(path: str, values: Object, which: tuple[str, ...] = ("memory", "ephemeral-storage")) -> Iterator[str]:
    for name in which:
        value = amount(values[name]) if name in values else None
        if value is not None and value % NANO:
            yield f'{path}[{name}]: fractional byte value "{show(values[name])}" is invalid, must be an integer'


def _affinity(at: str, affinity: Object) -> Iterator[str]:
    for i, term in enumerate((affinity.get(_REQUIRED) or {}).get("nodeSelectorTerms") or ()):
        yield from node_selector_term_warnings(f"{at}.{_REQUIRED}.nodeSelectorTerms[{i}]", term, values=False)
    for i, weighted in enumerate(affinity.get(_PREFERRED) or ()):
        where = f"{at}.{_PREFERRED}[{i}].preference"
        yield from node_selector_term_warnings(where, weighted.get("preference") or {}, values=True)


def _pod_affinity(at: str, affinity: Object) -> Iterator[str]:
    text = "labelSelector: a null labelSelector results in matching no pod"
    for i, term in enumerate(affinity.get(_REQUIRED) or ()):
        if term.get("labelSelector") is None:
            yield f"{at}.{_REQUIRED}[{i}].{text}"
    for i, weighted in enumerate(affinity.get(_PREFERRED) or ()):
        if (weighted.get("podAffinityTerm") or {}).get("labelSelector") is None:
            yield f"{at}.{_PREFERRED}[{i}].podAffinityTerm.{text}"


def node_selector_term_warnings(path: str, term: Object, *, values: bool) -> Iterator[str]:
    """Deprecated labels in a node selector's term; with `values`, also values that no label can have."""
    for i, expression in enumerate(term.get("matchExpressions") or ()):
        key = expression.get("key") or ""
        if key in _NODE_LABELS:
            yield f"{path}.matchExpressions[{i}].key: {key} is {_NODE_LABELS[key]}"
        for j, value in enumerate((expression.get("values") or ()) if values else ()):
            for message in names.label_value(value):
                yield f"{path}.matchExpressions[{i}].values[{j}]: {value} is invalid, {message}"


def deprecated_label(key: str) -> str:
    """What is said of a node's label that has a successor; empty for all others."""
    return _NODE_LABELS.get(key, "")


def _volumes(at: str, volumes: list[Object]) -> Iterator[str]:
    for i, volume in enumerate(volumes):
        for kind in volume:
            if kind in _VOLUMES:
                yield f"{at}.volumes[{i}].{_VOLUME_SPELLED.get(kind, kind)}: {_VOLUMES[kind]}"
        template = (volume.get("ephemeral") or {}).get("volumeClaimTemplate")
        if template:
            where = f"{at}.volumes[{i}].ephemeral.volumeClaimTemplate.spec"
            yield from claim_warnings(where, template.get("spec") or {})
    yield from overlapping_paths(volumes)


def _repeats(path: str, field: str, items: list[Object]) -> Iterator[str]:
    seen: set[str] = set()
    for i, item in enumerate(items):
        value = item.get(field) or ""
        if value in seen:
            yield f"{path}[{i}].{field}: duplicate {field} {json.dumps(value)}"
        seen.add(value)


def _profiles(prefix: str, annotations: dict[str, str], spec: Object) -> Iterator[str]:
    """Seccomp and AppArmor profiles that only an annotation names."""
    context = spec.get("securityContext") or {}
    if SECCOMP_POD in annotations and context.get("seccompProfile") is None:
        yield f"{prefix}metadata.annotations[{SECCOMP_POD}]: {_SECCOMP_TEXT}"
    if not any(key.startswith((SECCOMP_CONTAINER, APPARMOR_CONTAINER)) for key in annotations):
        return
    for _, container in visit_containers("", spec):
        own, name = container.get("securityContext") or {}, container.get("name") or ""
        if SECCOMP_CONTAINER + name in annotations and own.get("seccompProfile") is None:
            yield f"{prefix}metadata.annotations[{SECCOMP_CONTAINER}{name}]: {_SECCOMP_TEXT}"
        # A pod's annotation has become a field when this is asked, and is deprecated all the same.
        has_field = bool(prefix) and (
            own.get("appArmorProfile") is not None or context.get("appArmorProfile") is not None
        )
        if APPARMOR_CONTAINER + name in annotations and not has_field:
            yield f"{prefix}metadata.annotations[{APPARMOR_CONTAINER}{name}]: {_APPARMOR_TEXT}"


def _container(path: str, container: Object) -> Iterator[str]:
    resources = container.get("resources")
    if resources:
        for name in ("memory", "ephemeral-storage"):
            for kind in ("limits", "requests"):
                values = resources.get(kind)
                if values and name in values:
                    yield from _fractions(f"{path}.resources.{kind}", values, (name,))
    env = container.get("env") or ()
    if len(env) > 1:
        seen: set[str] = set()
        for i, variable in enumerate(env):
            name = variable.get("name") or ""
            if name in seen:
                # X=$(X)more builds on the value before and is meant.
                reference, text = f"$({name})", variable.get("value") or ""
                if variable.get("valueFrom") is not None or text == reference or reference not in text:
                    yield (
                        f'{path}.env[{i}]: hides previous definition of "{name}", which may be dropped when using apply'
                    )
            seen.add(name)


def _port_warnings(at: str, spec: Object) -> Iterator[str]:
    seen: dict[tuple[int, str], list[tuple[str, int, Object]]] = {}
    for path, container in visit_containers(at, spec):
        for i, port in enumerate(container.get("ports") or ()):
            key = (port.get("containerPort") or 0, port.get("protocol") or "")
            host, host_ip = port.get("hostPort") or 0, port.get("hostIP") or ""
            if host_ip and not host:
                shown = (
                    f"{{Name:{port.get('name') or ''} HostPort:0 ContainerPort:{key[0]} Protocol:{key[1]} "
                    f"HostIP:{host_ip}}}"
                )
                yield f"{path}.ports[{i}]: hostIP set without hostPort: {shown}"
            for where, j, other in seen.get(key, ()):
                here, there = f"{path}.ports[{i}]", f"{where}.ports[{j}]"
                other_host, other_ip = other.get("hostPort") or 0, other.get("hostIP") or ""
                if (host, host_ip) == (other_host, other_ip):
                    yield f"{here}: duplicate port definition with {there}"
                elif not host or not other_host:
                    yield f"{here}: overlapping port definition with {there}"
                elif host == other_host and bool(host_ip) != bool(other_ip):
                    yield f"{here}: dangerously ambiguous port definition with {there}"
            seen.setdefault(key, []).append((path, i, port))
