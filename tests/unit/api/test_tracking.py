"""Field managers at plain writes: the fast ways agree with the plain rules, and properties of what is held."""

from __future__ import annotations

import gc
from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybernetes.api import resources
from pybernetes.api.meta import clone
from pybernetes.api.patch import created, fields, managed, sharing
from pybernetes.api.patch.compare import compare
from pybernetes.api.patch.created import fields_of
from pybernetes.api.patch.scope import scope_of
from pybernetes.api.resources import CONFIGMAPS, PODS, Resource
from pybernetes.api.schema.decode import decode
from tests.support.managers import owned, written
from tests.support.objects import make

NOW = 1_767_323_045.0
KINDS = [r for r in resources.BUILTIN if "create" in r.verbs and "update" in r.verbs]


def at_random(resource: Resource, seed: int) -> dict[str, Any]:
    obj = make(scope_of(resource).node, Random(seed), resource.api_version, resource.kind)
    return decode(obj, resource, "Strict")[0]


def plain_fields_of(obj: dict[str, Any], resource: Resource) -> Any:
    """By the rules: what comparing with an empty object adds and changes, but for what nobody holds."""
    scope = scope_of(resource)
    difference = compare({"metadata": {}}, obj, scope.node)
    return fields.from_paths(p for p in (*difference.added, *difference.modified) if scope.owns(p))


@given(st.integers(0, 2**32))
def test_a_new_objects_fields_are_what_comparing_it_with_nothing_adds(seed: int) -> None:
    for resource in KINDS:
        obj, scope = at_random(resource, seed), scope_of(resource)
        found = fields_of(obj, scope.node, scope.reset_fields)
        assert orjson.dumps(found) == orjson.dumps(plain_fields_of(obj, resource)), obj
        assert fields_of(clone(obj), scope.node, scope.reset_fields) is found, "shared"


@given(st.sampled_from(KINDS), st.integers(0, 2**32), st.integers(0, 2**32))
def test_an_update_moves_just_what_it_changes(resource: Resource, first: int, second: int) -> None:
    one, two = at_random(resource, first), at_random(resource, second)
    one["metadata"] = {"name": "n", "labels": {"keep": "me"}, "uid": "u"}
    two["metadata"] = {"name": "n", "labels": {"keep": "me"}}
    old = written(None, one, resource, "one", now=NOW)
    before = orjson.dumps(old)
    new = written(old, two, resource, "two", now=NOW + 5)
    assert orjson.dumps(old) == before, "what is stored is not touched"
    scope = scope_of(resource)
    difference = compare(one, two, scope.node, scope.reset_fields)
    changed = [*difference.added, *difference.modified]
    mine = fields.from_paths(p for p in changed if scope.owns(p))
    assert (owned(new, "two", "Update") or {}) == mine
    theirs = fields.difference(owned(old, "one", "Update"), fields.from_paths([*changed, *difference.removed]))
    assert (owned(new, "one", "Update") or {}) == theirs
    assert orjson.dumps(written(new, clone(new), resource, "three", now=NOW + 9)) == orjson.dumps(new)


def pod(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "uid": "u"}, "spec": spec}


def test_ports_of_one_number_are_one_field() -> None:
    """The API takes duplicates that a list map has no room for (upstream's AllowDuplicates)."""
    twice = [{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 80, "protocol": "TCP", "name": "b"}]
    obj = written(None, pod(containers=[{"name": "c", "ports": twice}]), PODS, "one", now=NOW)
    element = 'k:{"containerPort":80,"protocol":"TCP"}'

    def ports(obj: Any, manager: str) -> Any:
        return owned(obj, manager, "Update")["f:spec"]["f:containers"]['k:{"name":"c"}']["f:ports"]

    assert ports(obj, "one") == {".": {}, element: {}}
    changed = clone(obj)
    changed["spec"]["containers"][0]["ports"][1]["name"] = "other"
    changed = written(obj, changed, PODS, "two", now=NOW)
    assert ports(changed, "two") == {element: {}} and element not in ports(changed, "one")
    single = clone(changed)
    del single["spec"]["containers"][0]["ports"][1]
    single = written(changed, single, PODS, "three", now=NOW)
    assert ports(single, "three")[element] == {".": {}, "f:containerPort": {}, "f:protocol": {}}


def test_items_without_their_key_leave_an_object_without_managers() -> None:
    obj = written(None, pod(containers=[{"name": "c"}]), PODS, "one", now=NOW)
    assert "managedFields" not in written(obj, pod(containers=[{"image": "i"}]), PODS, "two", now=NOW)["metadata"]
    assert "managedFields" not in written(None, pod(containers=[{}]), PODS, "one", now=NOW)["metadata"]


