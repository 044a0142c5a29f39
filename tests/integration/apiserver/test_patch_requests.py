"""Patches over HTTP: what is refused, in which words, and what a patch does to the parts of a kind."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.apiserver.conftest import Answer, Server
from tests.integration.apiserver.test_crud import MAPS, config_map
from tests.integration.apiserver.test_updates import DEPLOYMENTS, deployment

JSON = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
REJECTED = "the server rejected our request due to an error in our request"


async def send(server: Server, path: str, body: bytes, content_type: str, **query: Any) -> Answer:
    return await server.request("PATCH", path, body, headers={"Content-Type": content_type}, **query)


async def test_media_types(server: Server) -> None:
    await server.post(MAPS, config_map("a"))
    for content_type in ("application/json", "application/yaml", "text/plain", ""):
        answer = await send(server, f"{MAPS}/a", b"{}", content_type)
        assert answer.status == 415 and answer.json["reason"] == "UnsupportedMediaType"
        assert answer.json["message"] == (
            "the body of the request was in an unknown format - accepted media types include: "
            "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, "
            "application/apply-patch+yaml"
        )
    assert (await send(server, f"{MAPS}/a", b"{}", MERGE + "; charset=utf-8")).status == 200


@pytest.mark.parametrize(
    ("content_type", "body", "message"),
    [
        (JSON, b"{", "error decoding patch: unexpected end of JSON input"),
        (JSON, b"{}",
         "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"),
        (JSON, b'[{"op":"add","path":5}]',
         "error decoding patch: json: cannot unmarshal number into Go struct field jsonPatchOp.path of type string"),
        (MERGE, b"[]",
         "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"),
        (MERGE, b"{", "error decoding patch: unexpected end of JSON input"),
        (MERGE, b"null", "Invalid JSON Patch"),
        (MERGE, b'{"a":[null,{"b":-1.5e400}]}',
         "error decoding patch: json: cannot unmarshal number -1.5e400 into Go value of type float64"),
        (STRATEGIC, b'{"a":1e400}', "json: cannot unmarshal number 1e400 into Go value of type float64"),
        (JSON, b'[{"op":"add","path":"/data/x","value":1e400}]',
         "error decoding patch: json: cannot unmarshal number 1e400 into Go struct field jsonPatchOp.value of type "
         "float64"),
        (STRATEGIC, b"[]", "json: cannot unmarshal array into Go value of type map[string]interface {}"),
        (STRATEGIC, b"{", "unexpected end of JSON input"),
        (APPLY, b"a: {", "error decoding YAML: yaml: "),
    ],
)  # fmt: skip
async def test_bodies_that_are_no_patch(server: Server, content_type: str, body: bytes, message: str) -> None:
    query = {"fieldManager": "me"} if content_type == APPLY else {}
    if content_type != APPLY:
        absent = await send(server, f"{MAPS}/a", body, content_type, **query)
        assert absent.status == 404, "what is not there is told before what is wrong with the patch"
    await server.post(MAPS, config_map("a"))
    answer = await send(server, f"{MAPS}/a", body, content_type, **query)
    assert (answer.status, answer.json["reason"]) == (400, "BadRequest")
    assert answer.json["message"].startswith(message), answer.json["message"]


@pytest.mark.parametrize(
    ("content_type", "body", "status", "message"),
    [
        (JSON, b"{", 400, "unexpected end of JSON input"),
        (JSON, b"{}", 400, "json: cannot unmarshal object into Go value of type jsonpatch.Patch"),
        (JSON, b"[1]", 400, "json: cannot unmarshal number into Go value of type jsonpatch.Operation"),
        (JSON, b'[{"op":"add","path":5}]', 422, REJECTED),
        (MERGE, b"{", 400, "Invalid JSON Patch"),
        (MERGE, b"5", 400, "Invalid JSON Patch"),
    ],
)
async def test_bodies_that_are_no_patch_where_fields_are_not_validated(
    server: Server, content_type: str, body: bytes, status: int, message: str
) -> None:
    await server.post(MAPS, config_map("a"))
    answer = await send(server, f"{MAPS}/a", body, content_type, fieldValidation="Ignore")
    assert (answer.status, answer.json["message"]) == (status, message)


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/data/x", "value": "2"},
        {"op": "remove", "path": "/data/y"},
        {"op": "replace", "path": "/data/y/z", "value": "1"},
        {"op": "add", "path": "/data/y/z", "value": "1"},
        {"op": "move", "from": "/data/y", "path": "/data/z"},
        {"op": "jump", "path": "/data/x"},
        {"op": "add", "value": "1"},
    ],
)
async def test_json_patches_that_do_not_apply(server: Server, operation: Any) -> None:
    made = (await server.post(MAPS, config_map("a", x="1"))).json
    answer = await server.patch(f"{MAPS}/a", [{"op": "add", "path": "/data/w", "value": "1"}, operation], "json")
    assert answer.status == 422 and answer.json["reason"] == "Invalid" and answer.json["message"] == REJECTED
    assert answer.json["details"] == {}
    assert (await server.get(f"{MAPS}/a")).json == made


async def test_too_many_operations(server: Server) -> None:
    await server.post(MAPS, config_map("a", x="1"))
    body = json.dumps([{"op": "test", "path": "/data/x", "value": "1"}] * 10_001).encode()
    answer = await send(server, f"{MAPS}/a", body, JSON)
    assert answer.status == 413 and answer.json["message"] == (
        "The allowed maximum operations in a JSON patch is 10000, got 10001"
    )


DUPLICATES: list[tuple[str, bytes, str]] = [
    (MERGE, b'{"data":{"x":"1","x":"2"}}', 'duplicate field "data.x"'),
    (STRATEGIC, b'{"data":{"x":"1","x":"2"}}', 'duplicate field "data.x"'),
    (JSON, b'[{"op":"add","path":"/data","value":{"x":"2"},"path":"/data"}]', 'json patch duplicate field "[0].path"'),
    (JSON, b'[{"op":"add","path":"/data","value":{"x":"2"},"extra":1}]', 'json patch unknown field "[0].extra"'),
    (APPLY, b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  x: '1'\n  x: '2'\n",
     "error converting YAML to JSON: yaml: unmarshal errors:\n  line 7: key \"x\" already set in map"),
]  # fmt: skip


@pytest.mark.parametrize(("content_type", "body", "told"), DUPLICATES)
async def test_field_validation_of_the_patch_itself(server: Server, content_type: str, body: bytes, told: str) -> None:
    query = {"fieldManager": "me"}
    await server.post(MAPS, config_map("a"), **query)
    strict = await send(server, f"{MAPS}/a", body, content_type, fieldValidation="Strict", **query)
    if content_type == APPLY:
        assert strict.status == 400 and strict.json["message"] == f"error strict decoding YAML: {told}"
    else:
        assert strict.status == 422 and f"strict decoding error: {told}" in strict.json["message"]
    warned = await send(server, f"{MAPS}/a", body, content_type, **query)
    assert warned.status == 200 and warned.json["data"] == {"x": "2"}
    assert told.split("\n")[0].replace('"', '\\"') in warned.headers["Warning"]
    ignored = await send(server, f"{MAPS}/a", body, content_type, fieldValidation="Ignore", **query)
    assert ignored.status == 200 and "Warning" not in ignored.headers


@pytest.mark.parametrize(
    ("kind", "shown"),
    [("strategic-merge", '"map[data:map[x:5]]"'), ("merge", '"{\\"')],
)
async def test_a_patch_that_makes_what_the_type_cannot_hold(server: Server, kind: str, shown: str) -> None:
    await server.post(MAPS, config_map("a"))
    answer = await server.patch(f"{MAPS}/a", {"data": {"x": 5}}, kind)
    assert (answer.status, answer.json["reason"]) == (422, "Invalid")
    assert answer.json["message"].startswith(f' "" is invalid: patch: Invalid value: {shown}'), answer.json["message"]
    assert answer.json["details"]["causes"][0]["field"] == "patch"


async def test_preconditions(server: Server) -> None:
    made = (await server.post(MAPS, config_map("a", x="1"))).json
    version, uid = made["metadata"]["resourceVersion"], made["metadata"]["uid"]
    for kind in ("merge", "strategic-merge", "apply"):
        query = {"fieldManager": "me", "force": "true"} if kind == "apply" else {}
        base: dict[str, Any] = config_map("a") if kind == "apply" else {"metadata": {}}

        def with_meta(base: dict[str, Any] = base, **meta: str) -> dict[str, Any]:
            return {**base, "metadata": {**base["metadata"], **meta}, "data": {"x": "2"}}

        stale = await server.patch(f"{MAPS}/a", with_meta(resourceVersion="1"), kind, **query)
        assert stale.status == 409 and "the object has been modified" in stale.json["message"]
        other = await server.patch(f"{MAPS}/a", with_meta(uid="other"), kind, **query)
        assert other.status == 409 and "Precondition failed: UID in precondition: other" in other.json["message"]
        right = await server.patch(f"{MAPS}/a", with_meta(resourceVersion=version, uid=uid), kind, **query)
        assert right.status == 200
        version = right.json["metadata"]["resourceVersion"]
    test = [{"op": "test", "path": "/metadata/resourceVersion", "value": "1"}]
    assert (await server.patch(f"{MAPS}/a", test, "json")).status == 422
    absent = {**config_map("b"), "metadata": {"name": "b", "uid": "u"}}
    mismatch = await server.patch(f"{MAPS}/b", absent, "apply", fieldManager="me")
    assert mismatch.status == 409 and mismatch.json["message"] == (
        'Operation cannot be fulfilled on configmaps "b": uid mismatch: the provided object specified uid u, '
        "and no existing object was found"
    )


@pytest.mark.parametrize("kind", ["merge", "strategic-merge", "json"])
async def test_patches_of_a_status(server: Server, kind: str) -> None:
    await server.post(DEPLOYMENTS, deployment())
    conditions = [{"type": "Available", "status": "True", "reason": "r", "message": "m"}]
    patch: Any = {"spec": {"replicas": 9}, "status": {"replicas": 2, "conditions": conditions}}
    if kind == "json":
        patch = [{"op": "add", "path": f"/{part}", "value": {**value}} for part, value in patch.items()]
        patch[0] = {"op": "replace", "path": "/spec/replicas", "value": 9}
    answer = await server.patch(f"{DEPLOYMENTS}/web/status", patch, kind)
    assert answer.status == 200, answer.json
    assert answer.json["spec"]["replicas"] == deployment()["spec"]["replicas"]
    assert answer.json["status"]["replicas"] == 2 and answer.json["status"]["conditions"][0]["type"] == "Available"
    more = {"status": {"conditions": [{"type": "Progressing", "status": "True"}]}}
    if kind == "strategic-merge":
        both = (await server.patch(f"{DEPLOYMENTS}/web/status", more, kind)).json["status"]["conditions"]
        assert {c["type"] for c in both} == {"Available", "Progressing"}


async def test_apply_reads_yaml(server: Server) -> None:
    body = b"# a comment\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  x: |\n    text\n  on: 'yes'\n"
    made = await send(server, f"{MAPS}/a", body, APPLY, fieldManager="me")
    assert made.status == 201 and made.json["data"] == {"x": "text\n", "true": "yes"}
    for body in (b"", b"[]", b"text"):
        assert (await send(server, f"{MAPS}/a", body, APPLY, fieldManager="me")).status == 400
