"""Namespaces, garbage, nodes and accounts against the API server."""

from __future__ import annotations

import pytest

from pybernetes.api import resources as r
from pybernetes.api.meta import Object, annotations_of, get_condition, name_of, uid_of
from pybernetes.client.interface import MERGE_PATCH
from pybernetes.controllers.manager import ControllerConfig
from tests.integration.controllers.conftest import ROOT_CA, World, template


async def test_every_namespace_has_its_account_and_the_root_ca(world: World) -> None:
    await world.create(r.NAMESPACES, "team")
    await world.until(lambda: world.get(r.SERVICEACCOUNTS, "default", "team"))
    published = await world.until(lambda: world.get(r.CONFIGMAPS, "kube-root-ca.crt", "team"))
    assert published["data"] == {"ca.crt": ROOT_CA}
    assert annotations_of(published)["kubernetes.io/description"].startswith("Contains a CA bundle")
    await world.admin.delete(r.SERVICEACCOUNTS, "default", "team")
    await world.until(lambda: world.get(r.SERVICEACCOUNTS, "default", "team"))
    await world.patch(r.CONFIGMAPS, "kube-root-ca.crt", {"data": {"ca.crt": "forged"}}, "team")
    await world.until(
        lambda: (world.get(r.CONFIGMAPS, "kube-root-ca.crt", "team") or {}).get("data") == {"ca.crt": ROOT_CA}
    )


async def test_a_namespace_is_emptied_and_goes(world: World) -> None:
    world.pods_leave = False
    await world.create(r.NAMESPACES, "team")
    await world.until(lambda: world.get(r.SERVICEACCOUNTS, "default", "team"))
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template()}
    await world.create(r.DEPLOYMENTS, "web", "team", spec=spec)
    await world.create(r.CONFIGMAPS, "held", "team", meta={"finalizers": ["example.com/hold"]})
    await world.until(lambda: world.status(r.DEPLOYMENTS, "web", "team").get("availableReplicas") == 2)
    await world.admin.delete(r.NAMESPACES, "team")
    condition = await world.until(
        lambda: (
            (c := get_condition(world.get(r.NAMESPACES, "team") or {}, "NamespaceContentRemaining"))
            and c["status"] == "True"
            and c
        )
    )
    assert condition["message"].startswith("Some resources are remaining: pods. has ")
    assert world.get(r.CONFIGMAPS, "held", "team") is not None, "pods go first"
    for pod in world.all(r.PODS, "team"):
        await world.end_pod(pod)
    condition = await world.until(
        lambda: (
            (c := get_condition(world.get(r.NAMESPACES, "team") or {}, "NamespaceFinalizersRemaining"))
            and c["status"] == "True"
            and c
        )
    )
    assert condition["message"] == (
        "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
    )
    await world.admin.patch(r.CONFIGMAPS, "held", {"metadata": {"finalizers": None}}, "team", patch_type=MERGE_PATCH)
    await world.until(lambda: world.get(r.NAMESPACES, "team") is None)
    assert not world.all(r.DEPLOYMENTS, "team") and not world.all(r.REPLICASETS, "team")


async def three_layers(world: World) -> Object:
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template()}
    d = await world.create(r.DEPLOYMENTS, "web", spec=spec)
    await world.until(lambda: world.status(r.DEPLOYMENTS, "web").get("availableReplicas") == 2)
    await world.settled()
    return d


async def test_background_deletion_takes_all_layers(world: World) -> None:
    d = await three_layers(world)
    await world.admin.delete(r.DEPLOYMENTS, "web", "default", propagation="Background", uid=uid_of(d))
    await world.until(lambda: not world.all(r.REPLICASETS) and not world.all(r.PODS))


