"""The store: a revisioned key-value store in etcd's terms. It knows no kinds.

Every committed transaction that writes raises the revision by one; all its writes share it. A watch delivers every
change of its range, in order, from any revision that is not compacted. Implementations: `memory`, `sqlite`, `etcd`;
one contract suite in ``tests/contract`` runs on all.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Literal, Protocol

from pybernetes.lib.records import record


class StoreError(Exception):
    """The store failed; nothing is known to be written (and nothing is, but for `OutcomeUnknown`)."""


class Compacted(StoreError):
    """The revision asked for is compacted away; `compact_revision` is the oldest that can still be asked for."""

    def __init__(self, compact_revision: int) -> None:
        super().__init__(f"required revision has been compacted (compact revision {compact_revision})")
        self.compact_revision = compact_revision


class FutureRevision(StoreError):
    """The revision asked for has not happened yet."""


class WatchOverflow(StoreError):
    """The watcher was too slow and was dropped; watch again from the last revision seen."""


class StoreClosed(StoreError):
    """The store was closed."""


class StoreUnavailable(StoreError):
    """The store cannot be reached at the moment; nothing was written."""


class OutcomeUnknown(StoreError):
    """The connection to the store was lost after a write was sent: it may or may not have happened."""


class StoreFull(StoreError):
    """The disk is full: nothing was written."""


class StoreCorrupt(StoreError):
    """What is stored is damaged: it is not what was once written."""


@record
class KeyValue:
    key: str
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    """Writes since the key's creation, from 1."""
    lease: int = 0


@record
class RangeResult:
    items: list[KeyValue]
    """In key order."""
    revision: int
    """The store's revision at the read (not the one asked for)."""
    count: int
    """Keys in the range in all, whatever the limit."""
    more: bool = False


@record
class Compare:
    """A condition on a key: its mod_revision (0: does not exist), create_revision or version equals `value`."""

    key: str
    value: int
    target: Literal["mod_revision", "create_revision", "version"] = "mod_revision"


@record
class Put:
    key: str
    value: bytes
    lease: int = 0


@record
class Delete:
    key: str


Operation = Put | Delete


@record
class TxnResult:
    succeeded: bool
    revision: int
    """The transaction's revision where it wrote, else the store's."""
    current: list[KeyValue | None]
    """Where a comparison failed: each compared key as it is now, in the order of the comparisons."""


@record
class Event:
    """A change of one key. A deletion has no `value`; `previous` is what was there before, None for a creation."""

    type: Literal["PUT", "DELETE"]
    key: str
    value: bytes | None
    create_revision: int
    mod_revision: int
    version: int
    previous: KeyValue | None


@record
class WatchBatch:
    """Whole revisions, in order. An empty batch only says how far the watch has come."""

    events: list[Event]
    revision: int


class Watch(Protocol):
    """An open watch: iterate, then `close`. Iteration raises `Compacted`, `WatchOverflow` or `StoreClosed`."""

    def __aiter__(self) -> AsyncIterator[WatchBatch]: ...
    async def __anext__(self) -> WatchBatch: ...
    async def close(self) -> None: ...


class Store(Protocol):
    async def range(
        self, start: str, end: str = "", *, revision: int = 0, limit: int = 0, count_only: bool = False
    ) -> RangeResult:
        """Keys in [start, end), or the one key `start` where end is empty; as of `revision`, 0 for now.
        Raises `Compacted`, `FutureRevision`."""
        ...

    async def txn(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> TxnResult:
        """Writes all operations if all comparisons hold, else nothing. Returns after the write is durable. A
        deletion of a key that is not there writes nothing. Cancelled, the write may or may not have happened."""
        ...

    async def revision(self) -> int:
        """The newest committed revision."""
        ...

    async def watch(self, start: str, end: str = "", *, from_revision: int = 0) -> Watch:
        """Changes with a revision of at least `from_revision` (0: from now on). Raises `Compacted`."""
        ...

    async def compact(self, revision: int) -> None:
        """Forgets what is older than `revision`: reads and watches before it raise `Compacted`."""
        ...

    async def compacted(self) -> int:
        """The revision last compacted to; 0 for never."""
        ...

    async def grant(self, ttl_seconds: int) -> int:
        """A lease; keys put with it are deleted when it runs out."""
        ...

    async def revoke(self, lease: int) -> None: ...

    def fault(self) -> str:
        """Why the store cannot be used at the moment, as far as it knows by itself; empty where it can."""
        ...

    async def close(self) -> None: ...


def prefix_end(prefix: str) -> str:
    """The end of the range of all keys that start with `prefix` (which must not end in the last code point)."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)
