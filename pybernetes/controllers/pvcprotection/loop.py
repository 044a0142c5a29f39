"""Watches claims and pods, and lets a deleted claim go when its last pod has."""

from __future__ import annotations

from pybernetes.api import errors
from pybernetes.api.meta import Object, key_of, metadata, namespace_of
from pybernetes.api.resources import PERSISTENTVOLUMECLAIMS, PODS
from pybernetes.controllers import pods as podstate
from pybernetes.controllers.controller import Context, QueueController
from pybernetes.controllers.pvcprotection.plan import (
    FINALIZER,
    by_claim,
    claims_of,
    is_used_by,
    plan_finalizers,
)

CLAIM_INDEX = "controllers/claim"


class PVCProtectionController(QueueController):
    name = "pvcprotection"
    workers = 2

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._claims = self.watch(PERSISTENTVOLUMECLAIMS)
        self._pods = self.watch(PODS)
        self._pods.cache.add_index(CLAIM_INDEX, by_claim, podstate.spec_part)
        self._claims.add_handler(self._on_claim)
        self._pods.add_handler(self._on_pod)

    def _on_claim(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            self.queue.add(key_of(new))

    def _on_pod(self, old: Object | None, new: Object | None) -> None:
        if new is None or podstate.is_terminal(new):
            pod = new or old
            assert pod is not None
            for name in claims_of(pod):
                self.queue.add(f"{namespace_of(pod)}/{name}")

    async def reconcile(self, key: str) -> None:
        claim = self._claims.cache.get(key)
        if claim is None:
            return
        in_use = any(is_used_by(p) for p in self._pods.cache.by_index(CLAIM_INDEX, key))
        finalizers = plan_finalizers(claim, FINALIZER, in_use=in_use)
        if finalizers is None:
            return
        if metadata(claim).get("deletionTimestamp") and await self._is_used_live(key, namespace_of(claim)):
            # The cache lags: the pod's own events bring the key back.
            return
        meta = {**metadata(claim), "finalizers": finalizers}
        try:
            await self.client.update(PERSISTENTVOLUMECLAIMS, {**claim, "metadata": meta})
        except errors.NotFound:
            return

    async def _is_used_live(self, key: str, namespace: str) -> bool:
        """A pod may use the claim that the cache does not show yet: data would be lost."""
        pods = await self.client.list(PODS, namespace)
        return any(key in by_claim(p) and is_used_by(p) for p in pods.items)
