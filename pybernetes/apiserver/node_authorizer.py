"""The node authorizer: a kubelet reaches its own node, the pods bound to it, and what those pods refer to.

`NodeAuthorizer` follows pods and persistent volumes in the watch cache and counts, for every secret, config map,
claim, resource claim and service account, the pods on each node that refer to it; a request is then one look-up.
One event loop owns it; its memory is bounded by the objects that exist.

Source: https://kubernetes.io/docs/reference/access-authn-authz/node/, KEP-4601 (selectors).
"""

from __future__ import annotations

from collections.abc import Iterator

from pybernetes.api.meta import Object, annotations_of, name_of, namespace_of
from pybernetes.api.resources import (
    CONFIGMAPS,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    RESOURCECLAIMS,
    RESOURCESLICES,
    SECRETS,
    SERVICEACCOUNTS,
    VOLUMEATTACHMENTS,
)
from pybernetes.api.selectors import SelectorError, parse_field_selector
from pybernetes.api.user import NODES_GROUP, User
from pybernetes.apiserver.interfaces import Attributes, Decision, ObservableReader
from pybernetes.apiserver.rbac import compile_rules
from pybernetes.apiserver.rbac_policy import NODE_RULES

NODE_USER_PREFIX = "system:node:"
NODE_LEASE_NAMESPACE = "kube-node-lease"
MIRROR_POD = "kubernetes.io/config.mirror"

Reference = tuple[str, str, str]
"""(resource, namespace, name)."""

_ALLOWED = Decision(True)
_NO_OPINION = Decision(False)


def node_name_of(user: User) -> str | None:
    """The node whose kubelet the user is; None for anybody else, empty where the node is not told."""
    if NODES_GROUP not in user.groups:
        return None
    if not user.name.startswith(NODE_USER_PREFIX):
        return ""
    return user.name[len(NODE_USER_PREFIX) :]


def containers_of(pod: Object) -> Iterator[Object]:
    """All containers of a pod: init, main, ephemeral."""
    spec = pod.get("spec") or {}
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(kind) or ()


def secret_names(pod: Object) -> Iterator[str]:
    """Every secret that a pod's spec names."""
    spec = pod.get("spec") or {}
    for reference in spec.get("imagePullSecrets") or ():
        yield str(reference.get("name") or "")
    yield from _environment_names(pod, "secretRef", "secretKeyRef")
    for volume in spec.get("volumes") or ():
        if "secret" in volume:
            yield str((volume["secret"] or {}).get("secretName") or "")
        for source in (volume.get("projected") or {}).get("sources") or ():
            if "secret" in source:
                yield str((source["secret"] or {}).get("name") or "")
        for driver, key in _VOLUME_SECRETS:
            reference = (volume.get(driver) or {}).get(key)
            if reference:
                yield str(reference if isinstance(reference, str) else reference.get("name") or "")


_VOLUME_SECRETS = (
    ("azureFile", "secretName"),
    ("cephfs", "secretRef"),
    ("cinder", "secretRef"),
    ("csi", "nodePublishSecretRef"),
    ("flexVolume", "secretRef"),
    ("iscsi", "secretRef"),
    ("rbd", "secretRef"),
    ("scaleIO", "secretRef"),
    ("storageos", "secretRef"),
)


def config_map_names(pod: Object) -> Iterator[str]:
    """Every config map that a pod's spec names."""
    yield from _environment_names(pod, "configMapRef", "configMapKeyRef")
    for volume in (pod.get("spec") or {}).get("volumes") or ():
        if "configMap" in volume:
            yield str((volume["configMap"] or {}).get("name") or "")
        for source in (volume.get("projected") or {}).get("sources") or ():
            if "configMap" in source:
                yield str((source["configMap"] or {}).get("name") or "")


def _environment_names(pod: Object, whole: str, key: str) -> Iterator[str]:
    for container in containers_of(pod):
        for source in container.get("envFrom") or ():
            if source.get(whole):
                yield str(source[whole].get("name") or "")
        for variable in container.get("env") or ():
            reference = (variable.get("valueFrom") or {}).get(key)
            if reference:
                yield str(reference.get("name") or "")


