"""Rows of networking, storage, scheduling, admission, flow control and device kinds.

Source of the logic: ``pkg/printers/internalversion/printers.go``.
"""

from __future__ import annotations

from typing import Any

from pybernetes.api.kinds.amounts import show
from pybernetes.api.meta import Object, annotations_of, get_condition, is_deleting, name_of
from pybernetes.api.printers.core import ingress_addresses
from pybernetes.api.printers.values import NONE, SHOWN, UNSET, age, format_selector


def age_cells(obj: Object, now: float) -> list[Any]:
    return [name_of(obj), age(obj, now)]


def ingress_cells(obj: Object, now: float) -> list[Any]:
    spec = obj.get("spec") or {}
    rules = spec.get("rules") or ()
    hosts: list[str] = []
    cut = False
    for rule in rules:
        cut = cut or len(hosts) == SHOWN
        if rule.get("host") and not cut:
            hosts.append(rule["host"])
    text = ",".join(hosts) or "*"
    if cut:
        text += f" + {len(rules) - SHOWN} more..."
    return [
        name_of(obj),
        NONE if spec.get("ingressClassName") is None else spec["ingressClassName"],
        text,
        ingress_addresses(obj.get("status")),
        "80, 443" if spec.get("tls") else "80",
        age(obj, now),
    ]


def ingress_class_cells(obj: Object, now: float) -> list[Any]:
    spec = obj.get("spec") or {}
    parameters = spec.get("parameters")
    text = NONE
    if parameters is not None:
        group = parameters.get("apiGroup")
        kind = parameters.get("kind") or ""
        text = f"{kind}.{group}" if group is not None else kind
        text += f"/{parameters.get('name') or ''}"
    return [name_of(obj), spec.get("controller") or "", text, age(obj, now)]


def network_policy_cells(obj: Object, now: float) -> list[Any]:
    return [name_of(obj), format_selector((obj.get("spec") or {}).get("podSelector") or {}), age(obj, now)]


def service_cidr_cells(obj: Object, now: float) -> list[Any]:
    return [name_of(obj), ",".join((obj.get("spec") or {}).get("cidrs") or ()), age(obj, now)]


def ip_address_cells(obj: Object, now: float) -> list[Any]:
    parent = (obj.get("spec") or {}).get("parentRef")
    text = NONE
    if parent is not None:
        group, resource = parent.get("group") or "", parent.get("resource") or ""
        text = (f"{resource}.{group}" if group else resource).lower()
        if parent.get("namespace"):
            text += f"/{parent['namespace']}"
        text += f"/{parent.get('name') or ''}"
    return [name_of(obj), text]


def _marked_default(obj: Object, *annotations: str) -> str:
    marked = any(annotations_of(obj).get(a) == "true" for a in annotations)
    return name_of(obj) + (" (default)" if marked else "")


def storage_class_cells(obj: Object, now: float) -> list[Any]:
    return [
        _marked_default(
            obj, "storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"
        ),
        obj.get("provisioner") or "",
        obj.get("reclaimPolicy") or "Delete",
        obj.get("volumeBindingMode") or "Immediate",
        bool(obj.get("allowVolumeExpansion")),
        age(obj, now),
    ]


def volume_attributes_class_cells(obj: Object, now: float) -> list[Any]:
    name = _marked_default(obj, "volumeattributesclass.alpha.kubernetes.io/is-default-class")
    return [name, obj.get("driverName") or "", age(obj, now)]


def volume_attachment_cells(obj: Object, now: float) -> list[Any]:
    spec = obj.get("spec") or {}
    return [
        name_of(obj),
        spec.get("attacher") or "",
        (spec.get("source") or {}).get("persistentVolumeName") or "",
        spec.get("nodeName") or "",
        bool((obj.get("status") or {}).get("attached")),
        age(obj, now),
    ]


def csi_node_cells(obj: Object, now: float) -> list[Any]:
    return [name_of(obj), len((obj.get("spec") or {}).get("drivers") or ()), age(obj, now)]


def csi_driver_cells(obj: Object, now: float) -> list[Any]:
    spec = obj.get("spec") or {}
    tokens = spec.get("tokenRequests")
    return [
        name_of(obj),
        spec.get("attachRequired") is not False,
        bool(spec.get("podInfoOnMount")),
        bool(spec.get("storageCapacity")),
        UNSET if tokens is None else ",".join(t.get("audience") or "" for t in tokens),
        bool(spec.get("requiresRepublish")),
        ",".join(spec.get("volumeLifecycleModes") or ()) or NONE,
        age(obj, now),
    ]


