"""Sees to it that every active namespace has its ``default`` ServiceAccount."""

from __future__ import annotations

from pybernetes.api import errors
from pybernetes.api.meta import Object, is_deleting, name_of, namespace_of
from pybernetes.api.resources import NAMESPACES, SERVICEACCOUNTS
from pybernetes.controllers.controller import Context, QueueController, is_namespace_terminating
from pybernetes.controllers.serviceaccount.plan import NAMES, missing


class ServiceAccountController(QueueController):
    name = "serviceaccount"
    workers = 2

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._namespaces = self.watch(NAMESPACES)
        self._accounts = self.watch(SERVICEACCOUNTS)
        self._namespaces.add_handler(self._on_namespace)
        self._accounts.add_handler(self._on_account)

    def _on_namespace(self, old: Object | None, new: Object | None) -> None:
        if new is not None and not is_deleting(new):
            self.queue.add(name_of(new))

    def _on_account(self, old: Object | None, new: Object | None) -> None:
        if new is None and old is not None and name_of(old) in NAMES:
            self.queue.add(namespace_of(old))

    async def reconcile(self, key: str) -> None:
        for account in missing(self._namespaces.cache.get(key), lambda k: k in self._accounts.cache):
            try:
                await self.client.create(SERVICEACCOUNTS, account, key)
            except errors.AlreadyExists:
                continue
            except errors.ApiError as error:
                if is_namespace_terminating(error) or isinstance(error, errors.NotFound):
                    return
                raise