def claim_names(pod: Object) -> Iterator[str]:
    """Every persistent volume claim of a pod, the ones made for its ephemeral volumes included."""
    for volume in (pod.get("spec") or {}).get("volumes") or ():
        if volume.get("persistentVolumeClaim"):
            yield str(volume["persistentVolumeClaim"].get("claimName") or "")
        elif "ephemeral" in volume:
            yield f"{name_of(pod)}-{volume.get('name')}"


def references_of(pod: Object) -> set[Reference]:
    """Everything that the kubelet of the pod's node may read because of it."""
    namespace = namespace_of(pod)
    found: set[Reference] = {("pods", namespace, name_of(pod))}
    if MIRROR_POD in annotations_of(pod):
        return found
    spec = pod.get("spec") or {}
    account = spec.get("serviceAccountName")
    if account:
        found.add(("serviceaccounts", namespace, account))
    found.update(("secrets", namespace, name) for name in secret_names(pod) if name)
    found.update(("configmaps", namespace, name) for name in config_map_names(pod) if name)
    found.update(("persistentvolumeclaims", namespace, name) for name in claim_names(pod) if name)
    for claim in spec.get("resourceClaims") or ():
        if claim.get("resourceClaimName"):
            found.add(("resourceclaims", namespace, claim["resourceClaimName"]))
    extended = ((pod.get("status") or {}).get("extendedResourceClaimStatus") or {}).get("resourceClaimName")
    if extended:
        found.add(("resourceclaims", namespace, extended))
    for status in (pod.get("status") or {}).get("resourceClaimStatuses") or ():
        if status.get("resourceClaimName"):
            found.add(("resourceclaims", namespace, status["resourceClaimName"]))
    return found


