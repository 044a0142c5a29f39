"""Pods of one template: the server remembers what their spec came to, and nobody can tell."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.integration.apiserver.conftest import Server

PODS = "/api/v1/namespaces/default/pods"


async def _ready(server: Server) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    assert (await server.post("/api/v1/namespaces/default/serviceaccounts", account)).status in (201, 409)


def _pod(name: str, **container: Any) -> dict[str, Any]:
    spec = {
        "automountServiceAccountToken": False,
        "containers": [{"name": "c", "image": "i", "resources": {"limits": {"memory": "1024Mi"}}, **container}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


async def test_the_second_comes_out_as_the_first(server: Server) -> None:
    await _ready(server)
    first, second = [(await server.post(PODS, _pod(name))) for name in ("first", "second")]
    assert (first.status, second.status) == (201, 201)
    assert first.json["spec"] == second.json["spec"]
    assert second.json["spec"]["containers"][0]["resources"]["limits"]["memory"] == "1Gi"
    assert second.json["spec"]["restartPolicy"] == "Always"


async def test_pods_do_not_share_their_specs_changes(server: Server) -> None:
    await _ready(server)
    for name in ("a", "b"):
        assert (await server.post(PODS, _pod(name))).status == 201
    changed = await server.patch(f"{PODS}/a", {"spec": {"containers": [{"name": "c", "image": "other"}]}})
    assert changed.json["spec"]["containers"][0]["image"] == "other"
    assert (await server.get(f"{PODS}/b")).json["spec"]["containers"][0]["image"] == "i"
    assert (await server.post(PODS, _pod("c"))).json["spec"]["containers"][0]["image"] == "i"


async def test_what_one_ignores_another_hears_of(server: Server) -> None:
    await _ready(server)
    for _ in range(2):
        assert (await server.post(PODS, _pod("x", typo=1), fieldValidation="Ignore", dryRun="All")).status == 201
    strict = await server.post(PODS, _pod("x", typo=1), fieldValidation="Strict")
    assert strict.status == 400 and 'unknown field "spec.containers[0].typo"' in strict.json["message"]
    for _ in range(2):
        warned = await server.post(PODS, _pod("x", typo=1), dryRun="All")
        assert 'unknown field \\"spec.containers[0].typo\\"' in warned.headers["Warning"]


async def test_a_status_that_is_null(server: Server) -> None:
    await _ready(server)
    for name in ("a", "b"):
        made = await server.post(PODS, {**_pod(name), "status": None})
        assert made.status == 201, made.body
        assert made.json["status"]["phase"] == "Pending"
    for path, status in ((f"{PODS}/a", 200), (f"{PODS}/absent", 404)):
        put = await server.put(path, {**_pod(path.rpartition("/")[2]), "spec": made.json["spec"], "status": None})
        assert put.status == status, put.body


async def test_faults_are_found_each_time(server: Server) -> None:
    await _ready(server)
    for _ in range(2):
        answer = await server.post(PODS, _pod("x", ports=[{"containerPort": 0}]))
        assert answer.status == 422 and "spec.containers[0].ports[0].containerPort" in answer.json["message"]


async def test_warnings_are_given_each_time(server: Server) -> None:
    await _ready(server)
    for _ in range(2):
        doubled = _pod("x", env=[{"name": "A", "value": "1"}, {"name": "A", "value": "2"}])
        answer = await server.post(PODS, doubled, dryRun="All")
        assert "hides previous definition" in answer.headers["Warning"]
    plain = _pod("y")
    assert "Warning" not in (await server.post(PODS, plain, dryRun="All")).headers
    plain["metadata"]["annotations"] = {"scheduler.alpha.kubernetes.io/critical-pod": ""}
    assert "non-functional" in (await server.post(PODS, plain, dryRun="All")).headers["Warning"]


async def test_an_error_beside_a_known_spec_is_worded_as_ever(server: Server) -> None:
    await _ready(server)
    assert (await server.post(PODS, _pod("x"))).status == 201
    wrong = _pod("y")
    wrong["metadata"]["labels"] = {"a": 1}
    answer = await server.post(PODS, wrong)
    assert answer.status == 400 and "cannot unmarshal number into Go struct field" in answer.json["message"]
    patched = await server.patch(f"{PODS}/x", {"metadata": {"labels": {"a": 1}}})
    assert patched.status == 422 and "cannot unmarshal number" in patched.json["message"]


async def test_equal_pods_share_memory_and_nothing_else(server: Server) -> None:
    await _ready(server)
    for name in ("a", "b"):
        made = _pod(name)
        made["spec"].pop("automountServiceAccountToken")
        assert (await server.post(PODS, made)).status == 201
    a, b = (server.api.cacher.storage("core/pods").get("default", name) for name in ("a", "b"))
    assert a is not None and b is not None and a.obj["spec"] is b.obj["spec"]
    changed = await server.patch(f"{PODS}/a", {"spec": {"containers": [{"name": "c", "image": "other"}]}})
    assert changed.status == 200
    status = await server.patch(f"{PODS}/b/status", {"status": {"phase": "Running"}})
    assert status.json["spec"]["containers"][0]["image"] == "i"
    b_after = server.api.cacher.storage("core/pods").get("default", "b")
    assert b_after is not None and b_after.obj["spec"] is b.obj["spec"]


async def test_a_patch_that_is_tried_again_hides_no_unknown_field(server: Server) -> None:
    await _ready(server)
    assert (await server.post(PODS, _pod("x"))).status == 201
    typo = {"spec": {"containers": [{"name": "c", "typo": 1}]}}
    # Of patches at the same time all but the first lose the race, and are applied to what it has made.
    answers = await asyncio.gather(
        *(server.patch(f"{PODS}/x", {"metadata": {"labels": {f"l{i}": "v"}}, **typo}) for i in range(8))
    )
    assert {a.status for a in answers} == {200}
    assert all(a.headers["Warning"].count("unknown field") == 1 for a in answers)
    assert "unknown field" in (await server.patch(f"{PODS}/x", typo)).headers["Warning"]
    strict = await server.patch(f"{PODS}/x", typo, fieldValidation="Strict")
    assert strict.status == 422 and "unknown field" in strict.json["message"]


async def test_what_is_added_to_one_pod_of_a_template_is_not_in_the_next(server: Server) -> None:
    await _ready(server)
    template = _pod("x")
    del template["spec"]["automountServiceAccountToken"]
    template["spec"]["topologySpreadConstraints"] = [
        {
            "maxSkew": 1,
            "topologyKey": "zone",
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"a": "b"}},
            "matchLabelKeys": ["version"],
        }
    ]

    async def made(name: str, **metadata: Any) -> dict[str, Any]:
        answer = await server.post(PODS, {**template, "metadata": {"name": name, **metadata}})
        assert answer.status == 201, answer.json
        spec: dict[str, Any] = answer.json["spec"]
        return spec

    plain = await made("plain")
    assert len(plain["containers"][0]["volumeMounts"]) == 1 and len(plain["volumes"]) == 1
    assert plain["containers"][0]["resources"] == {"limits": {"memory": "1Gi"}, "requests": {"memory": "1Gi"}}

    labelled = await made("labelled", labels={"version": "2"})
    selector = labelled["topologySpreadConstraints"][0]["labelSelector"]
    assert selector["matchExpressions"] == [{"key": "version", "operator": "In", "values": ["2"]}]

    guarded = await made("guarded", annotations={"container.apparmor.security.beta.kubernetes.io/c": "runtime/default"})
    assert guarded["containers"][0]["securityContext"]["appArmorProfile"] == {"type": "RuntimeDefault"}

    limits = {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "defaults"},
        "spec": {"limits": [{"type": "Container", "default": {"cpu": "1"}, "defaultRequest": {"cpu": "500m"}}]},
    }
    assert (await server.post("/api/v1/namespaces/default/limitranges", limits)).status == 201
    limited = await made("limited")
    assert limited["containers"][0]["resources"]["limits"] == {"memory": "1Gi", "cpu": "1"}
    assert (await server.delete("/api/v1/namespaces/default/limitranges/defaults")).status == 200

    assert await made("again") == plain
