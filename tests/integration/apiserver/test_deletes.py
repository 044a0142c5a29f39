"""Deletion: at once, with grace, with finalizers, of collections and of namespaces."""

from __future__ import annotations

from typing import Any

from tests.integration.apiserver.conftest import Server
from tests.integration.apiserver.test_crud import MAPS, config_map
from tests.integration.apiserver.test_updates import DEPLOYMENTS, deployment

PODS_PATH = "/api/v1/namespaces/default/pods"


async def make_pod(server: Server, name: str, node: str = "", **spec: Any) -> dict[str, Any]:
    await server.post("/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    body = {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}
    made = await server.post(PODS_PATH, body)
    assert made.status == 201, made.body
    if node:
        binding = {"metadata": {"name": name}, "target": {"kind": "Node", "name": node}}
        bound = await server.post(f"{PODS_PATH}/{name}/binding", binding)
        assert bound.status == 201 and bound.json["status"] == "Success"
    return (await server.get(f"{PODS_PATH}/{name}")).json  # type: ignore[no-any-return]


# ---- grace


async def test_a_pod_on_a_node_gets_its_grace(server: Server) -> None:
    await make_pod(server, "p", node="n", terminationGracePeriodSeconds=17)
    first = await server.delete(f"{PODS_PATH}/p")
    assert first.status == 200 and first.json["kind"] == "Pod"
    assert first.json["metadata"]["deletionGracePeriodSeconds"] == 17
    assert first.json["metadata"]["deletionTimestamp"]
    version = first.json["metadata"]["resourceVersion"]

    longer = await server.delete(f"{PODS_PATH}/p", {"gracePeriodSeconds": 60})
    assert longer.json["metadata"]["resourceVersion"] == version
    shorter = await server.delete(f"{PODS_PATH}/p", {"gracePeriodSeconds": 5})
    assert shorter.json["metadata"]["deletionGracePeriodSeconds"] == 5
    assert shorter.json["metadata"]["deletionTimestamp"] < first.json["metadata"]["deletionTimestamp"]
    last = await server.delete(f"{PODS_PATH}/p", {"gracePeriodSeconds": 0})
    assert last.status == 200
    assert (await server.get(f"{PODS_PATH}/p")).status == 404


async def test_pods_that_run_nowhere_go_at_once(server: Server) -> None:
    await make_pod(server, "unscheduled")
    assert (await server.delete(f"{PODS_PATH}/unscheduled")).status == 200
    assert (await server.get(f"{PODS_PATH}/unscheduled")).status == 404
    done = await make_pod(server, "done", node="n")
    await server.put(f"{PODS_PATH}/done/status", {**done, "status": {**done["status"], "phase": "Succeeded"}})
    await server.delete(f"{PODS_PATH}/done")
    assert (await server.get(f"{PODS_PATH}/done")).status == 404


async def test_deleting_counts_as_a_generation(server: Server) -> None:
    body = deployment()
    body["metadata"]["finalizers"] = ["example.com/x"]
    await server.post(DEPLOYMENTS, body)
    marked = (await server.delete(f"{DEPLOYMENTS}/web")).json
    assert marked["metadata"]["generation"] == 2


# ---- finalizers


async def test_finalizers_hold_an_object(server: Server) -> None:
    body = config_map("a")
    body["metadata"]["finalizers"] = ["example.com/one", "example.com/two"]
    await server.post(MAPS, body)
    marked = (await server.delete(f"{MAPS}/a")).json
    assert marked["kind"] == "ConfigMap" and marked["metadata"]["deletionGracePeriodSeconds"] == 0
    again = (await server.delete(f"{MAPS}/a")).json
    assert again["metadata"]["resourceVersion"] == marked["metadata"]["resourceVersion"]

    marked["metadata"]["finalizers"].append("example.com/three")
    refused = await server.put(f"{MAPS}/a", marked)
    assert refused.status == 422 and "no new finalizers can be added" in refused.json["message"]
    one_less = await server.patch(f"{MAPS}/a", {"metadata": {"finalizers": ["example.com/two"]}}, "merge")
    assert one_less.json["metadata"]["finalizers"] == ["example.com/two"]
    last = await server.patch(f"{MAPS}/a", {"metadata": {"finalizers": None}}, "merge")
    assert last.status == 200
    assert (await server.get(f"{MAPS}/a")).status == 404


async def test_propagation_policies(server: Server) -> None:
    for policy, finalizer in (("Foreground", "foregroundDeletion"), ("Orphan", "orphan")):
        await server.post(DEPLOYMENTS, deployment())
        marked = await server.delete(f"{DEPLOYMENTS}/web", {"propagationPolicy": policy})
        assert marked.json["metadata"]["finalizers"] == [finalizer]
        await server.patch(f"{DEPLOYMENTS}/web", {"metadata": {"finalizers": None}}, "merge")
    await server.post(DEPLOYMENTS, deployment())
    marked = await server.delete(f"{DEPLOYMENTS}/web", {"orphanDependents": True})
    assert marked.json["metadata"]["finalizers"] == ["orphan"]
    # A later word on propagation counts too, as long as it is said.
    marked = await server.delete(f"{DEPLOYMENTS}/web", {"propagationPolicy": "Foreground"})
    assert marked.json["metadata"]["finalizers"] == ["foregroundDeletion"]
    gone = await server.delete(f"{DEPLOYMENTS}/web", {"propagationPolicy": "Background"})
    assert gone.json["status"] == "Success"
    assert gone.json["details"]["kind"] == "deployments" and gone.json["details"]["group"] == "apps"


async def test_bad_delete_options(server: Server) -> None:
    await server.post(MAPS, config_map("a"))
    both = await server.delete(f"{MAPS}/a", {"propagationPolicy": "Orphan", "orphanDependents": True})
    assert both.status == 422
    assert (await server.delete(f"{MAPS}/a", {"propagationPolicy": "Sideways"})).status == 422
    assert (await server.delete(f"{MAPS}/a", {"gracePeriodSeconds": "x"})).status == 400
    assert (await server.delete(f"{MAPS}/a", {"kind": "Pod"})).status == 400
    assert (await server.get(f"{MAPS}/a")).status == 200


async def test_preconditions(server: Server) -> None:
    meta = (await server.post(MAPS, config_map("a"))).json["metadata"]
    wrong = await server.delete(f"{MAPS}/a", {"preconditions": {"uid": "other"}})
    assert wrong.status == 409
    assert wrong.json["message"] == (
        'Operation cannot be fulfilled on ConfigMap "a": the UID in the precondition (other) does not match the UID '
        f"in record ({meta['uid']}). The object might have been deleted and then recreated"
    )
    assert (await server.delete(f"{MAPS}/a", {"preconditions": {"resourceVersion": "1"}})).status == 409
    right = {"preconditions": {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}}
    assert (await server.delete(f"{MAPS}/a", right)).status == 200


# ---- collections


async def test_delete_collection(server: Server) -> None:
    for i in range(40):
        body = config_map(f"m{i:02}")
        body["metadata"]["labels"] = {"odd": str(i % 2)}
        await server.post(MAPS, body)
    answer = await server.delete(MAPS, labelSelector="odd=1")
    assert answer.json["kind"] == "ConfigMapList" and len(answer.json["items"]) == 20
    left = (await server.get(MAPS)).json["items"]
    assert {o["metadata"]["labels"]["odd"] for o in left} == {"0"}
    await server.delete(MAPS)
    assert (await server.get(MAPS)).json["items"] == []


# ---- namespaces


async def test_a_namespace_is_emptied_first(server: Server) -> None:
    made = (await server.post("/api/v1/namespaces", {"metadata": {"name": "team"}})).json
    assert made["spec"]["finalizers"] == ["kubernetes"] and made["status"]["phase"] == "Active"
    marked = await server.delete("/api/v1/namespaces/team")
    assert marked.status == 200 and marked.json["status"]["phase"] == "Terminating"
    assert marked.json["metadata"]["deletionTimestamp"]
    refused = await server.post("/api/v1/namespaces/team/configmaps", config_map("a"))
    assert refused.status == 403 and "because it is being terminated" in refused.json["message"]
    again = await server.delete("/api/v1/namespaces/team")
    assert again.json["metadata"]["resourceVersion"] == marked.json["metadata"]["resourceVersion"]

    body = marked.json
    body["spec"] = {}
    assert (await server.put("/api/v1/namespaces/team/finalize", body)).status == 200
    assert (await server.get("/api/v1/namespaces/team")).status == 404


async def test_the_first_namespaces_stay(server: Server) -> None:
    answer = await server.delete("/api/v1/namespaces/default")
    assert answer.status == 403
    assert answer.json["message"] == 'namespaces "default" is forbidden: this namespace may not be deleted'


# ---- binding and eviction


async def test_binding(server: Server) -> None:
    pod = await make_pod(server, "p", node="n")
    assert pod["spec"]["nodeName"] == "n"
    condition = next(c for c in pod["status"]["conditions"] if c["type"] == "PodScheduled")
    assert condition["status"] == "True"
    again = await server.post(
        f"{PODS_PATH}/p/binding", {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "m"}}
    )
    assert again.status == 409
    assert again.json["message"] == (
        'Operation cannot be fulfilled on pods/binding "p": pod p is already assigned to node "n"'
    )
    bad = await server.post(f"{PODS_PATH}/p/binding", {"metadata": {"name": "p"}, "target": {"kind": "Pod"}})
    assert bad.status == 422
    other = await server.post(
        f"{PODS_PATH}/p/binding", {"metadata": {"name": "q"}, "target": {"kind": "Node", "name": "m"}}
    )
    assert other.status == 400


