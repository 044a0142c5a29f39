"""The slices that mirror an Endpoints object. Pure.

Source: upstream's ``pkg/controller/endpointslicemirroring``.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from pybernetes.api.meta import Object, annotations_of, labels_of, name_of, namespace_of, new_controller_ref
from pybernetes.controllers.endpointslice.packing import Changes, Frame, Group, pack, ports_key
from pybernetes.controllers.endpointslice.plan import MANAGED_BY_LABEL, SERVICE_NAME_LABEL, prefix
from pybernetes.controllers.endpointslice.triggers import ANNOTATION as TRIGGER_TIME

MANAGED_BY = "endpointslicemirroring-controller.k8s.io"
SKIP_MIRROR_LABEL = "endpointslice.kubernetes.io/skip-mirror"
LEADER_ANNOTATION = "control-plane.alpha.kubernetes.io/leader"
MAX_ADDRESSES_PER_SUBSET = 1000
_NOT_MIRRORED = frozenset(("kubectl.kubernetes.io/last-applied-configuration", TRIGGER_TIME))


def is_mirrored(endpoints: Object | None, service: Object | None) -> bool:
    """Whether slices should mirror this Endpoints object."""
    if endpoints is None or service is None:
        return False
    spec = service.get("spec") or {}
    return (
        labels_of(endpoints).get(SKIP_MIRROR_LABEL) != "true"
        and LEADER_ANNOTATION not in annotations_of(endpoints)
        and not spec.get("selector")
        and spec.get("type") != "ExternalName"
    )


def _family(ip: str) -> str:
    return "IPv4" if ipaddress.ip_address(ip).version == 4 else "IPv6"


def _endpoint(address: Object, ready: bool) -> Object:
    endpoint: Object = {"addresses": [address["ip"]], "conditions": {"ready": ready}}
    for field in ("hostname", "nodeName", "targetRef"):
        if address.get(field):
            endpoint[field] = address[field]
    return endpoint


def _port(port: Object) -> Object:
    result: Object = {
        "name": port.get("name") or "",
        "port": port["port"],
        "protocol": port.get("protocol") or "TCP",
    }
    if port.get("appProtocol") is not None:
        result["appProtocol"] = port["appProtocol"]
    return result


def plan(endpoints: Object, existing: Sequence[Object]) -> Changes:
    """`existing` are the mirroring controller's slices of this Service."""
    labels = {**labels_of(endpoints), SERVICE_NAME_LABEL: name_of(endpoints), MANAGED_BY_LABEL: MANAGED_BY}
    annotations = {k: v for k, v in annotations_of(endpoints).items() if k not in _NOT_MIRRORED}
    wanted: dict[str, dict[bytes, Group]] = {"IPv4": {}, "IPv6": {}}
    for subset in endpoints.get("subsets") or ():
        ports = [_port(p) for p in subset.get("ports") or ()]
        room = MAX_ADDRESSES_PER_SUBSET
        for ready, field in ((True, "addresses"), (False, "notReadyAddresses")):
            for address in (subset.get(field) or ())[:room]:
                group = wanted[_family(address["ip"])].setdefault(ports_key(ports), Group(ports))
                group.add(_endpoint(address, ready))
            room -= min(room, len(subset.get(field) or ()))
    result = Changes()
    for family, groups in wanted.items():

        def new(ports: list[Object], family: str = family) -> Object:
            meta: Object = {
                "generateName": prefix(name_of(endpoints)),
                "namespace": namespace_of(endpoints),
                "labels": dict(labels),
                "ownerReferences": [new_controller_ref(endpoints, "v1", "Endpoints")],
            }
            if annotations:
                meta["annotations"] = dict(annotations)
            return {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": meta,
                "addressType": family,
                "endpoints": [],
                "ports": [dict(p) for p in ports],
            }

        frame = Frame(new, labels, MAX_ADDRESSES_PER_SUBSET, annotations)
        changes = pack(frame, [s for s in existing if s.get("addressType") == family], groups, placeholder=False)
        result.create += changes.create
        result.update += changes.update
        result.delete += changes.delete
    return result
