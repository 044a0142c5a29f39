"""Server-side apply and field managers: the documented behaviour, and properties of merging and ownership."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybernetes.api.errors import BadRequest, Conflict
from pybernetes.api.meta import clone
from pybernetes.api.patch import apply as ssa
from pybernetes.api.patch import fields, managed, typed
from pybernetes.api.patch.compare import compare
from pybernetes.api.patch.scope import scope_of
from pybernetes.api.resources import CONFIGMAPS, DEPLOYMENTS, PODS
from pybernetes.api.schema import type_of
from tests.support.managers import owned, written

NOW = 1_767_323_045.0  # 2026-01-02T03:04:05Z
DEPLOYMENT = type_of(DEPLOYMENTS)


def cm(data: dict[str, str] | None = None, **meta: Any) -> dict[str, Any]:
    obj: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "d", **meta}}
    return obj if data is None else {**obj, "data": data}


def apply_cm(live: Any, config: Any, manager: str = "me", *, force: bool = False, now: float = NOW) -> Any:
    return ssa.apply(live, config, scope_of(CONFIGMAPS), manager=manager, force=force, now=now)


def update_cm(live: Any, new: Any, manager: str = "me", now: float = NOW) -> Any:
    return written(live, new, CONFIGMAPS, manager, now=now)


def test_created_by_apply() -> None:
    config = cm({"key": "v"}, labels={"test-label": "test"})
    obj = apply_cm(None, config)
    assert obj["data"] == {"key": "v"}
    assert obj["metadata"]["managedFields"] == [
        {
            "manager": "me",
            "operation": "Apply",
            "apiVersion": "v1",
            "time": "2026-01-02T03:04:05Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:data": {"f:key": {}}, "f:metadata": {"f:labels": {"f:test-label": {}}}},
        }
    ]
    assert "managedFields" not in config["metadata"]


def test_applying_the_same_again_changes_nothing() -> None:
    obj = apply_cm(None, cm({"a": "1"}))
    assert apply_cm(obj, cm({"a": "1"}), now=NOW + 60) == obj


def test_what_is_no_longer_applied_goes_and_what_others_set_stays() -> None:
    obj = apply_cm(None, cm({"a": "1", "b": "2"}))
    changed = clone(obj)
    changed["data"]["other"] = "x"
    obj = update_cm(obj, changed, "editor")
    obj = apply_cm(obj, cm({"a": "1"}), now=NOW + 60)
    assert obj["data"] == {"a": "1", "other": "x"}
    assert owned(obj, "me") == {"f:data": {"f:a": {}}}
    assert owned(obj, "editor", "Update") == {"f:data": {"f:other": {}}}
    assert next(e for e in obj["metadata"]["managedFields"] if e["manager"] == "me")["time"] == "2026-01-02T03:05:05Z"


def test_conflict_with_an_updater() -> None:
    obj = apply_cm(None, cm({"a": "1"}))
    changed = clone(obj)
    changed["data"]["a"] = "2"
    obj = update_cm(obj, changed, "editor")
    assert owned(obj, "me") is None, "who loses all fields is no manager any more"
    with pytest.raises(Conflict) as e:
        apply_cm(obj, cm({"a": "3"}))
    assert e.value.message == 'Apply failed with 1 conflict: conflict with "editor" using v1: .data.a'
    assert e.value.details == {
        "causes": [{"reason": "FieldManagerConflict", "message": 'conflict with "editor" using v1', "field": ".data.a"}]
    }
    forced = apply_cm(obj, cm({"a": "3"}), force=True)
    assert forced["data"] == {"a": "3"}
    assert owned(forced, "me") == {"f:data": {"f:a": {}}} and owned(forced, "editor", "Update") is None
    # Without forcing, agreeing is no conflict: both hold the field then.
    shared = apply_cm(obj, cm({"a": "2"}))
    assert owned(shared, "me") == {"f:data": {"f:a": {}}} == owned(shared, "editor", "Update")


def test_several_conflicts() -> None:
    obj = apply_cm(None, cm({"a": "1", "b": "1"}), "one")
    obj = apply_cm(obj, cm({"c": "1"}), "two")
    with pytest.raises(Conflict) as e:
        apply_cm(obj, cm({"a": "2", "b": "2", "c": "2"}), "three")
    assert e.value.message == (
        'Apply failed with 3 conflicts: conflicts with "one":\n- .data.a\n- .data.b\nconflicts with "two":\n- .data.c'
    )


def test_conflicts_are_listed_level_by_level() -> None:
    obj = apply_deployment(None, deployment({"name": "a", "image": "x"}, paused=True, replicas=1), "one")
    config = deployment({"name": "a", "image": "y"}, paused=False, replicas=2, minReadySeconds=3)
    with pytest.raises(Conflict) as e:
        apply_deployment(obj, config, "two")
    assert e.value.message == (
        'Apply failed with 3 conflicts: conflicts with "one":\n- .spec.paused\n- .spec.replicas\n'
        '- .spec.template.spec.containers[name="a"].image'
    )


def test_a_field_that_another_applier_holds_is_not_removed() -> None:
    obj = apply_cm(None, cm({"a": "1", "b": "1"}), "one")
    obj = apply_cm(obj, cm({"a": "1"}), "two")
    obj = apply_cm(obj, cm({"b": "1"}), "one")
    assert obj["data"] == {"a": "1", "b": "1"}
    obj = apply_cm(obj, cm(), "two")
    assert obj["data"] == {"b": "1"}
    assert owned(obj, "two") is None


def test_objects_from_before_managers_were_tracked() -> None:
    live = cm({"a": "1", "b": "1"}, uid="u", resourceVersion="7")
    with pytest.raises(Conflict, match=r'conflict with "before-first-apply" using v1: \.data\.a'):
        apply_cm(live, cm({"a": "2"}))
    obj = apply_cm(live, cm({"a": "1"}))
    assert owned(obj, managed.BEFORE_FIRST_APPLY, "Update") == {"f:data": {".": {}, "f:a": {}, "f:b": {}}}
    assert obj["data"] == {"a": "1", "b": "1"}


def deployment(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "d"},
        "spec": {**spec, "template": {"spec": {"containers": list(containers)}}},
    }


def apply_deployment(live: Any, config: Any, manager: str = "me", **options: Any) -> Any:
    options = {"force": False, "now": NOW, **options}
    return ssa.apply(live, config, scope_of(DEPLOYMENTS), manager=manager, **options)


def test_lists_merge_by_their_keys() -> None:
    web = {"name": "web", "image": "nginx:1", "ports": [{"containerPort": 80}]}
    obj = apply_deployment(None, deployment(web, {"name": "old", "image": "x"}, replicas=2))
    path = 'k:{"name":"web"}'
    containers = owned(obj, "me")["f:spec"]["f:template"]["f:spec"]["f:containers"]
    assert containers[path] == {
        ".": {},
        "f:image": {},
        "f:name": {},
        "f:ports": {'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}},
    }
    sidecar = {"name": "sidecar", "image": "s"}
    obj = apply_deployment(obj, deployment(sidecar), "injector")
    assert [c["name"] for c in obj["spec"]["template"]["spec"]["containers"]] == ["web", "old", "sidecar"]
    obj = apply_deployment(obj, deployment({**web, "image": "nginx:2"}))
    assert obj["spec"]["template"]["spec"]["containers"] == [{**web, "image": "nginx:2"}, sidecar]
    assert "replicas" not in obj["spec"]


def test_giving_a_field_away() -> None:
    """How an autoscaler takes over: the applier stops naming replicas after the scaler set it."""
    obj = apply_deployment(None, deployment({"name": "a"}, replicas=2))
    scaled = clone(obj)
    scaled["spec"]["replicas"] = 5
    obj = written(obj, scaled, DEPLOYMENTS, "hpa", now=NOW, subresource="scale")
    entry = next(e for e in obj["metadata"]["managedFields"] if e["manager"] == "hpa")
    assert entry["subresource"] == "scale" and entry["fieldsV1"] == {"f:spec": {"f:replicas": {}}}
    with pytest.raises(Conflict, match=r'"hpa" with subresource "scale" using apps/v1: \.spec\.replicas'):
        apply_deployment(obj, deployment({"name": "a"}, replicas=2))
    assert apply_deployment(obj, deployment({"name": "a"}))["spec"]["replicas"] == 5


def test_atomic_parts_are_one_field() -> None:
    config = deployment({"name": "a", "command": ["x", "y"]}, selector={"matchLabels": {"a": "1"}})
    obj = apply_deployment(None, config)
    spec = owned(obj, "me")["f:spec"]
    assert spec["f:selector"] == {}
    assert spec["f:template"]["f:spec"]["f:containers"]['k:{"name":"a"}']["f:command"] == {}
    obj = apply_deployment(obj, deployment({"name": "a", "command": ["z"]}, selector={"matchLabels": {"b": "1"}}))
    assert obj["spec"]["selector"] == {"matchLabels": {"b": "1"}}
    assert obj["spec"]["template"]["spec"]["containers"][0]["command"] == ["z"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (deployment(replicaz=1), "failed to create typed patch object (d/web; apps/v1, Kind=Deployment): "
         ".spec.replicaz: field not declared in schema"),
        (deployment({"name": "a"}, {"name": "a"}), "failed to create typed patch object (d/web; apps/v1, "
         'Kind=Deployment): .spec.template.spec.containers: duplicate entries for key [name="a"]'),
        (deployment(replicas="many", paused="yes"), "failed to create typed patch object (d/web; apps/v1, "
         "Kind=Deployment): errors:\n  .spec.replicas: expected numeric (int or float), got string\n"
         '  .spec.paused: expected boolean, got &value.valueUnstructured{Value:"yes"}\n'),
        (deployment({"name": "a", "env": {"A": "b"}}), "failed to create typed patch object (d/web; apps/v1, "
         'Kind=Deployment): .spec.template.spec.containers[name="a"].env: expected list, got &{map[A:b]}'),
        (deployment(selector=["a"]), "failed to create typed patch object (d/web; apps/v1, Kind=Deployment): "
         ".spec.selector: expected map, got &{[a]}"),
        ({**deployment(), "metadata": "web"}, "failed to create typed patch object (/; apps/v1, Kind=Deployment): "
         ".metadata: expected map, got &{web}"),
        ({**deployment(), "metadata": {"name": "web", "managedFields": []}}, "metadata.managedFields must be nil"),
        ({**deployment(), "apiVersion": "v1"}, "Incorrect version specified in apply patch. Specified patch version: "
         "v1, expected: apps/v1"),
    ],
)  # fmt: skip
def test_bad_configurations(config: Any, message: str) -> None:
    with pytest.raises(BadRequest) as e:
        apply_deployment(None, config)
    assert e.value.message == message


def test_an_item_without_its_key() -> None:
    with pytest.raises(BadRequest, match='omits key field "name"'):
        apply_deployment(None, deployment({"image": "x"}))


def test_kubectl_takes_over_from_its_client_side_apply() -> None:
    config = cm({"a": "1", "b": "1"})
    live = clone(config)
    live["metadata"]["annotations"] = {ssa.LAST_APPLIED: orjson.dumps(config).decode()}
    live = update_cm(None, live, "kubectl-client-side-apply")
    with pytest.raises(Conflict):
        apply_cm(live, cm({"a": "2"}), "other")
    obj = apply_cm(live, cm({"a": "2"}), "kubectl")
    assert obj["data"]["a"] == "2"
    assert orjson.loads(obj["metadata"]["annotations"][ssa.LAST_APPLIED])["data"] == {"a": "2"}
    meddled = clone(live)
    meddled["data"]["a"] = "9"
    meddled = update_cm(live, meddled, "editor")
    with pytest.raises(Conflict, match='conflict with "editor"'):
        apply_cm(meddled, cm({"a": "2"}), "kubectl")


# ---- tracking of updates ----------------------------------------------------------------------------------------


def test_created_by_update() -> None:
    obj = deployment({"name": "a", "image": "i", "resources": {}, "env": [{"name": "E", "value": "1"}]}, replicas=1)
    obj["spec"]["strategy"] = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}
    obj["metadata"] |= {"labels": {"x": "y"}, "uid": "u", "creationTimestamp": "2026-01-02T03:04:05Z", "generation": 1}
    obj["status"] = {"replicas": 1}
    result = written(None, obj, DEPLOYMENTS, "m", now=NOW)
    assert owned(result, "m", "Update") == {
        "f:metadata": {"f:labels": {".": {}, "f:x": {}}},
        "f:spec": {
            "f:replicas": {},
            "f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}}, "f:type": {}},
            "f:template": {
                "f:spec": {
                    "f:containers": {
                        'k:{"name":"a"}': {
                            ".": {},
                            "f:env": {".": {}, 'k:{"name":"E"}': {".": {}, "f:name": {}, "f:value": {}}},
                            "f:image": {},
                            "f:name": {},
                            "f:resources": {},
                        }
                    }
                }
            },
        },
    }
    assert "managedFields" not in obj["metadata"]


def test_updates_move_fields_between_managers() -> None:
    first = update_cm(None, cm({"a": "1", "b": "1"}), "one")
    changed = clone(first)
    changed["data"] = {"a": "2", "c": "1"}
    second = update_cm(first, changed, "two", NOW + 10)
    assert owned(second, "one", "Update") == {"f:data": {}}
    assert owned(second, "two", "Update") == {"f:data": {"f:a": {}, "f:c": {}}}
    assert [e["time"] for e in second["metadata"]["managedFields"]] == ["2026-01-02T03:04:05Z", "2026-01-02T03:04:15Z"]
    assert update_cm(second, second, "three", NOW + 99) == second


def test_status_and_spec_have_managers_of_their_own() -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"nodeName": "n"}}
    pod = written(None, pod, PODS, "m", now=NOW)
    new = {**pod, "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
    new = written(pod, new, PODS, "m", now=NOW, subresource="status")
    entries = {e.get("subresource", ""): e["fieldsV1"] for e in new["metadata"]["managedFields"]}
    assert entries == {
        "": {"f:spec": {"f:nodeName": {}}},
        "status": {
            "f:status": {
                "f:conditions": {
                    ".": {},
                    'k:{"type":"Ready"}': {
                        ".": {},
                        "f:lastProbeTime": {},
                        "f:lastTransitionTime": {},
                        "f:status": {},
                        "f:type": {},
                    },
                },
                "f:phase": {},
            }
        },
    }


def test_a_client_that_drops_managers_does_not_lose_them() -> None:
    live = update_cm(None, cm({"a": "1"}), "one")
    assert owned(update_cm(live, cm({"a": "1"}), "two"), "one", "Update")
    reset = cm({"a": "1"}, managedFields=[{}])
    assert "managedFields" not in update_cm(live, reset, "two")["metadata"]
    nonsense = cm({"a": "1"}, managedFields=[{"manager": "x", "operation": "Update", "fieldsV1": {"bad": 1}}])
    assert owned(update_cm(live, nonsense, "two"), "one", "Update")


def test_many_updaters_become_one() -> None:
    obj = update_cm(None, cm({"k0": "v"}), "m0")
    for i in range(1, 30):
        new = clone(obj)
        new["data"][f"k{i}"] = "v"
        obj = update_cm(obj, new, f"m{i}", NOW + i)
    names = [e["manager"] for e in obj["metadata"]["managedFields"]]
    assert len(names) == managed.MAX_UPDATE_MANAGERS
    assert names[-1] == "m29" and managed.ANCIENT in names
    held = {p for e in obj["metadata"]["managedFields"] for p in fields.paths(e["fieldsV1"])}
    assert {("f:data", f"f:k{i}") for i in range(30)} <= held


# ---- properties -------------------------------------------------------------------------------------------------

ELEMENTS = st.sampled_from(["f:a", "f:b", 'k:{"name":"x"}', "v:1"])
PATHS = st.sets(st.lists(ELEMENTS, min_size=1, max_size=3).map(tuple), max_size=8)


@given(PATHS, PATHS)
def test_field_sets_are_sets(a: set[Any], b: set[Any]) -> None:
    trie = fields.from_paths(a)
    assert set(fields.paths(trie)) == a
    assert fields.parse(orjson.loads(orjson.dumps(trie))) == trie, "read back as it was written"
    other = fields.from_paths(b)
    for path in b:
        assert fields.contains(trie, path) == (path in a)
    for result, wanted in ((fields.union(trie, other), a | b), (fields.difference(trie, other), a - b)):
        assert set(fields.paths(result)) == wanted
        assert orjson.dumps(result) == orjson.dumps(fields.from_paths(wanted)), "one form, in one order"
    assert set(fields.paths(trie)) == a, "sets are values"
    levels = list(fields.paths_by_level(trie))
    assert set(levels) == a and len(levels) == len(a)
    assert fields.union(trie, trie) is trie and (a & b or fields.difference(trie, other) is trie)


DATA = st.dictionaries(st.sampled_from("abcd"), st.sampled_from("123"), max_size=4)


@given(DATA, DATA, DATA)
def test_apply_sets_what_it_says_and_keeps_what_others_hold(first: Any, theirs: Any, second: Any) -> None:
    obj = apply_cm(None, cm(first), "me")
    obj = apply_cm(obj, cm(theirs), "them", force=True)
    obj = apply_cm(obj, cm(second), "me", force=True)
    data = obj.get("data") or {}
    assert data == {**theirs, **second}, "what neither applies any more is gone"
    mine = set(fields.paths(owned(obj, "me") or {}))
    assert {p for p in mine if len(p) == 2} == {("f:data", f"f:{k}") for k in second}
    again = apply_cm(obj, cm(second), "me")
    assert again["metadata"] == obj["metadata"] and (again.get("data") or {}) == data


NAMED = st.lists(st.sampled_from("abcd"), unique=True, max_size=4).flatmap(
    lambda names: st.tuples(
        *(st.fixed_dictionaries({"name": st.just(n), "image": st.sampled_from("xyz")}) for n in names)
    )
)


@given(NAMED, NAMED)
def test_merging_holds_the_configuration_in_its_order(live: Any, config: Any) -> None:
    merged = typed.merge(deployment(*live), deployment(*config), DEPLOYMENT)["spec"]["template"]["spec"]["containers"]
    names = [c["name"] for c in merged]
    assert len(names) == len(set(names)) and set(names) == {c["name"] for c in (*live, *config)}
    assert [n for n in names if n in {c["name"] for c in config}] == [c["name"] for c in config]
    assert {c["name"]: c for c in merged} == {**{c["name"]: c for c in live}, **{c["name"]: c for c in config}}


@given(NAMED, NAMED)
def test_a_comparison_explains_the_difference(old: Any, new: Any) -> None:
    difference = compare(deployment(*old), deployment(*new), DEPLOYMENT)
    base = ("f:spec", "f:template", "f:spec", "f:containers")
    before, after = {c["name"]: c for c in old}, {c["name"]: c for c in new}
    item = {n: (*base, f'k:{{"name":"{n}"}}') for n in "abcd"}
    assert {p for p in difference.added if len(p) == 5} == {item[n] for n in after.keys() - before.keys()}
    assert {p for p in difference.removed if len(p) == 5} == {item[n] for n in before.keys() - after.keys()}
    assert set(difference.modified) == {
        (*item[n], "f:image") for n in before.keys() & after.keys() if before[n] != after[n]
    }


@given(NAMED, st.lists(st.sampled_from("abcd"), unique=True))
def test_removing_items(live: Any, gone: list[str]) -> None:
    base = ("f:spec", "f:template", "f:spec", "f:containers")
    left = typed.without(deployment(*live), {(*base, f'k:{{"name":"{n}"}}') for n in gone}, DEPLOYMENT)
    containers = left["spec"]["template"]["spec"]["containers"] or []
    assert containers == [c for c in live if c["name"] not in gone]
