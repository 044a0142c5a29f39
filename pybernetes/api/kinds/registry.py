"""Which strategy belongs to which resource: one explicit table, read by `strategy_for`.

Instances hold no state and are made once a resource.
"""

from __future__ import annotations

from functools import lru_cache

from pybernetes.api import resources
from pybernetes.api.kinds import (
    cluster,
    configuration,
    coordination,
    endpoints,
    events,
    pods,
    rbac,
    services,
    workloads,
)
from pybernetes.api.kinds.strategy import Strategy
from pybernetes.api.resources import Resource

STRATEGIES: dict[Resource, type[Strategy]] = {
    resources.CONFIGMAPS: configuration.ConfigMapStrategy,
    resources.ENDPOINTS: endpoints.EndpointsStrategy,
    resources.EVENTS: events.EventStrategy,
    resources.NAMESPACES: cluster.NamespaceStrategy,
    resources.NODES: cluster.NodeStrategy,
    resources.PODS: pods.PodStrategy,
    resources.PODTEMPLATES: workloads.PodTemplateStrategy,
    resources.REPLICATIONCONTROLLERS: workloads.ReplicationControllerStrategy,
    resources.SECRETS: configuration.SecretStrategy,
    resources.SERVICEACCOUNTS: cluster.ServiceAccountStrategy,
    resources.SERVICES: services.ServiceStrategy,
    resources.CONTROLLERREVISIONS: workloads.ControllerRevisionStrategy,
    resources.DAEMONSETS: workloads.DaemonSetStrategy,
    resources.DEPLOYMENTS: workloads.DeploymentStrategy,
    resources.REPLICASETS: workloads.ReplicaSetStrategy,
    resources.STATEFULSETS: workloads.StatefulSetStrategy,
    resources.LEASES: coordination.LeaseStrategy,
    resources.ENDPOINTSLICES: endpoints.EndpointSliceStrategy,
    resources.EVENTS_V1: events.EventStrategy,
    resources.CLUSTERROLEBINDINGS: rbac.BindingStrategy,
    resources.CLUSTERROLES: rbac.RoleStrategy,
    resources.ROLEBINDINGS: rbac.BindingStrategy,
    resources.ROLES: rbac.RoleStrategy,
}
"""Kinds with rules of their own; every other resource gets the generic strategy."""


@lru_cache(maxsize=4096)
def strategy_for(resource: Resource) -> Strategy:
    """The strategy of a resource, built-in or custom. The same object every time."""
    return STRATEGIES.get(resource, Strategy)(resource)
