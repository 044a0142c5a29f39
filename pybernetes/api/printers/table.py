"""Tables of objects: which columns and which cells a resource has, and the meta.k8s.io/v1 Table around them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Literal

from pybernetes.api import resources as r
from pybernetes.api.meta import Object, metadata
from pybernetes.api.printers import columns as c
from pybernetes.api.printers import core, other, workloads
from pybernetes.api.printers.pods import ROW_CONDITIONS, pod_cells
from pybernetes.api.resources import Resource

IncludeObject = Literal["None", "Metadata", "Object"]
Cells = Callable[[Object, float], list[Any]]

_PRINTERS: dict[Resource, tuple[tuple[c.Column, ...], Cells]] = {
    r.COMPONENTSTATUSES: (c.COMPONENT_STATUS, core.component_status_cells),
    r.CONFIGMAPS: (c.CONFIG_MAP, core.config_map_cells),
    r.ENDPOINTS: (c.ENDPOINTS, core.endpoints_cells),
    r.EVENTS: (c.EVENT, core.event_cells),
    r.NAMESPACES: (c.NAMESPACE, core.namespace_cells),
    r.NODES: (c.NODE, core.node_cells),
    r.PERSISTENTVOLUMECLAIMS: (c.PERSISTENT_VOLUME_CLAIM, core.persistent_volume_claim_cells),
    r.PERSISTENTVOLUMES: (c.PERSISTENT_VOLUME, core.persistent_volume_cells),
    r.PODS: (c.POD, pod_cells),
    r.PODTEMPLATES: (c.POD_TEMPLATE, core.pod_template_cells),
    r.REPLICATIONCONTROLLERS: (c.REPLICATION_CONTROLLER, workloads.replication_controller_cells),
    r.RESOURCEQUOTAS: (c.RESOURCE_QUOTA, core.resource_quota_cells),
    r.SECRETS: (c.SECRET, core.secret_cells),
    r.SERVICEACCOUNTS: (c.SERVICE_ACCOUNT, core.service_account_cells),
    r.SERVICES: (c.SERVICE, core.service_cells),
    r.MUTATINGADMISSIONPOLICIES: (c.MUTATING_POLICY, other.mutating_policy_cells),
    r.MUTATINGADMISSIONPOLICYBINDINGS: (c.POLICY_BINDING, other.policy_binding_cells),
    r.MUTATINGWEBHOOKCONFIGURATIONS: (c.WEBHOOK_CONFIGURATION, other.webhook_cells),
    r.VALIDATINGADMISSIONPOLICIES: (c.VALIDATING_POLICY, other.validating_policy_cells),
    r.VALIDATINGADMISSIONPOLICYBINDINGS: (c.POLICY_BINDING, other.policy_binding_cells),
    r.VALIDATINGWEBHOOKCONFIGURATIONS: (c.WEBHOOK_CONFIGURATION, other.webhook_cells),
    r.APISERVICES: (c.API_SERVICE, other.api_service_cells),
    r.CONTROLLERREVISIONS: (c.CONTROLLER_REVISION, workloads.controller_revision_cells),
    r.DAEMONSETS: (c.DAEMON_SET, workloads.daemon_set_cells),
    r.DEPLOYMENTS: (c.DEPLOYMENT, workloads.deployment_cells),
    r.REPLICASETS: (c.REPLICA_SET, workloads.replica_set_cells),
    r.STATEFULSETS: (c.STATEFUL_SET, workloads.stateful_set_cells),
    r.HORIZONTALPODAUTOSCALERS: (c.HORIZONTAL_POD_AUTOSCALER, workloads.horizontal_pod_autoscaler_cells),
    r.HORIZONTALPODAUTOSCALERS_V1: (c.HORIZONTAL_POD_AUTOSCALER, workloads.horizontal_pod_autoscaler_cells),
    r.CRONJOBS: (c.CRON_JOB, workloads.cron_job_cells),
    r.JOBS: (c.JOB, workloads.job_cells),
    r.CERTIFICATESIGNINGREQUESTS: (c.CERTIFICATE_SIGNING_REQUEST, core.certificate_signing_request_cells),
    r.LEASES: (c.LEASE, core.lease_cells),
    r.ENDPOINTSLICES: (c.ENDPOINT_SLICE, core.endpoint_slice_cells),
    r.EVENTS_V1: (c.EVENT, core.event_cells),
    r.FLOWSCHEMAS: (c.FLOW_SCHEMA, other.flow_schema_cells),
    r.PRIORITYLEVELCONFIGURATIONS: (c.PRIORITY_LEVEL, other.priority_level_cells),
    r.INGRESSCLASSES: (c.INGRESS_CLASS, other.ingress_class_cells),
    r.INGRESSES: (c.INGRESS, other.ingress_cells),
    r.IPADDRESSES: (c.IP_ADDRESS, other.ip_address_cells),
    r.NETWORKPOLICIES: (c.NETWORK_POLICY, other.network_policy_cells),
    r.SERVICECIDRS: (c.SERVICE_CIDR, other.service_cidr_cells),
    r.RUNTIMECLASSES: (c.RUNTIME_CLASS, other.runtime_class_cells),
    r.PODDISRUPTIONBUDGETS: (c.POD_DISRUPTION_BUDGET, workloads.pod_disruption_budget_cells),
    r.CLUSTERROLEBINDINGS: (c.CLUSTER_ROLE_BINDING, core.role_binding_cells),
    r.ROLEBINDINGS: (c.ROLE_BINDING, core.role_binding_cells),
    r.DEVICECLASSES: (c.NAME_AND_AGE, other.age_cells),
    r.RESOURCECLAIMS: (c.RESOURCE_CLAIM, other.resource_claim_cells),
    r.RESOURCECLAIMTEMPLATES: (c.NAME_AND_AGE, other.age_cells),
    r.RESOURCESLICES: (c.RESOURCE_SLICE, other.resource_slice_cells),
    r.PRIORITYCLASSES: (c.PRIORITY_CLASS, other.priority_class_cells),
    r.CSIDRIVERS: (c.CSI_DRIVER, other.csi_driver_cells),
    r.CSINODES: (c.CSI_NODE, other.csi_node_cells),
    r.CSISTORAGECAPACITIES: (c.CSI_STORAGE_CAPACITY, other.csi_storage_capacity_cells),
    r.STORAGECLASSES: (c.STORAGE_CLASS, other.storage_class_cells),
    r.VOLUMEATTACHMENTS: (c.VOLUME_ATTACHMENT, other.volume_attachment_cells),
    r.VOLUMEATTRIBUTESCLASSES: (c.VOLUME_ATTRIBUTES_CLASS, other.volume_attributes_class_cells),
}
_DEFAULT: tuple[tuple[c.Column, ...], Cells] = (c.DEFAULT, core.created_at_cells)
_SCALE: tuple[tuple[c.Column, ...], Cells] = (c.SCALE, other.scale_cells)


@lru_cache(maxsize=4096)
def _printer(resource: Resource) -> tuple[tuple[c.Column, ...], Cells]:
    return _PRINTERS.get(resource, _DEFAULT)


@lru_cache(maxsize=256)
def _definitions(shown: tuple[c.Column, ...]) -> list[Object]:
    """Shared by all tables: not to be changed."""
    return [column.definition() for column in shown]


def columns(resource: Resource) -> list[Object]:
    """The TableColumnDefinitions of a resource. Kinds without a printer have a name and a time of creation."""
    return list(_definitions(_printer(resource)[0]))


def cells(resource: Resource, obj: Object, now: float) -> list[Any]:
    """One object's cells, in the order of `columns`. `now` is in seconds since the epoch."""
    return _printer(resource)[1](obj, now)


