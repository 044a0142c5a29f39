"""Every field whose description speaks of a default: what the API sets, or who it is that reads the absence so.

The kinds' defaulting is observed on skeletons: objects of every kind with all structs down to some depth, and without
any value in them. What depends on values is given by `GIVEN`.
"""

from __future__ import annotations

import functools
import json
import re
from typing import Any

import pytest

from pybernetes.api import resources as r
from pybernetes.api.kinds.registry import STRATEGIES, strategy_for
from pybernetes.api.meta import Object, clone
from pybernetes.api.resources import Resource
from pybernetes.api.schema import ListNode, Node, ObjectNode, definitions, type_of

Field = tuple[str, str]
DEEPEST = 13

SET: dict[str, dict[str, list[Any]]] = {
    "admissionregistration.v1.MatchResources": {
        "matchPolicy": ["Equivalent"],
        "namespaceSelector": [{}],
        "objectSelector": [{}],
    },
    "admissionregistration.v1.MutatingAdmissionPolicySpec": {"failurePolicy": ["Fail"]},
    "admissionregistration.v1.MutatingWebhook": {
        "failurePolicy": ["Fail"],
        "matchPolicy": ["Equivalent"],
        "namespaceSelector": [{}],
        "objectSelector": [{}],
        "reinvocationPolicy": ["Never"],
        "timeoutSeconds": [10],
    },
    "admissionregistration.v1.NamedRuleWithOperations": {"scope": ["*"]},
    "admissionregistration.v1.RuleWithOperations": {"scope": ["*"]},
    "admissionregistration.v1.ServiceReference": {"port": [443]},
    "admissionregistration.v1.ValidatingAdmissionPolicySpec": {"failurePolicy": ["Fail"]},
    "admissionregistration.v1.ValidatingWebhook": {
        "failurePolicy": ["Fail"],
        "matchPolicy": ["Equivalent"],
        "namespaceSelector": [{}],
        "objectSelector": [{}],
        "timeoutSeconds": [10],
    },
    "apps.v1.ControllerRevision": {"revision": [0]},
    "apps.v1.DaemonSetSpec": {"revisionHistoryLimit": [10]},
    "apps.v1.DaemonSetUpdateStrategy": {"type": ["RollingUpdate"]},
    "apps.v1.DeploymentSpec": {"progressDeadlineSeconds": [600], "replicas": [1], "revisionHistoryLimit": [10]},
    "apps.v1.DeploymentStrategy": {"type": ["RollingUpdate"]},
    "apps.v1.ReplicaSetSpec": {"replicas": [1]},
    "apps.v1.RollingUpdateDaemonSet": {"maxSurge": [0], "maxUnavailable": [1]},
    "apps.v1.RollingUpdateDeployment": {"maxSurge": ["25%"], "maxUnavailable": ["25%"]},
    "apps.v1.RollingUpdateStatefulSetStrategy": {"maxUnavailable": [1], "partition": [0]},
    "apps.v1.StatefulSetPersistentVolumeClaimRetentionPolicy": {"whenDeleted": ["Retain"], "whenScaled": ["Retain"]},
    "apps.v1.StatefulSetSpec": {
        "persistentVolumeClaimRetentionPolicy": [{"whenDeleted": "Retain", "whenScaled": "Retain"}],
        "podManagementPolicy": ["OrderedReady"],
        "replicas": [1],
        "revisionHistoryLimit": [10],
    },
    "apps.v1.StatefulSetUpdateStrategy": {"type": ["RollingUpdate"]},
    "autoscaling.v1.HorizontalPodAutoscalerSpec": {"minReplicas": [1]},
    "autoscaling.v2.HPAScalingRules": {
        "policies": [
            [{"periodSeconds": 15, "type": "Percent", "value": 100}],
            [{"periodSeconds": 15, "type": "Pods", "value": 4}, {"periodSeconds": 15, "type": "Percent", "value": 100}],
        ],
        "selectPolicy": ["Max"],
        "stabilizationWindowSeconds": [0],
    },
    "autoscaling.v2.HorizontalPodAutoscalerBehavior": {
        "scaleDown": [{"policies": [{"periodSeconds": 15, "type": "Percent", "value": 100}], "selectPolicy": "Max"}],
        "scaleUp": [
            {
                "policies": [
                    {"periodSeconds": 15, "type": "Pods", "value": 4},
                    {"periodSeconds": 15, "type": "Percent", "value": 100},
                ],
                "selectPolicy": "Max",
                "stabilizationWindowSeconds": 0,
            }
        ],
    },
    "autoscaling.v2.HorizontalPodAutoscalerSpec": {
        "metrics": [
            [
                {
                    "resource": {"name": "cpu", "target": {"averageUtilization": 80, "type": "Utilization"}},
                    "type": "Resource",
                }
            ]
        ],
        "minReplicas": [1],
    },
    "batch.v1.CronJobSpec": {
        "concurrencyPolicy": ["Allow"],
        "failedJobsHistoryLimit": [1],
        "successfulJobsHistoryLimit": [3],
        "suspend": [False],
    },
    "batch.v1.JobSpec": {
        "backoffLimit": [6],
        "completionMode": ["NonIndexed"],
        "completions": [1],
        "manualSelector": [False],
        "parallelism": [1],
        "podReplacementPolicy": ["Failed", "TerminatingOrFailed"],
        "suspend": [False],
    },
    "batch.v1.PodFailurePolicyOnPodConditionsPattern": {"status": ["True"]},
    "core.v1.AzureDiskVolumeSource": {
        "cachingMode": ["ReadWrite"],
        "fsType": ["ext4"],
        "kind": ["Shared"],
        "readOnly": [False],
    },
    "core.v1.ConfigMapVolumeSource": {"defaultMode": [420]},
    "core.v1.Container": {
        "imagePullPolicy": ["IfNotPresent"],
        "terminationMessagePath": ["/dev/termination-log"],
        "terminationMessagePolicy": ["File"],
    },
    "core.v1.ContainerPort": {"protocol": ["TCP"]},
    "core.v1.DownwardAPIVolumeSource": {"defaultMode": [420]},
    "core.v1.EndpointPort": {"protocol": ["TCP"]},
    "core.v1.EphemeralContainer": {
        "imagePullPolicy": ["IfNotPresent"],
        "terminationMessagePath": ["/dev/termination-log"],
        "terminationMessagePolicy": ["File"],
    },
    "core.v1.GRPCAction": {"service": [""]},
    "core.v1.HTTPGetAction": {"path": ["/"], "scheme": ["HTTP"]},
    "core.v1.HostPathVolumeSource": {"type": [""]},
    "core.v1.ISCSIPersistentVolumeSource": {"iscsiInterface": ["default"]},
    "core.v1.ISCSIVolumeSource": {"iscsiInterface": ["default"]},
    "core.v1.ImageVolumeSource": {"pullPolicy": ["IfNotPresent"]},
    "core.v1.LimitRangeSpec": {"limits": [[]]},
    "core.v1.ObjectFieldSelector": {"apiVersion": ["v1"]},
    "core.v1.PersistentVolumeClaimSpec": {"volumeMode": ["Filesystem"]},
    "core.v1.PersistentVolumeSpec": {"persistentVolumeReclaimPolicy": ["Retain"], "volumeMode": ["Filesystem"]},
    "core.v1.PodSpec": {
        "dnsPolicy": ["ClusterFirst"],
        "enableServiceLinks": [True],
        "restartPolicy": ["Always"],
        "schedulerName": ["default-scheduler"],
        "securityContext": [{}],
        "terminationGracePeriodSeconds": [30],
    },
    "core.v1.Probe": {"failureThreshold": [3], "periodSeconds": [10], "successThreshold": [1], "timeoutSeconds": [1]},
    "core.v1.ProjectedVolumeSource": {"defaultMode": [420]},
    "core.v1.RBDPersistentVolumeSource": {"keyring": ["/etc/ceph/keyring"], "pool": ["rbd"], "user": ["admin"]},
    "core.v1.RBDVolumeSource": {"keyring": ["/etc/ceph/keyring"], "pool": ["rbd"], "user": ["admin"]},
    "core.v1.ReplicationControllerSpec": {"replicas": [1]},
    "core.v1.ResourceFieldSelector": {"divisor": ["0"]},
    "core.v1.ScaleIOPersistentVolumeSource": {"fsType": ["xfs"], "storageMode": ["ThinProvisioned"]},
    "core.v1.ScaleIOVolumeSource": {"fsType": ["xfs"], "storageMode": ["ThinProvisioned"]},
    "core.v1.Secret": {"type": ["Opaque"]},
    "core.v1.SecretVolumeSource": {"defaultMode": [420]},
    "core.v1.ServiceAccountTokenProjection": {"expirationSeconds": [3600]},
    "core.v1.ServicePort": {"protocol": ["TCP"], "targetPort": [0]},
    "core.v1.ServiceSpec": {"internalTrafficPolicy": ["Cluster"], "sessionAffinity": ["None"], "type": ["ClusterIP"]},
    "discovery.v1.EndpointPort": {"name": [""], "protocol": ["TCP"]},
    "flowcontrol.v1.FlowSchemaSpec": {"matchingPrecedence": [1000]},
    "flowcontrol.v1.LimitedPriorityLevelConfiguration": {"lendablePercent": [0], "nominalConcurrencyShares": [30]},
    "flowcontrol.v1.QueuingConfiguration": {"handSize": [8], "queueLengthLimit": [50], "queues": [64]},
    "networking.v1.IngressClassParametersReference": {"scope": ["Cluster"]},
    "networking.v1.NetworkPolicyPort": {"protocol": ["TCP"]},
    "networking.v1.NetworkPolicySpec": {"policyTypes": [["Ingress", "Egress"], ["Ingress"]]},
    "rbac.v1.RoleRef": {"apiGroup": ["rbac.authorization.k8s.io"]},
    "resource.v1.DeviceSubRequest": {"allocationMode": ["ExactCount"], "count": [1]},
    "resource.v1.DeviceToleration": {"operator": ["Equal"]},
    "resource.v1.ExactDeviceRequest": {"allocationMode": ["ExactCount"], "count": [1]},
    "scheduling.v1.PriorityClass": {"preemptionPolicy": ["PreemptLowerPriority"], "value": [0]},
    "storage.v1.CSIDriverSpec": {
        "attachRequired": [True],
        "fsGroupPolicy": ["ReadWriteOnceWithFSType"],
        "podInfoOnMount": [False],
        "requiresRepublish": [False],
        "seLinuxMount": [False],
        "storageCapacity": [False],
        "volumeLifecycleModes": [["Persistent"]],
    },
    "storage.v1.CSINodeSpec": {"drivers": [[]]},
    "storage.v1.StorageClass": {"reclaimPolicy": ["Delete"], "volumeBindingMode": ["Immediate"]},
    "apiextensions.v1.CustomResourceConversion": {"strategy": ["None"]},
    "apiextensions.v1.ServiceReference": {"port": [443]},
    "apiregistration.v1.ServiceReference": {"port": [443]},
}
"""Every value that a field gets where it is absent; more than one where it depends on what is around it."""

