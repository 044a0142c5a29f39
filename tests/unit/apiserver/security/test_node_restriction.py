"""NodeRestriction: what a kubelet may write, looked at from inside the request."""

from __future__ import annotations

from typing import Any

import pytest

from pybernetes.api import errors
from pybernetes.api.meta import Object
from pybernetes.api.resources import (
    CLUSTERROLEBINDINGS,
    CLUSTERROLES,
    CSIDRIVERS,
    CSINODES,
    LEASES,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    RESOURCESLICES,
    SERVICEACCOUNTS,
)
from pybernetes.api.user import NODES_GROUP, User
from pybernetes.apiserver.admission.node_restriction import NodeRestriction
from pybernetes.apiserver.authorization import AuthorizerChain
from pybernetes.apiserver.rbac import RBACAuthorizer
from tests.unit.apiserver.security.admitting import admit, pod, request
from tests.unit.apiserver.security.memory_reader import MemoryReader

N1 = User("system:node:n1", groups=(NODES_GROUP,))


@pytest.fixture
def plugin(reader: MemoryReader) -> NodeRestriction:
    return NodeRestriction(reader, AuthorizerChain([RBACAuthorizer(reader)]))


async def refused(plugin: NodeRestriction, match: str, *args: Any, **more: Any) -> None:
    with pytest.raises(errors.Forbidden, match=match):
        await admit(plugin, request(*args, user=N1, **more))


def node(name: str = "n1", *, labels: dict[str, str] | None = None, **spec: Any) -> Object:
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": spec}


async def test_others_are_left_alone(plugin: NodeRestriction) -> None:
    await admit(plugin, request("UPDATE", NODES, node("n2", taints=[{"key": "x"}]), old=node("n2")))
    await refused_nameless(plugin)


async def refused_nameless(plugin: NodeRestriction) -> None:
    kubelet = User("kubelet", groups=(NODES_GROUP,))
    with pytest.raises(errors.Forbidden, match='could not determine node from user "kubelet"'):
        await admit(plugin, request("CREATE", PODS, {"metadata": {"name": "p"}}, user=kubelet))


async def test_only_its_own_node(plugin: NodeRestriction) -> None:
    await admit(plugin, request("CREATE", NODES, node(), user=N1))
    await refused(plugin, 'node "n1" is not allowed to modify node "n2"', "CREATE", NODES, node("n2"))
    await refused(plugin, 'node "n1" is not allowed to modify node "n2"', "UPDATE", NODES, node("n2"), old=node("n2"))


async def test_labels(plugin: NodeRestriction) -> None:
    fine = {
        "kubernetes.io/hostname": "n1", "kubernetes.io/os": "linux", "topology.kubernetes.io/zone": "z",
        "node.kubernetes.io/anything": "x", "foo.kubelet.kubernetes.io/bar": "x", "example.com/a": "b", "plain": "c",
    }  # fmt: skip
    await admit(plugin, request("CREATE", NODES, node(labels=fine), user=N1))
    for label in ("node-restriction.kubernetes.io/x", "node-role.kubernetes.io/control-plane", "foo.k8s.io/x"):
        await refused(
            plugin, f"is not allowed to set the following labels: {label}", "CREATE", NODES, node(labels={label: "x"})
        )
        await refused(
            plugin, f"is not allowed to modify labels: {label}", "UPDATE", NODES, node(labels={label: "x"}), old=node()
        )
        # One that is there already may stay.
        old = node(labels={label: "x"})
        await admit(plugin, request("UPDATE", NODES, node(labels={label: "x", "a": "b"}), old=old, user=N1))


async def test_taints(plugin: NodeRestriction) -> None:
    taint = [{"key": "a", "effect": "NoSchedule"}]
    await admit(plugin, request("CREATE", NODES, node(taints=taint), user=N1))
    await refused(plugin, "is not allowed to modify taints", "UPDATE", NODES, node(), old=node(taints=taint))
    await admit(plugin, request("UPDATE", NODES, node(), old=node(), user=N1, subresource="status"))


