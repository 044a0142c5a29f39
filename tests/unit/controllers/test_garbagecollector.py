from __future__ import annotations

from pybernetes.api.meta import Object
from pybernetes.api.resources import CONFIGMAPS, PODS, REPLICASETS
from pybernetes.controllers.garbagecollector import plan as p
from pybernetes.controllers.garbagecollector.graph import Graph
from pybernetes.controllers.garbagecollector.plan import OwnerState
from pybernetes.controllers.namespace.plan import Findings, plan_conditions, without_finalizer
from tests.unit.controllers.objects import NOW, owner_ref, pod, replica_set


def owned(name: str = "a", *owners: str) -> Object:
    obj = pod(name)
    obj["metadata"]["ownerReferences"] = [owner_ref("ReplicaSet", o, f"uid-{o}") for o in owners]
    return obj


def deleting(obj: Object, *finalizers: str) -> Object:
    meta = {**obj["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": list(finalizers)}
    return {**obj, "metadata": meta}


def test_graph_tells_who_has_to_be_looked_at() -> None:
    graph = Graph()
    assert graph.put(REPLICASETS, replica_set("web")) == []
    assert graph.put(PODS, owned("a", "web")) == []
    assert graph.put(PODS, owned("b", "nobody")) == ["uid-b"], "an owner that is not there"
    assert graph.put(PODS, owned("b", "nobody")) == [], "told once"
    assert graph.remove(replica_set("web")) == ["uid-a"]
    assert graph.put(PODS, owned("c", "web")) == ["uid-c"], "made after its owner went"


def test_foreground_waits_for_what_blocks_it() -> None:
    graph = Graph()
    rs = replica_set("web")
    graph.put(REPLICASETS, rs)
    graph.put(PODS, owned("a", "web"))
    free = owned("free", "web")
    free["metadata"]["ownerReferences"][0]["blockOwnerDeletion"] = False
    graph.put(PODS, free)
    assert graph.put(REPLICASETS, deleting(rs, "foregroundDeletion")) == ["uid-web"]
    assert [n.obj["metadata"]["name"] for n in graph.blocking("uid-web")] == ["a"]
    assert graph.remove(owned("a", "web")) == ["uid-web"]
    assert graph.blocking("uid-web") == [] and graph.has_dependents("uid-web")
    assert set(graph.put(PODS, owned("late", "web"))) == {"uid-late", "uid-web"}


def test_wrong_coordinates_are_no_owner() -> None:
    graph = Graph()
    graph.put(REPLICASETS, replica_set("web"))
    elsewhere = owned("a", "web")
    elsewhere["metadata"]["namespace"] = "other"
    assert graph.put(PODS, elsewhere) == ["uid-a"]
    assert graph.is_in_wrong_namespace(elsewhere["metadata"]["ownerReferences"][0], elsewhere)
    renamed = owned("b", "web")
    renamed["metadata"]["ownerReferences"][0]["name"] = "other"
    assert graph.put(PODS, renamed) == ["uid-b"]


def judge(obj: Object, *states: OwnerState, dependents: bool = False, circle: bool = False) -> p.Action:
    owners = {r["uid"]: s for r, s in zip(obj["metadata"]["ownerReferences"], states, strict=True)}
    return p.plan(obj, owners, has_dependents=dependents, has_dependents_in_foreground=circle)


def test_what_happens_to_a_dependent() -> None:
    one, two = owned("a", "x"), owned("a", "x", "y")
    assert judge(one, OwnerState.SOLID) == p.Keep()
    assert judge(one, OwnerState.UNKNOWN) == p.Keep()
    assert judge(one, OwnerState.ABSENT) == p.DeleteObject("Background")
    assert judge(two, OwnerState.SOLID, OwnerState.ABSENT) == p.DropReferences(("uid-y",))
    assert judge(two, OwnerState.ABSENT, OwnerState.UNKNOWN) == p.Keep()
    assert judge(one, OwnerState.WAITING) == p.DeleteObject("Background")
    assert judge(one, OwnerState.WAITING, dependents=True) == p.DeleteObject("Foreground")
    assert judge(one, OwnerState.WAITING, dependents=True, circle=True) == p.DeleteObject("Foreground", True)
    assert judge(deleting(one), OwnerState.ABSENT) == p.Keep()
    orphaning = {**one, "metadata": {**one["metadata"], "finalizers": ["orphan"]}}
    assert judge(orphaning, OwnerState.ABSENT) == p.DeleteObject("Orphan")


def test_owner_states() -> None:
    rs = replica_set("web")
    assert p.owner_state(rs, "uid-web") is OwnerState.SOLID
    assert p.owner_state(rs, "another") is OwnerState.ABSENT
    assert p.owner_state(None, "uid-web") is OwnerState.ABSENT
    assert p.owner_state(deleting(rs, "foregroundDeletion"), "uid-web") is OwnerState.WAITING
    assert p.owner_state(deleting(rs, "mine"), "uid-web") is OwnerState.SOLID


def test_patches() -> None:
    obj = owned("a", "x", "y")
    assert p.drop_references(obj, ("uid-x",)) == {
        "metadata": {
            "uid": "uid-a",
            "resourceVersion": "1",
            "ownerReferences": [owner_ref("ReplicaSet", "y", "uid-y")],
        }
    }
    assert p.drop_references(obj, ("uid-x", "uid-y"))["metadata"]["ownerReferences"] is None
    assert p.drop_finalizer(deleting(obj, "orphan"), "orphan")["metadata"]["finalizers"] is None


def test_namespace_conditions() -> None:
    findings = Findings(failures=["no"])
    findings.remain(PODS, [pod("a"), deleting(pod("b"), "f/x")])
    findings.remain(CONFIGMAPS, [])
    namespace: Object = {"metadata": {"name": "n"}, "spec": {"finalizers": ["kubernetes", "other"]}, "status": {}}
    found = {c["type"]: c for c in plan_conditions(namespace, findings, NOW)}
    assert len(found) == 5
    assert found["NamespaceContentRemaining"]["message"] == (
        "Some resources are remaining: pods. has 2 resource instances"
    )
    assert found["NamespaceFinalizersRemaining"]["message"] == (
        "Some content in the namespace has finalizers remaining: f/x in 1 resource instances"
    )
    assert found["NamespaceDeletionContentFailure"]["message"] == "Failed to delete all resource types, 1 remaining: no"
    assert found["NamespaceDeletionDiscoveryFailure"]["status"] == "False"
    namespace["status"]["conditions"] = list(found.values())
    assert plan_conditions(namespace, findings, NOW + 60) == list(found.values())
    after = {c["type"]: c for c in plan_conditions(namespace, Findings(), NOW + 60)}
    assert after["NamespaceContentRemaining"]["status"] == "False"
    assert (
        after["NamespaceContentRemaining"]["lastTransitionTime"]
        != found["NamespaceContentRemaining"]["lastTransitionTime"]
    )
    assert without_finalizer(namespace)["spec"]["finalizers"] == ["other"]
