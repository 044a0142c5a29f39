"""Who owns whom, over all resources, from what the informers show. Pure bookkeeping: no I/O.

`put` and `remove` return the uids that have to be looked at. An owner that the graph does not know may still exist
(its informer may lag): that is for the loop to find out live, before anything is deleted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pybernetes.api.meta import Object, is_deleting, metadata, name_of, namespace_of, uid_of
from pybernetes.api.resources import Resource
from pybernetes.lib.records import record

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


def owners_of(obj: Object) -> Sequence[Object]:
    return metadata(obj).get("ownerReferences") or ()


def finalizers_of(obj: Object) -> Sequence[str]:
    return metadata(obj).get("finalizers") or ()


def deletes_dependents(obj: Object) -> bool:
    """Whether the object is being deleted in the foreground."""
    return is_deleting(obj) and FOREGROUND in finalizers_of(obj)


def orphans_dependents(obj: Object) -> bool:
    return is_deleting(obj) and ORPHAN in finalizers_of(obj)


@record
class Node:
    resource: Resource
    obj: Object


class Graph:
    """Every object by uid, and the uids of its dependents."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}
        self._dependents: dict[str, set[str]] = {}

    def __len__(self) -> int:
        return len(self._nodes)

    def get(self, uid: str) -> Node | None:
        return self._nodes.get(uid)

    def dependents(self, uid: str) -> Iterator[Node]:
        for dependent in list(self._dependents.get(uid, ())):
            node = self._nodes.get(dependent)
            if node is not None:
                yield node

    def has_dependents(self, uid: str) -> bool:
        return bool(self._dependents.get(uid))

    def blocking(self, uid: str) -> list[Node]:
        """The dependents that a foreground deletion waits for."""
        return [
            node
            for node in self.dependents(uid)
            if any(r.get("uid") == uid and r.get("blockOwnerDeletion") for r in owners_of(node.obj))
        ]

    def is_known_owner(self, ref: Object, dependent: Object) -> bool:
        """Whether the reference points to an object that is there, under the coordinates it gives."""
        node = self._nodes.get(str(ref.get("uid")))
        if node is None or node.resource.kind != ref.get("kind") or name_of(node.obj) != ref.get("name"):
            return False
        if node.resource.group != str(ref.get("apiVersion", "")).rpartition("/")[0]:
            return False
        return not node.resource.namespaced or namespace_of(node.obj) == namespace_of(dependent)

    def is_in_wrong_namespace(self, ref: Object, dependent: Object) -> bool:
        """Whether the owner exists, but in another namespace than its dependent."""
        node = self._nodes.get(str(ref.get("uid")))
        return (
            node is not None
            and node.resource.namespaced
            and bool(namespace_of(dependent))
            and namespace_of(node.obj) != namespace_of(dependent)
        )

    def put(self, resource: Resource, obj: Object) -> list[str]:
        """Takes in an object as it is now."""
        uid = uid_of(obj)
        before = self._nodes.get(uid)
        self._nodes[uid] = Node(resource, obj)
        meta = obj["metadata"]
        if (
            before is not None
            and not meta.get("deletionTimestamp")
            and meta.get("ownerReferences") == before.obj["metadata"].get("ownerReferences")
        ):
            # Most changes are of other things. (Nothing that is being deleted comes back from it.)
            return []
        old_refs = {str(r.get("uid")): r for r in owners_of(before.obj)} if before is not None else {}
        new_refs = {str(r.get("uid")): r for r in owners_of(obj)}
        look: list[str] = []
        for owner in old_refs.keys() - new_refs.keys():
            self._unlink(owner, uid)
        for owner in new_refs:
            self._dependents.setdefault(owner, set()).add(uid)
        if old_refs != new_refs:
            if not all(self.is_known_owner(r, obj) for r in new_refs.values()):
                look.append(uid)
            # An owner in the foreground may have lost a dependent that blocked it, or gained one to delete.
            look += [o for o in (*old_refs, *new_refs) if self._waits(o)]
            look += [uid for o in new_refs if self._waits(o) and uid not in look]
        was_busy = before is not None and (deletes_dependents(before.obj) or orphans_dependents(before.obj))
        if not was_busy and (deletes_dependents(obj) or orphans_dependents(obj)):
            look.append(uid)
        return look

    def remove(self, obj: Object) -> list[str]:
        """Forgets an object that is gone."""
        uid = uid_of(obj)
        node = self._nodes.pop(uid, None)
        look = list(self._dependents.get(uid, ()))
        for ref in owners_of(node.obj if node is not None else obj):
            owner = str(ref.get("uid"))
            self._unlink(owner, uid)
            if self._waits(owner):
                look.append(owner)
        return look

    def _waits(self, uid: str) -> bool:
        node = self._nodes.get(uid)
        return node is not None and deletes_dependents(node.obj)

    def _unlink(self, owner: str, dependent: str) -> None:
        bucket = self._dependents.get(owner)
        if bucket is not None:
            bucket.discard(dependent)
            if not bucket:
                del self._dependents[owner]
