"""From a pod's event to the keys of the controllers it concerns: the handler that all controllers of pods share."""

from __future__ import annotations

from collections.abc import Callable

from pybernetes.api.meta import Object, controller_of, is_deleting, key_of, labels_of, namespace_of
from pybernetes.api.resources import Resource
from pybernetes.client.informer import Cache
from pybernetes.controllers.selection import selecting


class OwnerEvents:
    """Calls `changed` with the key of the owner of each changed object, and for an orphan with the keys of all
    owners that would select it. `owners` has `selection.SELECTOR_INDEX`."""

    def __init__(self, resource: Resource, owners: Cache, changed: Callable[[str], None]) -> None:
        self._resource = resource
        self._owners = owners
        self._changed = changed

    def owner_key(self, obj: Object) -> str | None:
        ref = controller_of(obj)
        if ref is None or ref.get("kind") != self._resource.kind:
            return None
        if str(ref.get("apiVersion")).rpartition("/")[0] != self._resource.group:
            return None
        return f"{namespace_of(obj)}/{ref['name']}"

    def __call__(self, old: Object | None, new: Object | None) -> None:
        if old is None and new is not None and not len(self._owners) and not new["metadata"].get("ownerReferences"):
            # An orphan that nobody could adopt.
            return
        if old is not None and new is not None:
            meta, meta_before = new["metadata"], old["metadata"]
            if (
                meta.get("ownerReferences") is None
                and meta_before.get("ownerReferences") is None
                and meta.get("labels") == meta_before.get("labels")
            ):
                # An orphan that stays one and matches what it matched: what most events of such objects say.
                return
        before = self.owner_key(old) if old is not None else None
        after = self.owner_key(new) if new is not None else None
        if before is not None and before != after:
            self._changed(before)
        if after is not None:
            self._changed(after)
        elif (
            new is not None
            and controller_of(new) is None
            and not is_deleting(new)
            and (old is None or labels_of(old) != labels_of(new) or controller_of(old) is not None)
        ):
            # An orphan: whoever matches it now may adopt it.
            for owner in selecting(self._owners, namespace_of(new), labels_of(new)):
                self._changed(key_of(owner))
