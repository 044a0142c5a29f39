"""Rows of the core group's kinds (pods apart), leases, endpoint slices, RBAC and certificates.

Source of the logic: ``pkg/printers/internalversion/printers.go``.
"""

from __future__ import annotations

from typing import Any

from pybernetes.api.kinds.amounts import show
from pybernetes.api.meta import Object, annotations_of, get_condition, is_deleting, labels_of, metadata, name_of
from pybernetes.api.printers.values import (
    NONE,
    SHOWN,
    UNKNOWN,
    UNSET,
    access_modes,
    age,
    containers_of,
    format_labels,
    human_duration,
    more,
    since,
)

_LOAD_BALANCER_WIDTH = 16
_ROLE_PREFIX = "node-role.kubernetes.io/"
_ROLE_LABEL = "kubernetes.io/role"
_CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"


def pod_template_cells(obj: Object, now: float) -> list[Any]:
    template = obj.get("template") or {}
    names, images = containers_of(template.get("spec"))
    return [name_of(obj), names, images, format_labels(labels_of(template))]


def ingress_addresses(status: Object | None) -> str:
    """A load balancer's addresses, cut to a column's width."""
    entries = ((status or {}).get("loadBalancer") or {}).get("ingress") or ()
    text = ",".join(sorted({e.get("ip") or e.get("hostname") for e in entries if e.get("ip") or e.get("hostname")}))
    return text[: _LOAD_BALANCER_WIDTH - 3] + "..." if len(text) > _LOAD_BALANCER_WIDTH else text


def _external_ip(obj: Object, spec: Object) -> str:
    kind, own = spec.get("type"), spec.get("externalIPs") or []
    if kind in ("ClusterIP", "NodePort"):
        return ",".join(own) or NONE
    if kind == "LoadBalancer":
        given = ingress_addresses(obj.get("status"))
        return ",".join([*([given] if given else []), *own]) or "<pending>"
    if kind == "ExternalName":
        return str(spec.get("externalName") or "")
    return UNKNOWN


def _service_port(port: Object) -> str:
    number, protocol = port.get("port") or 0, port.get("protocol") or ""
    return f"{number}:{port['nodePort']}/{protocol}" if port.get("nodePort") else f"{number}/{protocol}"


def service_cells(obj: Object, now: float) -> list[Any]:
    spec = obj.get("spec") or {}
    ips = spec.get("clusterIPs") or ()
    return [
        name_of(obj),
        spec.get("type") or "",
        ips[0] if ips else NONE,
        _external_ip(obj, spec),
        ",".join(map(_service_port, spec.get("ports") or ())) or NONE,
        age(obj, now),
        format_labels(spec.get("selector")),
    ]


def _join_host_port(ip: str, port: int) -> str:
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def endpoints_cells(obj: Object, now: float) -> list[Any]:
    shown: list[str] = []
    total = 0
    for subset in obj.get("subsets") or ():
        addresses, ports = subset.get("addresses") or (), subset.get("ports") or ()
        total += len(addresses) * max(1, len(ports))
        if len(shown) >= SHOWN:
            continue
        if not ports:
            shown.extend(a.get("ip") or "" for a in addresses)
        for port in ports:
            shown.extend(_join_host_port(a.get("ip") or "", port.get("port") or 0) for a in addresses[:SHOWN])
    text = NONE if not obj.get("subsets") else more(shown, total, "")
    return [name_of(obj), text, age(obj, now)]


def endpoint_slice_cells(obj: Object, now: float) -> list[Any]:
    ports = [
        str(p["port"]) if p.get("port") is not None else p.get("name") if p.get("name") is not None else "*"
        for p in obj.get("ports") or ()
    ]
    addresses = [a for e in obj.get("endpoints") or () for a in e.get("addresses") or ()]
    return [
        name_of(obj),
        obj.get("addressType") or "",
        more(ports, len(ports), UNSET),
        more(addresses, len(addresses), UNSET),
        age(obj, now),
    ]


def namespace_cells(obj: Object, now: float) -> list[Any]:
    return [name_of(obj), (obj.get("status") or {}).get("phase") or "", age(obj, now)]


def secret_cells(obj: Object, now: float) -> list[Any]:
    return [name_of(obj), obj.get("type") or "", len(obj.get("data") or ()), age(obj, now)]


def config_map_cells(obj: Object, now: float) -> list[Any]:
    return [name_of(obj), len(obj.get("data") or ()) + len(obj.get("binaryData") or ()), age(obj, now)]


def service_account_cells(obj: Object, now: float) -> list[Any]:
    return [name_of(obj), len(obj.get("secrets") or ()), age(obj, now)]


def _node_roles(obj: Object) -> str:
    roles = set()
    for key, value in labels_of(obj).items():
        if key.startswith(_ROLE_PREFIX) and len(key) > len(_ROLE_PREFIX):
            roles.add(key[len(_ROLE_PREFIX) :])
        elif key == _ROLE_LABEL and value:
            roles.add(value)
    return ",".join(sorted(roles)) or NONE


def node_cells(obj: Object, now: float) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    ready = get_condition(obj, "Ready")
    state = "Unknown" if ready is None else "Ready" if ready.get("status") == "True" else "NotReady"
    if spec.get("unschedulable"):
        state += ",SchedulingDisabled"
    info, addresses = status.get("nodeInfo") or {}, status.get("addresses") or ()

    def address(kind: str) -> str:
        return next((a.get("address") or "" for a in addresses if a.get("type") == kind), NONE)

    return [
        name_of(obj),
        state,
        _node_roles(obj),
        age(obj, now),
        info.get("kubeletVersion") or "",
        address("InternalIP"),
        address("ExternalIP"),
        info.get("osImage") or UNKNOWN,
        info.get("kernelVersion") or UNKNOWN,
        info.get("containerRuntimeVersion") or UNKNOWN,
    ]


