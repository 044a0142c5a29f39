"""The built-in resources of Kubernetes 1.37: every stable kind, its names, scope, verbs and subresources.

One table, read by the API server's registry, discovery, OpenAPI, the clients and the controllers.
Source: the API reference of Kubernetes 1.37; stable (GA) versions only, as upstream serves by default.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

CRUD = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
STATUS_VERBS = ("get", "patch", "update")


@dataclass(frozen=True, slots=True)
class Subresource:
    """A subresource such as ``status`` or ``scale``, with the kind that travels there."""

    name: str
    verbs: tuple[str, ...]
    kind: str
    group: str = ""
    """Group of the kind that travels, as discovery prints it; empty for the parent's own."""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Resource:
    """One served resource: a plural name in a group and version."""

    group: str
    version: str
    plural: str
    kind: str
    singular: str
    namespaced: bool
    verbs: tuple[str, ...] = CRUD
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[Subresource, ...] = ()
    storage_plural: str = ""
    """The stored resource's plural where two groups serve one stored kind (events)."""
    storage_group: str | None = None
    deprecation: str = ""
    """What every answer about it warns of."""
    # Made once: resources are keys of many tables on the way of every request.
    api_version: str = field(init=False, compare=False, repr=False)
    """``v1`` or ``apps/v1``: what an object's apiVersion field says."""
    storage_id: str = field(init=False, compare=False, repr=False)
    """The identity of what is stored: two versions or groups of one stored kind share it."""
    _hash: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        group = self.group if self.storage_group is None else self.storage_group
        for name, value in (
            ("api_version", f"{self.group}/{self.version}" if self.group else self.version),
            ("storage_id", f"{group or 'core'}/{self.storage_plural or self.plural}"),
            ("_hash", hash((self.group, self.version, self.plural))),
        ):
            object.__setattr__(self, name, value)

    def __hash__(self) -> int:
        return self._hash

    @property
    def list_kind(self) -> str:
        return self.kind + "List"

    @property
    def group_resource(self) -> str:
        """``pods`` or ``deployments.apps``: how error messages name the resource."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def has_status(self) -> bool:
        return any(s.name == "status" for s in self.subresources)

    def subresource(self, name: str) -> Subresource | None:
        return next((s for s in self.subresources if s.name == name), None)

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path below the server's root, without a query."""
        parts = ["/apis", self.group, self.version] if self.group else ["/api", self.version]
        if namespace and self.namespaced:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name:
            parts.append(name)
        if subresource:
            parts.append(subresource)
        return "/".join(parts)


def _status(kind: str) -> Subresource:
    return Subresource("status", STATUS_VERBS, kind)


_SCALE = Subresource("scale", STATUS_VERBS, "Scale", "autoscaling", "v1")
_CONNECT = ("create", "get")
_PROXY = ("create", "delete", "get", "head", "options", "patch", "update")
_REVIEW = ("create",)


def _resource(
    group: str,
    plural: str,
    kind: str,
    *,
    namespaced: bool = True,
    version: str = "v1",
    short: tuple[str, ...] = (),
    all_: bool = False,
    status: bool = False,
    scale: bool = False,
    verbs: tuple[str, ...] = CRUD,
    sub: tuple[Subresource, ...] = (),
    categories: tuple[str, ...] = (),
    storage_plural: str = "",
    storage_group: str | None = None,
    deprecation: str = "",
) -> Resource:
    subresources = list(sub)
    if scale:
        subresources.append(_SCALE)
    if status:
        subresources.append(_status(kind))
    return Resource(
        group,
        version,
        plural,
        kind,
        kind.lower(),
        namespaced,
        verbs,
        short,
        (*(("all",) if all_ else ()), *categories),
        tuple(sorted(subresources, key=lambda s: s.name)),
        storage_plural,
        storage_group,
        deprecation,
    )


_WITHOUT_COLLECTION = tuple(v for v in CRUD if v != "deletecollection")

