"""What verbs promise: a dry run of any changes nothing; what is told of deletions, collections and bodies."""

from __future__ import annotations

import pytest

from pybernetes.apiserver import registry as registry_module
from tests.integration.apiserver.conftest import Server
from tests.integration.apiserver.test_crud import MAPS, config_map
from tests.integration.apiserver.test_deletes import PODS_PATH, make_pod
from tests.integration.apiserver.test_lists_and_watches import names, watching_
from tests.integration.apiserver.test_updates import DEPLOYMENTS, deployment


async def test_a_dry_run_of_any_verb_changes_nothing(server: Server) -> None:
    await server.post(MAPS, config_map("a", x="1"))
    await server.post(DEPLOYMENTS, deployment("d"))
    await make_pod(server, "p")
    await server.post("/api/v1/nodes", {"metadata": {"name": "n1"}})
    mine = f"{MAPS}/a"
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    applied = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "new"}, "data": {"x": "2"}}
    binding = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}}
    before = await server.store.revision()
    for method, path, body, query, status in (
        ("POST", MAPS, config_map("b"), {}, 201),
        ("POST", MAPS, {"metadata": {"generateName": "g-"}}, {}, 201),
        ("PUT", mine, config_map("a", x="2"), {}, 200),
        ("DELETE", mine, None, {}, 200),
        ("DELETE", mine, None, {"propagationPolicy": "Foreground"}, 200),
        ("DELETE", MAPS, None, {}, 200),
        ("DELETE", f"{PODS_PATH}/p", None, {"gracePeriodSeconds": "0"}, 200),
        ("PUT", f"{DEPLOYMENTS}/d/scale", {"metadata": {"name": "d"}, "spec": {"replicas": 4}}, {}, 200),
        ("POST", f"{PODS_PATH}/p/binding", binding, {}, 201),
        ("POST", f"{PODS_PATH}/p/eviction", eviction, {}, 201),
        ("POST", "/api/v1/namespaces", {"metadata": {"name": "dry"}}, {}, 201),
        ("DELETE", "/api/v1/namespaces/default", None, {}, 403),
        (
            "POST", "/api/v1/namespaces/default/services",
            {"metadata": {"name": "s"}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}}, {}, 201,
        ),
    ):  # fmt: skip
        answer = await server.request(method, path, body, dryRun="All", **query)
        assert answer.status == status, (method, path, answer.body)
        assert await server.store.revision() == before, (method, path)
    for kind, path, patch, query in (
        ("merge", mine, {"data": {"x": "3"}}, {}),
        ("strategic-merge", mine, {"data": {"x": "3"}}, {}),
        ("json", mine, [{"op": "replace", "path": "/data/x", "value": "3"}], {}),
        ("apply", f"{MAPS}/new", applied, {"fieldManager": "m"}),
        ("merge", f"{PODS_PATH}/p/status", {"status": {"phase": "Running"}}, {}),
        ("merge", f"{DEPLOYMENTS}/d/scale", {"spec": {"replicas": 4}}, {}),
    ):
        answer = await server.patch(path, patch, kind, dryRun="All", **query)
        assert answer.status in (200, 201), (kind, path, answer.body)
        assert await server.store.revision() == before, (kind, path)
    # What was allocated for a dry run is free again, and a later body can say it too.
    for body in ({"dryRun": ["All"]}, {**eviction, "deleteOptions": {"dryRun": ["All"]}}):
        path = mine if "dryRun" in body else f"{PODS_PATH}/p/eviction"
        answer = await server.request("DELETE" if "dryRun" in body else "POST", path, body)
        assert answer.status in (200, 201) and await server.store.revision() == before
    bad = await server.post(MAPS, config_map("c"), dryRun="Some")
    assert bad.status == 422 and bad.json["message"] == (
        'CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: ["Some"]: supported values: "All"'
    )


async def test_a_dry_run_answers_as_the_deed_would(server: Server) -> None:
    made = await server.post(MAPS, config_map("a", x="1"), dryRun="All")
    meta = made.json["metadata"]
    assert made.status == 201 and meta["uid"] and meta["creationTimestamp"] and "resourceVersion" not in meta
    assert (await server.post(MAPS, {"metadata": {"name": "A"}}, dryRun="All")).status == 422
    stored = (await server.post(MAPS, config_map("a", x="1"))).json
    assert (await server.post(MAPS, config_map("a"), dryRun="All")).status == 409
    changed = (await server.put(f"{MAPS}/a", config_map("a", x="2"), dryRun="All")).json
    assert changed["data"] == {"x": "2"}
    assert changed["metadata"]["resourceVersion"] == stored["metadata"]["resourceVersion"]
    gone = (await server.delete(f"{MAPS}/a", dryRun="All")).json
    assert gone["status"] == "Success" and gone["details"]["uid"] == stored["metadata"]["uid"]
    assert (await server.delete(f"{MAPS}/b", dryRun="All")).status == 404