def _storage_class(obj: Object) -> str:
    annotated = annotations_of(obj).get(_CLASS_ANNOTATION)
    return annotated if annotated is not None else (obj.get("spec") or {}).get("storageClassName") or ""


def persistent_volume_cells(obj: Object, now: float) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    claim = spec.get("claimRef")
    return [
        name_of(obj),
        show((spec.get("capacity") or {}).get("storage", "0")),
        access_modes(spec.get("accessModes")),
        spec.get("persistentVolumeReclaimPolicy") or "",
        "Terminating" if is_deleting(obj) else status.get("phase") or "",
        f"{claim.get('namespace') or ''}/{claim.get('name') or ''}" if claim else "",
        _storage_class(obj),
        UNSET if spec.get("volumeAttributesClassName") is None else spec["volumeAttributesClassName"],
        status.get("reason") or "",
        age(obj, now),
        spec.get("volumeMode") or UNSET,
    ]


def persistent_volume_claim_cells(obj: Object, now: float) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    bound = bool(spec.get("volumeName"))
    return [
        name_of(obj),
        "Terminating" if is_deleting(obj) else status.get("phase") or "",
        spec.get("volumeName") or "",
        show((status.get("capacity") or {}).get("storage", "0")) if bound else "",
        access_modes(status.get("accessModes")) if bound else "",
        _storage_class(obj),
        UNSET if spec.get("volumeAttributesClassName") is None else spec["volumeAttributesClassName"],
        age(obj, now),
        spec.get("volumeMode") or UNSET,
    ]


def component_status_cells(obj: Object, now: float) -> list[Any]:
    for condition in obj.get("conditions") or ():
        if condition.get("type") == "Healthy":
            state = "Healthy" if condition.get("status") == "True" else "Unhealthy"
            return [name_of(obj), state, condition.get("message") or "", condition.get("error") or ""]
    return [name_of(obj), "Unknown", "", ""]


def event_cells(obj: Object, now: float) -> list[Any]:
    """Events of both groups: a few fields have two names."""

    def either(core: str, new: str) -> Any:
        return obj.get(core) if obj.get(core) is not None else obj.get(new)

    about: Object = either("involvedObject", "regarding") or {}
    source: Object = either("source", "deprecatedSource") or {}
    first_time, last_time = (
        either("firstTimestamp", "deprecatedFirstTimestamp"),
        either("lastTimestamp", "deprecatedLastTimestamp"),
    )
    first = since(first_time or obj.get("eventTime"), now)
    last = since(last_time, now) if last_time else first
    count = either("count", "deprecatedCount") or 1
    series = obj.get("series")
    if series:
        last, count = since(series.get("lastObservedTime"), now), series.get("count") or 0
    kind, name = (about.get("kind") or "").lower(), about.get("name")
    component = source.get("component") or either("reportingComponent", "reportingController") or ""
    instance = source.get("host") or obj.get("reportingInstance") or ""
    return [
        last,
        obj.get("type") or "",
        obj.get("reason") or "",
        f"{kind}/{name}" if name else kind,
        about.get("fieldPath") or "",
        f"{component}, {instance}" if instance else component,
        (either("message", "note") or "").strip(),
        first,
        count,
        name_of(obj),
    ]


def resource_quota_cells(obj: Object, now: float) -> list[Any]:
    status = obj.get("status") or {}
    hard, used = status.get("hard") or {}, status.get("used") or {}
    requests: list[str] = []
    limits: list[str] = []
    for name in sorted(hard):
        text = f"{name}: {show(used.get(name, '0'))}/{show(hard[name])}"
        (limits if name.startswith("limits.") else requests).append(text)
    return [name_of(obj), ", ".join(requests), ", ".join(limits), age(obj, now)]


def lease_cells(obj: Object, now: float) -> list[Any]:
    return [name_of(obj), (obj.get("spec") or {}).get("holderIdentity") or "", age(obj, now)]


def role_binding_cells(obj: Object, now: float) -> list[Any]:
    role, subjects = obj.get("roleRef") or {}, obj.get("subjects") or ()
    by_kind: dict[str, list[str]] = {"User": [], "Group": [], "ServiceAccount": []}
    for subject in subjects:
        name = subject.get("name") or ""
        if subject.get("kind") == "ServiceAccount" and subject.get("namespace"):
            name = f"{subject['namespace']}/{name}"
        by_kind.setdefault(subject.get("kind") or "", []).append(name)
    return [
        name_of(obj),
        f"{role.get('kind') or ''}/{role.get('name') or ''}",
        age(obj, now),
        *(", ".join(by_kind[k]) for k in ("User", "Group", "ServiceAccount")),
    ]


def certificate_signing_request_cells(obj: Object, now: float) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    kinds = {c.get("type") for c in status.get("conditions") or ()}
    state = "Denied" if "Denied" in kinds else "Approved" if "Approved" in kinds else "Pending"
    if "Failed" in kinds:
        state += ",Failed"
    if status.get("certificate"):
        state += ",Issued"
    seconds = spec.get("expirationSeconds")
    return [
        name_of(obj),
        age(obj, now),
        spec.get("signerName") or NONE,
        spec.get("username") or "",
        NONE if seconds is None else human_duration(seconds),
        state,
    ]


def created_at_cells(obj: Object, now: float) -> list[Any]:
    """Kinds without a printer of their own."""
    return [name_of(obj), metadata(obj).get("creationTimestamp")]
