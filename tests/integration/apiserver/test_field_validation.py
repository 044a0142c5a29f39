"""Unknown and duplicate fields: refused, warned of or ignored, in every verb that has a body, in upstream's words.

The expected texts are those that upstream's own integration tests of field validation expect.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.apiserver.conftest import Answer, Server
from tests.integration.apiserver.test_updates import DEPLOYMENTS, deployment

JSON_BODY = b"""{
  "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
  "spec": {
    "unknown1": "val1", "unknownDupe": "valDupe", "unknownDupe": "valDupe2", "paused": true, "paused": false,
    "selector": {"matchLabels": {"app": "nginx"}},
    "template": {
      "metadata": {"labels": {"app": "nginx"}},
      "spec": {"containers": [{
        "name": "nginx", "image": "nginx:latest", "unknownNested": "val1",
        "unknownNestedDupe": "valDupe", "unknownNestedDupe": "valDupe2",
        "imagePullPolicy": "Always", "imagePullPolicy": "Never"
      }]}
    }
  }
}"""

YAML_BODY = b"""apiVersion: apps/v1
kind: Deployment
metadata:
  name: d
spec:
  unknown1: val1
  unknownDupe: valDupe
  unknownDupe: valDupe2
  paused: true
  paused: false
  selector:
    matchLabels:
      app: nginx
  template:
    metadata:
      labels:
        app: nginx
    spec:
      containers:
      - name: nginx
        image: nginx:latest
        unknownNested: val1
        unknownNestedDupe: valDupe
        unknownNestedDupe: valDupe2
        imagePullPolicy: Always
        imagePullPolicy: Never