GIVEN: list[tuple[Resource, Object, Field, Any]] = [
    (r.SERVICES, {"spec": {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {}}}},
     ("core.v1.ClientIPConfig", "timeoutSeconds"), 10800),
    (r.SERVICES, {"spec": {"type": "LoadBalancer"}}, ("core.v1.ServiceSpec", "allocateLoadBalancerNodePorts"), True),
    (r.SERVICES, {"spec": {"type": "NodePort"}}, ("core.v1.ServiceSpec", "externalTrafficPolicy"), "Cluster"),
    (r.ROLEBINDINGS, {"subjects": [{"kind": "User"}]}, ("rbac.v1.Subject", "apiGroup"), "rbac.authorization.k8s.io"),
    (r.PRIORITYLEVELCONFIGURATIONS, {"spec": {"type": "Exempt"}},
     ("flowcontrol.v1.PriorityLevelConfigurationSpec", "exempt"),
     {"nominalConcurrencyShares": 0, "lendablePercent": 0}),
    (r.PRIORITYLEVELCONFIGURATIONS, {"spec": {"type": "Exempt", "exempt": {}}},
     ("flowcontrol.v1.ExemptPriorityLevelConfiguration", "lendablePercent"), 0),
    (r.PRIORITYLEVELCONFIGURATIONS, {"spec": {"type": "Exempt", "exempt": {}}},
     ("flowcontrol.v1.ExemptPriorityLevelConfiguration", "nominalConcurrencyShares"), 0),
    (r.CUSTOMRESOURCEDEFINITIONS, {"spec": {"names": {"kind": "Widget"}}},
     ("apiextensions.v1.CustomResourceDefinitionNames", "listKind"), "WidgetList"),
    (r.CUSTOMRESOURCEDEFINITIONS, {"spec": {"names": {"kind": "Widget"}}},
     ("apiextensions.v1.CustomResourceDefinitionNames", "singular"), "widget"),
    (r.PODS, {"spec": {"containers": [{"resources": {"limits": {"cpu": "1"}}}]}},
     ("core.v1.ResourceRequirements", "requests"), {"cpu": "1"}),
    (r.PODS, {"spec": {"containers": [{"image": "a:latest"}]}}, ("core.v1.Container", "imagePullPolicy"), "Always"),
    (r.LIMITRANGES, {"spec": {"limits": [{"type": "Container", "max": {"cpu": "1"}}]}},
     ("core.v1.LimitRangeItem", "default"), {"cpu": "1"}),
    (r.LIMITRANGES, {"spec": {"limits": [{"type": "Container", "min": {"cpu": "1"}}]}},
     ("core.v1.LimitRangeItem", "defaultRequest"), {"cpu": "1"}),
    (r.REPLICATIONCONTROLLERS, {"spec": {"template": {"metadata": {"labels": {"a": "b"}}}}},
     ("core.v1.ReplicationControllerSpec", "selector"), {"a": "b"}),
    (r.JOBS, {"spec": {"backoffLimitPerIndex": 1}}, ("batch.v1.JobSpec", "backoffLimit"), 2147483647),
    (r.NETWORKPOLICIES, {"spec": {"egress": [{}]}},
     ("networking.v1.NetworkPolicySpec", "policyTypes"), ["Ingress", "Egress"]),
]  # fmt: skip
"""(kind, object, field, the value it gets): where something else must be set."""

