"""Server-side apply over HTTP: managers, conflicts, what goes and what stays."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.apiserver.conftest import Server
from tests.integration.apiserver.test_crud import MAPS, config_map
from tests.integration.apiserver.test_updates import DEPLOYMENTS, deployment


async def apply(server: Server, path: str, body: dict[str, Any], manager: str = "me", **query: Any) -> Any:
    return await server.patch(path, body, "apply", fieldManager=manager, **query)


def managers(obj: dict[str, Any]) -> set[tuple[str, str]]:
    return {(m["manager"], m["operation"]) for m in obj["metadata"].get("managedFields") or ()}


async def test_apply_creates_changes_and_prunes(server: Server) -> None:
    made = await apply(server, f"{MAPS}/a", config_map("a", x="1", y="2"))
    assert made.status == 201 and managers(made.json) == {("me", "Apply")}
    same = await apply(server, f"{MAPS}/a", config_map("a", x="1", y="2"))
    assert same.status == 200 and same.json == made.json
    changed = await apply(server, f"{MAPS}/a", config_map("a", x="3"))
    assert changed.json["data"] == {"x": "3"}


async def test_conflicts_and_force(server: Server) -> None:
    await apply(server, f"{MAPS}/a", config_map("a", x="1"))
    conflict = await apply(server, f"{MAPS}/a", config_map("a", x="2"), "other")
    assert conflict.status == 409 and conflict.json["reason"] == "Conflict"
    assert conflict.json["message"] == 'Apply failed with 1 conflict: conflict with "me": .data.x'
    forced = await apply(server, f"{MAPS}/a", config_map("a", x="2"), "other", force="true")
    assert forced.json["data"] == {"x": "2"}
    added = await apply(server, f"{MAPS}/a", config_map("a", z="9"), "third")
    assert added.json["data"] == {"x": "2", "z": "9"}


async def test_plain_writes_of_applied_objects_are_tracked(server: Server) -> None:
    await apply(server, f"{DEPLOYMENTS}/web", deployment())
    scaled = await server.patch(f"{DEPLOYMENTS}/web", {"spec": {"replicas": 5}}, "merge", fieldManager="scaler")
    assert managers(scaled.json) == {("me", "Apply"), ("scaler", "Update")}
    conflict = await apply(server, f"{DEPLOYMENTS}/web", deployment())
    assert conflict.status == 409 and '"scaler" using apps/v1: .spec.replicas' in conflict.json["message"]
    without = deployment()
    del without["spec"]["replicas"]
    kept = await apply(server, f"{DEPLOYMENTS}/web", without)
    assert kept.json["spec"]["replicas"] == 5
    status = {**kept.json, "status": {"replicas": 5}}
    updated = await server.put(f"{DEPLOYMENTS}/web/status", status, fieldManager="controller")
    entry = next(m for m in updated.json["metadata"]["managedFields"] if m["manager"] == "controller")
    assert entry["subresource"] == "status" and "f:status" in entry["fieldsV1"]


async def test_objects_that_nobody_applied(server: Server) -> None:
    made = (await server.post(MAPS, config_map("a", x="1"), fieldManager="maker")).json
    (entry,) = made["metadata"]["managedFields"]
    assert entry.pop("time") == made["metadata"]["creationTimestamp"]
    assert entry == {
        "manager": "maker",
        "operation": "Update",
        "apiVersion": "v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:data": {".": {}, "f:x": {}}},
    }
    conflict = await apply(server, f"{MAPS}/a", config_map("a", x="2"))
    assert conflict.status == 409
    assert conflict.json["message"] == 'Apply failed with 1 conflict: conflict with "maker" using v1: .data.x'
    joined = await apply(server, f"{MAPS}/a", config_map("a", y="2"))
    assert joined.json["data"] == {"x": "1", "y": "2"}


async def test_options(server: Server) -> None:
    missing = await server.patch(f"{MAPS}/a", config_map("a"), "apply")
    assert missing.status == 422
    assert "fieldManager: Required value: is required for apply patch" in missing.json["message"]
    await server.post(MAPS, config_map("b"))
    forced = await server.patch(f"{MAPS}/b", {}, "merge", force="true")
    assert forced.status == 422
    assert "force: Forbidden: may not be specified for non-apply patch" in forced.json["message"]
    other = await apply(server, f"{MAPS}/a", config_map("b"))
    assert other.status == 400
    unknown = await apply(server, f"{MAPS}/a", {**config_map("a"), "dada": 1})
    assert unknown.status == 400 and "dada" in unknown.json["message"]
    dry = await apply(server, f"{MAPS}/a", config_map("a"), dryRun="All")
    assert dry.status == 201
    assert (await server.get(f"{MAPS}/a")).status == 404


STATUSES: list[tuple[str, dict[str, Any]]] = [
    ("/api/v1/namespaces", {"kind": "Namespace", "status": {"conditions": [{"type": "MyStatus", "status": "True"}]}}),
    ("/api/v1/nodes", {"kind": "Node", "status": {"conditions": [{"type": "MyStatus", "status": "True"}]}}),
    ("/api/v1/persistentvolumes", {
        "kind": "PersistentVolume",
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}},
        "status": {"message": "hello"},
    }),
    ("/api/v1/namespaces/default/services", {
        "kind": "Service", "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1", "ipMode": "VIP"}]}},
    }),
    ("/apis/apps/v1/namespaces/default/deployments", {
        "kind": "Deployment", "spec": deployment()["spec"],
        "status": {"conditions": [{"type": "MyStatus", "status": "True"}]},
    }),
    ("/apis/networking.k8s.io/v1/namespaces/default/ingresses", {
        "kind": "Ingress", "spec": {"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}},
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}},
    }),
    ("/apis/policy/v1/namespaces/default/poddisruptionbudgets", {
        "kind": "PodDisruptionBudget", "spec": {"selector": {"matchLabels": {"a": "b"}}},
        "status": {"currentHealthy": 5, "desiredHealthy": 1, "disruptionsAllowed": 1, "expectedPods": 5},
    }),
]  # fmt: skip


@pytest.mark.parametrize(("path", "parts"), STATUSES, ids=[parts["kind"] for _, parts in STATUSES])
async def test_a_status_is_applied_by_a_manager_of_its_own(server: Server, path: str, parts: dict[str, Any]) -> None:
    version = path.removeprefix("/apis/").removeprefix("/api/").partition("/namespaces/")[0]
    version = "/".join(version.split("/")[: 1 if path.startswith("/api/") else 2])
    base = {"apiVersion": version, "kind": parts["kind"], "metadata": {"name": "n"}}
    whole = {**base, **parts, "metadata": {"name": "n", "labels": {"a": "b"}}}
    made = await apply(server, f"{path}/n", whole, "maker")
    assert made.status == 201, made.json
    absent = await apply(server, f"{path}/absent/status", {**base, "metadata": {"name": "absent"}}, "s")
    assert absent.status == 404, "a status is not applied into being"
    written = await apply(server, f"{path}/n/status", {**base, "status": parts["status"]}, "status-maker")
    assert written.status == 200, written.json
    for key, value in parts["status"].items():
        found = written.json["status"][key]
        if key == "conditions":
            assert [c["status"] for c in found if c["type"] == "MyStatus"] == ["True"]
        else:
            assert found == value
    entries = {m["manager"]: m for m in written.json["metadata"]["managedFields"]}
    assert entries["status-maker"]["subresource"] == "status" and list(entries["status-maker"]["fieldsV1"]) == [
        "f:status"
    ]
    assert "f:status" not in entries.get("maker", {"fieldsV1": {}})["fieldsV1"]
    again = await apply(server, f"{path}/n/status", {**base, "status": parts["status"]}, "status-maker")
    assert again.json == written.json
    dropped = await apply(server, f"{path}/n/status", base, "status-maker")
    assert "status-maker" not in {m["manager"] for m in dropped.json["metadata"].get("managedFields", ())}
    if parts["kind"] != "PodDisruptionBudget":  # whose numbers are always there
        gone = (dropped.json.get("status") or {}).get(next(iter(parts["status"])))
        assert not any(text in str(gone) for text in ("MyStatus", "hello", "192.0.2.1")), gone


async def test_duplicate_items_survive_an_apply(server: Server) -> None:
    """Two ports of one number are no list map's; applying something else leaves them alone."""
    ports = [{"containerPort": 80, "name": "a"}, {"containerPort": 80, "name": "b"}]
    body = deployment()
    body["spec"]["template"]["spec"]["containers"][0]["ports"] = ports
    await server.post(DEPLOYMENTS, body, fieldManager="maker")
    config = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "labels": {"x": "y"}}}
    applied = await apply(server, f"{DEPLOYMENTS}/web", config)
    assert applied.status == 200, applied.json
    found = applied.json["spec"]["template"]["spec"]["containers"][0]["ports"]
    assert [p["name"] for p in found] == ["a", "b"]
    name = body["spec"]["template"]["spec"]["containers"][0]["name"]
    container: dict[str, Any] = {"name": name, "ports": [{"containerPort": 80, "name": "c"}]}
    config["spec"] = {"template": {"spec": {"containers": [container]}}}
    conflict = await apply(server, f"{DEPLOYMENTS}/web", config)
    assert conflict.status == 409 and 'ports[containerPort=80,protocol="TCP"]' in conflict.json["message"]
    one = await apply(server, f"{DEPLOYMENTS}/web", config, force="true")
    assert [p["name"] for p in one.json["spec"]["template"]["spec"]["containers"][0]["ports"]] == ["c"]