async def test_the_last_finalizer_takes_the_object_along(server: Server) -> None:
    held = {"metadata": {"name": "a", "finalizers": ["example.com/x"]}, "data": {"x": "1"}}
    version = (await server.post(MAPS, held)).json["metadata"]["resourceVersion"]
    marked = (await server.delete(f"{MAPS}/a")).json["metadata"]
    assert marked["deletionTimestamp"] and marked["deletionGracePeriodSeconds"] == 0
    async with watching_(server, MAPS, resourceVersion=version) as events:
        freed = await server.patch(f"{MAPS}/a", {"metadata": {"finalizers": None}, "data": {"x": "2"}}, "merge")
        assert freed.status == 200 and "finalizers" not in freed.json["metadata"] and freed.json["data"] == {"x": "2"}
        assert await events.take(1) == [("MODIFIED", "a")]
        gone = await events.next()
        assert gone is not None and gone["type"] == "DELETED"
        assert gone["object"]["metadata"]["finalizers"] == ["example.com/x"], "the last state that was stored"
    assert (await server.get(f"{MAPS}/a")).status == 404


async def test_a_body_replaces_the_query_of_a_deletion(server: Server) -> None:
    for name, body, query, grace in (
        ("a", None, {"gracePeriodSeconds": "7"}, 7),
        ("b", {"gracePeriodSeconds": 8}, {"gracePeriodSeconds": "7"}, 8),
        ("c", {}, {"gracePeriodSeconds": "7"}, 30),
        ("d", {"kind": "DeleteOptions", "apiVersion": "v1"}, {}, 30),
    ):
        await make_pod(server, name, node="n1")
        answer = await server.delete(f"{PODS_PATH}/{name}", body, **query)
        assert answer.status == 200 and answer.json["metadata"]["deletionGracePeriodSeconds"] == grace, name
    wrong = await server.delete(f"{PODS_PATH}/a", {"gracePeriodSeconds": "long"})
    assert wrong.status == 400 and wrong.json["message"] == (
        "json: cannot unmarshal string into Go struct field DeleteOptions.gracePeriodSeconds of type int64"
    )


async def test_the_ways_to_say_what_becomes_of_dependents(server: Server) -> None:
    for name, body, query, finalizers, status in (
        ("a", None, {"propagationPolicy": "Foreground"}, ["foregroundDeletion"], 200),
        ("b", {"propagationPolicy": "Foreground"}, {}, ["foregroundDeletion"], 200),
        ("c", None, {"propagationPolicy": "Orphan"}, ["orphan"], 200),
        ("d", None, {"orphanDependents": "true"}, ["orphan"], 200),
        ("e", {"orphanDependents": True}, {}, ["orphan"], 200),
        ("f", None, {"propagationPolicy": "Background"}, None, 200),
        ("g", None, {"orphanDependents": "false"}, None, 200),
        ("h", {"orphanDependents": False}, {}, ["example.com/x"], 202),
        ("i", {"propagationPolicy": "Foreground"}, {}, ["example.com/x", "foregroundDeletion"], 200),
    ):
        own = ["example.com/x"] if name in "hi" else []
        await server.post(MAPS, {"metadata": {"name": name, "finalizers": own}})
        answer = await server.delete(f"{MAPS}/{name}", body, **query)
        assert answer.status == status, name
        left = await server.get(f"{MAPS}/{name}")
        assert (left.json["metadata"].get("finalizers") if left.status == 200 else None) == finalizers, name
    # Who deletes again in another way has the last word.
    again = await server.delete(f"{MAPS}/a", propagationPolicy="Background")
    assert again.status == 200 and (await server.get(f"{MAPS}/a")).status == 404


