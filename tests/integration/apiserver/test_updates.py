"""Creation, updates and patches: resource versions, generations, names, dry runs, field validation, bad bodies."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest

from pybernetes.apiserver.pki import client_context
from tests.integration.apiserver.conftest import Server
from tests.integration.apiserver.test_crud import MAPS, config_map

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"


def deployment(name: str = "web", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": "busybox"}]},
            },
            **spec,
        },
    }


# ---- creation


async def test_generate_name(server: Server) -> None:
    body = {"metadata": {"generateName": "job-"}}
    made = [(await server.post(MAPS, body)).json["metadata"]["name"] for _ in range(5)]
    assert len(set(made)) == 5
    assert all(re.fullmatch("job-[bcdfghjklmnpqrstvwxz2456789]{5}", name) for name in made)
    long = (await server.post(MAPS, {"metadata": {"generateName": "x" * 80}})).json["metadata"]["name"]
    assert len(long) == 63


async def test_a_taken_name(server: Server) -> None:
    await server.post(MAPS, config_map("a"))
    again = await server.post(MAPS, config_map("a"))
    assert again.status == 409
    assert again.json["reason"] == "AlreadyExists" and again.json["message"] == 'configmaps "a" already exists'


async def test_what_a_creator_may_not_set_is_dropped(server: Server) -> None:
    body = deployment()
    body["metadata"] |= {"uid": "mine", "creationTimestamp": "2001-01-01T00:00:00Z", "generation": 9, "selfLink": "/x"}
    body["status"] = {"replicas": 5}
    meta = (await server.post(DEPLOYMENTS, body)).json
    assert meta["metadata"]["uid"] != "mine" and meta["metadata"]["generation"] == 1
    assert not meta["metadata"]["creationTimestamp"].startswith("2001") and "selfLink" not in meta["metadata"]
    assert not (meta.get("status") or {}).get("replicas")


async def test_a_resource_version_on_creation_is_refused(server: Server) -> None:
    body = config_map("a")
    body["metadata"]["resourceVersion"] = "7"
    answer = await server.post(MAPS, body)
    assert answer.status == 500
    assert answer.json["message"] == "resourceVersion should not be set on objects to be created"


async def test_no_name_at_all(server: Server) -> None:
    answer = await server.post(MAPS, {"metadata": {}})
    assert answer.status == 422
    assert answer.json["details"]["causes"] == [
        {
            "reason": "FieldValueRequired",
            "message": "Required value: name or generateName is required",
            "field": "metadata.name",
        }
    ]


async def test_namespaces_of_body_and_url(server: Server) -> None:
    body = config_map("a")
    body["metadata"]["namespace"] = "other"
    answer = await server.post(MAPS, body)
    assert answer.status == 400
    assert answer.json["message"] == (
        "the namespace of the provided object does not match the namespace sent on the request"
    )
    missing = await server.post("/api/v1/namespaces/nowhere/configmaps", config_map("a"))
    assert missing.status == 404 and missing.json["message"] == 'namespaces "nowhere" not found'


async def test_kind_and_version_of_body_and_url(server: Server) -> None:
    answer = await server.post(MAPS, deployment())
    assert answer.status == 400
    assert answer.json["message"] == (
        "the API version in the data (apps/v1) does not match the expected API version (v1)"
    )
    answer = await server.post(MAPS, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}})
    assert answer.status == 400
    assert answer.json["message"].startswith('Secret in version "v1" cannot be handled as a ConfigMap')


# ---- updates


async def test_a_stale_version_conflicts(server: Server) -> None:
    old = (await server.post(MAPS, config_map("a", x="1"))).json
    assert (await server.put(f"{MAPS}/a", {**old, "data": {"x": "2"}})).status == 200
    stale = await server.put(f"{MAPS}/a", {**old, "data": {"x": "3"}})
    assert stale.status == 409 and stale.json["reason"] == "Conflict"
    assert stale.json["message"] == (
        'Operation cannot be fulfilled on configmaps "a": the object has been modified; please apply your changes to '
        "the latest version and try again"
    )
    assert (await server.get(f"{MAPS}/a")).json["data"] == {"x": "2"}


async def test_no_version_overwrites(server: Server) -> None:
    await server.post(MAPS, config_map("a", x="1"))
    answers = await asyncio.gather(*(server.put(f"{MAPS}/a", config_map("a", x=str(i))) for i in range(20)))
    assert {a.status for a in answers} == {200}
    assert len({a.json["metadata"]["resourceVersion"] for a in answers}) == 20


async def test_an_update_to_nothing_writes_nothing(server: Server) -> None:
    made = (await server.post(MAPS, config_map("a", x="1"))).json
    before = await server.store.revision()
    same = await server.put(f"{MAPS}/a", config_map("a", x="1"))
    assert same.json == made
    assert (await server.patch(f"{MAPS}/a", {"data": {"x": "1"}})).json == made
    assert await server.store.revision() == before


async def test_another_uid_conflicts(server: Server) -> None:
    body = (await server.post(MAPS, config_map("a"))).json
    body["metadata"]["uid"] = "other"
    answer = await server.put(f"{MAPS}/a", body)
    assert answer.status == 409
    assert "Precondition failed: UID in precondition: other, UID in object meta: " in answer.json["message"]


async def test_names_of_body_and_url(server: Server) -> None:
    await server.post(MAPS, config_map("a"))
    answer = await server.put(f"{MAPS}/a", config_map("b"))
    assert answer.status == 400
    assert answer.json["message"] == "the name of the object (b) does not match the name on the URL (a)"


async def test_put_creates_only_where_it_may(server: Server) -> None:
    assert (await server.put(f"{MAPS}/a", config_map("a"))).status == 404
    lease = {"metadata": {"name": "l"}, "spec": {"holderIdentity": "me", "leaseDurationSeconds": 10}}
    made = await server.put(f"{LEASES}/l", lease)
    assert made.status == 201 and made.json["metadata"]["uid"]
    refused = await server.put(f"{LEASES}/l", lease)
    assert refused.status == 422
    assert "metadata.resourceVersion: Invalid value: 0x0: must be specified for an update" in refused.json["message"]
    assert (await server.put(f"{LEASES}/l", made.json)).status == 200


async def test_generations_count_specs(server: Server) -> None:
    made = (await server.post(DEPLOYMENTS, deployment())).json
    assert made["metadata"]["generation"] == 1
    made = (await server.put(f"{DEPLOYMENTS}/web", {**made, "spec": {**made["spec"], "replicas": 2}})).json
    assert made["metadata"]["generation"] == 2
    made["metadata"]["labels"] = {"a": "b"}
    made = (await server.put(f"{DEPLOYMENTS}/web", made)).json
    assert made["metadata"]["generation"] == 2
    made["status"]["replicas"] = 2
    made = (await server.put(f"{DEPLOYMENTS}/web/status", made)).json
    assert made["metadata"]["generation"] == 2 and made["status"]["replicas"] == 2


async def test_status_and_spec_are_written_apart(server: Server) -> None:
    made = (await server.post(DEPLOYMENTS, deployment())).json
    both = {**made, "spec": {**made["spec"], "replicas": 7}, "status": {"replicas": 7}}
    after = (await server.put(f"{DEPLOYMENTS}/web/status", both)).json
    assert after["spec"]["replicas"] == 1 and after["status"]["replicas"] == 7
    both = {**after, "spec": {**made["spec"], "replicas": 9}, "status": {"replicas": 9}}
    after = (await server.put(f"{DEPLOYMENTS}/web", both)).json
    assert after["spec"]["replicas"] == 9 and after["status"]["replicas"] == 7


async def test_labels_of_a_deployment_are_not_of_its_status(server: Server) -> None:
    meta = {"labels": {"a": "b"}, "annotations": {"c": "d"}}
    await server.post(DEPLOYMENTS, {**deployment(), "metadata": {"name": "web", "labels": {"a": "0"}}})
    after = (await server.patch(f"{DEPLOYMENTS}/web/status", {"metadata": meta, "status": {"replicas": 1}})).json
    assert after["metadata"]["labels"] == {"a": "0"} and after["metadata"]["annotations"] == {"c": "d"}
    assert after["status"]["replicas"] == 1


async def test_scale(server: Server) -> None:
    await server.post(DEPLOYMENTS, deployment())
    scale = (await server.get(f"{DEPLOYMENTS}/web/scale")).json
    assert scale["kind"] == "Scale" and scale["spec"] == {"replicas": 1}
    assert scale["status"]["selector"] == "app=web"
    scale["spec"]["replicas"] = 4
    assert (await server.put(f"{DEPLOYMENTS}/web/scale", scale)).json["spec"] == {"replicas": 4}
    assert (await server.put(f"{DEPLOYMENTS}/web/scale", scale)).status == 409
    patched = await server.patch(f"{DEPLOYMENTS}/web/scale", {"spec": {"replicas": 0}}, "merge")
    assert patched.status == 200
    assert (await server.get(f"{DEPLOYMENTS}/web")).json["spec"]["replicas"] == 0


# ---- patches


async def test_three_kinds_of_patches(server: Server) -> None:
    await server.post(DEPLOYMENTS, deployment())
    containers = {"spec": {"template": {"spec": {"containers": [{"name": "d", "image": "two"}]}}}}
    merged = (await server.patch(f"{DEPLOYMENTS}/web", containers)).json
    assert {c["name"] for c in merged["spec"]["template"]["spec"]["containers"]} == {"c", "d"}
    replaced = (await server.patch(f"{DEPLOYMENTS}/web", containers, "merge")).json
    assert [c["name"] for c in replaced["spec"]["template"]["spec"]["containers"]] == ["d"]
    operations = [
        {"op": "test", "path": "/spec/replicas", "value": 1},
        {"op": "replace", "path": "/spec/replicas", "value": 3},
    ]
    assert (await server.patch(f"{DEPLOYMENTS}/web", operations, "json")).json["spec"]["replicas"] == 3
    failed = await server.patch(f"{DEPLOYMENTS}/web", operations, "json")
    assert failed.status == 422 and failed.json["reason"] == "Invalid"


async def test_patches_do_not_conflict_with_each_other(server: Server) -> None:
    await server.post(MAPS, config_map("a"))
    answers = await asyncio.gather(*(server.patch(f"{MAPS}/a", {"data": {f"k{i}": "v"}}) for i in range(25)))
    assert {a.status for a in answers} == {200}
    assert len((await server.get(f"{MAPS}/a")).json["data"]) == 25


async def test_a_patch_with_a_stale_version_conflicts(server: Server) -> None:
    version = (await server.post(MAPS, config_map("a"))).json["metadata"]["resourceVersion"]
    patch = {"metadata": {"resourceVersion": version}, "data": {"x": "1"}}
    assert (await server.patch(f"{MAPS}/a", patch, "merge")).status == 200
    assert (await server.patch(f"{MAPS}/a", {**patch, "data": {"x": "2"}}, "merge")).status == 409


async def test_unknown_patch_types(server: Server) -> None:
    await server.post(MAPS, config_map("a"))
    answer = await server.request("PATCH", f"{MAPS}/a", b"{}", headers={"Content-Type": "application/json"})
    assert answer.status == 415
    assert "application/strategic-merge-patch+json" in answer.json["message"]
    for body in (b"{", b"[]", b'"x"'):
        headers = {"Content-Type": "application/merge-patch+json"}
        assert (await server.request("PATCH", f"{MAPS}/a", body, headers=headers)).status == 400


async def test_patching_what_is_not_there(server: Server) -> None:
    assert (await server.patch(f"{MAPS}/a", {})).status == 404


# ---- dry runs and field validation


async def test_dry_runs_write_nothing(server: Server) -> None:
    kept = (await server.post(MAPS, config_map("kept", x="1"))).json
    before = await server.store.revision()
    made = await server.post(MAPS, config_map("a"), dryRun="All")
    assert made.status == 201 and made.json["metadata"]["uid"]
    assert (await server.patch(f"{MAPS}/kept", {"data": {"x": "2"}}, dryRun="All")).json["data"] == {"x": "2"}
    assert (await server.put(f"{MAPS}/kept", {**kept, "data": {}}, dryRun="All")).status == 200
    assert (await server.delete(f"{MAPS}/kept", dryRun="All")).status == 200
    assert (await server.delete(MAPS, dryRun="All")).status == 200
    assert await server.store.revision() == before
    assert (await server.get(f"{MAPS}/a")).status == 404
    assert (await server.post(MAPS, config_map("kept"), dryRun="All")).status == 409
    assert (await server.post(MAPS, config_map("a"), dryRun="Some")).status == 422


async def test_field_validation(server: Server) -> None:
    body = {**config_map("a"), "dada": {}}
    warned = await server.post(MAPS, body)
    assert warned.status == 201 and warned.headers["Warning"] == '299 - "unknown field \\"dada\\""'
    assert "dada" not in warned.json
    strict = await server.post(MAPS, {**body, "metadata": {"name": "b"}}, fieldValidation="Strict")
    assert strict.status == 400 and 'unknown field "dada"' in strict.json["message"]
    ignored = await server.post(MAPS, {**body, "metadata": {"name": "b"}}, fieldValidation="Ignore")
    assert ignored.status == 201 and "Warning" not in ignored.headers
    assert (await server.post(MAPS, body, fieldValidation="Maybe")).status == 422


# ---- bodies


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/json", b'{"metadata":{"name":"a"}', 400),
        ("application/json", b"[]", 400),
        ("application/json", b'{"metadata":{"name":5}}', 400),
        ("application/json", b"\xff\xfe", 400),
        ("application/yaml", b"metadata: {name: a", 400),
        ("text/plain", b"x", 415),
        ("application/vnd.kubernetes.protobuf", b"nonsense", 400),
        ("application/vnd.kubernetes.protobuf", b"k8s\0\xff\xff\xff", 400),
        ("application/json", b'{"metadata":{"name":"a"},"data":{"k":"' + b"x" * (3 << 20) + b'"}}', 413),
    ],
)
async def test_bad_bodies(server: Server, content_type: str, body: bytes, status: int) -> None:
    before = await server.store.revision()
    answer = await server.request("POST", MAPS, body, headers={"Content-Type": content_type})
    assert answer.status == status, answer.body
    assert answer.json["kind"] == "Status" and "Traceback" not in answer.body.decode()
    assert await server.store.revision() == before


async def test_yaml_bodies_and_answers(server: Server) -> None:
    headers = {"Content-Type": "application/yaml", "Accept": "application/yaml"}
    made = await server.request("POST", MAPS, b"metadata: {name: a}\ndata: {x: '1'}\n", headers=headers)
    assert made.status == 201 and made.headers["Content-Type"] == "application/yaml"
    assert made.body.startswith(b"apiVersion: v1\ndata:\n  x: '1'\nkind: ConfigMap\n")


async def test_validation_tells_all_faults_at_once(server: Server) -> None:
    body = deployment("web", replicas=-1)
    body["spec"]["template"]["spec"]["containers"].append({"name": "c", "image": ""})
    answer = await server.post(DEPLOYMENTS, body)
    assert answer.status == 422
    fields = {c["field"] for c in answer.json["details"]["causes"]}
    assert {
        "spec.replicas",
        "spec.template.spec.containers[1].image",
        "spec.template.spec.containers[1].name",
    } <= fields


async def test_events_of_two_groups_are_one(server: Server) -> None:
    """core/v1 and events.k8s.io/v1 serve the same objects, each in its own words."""
    event = {
        "metadata": {"name": "e", "namespace": "default"},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
        "reason": "Seen", "message": "hello", "type": "Normal", "count": 2,
        "reportingComponent": "me",
    }  # fmt: skip
    assert (await server.post("/api/v1/namespaces/default/events", event)).status == 201
    other = (await server.get("/apis/events.k8s.io/v1/namespaces/default/events/e")).json
    assert other["apiVersion"] == "events.k8s.io/v1"
    assert other["note"] == "hello" and other["regarding"]["name"] == "p" and other["deprecatedCount"] == 2
    listed = (await server.get("/apis/events.k8s.io/v1/events")).json
    assert listed["apiVersion"] == "events.k8s.io/v1"
    assert listed["items"] == [{k: v for k, v in other.items() if k not in ("kind", "apiVersion")}]
    new, old = "/apis/events.k8s.io/v1/namespaces/default/events/e", "/api/v1/namespaces/default/events/e"
    refused = await server.patch(new, {"note": "bye"}, "merge")
    assert refused.status == 422 and "field is immutable" in refused.json["message"]
    # What a client in Go sends back has the fields that nobody set, empty.
    written = {**(await server.get(new)).json, "reportingInstance": "", "action": "", "related": None}
    assert (await server.put(new, written)).status == 200
    assert (await server.patch(old, {"message": "bye"}, "merge")).json["message"] == "bye"
    assert (await server.get(new)).json["note"] == "bye"


async def test_json_and_protobuf_say_the_same(server: Server) -> None:
    """An envelope as kubectl sends it: ConfigMap {metadata {name: pb}, data {k: v}}."""

    def message(number: int, value: bytes) -> bytes:
        return bytes((number << 3 | 2, len(value))) + value

    raw = message(1, message(1, b"pb")) + message(2, message(1, b"k") + message(2, b"v"))
    body = b"k8s\0" + message(1, message(1, b"v1") + message(2, b"ConfigMap")) + message(2, raw)
    headers = {
        "Content-Type": "application/vnd.kubernetes.protobuf",
        "Accept": "application/vnd.kubernetes.protobuf,application/json",
    }
    made = await server.request("POST", MAPS, body, headers=headers)
    assert made.status == 201 and made.json["data"] == {"k": "v"} and made.json["metadata"]["name"] == "pb"


async def test_connections_survive_refused_bodies(server: Server) -> None:
    """A body that nobody reads must not be taken for the next request."""
    port = int(server.url.rsplit(":", 1)[1])
    context = client_context(server.pki.ca_path, *server.pki.paths("admin"))
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    body = json.dumps(config_map("a")).encode()
    head = f"POST {MAPS} HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body + b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 415") and b"HTTP/1.1 200 OK" in answer and b'"gitVersion"' in answer


async def test_true_is_not_one(server: Server) -> None:
    """Where a field may hold any JSON, its type is all that an update may change."""
    path = "/apis/resource.k8s.io/v1/deviceclasses"

    def of(value: Any) -> dict[str, Any]:
        opaque = {"driver": "d.example.com", "parameters": {"kind": "Config", "shared": [value]}}
        return {
            "apiVersion": "resource.k8s.io/v1",
            "kind": "DeviceClass",
            "metadata": {"name": "any"},
            "spec": {"config": [{"opaque": opaque}]},
        }

    versions = [(await server.post(path, of(True))).json["metadata"]["resourceVersion"]]
    for value in (1, 1.5, 1, False, 0):
        put = await server.put(f"{path}/any", of(value))
        assert put.status == 200, put.json
        found = put.json["spec"]["config"][0]["opaque"]["parameters"]["shared"][0]
        assert (type(found), found) == (type(value), value)
        versions.append(put.json["metadata"]["resourceVersion"])
    assert len(set(versions)) == len(versions)
    assert (await server.put(f"{path}/any", of(0))).json["metadata"]["resourceVersion"] == versions[-1]
