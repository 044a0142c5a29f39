"""A store whose values are sealed for configured resources, and pass as they are for all others.

It lies between the API server's storage and watch cache and the store proper, so that neither knows: what is written
comes back in plain text, from reads and watches alike. A value that no key at hand can open raises `EncryptionFailed`,
a `StoreError` that names the object; at start that ends the start.

A value that another than the first provider had sealed is remembered as stale until it is written again, so that
writing an object unchanged, as key rotation is done, does write it. One event loop owns it; sealing a value is quick.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from pybernetes.apiserver.encryption.config import EncryptionConfig
from pybernetes.apiserver.encryption.providers import Chain, EncryptionError
from pybernetes.store.interface import (
    Compare,
    Event,
    KeyValue,
    Operation,
    Put,
    RangeResult,
    Store,
    StoreError,
    TxnResult,
    Watch,
    WatchBatch,
)

_PREFIX = "/registry/"
_CORE = "core"


class EncryptionFailed(StoreError):
    """A stored value cannot be opened with the keys of the configuration."""


class EncryptedStore:
    """A `Store` over another, which it closes with itself."""

    def __init__(self, inner: Store, config: EncryptionConfig) -> None:
        self._inner = inner
        self._config = config
        self._chains: dict[str, Chain | None] = {}
        self._stale: set[str] = set()

    def is_stale(self, key: str) -> bool:
        """Whether the key's value is to be sealed anew."""
        return key in self._stale

    def _chain(self, key: str) -> Chain | None:
        """By the key's first parts: ``/registry/GROUP/RESOURCE/``."""
        if not key.startswith(_PREFIX):
            return None
        at = key.find("/", key.find("/", len(_PREFIX)) + 1)
        kind = key[len(_PREFIX) : at]
        try:
            return self._chains[kind]
        except KeyError:
            group, _, plural = kind.partition("/")
            chain = self._chains[kind] = self._config.chain_for("" if group == _CORE else group, plural)
            return chain

    def _open(self, key: str, value: bytes) -> bytes:
        chain = self._chain(key)
        if chain is None:
            return value
        try:
            plain, stale = chain.open(value, key)
        except EncryptionError as error:
            raise EncryptionFailed(str(error)) from error
        if stale:
            self._stale.add(key)
        else:
            self._stale.discard(key)
        return plain

    def _opened(self, kv: KeyValue) -> KeyValue:
        plain = self._open(kv.key, kv.value)
        return kv if plain is kv.value else replace(kv, value=plain)

    def open_event(self, event: Event) -> Event:
        if self._chain(event.key) is None:
            return event
        previous = self._previous(event.previous)
        if event.value is None:
            self._stale.discard(event.key)
            return replace(event, previous=previous)
        return replace(event, value=self._open(event.key, event.value), previous=previous)

    def _previous(self, kv: KeyValue | None) -> KeyValue | None:
        """What was there before a change: nobody needs it to be readable any more."""
        chain = self._chain(kv.key) if kv is not None else None
        if kv is None or chain is None:
            return kv
        try:
            return replace(kv, value=chain.open(kv.value, kv.key)[0])
        except EncryptionError:
            return replace(kv, value=b"")

    # ---- the store's interface

    async def range(
        self, start: str, end: str = "", *, revision: int = 0, limit: int = 0, count_only: bool = False
    ) -> RangeResult:
        result = await self._inner.range(start, end, revision=revision, limit=limit, count_only=count_only)
        return replace(result, items=[self._opened(kv) for kv in result.items])

    async def txn(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> TxnResult:
        result = await self._inner.txn(compares, [self._sealed(o) for o in operations])
        if not any(kv is not None for kv in result.current):
            return result
        return replace(result, current=[self._opened(kv) if kv is not None else None for kv in result.current])

    def _sealed(self, operation: Operation) -> Operation:
        if isinstance(operation, Put) and (chain := self._chain(operation.key)) is not None:
            return Put(operation.key, chain.seal(operation.value, operation.key), operation.lease)
        return operation

    async def watch(self, start: str, end: str = "", *, from_revision: int = 0) -> Watch:
        return _OpenedWatch(self, await self._inner.watch(start, end, from_revision=from_revision))

    async def revision(self) -> int:
        return await self._inner.revision()

    async def compact(self, revision: int) -> None:
        await self._inner.compact(revision)

    async def compacted(self) -> int:
        return await self._inner.compacted()

    async def grant(self, ttl_seconds: int) -> int:
        return await self._inner.grant(ttl_seconds)

    async def revoke(self, lease: int) -> None:
        await self._inner.revoke(lease)

    def fault(self) -> str:
        return self._inner.fault()

    async def close(self) -> None:
        await self._inner.close()


class _OpenedWatch:
    """A watch whose events are opened. Iteration also raises `EncryptionFailed`."""

    def __init__(self, store: EncryptedStore, inner: Watch) -> None:
        self._store = store
        self._inner = inner

    def __aiter__(self) -> AsyncIterator[WatchBatch]:
        return self

    async def __anext__(self) -> WatchBatch:
        batch = await self._inner.__anext__()
        return replace(batch, events=[self._store.open_event(e) for e in batch.events]) if batch.events else batch

    async def close(self) -> None:
        await self._inner.close()