async def test_foreground_deletion_ends_with_the_owner(world: World) -> None:
    await three_layers(world)
    world.pods_leave = False
    await world.admin.delete(r.DEPLOYMENTS, "web", "default", propagation="Foreground")
    await world.until(lambda: all(p["metadata"].get("deletionTimestamp") for p in world.all(r.PODS)))
    await world.settled()
    assert world.get(r.DEPLOYMENTS, "web") is not None and world.all(r.REPLICASETS)
    for pod in world.all(r.PODS):
        await world.end_pod(pod)
    await world.until(lambda: world.get(r.DEPLOYMENTS, "web") is None)
    assert not world.all(r.REPLICASETS) and not world.all(r.PODS)


async def test_orphans_stay(world: World) -> None:
    await three_layers(world)
    await world.admin.delete(r.DEPLOYMENTS, "web", "default", propagation="Orphan")
    await world.until(lambda: world.get(r.DEPLOYMENTS, "web") is None)
    await world.settled()
    (rs,) = world.all(r.REPLICASETS)
    assert not rs["metadata"].get("ownerReferences") and len(world.all(r.PODS)) == 2


async def test_dependents_of_nobody_go_and_of_others_stay(world: World) -> None:
    owner = await world.create(r.CONFIGMAPS, "owner")

    def ref(name: str, uid: str) -> Object:
        return {"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid}

    await world.create(
        r.SECRETS, "both", meta={"ownerReferences": [ref("owner", uid_of(owner)), ref("gone", "no-such-uid")]}
    )
    await world.create(r.SECRETS, "lost", meta={"ownerReferences": [ref("owner", "another-uid")]})
    await world.until(lambda: world.get(r.SECRETS, "lost") is None)
    both = await world.until(
        lambda: (s := world.get(r.SECRETS, "both")) and len(s["metadata"]["ownerReferences"]) == 1 and s
    )
    assert both["metadata"]["ownerReferences"][0]["name"] == "owner"
    await world.create(r.NAMESPACES, "team")
    await world.create(r.SECRETS, "elsewhere", "team", meta={"ownerReferences": [ref("owner", uid_of(owner))]})
    await world.until(lambda: world.get(r.SECRETS, "elsewhere", "team") is None)
    await world.until(lambda: world.events("OwnerRefInvalidNamespace", "team"))
    assert world.events("OwnerRefInvalidNamespace", "team")[0] == (
        f"ownerRef [v1/ConfigMap, namespace: team, name: owner, uid: {uid_of(owner)}] does not exist in "
        'namespace "team"'
    )


async def test_cluster_roles_aggregate(world: World) -> None:
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
    selectors = [{"matchLabels": {"part-of": "sum"}}]
    await world.create(r.CLUSTERROLES, "sum", aggregationRule={"clusterRoleSelectors": selectors}, rules=[])
    await world.create(r.CLUSTERROLES, "part", meta={"labels": {"part-of": "sum"}}, rules=[rule])
    await world.until(lambda: (world.get(r.CLUSTERROLES, "sum") or {}).get("rules") == [rule])
    await world.admin.delete(r.CLUSTERROLES, "part")
    await world.until(lambda: not (world.get(r.CLUSTERROLES, "sum") or {}).get("rules"))


async def test_nodes_get_ranges_of_their_own(world: World) -> None:
    for i in range(5):
        await world.create(r.NODES, f"n{i}")
    await world.until(lambda: all((n.get("spec") or {}).get("podCIDR") for n in world.all(r.NODES)))
    cidrs = [n["spec"]["podCIDR"] for n in world.all(r.NODES)]
    assert len(set(cidrs)) == len(cidrs)
    assert all(c.startswith("10.244.") and c.endswith(".0/24") for c in cidrs)
    assert all(n["spec"]["podCIDRs"] == [n["spec"]["podCIDR"]] for n in world.all(r.NODES))


class TestSilentNodes:
    @pytest.fixture
    def config(self) -> ControllerConfig:
        return ControllerConfig(node_monitor_grace_seconds=1.5, node_startup_grace_seconds=1.5)

    async def test_a_silent_node_is_tainted_and_its_pods_leave(self, world: World) -> None:
        await world.add_node("node-b", meta={"labels": {"kubernetes.io/os": "linux"}})
        world.pods_leave = False
        world.pods_run = False
        tolerations = [
            {
                "key": "node.kubernetes.io/unreachable",
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": 1,
            },
            {
                "key": "node.kubernetes.io/not-ready",
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": 1,
            },
        ]
        containers = [{"name": "c", "image": "web:1"}]
        pod = await world.create(r.PODS, "on-b", spec={"containers": containers, "tolerations": tolerations})
        staying = [{"operator": "Exists"}]
        stays = await world.create(r.PODS, "stays", spec={"containers": containers, "tolerations": staying})
        await world.run_pod(pod, node="node-b")
        await world.run_pod(stays, node="node-b")
        for _ in range(200):
            # node-a goes on sending heartbeats, node-b does not.
            await world.renew_lease("node-a")
            try:
                await world.until(lambda: world.meta(r.PODS, "on-b").get("deletionTimestamp"), seconds=0.25)
                break
            except AssertionError:
                continue
        node = world.get(r.NODES, "node-b") or {}
        condition = get_condition(node, "Ready") or {}
        assert (condition["status"], condition["reason"], condition["message"]) == (
            "Unknown",
            "NodeStatusUnknown",
            "Kubelet stopped posting node status.",
        )
        assert {(t["key"], t["effect"]) for t in node["spec"]["taints"]} == {
            ("node.kubernetes.io/unreachable", "NoSchedule"),
            ("node.kubernetes.io/unreachable", "NoExecute"),
        }
        assert node["metadata"]["labels"]["beta.kubernetes.io/os"] == "linux"
        evicted = world.get(r.PODS, "on-b") or {}
        assert (get_condition(evicted, "DisruptionTarget") or {})["reason"] == "DeletionByTaintManager"
        assert (get_condition(evicted, "Ready") or {})["status"] == "False"
        assert not world.meta(r.PODS, "stays").get("deletionTimestamp")
        await world.until(lambda: world.events("TaintManagerEviction"))
        assert (get_condition(world.get(r.NODES, "node-a") or {}, "Ready") or {})["status"] == "True"
        await world.heartbeat("node-b")
        await world.until(lambda: not (world.get(r.NODES, "node-b") or {})["spec"].get("taints"))

    async def test_while_no_node_is_ready_nothing_is_evicted(self, world: World) -> None:
        await world.until(
            lambda: (get_condition(world.get(r.NODES, "node-a") or {}, "Ready") or {})["status"] == "Unknown"
        )
        await world.until(lambda: (world.get(r.NODES, "node-a") or {})["spec"].get("taints"))
        await world.settled()
        taints = (world.get(r.NODES, "node-a") or {})["spec"]["taints"]
        assert [(t["key"], t["effect"]) for t in taints] == [("node.kubernetes.io/unreachable", "NoSchedule")]


async def test_a_taint_that_somebody_set_evicts_after_the_toleration(world: World) -> None:
    """Such a taint does not say when it was added."""
    containers = [{"name": "c", "image": "web:1"}]
    for name, seconds in (("soon", 1), ("later", 300)):
        mine = {"key": "mine", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}
        await world.create(r.PODS, name, spec={"containers": containers, "tolerations": [mine]})
    await world.until(lambda: all(world.status(r.PODS, n).get("phase") == "Running" for n in ("soon", "later")))
    await world.patch(r.NODES, "node-a", {"spec": {"taints": [{"key": "mine", "effect": "NoExecute"}]}})
    await world.until(lambda: world.get(r.PODS, "soon") is None or world.meta(r.PODS, "soon").get("deletionTimestamp"))
    assert not world.meta(r.PODS, "later").get("deletionTimestamp")
    await world.patch(r.NODES, "node-a", {"spec": {"taints": []}})
    await world.until(lambda: any("Cancelling" in e for e in world.events("TaintManagerEviction")))


async def test_node_events(world: World) -> None:
    await world.until(lambda: world.events("RegisteredNode"))
    assert world.events("RegisteredNode") == ["Node node-a event: Registered Node node-a in Controller"]
    assert name_of(world.all(r.NODES)[0]) == "node-a"
