"""A run from beginning to end: servers up, clients at work, faults, the last word, and everything checked.

Whatever happens, no process and no mount of the run outlives it. The history is on disk before anything is checked.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pybernetes.store.etcd.config import parse_url
from tests.robustness import evidence, faults, traffic, validate
from tests.robustness.disks import small_disk
from tests.robustness.faults import Targets
from tests.robustness.history import OK, Record, Recorder, Stored, load
from tests.robustness.members import EtcdMember, etcd_cluster
from tests.robustness.processes import ServerProcess
from tests.robustness.report import Report

SMALL_DISK_MEBIBYTES = 24
_END_SECONDS = 30.0


@dataclass(frozen=True)
class Plan:
    seconds: float = 10.0
    seed: int = 1
    store: str = "sqlite"
    faults: Sequence[str] = ("kill",)
    compaction_seconds: float = 0.0
    """How often history is compacted; 0 for never."""
    swappers: int = 4
    patchers: int = 3
    readers: int = 3
    watchers: int = 2


@dataclass
class System:
    """What runs, and how its store is read past it."""

    targets: Targets
    stored: Callable[[int], Awaitable[list[Stored]]]
    """What changed after a revision."""


@contextlib.asynccontextmanager
async def running(plan: Plan, directory: Path, recorder: Recorder) -> AsyncIterator[System]:
    """The servers of a plan, serving; they have ended when the context has."""
    async with contextlib.AsyncExitStack() as stack:
        # Unless a plan asks for compaction there is none: the whole log is wanted at the end.
        extra = [f"--compaction-interval={plan.compaction_seconds}"]
        if plan.store == "sqlite":
            server = ServerProcess(directory, extra=extra)
            store = server.data_dir / "store"
            disk = None
            if any(f.startswith("disk") for f in plan.faults):
                disk = stack.enter_context(small_disk(store, SMALL_DISK_MEBIBYTES))

            async def stored(after: int) -> list[Stored]:
                return evidence.stored_in_sqlite(store, after=after)

            system = System(Targets([server], recorder, disk), stored)
        elif plan.store == "etcd":
            etcd = await stack.enter_async_context(etcd_cluster(directory / "etcd"))
            url = f"etcd://{etcd.addresses}/robust"
            extra += ["--leader-elect-lease-duration=3s", "--leader-elect-renew-deadline=2s"]
            extra += ["--leader-elect-retry-period=500ms", "--advertise-port=6443"]
            first = ServerProcess(directory / "server-0", name="server-0", datastore=url, extra=extra)
            second = ServerProcess(directory / "server-1", name="server-1", datastore=url, extra=extra, keys_of=first)
            config = parse_url(url)
            system = System(
                Targets([first, second], recorder, members=[EtcdMember(m) for m in etcd.members]),
                lambda after: evidence.stored_in_etcd(config, after=after),
            )
        else:
            raise ValueError(f'there is no store "{plan.store}"')
        for server in system.targets.servers:
            stack.push_async_callback(server.stop)
            await server.start()
        yield system


async def run(plan: Plan, directory: Path) -> Report:
    """Runs the plan and checks its history, which is below `directory` then."""
    recorder = Recorder(directory)
    recorder.note(**asdict(plan))
    try:
        async with running(plan, directory, recorder) as system:
            await _work(plan, system, recorder)
            for server in system.targets.servers:
                await server.stop()
            recorder.add_stored(await system.stored(0))
    finally:
        recorder.close()
    return recheck(directory)


def recheck(directory: Path) -> Report:
    history = load(directory)
    return Report(directory, history, validate.check(history))


async def _work(plan: Plan, system: System, recorder: Recorder) -> None:
    chance = random.Random(plan.seed)
    servers = system.targets.servers

    def make(kind: type[traffic.Client], count: int, label: str = "", **more: Any) -> list[traffic.Client]:
        found = []
        for i in range(count):
            turned = [*servers[i % len(servers) :], *servers[: i % len(servers)]]
            name = f"{kind.__name__.lower()}{label}-{i}"
            found.append(kind(name, turned, recorder, random.Random(chance.random()), **more))
        return found

    closer = traffic.Client("closer", servers, recorder, random.Random(chance.random()))
    await _make_namespace(closer)
    workers = [
        *make(traffic.Swapper, plan.swappers),
        *make(traffic.Patcher, plan.patchers),
        *make(traffic.Reader, plan.readers),
    ]
    watchers = [
        *make(traffic.Watcher, plan.watchers),
        *make(traffic.Watcher, 1, "-streaming", streaming=True),
        *make(traffic.Watcher, 1, "-left", side="left"),
        *make(traffic.Watcher, 1, "-right-streaming", side="right", streaming=True),
    ]
    async with _tasks(watchers, _compaction_witness(plan, system, recorder)) as watching:
        async with _tasks(workers):
            await faults.inject(plan.faults, system.targets, recorder, chance, plan.seconds)
        final = await _last_write(closer)
        for watcher in watchers:
            assert isinstance(watcher, traffic.Watcher)
            watcher.finish(final)
        await asyncio.wait(watching, timeout=_END_SECONDS)
    await closer.list()
    await closer.close()
    recorder.note(final_revision=final)


@contextlib.asynccontextmanager
async def _tasks(
    clients: Sequence[traffic.Client], *others: asyncio.Future[None] | None
) -> AsyncIterator[list[asyncio.Task[None]]]:
    """The clients at work; a client that fails fails the run, when it is over."""
    tasks = [asyncio.create_task(c.run(), name=c.name) for c in clients]
    every = [*tasks, *(o for o in others if o is not None)]
    try:
        yield tasks
    finally:
        for task in every:
            task.cancel()
        ended = await asyncio.gather(*every, return_exceptions=True)
    failed = [e for e in ended if isinstance(e, Exception)]
    if failed:
        raise ExceptionGroup("clients failed", failed)


def _compaction_witness(plan: Plan, system: System, recorder: Recorder) -> asyncio.Future[None] | None:
    """Reads the store's log on and on, before compaction can forget."""
    if not plan.compaction_seconds:
        return None

    async def look() -> None:
        seen = 0
        while True:
            # Never while the server is down: the last one to close a database tidies it up.
            if all(s.running for s in system.targets.servers):
                found = await system.stored(seen)
                recorder.add_stored(found)
                seen = max([seen, *(e.revision for e in found)])
            await asyncio.sleep(plan.compaction_seconds / 4)

    return asyncio.ensure_future(look())


async def _make_namespace(client: traffic.Client) -> None:
    body = {"metadata": {"name": traffic.NAMESPACE}}
    async with client.session.post("/api/v1/namespaces", json=body) as response:
        assert response.status in (201, 409), await response.text()


async def _last_write(client: traffic.Client) -> int:
    """The last writes, one on each side, so that every watcher hears of an end; the revision of the first."""
    first = 0
    async with asyncio.timeout(_END_SECONDS):
        for name, side in zip(traffic.SENTINELS, traffic.SIDES, strict=True):
            while True:
                record: Record = await client.create(name, side)
                if record.outcome != OK and record.status == 409:
                    record = await client.get(name)
                if record.outcome == OK:
                    break
            first = first or int(record.result["revision"])
    return first
