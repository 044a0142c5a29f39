"""The RBAC policy that every cluster starts with: upstream's default ClusterRoles, Roles and bindings, as data.

Pure; `pybernetes.apiserver.rbac_bootstrap` makes it true at start.

Source: https://kubernetes.io/docs/reference/access-authn-authz/rbac/#default-roles-and-role-bindings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pybernetes.api.meta import Object, clone
from pybernetes.api.user import AUTHENTICATED, SYSTEM_MASTERS, UNAUTHENTICATED
from pybernetes.apiserver.rbac import Rule

AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"
API_VERSION = "rbac.authorization.k8s.io/v1"
_GROUP = "rbac.authorization.k8s.io"
_LABELS = {"kubernetes.io/bootstrapping": "rbac-defaults"}

READ = ("get", "list", "watch")
WRITE = ("create", "delete", "deletecollection", "patch", "update")
READ_WRITE = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
READ_UPDATE = ("get", "list", "patch", "update", "watch")

CORE = ""
ADMISSION = "admissionregistration.k8s.io"
APPS = "apps"
AUTHENTICATION = "authentication.k8s.io"
AUTHORIZATION = "authorization.k8s.io"
AUTOSCALING = "autoscaling"
BATCH = "batch"
CERTIFICATES = "certificates.k8s.io"
COORDINATION = "coordination.k8s.io"
DISCOVERY = "discovery.k8s.io"
EVENTS = "events.k8s.io"
EXTENSIONS = "extensions"
NETWORKING = "networking.k8s.io"
NODE = "node.k8s.io"
POLICY = "policy"
RBAC = "rbac.authorization.k8s.io"
RESOURCE = "resource.k8s.io"
STORAGE = "storage.k8s.io"


def _rule(verbs: str | Iterable[str], groups: str | Iterable[str], resources: str, names: Sequence[str] = ()) -> Rule:
    """A rule for resources; `verbs` and `resources` are separated by spaces, a group may stand alone."""
    rule: Rule = {
        "apiGroups": sorted([groups] if isinstance(groups, str) else groups),
        "resources": sorted(resources.split()),
        "verbs": sorted(verbs.split() if isinstance(verbs, str) else verbs),
    }
    if names:
        rule["resourceNames"] = sorted(names)
    return rule


def _urls(verbs: str, *urls: str) -> Rule:
    return {"nonResourceURLs": sorted(urls), "verbs": verbs.split()}


_EVENTS = _rule("create patch update", (CORE, EVENTS), "events")

NODE_RULES: tuple[Rule, ...] = (
    _rule("create", AUTHENTICATION, "tokenreviews"),
    _rule("create", AUTHORIZATION, "localsubjectaccessreviews subjectaccessreviews"),
    _rule(READ, CORE, "services"),
    _rule("create get list watch", CORE, "nodes"),
    _rule("patch update", CORE, "nodes/status"),
    _rule("patch update", CORE, "nodes"),
    _rule("create patch update", CORE, "events"),
    _rule(READ, CORE, "pods"),
    _rule("create delete", CORE, "pods"),
    _rule("patch update", CORE, "pods/status"),
    _rule("create", CORE, "pods/eviction"),
    _rule(READ, CORE, "configmaps secrets"),
    _rule("get", CORE, "persistentvolumeclaims persistentvolumes"),
    _rule("get", CORE, "endpoints"),
    _rule("create get list watch", CERTIFICATES, "certificatesigningrequests"),
    _rule("create delete get patch update", COORDINATION, "leases"),
    _rule("get", STORAGE, "volumeattachments"),
    _rule("create", CORE, "serviceaccounts/token"),
    _rule("get patch update", CORE, "persistentvolumeclaims/status"),
    _rule(READ, STORAGE, "csidrivers"),
    _rule("create delete get patch update", STORAGE, "csinodes"),
    _rule(READ, NODE, "runtimeclasses"),
    _rule("get", RESOURCE, "resourceclaims"),
    _rule("create delete deletecollection get list patch update watch", RESOURCE, "resourceslices"),
)
"""What a kubelet may do at most; the node authorizer narrows it to what concerns its own node."""

_WORKLOADS_EXTENSIONS = (
    "daemonsets deployments deployments/rollback deployments/scale ingresses networkpolicies replicasets "
    "replicasets/scale replicationcontrollers/scale"
)

_CLUSTER_ROLES: dict[str, tuple[Rule, ...]] = {
    "cluster-admin": (_rule("*", "*", "*"), _urls("*", "*")),
    "system:discovery": (
        _urls(
            "get", "/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz",
            "/version", "/version/",
        ),
    ),
    "system:monitoring": (
        _urls(
            "get", "/healthz", "/healthz/*", "/livez", "/livez/*", "/metrics", "/metrics/slis", "/readyz", "/readyz/*"
        ),
    ),
    "system:public-info-viewer": (_urls("get", "/healthz", "/livez", "/readyz", "/version", "/version/"),),
    "system:basic-user": (
        _rule("create", AUTHORIZATION, "selfsubjectaccessreviews selfsubjectrulesreviews"),
        _rule("create", AUTHENTICATION, "selfsubjectreviews"),
    ),
    "system:service-account-issuer-discovery": (
        _urls(
            "get", "/.well-known/openid-configuration", "/.well-known/openid-configuration/", "/openid/v1/jwks",
            "/openid/v1/jwks/",
        ),
    ),
    "system:aggregate-to-admin": (
        _rule("create", AUTHORIZATION, "localsubjectaccessreviews"),
        _rule(READ_WRITE, RBAC, "rolebindings roles"),
    ),
    "system:aggregate-to-edit": (
        _rule(READ, CORE, "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy"),
        _rule("impersonate", CORE, "serviceaccounts"),
        _rule(WRITE, CORE, "pods pods/attach pods/exec pods/portforward pods/proxy"),
        _rule("create", CORE, "pods/eviction"),
        _rule(
            WRITE,
            CORE,
            "configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets "
            "serviceaccounts services services/proxy",
        ),
        _rule("create", CORE, "serviceaccounts/token"),
        _rule(
            WRITE,
            APPS,
            "daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale "
            "statefulsets statefulsets/scale",
        ),
        _rule(WRITE, AUTOSCALING, "horizontalpodautoscalers"),
        _rule(WRITE, BATCH, "cronjobs jobs"),
        _rule(WRITE, EXTENSIONS, _WORKLOADS_EXTENSIONS),
        _rule(WRITE, POLICY, "poddisruptionbudgets"),
        _rule(WRITE, NETWORKING, "ingresses networkpolicies"),
        _rule(READ_WRITE, COORDINATION, "leases"),
        _rule(WRITE, RESOURCE, "resourceclaims resourceclaimtemplates"),
    ),
    "system:aggregate-to-view": (
        _rule(
            READ,
            CORE,
            "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers "
            "replicationcontrollers/scale serviceaccounts services services/status",
        ),
        _rule(
            READ,
            CORE,
            "bindings events limitranges namespaces/status pods/log pods/status replicationcontrollers/status "
            "resourcequotas resourcequotas/status",
        ),
        _rule(READ, CORE, "namespaces"),
        _rule(READ, DISCOVERY, "endpointslices"),
        _rule(
            READ,
            APPS,
            "controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status "
            "replicasets replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status",
        ),
        _rule(READ, AUTOSCALING, "horizontalpodautoscalers horizontalpodautoscalers/status"),
        _rule(READ, BATCH, "cronjobs cronjobs/status jobs jobs/status"),
        _rule(
            READ,
            EXTENSIONS,
            "daemonsets daemonsets/status deployments deployments/scale deployments/status ingresses ingresses/status "
            "networkpolicies replicasets replicasets/scale replicasets/status replicationcontrollers/scale",
        ),
        _rule(READ, POLICY, "poddisruptionbudgets poddisruptionbudgets/status"),
        _rule(READ, NETWORKING, "ingresses ingresses/status networkpolicies"),
        _rule(READ, RESOURCE, "resourceclaims resourceclaims/status resourceclaimtemplates"),
    ),
    "system:heapster": (
        _rule(READ, CORE, "events namespaces nodes pods"),
        _rule(READ, EXTENSIONS, "deployments"),
    ),
    "system:node": NODE_RULES,
    "system:node-problem-detector": (
        _rule("get", CORE, "nodes"),
        _rule("patch", CORE, "nodes/status"),
        _EVENTS,
    ),
    "system:kubelet-api-admin": (
        _rule(READ, CORE, "nodes"),
        _rule("proxy", CORE, "nodes"),
        _rule(
            "*",
            CORE,
            "nodes/checkpoint nodes/configz nodes/healthz nodes/log nodes/metrics nodes/pods nodes/proxy nodes/stats",
        ),
    ),
    "system:node-bootstrapper": (_rule("create get list watch", CERTIFICATES, "certificatesigningrequests"),),
    "system:auth-delegator": (
        _rule("create", AUTHENTICATION, "tokenreviews"),
        _rule("create", AUTHORIZATION, "subjectaccessreviews"),
    ),
    "system:kube-aggregator": (_rule(READ, CORE, "endpoints services"),),
    "system:kube-controller-manager": (
        _EVENTS,
        _rule("create", COORDINATION, "leases"),
        _rule("get update", COORDINATION, "leases", ["kube-controller-manager"]),
        _rule("create", CORE, "secrets serviceaccounts"),
        _rule("delete", CORE, "secrets"),
        _rule("get", CORE, "configmaps namespaces secrets serviceaccounts"),
        _rule("update", CORE, "secrets serviceaccounts"),
        _rule("create", AUTHENTICATION, "tokenreviews"),
        _rule("create", AUTHORIZATION, "subjectaccessreviews"),
        _rule("list watch", "*", "*"),
        _rule("create", CORE, "serviceaccounts/token"),
    ),
    "system:kube-dns": (_rule("list watch", CORE, "endpoints services"),),
    "system:persistent-volume-provisioner": (
        _rule("create delete get list watch", CORE, "persistentvolumes"),
        _rule("get list update watch", CORE, "persistentvolumeclaims"),
        _rule(READ, STORAGE, "storageclasses"),
        _rule("watch", CORE, "events"),
        _EVENTS,
    ),
    "system:certificates.k8s.io:certificatesigningrequests:nodeclient": (
        _rule("create", CERTIFICATES, "certificatesigningrequests/nodeclient"),
    ),
    "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient": (
        _rule("create", CERTIFICATES, "certificatesigningrequests/selfnodeclient"),
    ),
    "system:volume-scheduler": (
        _rule(READ_UPDATE, CORE, "persistentvolumes"),
        _rule(READ, STORAGE, "storageclasses"),
        _rule(READ_UPDATE, CORE, "persistentvolumeclaims"),
    ),
    "system:certificates.k8s.io:legacy-unknown-approver": (
        _rule("approve", CERTIFICATES, "signers", ["kubernetes.io/legacy-unknown"]),
    ),
    "system:certificates.k8s.io:kubelet-serving-approver": (
        _rule("approve", CERTIFICATES, "signers", ["kubernetes.io/kubelet-serving"]),
    ),
    "system:certificates.k8s.io:kube-apiserver-client-approver": (
        _rule("approve", CERTIFICATES, "signers", ["kubernetes.io/kube-apiserver-client"]),
    ),
    "system:certificates.k8s.io:kube-apiserver-client-kubelet-approver": (
        _rule("approve", CERTIFICATES, "signers", ["kubernetes.io/kube-apiserver-client-kubelet"]),
    ),
    "system:node-proxier": (
        _rule("list watch", CORE, "endpoints services"),
        _rule(READ, CORE, "nodes"),
        _EVENTS,
        _rule("list watch", NETWORKING, "servicecidrs"),
        _rule("list watch", DISCOVERY, "endpointslices"),
    ),
    # Not upstream's: what a node's DNS server reads beyond the service proxy, whose identity it shares.
    "pybernetes:node-dns": (_rule("list watch", CORE, "namespaces"),),
    "system:kube-scheduler": (
        _EVENTS,
        _rule("create", COORDINATION, "leases"),
        _rule("get update", COORDINATION, "leases", ["kube-scheduler"]),
        _rule(READ, CORE, "nodes"),
        _rule("delete get list watch", CORE, "pods"),
        _rule("create", CORE, "bindings pods/binding"),
        _rule("patch update", CORE, "pods/status"),
        _rule(READ, CORE, "replicationcontrollers services"),
        _rule(READ, (APPS, EXTENSIONS), "replicasets"),
        _rule(READ, APPS, "statefulsets"),
        _rule(READ, POLICY, "poddisruptionbudgets"),
        _rule(READ, CORE, "persistentvolumeclaims persistentvolumes"),
        _rule("create", AUTHENTICATION, "tokenreviews"),
        _rule("create", AUTHORIZATION, "subjectaccessreviews"),
        _rule(READ, STORAGE, "csinodes"),
        _rule(READ, CORE, "namespaces"),
        _rule(READ, STORAGE, "csidrivers"),
        _rule(READ, STORAGE, "csistoragecapacities"),
        _rule(READ, STORAGE, "volumeattachments"),
        _rule(READ, RESOURCE, "deviceclasses resourceclaims resourceslices"),
        _rule(READ_UPDATE, RESOURCE, "resourceclaims/status"),
        _rule(READ_UPDATE, CORE, "pods/finalizers"),
    ),
}  # fmt: skip
"""Rules of the ClusterRoles that hold their own; aggregated ones are in `_AGGREGATED`."""

_AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"
_AGGREGATED = {"admin": "admin", "edit": "edit", "view": "view"}
_ROLE_LABELS = {
    "edit": "admin",
    "view": "edit",
    "system:aggregate-to-admin": "admin",
    "system:aggregate-to-edit": "edit",
    "system:aggregate-to-view": "view",
}
"""ClusterRoles that are part of an aggregated one."""

_CONTROLLER_PREFIX = "system:controller:"
_CONTROLLERS: dict[str, tuple[Rule, ...]] = {
    "attachdetach-controller": (
        _rule("list watch", CORE, "persistentvolumeclaims persistentvolumes"),
        _rule(READ, CORE, "nodes"),
        _rule("patch update", CORE, "nodes/status"),
        _rule("list watch", CORE, "pods"),
        _EVENTS,
        _rule("create delete get list watch", STORAGE, "volumeattachments"),
        _rule(READ, STORAGE, "csidrivers"),
        _rule(READ, STORAGE, "csinodes"),
    ),
    "clusterrole-aggregation-controller": (_rule("escalate get list patch update watch", RBAC, "clusterroles"),),
    "cronjob-controller": (
        _rule("get list update watch", BATCH, "cronjobs"),
        _rule("create delete get list patch update watch", BATCH, "jobs"),
        _rule("update", BATCH, "cronjobs/status"),
        _rule("update", BATCH, "cronjobs/finalizers"),
        _rule("delete list watch", CORE, "pods"),
        _EVENTS,
    ),
    "daemon-set-controller": (
        _rule(READ, (EXTENSIONS, APPS), "daemonsets"),
        _rule("update", (EXTENSIONS, APPS), "daemonsets/status"),
        _rule("update", (EXTENSIONS, APPS), "daemonsets/finalizers"),
        _rule("list watch", CORE, "nodes"),
        _rule("create delete list patch watch", CORE, "pods"),
        _rule("create", CORE, "pods/binding"),
        _rule("create delete get list patch update watch", APPS, "controllerrevisions"),
        _EVENTS,
    ),
    "deployment-controller": (
        _rule("get list update watch", (EXTENSIONS, APPS), "deployments"),
        _rule("update", (EXTENSIONS, APPS), "deployments/status"),
        _rule("update", (EXTENSIONS, APPS), "deployments/finalizers"),
        _rule("create delete get list patch update watch", (APPS, EXTENSIONS), "replicasets"),
        _rule("get list update watch", CORE, "pods"),
        _EVENTS,
    ),
    "disruption-controller": (
        _rule(READ, (EXTENSIONS, APPS), "deployments"),
        _rule(READ, (EXTENSIONS, APPS), "replicasets"),
        _rule(READ, CORE, "replicationcontrollers"),
        _rule(READ, POLICY, "poddisruptionbudgets"),
        _rule(READ, APPS, "statefulsets"),
        _rule("update", POLICY, "poddisruptionbudgets/status"),
        _rule("patch update", CORE, "pods/status"),
        _rule("get", "*", "*/scale"),
        _EVENTS,
    ),
    "endpoint-controller": (
        _rule(READ, CORE, "pods services"),
        _rule("create delete get list update watch", CORE, "endpoints"),
        _rule("create", CORE, "endpoints/restricted"),
        _EVENTS,
    ),
    "endpointslice-controller": (
        _rule(READ, CORE, "nodes pods services"),
        _rule("update", CORE, "services/finalizers"),
        _rule("create delete get list update watch", DISCOVERY, "endpointslices"),
        _EVENTS,
    ),
    "endpointslicemirroring-controller": (
        _rule(READ, CORE, "endpoints services"),
        _rule("update", CORE, "services/finalizers"),
        _rule("update", CORE, "endpoints/finalizers"),
        _rule("create delete get list update watch", DISCOVERY, "endpointslices"),
        _EVENTS,
    ),
    "expand-controller": (
        _rule("get list patch update watch", CORE, "persistentvolumes"),
        _rule("patch update", CORE, "persistentvolumeclaims/status"),
        _rule(READ, CORE, "persistentvolumeclaims"),
        _EVENTS,
        _rule("get", CORE, "services"),
    ),
    "ephemeral-volume-controller": (
        _rule(READ, CORE, "pods"),
        _rule("update", CORE, "pods/finalizers"),
        _rule("create get list watch", CORE, "persistentvolumeclaims"),
        _EVENTS,
    ),
    "resource-claim-controller": (
        _rule(READ, CORE, "pods"),
        _rule("update", CORE, "pods/finalizers"),
        _rule("create delete get list watch", RESOURCE, "resourceclaims"),
        _rule("patch update", RESOURCE, "resourceclaims resourceclaims/status"),
        _rule("patch update", CORE, "pods/status"),
        _EVENTS,
        _rule("patch update", RESOURCE, "resourceclaims/binding"),
    ),
    "generic-garbage-collector": (_rule("delete get list patch update watch", "*", "*"), _EVENTS),
    "horizontal-pod-autoscaler": (
        _rule(READ, AUTOSCALING, "horizontalpodautoscalers"),
        _rule("update", AUTOSCALING, "horizontalpodautoscalers/status"),
        _rule("get update", "*", "*/scale"),
        _rule("list watch", CORE, "pods"),
        _rule("list watch", "metrics.k8s.io", "pods"),
        _rule(READ, "custom.metrics.k8s.io", "*"),
        _rule(READ, "external.metrics.k8s.io", "*"),
        _EVENTS,
    ),
    "job-controller": (
        _rule("get list patch update watch", BATCH, "jobs"),
        _rule("update", BATCH, "jobs/status"),
        _rule("update", BATCH, "jobs/finalizers"),
        _rule("create delete list patch watch", CORE, "pods"),
        _EVENTS,
    ),
    "namespace-controller": (
        _rule("delete get list watch", CORE, "namespaces"),
        _rule("update", CORE, "namespaces/finalize namespaces/status"),
        _rule("delete deletecollection get list watch", "*", "*"),
    ),
    "node-controller": (
        _rule("delete get list patch update watch", CORE, "nodes"),
        _rule("patch update", CORE, "nodes/status"),
        _rule("patch update", CORE, "pods/status"),
        _rule("delete get list watch", CORE, "pods"),
        _EVENTS,
    ),
    "persistent-volume-binder": (
        _rule("create delete get list update watch", CORE, "persistentvolumes"),
        _rule("update", CORE, "persistentvolumes/status"),
        _rule("get list update watch", CORE, "persistentvolumeclaims"),
        _rule("update", CORE, "persistentvolumeclaims/status"),
        _rule("create delete get list watch", CORE, "pods"),
        _rule(READ, STORAGE, "storageclasses"),
        _rule("list watch", CORE, "nodes"),
        _EVENTS,
        _rule("watch", CORE, "events"),
        _rule("get", CORE, "services"),
    ),
    "pod-garbage-collector": (
        _rule("delete list watch", CORE, "pods"),
        _rule(READ, CORE, "nodes"),
        _rule("patch", CORE, "pods/status"),
    ),
    "replicaset-controller": (
        _rule("get list update watch", (APPS, EXTENSIONS), "replicasets"),
        _rule("update", (APPS, EXTENSIONS), "replicasets/status"),
        _rule("update", (APPS, EXTENSIONS), "replicasets/finalizers"),
        _rule("create delete list patch watch", CORE, "pods"),
        _EVENTS,
    ),
    "replication-controller": (
        _rule("get list update watch", CORE, "replicationcontrollers"),
        _rule("update", CORE, "replicationcontrollers/status"),
        _rule("update", CORE, "replicationcontrollers/finalizers"),
        _rule("create delete list patch watch", CORE, "pods"),
        _EVENTS,
    ),
    "resourcequota-controller": (
        _rule("list watch", "*", "*"),
        _rule("update", CORE, "resourcequotas/status"),
        _EVENTS,
    ),
    "route-controller": (
        _rule("list watch", CORE, "nodes"),
        _rule("patch", CORE, "nodes/status"),
        _EVENTS,
    ),
    "service-account-controller": (_rule("create", CORE, "serviceaccounts"), _EVENTS),
    "service-controller": (
        _rule(READ, CORE, "services"),
        _rule("patch update", CORE, "services/status"),
        _rule("list watch", CORE, "nodes"),
        _EVENTS,
    ),
    "service-cidrs-controller": (
        _rule("get list patch update watch", NETWORKING, "servicecidrs"),
        _rule("patch update", NETWORKING, "servicecidrs/finalizers"),
        _rule("patch update", NETWORKING, "servicecidrs/status"),
        _rule(READ, NETWORKING, "ipaddresses"),
        _EVENTS,
    ),
    "statefulset-controller": (
        _rule("list watch", CORE, "pods"),
        _rule(READ, APPS, "statefulsets"),
        _rule("update", APPS, "statefulsets/status"),
        _rule("update", APPS, "statefulsets/finalizers"),
        _rule("create delete get patch update", CORE, "pods"),
        _rule("create delete get list patch update watch", APPS, "controllerrevisions"),
        _rule("create get list watch", CORE, "persistentvolumeclaims"),
        _rule("delete update", CORE, "persistentvolumeclaims"),
        _rule("update", CORE, "pods/finalizers"),
        _EVENTS,
    ),
    "ttl-controller": (_rule("list patch update watch", CORE, "nodes"), _EVENTS),
    "certificate-controller": (
        _rule("delete get list watch", CERTIFICATES, "certificatesigningrequests"),
        _rule("update", CERTIFICATES, "certificatesigningrequests/approval certificatesigningrequests/status"),
        _rule("approve", CERTIFICATES, "signers", ["kubernetes.io/kube-apiserver-client-kubelet"]),
        _rule(
            "sign",
            CERTIFICATES,
            "signers",
            [
                "kubernetes.io/kube-apiserver-client",
                "kubernetes.io/kube-apiserver-client-kubelet",
                "kubernetes.io/kubelet-serving",
                "kubernetes.io/legacy-unknown",
            ],
        ),
        _rule("create", AUTHORIZATION, "subjectaccessreviews"),
        _EVENTS,
    ),
    "pvc-protection-controller": (
        _rule("get list update watch", CORE, "persistentvolumeclaims"),
        _rule("update", CORE, "persistentvolumeclaims/status"),
        _rule(READ, CORE, "pods"),
        _EVENTS,
    ),
    "pv-protection-controller": (_rule("get list update watch", CORE, "persistentvolumes"), _EVENTS),
    "volumeattributesclass-protection-controller": (
        _rule(READ, CORE, "persistentvolumeclaims"),
        _rule(READ, CORE, "persistentvolumes"),
        _rule("get list update watch", STORAGE, "volumeattributesclasses"),
        _EVENTS,
    ),
    "ttl-after-finished-controller": (_rule("delete get list watch", BATCH, "jobs"), _EVENTS),
    "root-ca-cert-publisher": (_rule("create update", CORE, "configmaps"), _EVENTS),
    "validatingadmissionpolicy-status-controller": (
        _rule(READ, ADMISSION, "validatingadmissionpolicies"),
        _rule("get patch update", ADMISSION, "validatingadmissionpolicies/status"),
        _EVENTS,
    ),
    "legacy-service-account-token-cleaner": (
        _rule("get", CORE, "configmaps", ["kube-apiserver-legacy-service-account-token-tracking"]),
        _rule("delete patch", CORE, "secrets"),
    ),
    "selinux-warning-controller": (
        _EVENTS,
        _rule(READ, CORE, "persistentvolumes"),
        _rule(READ, CORE, "persistentvolumeclaims"),
        _rule(READ, CORE, "pods"),
        _rule(READ, STORAGE, "csidrivers"),
    ),
}

_NAMESPACE_ROLES: dict[tuple[str, str], tuple[Rule, ...]] = {
    ("kube-system", "extension-apiserver-authentication-reader"): (
        _rule(READ, CORE, "configmaps", ["extension-apiserver-authentication"]),
    ),
    ("kube-system", "system:controller:bootstrap-signer"): (_rule(READ, CORE, "secrets"),),
    ("kube-system", "system:controller:cloud-provider"): (_rule("create get list watch", CORE, "configmaps"),),
    ("kube-system", "system:controller:token-cleaner"): (_rule("delete get list watch", CORE, "secrets"), _EVENTS),
    ("kube-system", "system::leader-locking-kube-controller-manager"): (
        _rule("watch", CORE, "configmaps"),
        _rule("get update", CORE, "configmaps", ["kube-controller-manager"]),
    ),
    ("kube-system", "system::leader-locking-kube-scheduler"): (
        _rule("watch", CORE, "configmaps"),
        _rule("get update", CORE, "configmaps", ["kube-scheduler"]),
    ),
    ("kube-public", "system:controller:bootstrap-signer"): (
        _rule(READ, CORE, "configmaps"),
        _rule("update", CORE, "configmaps", ["cluster-info"]),
        _EVENTS,
    ),
}


def _user(name: str) -> Object:
    return {"apiGroup": _GROUP, "kind": "User", "name": name}


def _group(name: str) -> Object:
    return {"apiGroup": _GROUP, "kind": "Group", "name": name}


def _account(name: str) -> Object:
    return {"kind": "ServiceAccount", "name": name, "namespace": "kube-system"}


_CLUSTER_BINDINGS: dict[str, tuple[Object, ...]] = {
    "cluster-admin": (_group(SYSTEM_MASTERS),),
    "system:monitoring": (_group("system:monitoring"),),
    "system:discovery": (_group(AUTHENTICATED),),
    "system:basic-user": (_group(AUTHENTICATED),),
    "system:public-info-viewer": (_group(AUTHENTICATED), _group(UNAUTHENTICATED)),
    "system:node-proxier": (_user("system:kube-proxy"),),
    "pybernetes:node-dns": (_user("system:kube-proxy"),),
    "system:kube-controller-manager": (_user("system:kube-controller-manager"),),
    "system:kube-dns": (_account("kube-dns"),),
    "system:kube-scheduler": (_user("system:kube-scheduler"),),
    "system:volume-scheduler": (_user("system:kube-scheduler"),),
    # The node authorizer stands in for it; the binding is there, empty, as upstream leaves it.
    "system:node": (),
    "system:service-account-issuer-discovery": (_group("system:serviceaccounts"),),
}
"""Subjects of the ClusterRoleBindings named like their ClusterRole."""

_NAMESPACE_BINDINGS: dict[tuple[str, str], tuple[str, tuple[Object, ...]]] = {
    ("kube-system", "system::extension-apiserver-authentication-reader"): (
        "extension-apiserver-authentication-reader",
        (_user("system:kube-controller-manager"), _user("system:kube-scheduler")),
    ),
    ("kube-system", "system::leader-locking-kube-controller-manager"): (
        "system::leader-locking-kube-controller-manager",
        (_user("system:kube-controller-manager"), _account("kube-controller-manager")),
    ),
    ("kube-system", "system::leader-locking-kube-scheduler"): (
        "system::leader-locking-kube-scheduler",
        (_user("system:kube-scheduler"), _account("kube-scheduler")),
    ),
    ("kube-system", "system:controller:bootstrap-signer"): (
        "system:controller:bootstrap-signer",
        (_account("bootstrap-signer"),),
    ),
    ("kube-system", "system:controller:cloud-provider"): (
        "system:controller:cloud-provider",
        (_account("cloud-provider"),),
    ),
    ("kube-system", "system:controller:token-cleaner"): (
        "system:controller:token-cleaner",
        (_account("token-cleaner"),),
    ),
    ("kube-public", "system:controller:bootstrap-signer"): (
        "system:controller:bootstrap-signer",
        (_account("bootstrap-signer"),),
    ),
}  # fmt: skip


def _meta(name: str, namespace: str = "", labels: dict[str, str] | None = None) -> Object:
    meta: Object = {"name": name, "labels": {**_LABELS, **(labels or {})}, "annotations": {AUTOUPDATE: "true"}}
    if namespace:
        meta["namespace"] = namespace
    return meta


def cluster_roles() -> Iterator[Object]:
    """The default ClusterRoles."""
    for name in _AGGREGATED:
        labels = {_AGGREGATE + _ROLE_LABELS[name]: "true"} if name in _ROLE_LABELS else {}
        selector = {"matchLabels": {_AGGREGATE + name: "true"}}
        yield {
            "apiVersion": API_VERSION,
            "kind": "ClusterRole",
            "metadata": _meta(name, labels=labels),
            "aggregationRule": {"clusterRoleSelectors": [selector]},
            # What the aggregation controller would come to; it keeps it true from here on.
            "rules": clone(list(_aggregate(name))),
        }
    for name, rules in _CLUSTER_ROLES.items():
        labels = {_AGGREGATE + _ROLE_LABELS[name]: "true"} if name in _ROLE_LABELS else {}
        yield {
            "apiVersion": API_VERSION,
            "kind": "ClusterRole",
            "metadata": _meta(name, labels=labels),
            "rules": clone(list(rules)),
        }
    for name, rules in _CONTROLLERS.items():
        yield {
            "apiVersion": API_VERSION,
            "kind": "ClusterRole",
            "metadata": _meta(_CONTROLLER_PREFIX + name),
            "rules": clone(list(rules)),
        }


def _aggregate(name: str) -> Iterator[Rule]:
    """The rules of an aggregated default role: those of its parts, by name, none twice."""
    seen: list[Rule] = []
    for part in sorted(p for p, target in _ROLE_LABELS.items() if target == name):
        for rule in _aggregate(part) if part in _AGGREGATED else _CLUSTER_ROLES[part]:
            if rule not in seen:
                seen.append(rule)
                yield rule


def cluster_role_bindings() -> Iterator[Object]:
    """The default ClusterRoleBindings."""
    bindings = dict(_CLUSTER_BINDINGS)
    for name in _CONTROLLERS:
        bindings[_CONTROLLER_PREFIX + name] = (_account(name),)
    for name, subjects in bindings.items():
        binding: Object = {
            "apiVersion": API_VERSION,
            "kind": "ClusterRoleBinding",
            "metadata": _meta(name),
            "roleRef": {"apiGroup": _GROUP, "kind": "ClusterRole", "name": name},
        }
        if subjects:
            binding["subjects"] = clone(list(subjects))
        yield binding


def roles() -> Iterator[Object]:
    """The default Roles."""
    for (namespace, name), rules in _NAMESPACE_ROLES.items():
        yield {
            "apiVersion": API_VERSION,
            "kind": "Role",
            "metadata": _meta(name, namespace),
            "rules": clone(list(rules)),
        }


def role_bindings() -> Iterator[Object]:
    """The default RoleBindings."""
    for (namespace, name), (role, subjects) in _NAMESPACE_BINDINGS.items():
        yield {
            "apiVersion": API_VERSION,
            "kind": "RoleBinding",
            "metadata": _meta(name, namespace),
            "roleRef": {"apiGroup": _GROUP, "kind": "Role", "name": role},
            "subjects": clone(list(subjects)),
        }
