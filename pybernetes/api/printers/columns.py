"""The columns of every kind's table, as data: headings, types and which are shown only in wide output.

Most descriptions are those of the fields that the cells show, and are looked up in the schema. Source of headings,
types, order and the other descriptions: ``pkg/printers/internalversion/printers.go``.
"""

from __future__ import annotations

from dataclasses import dataclass

from pybernetes.api.meta import Object
from pybernetes.api.schema.source import descriptions

WIDE = 1
_TEXTS = "string"


@dataclass(frozen=True, slots=True)
class Column:
    """One column. A priority above 0 is shown by ``kubectl get -o wide`` only.

    `description` is its own text, or with `of` the name of the field of that definition whose text it has.
    """

    name: str
    description: str
    type: str = _TEXTS
    format: str = ""
    priority: int = 0
    of: str = ""

    def definition(self) -> Object:
        """The meta.k8s.io/v1 TableColumnDefinition."""
        described = descriptions()[_DEFINITIONS + self.of][self.description] if self.of else self.description
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": described,
            "priority": self.priority,
        }


_DEFINITIONS = "io.k8s."
_CORE = "api.core.v1."
_APPS = "api.apps.v1."
_BATCH = "api.batch.v1."
_HPA = "api.autoscaling.v2.HorizontalPodAutoscaler"
_STORAGE = "api.storage.v1."
_FLOW = "api.flowcontrol.v1."


def text(name: str, description: str = "", of: str = "", *, wide: bool = False) -> Column:
    return Column(name, description, priority=WIDE if wide else 0, of=of)


def number(name: str, description: str = "", of: str = "") -> Column:
    return Column(name, description, "integer", of=of)


def flag(name: str, description: str = "", of: str = "") -> Column:
    return Column(name, description, "boolean", of=of)


_META = "apimachinery.pkg.apis.meta.v1.ObjectMeta"
NAME = Column("Name", "name", format="name", of=_META)
AGE = text("Age", "creationTimestamp", _META)
CREATED_AT = Column("Created At", "creationTimestamp", "date", of=_META)
_CONTAINERS = text("Containers", "Names of each container in the template.", wide=True)
_IMAGES = text("Images", "Images referenced by each container in the template.", wide=True)


def _template(of: str) -> tuple[Column, ...]:
    return _CONTAINERS, _IMAGES, text("Selector", "selector", of, wide=True)


DEFAULT = (NAME, CREATED_AT)
NAME_AND_AGE = (NAME, AGE)

POD = (
    NAME,
    text("Ready", "The aggregate readiness state of this pod for accepting traffic."),
    text("Status", "The aggregate status of the containers in this pod."),
    text(
        "Restarts",
        "The number of times the containers in this pod have been restarted and when the last container in "
        "this pod has restarted.",
    ),
    AGE,
    text("IP", "podIP", _CORE + "PodStatus", wide=True),
    text("Node", "nodeName", _CORE + "PodSpec", wide=True),
    text("Nominated Node", "nominatedNodeName", _CORE + "PodStatus", wide=True),
    text("Readiness Gates", "readinessGates", _CORE + "PodSpec", wide=True),
)
POD_TEMPLATE = (
    NAME,
    text("Containers", _CONTAINERS.description),
    text("Images", _IMAGES.description),
    text("Pod Labels", "The labels for the pod template."),
)
POD_DISRUPTION_BUDGET = (
    NAME,
    text("Min Available", "The minimum number of pods that must be available."),
    text("Max Unavailable", "The maximum number of pods that may be unavailable."),
    number("Allowed Disruptions", "Calculated number of pods that may be disrupted at this time."),
    AGE,
)


def _replicas(of: str) -> tuple[Column, ...]:
    return (
        NAME,
        number("Desired", "replicas", of + "Spec"),
        number("Current", "replicas", of + "Status"),
        number("Ready", "readyReplicas", of + "Status"),
        AGE,
        *_template(of + "Spec"),
    )


