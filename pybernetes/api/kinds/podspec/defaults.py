"""Defaults of a PodSpec, as upstream's ``pkg/apis/core/v1/defaults.go`` sets them. In place, idempotent, no I/O.

`default_pod_spec` is for pods and templates alike; `default_pod` adds what only a Pod gets.
"""

from __future__ import annotations

import re
from functools import lru_cache

from pybernetes.api.kinds.amounts import amount, canonical, canonical_list, format_like
from pybernetes.api.kinds.equality import drop_zero
from pybernetes.api.meta import Object

_SPEC_ZERO = (
    "nodeName", "nodeSelector", "serviceAccountName", "hostNetwork", "hostPID", "hostIPC", "imagePullSecrets",
    "hostname", "subdomain", "tolerations", "hostAliases", "priorityClassName", "readinessGates", "volumes",
    "initContainers", "ephemeralContainers", "topologySpreadConstraints", "schedulingGates", "resourceClaims",
    "overhead",
)  # fmt: skip
_CONTAINER_ZERO = (
    "image", "command", "args", "workingDir", "ports", "envFrom", "env", "volumeMounts", "volumeDevices", "stdin",
    "stdinOnce", "tty", "resizePolicy",
)  # fmt: skip
DEFAULT_GRACE_PERIOD_SECONDS = 30
DEFAULT_FILE_MODE = 0o644
SECONDS_OF_AN_HOUR = 3600


def default_pod(spec: Object) -> None:
    """What a Pod's spec gets beyond `default_pod_spec`, which must have run before."""
    for field in ("containers", "initContainers"):
        for container in spec.get(field) or ():
            _default_requests(container.get("resources"))
    if spec.get("resources"):
        # The second time, what the first has made of the limits tells about the requests: a pod that is read again
        # must not be another.
        for _ in range(2):
            _default_pod_level(spec)
    if spec.get("enableServiceLinks") is None:
        spec["enableServiceLinks"] = True
    if spec.get("hostNetwork"):
        for field in ("containers", "initContainers"):
            for container in spec.get(field) or ():
                for port in container.get("ports") or ():
                    if not port.get("hostPort"):
                        port["hostPort"] = port.get("containerPort", 0)


def default_pod_spec(spec: Object) -> None:
    drop_zero(spec, *_SPEC_ZERO)
    # serviceAccount is a deprecated alias of serviceAccountName; both are always served.
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    else:
        spec.pop("serviceAccount", None)
    for volume in spec.get("volumes") or ():
        default_volume(volume)
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(field) or ():
            default_container(container)
    if spec.get("overhead"):
        spec["overhead"] = canonical_list(spec["overhead"])
    if spec.get("resources"):
        _canonical_requirements(spec["resources"])
    if not spec.get("dnsPolicy"):
        spec["dnsPolicy"] = "ClusterFirst"
    if not spec.get("restartPolicy"):
        spec["restartPolicy"] = "Always"
    if spec.get("securityContext") is None:
        spec["securityContext"] = {}
    if spec.get("terminationGracePeriodSeconds") is None:
        spec["terminationGracePeriodSeconds"] = DEFAULT_GRACE_PERIOD_SECONDS
    if not spec.get("schedulerName"):
        spec["schedulerName"] = "default-scheduler"


def default_template(template: Object) -> None:
    """A PodTemplateSpec."""
    if template.get("metadata") is None:
        template["metadata"] = {}
    if template.get("spec") is None:
        template["spec"] = {}
    default_pod_spec(template["spec"])


_REFERENCE = re.compile(
    r"(?:(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]+)?/)?"
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
    r"(?::(\w[\w.-]{0,127}))?(@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?",
    re.ASCII,
)


@lru_cache(maxsize=4096)
def pull_policy(image: str) -> str:
    """Always for ``:latest`` and for no tag, else IfNotPresent; that, too, where the text names no image."""
    match = _REFERENCE.fullmatch(image)
    if match is None:
        return "IfNotPresent"
    tag, digest = match.groups()
    return "Always" if tag == "latest" or (not tag and not digest) else "IfNotPresent"