"""

CONTAINER = "spec.template.spec.containers[0]"
IN_ORDER = [
    'unknown field "spec.unknown1"',
    'unknown field "spec.unknownDupe"',
    'duplicate field "spec.paused"',
    f'unknown field "{CONTAINER}.unknownNested"',
    f'unknown field "{CONTAINER}.unknownNestedDupe"',
    f'duplicate field "{CONTAINER}.imagePullPolicy"',
]
"""Of a JSON body: a field that is unknown and there twice is unknown alone."""
BY_KEY = [
    f'unknown field "{CONTAINER}.unknownNested"',
    f'unknown field "{CONTAINER}.unknownNestedDupe"',
    'unknown field "spec.unknown1"',
    'unknown field "spec.unknownDupe"',
]
LINES = [
    'line 8: key "unknownDupe" already set in map',
    'line 10: key "paused" already set in map',
    'line 24: key "unknownNestedDupe" already set in map',
    'line 26: key "imagePullPolicy" already set in map',
]
DUPLICATES = [
    'duplicate field "spec.unknownDupe"',
    'duplicate field "spec.paused"',
    f'duplicate field "{CONTAINER}.unknownNestedDupe"',
    f'duplicate field "{CONTAINER}.imagePullPolicy"',
]


def warnings(answer: Answer) -> list[str]:
    return [str(json.loads(v.removeprefix("299 - "))) for k, v in answer.headers.items() if k == "Warning"]


async def send(server: Server, method: str, path: str, media: str, body: bytes, **query: Any) -> Answer:
    return await server.request(method, path, body, headers={"Content-Type": f"application/{media}"}, **query)


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("media", ["json", "yaml"])
async def test_bodies(server: Server, method: str, media: str) -> None:
    path = DEPLOYMENTS if method == "POST" else f"{DEPLOYMENTS}/d"
    if method == "PUT":
        await server.post(DEPLOYMENTS, deployment("d"))
    body = JSON_BODY if media == "json" else YAML_BODY
    told = IN_ORDER if media == "json" else ["yaml: unmarshal errors:\n  " + "\n  ".join(LINES), *BY_KEY]
    strict = await send(server, method, path, media, body, fieldValidation="Strict", dryRun="All")
    assert strict.status == 400 and strict.json["reason"] == "BadRequest"
    assert strict.json["message"] == (
        'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: ' + ", ".join(told)
    )
    for query in ({"fieldValidation": "Warn"}, {}):
        warned = await send(server, method, path, media, body, dryRun="All", **query)
        assert warned.status in (200, 201, 409, 422), warned.body
        assert warnings(warned) == (IN_ORDER if media == "json" else [*LINES, *BY_KEY])
    ignored = await send(server, method, path, media, body, fieldValidation="Ignore", dryRun="All")
    assert not warnings(ignored)


async def test_merge_and_strategic_patches(server: Server) -> None:
    await server.post(DEPLOYMENTS, deployment("d"))
    path = f"{DEPLOYMENTS}/d"
    patch = b'{"spec": {"foo": 1, "paused": true, "paused": false}}'
    told = ['duplicate field "spec.paused"', 'unknown field "spec.foo"']
    for media in ("merge-patch+json", "strategic-merge-patch+json"):
        strict = await send(server, "PATCH", path, media, patch, fieldValidation="Strict")
        assert strict.status == 422 and strict.json["reason"] == "Invalid"
        assert strict.json["message"].startswith(' "" is invalid: patch: Invalid value: ')
        assert strict.json["message"].endswith(": strict decoding error: " + ", ".join(told))
        assert strict.json["details"]["causes"][0]["field"] == "patch"
        if media.startswith("strategic"):
            assert '"map[spec:map[foo:1 paused:false]]"' in strict.json["message"]
        warned = await send(server, "PATCH", path, media, patch, fieldValidation="Warn")
        assert warned.status == 200 and warnings(warned) == told
        assert not warnings(await send(server, "PATCH", path, media, patch, fieldValidation="Ignore"))
    whole = await send(server, "PATCH", path, "merge-patch+json", JSON_BODY, fieldValidation="Warn", dryRun="All")
    assert warnings(whole) == [*DUPLICATES, *BY_KEY]


async def test_json_patches(server: Server) -> None:
    await server.post(DEPLOYMENTS, deployment("d"))
    path = f"{DEPLOYMENTS}/d"
    patch = (
        b'[{"op": "add", "path": "/spec/unknown1", "value": "val1", "foo": "bar"},'
        b' {"op": "add", "path": "/spec/unknown2", "path": "/spec/unknown3", "value": "val1"}]'
    )
    told = [
        'json patch unknown field "[0].foo"',
        'json patch duplicate field "[1].path"',
        'unknown field "spec.unknown1"',
        'unknown field "spec.unknown3"',
    ]
    strict = await send(server, "PATCH", path, "json-patch+json", patch, fieldValidation="Strict")
    assert strict.status == 422 and strict.json["message"].endswith("strict decoding error: " + ", ".join(told))
    warned = await send(server, "PATCH", path, "json-patch+json", patch, fieldValidation="Warn")
    assert warned.status == 200 and warnings(warned) == told
    assert not warnings(await send(server, "PATCH", path, "json-patch+json", patch, fieldValidation="Ignore"))


async def test_applied_configurations(server: Server) -> None:
    await server.post(DEPLOYMENTS, deployment("d"))
    path, media = f"{DEPLOYMENTS}/d", "apply-patch+yaml"
    head = b"apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: d\nspec:\n"
    twice = head + b"  paused: true\n  paused: false\n"
    query = {"fieldManager": "tester", "force": "true"}
    fault = 'line 7: key "paused" already set in map'
    strict = await send(server, "PATCH", path, media, twice, fieldValidation="Strict", **query)
    assert strict.status == 400 and strict.json["message"].startswith("error strict decoding YAML: ")
    assert strict.json["message"].endswith(fault)
    warned = await send(server, "PATCH", path, media, twice, fieldValidation="Warn", **query)
    assert warned.status == 200 and len(warnings(warned)) == 1 and warnings(warned)[0].endswith(fault)
    for mode in ("Strict", "Warn", "Ignore"):
        unknown = await send(server, "PATCH", path, media, head + b"  foo: 1\n", fieldValidation=mode, **query)
        assert unknown.status == 400 and unknown.json["message"].endswith(": .spec.foo: field not declared in schema")


async def test_warnings_are_told_once_and_not_without_end(server: Server) -> None:
    names = [f"unknown{i:02}{'x' * 100}" for i in range(60)]
    answer = await server.post("/api/v1/namespaces", {"metadata": {"name": "w"}, "spec": dict.fromkeys(names, 1)})
    found = warnings(answer)
    assert answer.status == 201 and found == [f'unknown field "spec.{name}"' for name in names[: len(found)]]
    assert 30 < len(found) < 40 and sum(len(w) for w in found) <= 4096
    long = {"metadata": {"name": "l"}, "spec": {"a": 1, "b" * 5000: 1}}
    assert [len(w) for w in warnings(await server.post("/api/v1/namespaces", long))] == [22, 256]
