"""What fuzzing found: requests that once ended in a 500, or would have harmed others, by the names of their faults."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.apiserver.conftest import Server

AUTOSCALERS = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers"
REVISIONS = "/apis/apps/v1/namespaces/default/controllerrevisions"


def nested(depth: int) -> Any:
    value: Any = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


async def test_an_autoscaler_without_metadata(server: Server) -> None:
    for method, path in (("POST", AUTOSCALERS), ("PUT", f"{AUTOSCALERS}/a"), ("PUT", f"{AUTOSCALERS}/a/status")):
        for body in (b"null", b"{}", b'{"metadata":null}'):
            answer = await server.request(method, path, body, headers={"Content-Type": "application/json"})
            assert answer.status in (400, 422), (method, path, body)


async def test_metrics_in_an_annotation_that_are_none(server: Server) -> None:
    """An annotation of v1 becomes a field of v2: only what that field can hold."""
    key = "autoscaling.alpha.kubernetes.io/metrics"
    spec = {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "a", "apiVersion": "apps/v1"}}
    for i, text in enumerate(('[1, "x"]', "{}", '[{"type": 7}]', "[", '"x"', "null")):
        body = {"metadata": {"name": f"a{i}", "annotations": {key: text}}, "spec": spec}
        made = await server.post(AUTOSCALERS, body)
        assert made.status == 201, made.body
        stored = await server.get(f"{AUTOSCALERS.replace('/v1/', '/v2/')}/a{i}")
        assert [m["type"] for m in stored.json["spec"]["metrics"]] == ["Resource"]
    metric = {
        "type": "Pods",
        "pods": {"metric": {"name": "m"}, "target": {"type": "AverageValue", "averageValue": "1"}},
    }
    body = {"metadata": {"name": "good", "annotations": {key: json.dumps([metric])}}, "spec": spec}
    assert (await server.post(AUTOSCALERS, body)).status == 201
    stored = await server.get(f"{AUTOSCALERS.replace('/v1/', '/v2/')}/good")
    assert stored.json["spec"]["metrics"] == [metric]


async def test_an_applied_configuration_whose_metadata_are_no_object(server: Server) -> None:
    for meta in ("x", 1, ["a"], True):
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}
        answer = await server.patch("/api/v1/namespaces/default/configmaps/a", body, "apply", fieldManager="one")
        assert answer.status in (400, 422), (meta, answer.body)


async def test_an_applied_configuration_whose_metadata_are_null(server: Server) -> None:
    path = "/api/v1/namespaces/default/configmaps/a"
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": None, "data": {"k": "v"}}
    for manager, status in (("one", 201), ("one", 200), ("two", 200)):
        answer = await server.patch(path, body, "apply", fieldManager=manager)
        assert answer.status == status, answer.body
        assert answer.json["metadata"]["name"] == "a"


@pytest.mark.parametrize("media", ["application/json", "application/yaml"])
async def test_bodies_that_are_nested_without_end(server: Server, media: str) -> None:
    for text in (b'{"a":' * 3000, b"[" * 5000, json.dumps(nested(900)).encode(), json.dumps(nested(480)).encode()):
        answer = await server.request("POST", REVISIONS, text, headers={"Content-Type": media})
        assert answer.status in (400, 422), answer.body[:200]


async def test_an_object_that_is_nested_too_deep_is_refused_and_none_makes_lists_fail(server: Server) -> None:
    """Whatever is stored can be wrapped: in a list, in a table with its objects, in an event."""

    def revision(name: str, depth: int) -> Any:
        return {"metadata": {"name": name}, "revision": 1, "data": nested(depth)}

    # Managed fields mirror the object, a few levels further down.
    assert (await server.post(REVISIONS, revision("deep", 190))).status == 201
    for depth in (200, 230, 254, 300):
        answer = await server.post(REVISIONS, revision("deeper", depth))
        assert (answer.status, answer.json["message"]) == (400, "exceeded max depth"), depth
    assert (await server.patch(f"{REVISIONS}/deep", {"revision": 2}, "merge")).status == 200
    # A patch goes no deeper than a creation.
    pointer = "/data" + "/a" * 188
    answer = await server.patch(f"{REVISIONS}/deep", [{"op": "add", "path": pointer, "value": nested(100)}], "json")
    assert answer.status in (400, 422), answer.body[:200]
    applied = {"apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": 3, "data": nested(300)}
    answer = await server.patch(f"{REVISIONS}/deep", applied, "apply", fieldManager="one", force="true")
    assert answer.status in (400, 422), answer.body[:200]
    table = {"Accept": "application/json;as=Table;g=meta.k8s.io;v=v1"}
    for query in ({}, {"includeObject": "Object"}):
        assert (await server.request("GET", REVISIONS, headers=table, **query)).status == 200
    assert (await server.get(REVISIONS)).status == 200
    assert (await server.request("GET", REVISIONS, headers={"Accept": "application/yaml"})).status == 200


@pytest.mark.parametrize("form", ["merge", "strategic-merge", "json"])
async def test_a_patch_that_makes_the_kind_no_text(server: Server, form: str) -> None:
    path = "/api/v1/namespaces/default"
    for name in ("kind", "apiVersion"):
        for value in (["Pod"], {"a": 1}, 7, True):
            body: Any = {name: value}
            if form == "json":
                body = [{"op": "replace", "path": f"/{name}", "value": value}]
            answer = await server.patch(path, body, form)
            assert answer.status in (400, 422), (name, value, answer.body)


async def test_warnings_that_are_more_headers_than_clients_read(server: Server) -> None:
    """Python's http.client, which the official Python client is built on, gives up at 100 headers."""
    body = {"metadata": {"name": "a"}, **{f"x{i}": 1 for i in range(300)}}
    answer = await server.post("/api/v1/namespaces/default/configmaps", body, fieldValidation="Warn")
    assert answer.status == 201 and len(answer.headers) < 100
    warnings = [value for name, value in answer.headers.items() if name == "Warning"]
    assert len(warnings) == 80 and warnings[0] == '299 - "unknown field \\"x0\\""'


async def test_null_bytes_are_none(server: Server) -> None:
    for plural, field in (("configmaps", "binaryData"), ("secrets", "data")):
        path = f"/api/v1/namespaces/default/{plural}"
        made = await server.post(path, {"metadata": {"name": "nulls"}, field: {"k": None, "l": "eA=="}})
        assert made.status == 201 and made.json[field] == {"k": "", "l": "eA=="}
        assert (await server.get(f"{path}/nulls")).json[field] == {"k": "", "l": "eA=="}
