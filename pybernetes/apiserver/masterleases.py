"""Which API servers of the cluster live: a key a server in the store, under a lease that it takes anew all the time.

Only where several servers share a store. A server enters before it is ready and leaves when it stops; of one that
dies the store removes the key, and the others hear of it by their watch. Nobody compares clocks. As upstream's lease
endpoint reconciler (``pkg/controlplane/reconcilers``): a time to live of 15 s, renewed every 10 s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import orjson
import structlog

from pybernetes.lib.clock import Clock
from pybernetes.store.interface import Delete, Put, Store, StoreClosed, StoreError, Watch, prefix_end

PREFIX = "/p8s/masterleases/"
TTL_SECONDS = 15
_RENEW_FRACTION = 2 / 3
_RETRY_SECONDS = 0.5

log = structlog.get_logger(__name__)


class SettingsDiffer(StoreError):
    """A live server of the cluster has other settings than this one."""


class MasterLeases:
    """The live servers. `identity` is this one's, unique for each process; `addresses` are those at which nodes and
    pods reach it, none where they cannot."""

    def __init__(
        self,
        store: Store,
        identity: str,
        addresses: Sequence[str],
        settings: Mapping[str, str],
        clock: Clock,
        *,
        ttl_seconds: int = TTL_SECONDS,
    ) -> None:
        self._store = store
        self._key = PREFIX + identity
        self._settings = dict(settings)
        self._value = orjson.dumps({"addresses": list(addresses), "settings": self._settings})
        self._clock = clock
        self._ttl_seconds = ttl_seconds
        self._live: dict[str, bytes] = {}
        self._revision = 0
        self._handlers: list[Callable[[], None]] = []

    def addresses(self) -> list[str]:
        """Those of all live servers, in order."""
        return sorted({address for value in self._live.values() for address in orjson.loads(value)["addresses"]})

    def subscribe(self, handler: Callable[[], None]) -> Callable[[], None]:
        """Calls the handler after each change. Returns the unsubscription."""
        self._handlers.append(handler)
        return lambda: self._handlers.remove(handler)

    async def enter(self) -> None:
        """From here on this server counts as live. Raises `SettingsDiffer`, StoreError."""
        await self._renew()
        await self._load()
        for key, value in self._live.items():
            theirs = orjson.loads(value)["settings"]
            if theirs != self._settings:
                await self.leave()
                differing = [n for n in sorted(self._settings) if theirs.get(n) != self._settings[n]]
                raise SettingsDiffer(
                    f"the server {key.removeprefix(PREFIX)} of this cluster runs with "
                    + ", ".join(f"{n} {theirs.get(n)}" for n in differing)
                    + ", this one with "
                    + ", ".join(f"{n} {self._settings[n]}" for n in differing)
                    + f"; if it has died, it counts as live for {self._ttl_seconds} s more"
                )

    async def run(self) -> None:
        """Stays live, and follows the others, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._stay())
            group.create_task(self._follow())

    async def leave(self) -> None:
        """This server counts as gone. Raises StoreError."""
        await self._store.txn([], [Delete(self._key)])

    async def _renew(self) -> None:
        # A new lease each time, as upstream: the key moves to it, and the old one runs out with nothing on it.
        lease = await self._store.grant(self._ttl_seconds)
        await self._store.txn([], [Put(self._key, self._value, lease)])

    async def _stay(self) -> None:
        pause = self._ttl_seconds * _RENEW_FRACTION
        while True:
            await self._clock.sleep(pause)
            try:
                await self._renew()
                pause = self._ttl_seconds * _RENEW_FRACTION
            except StoreClosed:
                raise
            except StoreError as error:
                log.warning("this server's master lease is not renewed", error=str(error))
                pause = min(_RETRY_SECONDS, self._ttl_seconds / 4)

    async def _follow(self) -> None:
        watch: Watch | None = None
        while True:
            try:
                if self._revision == 0:
                    await self._load()
                watch = await self._store.watch(PREFIX, prefix_end(PREFIX), from_revision=self._revision + 1)
                async for batch in watch:
                    self._revision = batch.revision
                    live = dict(self._live)
                    for event in batch.events:
                        if event.value is None:
                            live.pop(event.key, None)
                        else:
                            live[event.key] = event.value
                    self._take(live)
            except StoreClosed:
                raise
            except StoreError as error:
                log.warning("the master leases are read again", error=str(error))
                self._revision = 0
                await self._clock.sleep(_RETRY_SECONDS)
            finally:
                if watch is not None:
                    await watch.close()

    async def _load(self) -> None:
        result = await self._store.range(PREFIX, prefix_end(PREFIX))
        self._revision = result.revision
        self._take({kv.key: kv.value for kv in result.items})

    def _take(self, live: dict[str, bytes]) -> None:
        if live != self._live:
            self._live = live
            for handler in self._handlers:
                handler()
