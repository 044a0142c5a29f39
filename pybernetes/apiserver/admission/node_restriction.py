"""NodeRestriction: a kubelet changes only its own node, its own pods, and what belongs to them.

The node authorizer decides by names before a request's body is known; this plugin looks inside.

Source: https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from pybernetes.api import errors
from pybernetes.api.meta import Object, annotations_of, clone, labels_of, metadata, name_of, namespace_of, uid_of
from pybernetes.api.resources import (
    CSIDRIVERS,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    Resource,
)
from pybernetes.apiserver.admission.plugin import Plugin, refuse
from pybernetes.apiserver.authorization import quote
from pybernetes.apiserver.interfaces import (
    AdmissionOperation,
    AdmissionRequest,
    Attributes,
    Authorizer,
    ObjectReader,
)
from pybernetes.apiserver.node_authorizer import (
    MIRROR_POD,
    NODE_LEASE_NAMESPACE,
    claim_names,
    config_map_names,
    node_name_of,
    secret_names,
)

_RESTRICTED_NAMESPACE = "node-restriction.kubernetes.io"
_KUBELET_LABELS = frozenset(
    (
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
        "node.kubernetes.io/instance-type",
        "beta.kubernetes.io/instance-type",
        "kubernetes.io/os",
        "kubernetes.io/arch",
        "beta.kubernetes.io/os",
        "beta.kubernetes.io/arch",
        "node.kubernetes.io/windows-build",
    )
)
_KUBELET_NAMESPACES = ("kubelet.kubernetes.io", "node.kubernetes.io")


class NodeRestriction(Plugin):
    name = "NodeRestriction"
    operations = ("CREATE", "UPDATE", "DELETE")

    def __init__(self, reader: ObjectReader, authorizer: Authorizer) -> None:
        self._reader = reader
        self._authorizer = authorizer
        self._judges: dict[tuple[str, str], Callable[[str, AdmissionRequest], None]] = {
            ("", "pods"): self._pod,
            ("", "nodes"): self._node,
            ("", "persistentvolumeclaims"): self._claim,
            ("", "serviceaccounts"): self._token,
            ("coordination.k8s.io", "leases"): self._lease,
            ("storage.k8s.io", "csinodes"): self._csi_node,
            ("resource.k8s.io", "resourceslices"): self._slice,
        }

    def handles(self, operation: AdmissionOperation, resource: Resource, subresource: str) -> bool:
        return operation in self.operations and (resource.group, resource.plural) in self._judges

    async def mutate(self, request: AdmissionRequest) -> None:
        node = node_name_of(request.user)
        if node is None:
            return
        if not node:
            raise refuse(request, f'could not determine node from user "{request.user.name}"')
        self._judges[(request.resource.group, request.resource.plural)](node, request)

    def _pod(self, node: str, request: AdmissionRequest) -> None:
        match request.subresource:
            case "":
                if request.operation == "CREATE":
                    self._create_pod(node, request)
                elif request.operation == "DELETE":
                    existing = self._existing_pod(request, request.name)
                    if _node_of(existing) != node:
                        raise refuse(request, f'node "{node}" can only delete pods with spec.nodeName set to itself')
                else:
                    raise refuse(
                        request,
                        f'unexpected operation "{request.operation}", node "{node}" can only create and delete mirror '
                        "pods",
                    )
            case "status":
                self._pod_status(node, request)
            case "eviction":
                existing = self._existing_pod(request, request.name or name_of(request.object or {}))
                if _node_of(existing) != node:
                    raise refuse(request, f"node {node} can only evict pods with spec.nodeName set to itself")
            case _:
                raise refuse(
                    request,
                    f"unexpected pod subresource \"{request.subresource}\", only 'status' and 'eviction' are allowed",
                )

    def _existing_pod(self, request: AdmissionRequest, name: str) -> Object:
        pod = self._reader.get(PODS, request.namespace, name)
        if pod is None:
            raise errors.not_found("", "pods", name)
        return pod

    def _create_pod(self, node: str, request: AdmissionRequest) -> None:
        pod = request.object or {}
        if MIRROR_POD not in annotations_of(pod):
            raise refuse(
                request, f'pod does not have "{MIRROR_POD}" annotation, node "{node}" can only create mirror pods'
            )
        if _node_of(pod) != node:
            raise refuse(request, f'node "{node}" can only create pods with spec.nodeName set to itself')
        self._check_owner(node, request, metadata(pod).get("ownerReferences") or [])
        spec = pod.get("spec") or {}
        if spec.get("serviceAccountName"):
            raise refuse(request, f'node "{node}" can not create pods that reference a service account')
        for what, names in (
            ("secrets", secret_names(pod)),
            ("configmaps", config_map_names(pod)),
            ("persistentvolumeclaims", claim_names(pod)),
        ):
            if any(True for _ in names):
                raise refuse(request, f'node "{node}" can not create pods that reference {what}')
        if spec.get("resourceClaims"):
            raise refuse(request, f'node "{node}" can not create pods that reference resourceclaims')
        for volume in spec.get("volumes") or ():
            for source in (volume.get("projected") or {}).get("sources") or ():
                if source.get("clusterTrustBundle"):
                    raise refuse(request, f'node "{node}" can not create pods that reference clustertrustbundles')

    def _check_owner(self, node: str, request: AdmissionRequest, owners: list[Object]) -> None:
        if len(owners) > 1:
            raise refuse(request, f'node "{node}" can only create pods with a single owner reference set to itself')
        itself = f'node "{node}" can only create pods with an owner reference set to itself'
        if not owners:
            raise refuse(request, itself)
        owner = owners[0]
        if (owner.get("apiVersion"), owner.get("kind"), owner.get("name")) != ("v1", "Node", node):
            raise refuse(request, itself)
        if not owner.get("controller"):
            raise refuse(request, f'node "{node}" can only create pods with a controller owner reference set to itself')
        if owner.get("blockOwnerDeletion"):
            raise refuse(request, f'node "{node}" must not set blockOwnerDeletion on an owner reference')
        existing = self._reader.get(NODES, "", node)
        if existing is None:
            raise errors.not_found("", "nodes", node)
        if owner.get("uid") != uid_of(existing):
            raise refuse(request, f"node {node} UID mismatch: expected {owner.get('uid')} got {uid_of(existing)}")

    def _pod_status(self, node: str, request: AdmissionRequest) -> None:
        if request.operation != "UPDATE" or request.old is None or request.object is None:
            raise refuse(request, f'unexpected operation "{request.operation}"')
        if _node_of(request.old) != node:
            raise refuse(request, f'node "{node}" can only update pod status for pods with spec.nodeName set to itself')
        if labels_of(request.old) != labels_of(request.object):
            raise refuse(request, f'node "{node}" cannot update labels through pod status')
        if _claim_statuses(request.old) != _claim_statuses(request.object):
            raise refuse(request, f'node "{node}" cannot update resource claim statues')

    def _node(self, node: str, request: AdmissionRequest) -> None:
        if request.name != node:
            raise refuse(request, f'node "{node}" is not allowed to modify node "{request.name}"')
        if request.object is None or request.operation == "DELETE":
            return
        new, old = request.object, request.old or {}
        source = (new.get("spec") or {}).get("configSource")
        if request.operation == "CREATE":
            if source is not None:
                raise refuse(request, f'node "{node}" is not allowed to create pods with a non-nil configSource')
            forbidden = _forbidden_labels(labels_of(new), {})
            if forbidden:
                raise refuse(request, f'node "{node}" is not allowed to set the following labels: {forbidden}')
            return
        if source is not None and source != (old.get("spec") or {}).get("configSource"):
            raise refuse(request, f'node "{node}" is not allowed to update configSource to a new non-nil configSource')
        if ((new.get("spec") or {}).get("taints") or []) != ((old.get("spec") or {}).get("taints") or []):
            raise refuse(request, f'node "{node}" is not allowed to modify taints')
        if metadata(new).get("ownerReferences") != metadata(old).get("ownerReferences"):
            raise refuse(request, f'node "{node}" is not allowed to modify ownerReferences')
        forbidden = _forbidden_labels(labels_of(new), labels_of(old))
        if forbidden:
            raise refuse(request, f"is not allowed to modify labels: {forbidden}")

    def _claim(self, node: str, request: AdmissionRequest) -> None:
        if request.subresource != "status":
            raise refuse(request, "may only update PVC status")
        if request.operation != "UPDATE" or request.old is None or request.object is None:
            raise refuse(request, f'unexpected operation "{request.operation}"')
        if _without_capacity(request.old) != _without_capacity(request.object):
            raise refuse(
                request,
                f'node "{node}" is not allowed to update fields other than status.capacity and status.conditions',
            )

    def _token(self, node: str, request: AdmissionRequest) -> None:
        if request.operation != "CREATE" or request.subresource != "token":
            return
        reference = ((request.object or {}).get("spec") or {}).get("boundObjectRef") or {}
        if reference.get("apiVersion") != "v1" or reference.get("kind") != "Pod" or not reference.get("name"):
            raise refuse(request, "node requested token not bound to a pod")
        if not reference.get("uid"):
            raise refuse(request, "node requested token with a pod binding without a uid")
        pod = self._existing_pod(request, str(reference["name"]))
        if reference["uid"] != uid_of(pod):
            raise refuse(
                request,
                f"the UID in the bound object reference ({reference['uid']}) does not match the UID in record. The "
                "object might have been deleted and then recreated",
            )
        if _node_of(pod) != node:
            raise refuse(request, "node requested token bound to a pod scheduled on a different node")
        self._audience(request, pod)

    def _audience(self, request: AdmissionRequest, pod: Object) -> None:
        """A token only for whom the pod's own volumes need one, unless RBAC lets the node have more (upstream's
        ServiceAccountNodeAudienceRestriction)."""
        audiences = ((request.object or {}).get("spec") or {}).get("audiences") or [""]
        if len(audiences) > 1:
            raise refuse(request, "node may only request 0 or 1 audiences")
        audience = str(audiences[0])
        if audience in self._audiences_of(pod):
            return
        asked = Attributes(
            user=request.user,
            verb="request-serviceaccounts-token-audience",
            namespace=request.namespace,
            version="v1",
            resource=audience,
            name=request.name,
            about_resource=True,
        )
        if not self._authorizer.authorize(asked).allowed:
            raise refuse(request, f"audience {quote(audience)} not found in pod spec volume")

    def _audiences_of(self, pod: Object) -> Iterator[str]:
        """Whom the pod's volumes need tokens for; empty for the API server itself."""
        for volume in (pod.get("spec") or {}).get("volumes") or ():
            for source in (volume.get("projected") or {}).get("sources") or ():
                if source.get("serviceAccountToken") is not None:
                    yield str(source["serviceAccountToken"].get("audience") or "")
            driver = (volume.get("csi") or {}).get("driver") or self._driver_of(pod, volume)
            found = self._reader.get(CSIDRIVERS, "", driver) if driver else None
            for request in ((found or {}).get("spec") or {}).get("tokenRequests") or ():
                yield str(request.get("audience") or "")

    def _driver_of(self, pod: Object, volume: Object) -> str:
        """The CSI driver of the persistent volume behind a claim; empty where there is none."""
        claim_name = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if volume.get("ephemeral") is not None:
            claim_name = f"{name_of(pod)}-{volume.get('name')}"
        if not claim_name:
            return ""
        claim = self._reader.get(PERSISTENTVOLUMECLAIMS, namespace_of(pod), str(claim_name)) or {}
        volume_name = (claim.get("spec") or {}).get("volumeName")
        persistent = self._reader.get(PERSISTENTVOLUMES, "", volume_name) if volume_name else None
        return str((((persistent or {}).get("spec") or {}).get("csi") or {}).get("driver") or "")

    def _lease(self, node: str, request: AdmissionRequest) -> None:
        if request.namespace != NODE_LEASE_NAMESPACE:
            raise refuse(request, f'can only access leases in the "{NODE_LEASE_NAMESPACE}" system namespace')
        if request.name != node:
            raise refuse(request, "can only access node lease with the same name as the requesting node")

    def _csi_node(self, node: str, request: AdmissionRequest) -> None:
        if request.name != node:
            raise refuse(request, "can only access CSINode with the same name as the requesting node")

    def _slice(self, node: str, request: AdmissionRequest) -> None:
        owner = ((request.object if request.operation == "CREATE" else request.old) or {}).get("spec") or {}
        if owner.get("nodeName") != node:
            verb = {"CREATE": "create", "DELETE": "delete"}.get(request.operation, "update")
            raise refuse(request, f"can only {verb} ResourceSlice with the same NodeName as the requesting node")