def default_container(container: Object) -> None:
    """A container, an init container or an ephemeral container."""
    if not container.get("imagePullPolicy"):
        container["imagePullPolicy"] = pull_policy(container.get("image") or "")
    if not container.get("terminationMessagePath"):
        container["terminationMessagePath"] = "/dev/termination-log"
    if not container.get("terminationMessagePolicy"):
        container["terminationMessagePolicy"] = "File"
    drop_zero(container, *_CONTAINER_ZERO)
    for port in container.get("ports") or ():
        if not port.get("protocol"):
            port["protocol"] = "TCP"
        drop_zero(port, "name", "hostPort", "hostIP")
    for variable in container.get("env") or ():
        source = variable.get("valueFrom")
        if source:
            _default_references(source)
        drop_zero(variable, "value")
    for mount in container.get("volumeMounts") or ():
        drop_zero(mount, "readOnly", "subPath", "subPathExpr")
    resources = container.get("resources")
    if resources is None:
        container["resources"] = {}
    elif resources:
        _canonical_requirements(resources)
    for field in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = container.get(field)
        if probe is not None:
            default_probe(probe)
    lifecycle = container.get("lifecycle")
    if lifecycle:
        for handler in (lifecycle.get("postStart"), lifecycle.get("preStop")):
            if handler and handler.get("httpGet") is not None:
                _default_http_get(handler["httpGet"])


def default_probe(probe: Object) -> None:
    if not probe.get("timeoutSeconds"):
        probe["timeoutSeconds"] = 1
    if not probe.get("periodSeconds"):
        probe["periodSeconds"] = 10
    if not probe.get("successThreshold"):
        probe["successThreshold"] = 1
    if not probe.get("failureThreshold"):
        probe["failureThreshold"] = 3
    drop_zero(probe, "initialDelaySeconds")
    if probe.get("httpGet") is not None:
        _default_http_get(probe["httpGet"])
    grpc = probe.get("grpc")
    if grpc is not None and grpc.get("service") is None:
        grpc["service"] = ""


def _default_http_get(action: Object) -> None:
    if not action.get("path"):
        action["path"] = "/"
    if not action.get("scheme"):
        action["scheme"] = "HTTP"
    drop_zero(action, "host", "httpHeaders")


def _default_references(source: Object) -> None:
    """The fieldRef and resourceFieldRef of an environment variable or a downward API file."""
    field_ref = source.get("fieldRef")
    if field_ref is not None and not field_ref.get("apiVersion"):
        field_ref["apiVersion"] = "v1"
    resource_ref = source.get("resourceFieldRef")
    if resource_ref is not None:
        divisor = resource_ref.get("divisor")
        resource_ref["divisor"] = "0" if divisor is None else canonical(divisor)


def _canonical_requirements(resources: Object) -> None:
    for field in ("limits", "requests"):
        if resources.get(field):
            resources[field] = canonical_list(resources[field])
        else:
            resources.pop(field, None)


def _default_requests(resources: Object | None) -> None:
    limits = (resources or {}).get("limits")
    if not resources or not limits:
        return
    requests = resources.setdefault("requests", {})
    for name, value in limits.items():
        requests.setdefault(name, value)


POD_LEVEL_RESOURCES = ("cpu", "memory")


def aggregate(spec: Object, kind: str) -> dict[str, tuple[int, str]]:
    """What the containers of a pod have together of `kind`, requests or limits: the sum of containers and sidecars,
    or the largest init step.

    Name to (billionths, a text that shows the format); what does not parse counts nothing.
    """
    totals: dict[str, tuple[int, str]] = {}

    def add(into: dict[str, tuple[int, str]], values: Object) -> None:
        for name, text in values.items():
            value = amount(text)
            if value is not None:
                before = into.get(name)
                into[name] = (value if before is None else before[0] + value, text if before is None else before[1])

    def raise_to(into: dict[str, tuple[int, str]], other: dict[str, tuple[int, str]]) -> None:
        for name, value in other.items():
            if name not in into or value[0] > into[name][0]:
                into[name] = value

    for container in spec.get("containers") or ():
        add(totals, (container.get("resources") or {}).get(kind) or {})
    sidecars: dict[str, tuple[int, str]] = {}
    peak: dict[str, tuple[int, str]] = {}
    for container in spec.get("initContainers") or ():
        values = (container.get("resources") or {}).get(kind) or {}
        if container.get("restartPolicy") == "Always":
            add(totals, values)
            add(sidecars, values)
            raise_to(peak, sidecars)
        else:
            step = dict(sidecars)
            add(step, values)
            raise_to(peak, step)
    raise_to(totals, peak)
    return totals


def _is_pod_level(name: str) -> bool:
    return name in POD_LEVEL_RESOURCES or name.startswith("hugepages-")