async def test_pods(plugin: NodeRestriction, reader: MemoryReader) -> None:
    reader.make(PODS, "mine", "shop", spec={"nodeName": "n1"})
    reader.make(PODS, "other", "shop", spec={"nodeName": "n2"})
    mine, other = (reader.get(PODS, "shop", name) for name in ("mine", "other"))
    assert mine is not None and other is not None
    await admit(plugin, request("DELETE", PODS, old=mine, user=N1))
    await refused(plugin, "can only delete pods with spec.nodeName set to itself", "DELETE", PODS, old=other)
    await refused(plugin, "can only create and delete mirror pods", "UPDATE", PODS, mine, old=mine)
    await admit(plugin, request("UPDATE", PODS, mine, old=mine, user=N1, subresource="status"))
    await refused(plugin, "can only update pod status for pods", "UPDATE", PODS, other, old=other, subresource="status")
    relabelled = {**mine, "metadata": {**mine["metadata"], "labels": {"a": "b"}}}
    await refused(
        plugin, "cannot update labels through pod status", "UPDATE", PODS, relabelled, old=mine, subresource="status"
    )
    eviction: Object = {"metadata": {"name": "mine"}}
    await admit(plugin, request("CREATE", PODS, eviction, user=N1, subresource="eviction"))
    await refused(
        plugin, "can only evict pods", "CREATE", PODS, {"metadata": {"name": "other"}}, subresource="eviction"
    )
    await refused(plugin, 'unexpected pod subresource "binding"', "CREATE", PODS, eviction, subresource="binding")


