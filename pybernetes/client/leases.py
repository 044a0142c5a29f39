"""Leader election by a Lease of coordination.k8s.io: of several candidates at most one works at a time.

`LeaderElection.run(work)` campaigns, runs `work` while it holds the lease, and campaigns again after a loss, until
cancelled. A candidate follows the lease by a watch and counts its age from when it saw it change last, by its own
clock: nobody's wall clock is trusted. The leader renews every `retry_seconds`; where that has not succeeded for
`renew_deadline_seconds` the work is cancelled, and has the rest of the lease's duration to end. Work that does not
end by then raises `LeaseLost` out of `run`: the process must not go on. Cancelled, `run` ends the work and gives the
lease away, so that the next leader need not wait.

`holds` says whether the lease is still ours at this moment, also in a process that was stopped meanwhile and has not
noticed yet: `FencedClient` asks it before every write.

Source: https://kubernetes.io/docs/concepts/architecture/leases/, client-go's leaderelection (its defaults: 15 s, 10 s,
2 s). One event loop owns an election.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Unpack

import structlog

from pybernetes.api import errors
from pybernetes.api.meta import Object, clone, resource_version_of
from pybernetes.api.resources import LEASES, Resource
from pybernetes.api.time import format_micro_time
from pybernetes.client.informer import Informers
from pybernetes.client.interface import (
    Client,
    DeleteCollectionOptions,
    DeleteOptions,
    ListOptions,
    ObjectList,
    PatchOptions,
    WatchEvent,
    WatchOptions,
)
from pybernetes.lib.clock import Clock

NAMESPACE = "kube-system"
_JITTER = 0.2
_RELEASE_SECONDS = 2.0

log = structlog.get_logger(__name__)


class LeaseLost(Exception):
    """The lease ran out while the work under it could not be ended."""


@dataclass(frozen=True, slots=True)
class LeaseTimings:
    """`duration_seconds` is whole: the API knows no parts of a second."""

    duration_seconds: int = 15
    renew_deadline_seconds: float = 10.0
    retry_seconds: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.retry_seconds * (1 + _JITTER) < self.renew_deadline_seconds < self.duration_seconds:
            raise ValueError(
                "of leader election's times, the lease duration must be greater than the renew deadline, and that "
                f"greater than {1 + _JITTER:g} retry periods"
            )


class LeaderElection:
    """One candidate for one lease. `identity` is unique among candidates, over restarts too."""

    def __init__(
        self,
        client: Client,
        name: str,
        identity: str,
        clock: Clock,
        timings: LeaseTimings | None = None,
        *,
        namespace: str = NAMESPACE,
    ) -> None:
        self._client = client
        self.name = name
        self._identity = identity
        self._clock = clock
        self._timings = timings or LeaseTimings()
        self._namespace = namespace
        self._lease: Object | None = None
        """As it was seen last; None where there is none, or it was not seen yet."""
        self._seen_at = 0.0
        self._changed = asyncio.Event()
        self._held_until = 0.0
        self._leading = False
        self._ousted = asyncio.Event()
        """While leading: the lease was seen as another's, or gone, or could not be renewed for too long."""

    def holds(self) -> bool:
        """Whether nobody else can hold the lease now."""
        return self._leading and not self._ousted.is_set() and self._clock.monotonic() < self._held_until

    async def run(self, work: Callable[[], Awaitable[Any]]) -> None:
        """See the module. An error of the work ends `run` with it; work that returns ends it too."""
        informers = Informers(self._client)
        informer = informers.for_(LEASES, self._namespace, field_selector=f"metadata.name={self.name}")
        informer.add_handler(self._noticed)
        informers.start()
        try:
            await informer.synced()
            lost = True
            while lost:
                await self._acquire()
                lost = await self._lead(work)
        finally:
            await informers.stop()

    def _noticed(self, old: Object | None, new: Object | None) -> None:
        if new is None or not self._is_older(new):
            self._see(new)

    def _is_older(self, lease: Object) -> bool:
        """Whether it is no newer than what is known: the watch tells of our own writes after their answers."""
        return self._lease is not None and int(resource_version_of(lease)) <= int(resource_version_of(self._lease))

    def _see(self, lease: Object | None) -> None:
        self._lease = lease
        self._seen_at = self._clock.monotonic()
        self._changed.set()
        if self._leading and self._holder() != self._identity:
            self._ousted.set()

    # ---- campaigning

    async def _acquire(self) -> None:
        """Returns when the lease is ours."""
        while True:
            self._changed.clear()
            age = self._clock.monotonic() - self._seen_at
            # Held by this very identity: a write of ours happened, though its answer was lost.
            free = self._holder() in ("", self._identity)
            left = 0.0 if free or self._lease is None else _duration_of(self._lease) - age
            if left <= 0.0 and await self._try(_taken):
                break
            # A change says at once that somebody took, renewed or gave away the lease.
            pause = left if left > 0.0 else self._timings.retry_seconds * random.uniform(1.0, 1.0 + _JITTER)
            await _either(self._changed.wait(), self._clock.sleep(pause))
        log.info("leading", lease=self.name, identity=self._identity)

    async def _try(self, change: Callable[[Object, str, str, LeaseTimings], None]) -> bool:
        """Writes the lease over what was seen; whether that worked. The lease counts from before the request."""
        started = self._clock.monotonic()
        lease: Object
        if self._lease is None:
            lease = {
                "apiVersion": LEASES.api_version,
                "kind": LEASES.kind,
                "metadata": {"name": self.name, "namespace": self._namespace},
            }
        else:
            lease = clone(self._lease)
        change(lease, self._identity, format_micro_time(self._clock.now()), self._timings)
        try:
            if self._lease is None:
                written = await self._client.create(LEASES, lease, self._namespace)
            else:
                written = await self._client.update(LEASES, lease)
        except (errors.Conflict, errors.AlreadyExists, errors.NotFound):
            await self._look()
            return False
        except errors.ApiError as error:
            log.warning("lease not written", lease=self.name, error=error.message)
            return False
        self._see(written)
        self._held_until = started + self._timings.duration_seconds
        return True

    def _holder(self) -> str:
        return str((self._lease.get("spec") or {}).get("holderIdentity") or "") if self._lease is not None else ""

    async def _look(self) -> None:
        """Reads the lease, after a write that was refused for what has happened to it."""
        try:
            lease = await self._client.get(LEASES, self.name, self._namespace)
        except errors.NotFound:
            self._see(None)
        except errors.ApiError as error:
            log.warning("lease not read", lease=self.name, error=error.message)
        else:
            if not self._is_older(lease):
                self._see(lease)

    # ---- leading

    async def _lead(self, work: Callable[[], Awaitable[Any]]) -> bool:
        """Works while the lease holds; True where it was lost. Raises the work's error, `LeaseLost`."""
        self._ousted.clear()
        self._leading = True
        task = asyncio.ensure_future(_call(work))
        renewal = asyncio.ensure_future(self._renew())
        stuck = False
        try:
            await asyncio.wait((task, renewal), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                await task
                return False
            await renewal
            log.warning("leadership lost", lease=self.name, identity=self._identity)
            self._ousted.set()
            task.cancel()
            grace = self._held_until - self._clock.monotonic()
            if grace <= 0.0:
                # Noticed late, as after a pause. There is time to end all the same: writing is over already.
                grace = self._timings.duration_seconds - self._timings.renew_deadline_seconds
            await _either(asyncio.wait((task,)), self._clock.sleep(grace))
            stuck = not task.done()
            if stuck:
                raise LeaseLost(f"the work under the lease {self.name} has not ended in time")
            return True
        finally:
            renewal.cancel()
            task.cancel()
            # Also where this is cancelled: the lease is given away when nothing works any more.
            await asyncio.wait((renewal,) if stuck else (renewal, task))
            if not stuck and not task.cancelled() and (error := task.exception()) is not None:
                log.warning("the work under the lease failed", lease=self.name, error=str(error))
            mine = self.holds()
            self._leading = False
            if mine and not stuck:
                await self._release()

    async def _renew(self) -> None:
        """Renews until the lease is another's, or could not be renewed for too long."""
        timings = self._timings
        renewed = self._held_until - timings.duration_seconds
        while True:
            now = self._clock.monotonic()
            left = renewed + timings.renew_deadline_seconds - now
            if left <= 0.0:
                return
            pause = min(renewed + timings.retry_seconds - now, left)
            if pause <= 0.0:
                pause = min(timings.retry_seconds / 4, left)
            await _either(self._clock.sleep(pause), self._ousted.wait())
            if self._ousted.is_set():
                return
            before = self._held_until
            left = renewed + timings.renew_deadline_seconds - self._clock.monotonic()
            await _either(self._try(_renewed), self._clock.sleep(max(0.0, left)))
            if self._held_until > before:
                renewed = self._held_until - timings.duration_seconds

    async def _release(self) -> None:
        try:
            async with asyncio.timeout(_RELEASE_SECONDS):
                await self._try(_given_away)
        except TimeoutError:
            log.warning("lease not given away in time", lease=self.name)


def _duration_of(lease: Object) -> float:
    return float((lease.get("spec") or {}).get("leaseDurationSeconds") or 0)


def _taken(lease: Object, identity: str, now: str, timings: LeaseTimings) -> None:
    old = lease.get("spec") or {}
    transitions = int(old.get("leaseTransitions") or 0)
    lease["spec"] = {
        **old,
        "holderIdentity": identity,
        "leaseDurationSeconds": timings.duration_seconds,
        "acquireTime": now,
        "renewTime": now,
        # Counted where the holder changes, as client-go does: a first holder is no transition.
        "leaseTransitions": transitions + 1 if old and old.get("holderIdentity") != identity else transitions,
    }


def _renewed(lease: Object, identity: str, now: str, timings: LeaseTimings) -> None:
    lease["spec"] = {**lease["spec"], "leaseDurationSeconds": timings.duration_seconds, "renewTime": now}


def _given_away(lease: Object, identity: str, now: str, timings: LeaseTimings) -> None:
    lease["spec"] = {
        **lease["spec"],
        "holderIdentity": "",
        "leaseDurationSeconds": 1,
        "acquireTime": now,
        "renewTime": now,
    }


async def _call(work: Callable[[], Awaitable[Any]]) -> None:
    await work()


async def _either(first: Awaitable[Any], second: Awaitable[Any]) -> None:
    """Waits for one of two; the other is cancelled. Raises the error of the one that ended."""
    tasks = [asyncio.ensure_future(first), asyncio.ensure_future(second)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            await task
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class FencedClient:
    """A `Client` that writes only while `allowed`; `ServiceUnavailable` else. Reading is free."""

    def __init__(self, client: Client, allowed: Callable[[], bool]) -> None:
        self._client = client
        self._allowed = allowed

    def _check(self) -> None:
        if not self._allowed():
            raise errors.ServiceUnavailable("the leader's lease has run out")

    async def get(self, resource: Resource, name: str, namespace: str = "", *, subresource: str = "") -> Object:
        return await self._client.get(resource, name, namespace, subresource=subresource)

    async def list(self, resource: Resource, namespace: str = "", **options: Unpack[ListOptions]) -> ObjectList:
        return await self._client.list(resource, namespace, **options)

    def watch(
        self, resource: Resource, namespace: str = "", **options: Unpack[WatchOptions]
    ) -> AsyncIterator[WatchEvent]:
        return self._client.watch(resource, namespace, **options)

    async def create(
        self, resource: Resource, obj: Object, namespace: str = "", *, name: str = "", subresource: str = ""
    ) -> Object:
        self._check()
        return await self._client.create(resource, obj, namespace, name=name, subresource=subresource)

    async def update(self, resource: Resource, obj: Object, *, subresource: str = "") -> Object:
        self._check()
        return await self._client.update(resource, obj, subresource=subresource)

    async def patch(
        self, resource: Resource, name: str, patch: Any, namespace: str = "", **options: Unpack[PatchOptions]
    ) -> Object:
        self._check()
        return await self._client.patch(resource, name, patch, namespace, **options)

    async def delete(
        self, resource: Resource, name: str, namespace: str = "", **options: Unpack[DeleteOptions]
    ) -> Object:
        self._check()
        return await self._client.delete(resource, name, namespace, **options)

    async def delete_collection(
        self, resource: Resource, namespace: str = "", **options: Unpack[DeleteCollectionOptions]
    ) -> None:
        self._check()
        await self._client.delete_collection(resource, namespace, **options)