def csi_storage_capacity_cells(obj: Object, now: float) -> list[Any]:
    capacity = obj.get("capacity")
    return [name_of(obj), obj.get("storageClassName") or "", UNSET if capacity is None else show(capacity)]


def priority_class_cells(obj: Object, now: float) -> list[Any]:
    return [
        name_of(obj),
        obj.get("value") or 0,
        bool(obj.get("globalDefault")),
        age(obj, now),
        obj.get("preemptionPolicy") or "",
    ]


def runtime_class_cells(obj: Object, now: float) -> list[Any]:
    return [name_of(obj), obj.get("handler") or "", age(obj, now)]


def webhook_cells(obj: Object, now: float) -> list[Any]:
    return [name_of(obj), len(obj.get("webhooks") or ()), age(obj, now)]


def _param_kind(spec: Object) -> str:
    kind = spec.get("paramKind")
    return UNSET if kind is None else f"{kind.get('apiVersion') or ''}/{kind.get('kind') or ''}"


def validating_policy_cells(obj: Object, now: float) -> list[Any]:
    spec = obj.get("spec") or {}
    return [name_of(obj), len(spec.get("validations") or ()), _param_kind(spec), age(obj, now)]


def mutating_policy_cells(obj: Object, now: float) -> list[Any]:
    spec = obj.get("spec") or {}
    return [name_of(obj), len(spec.get("mutations") or ()), _param_kind(spec), age(obj, now)]


def policy_binding_cells(obj: Object, now: float) -> list[Any]:
    spec = obj.get("spec") or {}
    reference = spec.get("paramRef")
    text = UNSET
    if reference is not None:
        if reference.get("name"):
            text = f"{reference.get('namespace') or '*'}/{reference['name']}"
        elif reference.get("selector") is not None:
            text = format_selector(reference["selector"])
    return [name_of(obj), spec.get("policyName") or "", text, age(obj, now)]


def flow_schema_cells(obj: Object, now: float) -> list[Any]:
    spec = obj.get("spec") or {}
    method, dangling = spec.get("distinguisherMethod"), get_condition(obj, "Dangling")
    return [
        name_of(obj),
        (spec.get("priorityLevelConfiguration") or {}).get("name") or "",
        spec.get("matchingPrecedence") or 0,
        NONE if method is None else method.get("type") or "",
        age(obj, now),
        "?" if dangling is None else dangling.get("status") or "",
    ]


def priority_level_cells(obj: Object, now: float) -> list[Any]:
    spec = obj.get("spec") or {}
    limited = spec.get("limited")
    queuing = ((limited or {}).get("limitResponse") or {}).get("queuing")
    return [
        name_of(obj),
        spec.get("type") or "",
        NONE if limited is None else limited.get("nominalConcurrencyShares") or 0,
        *(NONE if queuing is None else queuing.get(k) or 0 for k in ("queues", "handSize", "queueLengthLimit")),
        age(obj, now),
    ]


def resource_claim_cells(obj: Object, now: float) -> list[Any]:
    status, states = obj.get("status") or {}, []
    if is_deleting(obj):
        states.append("deleted")
    if status.get("allocation") is None:
        if not is_deleting(obj):
            states.append("pending")
    else:
        states.append("allocated")
        if status.get("reservedFor"):
            states.append("reserved")
    return [name_of(obj), ",".join(states), age(obj, now)]


def resource_slice_cells(obj: Object, now: float) -> list[Any]:
    spec = obj.get("spec") or {}
    return [
        name_of(obj),
        spec.get("nodeName") or "",
        spec.get("driver") or "",
        (spec.get("pool") or {}).get("name") or "",
        age(obj, now),
    ]


def api_service_cells(obj: Object, now: float) -> list[Any]:
    service = (obj.get("spec") or {}).get("service")
    available = get_condition(obj, "Available")
    state = "Unknown"
    if available is not None:
        state = available.get("status") or "Unknown"
        if state != "True":
            state = f"{state} ({available.get('reason') or ''})"
    return [
        name_of(obj),
        f"{service.get('namespace') or ''}/{service.get('name') or ''}" if service else "Local",
        state,
        age(obj, now),
    ]


def scale_cells(obj: Object, now: float) -> list[Any]:
    return [
        name_of(obj),
        (obj.get("spec") or {}).get("replicas") or 0,
        (obj.get("status") or {}).get("replicas") or 0,
        age(obj, now),
    ]