BINDINGS = _resource("", "bindings", "Binding", verbs=_REVIEW)
COMPONENTSTATUSES = _resource(
    "",
    "componentstatuses",
    "ComponentStatus",
    namespaced=False,
    short=("cs",),
    verbs=("get", "list"),
    deprecation="v1 ComponentStatus is deprecated in v1.19+",
)
CONFIGMAPS = _resource("", "configmaps", "ConfigMap", short=("cm",))
ENDPOINTS = _resource(
    "",
    "endpoints",
    "Endpoints",
    short=("ep",),
    deprecation="v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
)
EVENTS = _resource("", "events", "Event", short=("ev",))
LIMITRANGES = _resource("", "limitranges", "LimitRange", short=("limits",))
NAMESPACES = _resource(
    "",
    "namespaces",
    "Namespace",
    namespaced=False,
    short=("ns",),
    status=True,
    verbs=_WITHOUT_COLLECTION,
    sub=(Subresource("finalize", ("update",), "Namespace"),),
)
NODES = _resource(
    "",
    "nodes",
    "Node",
    namespaced=False,
    short=("no",),
    status=True,
    sub=(Subresource("proxy", _PROXY, "NodeProxyOptions"),),
)
PERSISTENTVOLUMECLAIMS = _resource("", "persistentvolumeclaims", "PersistentVolumeClaim", short=("pvc",), status=True)
PERSISTENTVOLUMES = _resource("", "persistentvolumes", "PersistentVolume", namespaced=False, short=("pv",), status=True)
PODS = _resource(
    "",
    "pods",
    "Pod",
    short=("po",),
    all_=True,
    status=True,
    sub=(
        Subresource("attach", _CONNECT, "PodAttachOptions"),
        Subresource("binding", _REVIEW, "Binding"),
        Subresource("ephemeralcontainers", STATUS_VERBS, "Pod"),
        Subresource("eviction", _REVIEW, "Eviction", "policy", "v1"),
        Subresource("exec", _CONNECT, "PodExecOptions"),
        Subresource("log", ("get",), "Pod"),
        Subresource("portforward", _CONNECT, "PodPortForwardOptions"),
        Subresource("proxy", _PROXY, "PodProxyOptions"),
        Subresource("resize", STATUS_VERBS, "Pod"),
    ),
)
PODTEMPLATES = _resource("", "podtemplates", "PodTemplate")
REPLICATIONCONTROLLERS = _resource(
    "", "replicationcontrollers", "ReplicationController", short=("rc",), all_=True, status=True, scale=True
)
RESOURCEQUOTAS = _resource("", "resourcequotas", "ResourceQuota", short=("quota",), status=True)
SECRETS = _resource("", "secrets", "Secret")
SERVICEACCOUNTS = _resource(
    "",
    "serviceaccounts",
    "ServiceAccount",
    short=("sa",),
    sub=(Subresource("token", _REVIEW, "TokenRequest", "authentication.k8s.io", "v1"),),
)
SERVICES = _resource(
    "",
    "services",
    "Service",
    short=("svc",),
    all_=True,
    status=True,
    sub=(Subresource("proxy", _PROXY, "ServiceProxyOptions"),),
)

_ADM = "admissionregistration.k8s.io"
MUTATINGADMISSIONPOLICIES = _resource(
    _ADM, "mutatingadmissionpolicies", "MutatingAdmissionPolicy", namespaced=False, categories=("api-extensions",)
)
MUTATINGADMISSIONPOLICYBINDINGS = _resource(
    _ADM,
    "mutatingadmissionpolicybindings",
    "MutatingAdmissionPolicyBinding",
    namespaced=False,
    categories=("api-extensions",),
)
MUTATINGWEBHOOKCONFIGURATIONS = _resource(
    _ADM,
    "mutatingwebhookconfigurations",
    "MutatingWebhookConfiguration",
    namespaced=False,
    categories=("api-extensions",),
)
VALIDATINGADMISSIONPOLICIES = _resource(
    _ADM,
    "validatingadmissionpolicies",
    "ValidatingAdmissionPolicy",
    namespaced=False,
    status=True,
    categories=("api-extensions",),
)
VALIDATINGADMISSIONPOLICYBINDINGS = _resource(
    _ADM,
    "validatingadmissionpolicybindings",
    "ValidatingAdmissionPolicyBinding",
    namespaced=False,
    categories=("api-extensions",),
)
VALIDATINGWEBHOOKCONFIGURATIONS = _resource(
    _ADM,
    "validatingwebhookconfigurations",
    "ValidatingWebhookConfiguration",
    namespaced=False,
    categories=("api-extensions",),
)