def _default_pod_level(spec: Object) -> None:
    """Completes ``spec.resources``, where it says anything, from its containers and from itself (KEP-2837)."""
    resources = spec["resources"]
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    if not limits and not requests:
        return
    together = aggregate(spec, "limits")
    limits = dict(limits)
    for name, (value, text) in together.items():
        if name.startswith("hugepages-") and name not in limits and name not in requests:
            limits[name] = format_like(value, text)
    if limits:
        requests = dict(requests)
        for name, (value, text) in aggregate(spec, "requests").items():
            if name in POD_LEVEL_RESOURCES and name not in requests:
                requests[name] = format_like(value, text)
        for name, limit in limits.items():
            if name not in requests and _is_pod_level(name):
                requests[name] = limit
    if not any(map(_is_pod_level, limits)) and any(map(_is_pod_level, requests)):
        containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
        for name, (value, text) in together.items():
            if name in POD_LEVEL_RESOURCES and all(
                name in ((c.get("resources") or {}).get("limits") or ()) for c in containers
            ):
                limits[name] = format_like(value, text)
    for kind, values in (("limits", limits), ("requests", requests)):
        if values:
            resources[kind] = values


# Volumes


def default_volume(volume: Object) -> None:
    """One entry of ``spec.volumes``; a volume with no source is an emptyDir."""
    if not any(key != "name" and value is not None for key, value in volume.items()):
        volume["emptyDir"] = {}
        return
    for key, value in volume.items():
        defaults = _VOLUME_DEFAULTS.get(key)
        if defaults is not None and isinstance(value, dict):
            defaults(value)


def _default_mode(source: Object) -> None:
    if source.get("defaultMode") is None:
        source["defaultMode"] = DEFAULT_FILE_MODE


def _default_downward(source: Object) -> None:
    _default_mode(source)
    for item in source.get("items") or ():
        _default_references(item)


def _default_projected(source: Object) -> None:
    _default_mode(source)
    for part in source.get("sources") or ():
        token = part.get("serviceAccountToken")
        if token is not None and token.get("expirationSeconds") is None:
            token["expirationSeconds"] = SECONDS_OF_AN_HOUR
        for item in (part.get("downwardAPI") or {}).get("items") or ():
            _default_references(item)


def default_host_path(source: Object) -> None:
    if source.get("type") is None:
        source["type"] = ""


def default_iscsi(source: Object) -> None:
    if not source.get("iscsiInterface"):
        source["iscsiInterface"] = "default"


def default_rbd(source: Object) -> None:
    for key, value in (("pool", "rbd"), ("user", "admin"), ("keyring", "/etc/ceph/keyring")):
        if not source.get(key):
            source[key] = value


def default_azure_disk(source: Object) -> None:
    for key, value in (("cachingMode", "ReadWrite"), ("kind", "Shared"), ("fsType", "ext4"), ("readOnly", False)):
        if source.get(key) is None:
            source[key] = value


def default_scale_io(source: Object) -> None:
    for key, value in (("storageMode", "ThinProvisioned"), ("fsType", "xfs")):
        if not source.get(key):
            source[key] = value


def _default_empty_dir(source: Object) -> None:
    if source.get("sizeLimit") is not None:
        source["sizeLimit"] = canonical(source["sizeLimit"])
    drop_zero(source, "medium")


def default_claim_spec(spec: Object) -> None:
    """A PersistentVolumeClaimSpec."""
    if spec.get("volumeMode") is None:
        spec["volumeMode"] = "Filesystem"
    if spec.get("resources"):
        _canonical_requirements(spec["resources"])
    elif spec.get("resources") is None:
        spec["resources"] = {}


def _default_ephemeral(source: Object) -> None:
    template = source.get("volumeClaimTemplate")
    if template is not None:
        if template.get("metadata") is None:
            template["metadata"] = {}
        default_claim_spec(template.setdefault("spec", {}))


def _default_image(source: Object) -> None:
    if not source.get("pullPolicy"):
        source["pullPolicy"] = pull_policy(source.get("reference") or "")


_VOLUME_DEFAULTS = {
    "secret": _default_mode,
    "configMap": _default_mode,
    "downwardAPI": _default_downward,
    "projected": _default_projected,
    "hostPath": default_host_path,
    "iscsi": default_iscsi,
    "rbd": default_rbd,
    "azureDisk": default_azure_disk,
    "scaleIO": default_scale_io,
    "emptyDir": _default_empty_dir,
    "ephemeral": _default_ephemeral,
    "image": _default_image,
}