def test_elements_are_in_upstreams_order() -> None:
    ports = [{"containerPort": n} for n in (8080, 80, 443)]
    obj = written(None, pod(containers=[{"name": "c", "ports": ports}]), PODS, "one", now=NOW)
    found = owned(obj, "one", "Update")["f:spec"]["f:containers"]['k:{"name":"c"}']["f:ports"]
    assert [e if e == "." else orjson.loads(e[2:])["containerPort"] for e in found] == [".", 80, 443, 8080]


def test_a_status_that_changes_in_what_its_manager_holds_shares_all_but_the_time() -> None:
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    obj = written(None, pod(nodeName="n"), PODS, "maker", now=NOW - 1)
    obj = written(obj, {**obj, "status": status}, PODS, "kubelet", now=NOW, subresource="status")
    other = {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]}
    new = written(obj, {**obj, "status": other}, PODS, "kubelet", now=NOW + 5, subresource="status")
    old_maker, old_kubelet = obj["metadata"]["managedFields"]
    new_maker, new_kubelet = new["metadata"]["managedFields"]
    assert new_maker is old_maker and new_kubelet["fieldsV1"] is old_kubelet["fieldsV1"]
    assert (old_kubelet["time"], new_kubelet["time"]) == ("2026-01-02T03:04:05Z", "2026-01-02T03:04:10Z")


def test_the_tables_of_shared_parts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(created, "TRIES_MAX", 50)
    scope = scope_of(CONFIGMAPS)
    for i in range(500):
        obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {f"k{i}": "v", "x": "y"}}
        assert fields_of(obj, scope.node) == {"f:data": {".": {}, f"f:k{i}": {}, "f:x": {}}}
        if i % 100 == 0:
            gc.collect()
    kept = sum(len(p.made) + 1 for plans in created._plans for p in plans.values())
    assert kept + sum(len(made) for made in created._lists) <= 60


def test_decoded_objects_share_equal_sets() -> None:
    text = orjson.dumps(written(None, pod(nodeName="n", hostname="h"), PODS, "m", now=NOW))
    one, two = orjson.loads(text), orjson.loads(text)
    for obj in (one, two):
        sharing.share_fields(obj)
        assert orjson.dumps(obj) == text
    (first,), (second,) = one["metadata"]["managedFields"], two["metadata"]["managedFields"]
    assert first["fieldsV1"] is second["fieldsV1"]
    sharing.share_fields({"metadata": {}})


def test_different_sets_share_equal_parts_and_the_tables_are_bounded() -> None:
    def of(ip: str) -> Any:
        obj: Any = {
            "metadata": {"managedFields": [{"fieldsV1": {"f:ip": {f"v:{ip}": {}}, "f:same": {".": {}, "f:x": {}}}}]}
        }
        sharing.share_fields(obj)
        return obj["metadata"]["managedFields"][0]["fieldsV1"]

    found = [of(str(i)) for i in range(sharing.SETS_MAX + sharing.PARTS_MAX)]
    assert all(f == {"f:ip": {f"v:{i}": {}}, "f:same": {".": {}, "f:x": {}}} for i, f in enumerate(found))
    assert found[-1]["f:same"] is found[-2]["f:same"] and found[-1] is not found[-2]
    assert len(sharing._sets) <= sharing.SETS_MAX and len(sharing._parts) <= sharing.PARTS_MAX
    assert {id(f) for f in sharing._sets.values()} == set(sharing._known)


@pytest.mark.parametrize(
    "given_",
    [
        [{"manager": "x", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields_}]
        for fields_ in ({"x": {}}, {"k:1": {}}, {"k:{}": {}}, {"v:": {}}, {"i:a": {}}, {"f:a": []}, {"f:a": None})
    ],
)
def test_sets_that_are_none(given_: Any) -> None:
    with pytest.raises(ValueError):
        managed.decode_given(given_)


def test_sets_as_clients_may_spell_them() -> None:
    raw = {"f:a": {".": {}, 'k:{"b": 1, "a":"x"}': {".": {}}, 'v: "t"': {}, "i:07": {}}, ".": {}}
    assert (
        orjson.dumps(fields.parse(raw))
        == b'{"f:a":{".":{},"k:{\\"a\\":\\"x\\",\\"b\\":1}":{},"v:\\"t\\"":{},"i:7":{}}}'
    )


@given(st.integers(0, 2**32))
def test_a_spec_whose_text_is_known_has_the_same_fields(seed: int) -> None:
    for resource in (PODS, CONFIGMAPS, resources.DEPLOYMENTS):
        obj, scope = at_random(resource, seed), scope_of(resource)
        text = orjson.dumps(obj["spec"]) if "spec" in obj else b""
        for _ in range(2):
            found = fields_of(clone(obj), scope.node, scope.reset_fields, text)
            assert found == plain_fields_of(obj, resource)
