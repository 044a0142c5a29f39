"""Watches token Secrets and ServiceAccounts. Does nothing where the configuration has no key to sign with.

A key of the queue is ``namespace/secret``, or ``namespace/account#secret`` for a reference that is to go.
"""

from __future__ import annotations

from pybernetes.api import errors
from pybernetes.api.meta import Object, is_deleting, key_of, name_of, namespace_of, uid_of
from pybernetes.api.resources import SECRETS, SERVICEACCOUNTS
from pybernetes.client.informer import by_namespace
from pybernetes.controllers.controller import Context, QueueController
from pybernetes.controllers.serviceaccounttoken.plan import account_of, filled, is_for, without_reference

_BY_NAMESPACE = "serviceaccounttoken/namespace"


class ServiceAccountTokenController(QueueController):
    name = "serviceaccount-token"
    workers = 2

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._sign = context.config.sign_legacy_token
        self._root_ca_pem = context.config.root_ca_pem
        self._secrets = self.watch(SECRETS)
        self._accounts = self.watch(SERVICEACCOUNTS)
        if self._sign is not None:
            self._secrets.cache.add_index(_BY_NAMESPACE, by_namespace)
            self._secrets.add_handler(self._on_secret)
            self._accounts.add_handler(self._on_account)

    def _on_secret(self, old: Object | None, new: Object | None) -> None:
        obj = new or old
        if obj is None or not account_of(obj):
            return
        if new is None:
            self.queue.add(f"{namespace_of(obj)}/{account_of(obj)}#{name_of(obj)}")
        elif not is_deleting(new):
            self.queue.add(key_of(new))

    def _on_account(self, old: Object | None, new: Object | None) -> None:
        gone = old is not None and (new is None or uid_of(new) != uid_of(old))
        if old is None or not gone:
            return
        for secret in self._secrets.cache.by_index(_BY_NAMESPACE, namespace_of(old)):
            if account_of(secret) == name_of(old):
                self.queue.add(key_of(secret))

    async def reconcile(self, key: str) -> None:
        try:
            if "#" in key:
                await self._forget(*key.rsplit("#", 1))
            else:
                await self._fill(key)
        except errors.NotFound:
            # Gone meanwhile: its event, if there is something left to do, brings the key again.
            return

    async def _fill(self, key: str) -> None:
        secret = self._secrets.cache.get(key)
        assert self._sign is not None, "no handler adds keys without it"
        if secret is None or is_deleting(secret) or not account_of(secret):
            return
        namespace, name = namespace_of(secret), name_of(secret)
        account = self._accounts.cache.get(f"{namespace}/{account_of(secret)}")
        if not is_for(secret, account):
            # The cache may lag behind an account that was just made: only the server's word deletes.
            try:
                account = await self.client.get(SERVICEACCOUNTS, account_of(secret), namespace)
            except errors.NotFound:
                account = None
        if account is None or not is_for(secret, account):
            await self.client.delete(SECRETS, name, namespace, uid=uid_of(secret))
            return
        wanted = filled(secret, account, self._root_ca_pem, self._sign)
        if wanted is not None:
            await self.client.update(SECRETS, wanted)

    async def _forget(self, account_key: str, secret: str) -> None:
        account = self._accounts.cache.get(account_key)
        if account is None or f"{namespace_of(account)}/{secret}" in self._secrets.cache:
            return
        changed = without_reference(account, secret)
        if changed is not None:
            await self.client.update(SERVICEACCOUNTS, changed)