def _node_of(pod: Object) -> str:
    return str((pod.get("spec") or {}).get("nodeName") or "")


def _claim_statuses(pod: Object) -> list[tuple[str, str | None]]:
    statuses: Iterable[Object] = (pod.get("status") or {}).get("resourceClaimStatuses") or ()
    return [(str(s.get("name")), s.get("resourceClaimName")) for s in statuses]


def _without_capacity(claim: Object) -> Object:
    copy: Object = clone(claim)
    for field in ("resourceVersion", "managedFields"):
        copy.get("metadata", {}).pop(field, None)
    for field in ("capacity", "conditions", "allocatedResources", "allocatedResourceStatuses"):
        copy.get("status", {}).pop(field, None)
    if not copy.get("status"):
        copy.pop("status", None)
    return copy


def _forbidden_labels(new: dict[str, str], old: dict[str, str]) -> str:
    """The changed labels that a kubelet may not set on itself, sorted, as one text."""
    changed = {key for key in new.keys() | old.keys() if new.get(key) != old.get(key)}
    return ", ".join(sorted(key for key in changed if _is_forbidden(key)))


def _is_forbidden(label: str) -> bool:
    namespace = label.partition("/")[0] if "/" in label else ""
    if namespace == _RESTRICTED_NAMESPACE or namespace.endswith("." + _RESTRICTED_NAMESPACE):
        return True
    ours = any(namespace == d or namespace.endswith("." + d) for d in ("kubernetes.io", "k8s.io"))
    if not ours or label in _KUBELET_LABELS:
        return False
    return not any(namespace == d or namespace.endswith("." + d) for d in _KUBELET_NAMESPACES)