REPLICATION_CONTROLLER = _replicas(_CORE + "ReplicationController")
REPLICA_SET = _replicas(_APPS + "ReplicaSet")
DAEMON_SET = (
    NAME,
    number("Desired", "desiredNumberScheduled", _APPS + "DaemonSetStatus"),
    number("Current", "currentNumberScheduled", _APPS + "DaemonSetStatus"),
    number("Ready", "numberReady", _APPS + "DaemonSetStatus"),
    number("Up-to-date", "updatedNumberScheduled", _APPS + "DaemonSetStatus"),
    number("Available", "numberAvailable", _APPS + "DaemonSetStatus"),
    text("Node Selector", "nodeSelector", _CORE + "PodSpec"),
    AGE,
    *_template(_APPS + "DaemonSetSpec"),
)
JOB = (
    NAME,
    text("Status", "Status of the job."),
    text("Completions", "succeeded", _BATCH + "JobStatus"),
    text("Duration", "Time required to complete the job."),
    AGE,
    *_template(_BATCH + "JobSpec"),
)
CRON_JOB = (
    NAME,
    text("Schedule", "schedule", _BATCH + "CronJobSpec"),
    text("Timezone", "timeZone", _BATCH + "CronJobSpec"),
    flag("Suspend", "suspend", _BATCH + "CronJobSpec"),
    number("Active", "active", _BATCH + "CronJobStatus"),
    text("Last Schedule", "lastScheduleTime", _BATCH + "CronJobStatus"),
    AGE,
    *_template(_BATCH + "JobSpec"),
)
SERVICE = (
    NAME,
    text("Type", "type", _CORE + "ServiceSpec"),
    text("Cluster-IP", "clusterIP", _CORE + "ServiceSpec"),
    text("External-IP", "externalIPs", _CORE + "ServiceSpec"),
    text("Port(s)", "ports", _CORE + "ServiceSpec"),
    AGE,
    text("Selector", "selector", _CORE + "ServiceSpec", wide=True),
)
INGRESS = (
    NAME,
    text("Class", "The name of the IngressClass resource that should be used for additional configuration"),
    text("Hosts", "Hosts that incoming requests are matched against before the ingress rule"),
    text("Address", "Address is a list containing ingress points for the load-balancer"),
    text("Ports", "Ports of TLS configurations that open"),
    AGE,
)
INGRESS_CLASS = (
    NAME,
    text("Controller", "Controller that is responsible for handling this class"),
    text("Parameters", "A reference to a resource with additional parameters"),
    AGE,
)
STATEFUL_SET = (NAME, text("Ready", "Number of the pod with ready state"), AGE, _CONTAINERS, _IMAGES)
DEPLOYMENT = (
    NAME,
    text("Ready", "Number of the pod with ready state"),
    text("Up-to-date", "updatedReplicas", _APPS + "DeploymentStatus"),
    text("Available", "availableReplicas", _APPS + "DeploymentStatus"),
    AGE,
    *_template(_APPS + "DeploymentSpec"),
)
ENDPOINTS = (NAME, text("Endpoints", "subsets", _CORE + "Endpoints"), AGE)
_SLICE = "api.discovery.v1.EndpointSlice"
ENDPOINT_SLICE = (
    NAME,
    text("AddressType", "addressType", _SLICE),
    text("Ports", "ports", _SLICE),
    text("Endpoints", "endpoints", _SLICE),
    AGE,
)
NODE = (
    NAME,
    text("Status", "The status of the node"),
    text("Roles", "The roles of the node"),
    AGE,
    text("Version", "kubeletVersion", _CORE + "NodeSystemInfo"),
    text("Internal-IP", "addresses", _CORE + "NodeStatus", wide=True),
    text("External-IP", "addresses", _CORE + "NodeStatus", wide=True),
    text("OS-Image", "osImage", _CORE + "NodeSystemInfo", wide=True),
    text("Kernel-Version", "kernelVersion", _CORE + "NodeSystemInfo", wide=True),
    text("Container-Runtime", "containerRuntimeVersion", _CORE + "NodeSystemInfo", wide=True),
)
EVENT = (
    text("Last Seen", "lastTimestamp", _CORE + "Event"),
    text("Type", "type", _CORE + "Event"),
    text("Reason", "reason", _CORE + "Event"),
    text("Object", "involvedObject", _CORE + "Event"),
    text("Subobject", "fieldPath", _CORE + "ObjectReference", wide=True),
    text("Source", "source", _CORE + "Event", wide=True),
    text("Message", "message", _CORE + "Event"),
    text("First Seen", "firstTimestamp", _CORE + "Event", wide=True),
    text("Count", "count", _CORE + "Event", wide=True),
    Column("Name", "name", format="name", priority=WIDE, of=_META),
)
NAMESPACE = (NAME, text("Status", "The status of the namespace"), AGE)
SECRET = (NAME, text("Type", "type", _CORE + "Secret"), text("Data", "data", _CORE + "Secret"), AGE)
SERVICE_ACCOUNT = (NAME, text("Secrets", "secrets", _CORE + "ServiceAccount"), AGE)
CONFIG_MAP = (NAME, text("Data", "data", _CORE + "ConfigMap"), AGE)
PERSISTENT_VOLUME = (
    NAME,
    text("Capacity", "capacity", _CORE + "PersistentVolumeSpec"),
    text("Access Modes", "accessModes", _CORE + "PersistentVolumeSpec"),
    text("Reclaim Policy", "persistentVolumeReclaimPolicy", _CORE + "PersistentVolumeSpec"),
    text("Status", "phase", _CORE + "PersistentVolumeStatus"),
    text("Claim", "claimRef", _CORE + "PersistentVolumeSpec"),
    text("StorageClass", "StorageClass of the pv"),
    text("VolumeAttributesClass", "VolumeAttributesClass of the pv"),
    text("Reason", "reason", _CORE + "PersistentVolumeStatus"),
    AGE,
    text("VolumeMode", "volumeMode", _CORE + "PersistentVolumeSpec", wide=True),
)
PERSISTENT_VOLUME_CLAIM = (
    NAME,
    text("Status", "phase", _CORE + "PersistentVolumeClaimStatus"),
    text("Volume", "volumeName", _CORE + "PersistentVolumeClaimSpec"),
    text("Capacity", "capacity", _CORE + "PersistentVolumeClaimStatus"),
    text("Access Modes", "accessModes", _CORE + "PersistentVolumeClaimStatus"),
    text("StorageClass", "StorageClass of the pvc"),
    text("VolumeAttributesClass", "VolumeAttributesClass of the pvc"),
    AGE,
    text("VolumeMode", "volumeMode", _CORE + "PersistentVolumeClaimSpec", wide=True),
)
COMPONENT_STATUS = (
    NAME,
    text("Status", "Status of the component conditions"),
    text("Message", "Message of the component conditions"),
    text("Error", "Error of the component conditions"),
)
HORIZONTAL_POD_AUTOSCALER = (
    NAME,
    text("Reference", "scaleTargetRef", _HPA + "Spec"),
    text("Targets", "metrics", _HPA + "Spec"),
    text("MinPods", "minReplicas", _HPA + "Spec"),
    text("MaxPods", "maxReplicas", _HPA + "Spec"),
    text("Replicas", "currentReplicas", _HPA + "Status"),
    AGE,
)
NETWORK_POLICY = (NAME, text("Pod-Selector", "podSelector", "api.networking.v1.NetworkPolicySpec"), AGE)


