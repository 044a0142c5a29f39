"""The slices a Service should have, and the changes that bring them about. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pybernetes.api.meta import Object, controller_of, labels_of, name_of, namespace_of, new_controller_ref, uid_of
from pybernetes.api.names import dns_subdomain
from pybernetes.controllers import pods as podstate
from pybernetes.controllers.endpointslice import endpoint as ep
from pybernetes.controllers.endpointslice.packing import Changes, Frame, Group, PortsKey, pack, ports_key

MANAGED_BY_LABEL = "endpointslice.kubernetes.io/managed-by"
MANAGED_BY = "endpointslice-controller.k8s.io"
SERVICE_NAME_LABEL = "kubernetes.io/service-name"
HEADLESS_LABEL = "service.kubernetes.io/headless"
MAX_ENDPOINTS = 100
_RESERVED = frozenset((MANAGED_BY_LABEL, SERVICE_NAME_LABEL, HEADLESS_LABEL))


@dataclass(frozen=True, slots=True)
class Plan:
    changes: Changes
    skipped: tuple[str, ...]
    """Pods left out because their node is not known."""


def labels_for(service: Object) -> dict[str, str]:
    """The Service's own labels, and those that say whose slice it is."""
    labels = {k: v for k, v in labels_of(service).items() if k not in _RESERVED}
    if ep.is_headless(service):
        labels[HEADLESS_LABEL] = ""
    labels[SERVICE_NAME_LABEL] = name_of(service)
    labels[MANAGED_BY_LABEL] = MANAGED_BY
    return labels


def prefix(name: str) -> str:
    """The generateName of an owner's slices."""
    return name if dns_subdomain(name + "-", prefix=True) else name + "-"


def families(service: Object) -> list[str]:
    """The address families of the Service's slices."""
    found = (service.get("spec") or {}).get("ipFamilies")
    return list(found) if found else ["IPv4"]


def _new_slice(service: Object, family: str, ports: list[Object]) -> Object:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": prefix(name_of(service)),
            "namespace": namespace_of(service),
            "labels": labels_for(service),
            "ownerReferences": [new_controller_ref(service, "v1", "Service")],
        },
        "addressType": family,
        "endpoints": [],
        "ports": [dict(p) for p in ports],
    }


def plan(
    service: Object, pods: Sequence[Object], node: Callable[[str], Object | None], existing: Sequence[Object]
) -> Plan:
    """`pods` are those that the Service selects, `existing` its slices that are not going away."""
    result = Changes()
    skipped: list[str] = []
    mine: list[Object] = []
    foreign: list[Object] = []
    for slice_ in existing:
        ours = (controller_of(slice_) or {}).get("uid") == uid_of(service)
        (mine if ours and slice_.get("addressType") in families(service) else foreign).append(slice_)
    result.delete += foreign
    for family in families(service):
        wanted: dict[PortsKey, Group] = {}
        # Without named ports all pods have the same.
        common = None if ep.has_named_ports(service) else ep.ports_of(service, {})
        common_key = ports_key(common)
        for pod in sorted(pods, key=name_of):
            if not ep.is_candidate(pod, include_terminating=True):
                continue
            addresses = ep.addresses_of(pod, family)
            if not addresses:
                continue
            node_name = podstate.node_name_of(pod)
            its_node = node(node_name)
            if its_node is None and not ep.publishes_not_ready(service):
                skipped.append(name_of(pod))
                continue
            ports = ep.ports_of(service, pod) if common is None else common
            key = ports_key(ports) if common is None else common_key
            group = wanted.get(key)
            if group is None:
                group = wanted[key] = Group(ports)
            group.add(ep.endpoint_of(pod, its_node, service, addresses))

        def new(ports: list[Object], family: str = family) -> Object:
            return _new_slice(service, family, ports)

        frame = Frame(new, labels_for(service), MAX_ENDPOINTS)
        changes = pack(frame, [s for s in mine if s.get("addressType") == family], wanted, placeholder=True)
        result.create += changes.create
        result.update += changes.update
        result.delete += changes.delete
    return Plan(result, tuple(skipped))
