"""Leader election on a real API server in the test's process, by a clock that the test moves."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pybernetes.api import errors
from pybernetes.api.resources import CONFIGMAPS, LEASES
from pybernetes.apiserver.pki import ClusterPKI
from pybernetes.client.interface import Client
from pybernetes.client.leases import FencedClient, LeaderElection, LeaseLost, LeaseTimings
from pybernetes.lib.clock import ManualClock
from tests.integration.apiserver.conftest import Server, running
from tests.support.waiting import until

NAME = "the-lease"


@pytest.fixture
async def server(pki: ClusterPKI, tmp_path: Path) -> AsyncIterator[Server]:
    async with running(pki, tmp_path) as made:
        yield made


class Candidate:
    """An election and what its work does: it works until cancelled, unless `stubborn`."""

    def __init__(self, client: Client, identity: str, clock: ManualClock, *, stubborn: bool = False) -> None:
        self.election = LeaderElection(client, NAME, identity, clock)
        self.identity = identity
        self.working = False
        self.terms = 0
        self.let_go = asyncio.Event()
        self._stubborn = stubborn
        self.task = asyncio.ensure_future(self.election.run(self._work))

    async def _work(self) -> None:
        self.working = True
        self.terms += 1
        try:
            await asyncio.Event().wait()
        finally:
            if self._stubborn:
                await self.let_go.wait()
            self.working = False

    async def stop(self) -> None:
        self.let_go.set()
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@asynccontextmanager
async def candidates(*made: Candidate) -> AsyncIterator[None]:
    try:
        yield
    finally:
        for candidate in made:
            await candidate.stop()


async def moved(clock: ManualClock, condition: Callable[[], bool], *, most_seconds: float) -> float:
    """Moves the clock in small steps until the condition holds; by how much."""
    gone = 0.0
    while not condition():
        assert gone <= most_seconds, f"not within {most_seconds} s"
        clock.advance(0.1)
        gone += 0.1
        for _ in range(20):
            await asyncio.sleep(0)
    return gone


async def spec(client: Client) -> dict[str, Any]:
    return dict((await client.get(LEASES, NAME, "kube-system"))["spec"])


async def test_one_works_and_the_next_follows_when_it_stops(server: Server) -> None:
    clock = ManualClock()
    first, second = (Candidate(server.admin, n, clock) for n in ("first", "second"))
    async with candidates(first, second):
        await until(lambda: first.working or second.working)
        leader, other = (first, second) if first.working else (second, first)
        held = await spec(server.admin)
        assert held["holderIdentity"] == leader.identity and held["leaseTransitions"] == 0
        assert held["leaseDurationSeconds"] == 15 and held["acquireTime"] == held["renewTime"]
        # It renews, for as long as it likes; the other waits.
        await moved(clock, lambda: clock.now() > 1_700_000_000.0 + 60, most_seconds=70)
        renewed = await spec(server.admin)
        assert renewed["renewTime"] > held["renewTime"] and renewed["acquireTime"] == held["acquireTime"]
        assert leader.working and leader.terms == 1 and not other.working
        # Stopped in order it gives the lease away: the other need not wait for any clock.
        await leader.stop()
        await until(lambda: other.working)
        taken = await spec(server.admin)
        assert taken["holderIdentity"] == other.identity and taken["leaseTransitions"] == 1


async def test_a_leader_that_vanishes_is_followed_after_the_lease_and_not_before(server: Server) -> None:
    clock = ManualClock()
    gone = Gate(server.admin)
    first = Candidate(gone, "first", clock)
    second = Candidate(server.admin, "second", clock)
    async with candidates(first, second):
        await until(lambda: first.working or second.working)
        if second.working:
            pytest.skip("the other was quicker")
        gone.open = False
        stopped = await moved(clock, lambda: not first.working, most_seconds=15)
        assert 9.0 <= stopped <= 11.0, "the work stops at the renew deadline"
        assert not second.working and not first.election.holds()
        taken = await moved(clock, lambda: second.working, most_seconds=8)
        assert stopped + taken >= 14.5
        # The way is clear again: the old leader is a candidate, and leads when its turn comes.
        gone.open = True
        await second.stop()
        await moved(clock, lambda: first.working, most_seconds=20)
        assert first.terms == 2


class Gate:
    """A client whose requests fail while it is closed, as they do when the store does not answer."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.open = True

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if name == "watch":
            return method

        async def call(*arguments: Any, **options: Any) -> Any:
            if not self.open:
                raise errors.GatewayTimeout("the store did not answer")
            return await method(*arguments, **options)

        return call