CUSTOMRESOURCEDEFINITIONS = _resource(
    "apiextensions.k8s.io",
    "customresourcedefinitions",
    "CustomResourceDefinition",
    namespaced=False,
    short=("crd", "crds"),
    status=True,
    categories=("api-extensions",),
)
APISERVICES = _resource(
    "apiregistration.k8s.io",
    "apiservices",
    "APIService",
    namespaced=False,
    status=True,
    categories=("api-extensions",),
)

CONTROLLERREVISIONS = _resource("apps", "controllerrevisions", "ControllerRevision")
DAEMONSETS = _resource("apps", "daemonsets", "DaemonSet", short=("ds",), all_=True, status=True)
DEPLOYMENTS = _resource("apps", "deployments", "Deployment", short=("deploy",), all_=True, status=True, scale=True)
REPLICASETS = _resource("apps", "replicasets", "ReplicaSet", short=("rs",), all_=True, status=True, scale=True)
STATEFULSETS = _resource("apps", "statefulsets", "StatefulSet", short=("sts",), all_=True, status=True, scale=True)

SELFSUBJECTREVIEWS = _resource(
    "authentication.k8s.io", "selfsubjectreviews", "SelfSubjectReview", namespaced=False, verbs=_REVIEW
)
TOKENREVIEWS = _resource("authentication.k8s.io", "tokenreviews", "TokenReview", namespaced=False, verbs=_REVIEW)
LOCALSUBJECTACCESSREVIEWS = _resource(
    "authorization.k8s.io", "localsubjectaccessreviews", "LocalSubjectAccessReview", verbs=_REVIEW
)
SELFSUBJECTACCESSREVIEWS = _resource(
    "authorization.k8s.io", "selfsubjectaccessreviews", "SelfSubjectAccessReview", namespaced=False, verbs=_REVIEW
)
SELFSUBJECTRULESREVIEWS = _resource(
    "authorization.k8s.io", "selfsubjectrulesreviews", "SelfSubjectRulesReview", namespaced=False, verbs=_REVIEW
)
SUBJECTACCESSREVIEWS = _resource(
    "authorization.k8s.io", "subjectaccessreviews", "SubjectAccessReview", namespaced=False, verbs=_REVIEW
)

HORIZONTALPODAUTOSCALERS = _resource(
    "autoscaling",
    "horizontalpodautoscalers",
    "HorizontalPodAutoscaler",
    version="v2",
    short=("hpa",),
    all_=True,
    status=True,
)
HORIZONTALPODAUTOSCALERS_V1 = _resource(
    "autoscaling", "horizontalpodautoscalers", "HorizontalPodAutoscaler", short=("hpa",), all_=True, status=True
)

CRONJOBS = _resource("batch", "cronjobs", "CronJob", short=("cj",), all_=True, status=True)
JOBS = _resource("batch", "jobs", "Job", all_=True, status=True)

CERTIFICATESIGNINGREQUESTS = _resource(
    "certificates.k8s.io",
    "certificatesigningrequests",
    "CertificateSigningRequest",
    namespaced=False,
    short=("csr",),
    status=True,
    sub=(Subresource("approval", STATUS_VERBS, "CertificateSigningRequest"),),
)
LEASES = _resource("coordination.k8s.io", "leases", "Lease")
ENDPOINTSLICES = _resource("discovery.k8s.io", "endpointslices", "EndpointSlice")
EVENTS_V1 = _resource("events.k8s.io", "events", "Event", short=("ev",), storage_plural="events", storage_group="")