def _row_object(obj: Object, include: IncludeObject, version: str) -> Object | None:
    if include == "None":
        return None
    if include == "Object":
        return obj
    return {"kind": "PartialObjectMetadata", "apiVersion": f"meta.k8s.io/{version}", "metadata": metadata(obj)}


def table(
    resource: Resource,
    objs: Sequence[Object],
    now: float,
    resource_version: str = "",
    include_object: IncludeObject = "Metadata",
    continue_token: str = "",
    remaining: int | None = None,
    *,
    headers: bool = True,
    version: str = "v1",
) -> Object:
    """The Table of some objects of one resource. Objects are shared with the result, not copied.

    `headers` is False for all but the first event of a watch, which repeat no column definitions. Scale objects may be
    given under any resource. `version` is meta.k8s.io's, as negotiated (v1 or v1beta1).
    """
    definitions, to_cells = _printer(resource)
    if objs and objs[0].get("kind") == "Scale":
        definitions, to_cells = _SCALE
    is_pods = to_cells is pod_cells
    rows: list[Object] = []
    for obj in objs:
        row: Object = {"cells": to_cells(obj, now)}
        if is_pods:
            conditions = ROW_CONDITIONS.get((obj.get("status") or {}).get("phase") or "")
            if conditions:
                row["conditions"] = conditions
        row["object"] = _row_object(obj, include_object, version)
        rows.append(row)
    shown = _definitions(definitions) if headers else []
    return wrap(shown, rows, resource_version, continue_token, remaining, version=version)


def wrap(
    definitions: list[Object],
    rows: list[Object],
    resource_version: str = "",
    continue_token: str = "",
    remaining: int | None = None,
    *,
    version: str = "v1",
) -> Object:
    """A Table around given columns and rows: for custom resources, whose columns their definition names."""
    meta: Object = {"resourceVersion": resource_version}
    if continue_token:
        meta["continue"] = continue_token
    if remaining is not None:
        meta["remainingItemCount"] = remaining
    return {
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": meta,
        "columnDefinitions": definitions,
        "rows": rows,
    }
