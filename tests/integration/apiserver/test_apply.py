"""Server-side apply over HTTP: managers, conflicts, what goes and what stays."""

from __future__ import annotations

from typing import Any

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