async def test_eviction_respects_a_budget(server: Server) -> None:
    await make_pod(server, "p", node="n")
    patch = {
        "metadata": {"labels": {"app": "x"}},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }
    await server.patch(f"{PODS_PATH}/p", {"metadata": patch["metadata"]})
    await server.patch(f"{PODS_PATH}/p/status", {"status": patch["status"]})
    budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
    body = {"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}}}
    await server.post(budgets, body)
    status = {"disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1}
    await server.patch(f"{budgets}/b/status", {"status": {**status, "observedGeneration": 5}}, "merge")

    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    refused = await server.post(f"{PODS_PATH}/p/eviction", eviction)
    assert refused.status == 429 and refused.json["reason"] == "TooManyRequests"
    assert refused.json["message"] == "Cannot evict pod as it would violate the pod's disruption budget."
    assert refused.json["details"]["causes"] == [
        {
            "reason": "DisruptionBudget",
            "message": "The disruption budget b needs 1 healthy pods and has 1 currently",
        }
    ]
    await server.patch(f"{budgets}/b/status", {"status": {"disruptionsAllowed": 1}}, "merge")
    assert (await server.post(f"{PODS_PATH}/p/eviction", eviction)).status == 201
    assert (await server.get(f"{PODS_PATH}/p")).json["metadata"]["deletionTimestamp"]
    after = (await server.get(f"{budgets}/b")).json["status"]
    assert after["disruptionsAllowed"] == 0 and "p" in after["disruptedPods"]


async def test_events_run_out(server: Server) -> None:
    """Events are stored under a lease, many under one."""
    body = {"involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"}, "reason": "r", "message": "m"}
    for i in range(3):
        await server.post("/api/v1/namespaces/default/events", {**body, "metadata": {"name": f"e{i}"}})
    stored = await server.store.range("/registry/core/events/default/", "/registry/core/events/default0")
    leases = {kv.lease for kv in stored.items}
    assert len(stored.items) == 3 and len(leases) == 1 and leases != {0}
    await server.store.revoke(leases.pop())
    assert (await server.get("/api/v1/namespaces/default/events")).json["items"] == []