ABSENT: dict[str, str] = {
    "false, zero or nothing is stored as absence": """
        apps.v1.DaemonSetSpec.minReadySeconds apps.v1.DeploymentSpec.minReadySeconds
        apps.v1.ReplicaSetSpec.minReadySeconds apps.v1.StatefulSetSpec.minReadySeconds
        core.v1.ReplicationControllerSpec.minReadySeconds apps.v1.StatefulSetOrdinals.start
        apps.v1.StatefulSetSpec.ordinals apps.v1.StatefulSetSpec.serviceName core.v1.ConfigMap.immutable
        core.v1.Secret.immutable core.v1.Container.stdin core.v1.Container.stdinOnce core.v1.Container.tty
        core.v1.EphemeralContainer.stdin core.v1.EphemeralContainer.stdinOnce core.v1.EphemeralContainer.tty
        core.v1.EmptyDirVolumeSource.medium core.v1.EmptyDirVolumeSource.sizeLimit core.v1.EnvVar.value
        core.v1.NodeSpec.unschedulable core.v1.NodeRuntimeHandler.name core.v1.PodSpec.hostIPC
        core.v1.PodSpec.hostNetwork core.v1.PodSpec.hostPID core.v1.PodSpec.hostUsers
        core.v1.PodSpec.setHostnameAsFQDN core.v1.PodSpec.shareProcessNamespace core.v1.PodAffinityTerm.matchLabelKeys
        core.v1.PodAffinityTerm.mismatchLabelKeys core.v1.RBDPersistentVolumeSource.secretRef
        core.v1.RBDVolumeSource.secretRef core.v1.QuobyteVolumeSource.group core.v1.ScaleIOVolumeSource.sslEnabled
        core.v1.ScaleIOPersistentVolumeSource.sslEnabled core.v1.SecurityContext.privileged
        core.v1.SecurityContext.readOnlyRootFilesystem core.v1.VolumeMount.subPath core.v1.VolumeMount.subPathExpr
        networking.v1.IngressSpec.rules networking.v1.NetworkPolicySpec.egress networking.v1.NetworkPolicySpec.ingress
        networking.v1.NetworkPolicySpec.podSelector batch.v1.SuccessPolicyRule.succeededCount
        batch.v1.SuccessPolicyRule.succeededIndexes scheduling.v1.PriorityClass.globalDefault
        storage.v1.CSIDriverSpec.preventPodSchedulingIfMissing storage.v1.CSIDriverSpec.serviceAccountTokenInSecrets
        apiextensions.v1.CustomResourceDefinitionVersion.deprecated
    """,
    "the controller reads absence so": """
        autoscaling.v2.HPAScalingRules.tolerance autoscaling.v2.HorizontalPodAutoscalerSpec.behavior
        batch.v1.CronJobSpec.timeZone batch.v1.JobSpec.podFailurePolicy batch.v1.JobSpec.successPolicy
        batch.v1.JobSpec.scheduling batch.v1.PodFailurePolicy.rules batch.v1.PodFailurePolicyRule.action
        policy.v1.PodDisruptionBudgetSpec.unhealthyPodEvictionPolicy networking.v1.IngressTLS.hosts
        core.v1.ServiceSpec.loadBalancerClass core.v1.ServiceSpec.trafficDistribution
        core.v1.PodSpec.evictionResponders scheduling.v1alpha3.WorkloadPodGroupGangSchedulingPolicy.minCount
    """,
    "the scheduler, or the allocation of devices, reads absence so": """
        core.v1.Toleration.operator core.v1.Toleration.tolerationSeconds core.v1.TopologySpreadConstraint.maxSkew
        core.v1.TopologySpreadConstraint.whenUnsatisfiable core.v1.TopologySpreadConstraint.matchLabelKeys
        resource.v1.CapacityRequestPolicy.default resource.v1.CapacityRequestPolicy.validRange
        resource.v1.CapacityRequestPolicy.validValues resource.v1.CapacityRequestPolicyRange.max
        resource.v1.CapacityRequestPolicyRange.min resource.v1.CapacityRequestPolicyRange.step
        resource.v1.CapacityRequirements.requests resource.v1.DeviceCapacity.requestPolicy
        resource.v1.DeviceSubRequest.capacity resource.v1.ExactDeviceRequest.capacity
        resource.v1.DeviceToleration.tolerationSeconds
    """,
    "the kubelet, a volume's driver or the container runtime reads absence so": """
        core.v1.AppArmorProfile.type core.v1.AWSElasticBlockStoreVolumeSource.partition
        core.v1.AzureFilePersistentVolumeSource.secretNamespace core.v1.CSIVolumeSource.fsType
        core.v1.CephFSPersistentVolumeSource.path core.v1.CephFSPersistentVolumeSource.secretFile
        core.v1.CephFSPersistentVolumeSource.secretRef core.v1.CephFSPersistentVolumeSource.user
        core.v1.CephFSVolumeSource.path core.v1.CephFSVolumeSource.secretFile core.v1.CephFSVolumeSource.secretRef
        core.v1.CephFSVolumeSource.user core.v1.ConfigMapVolumeSource.defaultUser core.v1.Container.image
        core.v1.Container.ports core.v1.Container.workingDir core.v1.DownwardAPIVolumeSource.defaultUser
        core.v1.EmptyDirVolumeSource.mode core.v1.EphemeralContainer.workingDir
        core.v1.FlexPersistentVolumeSource.fsType core.v1.FlexVolumeSource.fsType
        core.v1.GCEPersistentDiskVolumeSource.partition core.v1.GlusterfsPersistentVolumeSource.endpointsNamespace
        core.v1.HTTPGetAction.host core.v1.HTTPGetAction.protocol core.v1.ISCSIPersistentVolumeSource.portals
        core.v1.ISCSIPersistentVolumeSource.targetPortal core.v1.ISCSIVolumeSource.portals
        core.v1.ISCSIVolumeSource.targetPortal core.v1.ImageVolumeSource.reference core.v1.Lifecycle.stopSignal
        core.v1.LocalVolumeSource.fsType core.v1.PodSecurityContext.runAsGroup core.v1.PodSecurityContext.runAsUser
        core.v1.ProjectedVolumeSource.defaultUser core.v1.QuobyteVolumeSource.user core.v1.SeccompProfile.type
        core.v1.SecretVolumeSource.defaultUser core.v1.SecurityContext.capabilities core.v1.SecurityContext.procMount
        core.v1.SecurityContext.runAsGroup core.v1.SecurityContext.runAsUser
        core.v1.ServiceAccountTokenProjection.audience core.v1.StorageOSPersistentVolumeSource.secretRef
        core.v1.StorageOSPersistentVolumeSource.volumeNamespace core.v1.StorageOSVolumeSource.secretRef
        core.v1.StorageOSVolumeSource.volumeNamespace core.v1.TCPSocketAction.host
        core.v1.VolumeMount.mountPropagation core.v1.VolumeMount.recursiveReadOnly
        core.v1.WindowsSecurityContextOptions.runAsUserName core.v1.ContainerResizePolicy.restartPolicy
        storage.v1.TokenRequest.audience storage.v1.TokenRequest.expirationSeconds
    """,
    "admission sets it": """
        core.v1.PodSpec.preemptionPolicy core.v1.PodSpec.priorityClassName core.v1.PodSpec.runtimeClassName
    """,
    "the API server sets it elsewhere: with a clock, in a conversion, or in what a definition defines": """
        certificates.v1.CertificateSigningRequestCondition.lastTransitionTime
        autoscaling.v1.HorizontalPodAutoscalerSpec.targetCPUUtilizationPercentage
        apiextensions.v1.CustomResourceDefinitionVersion.deprecationWarning
        apiextensions.v1.CustomResourceDefinitionVersion.schema
        apiextensions.v1.CustomResourceSubresourceScale.labelSelectorPath
        apiextensions.v1.CustomResourceSubresourceScale.statusReplicasPath apiextensions.v1.JSONSchemaProps.default
        apiextensions.v1.JSONSchemaProps.x-kubernetes-list-map-keys
        apiextensions.v1.JSONSchemaProps.x-kubernetes-list-type apiextensions.v1.JSONSchemaProps.x-kubernetes-map-type
        apiextensions.v1.ValidationRule.reason apiextensions.v1.ValidationRule.rule
    """,
    "the kubelet or a controller writes this status": """
        core.v1.ContainerStatus.ready core.v1.NodeConfigStatus.lastKnownGood core.v1.NodeStatus.allocatable
        apps.v1.DeploymentStatus.terminatingReplicas apps.v1.ReplicaSetStatus.terminatingReplicas
    """,
    "the labels of a template name the object no longer (the description is from before apps/v1)": """
        apps.v1.ReplicaSet.metadata
    """,
    "not of objects, but of their metadata: see the test of replication controllers": """
        core.v1.ReplicationController.metadata
    """,
    "nothing is filled in: the description is that of containers": """
        core.v1.VolumeResourceRequirements.requests
    """,
}
"""Why a field with a default in its description is left as it is. ``readOnly`` is, everywhere: false is absence."""


