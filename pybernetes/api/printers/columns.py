"""The columns of every kind's table, as data: headings, types and which are shown only in wide output.

Source of headings, types and order: ``pkg/printers/internalversion/printers.go``.
"""

from __future__ import annotations

from dataclasses import dataclass

from pybernetes.api.meta import Object

WIDE = 1


@dataclass(frozen=True, slots=True)
class Column:
    """One column. A priority above 0 is shown by ``kubectl get -o wide`` only."""

    name: str
    description: str
    type: str = "string"
    format: str = ""
    priority: int = 0

    def definition(self) -> Object:
        """The meta.k8s.io/v1 TableColumnDefinition."""
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description,
            "priority": self.priority,
        }


def text(name: str, description: str = "", *, wide: bool = False) -> Column:
    return Column(name, description or f"{name} of the object.", priority=WIDE if wide else 0)


def number(name: str, description: str = "", *, wide: bool = False) -> Column:
    return Column(name, description or f"{name} of the object.", "integer", priority=WIDE if wide else 0)


def flag(name: str, description: str = "") -> Column:
    return Column(name, description or f"{name} of the object.", "boolean")


NAME = Column("Name", "The object's name, unique within its namespace.", format="name")
AGE = text("Age", "Time since the object's creation.")
CREATED_AT = Column("Created At", "The time of the object's creation, in UTC.", "date")
_CONTAINERS = text("Containers", "Names of the template's containers.", wide=True)
_IMAGES = text("Images", "Images of the template's containers.", wide=True)
_SELECTOR = text("Selector", "Labels of the pods that belong to the object.", wide=True)
_TEMPLATE = (_CONTAINERS, _IMAGES, _SELECTOR)

DEFAULT = (NAME, CREATED_AT)
NAME_AND_AGE = (NAME, AGE)