async def test_mirror_pods(plugin: NodeRestriction, reader: MemoryReader) -> None:
    uid = reader.make(NODES, "n1")["metadata"]["uid"]

    def mirror(**spec: Any) -> Object:
        made = pod(nodeName="n1", **spec)
        made["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}
        owner = {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": uid, "controller": True}
        made["metadata"]["ownerReferences"] = [owner]
        return made

    await admit(plugin, request("CREATE", PODS, mirror(), user=N1))
    await refused(plugin, "can only create mirror pods", "CREATE", PODS, pod(nodeName="n1"))
    elsewhere = mirror()
    elsewhere["spec"]["nodeName"] = "n2"
    await refused(plugin, "spec.nodeName set to itself", "CREATE", PODS, elsewhere)
    orphan = mirror()
    del orphan["metadata"]["ownerReferences"]
    await refused(plugin, "with an owner reference set to itself", "CREATE", PODS, orphan)
    stranger = mirror()
    stranger["metadata"]["ownerReferences"][0]["uid"] = "z"
    await refused(plugin, "UID mismatch", "CREATE", PODS, stranger)
    await refused(plugin, "reference a service account", "CREATE", PODS, mirror(serviceAccountName="robot"))
    for volume, what in (
        ({"secret": {"secretName": "s"}}, "secrets"),
        ({"configMap": {"name": "c"}}, "configmaps"),
        ({"persistentVolumeClaim": {"claimName": "c"}}, "persistentvolumeclaims"),
    ):
        await refused(plugin, f"reference {what}", "CREATE", PODS, mirror(volumes=[{"name": "v", **volume}]))


async def test_tokens(plugin: NodeRestriction, reader: MemoryReader) -> None:
    tokens = [{"serviceAccountToken": {"path": "token"}}, {"serviceAccountToken": {"path": "v", "audience": "vault"}}]
    volumes = [
        {"name": "t", "projected": {"sources": tokens}},
        {"name": "c", "csi": {"driver": "secrets.example.com"}},
        {"name": "p", "persistentVolumeClaim": {"claimName": "data"}},
    ]
    mine = reader.make(PODS, "mine", "shop", spec={"nodeName": "n1", "volumes": volumes})["metadata"]["uid"]
    other = reader.make(PODS, "other", "shop", spec={"nodeName": "n2"})["metadata"]["uid"]

    def wish(name: str = "", uid: str = "", *audiences: str) -> Object:
        reference = {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}
        spec = {"boundObjectRef": reference if name else None, "audiences": list(audiences)}
        return {"metadata": {"name": "robot"}, "spec": spec}

    args = ("CREATE", SERVICEACCOUNTS)
    await admit(plugin, request(*args, wish("mine", mine), user=N1, subresource="token"))
    await refused(plugin, "token not bound to a pod", *args, wish(), subresource="token")
    await refused(plugin, "without a uid", *args, wish("mine"), subresource="token")
    await refused(plugin, "does not match the UID in record", *args, wish("mine", "z"), subresource="token")
    await refused(plugin, "scheduled on a different node", *args, wish("other", other), subresource="token")

    # Audiences: those that the pod's volumes name, by themselves or by their drivers.
    await admit(plugin, request(*args, wish("mine", mine, "vault"), user=N1, subresource="token"))
    one = 'audience "{}" not found in pod spec volume'
    for audience in ("elsewhere", "inline", "persistent"):
        await refused(plugin, one.format(audience), *args, wish("mine", mine, audience), subresource="token")
    await refused(plugin, "only request 0 or 1 audiences", *args, wish("mine", mine, "", "vault"), subresource="token")
    reader.make(CSIDRIVERS, "secrets.example.com", spec={"tokenRequests": [{"audience": "inline"}]})
    reader.make(CSIDRIVERS, "disks.example.com", spec={"tokenRequests": [{"audience": "persistent"}]})
    reader.make(PERSISTENTVOLUMECLAIMS, "data", "shop", spec={"volumeName": "pv"})
    reader.make(PERSISTENTVOLUMES, "pv", spec={"csi": {"driver": "disks.example.com"}})
    verb = "request-serviceaccounts-token-audience"
    reader.make(CLUSTERROLES, "r", rules=[{"verbs": [verb], "apiGroups": [""], "resources": ["elsewhere"]}])
    subjects = [{"kind": "Group", "name": NODES_GROUP}]
    reader.make(CLUSTERROLEBINDINGS, "b", subjects=subjects, roleRef={"kind": "ClusterRole", "name": "r"})
    for audience in ("elsewhere", "inline", "persistent"):
        await admit(plugin, request(*args, wish("mine", mine, audience), user=N1, subresource="token"))


async def test_leases_csi_nodes_slices_and_claims(plugin: NodeRestriction) -> None:
    named = lambda name: {"metadata": {"name": name}}  # noqa: E731
    await admit(plugin, request("CREATE", LEASES, named("n1"), user=N1, namespace="kube-node-lease"))
    await refused(
        plugin, "same name as the requesting node", "CREATE", LEASES, named("n2"), namespace="kube-node-lease"
    )
    await refused(plugin, "system namespace", "CREATE", LEASES, named("n1"))
    await admit(plugin, request("CREATE", CSINODES, named("n1"), user=N1))
    await refused(plugin, "same name as the requesting node", "CREATE", CSINODES, named("n2"))
    await refused(
        plugin,
        "same NodeName as the requesting node",
        "CREATE",
        RESOURCESLICES,
        {**named("s"), "spec": {"nodeName": "n2"}},
    )
    claim = {**named("c"), "status": {"capacity": {"storage": "1"}}}
    bigger = {**named("c"), "status": {"capacity": {"storage": "2"}}}
    bound = {**named("c"), "status": {"phase": "Bound"}}
    await admit(plugin, request("UPDATE", PERSISTENTVOLUMECLAIMS, bigger, old=claim, user=N1, subresource="status"))
    await refused(
        plugin, "other than status.capacity", "UPDATE", PERSISTENTVOLUMECLAIMS, bound, old=claim, subresource="status"
    )
    await refused(plugin, "may only update PVC status", "UPDATE", PERSISTENTVOLUMECLAIMS, claim, old=claim)
