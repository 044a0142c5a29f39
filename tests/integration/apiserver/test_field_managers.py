"""managedFields over HTTP, at writes of every form: who holds what, since when, and how it is reset."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pybernetes.api.patch.managed import MAX_UPDATE_MANAGERS
from pybernetes.api.resources import CONFIGMAPS
from pybernetes.api.user import AUTHENTICATED, SYSTEM_MASTERS, User
from tests.integration.apiserver.conftest import Server
from tests.integration.apiserver.test_apply import apply, managers
from tests.integration.apiserver.test_crud import MAPS, config_map
from tests.integration.apiserver.test_updates import DEPLOYMENTS, deployment

PODS = "/api/v1/namespaces/default/pods"
AGENT = {"User-Agent": "robot/v1.2 (linux/amd64)"}


def held(obj: dict[str, Any], manager: str, subresource: str = "") -> Any:
    found = [
        m
        for m in obj["metadata"].get("managedFields") or ()
        if m["manager"] == manager and m.get("subresource", "") == subresource
    ]
    assert len(found) <= 1, found
    return found[0]["fieldsV1"] if found else None


async def test_a_created_pod(server: Server) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}]}]},
        "status": {"phase": "Running"},
    }
    await server.post("/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    made = (await server.request("POST", PODS, pod, headers=AGENT)).json
    (entry,) = made["metadata"]["managedFields"]
    assert (entry["manager"], entry["operation"], entry["apiVersion"]) == ("robot", "Update", "v1")
    assert entry["time"] == made["metadata"]["creationTimestamp"]
    assert list(entry) == ["manager", "operation", "apiVersion", "time", "fieldsType", "fieldsV1"]
    # What the client sent and what was defaulted; not what admission added (tolerations, the token's volume), not the
    # status, which creating does not set.
    assert entry["fieldsV1"] == {
        "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
        "f:spec": {
            "f:containers": {
                'k:{"name":"c"}': {
                    ".": {},
                    "f:image": {},
                    "f:imagePullPolicy": {},
                    "f:name": {},
                    "f:ports": {
                        ".": {},
                        'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}, "f:protocol": {}},
                    },
                    "f:resources": {},
                    "f:terminationMessagePath": {},
                    "f:terminationMessagePolicy": {},
                }
            },
            "f:dnsPolicy": {},
            "f:enableServiceLinks": {},
            "f:restartPolicy": {},
            "f:schedulerName": {},
            "f:securityContext": {},
            "f:terminationGracePeriodSeconds": {},
        },
    }
    assert "f:volumes" not in entry["fieldsV1"]["f:spec"] and made["spec"].get("tolerations")


@pytest.mark.parametrize("kind", ["merge", "strategic-merge", "json"])
async def test_patches(server: Server, kind: str) -> None:
    await server.post(MAPS, config_map("a", x="1", y="1"), fieldManager="maker")
    patch: Any = {"data": {"x": "2", "z": "1"}}
    if kind == "json":
        patch = [{"op": "replace", "path": "/data/x", "value": "2"}, {"op": "add", "path": "/data/z", "value": "1"}]
    patched = (await server.patch(f"{MAPS}/a", patch, kind, fieldManager="patcher")).json
    assert held(patched, "maker") == {"f:data": {".": {}, "f:y": {}}}
    assert held(patched, "patcher") == {"f:data": {"f:x": {}, "f:z": {}}}
    same = (await server.patch(f"{MAPS}/a", patch, kind, fieldManager="third")).json
    assert same == patched, "what changes nothing is nobody's, and no write"
    gone = (await server.patch(f"{MAPS}/a", {"data": {"x": None, "z": None}}, "merge", fieldManager="third")).json
    assert managers(gone) == {("maker", "Update")}, "who holds nothing any more is no manager"


async def test_what_changes_nothing_is_no_write(server: Server) -> None:
    made = (await server.post(MAPS, config_map("a", x="1"), fieldManager="maker")).json
    again = await server.put(f"{MAPS}/a", config_map("a", x="1"), fieldManager="other")
    assert again.json == made
    dropped = {**made, "metadata": {k: v for k, v in made["metadata"].items() if k != "managedFields"}}
    assert (await server.put(f"{MAPS}/a", dropped, fieldManager="other")).json == made


async def test_status_is_held_apart(server: Server) -> None:
    made = (await server.post(DEPLOYMENTS, deployment(), fieldManager="maker")).json
    status = {**made, "spec": {**made["spec"], "replicas": 9}, "status": {"replicas": 1, "observedGeneration": 1}}
    written = (await server.put(f"{DEPLOYMENTS}/web/status", status, fieldManager="controller")).json
    assert held(written, "controller", "status") == {"f:status": {"f:observedGeneration": {}, "f:replicas": {}}}
    assert held(written, "maker") == held(made, "maker"), "the spec was not written, so nobody lost any of it"
    # An update of the whole that leaves the status out takes nothing from who holds it.
    spec = {k: v for k, v in written.items() if k != "status"}
    spec = {**spec, "spec": {**spec["spec"], "replicas": 4}}
    changed = (await server.put(f"{DEPLOYMENTS}/web", spec, fieldManager="editor")).json
    assert held(changed, "editor") == {"f:spec": {"f:replicas": {}}}
    assert held(changed, "controller", "status") == held(written, "controller", "status")
    # Managers that a client names in a write of the status do not count.
    status = {**changed, "status": {"replicas": 2}, "metadata": {**changed["metadata"], "managedFields": [{}]}}
    kept = (await server.put(f"{DEPLOYMENTS}/web/status", status, fieldManager="controller")).json
    assert managers(kept) == managers(changed)


RESETS: list[tuple[str, Any]] = [
    ("json", [{"op": "replace", "path": "/metadata/managedFields", "value": [{}]}]),
    ("json", [{"op": "replace", "path": "/metadata/managedFields", "value": []}]),
    ("merge", {"metadata": {"managedFields": [{}]}}),
    ("strategic-merge", {"metadata": {"managedFields": [{}]}}),
    ("put", {"managedFields": [{}]}),
    ("put", {"managedFields": []}),
]


@pytest.mark.parametrize(("how", "change"), RESETS)
async def test_reset(server: Server, how: str, change: Any) -> None:
    made = (await server.post(MAPS, config_map("a", x="1"), fieldManager="maker")).json
    if how == "put":
        answer = await server.put(f"{MAPS}/a", {**made, "metadata": {**made["metadata"], **change}})
    else:
        answer = await server.patch(f"{MAPS}/a", change, how)
    assert answer.status == 200 and "managedFields" not in answer.json["metadata"]
    written = await server.put(f"{MAPS}/a", config_map("a", x="2"), fieldManager="other")
    assert "managedFields" not in written.json["metadata"], "until the server applies it, nobody is tracked"
    applied = await apply(server, f"{MAPS}/a", config_map("a", y="1"))
    assert managers(applied.json) == {("before-first-apply", "Update"), ("me", "Apply")}


async def test_managers_that_a_client_names(server: Server) -> None:
    made = (await server.post(MAPS, config_map("a", x="1"), fieldManager="maker")).json
    meta = made["metadata"]

    async def put(*entries: dict[str, Any]) -> Any:
        body = {**made, "metadata": {"name": "a", "managedFields": list(entries)}}
        return await server.put(f"{MAPS}/a", body, fieldManager="editor")

    (entry,) = meta["managedFields"]
    renamed = {**entry, "manager": "renamed", "operation": "Apply"}
    assert managers((await put(renamed)).json) == {("renamed", "Apply")}
    for nonsense in (
        {**entry, "operation": "Guess"},
        {**entry, "fieldsType": "FieldsV2"},
        {**entry, "fieldsV1": {"unknown": {}}},
        {**entry, "fieldsV1": {"f:data": 1}},
        {k: v for k, v in entry.items() if k != "apiVersion"},
    ):
        kept = await put(nonsense)
        assert kept.status == 200 and managers(kept.json) == {("renamed", "Apply")}, nonsense
    long = await put({**entry, "manager": "m" * 129})
    assert long.status == 422
    assert "metadata.managedFields[0].manager: Too long: may not be more than 128 bytes" in long.json["message"]


async def test_at_most_ten_updaters(server: Server) -> None:
    await server.post(MAPS, config_map("a", x="1"), fieldManager="maker")
    for i in range(MAX_UPDATE_MANAGERS + 3):
        answer = await server.patch(f"{MAPS}/a", {"data": {f"k{i}": "v"}}, "merge", fieldManager=f"m{i:02}")
    names = [m["manager"] for m in answer.json["metadata"]["managedFields"]]
    assert len(names) == MAX_UPDATE_MANAGERS and "ancient-changes" in names
    keys = {k for m in answer.json["metadata"]["managedFields"] for k in m["fieldsV1"].get("f:data", {})}
    assert {f"f:k{i}" for i in range(MAX_UPDATE_MANAGERS + 3)} <= keys


async def test_scale_moves_replicas_between_managers(server: Server) -> None:
    await server.post(DEPLOYMENTS, deployment(), fieldManager="maker")
    scale = f"{DEPLOYMENTS}/web/scale"
    await server.patch(scale, {"spec": {"replicas": 7}}, "merge", fieldManager="scaler")
    obj = (await server.get(f"{DEPLOYMENTS}/web")).json
    entry = next(m for m in obj["metadata"]["managedFields"] if m["manager"] == "scaler")
    assert entry == {
        "manager": "scaler",
        "operation": "Update",
        "apiVersion": "apps/v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {"f:replicas": {}}},
        "subresource": "scale",
    }
    assert "f:replicas" not in held(obj, "maker")["f:spec"]
    conflict = await apply(server, f"{DEPLOYMENTS}/web", deployment())
    assert conflict.status == 409 and conflict.json["message"] == (
        'Apply failed with 1 conflict: conflict with "scaler" with subresource "scale" using apps/v1: .spec.replicas'
    )
    config = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"}, "spec": {"replicas": 3}}
    conflict = await apply(server, scale, config, "applier")
    assert conflict.status == 409 and conflict.json["message"] == (
        'Apply failed with 1 conflict: conflict with "scaler" with subresource "scale" using autoscaling/v1: '
        ".spec.replicas"
    )
    applied = await apply(server, scale, config, "applier", force="true")
    assert applied.status == 200 and applied.json["spec"] == {"replicas": 3}
    assert "managedFields" not in applied.json["metadata"]
    obj = (await server.get(f"{DEPLOYMENTS}/web")).json
    assert obj["spec"]["replicas"] == 3
    assert held(obj, "applier", "scale") == {"f:spec": {"f:replicas": {}}} and held(obj, "scaler", "scale") is None
    again = await apply(server, scale, config, "applier")
    assert again.json["metadata"]["resourceVersion"] == obj["metadata"]["resourceVersion"]


async def test_deletion_and_binding_are_nobodys(server: Server) -> None:
    made = (await server.post(MAPS, {**config_map("a"), "metadata": {"name": "a", "finalizers": ["x/y"]}})).json
    deleted = (await server.delete(f"{MAPS}/a")).json
    assert deleted["metadata"]["managedFields"] == made["metadata"]["managedFields"]
    await server.patch(f"{MAPS}/a", {"metadata": {"finalizers": None}}, "merge")


async def test_writes_in_two_versions_of_one_kind(server: Server) -> None:
    event = {
        "metadata": {"name": "e", "namespace": "default"},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
        "reason": "Seen", "message": "hello", "type": "Normal",
    }  # fmt: skip
    await server.post("/api/v1/namespaces/default/events", event, fieldManager="old")
    path = "/apis/events.k8s.io/v1/namespaces/default/events/e"
    patched = (await server.patch(path, {"metadata": {"labels": {"a": "b"}}}, "merge", fieldManager="new")).json
    versions = {m["manager"]: (m["apiVersion"], m["fieldsV1"]) for m in patched["metadata"]["managedFields"]}
    assert versions["new"] == ("events.k8s.io/v1", {"f:metadata": {"f:labels": {".": {}, "f:a": {}}}})
    assert versions["old"][0] == "v1" and "f:message" in versions["old"][1]


@pytest.mark.parametrize(
    ("user", "manager"),
    [
        ("system:serviceaccount:kube-system:replicaset-controller", "kube-controller-manager"),
        ("system:kube-scheduler", "kube-scheduler"),
        ("system:apiserver", "kube-apiserver"),
        ("kubernetes-admin", "kubernetes-admin"),
    ],
)
async def test_the_programs_of_the_control_plane(server: Server, user: str, manager: str) -> None:
    client = server.api.client_for(User(user, "", (SYSTEM_MASTERS, AUTHENTICATED)))
    assert managers(await client.create(CONFIGMAPS, config_map("a"), "default")) == set()
    made = await client.create(CONFIGMAPS, config_map("b", x="1"), "default")
    assert managers(made) == {(manager, "Update")}


async def test_racing_patches_lose_no_manager(server: Server) -> None:
    await server.post(MAPS, config_map("a", x="1"), fieldManager="maker")
    patches = [
        server.patch(f"{MAPS}/a", {"data": {f"k{i}": "v"}}, "merge", fieldManager=f"m{i}")
        for i in range(MAX_UPDATE_MANAGERS - 1)
    ]
    assert {a.status for a in await asyncio.gather(*patches)} == {200}
    obj = (await server.get(f"{MAPS}/a")).json
    for i in range(MAX_UPDATE_MANAGERS - 1):
        assert f"f:k{i}" in held(obj, f"m{i}")["f:data"]
