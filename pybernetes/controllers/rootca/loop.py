"""Publishes the cluster's CA bundle into every active namespace."""

from __future__ import annotations

from pybernetes.api import errors
from pybernetes.api.meta import Object, is_deleting, name_of, namespace_of
from pybernetes.api.resources import CONFIGMAPS, NAMESPACES
from pybernetes.controllers.controller import Context, QueueController, is_namespace_terminating
from pybernetes.controllers.rootca.plan import NAME, plan


class RootCAController(QueueController):
    """Does nothing where the configuration names no bundle."""

    name = "rootca"
    workers = 2

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._namespaces = self.watch(NAMESPACES)
        self._maps = self.watch(CONFIGMAPS)
        self._pem = context.config.root_ca_pem
        if self._pem:
            self._namespaces.add_handler(self._on_namespace)
            self._maps.add_handler(self._on_map)

    def _on_namespace(self, old: Object | None, new: Object | None) -> None:
        if new is not None and not is_deleting(new):
            self.queue.add(name_of(new))

    def _on_map(self, old: Object | None, new: Object | None) -> None:
        obj = new or old
        if obj is not None and name_of(obj) == NAME:
            self.queue.add(namespace_of(obj))

    async def reconcile(self, key: str) -> None:
        current = self._maps.cache.get(f"{key}/{NAME}")
        wanted = plan(self._namespaces.cache.get(key), current, self._pem)
        if wanted is None:
            return
        try:
            if current is None:
                await self.client.create(CONFIGMAPS, wanted, key)
            else:
                await self.client.update(CONFIGMAPS, wanted)
        except (errors.AlreadyExists, errors.NotFound):
            # The cache lags behind: the event of that write brings the key again.
            return
        except errors.ApiError as error:
            if is_namespace_terminating(error):
                return
            raise
