"""Making the default RBAC policy (`pybernetes.apiserver.rbac_policy`) true.

Runs at start: what is missing is made; of what is there, missing rules and subjects are added and nothing is taken
away, unless ``rbac.authorization.kubernetes.io/autoupdate`` is not "true". A binding whose roleRef differs is made
anew, since a roleRef cannot change. Plans are pure; `reconcile` carries them out through the API.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import structlog

from pybernetes.api import errors
from pybernetes.api.meta import Object, annotations_of, clone, metadata, name_of, namespace_of
from pybernetes.api.resources import CLUSTERROLEBINDINGS, CLUSTERROLES, ROLEBINDINGS, ROLES, Resource
from pybernetes.apiserver.rbac import uncovered
from pybernetes.apiserver.rbac_policy import AUTOUPDATE, cluster_role_bindings, cluster_roles, role_bindings, roles
from pybernetes.client.interface import Client

log = structlog.get_logger(__name__)

_PARALLEL_WRITES = 32
"""Writes under way at once: enough to share the store's commits."""


def plan_role(existing: Object, wanted: Object) -> Object | None:
    """`existing` with what `wanted` has and it lacks, or None where nothing lacks or it must be left alone."""
    if annotations_of(existing).get(AUTOUPDATE) != "true":
        return None
    result = clone(existing)
    changed = _add_missing_metadata(result, wanted)
    if "aggregationRule" in wanted:
        # The rules of an aggregated role are its controller's.
        if "aggregationRule" not in result:
            result["aggregationRule"] = clone(wanted["aggregationRule"])
            changed = True
    elif missing := uncovered(existing.get("rules") or [], wanted.get("rules") or []):
        result["rules"] = [*(result.get("rules") or []), *missing]
        changed = True
    return result if changed else None


def plan_binding(existing: Object, wanted: Object) -> Object | None:
    """As `plan_role`, for a binding with the same roleRef."""
    if annotations_of(existing).get(AUTOUPDATE) != "true":
        return None
    result = clone(existing)
    changed = _add_missing_metadata(result, wanted)
    have = list(existing.get("subjects") or ())
    missing = [s for s in wanted.get("subjects") or () if not any(_same_subject(s, h) for h in have)]
    if missing:
        result["subjects"] = have + clone(missing)
        changed = True
    return result if changed else None


def _same_subject(a: Object, b: Object) -> bool:
    return all((a.get(k) or "") == (b.get(k) or "") for k in ("kind", "name", "namespace"))


def _add_missing_metadata(result: Object, wanted: Object) -> bool:
    changed = False
    for what in ("labels", "annotations"):
        for key, value in (metadata(wanted).get(what) or {}).items():
            have = result["metadata"].setdefault(what, {})
            if key not in have:
                have[key] = value
                changed = True
    return changed


async def reconcile(client: Client) -> None:
    """Makes the default policy true, through the API. Idempotent; cancelled, it leaves what it has done. Raises
    ApiError where the API refuses."""
    for resource, wanted in (
        (CLUSTERROLES, cluster_roles()),
        (CLUSTERROLEBINDINGS, cluster_role_bindings()),
        (ROLES, roles()),
        (ROLEBINDINGS, role_bindings()),
    ):
        await _reconcile(client, resource, wanted)


async def _reconcile(client: Client, resource: Resource, wanted: Iterable[Object]) -> None:
    existing = {(namespace_of(o), name_of(o)): o for o in (await client.list(resource)).items}
    limit = asyncio.Semaphore(_PARALLEL_WRITES)

    async def make_true(obj: Object, have: Object | None) -> None:
        async with limit:
            try:
                await _make_true(client, resource, obj, have)
            except (errors.AlreadyExists, errors.Conflict):
                # Another server does the same at this moment: what stands is either its result or a user's choice.
                log.info("default RBAC object changed meanwhile", resource=resource.plural, name=name_of(obj))

    async with asyncio.TaskGroup() as group:
        for obj in wanted:
            group.create_task(make_true(obj, existing.get((namespace_of(obj), name_of(obj)))))


async def _make_true(client: Client, resource: Resource, obj: Object, have: Object | None) -> None:
    namespace, name = namespace_of(obj), name_of(obj)
    is_binding = resource in (CLUSTERROLEBINDINGS, ROLEBINDINGS)
    if have is None:
        await client.create(resource, obj, namespace)
    elif is_binding and not _same_reference(have, obj):
        if annotations_of(have).get(AUTOUPDATE) == "true":
            await client.delete(resource, name, namespace)
            await client.create(resource, obj, namespace)
    elif (planned := (plan_binding if is_binding else plan_role)(have, obj)) is not None:
        await client.update(resource, planned)


def _same_reference(a: Object, b: Object) -> bool:
    ours, theirs = a.get("roleRef") or {}, b.get("roleRef") or {}
    return (ours.get("kind"), ours.get("name")) == (theirs.get("kind"), theirs.get("name"))
