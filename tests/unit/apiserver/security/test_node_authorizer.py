"""The node authorizer: a kubelet reaches what its pods need, and loses it with them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybernetes.api.meta import Object
from pybernetes.api.resources import PERSISTENTVOLUMES, PODS, RESOURCESLICES, VOLUMEATTACHMENTS
from pybernetes.api.user import NODES_GROUP, User
from pybernetes.apiserver.interfaces import Attributes
from pybernetes.apiserver.node_authorizer import NodeAuthorizer, references_of
from tests.unit.apiserver.security.memory_reader import MemoryReader

N1, N2 = (User(f"system:node:{n}", groups=(NODES_GROUP,)) for n in ("n1", "n2"))

POD_SPEC: Object = {
    "nodeName": "n1",
    "serviceAccountName": "robot",
    "imagePullSecrets": [{"name": "pull"}],
    "containers": [
        {
            "name": "c",
            "env": [
                {"name": "A", "valueFrom": {"secretKeyRef": {"name": "env-secret", "key": "k"}}},
                {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "env-map", "key": "k"}}},
            ],
            "envFrom": [{"secretRef": {"name": "all-secret"}}, {"configMapRef": {"name": "all-map"}}],
        }
    ],
    "initContainers": [{"name": "i", "envFrom": [{"secretRef": {"name": "init-secret"}}]}],
    "volumes": [
        {"name": "a", "secret": {"secretName": "volume-secret"}},
        {"name": "b", "configMap": {"name": "volume-map"}},
        {"name": "c", "persistentVolumeClaim": {"claimName": "claim"}},
        {"name": "d", "projected": {"sources": [{"secret": {"name": "projected"}}, {"configMap": {"name": "p-map"}}]}},
        {"name": "scratch", "ephemeral": {}},
    ],
}
SECRETS = ("pull", "env-secret", "all-secret", "init-secret", "volume-secret", "projected")
MAPS = ("env-map", "all-map", "volume-map", "p-map")


@pytest.fixture
def nodes(reader: MemoryReader) -> NodeAuthorizer:
    return NodeAuthorizer(reader)


def ask(user: User, verb: str, resource: str, name: str = "", namespace: str = "shop", **more: Any) -> Attributes:
    resource, _, sub = resource.partition("/")
    return Attributes(user, verb, namespace, more.pop("group", ""), "v1", resource, sub, name, **more)


def test_others_are_none_of_its_business(nodes: NodeAuthorizer) -> None:
    assert not nodes.authorize(ask(User("alice"), "get", "secrets", "x")).allowed
    assert not nodes.authorize(ask(User("system:node:n1"), "get", "nodes", "n1", "")).allowed
    nameless = nodes.authorize(ask(User("kubelet", groups=(NODES_GROUP,)), "get", "services", "x"))
    assert nameless.reason == 'unknown node for user "kubelet"'


def test_a_pods_references(nodes: NodeAuthorizer, reader: MemoryReader) -> None:
    wanted = [("secrets", n) for n in SECRETS] + [("configmaps", n) for n in MAPS]
    wanted += [("persistentvolumeclaims", "claim"), ("persistentvolumeclaims", "web-scratch")]
    for resource, name in wanted:
        refused = nodes.authorize(ask(N1, "get", resource, name))
        assert refused.reason == "no relationship found between node 'n1' and this object"
    reader.make(PODS, "web", "shop", spec=POD_SPEC)
    for resource, name in wanted:
        assert nodes.authorize(ask(N1, "get", resource, name)).allowed, (resource, name)
        assert not nodes.authorize(ask(N2, "get", resource, name)).allowed
        assert not nodes.authorize(ask(N1, "get", resource, name, "bank")).allowed
    assert nodes.authorize(ask(N1, "watch", "secrets", "pull")).allowed
    assert nodes.authorize(ask(N1, "create", "serviceaccounts/token", "robot")).allowed
    assert not nodes.authorize(ask(N2, "create", "serviceaccounts/token", "robot")).allowed
    reader.remove(PODS, "shop", "web")
    assert not nodes.authorize(ask(N1, "get", "secrets", "pull")).allowed
    assert nodes.statistics()["references"] == 0


def test_binding_gives_access(nodes: NodeAuthorizer, reader: MemoryReader) -> None:
    pod = reader.make(PODS, "web", "shop", spec={**POD_SPEC, "nodeName": ""})
    assert not nodes.authorize(ask(N1, "get", "secrets", "pull")).allowed
    reader.put(PODS, {**pod, "metadata": dict(pod["metadata"]), "spec": POD_SPEC})
    assert nodes.authorize(ask(N1, "get", "secrets", "pull")).allowed


def test_two_pods_one_secret(nodes: NodeAuthorizer, reader: MemoryReader) -> None:
    reader.make(PODS, "one", "shop", spec=POD_SPEC)
    reader.make(PODS, "two", "shop", spec=POD_SPEC)
    reader.remove(PODS, "shop", "one")
    assert nodes.authorize(ask(N1, "get", "secrets", "pull")).allowed
    reader.remove(PODS, "shop", "two")
    assert not nodes.authorize(ask(N1, "get", "secrets", "pull")).allowed


def test_mirror_pods_open_nothing(nodes: NodeAuthorizer, reader: MemoryReader) -> None:
    annotations = {"kubernetes.io/config.mirror": "x"}
    reader.make(PODS, "static", "shop", metadata={"annotations": annotations}, spec=POD_SPEC)
    assert not nodes.authorize(ask(N1, "get", "secrets", "pull")).allowed
    assert nodes.authorize(ask(N1, "get", "pods", "static")).allowed


def test_volumes_behind_claims(nodes: NodeAuthorizer, reader: MemoryReader) -> None:
    reader.make(PODS, "web", "shop", spec=POD_SPEC)
    spec = {
        "claimRef": {"namespace": "shop", "name": "claim"},
        "csi": {"nodeStageSecretRef": {"namespace": "vault", "name": "stage"}},
    }
    reader.make(PERSISTENTVOLUMES, "pv1", spec=spec)
    reader.make(PERSISTENTVOLUMES, "pv2", spec={"claimRef": {"namespace": "shop", "name": "other"}})
    assert nodes.authorize(ask(N1, "get", "persistentvolumes", "pv1", "")).allowed
    assert not nodes.authorize(ask(N1, "get", "persistentvolumes", "pv2", "")).allowed
    assert nodes.authorize(ask(N1, "get", "secrets", "stage", "vault")).allowed
    assert not nodes.authorize(ask(N2, "get", "secrets", "stage", "vault")).allowed


def test_lists_need_a_selector(nodes: NodeAuthorizer) -> None:
    listing = {"verb": "list", "resource": "pods", "namespace": ""}
    assert nodes.authorize(ask(N1, **listing, field_selector="spec.nodeName=n1")).allowed
    for selector in (
        "",
        "spec.nodeName=n2",
        "spec.nodeName!=n1",
        "metadata.name=n1",
        "status.phase!=x\\,spec.nodeName=n1",
    ):
        assert not nodes.authorize(ask(N1, **listing, field_selector=selector)).allowed, selector


@pytest.mark.parametrize(
    ("verb", "resource", "name", "namespace", "group", "ok"),
    [
        ("get", "nodes", "n1", "", "", True),
        ("get", "nodes", "n2", "", "", False),
        ("list", "nodes", "", "", "", False),
        ("patch", "nodes/status", "n1", "", "", True),
        ("delete", "nodes", "n1", "", "", False),
        ("create", "nodes", "", "", "", True),
        ("update", "leases", "n1", "kube-node-lease", "coordination.k8s.io", True),
        ("update", "leases", "n2", "kube-node-lease", "coordination.k8s.io", False),
        ("update", "leases", "n1", "default", "coordination.k8s.io", False),
        ("list", "leases", "", "kube-node-lease", "coordination.k8s.io", False),
        ("get", "csinodes", "n1", "", "storage.k8s.io", True),
        ("get", "csinodes", "n2", "", "storage.k8s.io", False),
        ("list", "services", "", "", "", True),
        ("create", "events", "", "shop", "", True),
        ("list", "secrets", "", "shop", "", False),
        ("delete", "secrets", "x", "shop", "", False),
        ("get", "roles", "x", "shop", "rbac.authorization.k8s.io", False),
        ("patch", "pods/status", "x", "shop", "", True),
        ("update", "pods", "x", "shop", "", False),
        ("create", "pods/eviction", "x", "shop", "", True),
        ("create", "pods/exec", "x", "shop", "", False),
    ],
)
def test_table(
    nodes: NodeAuthorizer, verb: str, resource: str, name: str, namespace: str, group: str, ok: bool
) -> None:
    assert nodes.authorize(ask(N1, verb, resource, name, namespace, group=group)).allowed is ok


def test_attachments_and_slices(nodes: NodeAuthorizer, reader: MemoryReader) -> None:
    reader.make(VOLUMEATTACHMENTS, "va", spec={"nodeName": "n1"})
    reader.make(RESOURCESLICES, "s", spec={"nodeName": "n1"})
    for resource, name, group in (
        ("volumeattachments", "va", "storage.k8s.io"),
        ("resourceslices", "s", "resource.k8s.io"),
    ):
        assert nodes.authorize(ask(N1, "get", resource, name, "", group=group)).allowed
        assert not nodes.authorize(ask(N2, "get", resource, name, "", group=group)).allowed


pod_states = st.lists(
    st.tuples(
        st.sampled_from(["p", "q"]),
        st.sampled_from(["", "n1", "n2"]),
        st.lists(st.sampled_from(["s", "t"]), max_size=2, unique=True),
        st.booleans(),
    ),
    max_size=12,
)


@given(pod_states)
def test_the_counts_are_what_a_recount_would_give(steps: list[tuple[str, str, list[str], bool]]) -> None:
    reader = MemoryReader()
    nodes = NodeAuthorizer(reader)
    for name, node, secrets, remove in steps:
        if remove:
            if reader.get(PODS, "shop", name) is not None:
                reader.remove(PODS, "shop", name)
        else:
            reader.make(PODS, name, "shop", spec={"nodeName": node, "imagePullSecrets": [{"name": s} for s in secrets]})
        expected = {
            (reference, pod["spec"]["nodeName"])
            for pod in reader.list(PODS)
            if pod["spec"]["nodeName"]
            for reference in references_of(pod)
        }
        counted = {(reference, node) for reference, found in nodes._counts.items() for node in found}
        assert counted == expected
