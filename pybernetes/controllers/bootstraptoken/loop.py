"""Watches bootstrap token Secrets: one controller deletes them at their time, one signs ``cluster-info`` with them."""

from __future__ import annotations

from pybernetes.api import errors
from pybernetes.api.meta import Object, is_deleting, key_of, name_of, namespace_of, uid_of
from pybernetes.api.resources import CONFIGMAPS, SECRETS
from pybernetes.client.informer import by_namespace
from pybernetes.controllers.bootstraptoken import plan as p
from pybernetes.controllers.controller import Context, QueueController

_BY_NAMESPACE = "bootstraptoken/namespace"
_CLUSTER_INFO_KEY = f"{p.CLUSTER_INFO_NAMESPACE}/{p.CLUSTER_INFO}"


class TokenCleanerController(QueueController):
    name = "token-cleaner"
    workers = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._secrets = self.watch(SECRETS)
        self._secrets.add_handler(self._on_secret)

    def _on_secret(self, old: Object | None, new: Object | None) -> None:
        if new is not None and p.is_token(new) and not is_deleting(new):
            self.queue.add(key_of(new))

    async def reconcile(self, key: str) -> None:
        secret = self._secrets.cache.get(key)
        if secret is None or not p.is_token(secret) or is_deleting(secret):
            return
        end = p.expires_at(secret)
        if end is None:
            return
        if end > self.now():
            self.queue.add_after(key, end - self.now())
            return
        try:
            await self.client.delete(SECRETS, name_of(secret), namespace_of(secret), uid=uid_of(secret))
        except errors.NotFound:
            return


class BootstrapSignerController(QueueController):
    name = "bootstrap-signer"
    workers = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._secrets = self.watch(SECRETS)
        self._maps = self.watch(CONFIGMAPS)
        self._secrets.cache.add_index(_BY_NAMESPACE, by_namespace)
        self._secrets.add_handler(self._on_secret)
        self._maps.add_handler(self._on_map)

    def _on_secret(self, old: Object | None, new: Object | None) -> None:
        obj = new or old
        if obj is not None and p.is_token(obj):
            self.queue.add(_CLUSTER_INFO_KEY)

    def _on_map(self, old: Object | None, new: Object | None) -> None:
        if new is not None and key_of(new) == _CLUSTER_INFO_KEY:
            self.queue.add(_CLUSTER_INFO_KEY)

    async def reconcile(self, key: str) -> None:
        current = self._maps.cache.get(key)
        if current is None:
            return
        wanted = p.signed(current, self._secrets.cache.by_index(_BY_NAMESPACE, p.NAMESPACE), self.now())
        if wanted is None:
            return
        try:
            await self.client.update(CONFIGMAPS, wanted)
        except errors.NotFound:
            return
