"""Watches attribute classes, claims and volumes, and lets a deleted class go when nothing names it any more."""

from __future__ import annotations

from pybernetes.api import errors
from pybernetes.api.meta import Object, is_deleting, key_of, metadata
from pybernetes.api.resources import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, VOLUMEATTRIBUTESCLASSES
from pybernetes.controllers.controller import Context, QueueController
from pybernetes.controllers.pvcprotection.plan import plan_finalizers
from pybernetes.controllers.vacprotection.plan import FINALIZER, by_class_of_claim, by_class_of_volume

CLASS_INDEX = "controllers/volumeattributesclass"


class VACProtectionController(QueueController):
    name = "vacprotection"
    workers = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._classes = self.watch(VOLUMEATTRIBUTESCLASSES)
        self._claims = self.watch(PERSISTENTVOLUMECLAIMS)
        self._volumes = self.watch(PERSISTENTVOLUMES)
        self._claims.cache.add_index(CLASS_INDEX, by_class_of_claim)
        self._volumes.cache.add_index(CLASS_INDEX, by_class_of_volume)
        self._classes.add_handler(self._on_class)
        self._claims.add_handler(self._on_claim)
        self._volumes.add_handler(self._on_volume)

    def _on_class(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            self.queue.add(key_of(new))

    def _on_claim(self, old: Object | None, new: Object | None) -> None:
        """A class that a claim names no more may go."""
        if old is not None:
            kept = set(by_class_of_claim(new)) if new is not None else set()
            self._look_at(set(by_class_of_claim(old)) - kept)

    def _on_volume(self, old: Object | None, new: Object | None) -> None:
        if old is not None:
            kept = set(by_class_of_volume(new)) if new is not None else set()
            self._look_at(set(by_class_of_volume(old)) - kept)

    def _look_at(self, names: set[str]) -> None:
        for name in names:
            self.queue.add(name)

    async def reconcile(self, key: str) -> None:
        found = self._classes.cache.get(key)
        if found is None:
            return
        in_use = self._named(key)
        finalizers = plan_finalizers(found, FINALIZER, in_use=in_use)
        if finalizers is None:
            return
        if is_deleting(found) and await self._is_named_live(key):
            # The cache lags: the user's own events bring the key back.
            return
        meta = {**metadata(found), "finalizers": finalizers}
        try:
            await self.client.update(VOLUMEATTRIBUTESCLASSES, {**found, "metadata": meta})
        except errors.NotFound:
            return

    def _named(self, key: str) -> bool:
        return any(i.cache.by_index(CLASS_INDEX, key) for i in (self._claims, self._volumes))

    async def _is_named_live(self, key: str) -> bool:
        """A claim or a volume may name the class that the cache does not show yet."""
        claims = await self.client.list(PERSISTENTVOLUMECLAIMS)
        if any(key in by_class_of_claim(c) for c in claims.items):
            return True
        volumes = await self.client.list(PERSISTENTVOLUMES)
        return any(key in by_class_of_volume(v) for v in volumes.items)
