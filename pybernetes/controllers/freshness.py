"""Read your own writes: whether a cache already shows what a controller wrote for a key.

A controller that creates or deletes from a stale cache does it twice. So each remembers, by key, what it wrote and
works on the key again only when the informer shows it. Resource versions are the store's revisions: integers that
only grow, so "the informer has come as far as my write" is a comparison, and a relist cannot hide an event.
Bounded: an entry goes with the next successful check or with its object (`forget`), and each expires after
five minutes, as upstream's expectations do.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pybernetes.api.meta import Object, is_deleting, key_of, resource_version_of, uid_of
from pybernetes.client.informer import Informer
from pybernetes.lib.clock import Clock

EXPIRY_SECONDS = 300.0


def version_number(text: str) -> int:
    """A resource version as a number; 0 for one that is none."""
    return int(text) if text.isdigit() else 0


@dataclass(slots=True)
class _Pending:
    since: float
    written: dict[str, int] = field(default_factory=dict)
    """Object key to the resource version that the write returned."""
    deleted: dict[str, str] = field(default_factory=dict)
    """Object key to the uid that was deleted."""


class Freshness:
    """What was written for each key into the resource of one informer. One event loop owns it."""

    def __init__(self, informer: Informer, clock: Clock) -> None:
        self._informer = informer
        self._clock = clock
        self._pending: dict[str, _Pending] = {}
        self._stalled: set[str] = set()

    def _entry(self, key: str) -> _Pending:
        entry = self._pending.get(key)
        if entry is None:
            entry = self._pending[key] = _Pending(self._clock.monotonic())
        entry.since = self._clock.monotonic()
        return entry

    def wrote(self, key: str, obj: Object) -> None:
        """Notes a creation or update, by the object that it returned."""
        version = version_number(resource_version_of(obj))
        if version:
            self._entry(key).written[key_of(obj)] = version

    def deleted(self, key: str, obj: Object) -> None:
        """Notes a deletion, by the object as it was."""
        self._entry(key).deleted[key_of(obj)] = uid_of(obj)

    def wakes(self, key: str, new: Object | None) -> bool:
        """Whether an event of this informer is news for the key: anything but the echo of its own write, and that
        too while the key waits for it. For controllers whose own writes never call for another pass."""
        if new is None or key in self._stalled:
            return True
        entry = self._pending.get(key)
        return entry is None or entry.written.get(key_of(new)) != version_number(resource_version_of(new))

    def forget(self, key: str) -> None:
        self._pending.pop(key, None)
        self._stalled.discard(key)

    def is_fresh(self, key: str) -> bool:
        """Whether the cache shows all that was noted for the key. True forgets it."""
        if self._shows_all(key):
            self.forget(key)
            return True
        self._stalled.add(key)
        return False

    def _shows_all(self, key: str) -> bool:
        entry = self._pending.get(key)
        if entry is None:
            return True
        if self._clock.monotonic() - entry.since > EXPIRY_SECONDS:
            return True
        cache = self._informer.cache
        reached = version_number(self._informer.resource_version)
        for object_key, version in list(entry.written.items()):
            cached = cache.get(object_key)
            if reached >= version or (cached and version_number(resource_version_of(cached)) >= version):
                del entry.written[object_key]
        for object_key, uid in list(entry.deleted.items()):
            cached = cache.get(object_key)
            if cached is None or uid_of(cached) != uid or is_deleting(cached):
                del entry.deleted[object_key]
        return not entry.written and not entry.deleted
