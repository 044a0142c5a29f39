"""The status of a ResourceQuota. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from pybernetes.api import quota as q
from pybernetes.api.meta import Object
from pybernetes.api.resources import Resource


def counted(quota: Object, resources: Iterable[Resource]) -> list[Resource]:
    """The resources whose objects the quota limits."""
    hard = (quota.get("spec") or {}).get("hard") or {}
    return [r for r in resources if any(q.is_counted(r, name) for name in hard)]


def plan_status(
    quota: Object, resources: Iterable[Resource], objects: Callable[[Resource], Sequence[Object]], now: float
) -> Object:
    """`objects` gives the namespace's objects of a resource."""
    hard = (quota.get("spec") or {}).get("hard") or {}
    usages = (
        q.usage_of(resource, obj, now)
        for resource in counted(quota, resources)
        for obj in objects(resource)
        if q.scopes_match(quota, resource, obj)
    )
    used = q.total(usages, hard)
    return {"hard": dict(hard), "used": {name: str(amount) for name, amount in used.items()}}