FLOWSCHEMAS = _resource("flowcontrol.apiserver.k8s.io", "flowschemas", "FlowSchema", namespaced=False, status=True)
PRIORITYLEVELCONFIGURATIONS = _resource(
    "flowcontrol.apiserver.k8s.io",
    "prioritylevelconfigurations",
    "PriorityLevelConfiguration",
    namespaced=False,
    status=True,
)

INGRESSCLASSES = _resource("networking.k8s.io", "ingressclasses", "IngressClass", namespaced=False)
INGRESSES = _resource("networking.k8s.io", "ingresses", "Ingress", short=("ing",), status=True)
IPADDRESSES = _resource("networking.k8s.io", "ipaddresses", "IPAddress", namespaced=False, short=("ip",))
NETWORKPOLICIES = _resource("networking.k8s.io", "networkpolicies", "NetworkPolicy", short=("netpol",))
SERVICECIDRS = _resource("networking.k8s.io", "servicecidrs", "ServiceCIDR", namespaced=False, status=True)

RUNTIMECLASSES = _resource("node.k8s.io", "runtimeclasses", "RuntimeClass", namespaced=False)
PODDISRUPTIONBUDGETS = _resource("policy", "poddisruptionbudgets", "PodDisruptionBudget", short=("pdb",), status=True)

CLUSTERROLEBINDINGS = _resource(
    "rbac.authorization.k8s.io", "clusterrolebindings", "ClusterRoleBinding", namespaced=False
)
CLUSTERROLES = _resource("rbac.authorization.k8s.io", "clusterroles", "ClusterRole", namespaced=False)
ROLEBINDINGS = _resource("rbac.authorization.k8s.io", "rolebindings", "RoleBinding")
ROLES = _resource("rbac.authorization.k8s.io", "roles", "Role")

DEVICECLASSES = _resource("resource.k8s.io", "deviceclasses", "DeviceClass", namespaced=False)
RESOURCECLAIMS = _resource("resource.k8s.io", "resourceclaims", "ResourceClaim", status=True)
RESOURCECLAIMTEMPLATES = _resource("resource.k8s.io", "resourceclaimtemplates", "ResourceClaimTemplate")
RESOURCESLICES = _resource("resource.k8s.io", "resourceslices", "ResourceSlice", namespaced=False)

PRIORITYCLASSES = _resource("scheduling.k8s.io", "priorityclasses", "PriorityClass", namespaced=False, short=("pc",))

CSIDRIVERS = _resource("storage.k8s.io", "csidrivers", "CSIDriver", namespaced=False)
CSINODES = _resource("storage.k8s.io", "csinodes", "CSINode", namespaced=False)
CSISTORAGECAPACITIES = _resource("storage.k8s.io", "csistoragecapacities", "CSIStorageCapacity")
STORAGECLASSES = _resource("storage.k8s.io", "storageclasses", "StorageClass", namespaced=False, short=("sc",))
VOLUMEATTACHMENTS = _resource("storage.k8s.io", "volumeattachments", "VolumeAttachment", namespaced=False, status=True)
VOLUMEATTRIBUTESCLASSES = _resource(
    "storage.k8s.io", "volumeattributesclasses", "VolumeAttributesClass", namespaced=False, short=("vac",)
)

BUILTIN: tuple[Resource, ...] = tuple(v for v in list(globals().values()) if isinstance(v, Resource))
"""Every built-in resource, core first, then by group in the order above."""

_BY_PATH = {(r.group, r.version, r.plural): r for r in BUILTIN}
_BY_KIND = {(r.group, r.version, r.kind): r for r in BUILTIN}


def by_plural(group: str, version: str, plural: str) -> Resource | None:
    return _BY_PATH.get((group, version, plural))


def by_kind(api_version: str, kind: str) -> Resource | None:
    """The resource that an object's apiVersion and kind name, or None."""
    group, sep, version = api_version.rpartition("/")
    return _BY_KIND.get((group if sep else "", version, kind))


def group_versions() -> Iterator[tuple[str, str]]:
    """Every served (group, version) once, in table order; within a group the preferred version first."""
    return iter(dict.fromkeys((r.group, r.version) for r in BUILTIN))
