"""The Endpoints object that a Service should have. Pure.

Addresses are packed as upstream packs them: one subset for each distinct set of ports, everything in a stable order
(``k8s.io/kubernetes/pkg/api/v1/endpoints.RepackSubsets``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pybernetes.api.meta import Object, annotations_of, labels_of, metadata, name_of, namespace_of
from pybernetes.controllers import pods as podstate
from pybernetes.controllers.endpointslice import endpoint as ep
from pybernetes.controllers.endpointslice.plan import HEADLESS_LABEL
from pybernetes.controllers.endpointslice.triggers import ANNOTATION as TRIGGER_TIME

MANAGED_BY_LABEL = "endpoints.kubernetes.io/managed-by"
MANAGED_BY = "endpoint-controller"
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
MAX_ADDRESSES = 1000

Contribution = tuple[Object, bool, list[Object]]
"""(address, whether it is ready, its ports in order)."""


def _address(pod: Object, ip: str, service: Object) -> Object:
    address: Object = {"ip": ip}
    if ep.wants_hostname(pod, service):
        address["hostname"] = pod["spec"]["hostname"]
    if node_name := podstate.node_name_of(pod):
        address["nodeName"] = node_name
    address["targetRef"] = ep.target_ref(pod)
    return address


def _contributions(service: Object, pods: Sequence[Object]) -> list[Contribution]:
    tolerant = ep.publishes_not_ready(service)
    family = ((service.get("spec") or {}).get("ipFamilies") or ["IPv4"])[0]
    has_ports = bool((service.get("spec") or {}).get("ports"))
    # Without named ports all pods have the same.
    common = None if ep.has_named_ports(service) else _ports(service, {})
    found: list[Contribution] = []
    for pod in pods:
        if not ep.is_candidate(pod, include_terminating=tolerant):
            continue
        addresses = ep.addresses_of(pod, family)
        if not addresses:
            continue
        ports = _ports(service, pod) if common is None else common
        if ports or not has_ports:
            ready = tolerant or podstate.is_ready(pod)
            found.append((_address(pod, addresses[0], service), ready, ports))
    return found


def _ports(service: Object, pod: Object) -> list[Object]:
    """The Service's ports on this pod, in a stable order; an unnamed one has no name here."""
    ports = [{k: v for k, v in p.items() if v != "" or k != "name"} for p in ep.ports_of(service, pod)]
    return sorted(ports, key=_port_order)


def _port_order(port: Object) -> tuple[str, int, str, str]:
    return port.get("name", ""), port["port"], port["protocol"], port.get("appProtocol", "")


def pack(contributions: Sequence[Contribution]) -> list[Object]:
    """Subsets of addresses with the same ports; addresses by IP, subsets by their ports."""
    by_ports: dict[tuple[tuple[str, int, str, str], ...], tuple[list[Object], list[Object], list[Object]]] = {}
    for address, ready, ports in contributions:
        key = tuple(_port_order(p) for p in ports)
        addresses, not_ready, _ = by_ports.setdefault(key, ([], [], ports))
        (addresses if ready else not_ready).append(address)
    subsets: list[Object] = []
    for _, (addresses, not_ready, ports) in sorted(by_ports.items(), key=lambda item: item[0]):
        subset: Object = {}
        if addresses:
            subset["addresses"] = sorted(addresses, key=_address_order)
        if not_ready:
            subset["notReadyAddresses"] = sorted(not_ready, key=_address_order)
        if ports:
            subset["ports"] = ports
        subsets.append(subset)
    return subsets


def _address_order(address: Object) -> tuple[str, str]:
    return str(address["ip"]), str((address.get("targetRef") or {}).get("uid") or "")


def _truncate(subsets: list[Object]) -> bool:
    """Cuts the addresses down to a thousand, ready ones first, in equal shares; whether it had to."""
    total = sum(len(s.get("addresses") or ()) + len(s.get("notReadyAddresses") or ()) for s in subsets)
    if total <= MAX_ADDRESSES:
        return False
    ready = sum(len(s.get("addresses") or ()) for s in subsets)
    for field, room, whole in (
        ("addresses", min(ready, MAX_ADDRESSES), ready),
        ("notReadyAddresses", max(0, MAX_ADDRESSES - ready), total - ready),
    ):
        left = room
        for subset in subsets:
            count = len(subset.get(field) or ())
            share = min(left, count * room // whole if whole else 0)
            if subset is subsets[-1]:
                share = min(left, count)
            left -= share
            if share:
                subset[field] = subset[field][:share]
            else:
                subset.pop(field, None)
    return True


def plan(service: Object, pods: Sequence[Object], current: Object | None, changed_at: str) -> Object | None:
    """The object to create (without resourceVersion) or to replace `current` with; None where all is well."""
    subsets = pack(_contributions(service, pods))
    over = _truncate(subsets)
    labels: dict[str, Any] = {k: v for k, v in labels_of(service).items() if k != HEADLESS_LABEL}
    if ep.is_headless(service):
        labels[HEADLESS_LABEL] = ""
    labels[MANAGED_BY_LABEL] = MANAGED_BY
    annotations = dict(annotations_of(current)) if current is not None else {}
    was_over = annotations.pop(OVER_CAPACITY, None)
    if over:
        annotations[OVER_CAPACITY] = "truncated"
    if (
        current is not None
        and (current.get("subsets") or []) == subsets
        and labels_of(current) == labels
        and (was_over is not None) == over
    ):
        return None
    annotations.pop(TRIGGER_TIME, None)
    if changed_at:
        annotations[TRIGGER_TIME] = changed_at
    meta: Object = (
        dict(metadata(current))
        if current is not None
        else {"name": name_of(service), "namespace": namespace_of(service)}
    )
    meta["labels"] = labels
    meta.pop("annotations", None)
    if annotations:
        meta["annotations"] = annotations
    result: Object = {"apiVersion": "v1", "kind": "Endpoints", "metadata": meta}
    if subsets:
        result["subsets"] = subsets
    return result
