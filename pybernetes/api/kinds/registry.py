"""Which strategy belongs to which resource: one explicit table, read by `strategy_for`.

Instances hold no state and are made once a resource, when it is first asked for.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module

from pybernetes.api import resources
from pybernetes.api.kinds.strategy import Strategy
from pybernetes.api.resources import Resource

STRATEGIES: dict[Resource, str] = {
    resources.CONFIGMAPS: "configuration.ConfigMapStrategy",
    resources.ENDPOINTS: "endpoints.EndpointsStrategy",
    resources.EVENTS: "events.EventStrategy",
    resources.LIMITRANGES: "policy.LimitRangeStrategy",
    resources.NAMESPACES: "cluster.NamespaceStrategy",
    resources.NODES: "cluster.NodeStrategy",
    resources.PERSISTENTVOLUMECLAIMS: "persistentvolumeclaims.PersistentVolumeClaimStrategy",
    resources.PERSISTENTVOLUMES: "persistentvolumes.PersistentVolumeStrategy",
    resources.PODS: "pods.PodStrategy",
    resources.PODTEMPLATES: "workloads.PodTemplateStrategy",
    resources.REPLICATIONCONTROLLERS: "workloads.ReplicationControllerStrategy",
    resources.RESOURCEQUOTAS: "policy.ResourceQuotaStrategy",
    resources.SECRETS: "configuration.SecretStrategy",
    resources.SERVICEACCOUNTS: "cluster.ServiceAccountStrategy",
    resources.SERVICES: "services.ServiceStrategy",
    resources.MUTATINGADMISSIONPOLICIES: "admissionregistration.AdmissionPolicyStrategy",
    resources.MUTATINGADMISSIONPOLICYBINDINGS: "admissionregistration.PolicyBindingStrategy",
    resources.MUTATINGWEBHOOKCONFIGURATIONS: "admissionregistration.WebhookConfigurationStrategy",
    resources.VALIDATINGADMISSIONPOLICIES: "admissionregistration.AdmissionPolicyStrategy",
    resources.VALIDATINGADMISSIONPOLICYBINDINGS: "admissionregistration.PolicyBindingStrategy",
    resources.VALIDATINGWEBHOOKCONFIGURATIONS: "admissionregistration.WebhookConfigurationStrategy",
    resources.CUSTOMRESOURCEDEFINITIONS: "extensions.CustomResourceDefinitionStrategy",
    resources.APISERVICES: "extensions.APIServiceStrategy",
    resources.CONTROLLERREVISIONS: "workloads.ControllerRevisionStrategy",
    resources.DAEMONSETS: "workloads.DaemonSetStrategy",
    resources.DEPLOYMENTS: "workloads.DeploymentStrategy",
    resources.REPLICASETS: "workloads.ReplicaSetStrategy",
    resources.STATEFULSETS: "workloads.StatefulSetStrategy",
    resources.HORIZONTALPODAUTOSCALERS: "autoscaling.HorizontalPodAutoscalerStrategy",
    resources.HORIZONTALPODAUTOSCALERS_V1: "autoscaling.HorizontalPodAutoscalerStrategy",
    resources.CRONJOBS: "cronjobs.CronJobStrategy",
    resources.JOBS: "jobs.JobStrategy",
    resources.CERTIFICATESIGNINGREQUESTS: "certificates.CertificateSigningRequestStrategy",
    resources.LEASES: "coordination.LeaseStrategy",
    resources.ENDPOINTSLICES: "endpoints.EndpointSliceStrategy",
    resources.EVENTS_V1: "events.EventStrategy",
    resources.FLOWSCHEMAS: "flowcontrol.FlowSchemaStrategy",
    resources.PRIORITYLEVELCONFIGURATIONS: "flowcontrol.PriorityLevelConfigurationStrategy",
    resources.INGRESSCLASSES: "networking.IngressClassStrategy",
    resources.INGRESSES: "networking.IngressStrategy",
    resources.IPADDRESSES: "networking.IPAddressStrategy",
    resources.NETWORKPOLICIES: "networking.NetworkPolicyStrategy",
    resources.SERVICECIDRS: "networking.ServiceCIDRStrategy",
    resources.RUNTIMECLASSES: "policy.RuntimeClassStrategy",
    resources.PODDISRUPTIONBUDGETS: "policy.PodDisruptionBudgetStrategy",
    resources.CLUSTERROLEBINDINGS: "rbac.BindingStrategy",
    resources.CLUSTERROLES: "rbac.RoleStrategy",
    resources.ROLEBINDINGS: "rbac.BindingStrategy",
    resources.ROLES: "rbac.RoleStrategy",
    resources.DEVICECLASSES: "devices.DeviceClassStrategy",
    resources.RESOURCECLAIMS: "deviceclaims.ResourceClaimStrategy",
    resources.RESOURCECLAIMTEMPLATES: "deviceclaims.ResourceClaimTemplateStrategy",
    resources.RESOURCESLICES: "devices.ResourceSliceStrategy",
    resources.PRIORITYCLASSES: "policy.PriorityClassStrategy",
    resources.CSIDRIVERS: "storageclasses.CSIDriverStrategy",
    resources.CSINODES: "storageclasses.CSINodeStrategy",
    resources.CSISTORAGECAPACITIES: "storageclasses.CSIStorageCapacityStrategy",
    resources.STORAGECLASSES: "storageclasses.StorageClassStrategy",
    resources.VOLUMEATTACHMENTS: "storageclasses.VolumeAttachmentStrategy",
    resources.VOLUMEATTRIBUTESCLASSES: "storageclasses.VolumeAttributesClassStrategy",
}
"""Kinds with rules of their own, by module of this package and class; every other resource gets the generic strategy.

By name, so that a module is loaded when its kind is first asked for: together they take longer to load than a server
takes to start."""


@lru_cache(maxsize=4096)
def strategy_for(resource: Resource) -> Strategy:
    """The strategy of a resource, built-in or custom. The same object every time."""
    return _class_for(resource)(resource)


def _class_for(resource: Resource) -> type[Strategy]:
    name = STRATEGIES.get(resource)
    if name is None:
        return Strategy
    module, _, class_name = name.partition(".")
    found = getattr(import_module(f"pybernetes.api.kinds.{module}"), class_name)
    assert issubclass(found, Strategy), f"{name} is no strategy"
    return found  # type: ignore[no-any-return]
