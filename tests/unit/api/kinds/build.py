"""Objects that tests start from, and how the registry would treat them."""

from __future__ import annotations

from typing import Any

from pybernetes.api.kinds.metadata import validate_object_meta
from pybernetes.api.kinds.registry import strategy_for
from pybernetes.api.meta import Object, clone
from pybernetes.api.resources import Resource


def pod(**spec: Any) -> Object:
    spec.setdefault("containers", [{"name": "web", "image": "nginx:1.25"}])
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "namespace": "default", "labels": {"app": "web"}},
        "spec": spec,
    }


def template(**spec: Any) -> Object:
    spec.setdefault("containers", [{"name": "web", "image": "nginx:1.25"}])
    return {"metadata": {"labels": {"app": "web"}}, "spec": spec}


def workload(kind: str, **spec: Any) -> Object:
    spec.setdefault("selector", {"matchLabels": {"app": "web"}})
    spec.setdefault("template", template())
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": "web", "namespace": "default"},
        "spec": spec,
    }


def named(name: str = "x", namespace: str = "default", **fields: Any) -> Object:
    meta: Object = {"name": name}
    if namespace:
        meta["namespace"] = namespace
    return {"metadata": meta, **fields}


def created(resource: Resource, obj: Object) -> Object:
    """The object as it would be stored, whether valid or not; the argument is not changed."""
    strategy = strategy_for(resource)
    out: Object = clone(obj)
    out.setdefault("metadata", {}).setdefault("uid", "11111111-2222-3333-4444-555555555555")
    strategy.default(out)
    strategy.prepare_for_create(out)
    return out


def faults(resource: Resource, obj: Object) -> list[str]:
    """What a creation would be refused for."""
    out = created(resource, obj)
    strategy = strategy_for(resource)
    return [str(e) for e in (*validate_object_meta(out, resource, strategy), *strategy.validate_create(out))]


def update_faults(resource: Resource, obj: Object, old: Object) -> list[str]:
    """What an update from one stored object to `obj` would be refused for."""
    strategy = strategy_for(resource)
    out: Object = clone(obj)
    strategy.default(out)
    strategy.prepare_for_update(out, old)
    return [str(e) for e in strategy.validate_update(out, old)]


def status_faults(resource: Resource, obj: Object, old: Object) -> list[str]:
    strategy = strategy_for(resource)
    out: Object = clone(obj)
    strategy.prepare_for_status_update(out, old)
    return [str(e) for e in strategy.validate_status_update(out, old)]


def warned(resource: Resource, obj: Object) -> list[str]:
    """What a creation is warned of."""
    return strategy_for(resource).warnings(created(resource, obj), None)


def changed(resource: Resource, old: Object, new: Object) -> list[str]:
    """What an update would be refused for, from `old` as it is stored once created."""
    return update_faults(resource, new, created(resource, old))


def stated(resource: Resource, obj: Object, status: Object) -> list[str]:
    """What a write of that status would be refused for."""
    old = created(resource, obj)
    return status_faults(resource, {**clone(old), "status": status}, old)
