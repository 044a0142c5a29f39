"""Which objects a controller owns: adoption of orphans and release of those that no longer match.

Pure, but for the patches' application, which the loops do. Source of the rules: upstream's
``controller_ref_manager.go``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pybernetes.api.meta import (
    Object,
    controller_of,
    is_deleting,
    labels_of,
    metadata,
    namespace_of,
    uid_of,
)
from pybernetes.controllers.selection import Matcher


@dataclass(frozen=True, slots=True)
class Adopt:
    """Make the orphan ours."""

    obj: Object

    def patch(self, owner_ref: Object) -> Object:
        """A strategic merge patch that adds the reference; the uid is a precondition."""
        return {"metadata": {"ownerReferences": [owner_ref], "uid": uid_of(self.obj)}}


@dataclass(frozen=True, slots=True)
class Release:
    """Let go of an object that our selector no longer matches."""

    obj: Object
    owner_uid: str

    def patch(self) -> Object:
        """A strategic merge patch that removes the reference; the uid is a precondition."""
        return {
            "metadata": {
                "ownerReferences": [{"$patch": "delete", "uid": self.owner_uid}],
                "uid": uid_of(self.obj),
            }
        }


@dataclass(frozen=True, slots=True)
class Claims:
    """What is ours already, and what has to be written first."""

    owned: tuple[Object, ...]
    adopt: tuple[Adopt, ...]
    release: tuple[Release, ...]


def plan_claims(
    owner: Object,
    candidates: Iterable[Object],
    matches: Matcher,
    *,
    is_member: Callable[[Object], bool] = lambda obj: True,
) -> Claims:
    """Sorts `candidates` (objects that we control, and orphans) into ours, to adopt and to release. An owner that
    is going away neither adopts nor releases. Ours must match by labels and pass `is_member`."""
    owned: list[Object] = []
    adopt: list[Adopt] = []
    release: list[Release] = []
    owner_deleting = is_deleting(owner)
    for obj in candidates:
        ref = controller_of(obj)
        if ref is not None:
            if ref.get("uid") != uid_of(owner):
                continue
            if matches(labels_of(obj)) and is_member(obj):
                owned.append(obj)
            elif not owner_deleting:
                release.append(Release(obj, uid_of(owner)))
        elif (
            not owner_deleting
            and not is_deleting(obj)
            and namespace_of(obj) == namespace_of(owner)
            and matches(labels_of(obj))
            and is_member(obj)
        ):
            adopt.append(Adopt(obj))
    return Claims(tuple(owned), tuple(adopt), tuple(release))


def with_owner(obj: Object, owner_ref: Object) -> Object:
    """The object as it will be when adopted."""
    refs = [*(metadata(obj).get("ownerReferences") or ()), owner_ref]
    return {**obj, "metadata": {**metadata(obj), "ownerReferences": refs}}
