"""Revisions of a pod template as ControllerRevisions: how DaemonSets and StatefulSets remember what they were.

Pure, but for `RevisionKeeper`, which reads and writes them. The data is a strategic merge patch that puts the old
template back, which is what ``kubectl rollout undo`` applies. Source: upstream's ``pkg/controller/history``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pybernetes.api import errors
from pybernetes.api.meta import (
    Object,
    annotations_of,
    clone,
    controller_of,
    labels_of,
    metadata,
    name_of,
    namespace_of,
    new_controller_ref,
    uid_of,
)
from pybernetes.api.resources import CONTROLLERREVISIONS, Resource
from pybernetes.controllers import pods as podstate
from pybernetes.controllers.controller import QueueController
from pybernetes.controllers.freshness import Freshness
from pybernetes.controllers.hashing import object_hash

HASH_LABEL = "controller-revision-hash"
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(frozen=True, slots=True)
class Revisions:
    """The revision of the template as it is now, and all others, oldest first."""

    current: Object
    old: tuple[Object, ...]


def revision_number(revision: Object) -> int:
    return int(revision.get("revision") or 0)


def hash_of(revision: Object) -> str:
    return labels_of(revision).get(HASH_LABEL, "")


def template_patch(owner: Object) -> Object:
    """What a revision holds: a patch that makes the template what it is now."""
    return {"spec": {"template": {**clone(owner["spec"]["template"]), "$patch": "replace"}}}


def template_of(revision: Object) -> Object:
    template = dict(((revision.get("data") or {}).get("spec") or {}).get("template") or {})
    template.pop("$patch", None)
    return template


def new_revision(owner: Object, resource: Resource, number: int, collision_count: int | None) -> Object:
    """A ControllerRevision of the owner's template, to be created."""
    data = template_patch(owner)
    digest = object_hash(data["spec"]["template"], collision_count)
    annotations = {k: v for k, v in annotations_of(owner).items() if k != _LAST_APPLIED}
    meta: Object = {
        "name": f"{name_of(owner)[:223]}-{digest}",
        "namespace": namespace_of(owner),
        "labels": {**labels_of(owner["spec"]["template"]), HASH_LABEL: digest},
        "ownerReferences": [new_controller_ref(owner, resource.api_version, resource.kind)],
    }
    if annotations:
        meta["annotations"] = annotations
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": meta,
        "data": data,
        "revision": number,
    }


def in_order(revisions: Iterable[Object]) -> list[Object]:
    return sorted(
        revisions, key=lambda r: (revision_number(r), str(metadata(r).get("creationTimestamp") or ""), name_of(r))
    )


def matching(owner: Object, revisions: Sequence[Object]) -> Object | None:
    """The newest revision of the owner's template as it is now."""
    data = template_patch(owner)
    return next((r for r in reversed(in_order(revisions)) if r.get("data") == data), None)


def surplus(old: Sequence[Object], in_use: Iterable[str], limit: int | None) -> list[Object]:
    """Old revisions beyond the limit that no pod is of, oldest first. `in_use` are names or hashes."""
    if limit is None:
        return []
    live = set(in_use)
    idle = [r for r in in_order(old) if name_of(r) not in live and hash_of(r) not in live]
    return idle[: max(0, len(idle) - limit)]


class Collision(Exception):
    """Another object has the new revision's name: the owner's collisionCount must be raised."""


class RevisionKeeper:
    """Reads and writes the revisions of the objects of one controller."""

    def __init__(self, controller: QueueController, resource: Resource) -> None:
        self._controller = controller
        self._resource = resource
        self.informer = controller.watch(CONTROLLERREVISIONS)
        self.informer.cache.add_index(podstate.CONTROLLER_INDEX, podstate.by_controller, podstate.owners_part)
        self.written = Freshness(self.informer, controller.context.clock)
        self.informer.add_handler(self._on_revision)

    def _on_revision(self, old: Object | None, new: Object | None) -> None:
        obj = new or old
        ref = controller_of(obj) if obj is not None else None
        if obj is not None and ref is not None and ref.get("kind") == self._resource.kind:
            self._controller.queue.add(f"{namespace_of(obj)}/{ref['name']}")

    def of(self, owner: Object) -> list[Object]:
        return in_order(self.informer.cache.by_index(podstate.CONTROLLER_INDEX, uid_of(owner)))

    async def sync(self, key: str, owner: Object) -> Revisions:
        """Makes sure that the template has its revision and that it is the newest. Raises `Collision`, ApiError."""
        client = self._controller.client
        revisions = self.of(owner)
        newest = max((revision_number(r) for r in revisions), default=0)
        current = matching(owner, revisions)
        if current is None:
            count = (owner.get("status") or {}).get("collisionCount")
            wanted = new_revision(owner, self._resource, newest + 1, count)
            try:
                current = await client.create(CONTROLLERREVISIONS, wanted, namespace_of(owner))
            except errors.AlreadyExists:
                current = await client.get(CONTROLLERREVISIONS, name_of(wanted), namespace_of(owner))
                owner_ref = controller_of(current) or {}
                if owner_ref.get("uid") != uid_of(owner) or current.get("data") != wanted["data"]:
                    raise Collision(name_of(wanted)) from None
            self.written.wrote(key, current)
        elif revision_number(current) < newest:
            # Rolled back: the old revision becomes the newest.
            current = await client.update(CONTROLLERREVISIONS, {**current, "revision": newest + 1})
            self.written.wrote(key, current)
        return Revisions(current, tuple(r for r in revisions if name_of(r) != name_of(current)))

    async def delete(self, key: str, revisions: Iterable[Object]) -> None:
        for revision in revisions:
            try:
                await self._controller.client.delete(
                    CONTROLLERREVISIONS, name_of(revision), namespace_of(revision), uid=uid_of(revision)
                )
            except errors.NotFound:
                continue
            self.written.deleted(key, revision)
