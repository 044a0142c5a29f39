"""The node's lease in ``kube-node-lease``: the heartbeat by which the control plane knows that a node lives.

`run` takes the lease and renews it every quarter of its duration until cancelled. Errors of the API are tried again
with bounded, jittered back-off; they never end it. A lease that is gone, or whose owner is an older Node object of
this name, is put right by the next renewal.

Source: https://kubernetes.io/docs/concepts/architecture/leases/, KEP-589.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import structlog

from pybernetes.api import errors
from pybernetes.api.meta import Object, clone, metadata
from pybernetes.api.resources import LEASES
from pybernetes.api.time import format_micro_time
from pybernetes.client.interface import Client
from pybernetes.lib.clock import Clock

NAMESPACE = "kube-node-lease"
RENEW_FRACTION = 0.25
"""Of the lease's duration: how often it is renewed."""
_RETRY_FIRST_SECONDS = 0.2
_RETRY_MAX_SECONDS = 7.0

log = structlog.get_logger(__name__)


class NodeLease:
    """Keeps one node's lease. `node_uid` tells the uid of the Node object, empty while it is not registered."""

    def __init__(
        self, client: Client, node_name: str, duration_seconds: int, clock: Clock, node_uid: Callable[[], str]
    ) -> None:
        self._client = client
        self._name = node_name
        self._duration = duration_seconds
        self._clock = clock
        self._node_uid = node_uid
        self._lease: Object | None = None
        """As the API server last gave it; None where it is to be read."""

    async def run(self) -> None:
        """Renews the lease until cancelled. A cancellation leaves it to expire."""
        retry = 0.0
        while True:
            try:
                await self.renew()
                retry = 0.0
                pause = self._duration * RENEW_FRACTION * random.uniform(0.96, 1.0)
            except errors.ApiError as error:
                self._lease = None
                retry = min(max(_RETRY_FIRST_SECONDS, retry * 2), _RETRY_MAX_SECONDS)
                pause = retry * random.uniform(0.5, 1.0)
                log.warning("node lease not renewed", node=self._name, error=error.message, retry_s=round(pause, 2))
            await self._clock.sleep(pause)

    async def renew(self) -> None:
        """Writes the lease once. Raises `ApiError`; after a `Conflict` or `NotFound` it tries once more at once."""
        try:
            await self._write()
        except (errors.Conflict, errors.NotFound, errors.AlreadyExists):
            self._lease = None
            await self._write()

    async def _write(self) -> None:
        if self._lease is None:
            try:
                self._lease = await self._client.get(LEASES, self._name, NAMESPACE)
            except errors.NotFound:
                fresh: Object = {
                    "apiVersion": LEASES.api_version,
                    "kind": LEASES.kind,
                    "metadata": {"name": self._name, "namespace": NAMESPACE},
                }
                self._lease = await self._client.create(LEASES, self._filled(fresh), NAMESPACE)
                return
        self._lease = await self._client.update(LEASES, self._filled(clone(self._lease)))

    def _filled(self, lease: Object) -> Object:
        """The lease with what a renewal sets."""
        spec = lease.setdefault("spec", {})
        spec["holderIdentity"] = self._name
        spec["leaseDurationSeconds"] = self._duration
        spec["renewTime"] = format_micro_time(self._clock.now())
        uid = self._node_uid()
        if uid:
            # A deleted Node's lease is the garbage collector's; only the present Node may own this one.
            metadata(lease)["ownerReferences"] = [
                {"apiVersion": "v1", "kind": "Node", "name": self._name, "uid": uid},
            ]
        return lease