def _bindings(kind: str) -> tuple[Column, ...]:
    where = kind[:1].lower() + kind[1:]
    return (
        NAME,
        text("Role", "roleRef", f"api.rbac.v1.{kind}"),
        AGE,
        text("Users", f"Users in the {where}", wide=True),
        text("Groups", f"Groups in the {where}", wide=True),
        text("ServiceAccounts", f"ServiceAccounts in the {where}", wide=True),
    )


ROLE_BINDING = _bindings("RoleBinding")
CLUSTER_ROLE_BINDING = _bindings("ClusterRoleBinding")
_CSR = "api.certificates.v1.CertificateSigningRequest"
CERTIFICATE_SIGNING_REQUEST = (
    NAME,
    AGE,
    text("SignerName", "signerName", _CSR + "Spec"),
    text("Requestor", "request", _CSR + "Spec"),
    text("RequestedDuration", "expirationSeconds", _CSR + "Spec"),
    text("Condition", "conditions", _CSR + "Status"),
)
LEASE = (NAME, text("Holder", "holderIdentity", "api.coordination.v1.LeaseSpec"), AGE)
STORAGE_CLASS = (
    NAME,
    text("Provisioner", "provisioner", _STORAGE + "StorageClass"),
    text("ReclaimPolicy", "reclaimPolicy", _STORAGE + "StorageClass"),
    text("VolumeBindingMode", "volumeBindingMode", _STORAGE + "StorageClass"),
    text("AllowVolumeExpansion", "allowVolumeExpansion", _STORAGE + "StorageClass"),
    AGE,
)
VOLUME_ATTRIBUTES_CLASS = (NAME, text("DriverName", "driverName", _STORAGE + "VolumeAttributesClass"), AGE)
CONTROLLER_REVISION = (
    NAME,
    text("Controller", "Controller of the object"),
    text("Revision", "revision", _APPS + "ControllerRevision"),
    AGE,
)
RESOURCE_QUOTA = (
    NAME,
    text("Request", "Request represents a minimum amount of cpu/memory that a container may consume."),
    text(
        "Limit",
        "Limits control the maximum amount of cpu/memory that a container may use independent of contention "
        "on the node.",
    ),
    AGE,
)
_PRIORITY = "api.scheduling.v1.PriorityClass"
PRIORITY_CLASS = (
    NAME,
    number("Value", "value", _PRIORITY),
    flag("Global-Default", "globalDefault", _PRIORITY),
    AGE,
    text("PreemptionPolicy", "preemptionPolicy", _PRIORITY),
)
RUNTIME_CLASS = (NAME, text("Handler"), AGE)
VOLUME_ATTACHMENT = (
    NAME,
    Column("Attacher", "attacher", format="name", of=_STORAGE + "VolumeAttachmentSpec"),
    text("PV", "persistentVolumeName", _STORAGE + "VolumeAttachmentSource"),
    text("Node", "nodeName", _STORAGE + "VolumeAttachmentSpec"),
    flag("Attached", "attached", _STORAGE + "VolumeAttachmentStatus"),
    AGE,
)
CSI_NODE = (NAME, number("Drivers", "Drivers indicates the number of CSI drivers registered on the node"), AGE)
_DRIVER = _STORAGE + "CSIDriverSpec"
CSI_DRIVER = (
    NAME,
    flag("AttachRequired", "attachRequired", _DRIVER),
    flag("PodInfoOnMount", "podInfoOnMount", _DRIVER),
    flag("StorageCapacity", "storageCapacity", _DRIVER),
    text("TokenRequests", "tokenRequests", _DRIVER),
    flag("RequiresRepublish", "requiresRepublish", _DRIVER),
    text("Modes", "volumeLifecycleModes", _DRIVER),
    AGE,
)
CSI_STORAGE_CAPACITY = (
    NAME,
    text("StorageClassName", "storageClassName", _STORAGE + "CSIStorageCapacity"),
    text("Capacity", "capacity", _STORAGE + "CSIStorageCapacity"),
)
WEBHOOK_CONFIGURATION = (
    NAME,
    number("Webhooks", "Webhooks indicates the number of webhooks registered in this configuration"),
    AGE,
)
_PARAM_KIND = text("ParamKind", "ParamKind specifies the kind of resources used to parameterize this policy")
VALIDATING_POLICY = (
    NAME,
    number("Validations", "Validations indicates the number of validation rules defined in this configuration"),
    _PARAM_KIND,
    AGE,
)
MUTATING_POLICY = (
    NAME,
    number("Mutations", "Mutation indicates the number of mutations rules defined in this configuration"),
    _PARAM_KIND,
    AGE,
)
POLICY_BINDING = (
    NAME,
    text("PolicyName", "PolicyName indicates the policy definition which the policy binding binded to"),
    text("ParamRef", "ParamRef indicates the param resource which sets the configration param"),
    AGE,
)
FLOW_SCHEMA = (
    NAME,
    text("PriorityLevel", "name", _FLOW + "PriorityLevelConfigurationReference"),
    text("MatchingPrecedence", "matchingPrecedence", _FLOW + "FlowSchemaSpec"),
    text("DistinguisherMethod", "distinguisherMethod", _FLOW + "FlowSchemaSpec"),
    AGE,
    text("MissingPL", "references a broken or non-existent PriorityLevelConfiguration"),
)
PRIORITY_LEVEL = (
    NAME,
    text("Type", "type", _FLOW + "PriorityLevelConfigurationSpec"),
    text("NominalConcurrencyShares", "nominalConcurrencyShares", _FLOW + "LimitedPriorityLevelConfiguration"),
    text("Queues", "queues", _FLOW + "QueuingConfiguration"),
    text("HandSize", "handSize", _FLOW + "QueuingConfiguration"),
    text("QueueLengthLimit", "queueLengthLimit", _FLOW + "QueuingConfiguration"),
    AGE,
)
RESOURCE_CLAIM = (
    NAME,
    text("State", "A summary of the current state (allocated, pending, reserved, etc.)."),
    AGE,
)
RESOURCE_SLICE = (
    NAME,
    text("Node", "nodeName", "api.resource.v1.ResourceSliceSpec"),
    text("Driver", "driver", "api.resource.v1.ResourceSliceSpec"),
    text("Pool", "name", "api.resource.v1.ResourcePool"),
    AGE,
)
SERVICE_CIDR = (NAME, text("CIDRs", "cidrs", "api.networking.v1.ServiceCIDRSpec"), AGE)
IP_ADDRESS = (NAME, text("ParentRef", "parentRef", "api.networking.v1.IPAddressSpec"))
API_SERVICE = (
    NAME,
    text("Service", "The reference to the service that hosts this API endpoint."),
    text("Available", "Whether this service is available."),
    AGE,
)
SCALE = (
    text("Name", "name", _META),
    number("Desired", "replicas", "api.autoscaling.v1.ScaleSpec"),
    number("Available", "replicas", "api.autoscaling.v1.ScaleStatus"),
    AGE,
)