async def test_jobs_and_replication_controllers_orphan_by_default(server: Server) -> None:
    """As before there was a garbage collector; of jobs it is told."""
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    job = {"template": {**template, "spec": {**template["spec"], "restartPolicy": "Never"}}}
    controllers = "/api/v1/namespaces/default/replicationcontrollers"
    jobs = "/apis/batch/v1/namespaces/default/jobs"
    for path, spec, warns in ((jobs, job, True), (controllers, {"template": template}, False)):
        for name, query, finalizers in (
            ("a", {}, ["orphan"]),
            ("b", {"propagationPolicy": "Background"}, None),
            ("c", {"propagationPolicy": "Orphan"}, ["orphan"]),
            ("d", {"orphanDependents": "false"}, None),
        ):
            assert (await server.post(path, {"metadata": {"name": name}, "spec": spec})).status == 201
            answer = await server.delete(f"{path}/{name}", **query)
            assert answer.status == 200
            assert ("child pods are preserved" in answer.headers.get("Warning", "")) is (warns and not query)
            left = await server.get(f"{path}/{name}")
            assert (left.json["metadata"]["finalizers"] if left.status == 200 else None) == finalizers, (path, name)
    await server.post(jobs, {"metadata": {"name": "e"}, "spec": job})
    assert "child pods are preserved" in (await server.delete(jobs)).headers["Warning"]
    await server.post(DEPLOYMENTS, deployment("d"))
    assert (await server.delete(f"{DEPLOYMENTS}/d")).json["status"] == "Success", "others go with what they own"


async def test_what_a_deletion_answers_with(server: Server) -> None:
    for path, body, kind in (
        ("/apis/storage.k8s.io/v1/storageclasses", {"metadata": {"name": "s"}, "provisioner": "p"}, "StorageClass"),
        ("/apis/storage.k8s.io/v1/csidrivers", {"metadata": {"name": "s"}, "spec": {}}, "CSIDriver"),
        ("/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "s"}}, "ServiceAccount"),
        ("/api/v1/namespaces/default/secrets", {"metadata": {"name": "s"}}, "Status"),
        ("/apis/scheduling.k8s.io/v1/priorityclasses", {"metadata": {"name": "s"}, "value": 1}, "Status"),
    ):
        assert (await server.post(path, body)).status == 201, path
        assert (await server.delete(f"{path}/s")).json["kind"] == kind


async def test_collections_by_selector_and_in_pages(server: Server) -> None:
    for i in range(6):
        body = config_map(f"m{i}")
        body["metadata"]["labels"] = {"odd": str(i % 2)}
        await server.post(MAPS, body)
    gone = await server.delete(MAPS, labelSelector="odd=1", fieldSelector="metadata.name!=m5")
    assert gone.status == 200 and gone.json["kind"] == "ConfigMapList" and names(gone.json) == ["m1", "m3"]
    assert names((await server.get(MAPS)).json) == ["m0", "m2", "m4", "m5"]
    page = (await server.delete(MAPS, limit=3)).json
    assert names(page) == ["m0", "m2", "m4"] and page["metadata"]["continue"]
    assert names((await server.get(MAPS)).json) == ["m5"]
    refused = await server.delete(MAPS, {"preconditions": {"uid": "other"}})
    assert refused.status == 409 and names((await server.get(MAPS)).json) == ["m5"]
    marked = (await server.delete(MAPS, {"propagationPolicy": "Foreground"})).status
    left = (await server.get(f"{MAPS}/m5")).json["metadata"]
    assert marked == 200 and left["finalizers"] == ["foregroundDeletion"]
    assert (await server.delete(MAPS, labelSelector="x in (")).status == 400


async def test_kinds_that_do_not_belong_here(server: Server) -> None:
    for kind, why in (
        ("Secret", "converting (v1.Secret) to (core.ConfigMap): unknown conversion"),
        ("Chair", 'no kind "Chair" is registered for version "v1"'),
    ):
        answer = await server.post(MAPS, {"apiVersion": "v1", "kind": kind, "metadata": {"name": "a"}})
        assert answer.status == 400
        assert answer.json["message"] == f'{kind} in version "v1" cannot be handled as a ConfigMap: {why}'


async def test_a_taken_generated_name_is_tried_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """As upstream since 1.31: up to eight times, then the conflict is told, and when to try again."""
    given = iter(["aaaaa", "aaaaa", "aaaaa", "bbbbb", *["aaaaa"] * 8])
    monkeypatch.setattr(registry_module, "_random_suffix", lambda: next(given))
    made = [await server.post(MAPS, {"metadata": {"generateName": "g-"}}) for _ in range(2)]
    assert [m.json["metadata"]["name"] for m in made] == ["g-aaaaa", "g-bbbbb"]
    taken = await server.post(MAPS, {"metadata": {"generateName": "g-"}})
    assert taken.status == 409 and taken.json["reason"] == "AlreadyExists" and taken.headers["Retry-After"] == "1"
    assert taken.json["message"] == (
        'configmaps "g-aaaaa" already exists, the server was not able to generate a unique name for the object'
    )
    assert next(given, None) is None, "eight tries"
