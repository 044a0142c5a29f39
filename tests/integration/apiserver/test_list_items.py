"""Items of lists carry no type of their own, as upstream's; objects by themselves and in watch events do."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
import yaml

from tests.integration.apiserver.conftest import Server
from tests.integration.apiserver.test_kubectl import Kubectl, kubectls

MAPS = "/api/v1/namespaces/default/configmaps"
HPAS = "/apis/autoscaling/{}/namespaces/default/horizontalpodautoscalers"


async def make(server: Server, *names: str) -> None:
    for name in names:
        assert (await server.post(MAPS, {"metadata": {"name": name}, "data": {"kind": "ConfigMap"}})).status == 201


async def gotten(server: Server, path: str) -> dict[str, Any]:
    answer = (await server.get(path)).json
    assert answer.pop("kind") and answer.pop("apiVersion")
    return dict(answer)


async def test_items_are_the_objects_without_their_type(server: Server) -> None:
    await make(server, "a", "b", "c")
    wanted = [await gotten(server, f"{MAPS}/{name}") for name in "abc"]
    query = {"fieldSelector": "metadata.name!=kube-root-ca.crt"}
    listed = await server.get(MAPS, **query)
    assert listed.json["kind"] == "ConfigMapList" and listed.json["items"] == wanted
    assert (await server.get(MAPS, pretty="1", **query)).json["items"] == wanted
    shown = await server.request("GET", MAPS, headers={"Accept": "application/yaml"}, **query)
    assert yaml.safe_load(shown.body)["items"] == wanted
    page = (await server.get(MAPS, limit=2, **query)).json
    assert page["items"] == wanted[:2]
    assert (await server.get(MAPS, **{"continue": page["metadata"]["continue"], **query})).json["items"] == wanted[2:]
    deleted = (await server.delete(MAPS, **query)).json
    assert deleted["kind"] == "ConfigMapList" and deleted["items"] == wanted


async def test_items_of_converted_versions_are_untyped(server: Server) -> None:
    scaler = {
        "metadata": {"name": "h"},
        "spec": {"maxReplicas": 2, "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}},
    }
    assert (await server.post(HPAS.format("v2"), scaler)).status == 201
    for version in ("v1", "v2"):
        path = HPAS.format(version)
        assert (await server.get(path)).json["items"] == [await gotten(server, f"{path}/h")]


async def test_items_are_untyped_however_the_store_has_them(server: Server) -> None:
    """A store that others have written, or that was restored from elsewhere."""
    from pybernetes.store.interface import Put

    await make(server, "a")
    obj = (await server.get(f"{MAPS}/a")).json
    odd = {"data": {"apiVersion": "x"}, "apiVersion": "v1", "metadata": {**obj["metadata"], "name": "b"}}
    raw = orjson.dumps({**odd, "kind": "ConfigMap"}).replace(
        b'"metadata":{"resourceVersion', b'"metadata":{"generateName'
    )
    await server.store.txn([], [Put("/registry/core/configmaps/default/b", raw)])
    items = {item["metadata"]["name"]: item for item in (await server.get(MAPS)).json["items"]}
    assert items["b"]["data"] == {"apiVersion": "x"} and "kind" not in items["b"] and "apiVersion" not in items["b"]
    assert (await server.get(f"{MAPS}/b")).json["kind"] == "ConfigMap"


async def test_events_and_initial_events_carry_types(server: Server) -> None:
    await make(server, "a")
    lines = (await server.get(MAPS, watch="1", timeoutSeconds=1)).body.splitlines()
    assert {json.loads(line)["object"]["kind"] for line in lines} == {"ConfigMap"}


@pytest.mark.parametrize("program", kubectls())
async def test_kubectl_shows_types(server: Server, program: str) -> None:
    await make(server, "a", "b")
    kubectl = Kubectl(program, server)
    for form, read in (("yaml", yaml.safe_load), ("json", json.loads)):
        code, out, err = await kubectl.run("get", "configmaps", "-o", form)
        assert code == 0, err
        shown = read(out)
        assert shown["kind"] == "List"
        assert {(i["kind"], i["apiVersion"]) for i in shown["items"]} == {("ConfigMap", "v1")}
