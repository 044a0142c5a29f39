"""Server-side apply of configurations of any kind, made at random: what holds whatever they say."""

from __future__ import annotations

from random import Random
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from pybernetes.api import resources
from pybernetes.api.errors import BadRequest, Conflict, Invalid
from pybernetes.api.patch import apply as ssa
from pybernetes.api.patch import fields, typed
from pybernetes.api.patch.elements import elements_of
from pybernetes.api.patch.scope import scope_of
from pybernetes.api.resources import Resource
from pybernetes.api.schema.decode import decode, decode_patched
from pybernetes.api.schema.nodes import ListNode, Node
from tests.support.managers import owned, written
from tests.support.objects import make

NOW = 1_767_323_045.0
KINDS = [r for r in resources.BUILTIN if "patch" in r.verbs]
SEEDS = st.integers(0, 2**32)


def at_random(resource: Resource, seed: int) -> dict[str, Any]:
    obj = make(scope_of(resource).node, Random(seed), resource.api_version, resource.kind)
    meta = {k: v for k, v in obj["metadata"].items() if k not in typed.UNMANAGED_METADATA}
    obj["metadata"] = {**meta, "name": "n"}
    return decode(obj, resource, "Strict")[0]


def apply(live: Any, config: Any, resource: Resource, manager: str, *, force: bool = False, now: float = NOW) -> Any:
    return ssa.apply(live, config, scope_of(resource), manager=manager, force=force, now=now)


def normal(value: Any, node: Node) -> Any:
    """The value with list maps and sets in one order, and without what removing left empty."""
    if isinstance(node, ListNode) and isinstance(value, list):
        items = [normal(v, node.items) for v in value]
        if node.list_type == "atomic":
            return items
        return [v for _, v in sorted(zip(elements_of(node).of_items(value), items, strict=True), key=lambda p: p[0])]
    if isinstance(value, dict):
        below = {k: normal(v, typed.member(node, k)[0]) for k, v in value.items() if k != "managedFields"}
        return {k: v for k, v in below.items() if v not in ({}, [])}
    return value


def fields_of_config(config: Any, resource: Resource) -> Any:
    scope = scope_of(resource)
    return fields.from_paths(p for p in typed.field_set(config, scope.node) if scope.owns(p))


def causes_of_conflict(live: Any, config: Any, resource: Resource) -> list[Any]:
    try:
        apply(live, config, resource, "me")
    except Conflict as e:
        return list((e.details or {})["causes"])
    return []


@settings(max_examples=25)
@given(SEEDS, SEEDS)
def test_applying_the_same_again_changes_nothing(seed: int, other: int) -> None:
    for resource in KINDS:
        config, before = at_random(resource, seed), at_random(resource, other)
        before["metadata"] = {**before["metadata"], "uid": "u"}
        live = written(None, before, resource, "maker", now=NOW - 5)
        text = orjson.dumps([live, config])
        once = apply(live, config, resource, "me", force=True)
        assert orjson.dumps([live, config]) == text, "neither is touched"
        assert (owned(once, "me") or {}) == fields_of_config(config, resource)
        again = apply(once, config, resource, "me", now=NOW + 60)
        assert orjson.dumps(again, option=orjson.OPT_SORT_KEYS) == orjson.dumps(once, option=orjson.OPT_SORT_KEYS)


@settings(max_examples=25)
@given(SEEDS, SEEDS)
def test_a_conflict_changes_nothing_and_names_what_force_would_take(seed: int, other: int) -> None:
    for resource in KINDS:
        mine, theirs = at_random(resource, seed), at_random(resource, other)
        live = apply(None, theirs, resource, "them")
        lost = fields.difference(owned(live, "them") or {}, {})
        forced = apply(live, mine, resource, "me", force=True)
        taken = set(fields.paths(fields.difference(lost, owned(forced, "them") or {})))
        causes = causes_of_conflict(live, mine, resource)
        assert {c["field"] for c in causes} <= {fields.show(p) for p in taken}
        assert all(c["message"] == 'conflict with "them"' for c in causes)
        if not causes:
            assert not taken and apply(live, mine, resource, "me") == forced


