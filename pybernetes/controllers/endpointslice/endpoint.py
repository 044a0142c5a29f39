"""One pod as one endpoint of a Service. Pure; shared by EndpointSlices and the older Endpoints.

Source: upstream's ``k8s.io/endpointslice`` and ``pkg/api/v1/pod``.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from pybernetes.api.meta import Object, is_deleting, labels_of, name_of, namespace_of, uid_of
from pybernetes.controllers import pods as podstate

ZONE_LABEL = "topology.kubernetes.io/zone"


def is_headless(service: Object) -> bool:
    return bool((service.get("spec") or {}).get("clusterIP") == "None")


def is_selected(service: Object) -> bool:
    """Whether the Service gets its endpoints from pods."""
    spec = service.get("spec") or {}
    return spec.get("type") != "ExternalName" and bool(spec.get("selector"))


def pod_ips(pod: Object) -> list[str]:
    status = pod.get("status") or {}
    ips = [str(e["ip"]) for e in status.get("podIPs") or () if e.get("ip")]
    return ips or ([str(status["podIP"])] if status.get("podIP") else [])


def addresses_of(pod: Object, address_type: str) -> list[str]:
    """The pod's addresses of one family (``IPv4`` or ``IPv6``)."""
    # The API has validated them; parsing each again would cost more than all the rest of a large Service.
    wants_colon = address_type == "IPv6"
    return [ip for ip in pod_ips(pod) if (":" in ip) is wants_colon]


def is_candidate(pod: Object, *, include_terminating: bool) -> bool:
    """Whether the pod can be an endpoint at all, ready or not."""
    if podstate.is_terminal(pod) or not pod_ips(pod):
        return False
    return include_terminating or not is_deleting(pod)


def traits(pod: Object) -> Hashable:
    """Everything about a pod that endpoints depend on, but its labels: equal traits, equal endpoints."""
    spec, meta, status = pod.get("spec") or {}, pod["metadata"], pod.get("status") or {}
    return (
        meta.get("uid"),
        bool(meta.get("deletionTimestamp")),
        status.get("phase") in podstate.TERMINAL_PHASES,
        podstate.is_ready(pod),
        tuple(pod_ips(pod)),
        spec.get("nodeName"),
        spec.get("hostname"),
        spec.get("subdomain"),
    )


def may_differ(old: Object, new: Object) -> bool:
    """Whether the traits of two states of a pod may differ: a quick look, since most events change other things."""
    meta, before = new["metadata"], old["metadata"]
    return (
        new.get("status") != old.get("status")
        or new.get("spec") is not old.get("spec")
        or meta.get("uid") != before.get("uid")
        or meta.get("deletionTimestamp") != before.get("deletionTimestamp")
    )


def find_port(pod: Object, service_port: Object) -> int | None:
    """The number of the pod's port that a Service's port leads to, None where the pod has no port of that name."""
    target = service_port.get("targetPort")
    if isinstance(target, int) and target:
        return target
    if not target:
        return int(service_port["port"])
    protocol = service_port.get("protocol") or "TCP"
    spec = pod.get("spec") or {}
    containers = [
        *(spec.get("containers") or ()),
        *(c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"),
    ]
    for container in containers:
        for port in container.get("ports") or ():
            if port.get("name") == target and (port.get("protocol") or "TCP") == protocol:
                return int(port["containerPort"])
    return None


def ports_of(service: Object, pod: Object) -> list[Object]:
    """The Service's ports as this pod serves them."""
    ports: list[Object] = []
    for service_port in (service.get("spec") or {}).get("ports") or ():
        number = find_port(pod, service_port)
        if number is None:
            continue
        port: Object = {
            "name": service_port.get("name") or "",
            "port": number,
            "protocol": service_port.get("protocol") or "TCP",
        }
        if service_port.get("appProtocol") is not None:
            port["appProtocol"] = service_port["appProtocol"]
        ports.append(port)
    return ports


def has_named_ports(service: Object) -> bool:
    """Whether the numbers of ports depend on the pod."""
    return any(isinstance(p.get("targetPort"), str) for p in (service.get("spec") or {}).get("ports") or ())


def wants_hostname(pod: Object, service: Object) -> bool:
    spec = pod.get("spec") or {}
    return (
        bool(spec.get("hostname"))
        and spec.get("subdomain") == name_of(service)
        and namespace_of(pod) == namespace_of(service)
    )


def target_ref(pod: Object) -> Object:
    return {"kind": "Pod", "namespace": namespace_of(pod), "name": name_of(pod), "uid": uid_of(pod)}


def publishes_not_ready(service: Object) -> bool:
    return bool((service.get("spec") or {}).get("publishNotReadyAddresses"))


def endpoint_of(pod: Object, node: Object | None, service: Object, addresses: Sequence[str]) -> Object:
    """The pod as an entry of a slice."""
    serving = podstate.is_ready(pod)
    terminating = is_deleting(pod)
    endpoint: dict[str, Any] = {
        "addresses": list(addresses),
        "conditions": {
            "ready": publishes_not_ready(service) or (serving and not terminating),
            "serving": serving,
            "terminating": terminating,
        },
        "targetRef": target_ref(pod),
    }
    if wants_hostname(pod, service):
        endpoint["hostname"] = pod["spec"]["hostname"]
    if node_name := podstate.node_name_of(pod):
        endpoint["nodeName"] = node_name
    zone = labels_of(node).get(ZONE_LABEL) if node is not None else None
    if zone:
        endpoint["zone"] = zone
    if endpoint["conditions"]["ready"] and (hints := _hints(service, endpoint.get("nodeName"), zone)):
        endpoint["hints"] = hints
    return endpoint


def _hints(service: Object, node_name: str | None, zone: str | None) -> Object:
    """Topology hints as ``spec.trafficDistribution`` asks for (KEP-2433, KEP-3015)."""
    distribution = (service.get("spec") or {}).get("trafficDistribution")
    hints: Object = {}
    if distribution in ("PreferClose", "PreferSameZone", "PreferSameNode") and zone:
        hints["forZones"] = [{"name": zone}]
    if distribution == "PreferSameNode" and node_name:
        hints["forNodes"] = [{"name": node_name}]
    return hints
