"""Patches computed from two objects of any kind carry the one to the other, and touch neither."""

from __future__ import annotations

from random import Random
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from pybernetes.api import resources
from pybernetes.api.patch import merge, strategic
from pybernetes.api.resources import Resource
from pybernetes.api.schema import type_of
from pybernetes.api.schema.decode import decode
from tests.support import strategic_diff
from tests.support.objects import make

KINDS = [r for r in resources.BUILTIN if "patch" in r.verbs]
SEEDS = st.integers(0, 2**32)


def at_random(resource: Resource, seed: int) -> dict[str, Any]:
    obj = make(type_of(resource), Random(seed), resource.api_version, resource.kind)
    return decode(obj, resource, "Strict")[0]


def nearby(resource: Resource, seed: int, other: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two objects, half of whose top-level parts are the same."""
    one, two = at_random(resource, seed), at_random(resource, other)
    random = Random(seed ^ other)
    return one, {**{k: v for k, v in one.items() if random.random() < 0.5}, **two}


@given(SEEDS, SEEDS)
def test_strategic_merge_patches(seed: int, other: int) -> None:
    for resource in KINDS:
        node = type_of(resource)
        one, two = nearby(resource, seed, other)
        patch = strategic_diff.diff(one, two, node)
        before = orjson.dumps([one, patch])
        assert strategic.apply(one, patch, node) == two, (resource.kind, patch)
        assert orjson.dumps([one, patch]) == before
        assert strategic.apply(two, strategic_diff.diff(two, two, node), node) == two


def merge_diff(old: Any, new: Any) -> Any:
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return new
    gone = {k: None for k in old if k not in new}
    return gone | {k: merge_diff(old.get(k), v) for k, v in new.items() if k not in old or old[k] != v}


@given(SEEDS, SEEDS)
def test_merge_patches(seed: int, other: int) -> None:
    for resource in KINDS:
        one, two = nearby(resource, seed, other)
        patch = merge_diff(one, two)
        before = orjson.dumps([one, patch])
        assert merge.apply(one, patch) == two
        assert merge.apply(two, patch) == two
        assert orjson.dumps([one, patch]) == before


def test_long_lists_cost_what_they_are_long() -> None:
    """Ten thousands of items, compared each with each, would take minutes; a request may hold as many."""
    node = type_of(resources.PODS)
    finalizers = [f"example.com/{i}" for i in range(30_000)]
    one: dict[str, Any] = {"metadata": {"finalizers": finalizers[:20_000]}, "spec": {"containers": []}}
    patch: dict[str, Any] = {
        "metadata": {
            "finalizers": finalizers[10_000:],
            "$deleteFromPrimitiveList/finalizers": finalizers[:5_000],
            "$setElementOrder/finalizers": finalizers[5_000:],
        }
    }
    assert strategic.apply(one, patch, node)["metadata"]["finalizers"] == finalizers[5_000:]
    containers = [{"name": f"c{i}", "image": "i"} for i in range(20_000)]
    one["spec"]["containers"] = containers[:15_000]
    changes = [{"name": c["name"], "image": "j"} for c in containers[10_000:]]
    gone = [{"name": c["name"], "$patch": "delete"} for c in containers[:5_000]]
    patched = strategic.apply(one, {"spec": {"containers": changes + gone}}, node)["spec"]["containers"]
    assert [c["name"] for c in patched] == [c["name"] for c in containers[5_000:]]
    assert {c["image"] for c in patched[5_000:]} == {"j"}
