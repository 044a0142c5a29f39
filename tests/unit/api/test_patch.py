"""JSON Patch, merge patch and strategic merge patch: examples of their standards and of kubectl, and properties."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybernetes.api.errors import ApiError, BadRequest, Invalid, RequestEntityTooLarge
from pybernetes.api.meta import clone
from pybernetes.api.patch import json_patch, merge, strategic
from pybernetes.api.resources import DEPLOYMENTS, PODS, SERVICEACCOUNTS, SERVICES
from pybernetes.api.schema import type_of
from pybernetes.api.schema.decode import decode

# ---- JSON Patch -------------------------------------------------------------------------------------------------

DOC = {"a": {"b": 1, "~/": 2}, "l": [1, 2, 3]}


@pytest.mark.parametrize(
    ("operations", "result"),
    [
        ([{"op": "add", "path": "/a/c", "value": [1]}], {"a": {"b": 1, "~/": 2, "c": [1]}, "l": [1, 2, 3]}),
        ([{"op": "add", "path": "/l/1", "value": 9}], {**DOC, "l": [1, 9, 2, 3]}),
        ([{"op": "add", "path": "/l/-", "value": 9}], {**DOC, "l": [1, 2, 3, 9]}),
        ([{"op": "add", "path": "/l/3", "value": 9}], {**DOC, "l": [1, 2, 3, 9]}),
        ([{"op": "remove", "path": "/l/0"}], {**DOC, "l": [2, 3]}),
        ([{"op": "remove", "path": "/l/-1"}], {**DOC, "l": [1, 2]}),
        ([{"op": "remove", "path": "/a/~0~1"}], {**DOC, "a": {"b": 1}}),
        ([{"op": "replace", "path": "/a/b", "value": None}], {**DOC, "a": {"b": None, "~/": 2}}),
        ([{"op": "move", "from": "/a/b", "path": "/x"}], {"a": {"~/": 2}, "l": [1, 2, 3], "x": 1}),
        ([{"op": "copy", "from": "/l", "path": "/x"}, {"op": "add", "path": "/x/0", "value": 0}],
         {**DOC, "x": [0, 1, 2, 3]}),
        ([{"op": "test", "path": "/l", "value": [1, 2, 3]}, {"op": "test", "path": "/zz", "value": None}], DOC),
        ([{"op": "replace", "path": "", "value": {"new": 1}}], {"new": 1}),
        ([{"op": "replace", "path": "/zz", "value": 1}], {**DOC, "zz": 1}),
        ([{"op": "copy", "from": "/zz", "path": "/x"}], {**DOC, "x": None}),
        ([], DOC),
    ],
)  # fmt: skip
def test_json_patch(operations: Any, result: Any) -> None:
    before = clone(DOC)
    assert json_patch.apply(DOC, operations) == result
    assert before == DOC


@pytest.mark.parametrize(
    ("operation", "why"),
    [
        ({"op": "test", "path": "/a/b", "value": 2}, "testing value /a/b failed: test failed"),
        ({"op": "test", "path": "/a/b", "value": True}, "testing value /a/b failed: test failed"),
        ({"op": "remove", "path": "/zz"},
         "error in remove for path: '/zz': Unable to remove nonexistent key: zz: missing value"),
        ({"op": "add", "path": "/x/y", "value": 1},
         'add operation does not apply: doc is missing path: "/x/y": missing value'),
        ({"op": "replace", "path": "/l/7", "value": 1},
         "replace operation does not apply: doc is missing key: /l/7: missing value"),
        ({"op": "replace", "path": "/zz/y", "value": 1},
         "replace operation does not apply: doc is missing path: /zz/y: missing value"),
        ({"op": "move", "from": "/zz", "path": "/x"}, "Unable to remove nonexistent key: zz: missing value"),
        ({"op": "add", "path": "", "value": {}}, 'doc is missing path: "": missing value'),
        ({"op": "copy", "from": "/a", "path": ""}, 'doc is missing path: "": missing value'),
        ({"op": "add", "path": "/l/7", "value": 1}, "Unable to access invalid index: 7: invalid index referenced"),
        ({"op": "add", "path": "/l/x", "value": 1}, 'strconv.Atoi: parsing "x": invalid syntax'),
        ({"op": "jump", "path": "/a"}, "Unexpected kind: jump"),
        ({"op": "add", "value": 1}, "operation missing path field: missing value"),
        ({"op": "move", "from": "/a", "path": "/a/b"}, "invalid state detected"),
        ({"op": "replace", "path": "", "value": 1}, "replace operation value must be object or array"),
        ({"op": "replace", "path": "", "value": []}, "the document is no object any more"),
        ({"op": "replace", "path": ""}, "replace operation value must be object or array"),
    ],
)  # fmt: skip
def test_json_patch_that_does_not_apply(operation: Any, why: str) -> None:
    with pytest.raises(Invalid) as e:
        json_patch.apply(DOC, [{"op": "add", "path": "/half", "value": "done"}, operation])
    assert e.value.code == 422 and e.value.to_status()["details"] == {}
    assert e.value.message == "the server rejected our request due to an error in our request"
    assert why in str(e.value.__cause__)
    assert "half" not in DOC


def test_malformed_json_patch() -> None:
    with pytest.raises(BadRequest, match="cannot unmarshal object into Go value of type"):
        json_patch.apply(DOC, {"op": "add"})
    with pytest.raises(BadRequest, match=r"cannot unmarshal number into Go struct field jsonPatchOp\.path"):
        json_patch.apply(DOC, [{"op": "add", "path": 1}])
    for operations, why in (
        ({}, "json: cannot unmarshal object into Go value of type jsonpatch.Patch"),
        (["x"], "json: cannot unmarshal string into Go value of type jsonpatch.Operation"),
    ):
        with pytest.raises(BadRequest) as e:
            json_patch.apply(DOC, operations, strict=False)
        assert e.value.message == why
    for unfit in ({"op": 1, "path": "/a"}, {"op": "add", "path": 1}, None):
        with pytest.raises(Invalid):
            json_patch.apply(DOC, [unfit], strict=False)
    with pytest.raises(RequestEntityTooLarge, match="maximum operations in a JSON patch is 10000, got 10001"):
        json_patch.apply(DOC, [{"op": "test", "path": "/l/0", "value": 1}] * 10_001)


def test_copies_are_bounded() -> None:
    doubling = [{"op": "copy", "from": "/l", "path": "/l/-"}] * 40
    with pytest.raises(Invalid) as e:
        json_patch.apply(DOC, doubling)
    assert "accumulated size increase" in str(e.value.__cause__)


VALUES = st.recursive(
    st.booleans() | st.integers(-5, 5) | st.text(alphabet="ab/~", max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet="ab/~", max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(alphabet="ab/~", max_size=2), VALUES, max_size=4)


def _diff(a: Any, b: Any, path: str = "") -> list[dict[str, Any]]:
    """A JSON patch that turns `a` into `b`."""
    if isinstance(a, dict) and isinstance(b, dict):
        out: list[dict[str, Any]] = []
        for key in a.keys() | b.keys():
            below = path + "/" + key.replace("~", "~0").replace("/", "~1")
            if key not in b:
                out.append({"op": "remove", "path": below})
            elif key not in a:
                out.append({"op": "add", "path": below, "value": b[key]})
            else:
                out += _diff(a[key], b[key], below)
        return out
    same = a == b and type(a) is type(b)
    return [{"op": "test", "path": path, "value": a}, {"op": "replace", "path": path, "value": b}] if not same else []


@given(OBJECTS, OBJECTS)
def test_json_patch_of_a_difference_gives_the_other(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert json_patch.apply(a, _diff(a, b)) == b


# ---- merge patch ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [  # RFC 7386, appendix A, where both are objects
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch(target: Any, patch: Any, result: Any) -> None:
    assert merge.apply(target, patch) == result


def test_merge_patch_must_be_an_object() -> None:
    with pytest.raises(BadRequest, match="cannot unmarshal array"):
        merge.apply({}, [])


def _merge_diff(a: Any, b: Any) -> Any:
    if not (isinstance(a, dict) and isinstance(b, dict)):
        return b
    out = {k: None for k in a if k not in b}
    return out | {k: _merge_diff(a.get(k), v) for k, v in b.items() if k not in a or a[k] != v or isinstance(v, dict)}


@given(OBJECTS, OBJECTS)
def test_merge_patch_of_a_difference_gives_the_other(a: dict[str, Any], b: dict[str, Any]) -> None:
    patched = merge.apply(a, _merge_diff(a, b))
    assert patched == b


# ---- strategic merge patch --------------------------------------------------------------------------------------

POD = type_of(PODS)


def pod(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}


def spec_after(live: dict[str, Any], patch: dict[str, Any]) -> Any:
    obj = pod(**live)
    before = clone(obj)
    result = strategic.apply(obj, {"spec": patch}, POD)
    assert obj == before
    return result["spec"]


A, B, C = ({"name": n, "image": n} for n in "abc")


@pytest.mark.parametrize(
    ("live", "patch", "result"),
    [
        # merged by name, new ones first in the patch's order, unless the live order says otherwise
        ([A, B], [{"name": "b", "image": "x"}], [A, {"name": "b", "image": "x"}]),
        ([A, B], [C], [C, A, B]),
        ([A, B, C], [{"name": "c", "x": 1}, {"name": "a", "x": 1}], [B, {**C, "x": 1}, {**A, "x": 1}]),
        ([A, B], [{"name": "a", "$patch": "delete"}], [B]),
        ([A, B], [{"name": "zz", "$patch": "delete"}], [A, B]),
        ([A, B], [{"$patch": "replace"}, C], [C]),
        ([A, B], [{"name": "a", "image": None, "$patch": "replace"}], []),
    ],
)
def test_lists_of_maps(live: Any, patch: Any, result: Any) -> None:
    assert spec_after({"containers": live}, {"containers": patch})["containers"] == result


def test_a_map_inside_a_list_is_replaced_by_its_own_directive() -> None:
    live = {"containers": [{"name": "a", "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}}]}
    patch = {"containers": [{"name": "a", "resources": {"$patch": "replace", "limits": {"memory": "1Gi"}}}]}
    assert spec_after(live, patch)["containers"] == [{"name": "a", "resources": {"limits": {"memory": "1Gi"}}}]


def test_plain_values_and_nulls() -> None:
    assert spec_after({"nodeName": "n", "hostname": "h"}, {"nodeName": None, "subdomain": "s"}) == {
        "hostname": "h",
        "subdomain": "s",
    }
    assert spec_after({"nodeSelector": {"a": "1", "b": "2"}}, {"nodeSelector": {"a": None, "c": "3"}}) == {
        "nodeSelector": {"b": "2", "c": "3"}
    }
    assert spec_after({}, {"nodeSelector": {"a": None, "c": "3"}}) == {"nodeSelector": {"c": "3"}}


def test_lists_without_merge_strategy_are_replaced() -> None:
    live = {"containers": [{"name": "a", "command": ["x", "y"]}], "tolerations": [{"key": "a"}]}
    patch = {"containers": [{"name": "a", "command": ["z"]}], "tolerations": [{"key": "b"}]}
    assert spec_after(live, patch) == {"containers": [{"name": "a", "command": ["z"]}], "tolerations": [{"key": "b"}]}


def test_order_directive() -> None:
    live = {"containers": [A, B]}
    patch = {"$setElementOrder/containers": [{"name": "b"}, {"name": "c"}, {"name": "a"}], "containers": [C]}
    assert spec_after(live, patch)["containers"] == [B, C, A]
    only_order = {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}
    assert spec_after(live, only_order)["containers"] == [B, A]
    # An item of the server's own keeps its place relative to its neighbours.
    live = {"containers": [A, {"name": "sidecar"}, B]}
    assert spec_after(live, {"$setElementOrder/containers": [{"name": "a"}, {"name": "b"}]})["containers"] == [
        A, {"name": "sidecar"}, B,
    ]  # fmt: skip
    with pytest.raises(BadRequest, match="doesn't match \\$setElementOrder list"):
        spec_after(live, {"$setElementOrder/containers": [{"name": "a"}], "containers": [C]})


def test_retain_keys() -> None:
    volumes = [{"name": "v", "emptyDir": {}}]
    patch = {"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]}
    assert spec_after({"volumes": volumes}, patch)["volumes"] == [{"name": "v", "hostPath": {"path": "/x"}}]
    with pytest.raises(BadRequest, match="invalid patch format of retainKeys"):
        spec_after({"volumes": volumes}, {"volumes": [{"name": "v", "$retainKeys": ["name"], "hostPath": {}}]})
    deployment = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert strategic.apply(deployment, patch, type_of(DEPLOYMENTS)) == {"spec": {"strategy": {"type": "Recreate"}}}


def test_primitive_lists_merge() -> None:
    account = {"metadata": {"finalizers": ["a", "b"]}}
    node = type_of(SERVICEACCOUNTS)
    patched = strategic.apply(account, {"metadata": {"finalizers": ["c", "a"]}}, node)
    assert sorted(patched["metadata"]["finalizers"]) == ["a", "b", "c"]
    patched = strategic.apply(account, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}, node)
    assert patched["metadata"]["finalizers"] == ["b"]
    order = {
        "$setElementOrder/finalizers": ["c", "b"],
        "$deleteFromPrimitiveList/finalizers": ["a"],
        "finalizers": ["c"],
    }
    assert strategic.apply(account, {"metadata": order}, node)["metadata"]["finalizers"] == ["c", "b"]


def test_service_ports_merge_by_port() -> None:
    service = {"spec": {"ports": [{"port": 80, "nodePort": 30000, "protocol": "TCP"}, {"port": 81}]}}
    patched = strategic.apply(service, {"spec": {"ports": [{"port": 80, "targetPort": "http"}]}}, type_of(SERVICES))
    assert patched["spec"]["ports"][0] == {"port": 80, "nodePort": 30000, "protocol": "TCP", "targetPort": "http"}
    assert len(patched["spec"]["ports"]) == 2


def test_the_patch_that_kubectl_apply_sends() -> None:
    """What ``kubectl apply`` makes of a changed image and a removed variable."""
    live = pod(
        containers=[
            {"name": "web", "image": "nginx:1", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}
        ]
    )
    patch = {
        "metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}},
        "spec": {
            "$setElementOrder/containers": [{"name": "web"}],
            "containers": [
                {
                    "$setElementOrder/env": [{"name": "A"}],
                    "env": [{"$patch": "delete", "name": "B"}],
                    "image": "nginx:2",
                    "name": "web",
                }
            ],
        },
    }
    assert strategic.apply(live, patch, POD)["spec"]["containers"] == [
        {"name": "web", "image": "nginx:2", "env": [{"name": "A", "value": "1"}]}
    ]


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ({"containers": [{"image": "x"}]}, "map: map[image:x] does not contain declared merge key: name"),
        ({"$patch": "explode"}, "unknown patch type: explode in map: map[$patch:explode]"),
        ({"containers": [{"name": "a", "$patch": "merge"}]}, "merging lists cannot yet be specified in the patch"),
        ({"$deleteFromPrimitiveList/containers": 1}, "invalid patch format of primitive list"),
        ({"$setElementOrder/containers": 1}, "invalid patch format of setElementOrder list"),
    ],
)
def test_bad_patches(patch: Any, message: str) -> None:
    with pytest.raises(BadRequest) as e:
        spec_after({"containers": [A]}, patch)
    assert e.value.message == message


NAMED = st.lists(st.sampled_from("abcd"), unique=True, max_size=4).flatmap(
    lambda names: st.tuples(
        *(st.fixed_dictionaries({"name": st.just(n), "image": st.sampled_from("xyz")}) for n in names)
    )
)
PODS_ = st.builds(
    lambda containers, selector, finalizers: {
        "metadata": {"finalizers": finalizers},
        "spec": {"containers": list(containers), "nodeSelector": selector},
    },
    NAMED,
    st.dictionaries(st.sampled_from("abc"), st.sampled_from("xyz"), max_size=3),
    st.lists(st.sampled_from("abc"), unique=True, max_size=3),
)


@given(PODS_)
def test_an_object_patched_with_itself_stays(obj: dict[str, Any]) -> None:
    assert strategic.apply(obj, obj, POD) == obj


@given(PODS_, PODS_)
def test_a_patch_holds_afterwards_and_again_changes_nothing(live: dict[str, Any], patch: dict[str, Any]) -> None:
    result = strategic.apply(live, patch, POD)
    containers = {c["name"]: c for c in result["spec"]["containers"]}
    assert len(containers) == len(result["spec"]["containers"])
    for c in patch["spec"]["containers"]:
        assert containers[c["name"]]["image"] == c["image"]
    assert {c["name"] for c in live["spec"]["containers"]} <= containers.keys()
    wanted = [c["name"] for c in patch["spec"]["containers"]]
    assert [n for n in containers if n in wanted] == wanted
    assert result["spec"]["nodeSelector"] == live["spec"]["nodeSelector"] | patch["spec"]["nodeSelector"]
    assert strategic.apply(result, patch, POD) == result


@given(PODS_, PODS_)
def test_the_order_directive_is_obeyed(live: dict[str, Any], wanted: dict[str, Any]) -> None:
    """A patch as kubectl makes it from two versions of a list leads to the second one exactly."""
    old, new = live["spec"]["containers"], wanted["spec"]["containers"]
    names = [c["name"] for c in new]
    gone = [{"name": c["name"], "$patch": "delete"} for c in old if c["name"] not in names]
    order = [{"name": n} for n in names]
    patch = {"spec": {"$setElementOrder/containers": order, "containers": [c for c in new if c not in old] + gone}}
    assert strategic.apply(live, patch, POD)["spec"]["containers"] == new


@given(
    st.recursive(
        st.none() | st.integers(0, 2) | st.sampled_from(["delete", "replace", "a"]),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "spec",
                        "containers",
                        "name",
                        "$patch",
                        "$retainKeys",
                        "$setElementOrder/containers",
                        "env",
                        "volumes",
                    ]
                ),
                inner,
                max_size=3,
            )
        ),
        max_leaves=10,
    )
)
def test_nonsense_ends_in_an_object_or_an_api_error(patch: Any) -> None:
    live = pod(containers=[A, B], volumes=[{"name": "v"}])
    code = 400
    try:
        decode(strategic.apply(live, patch, POD), PODS, "Warn")
    except ApiError as e:
        code = e.code
    assert 400 <= code < 500
