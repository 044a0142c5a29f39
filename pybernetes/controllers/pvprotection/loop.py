"""Watches volumes, and lets a deleted one go when it is bound no more."""

from __future__ import annotations

from pybernetes.api import errors
from pybernetes.api.meta import Object, key_of, metadata
from pybernetes.api.resources import PERSISTENTVOLUMES
from pybernetes.controllers.controller import Context, QueueController
from pybernetes.controllers.pvcprotection.plan import plan_finalizers

FINALIZER = "kubernetes.io/pv-protection"


class PVProtectionController(QueueController):
    name = "pvprotection"
    workers = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._volumes = self.watch(PERSISTENTVOLUMES)
        self._volumes.add_handler(self._on_volume)

    def _on_volume(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            self.queue.add(key_of(new))

    async def reconcile(self, key: str) -> None:
        volume = self._volumes.cache.get(key)
        if volume is None:
            return
        bound = (volume.get("status") or {}).get("phase") == "Bound"
        finalizers = plan_finalizers(volume, FINALIZER, in_use=bound)
        if finalizers is None:
            return
        try:
            await self.client.update(
                PERSISTENTVOLUMES, {**volume, "metadata": {**metadata(volume), "finalizers": finalizers}}
            )
        except errors.NotFound:
            return
