"""Validation of containers: regular, init and ephemeral ones, with their ports, environment, mounts, probes and hooks.

Source of rules and texts: ``pkg/apis/core/validation/validation.go``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from pybernetes.api import names
from pybernetes.api.kinds.amounts import amount, show
from pybernetes.api.kinds.faults import Faults
from pybernetes.api.kinds.podspec import resources, security
from pybernetes.api.kinds.podspec.paths import descending_path, no_backsteps
from pybernetes.api.meta import Object

PROTOCOLS = ("SCTP", "TCP", "UDP")
PULL_POLICIES = ("Always", "IfNotPresent", "Never")

# The same few names come with nearly every pod; bounded, since users choose them.
_dns_label = lru_cache(maxsize=4096)(lambda value: tuple(names.dns_label(value)))
_env_var_name = lru_cache(maxsize=4096)(lambda value: tuple(names.env_var_name(value)))
_port_name = lru_cache(maxsize=4096)(lambda value: tuple(names.iana_svc_name(value)))


@dataclass(frozen=True, slots=True)
class PodContext:
    """What the validation of a container must know of its pod."""

    volumes: Mapping[str, Object]
    """Valid volumes by name."""
    claim_names: frozenset[str] = frozenset()
    grace_period_seconds: int | None = None
    restart_policy: str = "Always"
    host_users: bool = True
    is_pod: bool = True
    """False inside a template."""
    seen: set[str] = field(default_factory=set)


def containers(faults: Faults, path: str, items: list[Object], pod: PodContext) -> None:
    """``spec.containers``."""
    if not items:
        faults.required(path)
        return
    seen: set[str] = set()
    for i, container in enumerate(items):
        at = f"{path}[{i}]"
        _common(faults, at, container, pod)
        name = container.get("name") or ""
        if name in seen:
            faults.duplicate(f"{at}.name", name)
        seen.add(name)
        _hooks_and_probes(faults, at, container, pod)
        if container.get("restartPolicy") is not None or container.get("restartPolicyRules"):
            _restart_policy_rules(faults, at, container)
    _host_port_conflicts(faults, path, items)


def init_containers(faults: Faults, path: str, items: list[Object], regular: list[Object], pod: PodContext) -> None:
    seen = {c.get("name") for c in regular}
    for i, container in enumerate(items):
        at = f"{path}[{i}]"
        _common(faults, at, container, pod)
        policy = container.get("restartPolicy")
        if policy is not None or container.get("restartPolicyRules"):
            _restart_policy_rules(faults, at, container)
        name = container.get("name") or ""
        if name in seen:
            faults.duplicate(f"{at}.name", name)
        elif name:
            seen.add(name)
        _host_port_conflicts(faults, path, [container])
        if policy == "Always":
            _hooks_and_probes(faults, at, container, pod)
            continue
        for forbidden in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe"):
            if container.get(forbidden) is not None:
                faults.forbidden(f"{at}.{forbidden}", "may not be set for init containers without restartPolicy=Always")


_EPHEMERAL_FORBIDDEN = (
    "ports", "resources", "resizePolicy", "restartPolicy", "restartPolicyRules", "livenessProbe", "readinessProbe",
    "startupProbe", "lifecycle",
)  # fmt: skip
_NOT_EPHEMERAL = "cannot be set for an Ephemeral Container"


def ephemeral_containers(
    faults: Faults, path: str, items: list[Object], others: Iterable[Object], pod: PodContext
) -> None:
    other_names = {c.get("name") for c in others}
    seen = set(other_names)
    for i, container in enumerate(items):
        at = f"{path}[{i}]"
        _common(faults, at, container, pod)
        only_for_pod(faults, at, container)
        name = container.get("name") or ""
        if name in seen:
            faults.duplicate(f"{at}.name", name)
        seen.add(name)
        target = container.get("targetContainerName")
        if target and target not in other_names:
            faults.not_found(f"{at}.targetContainerName", target)
        for forbidden in _EPHEMERAL_FORBIDDEN:
            if container.get(forbidden):
                faults.forbidden(f"{at}.{forbidden}", _NOT_EPHEMERAL)
        for j, mount in enumerate(container.get("volumeMounts") or ()):
            for forbidden in ("subPath", "subPathExpr"):
                if mount.get(forbidden):
                    faults.forbidden(f"{at}.volumeMounts[{j}].{forbidden}", _NOT_EPHEMERAL)


def only_for_pod(faults: Faults, path: str, container: Object) -> None:
    """What a pod may not have where a template may."""
    image = container.get("image") or ""
    if image != image.strip():
        faults.invalid(f"{path}.image", image, "must not have leading or trailing whitespace")


def _common(faults: Faults, path: str, container: Object, pod: PodContext) -> None:
    name = container.get("name")
    if not name:
        faults.required(f"{path}.name")
    else:
        messages = _dns_label(name)
        if messages:
            faults.each(f"{path}.name", name, messages)
    if not container.get("image"):
        faults.required(f"{path}.image")
    policy = container.get("terminationMessagePolicy")
    if policy not in ("File", "FallbackToLogsOnError"):
        faults.one_of(f"{path}.terminationMessagePolicy", policy, ("File", "FallbackToLogsOnError"))
    mounts = container.get("volumeMounts") or ()
    devices = container.get("volumeDevices") or ()
    if container.get("ports"):
        _ports(faults, f"{path}.ports", container["ports"])
    if container.get("env"):
        _env(faults, f"{path}.env", container["env"], pod)
    if container.get("envFrom"):
        _env_from(faults, f"{path}.envFrom", container["envFrom"])
    if mounts:
        _mounts(faults, f"{path}.volumeMounts", mounts, devices, container, pod)
    if devices:
        _devices(faults, f"{path}.volumeDevices", devices, mounts, pod)
    pull = container.get("imagePullPolicy")
    if pull not in PULL_POLICIES:
        faults.one_of(f"{path}.imagePullPolicy", pull, PULL_POLICIES)
    if container.get("resources"):
        resources.requirements(faults, f"{path}.resources", container["resources"], pod.claim_names)
    if container.get("resizePolicy"):
        _resize_policy(faults, f"{path}.resizePolicy", container["resizePolicy"], pod)
    if container.get("securityContext"):
        security.container_security_context(
            faults, f"{path}.securityContext", container["securityContext"], pod.host_users
        )


def _ports(faults: Faults, path: str, ports: list[Object]) -> None:
    seen: set[str] = set()
    for i, port in enumerate(ports):
        at = f"{path}[{i}]"
        name = port.get("name")
        if name:
            messages = _port_name(name)
            if messages:
                faults.each(f"{at}.name", name, messages)
            elif name in seen:
                faults.duplicate(f"{at}.name", name)
            else:
                seen.add(name)
        number = port.get("containerPort") or 0
        if number == 0:
            faults.required(f"{at}.containerPort")
        elif not 1 <= number <= 65535:
            faults.each(f"{at}.containerPort", number, names.port_number(number))
        host_port = port.get("hostPort") or 0
        if host_port and not 1 <= host_port <= 65535:
            faults.each(f"{at}.hostPort", host_port, names.port_number(host_port))
        protocol = port.get("protocol")
        if protocol not in PROTOCOLS:
            faults.one_of(f"{at}.protocol", protocol, PROTOCOLS)


def _host_port_conflicts(faults: Faults, path: str, items: list[Object]) -> None:
    seen: set[str] = set()
    for i, container in enumerate(items):
        for j, port in enumerate(container.get("ports") or ()):
            host_port = port.get("hostPort")
            if not host_port:
                continue
            key = f"{port.get('protocol') or ''}/{port.get('hostIP') or ''}/{host_port}"
            if key in seen:
                faults.duplicate(f"{path}[{i}].ports[{j}].hostPort", key)
            seen.add(key)


# The environment

_ENV_FIELDS = (
    "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
    "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
)  # fmt: skip
_DOWNWARD_FIELDS = frozenset(
    (
        *_ENV_FIELDS, "metadata.annotations", "metadata.labels", "spec.restartPolicy", "spec.schedulerName",
        "status.phase",
    )
)  # fmt: skip
VOLUME_FIELDS = ("metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid")
_RESOURCE_FIELDS = (
    "limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage",
    "requests.memory",
)  # fmt: skip


def _env(faults: Faults, path: str, variables: list[Object], pod: PodContext) -> None:
    for i, variable in enumerate(variables):
        name = variable.get("name")
        if not name:
            faults.required(f"{path}[{i}].name")
        else:
            messages = _env_var_name(name)
            if messages:
                faults.each(f"{path}[{i}].name", name, messages)
        source = variable.get("valueFrom")
        if source is not None:
            _value_from(faults, f"{path}[{i}].valueFrom", variable, source, pod)


def _value_from(faults: Faults, path: str, variable: Object, source: Object, pod: PodContext) -> None:
    count = 0
    if source.get("fieldRef") is not None:
        count += 1
        field_selector(faults, f"{path}.fieldRef", source["fieldRef"], _ENV_FIELDS)
    if source.get("resourceFieldRef") is not None:
        count += 1
        resource_field_selector(faults, f"{path}.resourceFieldRef", source["resourceFieldRef"], volume=False)
    for kind in ("configMapKeyRef", "secretKeyRef"):
        if source.get(kind) is not None:
            count += 1
            _key_selector(faults, f"{path}.{kind}", source[kind])
    file_ref = source.get("fileKeyRef")
    if file_ref is not None:
        count += 1
        _file_key_selector(faults, f"{path}.fileKeyRef", file_ref, pod)
    if count == 0:
        faults.invalid(
            path,
            "",
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        )
    elif variable.get("value"):
        faults.invalid(path, "", "may not be specified when `value` is not empty")
    elif count > 1:
        faults.invalid(path, "", "may not have more than one field specified at a time")


def _file_key_selector(faults: Faults, path: str, reference: Object, pod: PodContext) -> None:
    volume = reference.get("volumeName") or ""
    if not volume:
        faults.required(f"{path}.volumeName")
    elif volume not in pod.volumes:
        faults.not_found(f"{path}.volumeName", volume)
    if not reference.get("path"):
        faults.required(f"{path}.path")
    else:
        descending_path(faults, f"{path}.path", reference["path"])
    if not reference.get("key"):
        faults.required(f"{path}.key")
    else:
        faults.each(f"{path}.key", reference["key"], names.env_var_name(reference["key"]))


def field_selector(faults: Faults, path: str, reference: Object, supported: Iterable[str]) -> None:
    """A fieldRef: a field of the pod, or one label or annotation of it by ``['key']``."""
    if not reference.get("apiVersion"):
        faults.required(f"{path}.apiVersion")
        return
    field_path = reference.get("fieldPath") or ""
    if not field_path:
        faults.required(f"{path}.fieldPath")
        return
    base, bracket, rest = field_path.partition("['")
    subscript = rest[:-2] if bracket and rest.endswith("']") else None
    if reference["apiVersion"] != "v1":
        faults.invalid(
            f"{path}.fieldPath", field_path,
            f"error converting fieldPath: unsupported pod version: {reference['apiVersion']}",
        )  # fmt: skip
    elif subscript is not None:
        if base == "metadata.annotations":
            faults.each(path, subscript.lower(), names.qualified_name(subscript.lower()))
        elif base == "metadata.labels":
            faults.each(path, subscript, names.qualified_name(subscript))
        else:
            faults.invalid(
                f"{path}.fieldPath",
                field_path,
                f"error converting fieldPath: field label does not support subscript: {field_path}",
            )
    elif field_path not in _DOWNWARD_FIELDS:
        faults.invalid(
            f"{path}.fieldPath", field_path, f"error converting fieldPath: field label not supported: {field_path}"
        )
    elif field_path not in supported:
        faults.not_supported(f"{path}.fieldPath", field_path, supported)


_BYTE_DIVISORS = frozenset(
    ("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei")
)  # fmt: skip
_BYTE_DIVISOR_TEXT = "only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with "


def resource_field_selector(faults: Faults, path: str, reference: Object, *, volume: bool) -> None:
    resource = reference.get("resource") or ""
    huge = resource.startswith(("limits.hugepages-", "requests.hugepages-"))
    if volume and not reference.get("containerName"):
        faults.required(f"{path}.containerName")
    elif not resource:
        faults.required(f"{path}.resource")
    elif resource not in _RESOURCE_FIELDS and not huge:
        faults.not_supported(f"{path}.resource", resource, _RESOURCE_FIELDS)
    divisor = reference.get("divisor")
    if divisor is None or amount(divisor) == 0:
        return
    text = show(divisor)
    if resource in ("limits.cpu", "requests.cpu"):
        if text not in ("1m", "1"):
            faults.invalid(
                f"{path}.divisor", resource, "only divisor's values 1m and 1 are supported with the cpu resource"
            )
        return
    kind = (
        "the memory resource" if resource.endswith(".memory")
        else "the local ephemeral storage resource" if resource.endswith(".ephemeral-storage")
        else "the hugepages resource" if huge
        else ""
    )  # fmt: skip
    if kind and text not in _BYTE_DIVISORS:
        faults.invalid(f"{path}.divisor", resource, _BYTE_DIVISOR_TEXT + kind)


def _key_selector(faults: Faults, path: str, reference: Object) -> None:
    name = reference.get("name") or ""
    faults.each(f"{path}.name", name, names.dns_subdomain(name))
    key = reference.get("key")
    if not key:
        faults.required(f"{path}.key")
    else:
        faults.each(f"{path}.key", key, names.config_map_key(key))


def _env_from(faults: Faults, path: str, sources: list[Object]) -> None:
    for i, source in enumerate(sources):
        at = f"{path}[{i}]"
        prefix = source.get("prefix")
        if prefix:
            faults.each(f"{at}.prefix", prefix, names.env_var_name(prefix))
        count = 0
        for kind in ("configMapRef", "secretRef"):
            reference = source.get(kind)
            if reference is None:
                continue
            count += 1
            name = reference.get("name")
            if not name:
                faults.required(f"{at}.{kind}.name")
            else:
                faults.each(f"{at}.{kind}.name", name, names.dns_subdomain(name, prefix=True))
        if count == 0:
            faults.invalid(path, "", "must specify one of: `configMapRef` or `secretRef`")
        elif count > 1:
            faults.invalid(path, "", "may not have more than one field specified at a time")


# Mounts


def _mounts(faults: Faults, path: str, mounts: list[Object], devices: Any, container: Object, pod: PodContext) -> None:
    device_names = {d.get("name") for d in devices}
    device_paths = {d.get("devicePath") for d in devices}
    seen: set[str] = set()
    for i, mount in enumerate(mounts):
        name, mount_path = mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            faults.required(f"{path}[{i}].name")
        volume = pod.volumes.get(name)
        if volume is None:
            faults.not_found(f"{path}[{i}].name", name)
        if not mount_path:
            faults.required(f"{path}[{i}].mountPath")
        if mount_path in seen:
            faults.invalid(f"{path}[{i}].mountPath", mount_path, "must be unique")
        seen.add(mount_path)
        if name in device_names:
            faults.invalid(f"{path}[{i}].name", name, "must not already exist in volumeDevices")
        if mount_path in device_paths:
            faults.invalid(f"{path}[{i}].mountPath", mount_path, "must not already exist as a path in volumeDevices")
        sub, expr = mount.get("subPath"), mount.get("subPathExpr")
        # Upstream reports these four at the list, not at the mount.
        if sub:
            descending_path(faults, f"{path}.subPath", sub)
        if expr:
            if sub:
                faults.invalid(f"{path}[{i}].subPathExpr", expr, "subPathExpr and subPath are mutually exclusive")
            descending_path(faults, f"{path}.subPathExpr", expr)
        propagation = mount.get("mountPropagation")
        if propagation is not None:
            _propagation(faults, f"{path}.mountPropagation", propagation, container)
        if mount.get("recursiveReadOnly") is not None:
            _recursive_read_only(faults, f"{path}.recursiveReadOnly", mount)


def _propagation(faults: Faults, path: str, propagation: str, container: Object) -> None:
    supported = ("Bidirectional", "HostToContainer", "None")
    if propagation not in supported:
        faults.not_supported(path, propagation, supported)
    if propagation == "Bidirectional" and not (container.get("securityContext") or {}).get("privileged"):
        faults.forbidden(path, "Bidirectional mount propagation is available only to privileged containers")


def _recursive_read_only(faults: Faults, path: str, mount: Object) -> None:
    mode = mount["recursiveReadOnly"]
    if mode in ("Enabled", "IfPossible"):
        if not mount.get("readOnly"):
            faults.forbidden(path, "may only be specified when readOnly is true")
        if (mount.get("mountPropagation") or "None") != "None":
            faults.forbidden(path, "may only be specified when mountPropagation is None or not specified")
    elif mode != "Disabled":
        faults.not_supported(path, mode, ("Disabled", "Enabled", "IfPossible"))


def _devices(faults: Faults, path: str, devices: list[Object], mounts: Any, pod: PodContext) -> None:
    mount_names = {m.get("name") for m in mounts}
    mount_paths = {m.get("mountPath") for m in mounts}
    seen_names: set[str] = set()
    seen_paths: set[str] = set()
    for i, device in enumerate(devices):
        at = f"{path}[{i}]"
        name, device_path = device.get("name") or "", device.get("devicePath") or ""
        if not name:
            faults.required(f"{at}.name")
        if name in seen_names:
            faults.invalid(f"{at}.name", name, "must be unique")
        volume = pod.volumes.get(name)
        if volume is None:
            faults.not_found(f"{at}.name", name)
        elif volume.get("persistentVolumeClaim") is None and volume.get("ephemeral") is None:
            faults.invalid(
                f"{at}.name",
                name,
                "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode",
            )
        if not device_path:
            faults.required(f"{at}.devicePath")
        if device_path in seen_paths:
            faults.invalid(f"{at}.devicePath", device_path, "must be unique")
        if device_path and not no_backsteps(device_path):
            faults.invalid(f"{at}.devicePath", device_path, "can not contain backsteps ('..')")
        else:
            seen_paths.add(device_path)
        if name in mount_names:
            faults.invalid(f"{at}.name", name, "must not already exist in volumeMounts")
        if device_path in mount_paths:
            faults.invalid(f"{at}.devicePath", device_path, "must not already exist as a path in volumeMounts")
        if name:
            seen_names.add(name)


# Probes and hooks


def _hooks_and_probes(faults: Faults, path: str, container: Object, pod: PodContext) -> None:
    lifecycle = container.get("lifecycle")
    if lifecycle:
        for hook in ("postStart", "preStop"):
            if lifecycle.get(hook) is not None:
                _handler(faults, f"{path}.lifecycle.{hook}", lifecycle[hook], pod)
        signal = lifecycle.get("stopSignal")
        if signal is not None and signal not in _SIGNALS:
            faults.not_supported(f"{path}.lifecycle.stopSignal", signal, sorted(_SIGNALS))
    for kind in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = container.get(kind)
        if probe is not None:
            _probe(faults, f"{path}.{kind}", kind, probe, pod)


_SIGNALS = frozenset(
    (
        "SIGABRT", "SIGALRM", "SIGBUS", "SIGCHLD", "SIGCLD", "SIGCONT", "SIGFPE", "SIGHUP", "SIGILL", "SIGINT",
        "SIGIO", "SIGIOT", "SIGKILL", "SIGPIPE", "SIGPOLL", "SIGPROF", "SIGPWR", "SIGQUIT", "SIGSEGV", "SIGSTKFLT",
        "SIGSTOP", "SIGSYS", "SIGTERM", "SIGTRAP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGURG", "SIGUSR1", "SIGUSR2",
        "SIGVTALRM", "SIGWINCH", "SIGXCPU", "SIGXFSZ", "SIGRTMIN", "SIGRTMAX",
        *(f"SIGRTMIN+{i}" for i in range(1, 16)),
        *(f"SIGRTMAX-{i}" for i in range(1, 15)),
    )
)  # fmt: skip


def _probe(faults: Faults, path: str, kind: str, probe: Object, pod: PodContext) -> None:
    _handler(faults, path, probe, pod)
    for name in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"):
        value = probe.get(name)
        if value is not None and value < 0:
            faults.not_negative(f"{path}.{name}", value)
    grace = probe.get("terminationGracePeriodSeconds")
    if grace is not None and grace <= 0:
        faults.invalid(f"{path}.terminationGracePeriodSeconds", grace, "must be greater than 0")
    if kind == "readinessProbe":
        if grace is not None:
            faults.invalid(f"{path}.terminationGracePeriodSeconds", grace, "must not be set for readinessProbes")
    elif probe.get("successThreshold", 0) != 1:
        faults.invalid(f"{path}.successThreshold", probe.get("successThreshold", 0), "must be 1")


def _handler(faults: Faults, path: str, handler: Object, pod: PodContext) -> None:
    """A probe's or a hook's action: exactly one kind."""
    count = 0
    for kind in ("exec", "httpGet", "tcpSocket", "grpc", "sleep"):
        action = handler.get(kind)
        if action is None:
            continue
        if count:
            faults.forbidden(f"{path}.{kind}", "may not specify more than 1 handler type")
            continue
        count += 1
        at = f"{path}.{kind}"
        if kind == "exec":
            if not action.get("command"):
                faults.required(f"{at}.command")
        elif kind == "httpGet":
            _http_get(faults, at, action)
        elif kind == "sleep":
            _sleep(faults, at, action, pod)
        else:
            port_number_or_name(faults, f"{at}.port", action.get("port", 0))
    if not count:
        faults.required(path, "must specify a handler type")


def _http_get(faults: Faults, path: str, action: Object) -> None:
    if not action.get("path"):
        faults.required(f"{path}.path")
    port_number_or_name(faults, f"{path}.port", action.get("port", 0))
    if action.get("scheme") not in ("HTTP", "HTTPS"):
        faults.not_supported(f"{path}.scheme", action.get("scheme") or "", ("HTTP", "HTTPS"))
    for header in action.get("httpHeaders") or ():
        name = header.get("name") or ""
        faults.each(f"{path}.httpHeaders", name, names.http_header_name(name))


def _sleep(faults: Faults, path: str, action: Object, pod: PodContext) -> None:
    seconds, grace = action.get("seconds") or 0, pod.grace_period_seconds
    if grace is not None and not 0 <= seconds <= grace:
        faults.invalid(path, seconds, f"must be non-negative and less than terminationGracePeriodSeconds ({grace})")


def port_number_or_name(faults: Faults, path: str, port: int | str) -> None:
    faults.each(path, port, _port_name(port) if isinstance(port, str) else names.port_number(port))


def _restart_policy_rules(faults: Faults, path: str, container: Object) -> None:
    """A container's own restartPolicy and its rules (KEP-5307)."""
    policies = ("Always", "Never", "OnFailure")
    policy, rules = container.get("restartPolicy"), container.get("restartPolicyRules") or ()
    if policy is None:
        faults.required(f"{path}.restartPolicy", "must specify restartPolicy when restart rules are used")
    elif policy not in policies:
        faults.not_supported(f"{path}.restartPolicy", policy, policies)
    if len(rules) > 20:
        faults.too_long(f"{path}.restartPolicyRules", 20)
    for i, rule in enumerate(rules):
        at = f"{path}.restartPolicyRules[{i}]"
        if rule.get("action") not in ("Restart", "RestartAllContainers"):
            faults.one_of(f"{at}.action", rule.get("action"), ("Restart", "RestartAllContainers"))
        codes = rule.get("exitCodes")
        if codes is None:
            faults.required(f"{at}.exitCodes", "must be specified")
        elif codes.get("operator") not in ("In", "NotIn"):
            faults.one_of(f"{at}.exitCodes.operator", codes.get("operator"), ("In", "NotIn"))


def _resize_policy(faults: Faults, path: str, policies: list[Object], pod: PodContext) -> None:
    seen: set[str] = set()
    for i, policy in enumerate(policies):
        name, restart = policy.get("resourceName") or "", policy.get("restartPolicy") or ""
        if name in seen:
            faults.duplicate(f"{path}[{i}]", name)
        seen.add(name)
        if name not in ("cpu", "memory"):
            faults.one_of(path, name, ("cpu", "memory"))
        if restart not in ("NotRequired", "RestartContainer"):
            faults.one_of(path, restart, ("NotRequired", "RestartContainer"))
        if pod.restart_policy == "Never" and restart != "NotRequired":
            faults.invalid(path, restart, "must be 'NotRequired' when `restartPolicy` is 'Never'")