def short(name: str) -> str:
    """``core.v1.PodSpec``, of a definition's full name."""
    return ".".join(name.rsplit(".", 3)[1:])


def skeleton(node: ObjectNode, depth: int, limit: int, above: tuple[Node, ...] = ()) -> Object:
    """All structs down to `limit`, one in each list of them, none inside itself."""
    out: Object = {}
    for name, field in node.fields.items():
        inner = field.node.items if isinstance(field.node, ListNode) else field.node
        if depth == 0 and name == "metadata":
            out[name] = {"name": "x"}
        elif depth < limit and isinstance(inner, ObjectNode) and inner not in above:
            value = skeleton(inner, depth + 1, limit, (*above, inner))
            out[name] = [value] if isinstance(field.node, ListNode) else value
    return out


def record(node: ObjectNode, before: Object, after: Object, found: dict[Field, list[Any]]) -> None:
    """Notes which fields are there after and were not before."""
    for name, field in node.fields.items():
        old, new = before.get(name), after.get(name)
        if new is None:
            continue
        if old is None:
            values = found.setdefault((short(node.name), name), [])
            if new not in values:
                values.append(new)
        elif isinstance(field.node, ObjectNode):
            record(field.node, old, new, found)
        elif isinstance(field.node, ListNode) and isinstance(field.node.items, ObjectNode):
            for one, other in zip(old, new, strict=True):
                record(field.node.items, one, other, found)


