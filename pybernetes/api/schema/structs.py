"""Which fields are structs in upstream's Go types, rather than pointers to them: such a field is there as soon as what
holds it is, empty at least, and server-side apply counts it so. The same with times, which are null then. OpenAPI does
not tell structs and pointers apart.

Source: the types of ``k8s.io/api`` and their references.
"""

from __future__ import annotations

_TOP = ("metadata", "spec", "status")
"""Always structs, in every definition that has them."""

_POINTERS = frozenset(
    {
        "io.k8s.api.storage.v1.CSINodeDriver",
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceSubresources",
    }
)
"""Definitions in which a field of those names is a pointer."""

_STRUCTS: dict[str, tuple[str, ...]] = {
    "api.admissionregistration.v1.MutatingWebhook": ("clientConfig",),
    "api.admissionregistration.v1.ValidatingWebhook": ("clientConfig",),
    "api.apps.v1.DaemonSetSpec": ("template", "updateStrategy"),
    "api.apps.v1.DeploymentSpec": ("strategy", "template"),
    "api.apps.v1.ReplicaSetSpec": ("template",),
    "api.apps.v1.StatefulSetSpec": ("template", "updateStrategy"),
    "api.authentication.v1.SelfSubjectReviewStatus": ("userInfo",),
    "api.authentication.v1.TokenReviewStatus": ("user",),
    "api.autoscaling.v1.HorizontalPodAutoscalerSpec": ("scaleTargetRef",),
    "api.autoscaling.v2.ContainerResourceMetricSource": ("target",),
    "api.autoscaling.v2.ContainerResourceMetricStatus": ("current",),
    "api.autoscaling.v2.ExternalMetricSource": ("metric", "target"),
    "api.autoscaling.v2.ExternalMetricStatus": ("current", "metric"),
    "api.autoscaling.v2.HorizontalPodAutoscalerSpec": ("scaleTargetRef",),
    "api.autoscaling.v2.ObjectMetricSource": ("describedObject", "metric", "target"),
    "api.autoscaling.v2.ObjectMetricStatus": ("current", "describedObject", "metric"),
    "api.autoscaling.v2.PodsMetricSource": ("metric", "target"),
    "api.autoscaling.v2.PodsMetricStatus": ("current", "metric"),
    "api.autoscaling.v2.ResourceMetricSource": ("target",),
    "api.autoscaling.v2.ResourceMetricStatus": ("current",),
    "api.batch.v1.CronJobSpec": ("jobTemplate",),
    "api.batch.v1.JobSpec": ("template",),
    "api.core.v1.Binding": ("target",),
    "api.core.v1.Container": ("resources",),
    "api.core.v1.ContainerStatus": ("lastState", "state"),
    "api.core.v1.EphemeralContainer": ("resources",),
    "api.core.v1.Event": ("involvedObject", "source"),
    "api.core.v1.NodeDaemonEndpoints": ("kubeletEndpoint",),
    "api.core.v1.NodeStatus": ("daemonEndpoints", "nodeInfo"),
    "api.core.v1.PersistentVolumeClaimSpec": ("resources",),
    "api.core.v1.PodTemplate": ("template",),
    "api.core.v1.PreferredSchedulingTerm": ("preference",),
    "api.core.v1.ServiceStatus": ("loadBalancer",),
    "api.core.v1.WeightedPodAffinityTerm": ("podAffinityTerm",),
    "api.discovery.v1.Endpoint": ("conditions",),
    "api.events.v1.Event": ("deprecatedSource", "regarding"),
    "api.flowcontrol.v1.FlowSchemaSpec": ("priorityLevelConfiguration",),
    "api.flowcontrol.v1.LimitedPriorityLevelConfiguration": ("limitResponse",),
    "api.networking.v1.HTTPIngressPath": ("backend",),
    "api.networking.v1.IngressServiceBackend": ("port",),
    "api.networking.v1.IngressStatus": ("loadBalancer",),
    "api.networking.v1.NetworkPolicySpec": ("podSelector",),
    "api.rbac.v1.ClusterRoleBinding": ("roleRef",),
    "api.rbac.v1.RoleBinding": ("roleRef",),
    "api.resource.v1.AllocationResult": ("devices",),
    "api.resource.v1.ResourceClaimSpec": ("devices",),
    "api.resource.v1.ResourceSliceSpec": ("pool",),
    "api.storage.v1.VolumeAttachmentSpec": ("source",),
    "apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinitionSpec": ("names",),
    "apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinitionStatus": ("acceptedNames",),
}


_TIMES: dict[str, tuple[str, ...]] = {
    "api.core.v1.ContainerStateRunning": ("startedAt",),
    "api.core.v1.ContainerStateTerminated": ("finishedAt", "startedAt"),
    "api.core.v1.Event": ("eventTime", "firstTimestamp", "lastTimestamp"),
    "api.events.v1.Event": ("deprecatedFirstTimestamp", "deprecatedLastTimestamp", "eventTime"),
    "api.storage.v1.VolumeError": ("time",),
}
"""Besides those of conditions."""


def is_time_struct(definition: str, field: str) -> bool:
    """Whether a field, a time, of a definition is a struct."""
    return definition.endswith("Condition") or field in _TIMES.get(definition.removeprefix("io.k8s."), ())


def is_struct(definition: str, field: str) -> bool:
    """Whether a field, an object, of a definition such as ``io.k8s.api.core.v1.Container`` is a struct."""
    if field in _TOP:
        return definition not in _POINTERS
    return field in _STRUCTS.get(definition.removeprefix("io.k8s."), ())