@settings(max_examples=25)
@given(SEEDS, SEEDS)
def test_applies_of_what_nobody_else_names_commute(seed: int, other: int) -> None:
    for resource in KINDS:
        scope = scope_of(resource)
        mine, theirs = at_random(resource, seed), at_random(resource, other)
        mine.pop("status", None)
        theirs.pop("status", None)
        one = apply(None, mine, resource, "me")
        other_way = apply(None, theirs, resource, "them")
        try:
            one = apply(one, theirs, resource, "them")
            other_way = apply(other_way, mine, resource, "me")
        except Conflict:
            continue
        assert normal(one, scope.node) == normal(other_way, scope.node)
        for manager in ("me", "them"):
            assert owned(one, manager) == owned(other_way, manager)


@settings(max_examples=25)
@given(SEEDS, SEEDS)
def test_forcing_and_forcing_back_restores_what_one_holds(seed: int, other: int) -> None:
    for resource in KINDS:
        scope = scope_of(resource)
        mine, theirs = at_random(resource, seed), at_random(resource, other)
        first = apply(None, mine, resource, "me")
        forced = apply(first, theirs, resource, "them", force=True)
        back = apply(forced, mine, resource, "me", force=True)
        assert (owned(back, "me") or {}) == fields_of_config(mine, resource)
        bare = {"apiVersion": mine["apiVersion"], "kind": mine["kind"], "metadata": {"name": "n"}}
        alone = apply(back, bare, resource, "them")
        assert owned(alone, "them") is None
        for obj in (alone, first):
            obj.pop("status", None)
        assert normal(alone, scope.node) == normal(first, scope.node)


@settings(max_examples=25)
@given(SEEDS)
def test_what_its_one_manager_drops_is_gone(seed: int) -> None:
    for resource in KINDS:
        config = at_random(resource, seed)
        config.pop("status", None)
        bare = {"apiVersion": config["apiVersion"], "kind": config["kind"], "metadata": {"name": "n"}}
        live = apply(apply(None, bare, resource, "me"), config, resource, "me")
        gone = apply(live, bare, resource, "me")
        assert normal(gone, scope_of(resource).node) == bare, resource.kind
        assert owned(gone, "me") is None


NONSENSE: tuple[Any, ...] = (
    None, 1, "x", True, [], {}, [1], ["a"], [{}], [None], {"a": 1}, {"k": None}, [[1]], 1.5, [{"name": {}}], -1,
)  # fmt: skip


def bent(value: Any, random: Random) -> Any:
    """The value with nonsense in some places."""
    if random.random() < 0.08:
        return random.choice(NONSENSE)
    if isinstance(value, dict):
        return {k: bent(v, random) for k, v in value.items()}
    return [bent(v, random) for v in value] if isinstance(value, list) else value


@given(SEEDS, SEEDS)
def test_nonsense_ends_in_an_object_or_a_refusal(seed: int, other: int) -> None:
    random = Random(seed ^ other)
    resource = random.choice(KINDS)
    live = apply(None, at_random(resource, other), resource, "them")
    config = {k: bent(v, random) for k, v in at_random(resource, seed).items()}
    try:
        result = apply(live, {**config, "apiVersion": resource.api_version}, resource, "me", force=True)
        decode_patched(result, resource, "Warn")
    except (BadRequest, Invalid):
        return


def test_it_is_no_accident_that_these_conflict() -> None:
    """The random objects above do meet now and then."""
    met = 0
    for seed in range(40):
        for resource in KINDS[:10]:
            live = apply(None, at_random(resource, seed), resource, "them")
            try:
                apply(live, at_random(resource, seed + 1), resource, "me")
            except Conflict:
                met += 1
    assert met > 20
