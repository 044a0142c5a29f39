"""Running one plugin, as the registry would."""

from __future__ import annotations

from typing import Any

from pybernetes.api.meta import Object, clone
from pybernetes.api.resources import Resource
from pybernetes.api.user import User
from pybernetes.apiserver.interfaces import AdmissionPlugin, AdmissionRequest

ALICE = User("alice", groups=("devs", "system:authenticated"))


def request(
    operation: Any,
    resource: Resource,
    obj: Object | None = None,
    *,
    old: Object | None = None,
    user: User = ALICE,
    namespace: str = "shop",
    name: str = "",
    subresource: str = "",
    dry_run: bool = False,
) -> AdmissionRequest:
    meta = (obj or old or {}).get("metadata") or {}
    return AdmissionRequest(
        operation,
        resource,
        namespace if resource.namespaced else "",
        name or meta.get("name") or "",
        subresource,
        user,
        clone(obj) if obj is not None else None,
        old,
        dry_run,
        [],
    )


async def admit(plugin: AdmissionPlugin, asked: AdmissionRequest) -> Any:
    """Both phases; the object as the plugin left it."""
    if plugin.handles(asked.operation, asked.resource, asked.subresource):
        await plugin.mutate(asked)
        await plugin.validate(asked)
    return asked.object


def pod(name: str = "web", namespace: str = "shop", **spec: Any) -> Object:
    containers = spec.pop("containers", [{"name": "c", "image": "i"}])
    return {"metadata": {"name": name, "namespace": namespace}, "spec": {"containers": containers, **spec}}
