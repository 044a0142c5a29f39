"""How several servers on one datastore serve one cluster at the same time.

Every one of them answers requests and keeps itself among the endpoints of the kubernetes Service. Controllers and
scheduler work in one at a time, each elected by a Lease in kube-system. A server whose lease runs out stops them, and
cannot write with them any more; if they do not stop, it ends. See docs/decisions/several-servers.md.
"""

from __future__ import annotations

import socket
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import structlog

from pybernetes.api.user import User
from pybernetes.apiserver.masterleases import MasterLeases
from pybernetes.client.interface import Client
from pybernetes.client.leases import FencedClient, LeaderElection, LeaseTimings
from pybernetes.lib.clock import SystemClock
from pybernetes.store.interface import Store, StoreError

log = structlog.get_logger(__name__)


class Sharing:
    """One server's part in it: `enter` before the server is ready, `leave` when it stops."""

    def __init__(
        self, store: Store, addresses: Sequence[str], settings: Mapping[str, str], timings: LeaseTimings
    ) -> None:
        self._timings = timings
        self._identity = f"{socket.gethostname()}_{uuid.uuid4()}"
        self.servers = MasterLeases(
            store, self._identity, addresses, settings, SystemClock(), ttl_seconds=timings.duration_seconds
        )

    async def enter(self) -> None:
        """Raises StoreError; `SettingsDiffer` where this server does not go with the others."""
        await self.servers.enter()

    async def leave(self) -> None:
        try:
            await self.servers.leave()
        except StoreError as error:
            log.warning("the other servers count this one as live until its lease runs out", error=str(error))

    def elected(
        self,
        client: Client,
        lease: str,
        client_for: Callable[[User], Client],
        work: Callable[[Callable[[User], Client]], Awaitable[Any]],
    ) -> Callable[[], Awaitable[None]]:
        """A part that does `work` while it holds the lease. The work gets a maker of clients that write only then."""
        election = LeaderElection(client, lease, self._identity, SystemClock(), self._timings)

        def fenced(user: User) -> Client:
            return FencedClient(client_for(user), election.holds)

        return lambda: election.run(lambda: work(fenced))
