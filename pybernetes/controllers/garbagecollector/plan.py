"""What happens to an object when some of its owners are gone. Pure.

Source: upstream's ``pkg/controller/garbagecollector``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from pybernetes.api.meta import Object, is_deleting, resource_version_of, uid_of
from pybernetes.client.interface import Propagation
from pybernetes.controllers.garbagecollector.graph import (
    FOREGROUND,
    ORPHAN,
    deletes_dependents,
    finalizers_of,
    owners_of,
)


class OwnerState(Enum):
    """What an owner reference leads to, found out live."""

    SOLID = "solid"
    """It is there and stays, or goes in the background."""
    ABSENT = "absent"
    """Nothing of that name, or another object by now."""
    WAITING = "waiting"
    """It is being deleted in the foreground and waits for its dependents."""
    UNKNOWN = "unknown"
    """Its kind is not served, or cannot be an owner here: nobody can tell."""


@dataclass(frozen=True, slots=True)
class Keep:
    pass


@dataclass(frozen=True, slots=True)
class DropReferences:
    """Remove the references to these owners; others keep the object alive."""

    uids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DeleteObject:
    propagation: Propagation
    unblock_owners: bool = False
    """First stop blocking the owners: object and owner wait for each other in a circle."""


Action = Keep | DropReferences | DeleteObject


def plan(
    obj: Object, owners: Mapping[str, OwnerState], *, has_dependents: bool, has_dependents_in_foreground: bool
) -> Action:
    """`owners` gives the state of each owner by uid."""
    if is_deleting(obj) or not owners_of(obj):
        return Keep()
    states = set(owners.values())
    if OwnerState.UNKNOWN in states:
        return Keep()
    gone = tuple(uid for uid, state in owners.items() if state is not OwnerState.SOLID)
    if not gone:
        return Keep()
    if OwnerState.SOLID in states:
        return DropReferences(gone)
    if OwnerState.WAITING in states and has_dependents:
        return DeleteObject("Foreground", unblock_owners=has_dependents_in_foreground)
    if ORPHAN in finalizers_of(obj):
        return DeleteObject("Orphan")
    if FOREGROUND in finalizers_of(obj):
        return DeleteObject("Foreground")
    return DeleteObject("Background")


def drop_references(obj: Object, uids: tuple[str, ...]) -> Object:
    """A merge patch that leaves the other references; the resource version is its precondition."""
    kept = [r for r in owners_of(obj) if r.get("uid") not in uids]
    return _guarded(obj, {"ownerReferences": kept or None})


def unblock_references(obj: Object) -> Object:
    """A merge patch after which the object blocks none of its owners."""
    return _guarded(obj, {"ownerReferences": [{**r, "blockOwnerDeletion": False} for r in owners_of(obj)]})


def drop_finalizer(obj: Object, finalizer: str) -> Object:
    kept = [f for f in finalizers_of(obj) if f != finalizer]
    return _guarded(obj, {"finalizers": kept or None})


def _guarded(obj: Object, meta: Object) -> Object:
    return {"metadata": {"uid": uid_of(obj), "resourceVersion": resource_version_of(obj), **meta}}


def owner_state(owner: Object | None, uid: str) -> OwnerState:
    """The state of an owner as read live."""
    if owner is None or uid_of(owner) != uid:
        return OwnerState.ABSENT
    return OwnerState.WAITING if deletes_dependents(owner) else OwnerState.SOLID


def describe_reference(ref: Object, namespace: str) -> str:
    """A reference as upstream's events spell it."""
    return (
        f"[{ref.get('apiVersion', '')}/{ref.get('kind', '')}, namespace: {namespace}, "
        f"name: {ref.get('name', '')}, uid: {ref.get('uid', '')}]"
    )