@functools.cache
def observed() -> dict[Field, list[Any]]:
    found: dict[Field, list[Any]] = {}
    for resource in STRATEGIES:
        node, last = type_of(resource), None
        assert isinstance(node, ObjectNode)
        for limit in range(1, DEEPEST):
            before = skeleton(node, 0, limit)
            if before == last:
                break
            last, after = before, clone(before)
            strategy_for(resource).default(after)
            record(node, before, after, found)
    return found


def defaulted_by(resource: Resource, obj: Object) -> dict[Field, list[Any]]:
    found: dict[Field, list[Any]] = {}
    before = {"metadata": {"name": "x"}, **obj}
    after = clone(before)
    strategy_for(resource).default(after)
    node = type_of(resource)
    assert isinstance(node, ObjectNode)
    record(node, before, after, found)
    return found


def documented() -> set[Field]:
    """Fields below the stored kinds whose description has the word default in it."""
    package = definitions.read_package()
    todo = [node.name for node in map(type_of, STRATEGIES) if isinstance(node, ObjectNode)]
    seen: set[str] = set()
    out: set[Field] = set()
    while todo:
        name = todo.pop()
        if name in seen or name not in package or ".apimachinery." in name:
            continue
        seen.add(name)
        todo += re.findall(r'"\$ref": "[^"]*/([^/"]+)"', json.dumps(package[name]))
        for field, value in (package[name].get("properties") or {}).items():
            if re.search(r"\bdefault(s|ed|ing)?\b", value.get("description") or "", re.IGNORECASE):
                out.add((short(name), field))
    return out


