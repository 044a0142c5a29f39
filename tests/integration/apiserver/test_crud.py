"""Objects over HTTP: the verbs, and the answers' words and codes."""

from __future__ import annotations

from typing import Any

from tests.integration.apiserver.conftest import Server

MAPS = "/api/v1/namespaces/default/configmaps"


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


async def test_an_object_lives(server: Server) -> None:
    made = await server.post(MAPS, config_map("a", x="1"))
    assert made.status == 201
    meta = made.json["metadata"]
    assert meta["namespace"] == "default" and meta["uid"] and meta["creationTimestamp"]
    assert int(meta["resourceVersion"]) > 0

    read = await server.get(f"{MAPS}/a")
    assert read.status == 200 and read.json == made.json

    changed = await server.put(f"{MAPS}/a", {**made.json, "data": {"x": "2"}})
    assert changed.status == 200
    assert int(changed.json["metadata"]["resourceVersion"]) > int(meta["resourceVersion"])
    assert changed.json["metadata"]["uid"] == meta["uid"]

    patched = await server.patch(f"{MAPS}/a", {"data": {"y": "3"}})
    assert patched.json["data"] == {"x": "2", "y": "3"}

    listed = await server.get(MAPS)
    assert listed.json["kind"] == "ConfigMapList"
    assert [o["metadata"]["name"] for o in listed.json["items"]] == ["a"]

    gone = await server.delete(f"{MAPS}/a")
    assert gone.status == 200
    assert gone.json["status"] == "Success"
    assert gone.json["details"] == {"name": "a", "kind": "configmaps", "uid": meta["uid"]}
    assert (await server.get(f"{MAPS}/a")).status == 404


async def test_a_missing_object_is_not_found(server: Server) -> None:
    answer = await server.get(f"{MAPS}/nothing")
    assert answer.status == 404
    assert answer.json == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'configmaps "nothing" not found',
        "reason": "NotFound",
        "details": {"name": "nothing", "kind": "configmaps"},
        "code": 404,
    }