class NodeAuthorizer:
    """The `Authorizer` for kubelets; it has no opinion of anybody else."""

    def __init__(self, reader: ObservableReader) -> None:
        self._reader = reader
        self._rules = compile_rules(NODE_RULES)
        # How many pods on a node refer to a thing.
        self._counts: dict[Reference, dict[str, int]] = {}
        self._volume_claims: dict[str, tuple[str, str]] = {}
        self._secret_volumes: dict[tuple[str, str], set[str]] = {}
        self._unsubscribe = [
            reader.subscribe(PODS, self._pod_changed),
            reader.subscribe(PERSISTENTVOLUMES, self._volume_changed),
        ]

    def close(self) -> None:
        for unsubscribe in self._unsubscribe:
            unsubscribe()

    def statistics(self) -> dict[str, int]:
        return {"references": len(self._counts), "volumes": len(self._volume_claims)}

    # Following the cache.

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        before, after = _node_of(old), _node_of(new)
        if not before and not after:
            return
        old_references = references_of(old) if old is not None and before else set()
        new_references = references_of(new) if new is not None and after else set()
        if before == after:
            unchanged = old_references & new_references
            old_references -= unchanged
            new_references -= unchanged
        for reference in old_references:
            nodes = self._counts.get(reference)
            if nodes is None:
                continue
            nodes[before] = nodes.get(before, 0) - 1
            if nodes[before] <= 0:
                del nodes[before]
            if not nodes:
                del self._counts[reference]
        for reference in new_references:
            nodes = self._counts.setdefault(reference, {})
            nodes[after] = nodes.get(after, 0) + 1

    def _volume_changed(self, old: Object | None, new: Object | None) -> None:
        if old is not None:
            name = name_of(old)
            self._volume_claims.pop(name, None)
            for secret in _volume_secrets(old):
                volumes = self._secret_volumes.get(secret, set())
                volumes.discard(name)
                if not volumes:
                    self._secret_volumes.pop(secret, None)
        if new is not None:
            name = name_of(new)
            claim = (new.get("spec") or {}).get("claimRef")
            if claim:
                self._volume_claims[name] = (str(claim.get("namespace") or ""), str(claim.get("name") or ""))
            for secret in _volume_secrets(new):
                self._secret_volumes.setdefault(secret, set()).add(name)

    # Answering.

    def authorize(self, attributes: Attributes) -> Decision:
        node = node_name_of(attributes.user)
        if node is None:
            return _NO_OPINION
        if not node:
            return Decision(False, f'unknown node for user "{attributes.user.name}"')
        if attributes.is_resource_request:
            judge = _JUDGES.get((attributes.group, attributes.resource))
            if judge is not None:
                return judge(self, node, attributes)
        if self._rules.find(attributes) is not None:
            return _ALLOWED
        return _NO_OPINION

    def _related(self, node: str, attributes: Attributes) -> Decision:
        if not attributes.name:
            return Decision(False, "No Object name found")
        if self._has_path(node, attributes.resource, attributes.namespace, attributes.name):
            return _ALLOWED
        return Decision(False, f"no relationship found between node '{node}' and this object")

    def _has_path(self, node: str, resource: str, namespace: str, name: str) -> bool:
        if node in self._counts.get((resource, namespace, name), ()):
            return True
        if resource == "persistentvolumes":
            claim = self._volume_claims.get(name)
            return claim is not None and node in self._counts.get(("persistentvolumeclaims", *claim), ())
        if resource == "secrets":
            volumes = self._secret_volumes.get((namespace, name), ())
            return any(self._has_path(node, "persistentvolumes", "", volume) for volume in volumes)
        return False

    def _read_namespaced(self, node: str, attributes: Attributes) -> Decision:
        if attributes.verb not in ("get", "list", "watch"):
            return Decision(False, "can only read resources of this type")
        if attributes.subresource:
            return Decision(False, "cannot read subresource")
        if not attributes.namespace:
            return Decision(False, "can only read namespaced object of this type")
        return self._related(node, attributes)

    def _get(self, node: str, attributes: Attributes) -> Decision:
        if attributes.verb != "get":
            return Decision(False, "can only get individual resources of this type")
        if attributes.subresource:
            return Decision(False, "cannot get subresource")
        return self._related(node, attributes)

    def _claim(self, node: str, attributes: Attributes) -> Decision:
        if attributes.subresource == "status":
            if attributes.verb not in ("get", "update", "patch"):
                return Decision(False, "can only get/update/patch this type")
            return self._related(node, attributes)
        return self._get(node, attributes)

    def _attachment(self, node: str, attributes: Attributes) -> Decision:
        if attributes.verb != "get":
            return Decision(False, "can only get individual resources of this type")
        if attributes.subresource:
            return Decision(False, "cannot get subresource")
        attachment = self._reader.get(VOLUMEATTACHMENTS, "", attributes.name)
        if attachment is not None and (attachment.get("spec") or {}).get("nodeName") == node:
            return _ALLOWED
        return Decision(False, f"no relationship found between node '{node}' and this object")

    def _token(self, node: str, attributes: Attributes) -> Decision:
        if attributes.verb != "create" or not attributes.name:
            return Decision(False, "can only create tokens for individual service accounts")
        if attributes.subresource != "token":
            return Decision(False, "can only create token subresource of serviceaccount")
        return self._related(node, attributes)

    def _lease(self, node: str, attributes: Attributes) -> Decision:
        if attributes.verb not in ("get", "create", "update", "patch", "delete"):
            return Decision(False, "can only get, create, update, patch, or delete a node lease")
        if attributes.namespace != NODE_LEASE_NAMESPACE:
            return Decision(False, f'can only access leases in the "{NODE_LEASE_NAMESPACE}" system namespace')
        # The name is not known when a lease is created: the NodeRestriction plugin looks at it then.
        if attributes.verb != "create" and attributes.name != node:
            return Decision(False, "can only access node lease with the same name as the requesting node")
        return _ALLOWED

    def _csi_node(self, node: str, attributes: Attributes) -> Decision:
        if attributes.verb not in ("get", "create", "update", "patch", "delete"):
            return Decision(False, "can only get, create, update, patch, or delete a CSINode")
        if attributes.subresource:
            return Decision(False, "cannot authorize CSINode subresources")
        if attributes.verb != "create" and attributes.name != node:
            return Decision(False, "can only access CSINode with the same name as the requesting node")
        return _ALLOWED

    def _resource_slice(self, node: str, attributes: Attributes) -> Decision:
        if attributes.subresource:
            return Decision(False, "cannot authorize ResourceSlice subresources")
        if attributes.verb == "create":
            return _ALLOWED
        if attributes.verb in ("get", "update", "patch", "delete"):
            existing = self._reader.get(RESOURCESLICES, "", attributes.name)
            if existing is not None and (existing.get("spec") or {}).get("nodeName") == node:
                return _ALLOWED
            return Decision(False, f"no relationship found between node '{node}' and this object")
        if attributes.verb in ("list", "watch", "deletecollection"):
            if _selects(attributes.field_selector, "spec.nodeName", node):
                return _ALLOWED
            return Decision(False, "can only list/watch/deletecollection resourceslices with nodeName field selector")
        return Decision(
            False,
            "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, "
            "delete, deletecollection",
        )

    def _node(self, node: str, attributes: Attributes) -> Decision:
        verb = attributes.verb
        if not attributes.subresource:
            if verb in ("create", "update", "patch"):
                return _ALLOWED
            if verb in ("get", "list", "watch"):
                if attributes.name == node or _selects(attributes.field_selector, "metadata.name", node):
                    return _ALLOWED
                if not attributes.name:
                    return Decision(False, f"node '{node}' cannot read all nodes, only its own Node object")
                return Decision(False, f"node '{node}' cannot read '{attributes.name}', only its own Node object")
        elif attributes.subresource == "status" and verb in ("update", "patch"):
            return _ALLOWED
        return _NO_OPINION

    def _pod(self, node: str, attributes: Attributes) -> Decision:
        verb, sub = attributes.verb, attributes.subresource
        if not sub:
            if verb == "get":
                return self._related(node, attributes)
            if verb in ("list", "watch"):
                if _selects(attributes.field_selector, "spec.nodeName", node):
                    return _ALLOWED
                if attributes.name:
                    return self._related(node, attributes)
                return Decision(False, "can only list/watch pods with spec.nodeName field selector")
            if verb in ("create", "delete"):
                return _ALLOWED
        elif sub == "status":
            if verb in ("update", "patch"):
                return _ALLOWED
        elif sub == "eviction" and verb == "create":
            return _ALLOWED
        return _NO_OPINION


