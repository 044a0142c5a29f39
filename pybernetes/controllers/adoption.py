"""Applies claims on pods: adopts and releases, as every controller of pods does it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pybernetes.api import errors
from pybernetes.api.meta import (
    Object,
    is_deleting,
    labels_of,
    name_of,
    namespace_of,
    new_controller_ref,
    uid_of,
)
from pybernetes.api.resources import PODS, Resource
from pybernetes.client.informer import Cache
from pybernetes.client.interface import Client
from pybernetes.controllers import pods as podstate
from pybernetes.controllers.claims import plan_claims, with_owner
from pybernetes.controllers.selection import matcher


async def may_adopt(client: Client, resource: Resource, owner: Object) -> bool:
    """Whether the owner, read live, is still the one we know and stays: else objects would be adopted by one that
    the garbage collector is already taking down."""
    try:
        live = await client.get(resource, name_of(owner), namespace_of(owner))
    except errors.NotFound:
        return False
    return uid_of(live) == uid_of(owner) and not is_deleting(live)


async def claim_pods(
    client: Client,
    cache: Cache,
    resource: Resource,
    owner: Object,
    selector: Mapping[str, Any] | None,
    *,
    is_member: Callable[[Object], bool] = lambda pod: True,
    adopt_finished: bool = False,
) -> list[Object]:
    """The pods of `cache` (with `pods.CONTROLLER_INDEX`) that are the owner's, after adopting and releasing.

    `is_member` narrows further which pods may be the owner's. Finished orphans are adopted only with `adopt_finished`;
    finished or leaving pods of the owner are kept as they are. Raises ApiError where a patch fails.
    """
    matches = matcher(selector)
    orphans = [
        p
        for p in cache.by_index(podstate.CONTROLLER_INDEX, f"orphans/{namespace_of(owner)}")
        if matches(labels_of(p)) and (podstate.is_active(p) or (adopt_finished and podstate.is_terminal(p)))
    ]
    claims = plan_claims(
        owner, [*cache.by_index(podstate.CONTROLLER_INDEX, uid_of(owner)), *orphans], matches, is_member=is_member
    )
    owned = list(claims.owned)
    for release in claims.release:
        if not podstate.is_active(release.obj):
            continue
        try:
            await client.patch(PODS, name_of(release.obj), release.patch(), namespace_of(release.obj))
        except (errors.NotFound, errors.Invalid):
            # Gone, or another pod of the same name by now: either way no longer ours.
            continue
    if claims.adopt and await may_adopt(client, resource, owner):
        ref = new_controller_ref(owner, resource.api_version, resource.kind)
        for adopt in claims.adopt:
            try:
                await client.patch(PODS, name_of(adopt.obj), adopt.patch(ref), namespace_of(adopt.obj))
            except errors.NotFound:
                continue
            owned.append(with_owner(adopt.obj, ref))
    return owned