async def test_work_that_does_not_stop_ends_the_election(server: Server) -> None:
    clock = ManualClock()
    gate = Gate(server.admin)
    stuck = Candidate(gate, "stuck", clock, stubborn=True)
    async with candidates(stuck):
        await until(lambda: stuck.working)
        gate.open = False
        gone = await moved(clock, stuck.task.done, most_seconds=20)
        assert gone <= 15.1, "before another can hold the lease"
        assert isinstance(stuck.task.exception(), LeaseLost)


async def test_a_lease_that_is_taken_away_stops_the_work_at_once(server: Server) -> None:
    clock = ManualClock()
    candidate = Candidate(server.admin, "candidate", clock)
    async with candidates(candidate):
        await until(lambda: candidate.working)
        lease = await server.admin.get(LEASES, NAME, "kube-system")
        usurped = {**lease, "spec": {**lease["spec"], "holderIdentity": "usurper"}}
        await server.admin.update(LEASES, usurped)
        await until(lambda: not candidate.working)
        assert not candidate.election.holds()
        # Deleted, it is free for whoever comes first.
        await server.admin.delete(LEASES, NAME, "kube-system")
        await until(lambda: candidate.working)
        assert (await spec(server.admin))["holderIdentity"] == "candidate"


async def test_an_error_of_the_work_ends_the_election_and_frees_the_lease(server: Server) -> None:
    async def broken() -> None:
        raise RuntimeError("a broken invariant")

    election = LeaderElection(server.admin, NAME, "broken", ManualClock())
    with pytest.raises(RuntimeError, match="invariant"):
        await election.run(broken)
    assert (await spec(server.admin))["holderIdentity"] == ""


async def test_who_does_not_hold_the_lease_does_not_write(server: Server) -> None:
    clock = ManualClock()
    candidate = Candidate(server.admin, "candidate", clock)
    async with candidates(candidate):
        await until(lambda: candidate.working)
        fenced = FencedClient(server.admin, candidate.election.holds)
        body = {"metadata": {"name": "a", "namespace": "default"}}
        made = await fenced.create(CONFIGMAPS, body, "default")
        # As in a process that was stopped: time has gone, and nothing of it has been noticed.
        clock._now += 16
        writes: list[Callable[[], Awaitable[Any]]] = [
            lambda: fenced.create(CONFIGMAPS, body, "default"),
            lambda: fenced.update(CONFIGMAPS, made),
            lambda: fenced.patch(CONFIGMAPS, "a", {"data": {"x": "1"}}, "default"),
            lambda: fenced.delete(CONFIGMAPS, "a", "default"),
            lambda: fenced.delete_collection(CONFIGMAPS, "default"),
        ]
        for write in writes:
            with pytest.raises(errors.ServiceUnavailable, match="lease has run out"):
                await write()
        assert await fenced.get(CONFIGMAPS, "a", "default") == made
        assert (await fenced.list(CONFIGMAPS, "default", field_selector="metadata.name=a")).items == [made]


async def test_never_two_at_once(server: Server) -> None:
    """Candidates whose requests fail at random, over a long time: at no moment do two of them work."""
    rng = random.Random(7)
    clock = ManualClock()
    gates = [Gate(server.admin) for _ in range(4)]
    made = [Candidate(gate, f"c{n}", clock) for n, gate in enumerate(gates)]
    async with candidates(*made):
        for step in range(6000):
            if step % 80 == 0:
                for gate in gates:
                    gate.open = rng.random() < 0.5
            clock.advance(0.1)
            for _ in range(12):
                await asyncio.sleep(0)
                assert sum(c.working for c in made) <= 1
    assert sum(c.terms for c in made) > 5, "leadership has moved"


@pytest.mark.parametrize(("duration", "deadline", "retry"), [(10, 10, 2), (15, 2, 2), (15, 10, 0)])
def test_timings_that_cannot_work_are_refused(duration: int, deadline: float, retry: float) -> None:
    with pytest.raises(ValueError, match="lease duration must be greater"):
        LeaseTimings(duration, deadline, retry)