_JUDGES = {
    (SECRETS.group, SECRETS.plural): NodeAuthorizer._read_namespaced,
    (CONFIGMAPS.group, CONFIGMAPS.plural): NodeAuthorizer._read_namespaced,
    (PERSISTENTVOLUMECLAIMS.group, PERSISTENTVOLUMECLAIMS.plural): NodeAuthorizer._claim,
    (PERSISTENTVOLUMES.group, PERSISTENTVOLUMES.plural): NodeAuthorizer._get,
    (RESOURCECLAIMS.group, RESOURCECLAIMS.plural): NodeAuthorizer._get,
    (VOLUMEATTACHMENTS.group, VOLUMEATTACHMENTS.plural): NodeAuthorizer._attachment,
    (SERVICEACCOUNTS.group, SERVICEACCOUNTS.plural): NodeAuthorizer._token,
    ("coordination.k8s.io", "leases"): NodeAuthorizer._lease,
    ("storage.k8s.io", "csinodes"): NodeAuthorizer._csi_node,
    (RESOURCESLICES.group, RESOURCESLICES.plural): NodeAuthorizer._resource_slice,
    ("", "nodes"): NodeAuthorizer._node,
    ("", "pods"): NodeAuthorizer._pod,
}


def _node_of(pod: Object | None) -> str:
    return str((pod.get("spec") or {}).get("nodeName") or "") if pod else ""


def _volume_secrets(volume: Object) -> set[tuple[str, str]]:
    """(namespace, name) of the secrets that a kubelet needs for a persistent volume."""
    spec = volume.get("spec") or {}
    claim_namespace = str((spec.get("claimRef") or {}).get("namespace") or "")
    found: set[tuple[str, str]] = set()
    for source in spec.values():
        if not isinstance(source, dict):
            continue
        for key in ("secretRef", "nodePublishSecretRef", "nodeStageSecretRef", "nodeExpandSecretRef"):
            reference = source.get(key)
            if isinstance(reference, dict) and reference.get("name"):
                found.add((str(reference.get("namespace") or claim_namespace), str(reference["name"])))
    azure = spec.get("azureFile")
    if azure:
        found.add((str(azure.get("secretNamespace") or claim_namespace), str(azure.get("secretName") or "")))
    return found


def _selects(selector: str | None, field: str, value: str) -> bool:
    """Whether a field selector lets through nothing but ``field=value``. One that cannot be read, or is not told,
    does not."""
    if not selector:
        return False
    try:
        return parse_field_selector(selector).exact(field) == value
    except SelectorError:
        return False