POD = (
    NAME,
    text("Ready", "Ready containers out of all."),
    text("Status", "What the pod's containers are doing, in one word."),
    text("Restarts", "How often containers of the pod were restarted."),
    AGE,
    text("IP", "The pod's IP address.", wide=True),
    text("Node", "The node that the pod is bound to.", wide=True),
    text("Nominated Node", "The node that preemption makes room on.", wide=True),
    text("Readiness Gates", "Passed readiness gates out of all.", wide=True),
)
POD_TEMPLATE = (NAME, text("Containers"), text("Images"), text("Pod Labels"))
POD_DISRUPTION_BUDGET = (
    NAME,
    text("Min Available", "Pods that must stay available."),
    text("Max Unavailable", "Pods that may be unavailable."),
    number("Allowed Disruptions", "Pods that may be evicted right now."),
    AGE,
)
REPLICAS = (
    NAME,
    number("Desired", "Pods asked for."),
    number("Current", "Pods that exist."),
    number("Ready", "Pods that are ready."),
    AGE,
    *_TEMPLATE,
)
DAEMON_SET = (
    NAME,
    number("Desired", "Nodes that should run the pod."),
    number("Current", "Nodes that run the pod and should."),
    number("Ready", "Nodes whose pod is ready."),
    number("Up-to-date", "Nodes whose pod has the current template."),
    number("Available", "Nodes whose pod is available."),
    text("Node Selector", "Labels of the nodes that qualify."),
    AGE,
    *_TEMPLATE,
)
JOB = (
    NAME,
    text("Status", "What has become of the job."),
    text("Completions", "Pods that succeeded, out of those wanted."),
    text("Duration", "Time that the job took, or has taken so far."),
    AGE,
    *_TEMPLATE,
)
CRON_JOB = (
    NAME,
    text("Schedule", "When jobs are made, in Cron format."),
    text("Timezone", "The time zone of the schedule."),
    flag("Suspend", "Whether no further jobs are made."),
    number("Active", "Jobs that run now."),
    text("Last Schedule", "Time since a job was last made."),
    AGE,
    *_TEMPLATE,
)
SERVICE = (
    NAME,
    text("Type", "How the service can be reached."),
    text("Cluster-IP", "The service's virtual address."),
    text("External-IP", "Addresses from outside the cluster."),
    text("Port(s)", "Ports, with node ports and protocols."),
    AGE,
    _SELECTOR,
)
INGRESS = (
    NAME,
    text("Class", "The ingress class."),
    text("Hosts", "Hosts that the rules name."),
    text("Address", "Where the load balancer is."),
    text("Ports", "Ports that the ingress opens."),
    AGE,
)
INGRESS_CLASS = (NAME, text("Controller"), text("Parameters"), AGE)
STATEFUL_SET = (NAME, text("Ready", "Ready pods out of those wanted."), AGE, _CONTAINERS, _IMAGES)
DEPLOYMENT = (
    NAME,
    text("Ready", "Ready pods out of those wanted."),
    number("Up-to-date", "Pods of the current template."),
    number("Available", "Pods that are available."),
    AGE,
    *_TEMPLATE,
)
ENDPOINTS = (NAME, text("Endpoints", "Addresses and ports."), AGE)
ENDPOINT_SLICE = (NAME, text("AddressType"), text("Ports"), text("Endpoints"), AGE)
NODE = (
    NAME,
    text("Status", "Whether the node is ready and takes pods."),
    text("Roles", "Roles by the node's labels."),
    AGE,
    text("Version", "The kubelet's version."),
    text("Internal-IP", wide=True),
    text("External-IP", wide=True),
    text("OS-Image", wide=True),
    text("Kernel-Version", wide=True),
    text("Container-Runtime", wide=True),
)
EVENT = (
    text("Last Seen", "Time since the event last happened."),
    text("Type", "Normal or Warning."),
    text("Reason", "Why it happened, in one word."),
    text("Object", "What it happened to."),
    text("Subobject", wide=True),
    text("Source", wide=True),
    text("Message", "What happened."),
    text("First Seen", wide=True),
    text("Count", wide=True),
    Column("Name", NAME.description, format="name", priority=WIDE),
)
NAMESPACE = (NAME, text("Status"), AGE)
SECRET = (NAME, text("Type"), number("Data", "How many keys it holds."), AGE)
SERVICE_ACCOUNT = (NAME, number("Secrets"), AGE)
CONFIG_MAP = (NAME, number("Data", "How many keys it holds."), AGE)
PERSISTENT_VOLUME = (
    NAME,
    text("Capacity"),
    text("Access Modes"),
    text("Reclaim Policy"),
    text("Status"),
    text("Claim"),
    text("StorageClass"),
    text("VolumeAttributesClass"),
    text("Reason"),
    AGE,
    text("VolumeMode", wide=True),
)
PERSISTENT_VOLUME_CLAIM = (
    NAME,
    text("Status"),
    text("Volume"),
    text("Capacity"),
    text("Access Modes"),
    text("StorageClass"),
    text("VolumeAttributesClass"),
    AGE,
    text("VolumeMode", wide=True),
)
COMPONENT_STATUS = (NAME, text("Status"), text("Message"), text("Error"))
HORIZONTAL_POD_AUTOSCALER = (
    NAME,
    text("Reference", "What is scaled."),
    text("Targets", "Metrics: now and wanted."),
    text("MinPods"),
    number("MaxPods"),
    number("Replicas"),
    AGE,
)
NETWORK_POLICY = (NAME, text("Pod-Selector"), AGE)
ROLE_BINDING = (
    NAME,
    text("Role"),
    AGE,
    text("Users", wide=True),
    text("Groups", wide=True),
    text("ServiceAccounts", wide=True),
)
CERTIFICATE_SIGNING_REQUEST = (
    NAME,
    AGE,
    text("SignerName"),
    text("Requestor"),
    text("RequestedDuration"),
    text("Condition"),
)
LEASE = (NAME, text("Holder"), AGE)
STORAGE_CLASS = (
    NAME,
    text("Provisioner"),
    text("ReclaimPolicy"),
    text("VolumeBindingMode"),
    flag("AllowVolumeExpansion"),
    AGE,
)
VOLUME_ATTRIBUTES_CLASS = (NAME, text("DriverName"), AGE)
CONTROLLER_REVISION = (NAME, text("Controller"), number("Revision"), AGE)
RESOURCE_QUOTA = (NAME, text("Request", "Used and allowed requests."), text("Limit", "Used and allowed limits."), AGE)
PRIORITY_CLASS = (NAME, number("Value"), flag("Global-Default"), AGE, text("PreemptionPolicy"))
RUNTIME_CLASS = (NAME, text("Handler"), AGE)
VOLUME_ATTACHMENT = (NAME, text("Attacher"), text("PV"), text("Node"), flag("Attached"), AGE)
CSI_NODE = (NAME, number("Drivers"), AGE)
CSI_DRIVER = (
    NAME,
    flag("AttachRequired"),
    flag("PodInfoOnMount"),
    flag("StorageCapacity"),
    text("TokenRequests"),
    flag("RequiresRepublish"),
    text("Modes"),
    AGE,
)
CSI_STORAGE_CAPACITY = (NAME, text("StorageClassName"), text("Capacity"))
WEBHOOK_CONFIGURATION = (NAME, number("Webhooks"), AGE)
VALIDATING_POLICY = (NAME, number("Validations"), text("ParamKind"), AGE)
MUTATING_POLICY = (NAME, number("Mutations"), text("ParamKind"), AGE)
POLICY_BINDING = (NAME, text("PolicyName"), text("ParamRef"), AGE)
FLOW_SCHEMA = (
    NAME,
    text("PriorityLevel"),
    number("MatchingPrecedence"),
    text("DistinguisherMethod"),
    AGE,
    text("MissingPL"),
)
PRIORITY_LEVEL = (
    NAME,
    text("Type"),
    text("NominalConcurrencyShares"),
    text("Queues"),
    text("HandSize"),
    text("QueueLengthLimit"),
    AGE,
)
RESOURCE_CLAIM = (NAME, text("State"), AGE)
RESOURCE_SLICE = (NAME, text("Node"), text("Driver"), text("Pool"), AGE)
SERVICE_CIDR = (NAME, text("CIDRs"), AGE)
IP_ADDRESS = (NAME, text("ParentRef"), AGE)
API_SERVICE = (NAME, text("Service"), text("Available"), AGE)
SCALE = (NAME, number("Desired"), number("Available"), AGE)
