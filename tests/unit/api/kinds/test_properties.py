"""What holds for every kind and every well-typed object, valid or not."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pybernetes.api import resources as r
from pybernetes.api.kinds.equality import semantic_equal
from pybernetes.api.kinds.metadata import validate_object_meta, validate_object_meta_update
from pybernetes.api.kinds.registry import strategy_for
from pybernetes.api.meta import Object, clone
from pybernetes.api.printers import cells, columns, table
from pybernetes.api.resources import Resource
from tests.unit.api.kinds.arbitrary import arbitrary
from tests.unit.api.kinds.build import created, faults, pod

STORED = [resource for resource in r.BUILTIN if "update" in resource.verbs]
SEEDS = st.integers(0, 2**32)
FEW = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("resource", STORED, ids=lambda v: v.group_resource)
@given(seed=SEEDS)
@FEW
def test_defaulting_twice_changes_nothing(resource: Resource, seed: int) -> None:
    strategy = strategy_for(resource)
    obj = arbitrary(resource, seed)
    strategy.default(obj)
    once = clone(obj)
    strategy.default(obj)
    assert obj == once


@pytest.mark.parametrize("resource", STORED, ids=lambda v: v.group_resource)
@given(seed=SEEDS, other=SEEDS)
@FEW
def test_nothing_that_is_well_typed_makes_a_strategy_fail(resource: Resource, seed: int, other: int) -> None:
    strategy = strategy_for(resource)
    old, new = arbitrary(resource, seed), arbitrary(resource, other)
    for obj in (old, new):
        strategy.default(obj)
    strategy.prepare_for_create(old)
    errors = [*validate_object_meta(old, resource, strategy), *strategy.validate_create(old)]
    before = clone(old)
    status = clone(new)
    strategy.prepare_for_update(new, old)
    errors += [*validate_object_meta_update(new, old), *strategy.validate_update(new, old)]
    strategy.prepare_for_status_update(status, old)
    errors += strategy.validate_status_update(status, old)
    assert old == before, "the stored object is shared and must not change"
    for error in errors:
        assert str(error)
    for text in (*strategy.warnings(old, None), *strategy.warnings(new, old)):
        assert isinstance(text, str)
    fields = strategy.selectable_fields(old)
    assert all(isinstance(v, str) for v in fields.values())
    assert set(fields) == strategy.selectable_field_names()
    assert strategy.grace_period_seconds(old, None) >= 0


@pytest.mark.parametrize("resource", STORED, ids=lambda v: v.group_resource)
@given(seed=SEEDS)
@FEW
def test_validation_does_not_change_the_object(resource: Resource, seed: int) -> None:
    strategy = strategy_for(resource)
    obj = arbitrary(resource, seed)
    strategy.default(obj)
    before = clone(obj)
    strategy.validate_create(obj)
    strategy.warnings(obj, None)
    assert obj == before


@pytest.mark.parametrize("resource", STORED, ids=lambda v: v.group_resource)
@given(seed=SEEDS)
@FEW
def test_every_object_prints(resource: Resource, seed: int) -> None:
    obj = arbitrary(resource, seed)
    row = cells(resource, obj, 1_800_000_000.0)
    assert len(row) == len(columns(resource))
    assert all(v is None or isinstance(v, (str, int, float, bool)) for v in row)
    assert table(resource, [obj], 1_800_000_000.0)["rows"][0]["cells"] == row


NAMES = st.from_regex(r"[a-z]([-a-z0-9]{0,10}[a-z0-9])?", fullmatch=True)


@st.composite
def valid_pods(draw: st.DrawFn) -> Object:
    """Pods that must pass."""
    volumes = draw(st.lists(NAMES, max_size=3, unique=True))
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    milli = st.integers(1, 4000)

    def container(name: str) -> Object:
        out: Object = {"name": name, "image": draw(st.sampled_from(("nginx", "nginx:1.25", "a/b:latest")))}
        limit = draw(milli)
        if draw(st.booleans()):
            out["resources"] = {"limits": {"cpu": f"{limit}m", "memory": f"{draw(milli)}Mi"}}
            if draw(st.booleans()):
                out["resources"]["requests"] = {"cpu": f"{draw(st.integers(0, limit))}m"}
        ports = draw(st.lists(st.integers(1, 65535), max_size=3, unique=True))
        if ports:
            out["ports"] = [{"containerPort": p} for p in ports]
        if volumes and draw(st.booleans()):
            out["volumeMounts"] = [{"name": v, "mountPath": f"/{v}"} for v in volumes]
        if draw(st.booleans()):
            out["env"] = [{"name": n, "value": "x"} for n in draw(st.lists(NAMES, max_size=3, unique=True))]
        return out

    split = draw(st.integers(0, len(names) - 1))
    spec: Object = {"containers": [container(n) for n in names[split:]]}
    if split:
        spec["initContainers"] = [container(n) for n in names[:split]]
        if draw(st.booleans()):
            spec["initContainers"][0]["restartPolicy"] = "Always"
    if volumes:
        spec["volumes"] = [{"name": v} for v in volumes]
    if draw(st.booleans()):
        spec["restartPolicy"] = draw(st.sampled_from(("Always", "OnFailure", "Never")))
    return pod(**spec)


@given(obj=valid_pods())
@example(obj=pod())
@settings(max_examples=100, deadline=None)
def test_valid_pods_pass_and_an_update_to_themselves_does_too(obj: Object) -> None:
    assert faults(r.PODS, obj) == []
    strategy = strategy_for(r.PODS)
    stored = created(r.PODS, obj)
    again = clone(obj)
    strategy.default(again)
    strategy.prepare_for_update(again, stored)
    assert strategy.validate_update(again, stored) == []
    assert not strategy.raises_generation(again, stored)


@given(seed=SEEDS, extra=st.sampled_from((None, [], {})))
@settings(max_examples=50, deadline=None)
def test_absent_and_empty_are_the_same(seed: int, extra: object) -> None:
    obj = arbitrary(r.PODS, seed)
    other = {**clone(obj), "more": extra}
    assert semantic_equal(obj, other)
    assert semantic_equal(other, obj)
    assert not semantic_equal(obj, {**other, "more": 1})