def test_every_documented_default_is_set_or_explained() -> None:
    explained = {tuple(f.rsplit(".", 1)) for text in ABSENT.values() for f in text.split()}
    given = {field for _, _, field, _ in GIVEN}
    known = {(name, field) for name, fields in SET.items() for field in fields}
    missing = {f for f in documented() if f[1] != "readOnly"} - known - given - explained
    assert sorted(missing) == []
    assert sorted(explained & (known | given)) == [], "a field is set or left, not both"
    assert sorted(explained - documented()) == [], "explanations are of documented defaults only"


def test_what_is_set_is_what_the_table_says() -> None:
    structs = (".ObjectMeta", ".PersistentVolumeClaim", "Status")
    found: dict[str, dict[str, list[Any]]] = {}
    for (name, field), values in observed().items():
        if name.endswith(structs) or (all(isinstance(v, dict) for v in values) and field not in SET.get(name, ())):
            # Structs that are there because what holds them is, and what a new status says.
            continue
        found.setdefault(name, {})[field] = sorted(values, key=str)
    assert found == SET


@pytest.mark.parametrize(("resource", "obj", "field", "value"), GIVEN)
def test_what_is_set_on_condition(resource: Resource, obj: Object, field: Field, value: Any) -> None:
    assert defaulted_by(resource, obj)[field] == [value]


def test_labels_of_a_replication_controller_are_its_templates() -> None:
    obj: Object = {"metadata": {"name": "x"}, "spec": {"template": {"metadata": {"labels": {"a": "b"}}}}}
    strategy_for(r.REPLICATIONCONTROLLERS).default(obj)
    assert obj["metadata"]["labels"] == {"a": "b"}
