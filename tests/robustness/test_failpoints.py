"""Death at the store's sharp places: the server is killed at a failpoint with clients at work, and keeps its word."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from pathlib import Path

import pytest

from pybernetes.lib import failpoints
from pybernetes.store.interface import Put
from pybernetes.store.sqlite import SQLiteStore
from tests.robustness import campaign, faults, report
from tests.robustness.campaign import Plan
from tests.robustness.faults import Targets

pytestmark = pytest.mark.timeout(120)

PLACES = {
    "store/before-commit": 40,
    "store/after-commit": 40,
    "store/compacting": 4,
}
"""Each with the passage at which the server dies: late enough for clients to be at work."""


class DiesAt:
    """A fault: the server starts anew with the failpoint armed, dies there by itself, and starts again."""

    def __init__(self, place: str, passage: int) -> None:
        self._armed = {"P8S_FAILPOINTS": f"{place}=kill@{passage}"}

    async def __call__(self, targets: Targets, chance: random.Random) -> str:
        server = targets.servers[0]
        await server.stop()
        # It may die before it is ready: then too.
        await server.start(self._armed, ready=False)
        assert await server.ended(60) == -signal.SIGKILL, server.log_tail()
        await server.start()
        return f"died at {self._armed['P8S_FAILPOINTS']}"


async def test_death_at_every_sharp_place(monkeypatch: pytest.MonkeyPatch) -> None:
    for place, passage in PLACES.items():
        monkeypatch.setitem(faults.FAULTS, place, DiesAt(place, passage))
    plan = Plan(1, faults=tuple(PLACES), seed=21, compaction_seconds=0.5)
    found = await campaign.run(plan, report.new_directory("failpoint"))
    assert len(found.faults()) >= len(PLACES), "the server did not die at its failpoints"
    found.settle()


async def _write_for_ever(directory: Path) -> None:
    """The child: says each revision once it is acknowledged. The log is small, so that it is emptied often."""
    store = await SQLiteStore.open(directory, wal_limit_bytes=256 << 10)
    for i in range(10_000):
        result = await store.txn([], [Put(f"/k/{i % 20}", b"%d " % i + b"x" * 5000)])
        print(i, result.revision, flush=True)


@pytest.mark.parametrize("place", ["store/checkpointing", "store/checkpointed"])
async def test_death_around_a_checkpoint(place: str, tmp_path: Path) -> None:
    armed = {**os.environ, failpoints.VARIABLE: f"{place}=kill@3"}
    command = [sys.executable, "-P", "-m", "tests.robustness.test_failpoints", str(tmp_path)]
    child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, env=armed)
    said, _ = await asyncio.wait_for(child.communicate(), 60)
    assert child.returncode == -signal.SIGKILL
    # Whole lines: death can come amid the last one.
    acknowledged = [tuple(map(int, line.split())) for line in said.decode().split("\n")[:-1]]
    assert len(acknowledged) > 30
    store = await SQLiteStore.open(tmp_path)
    found = {kv.key: (int(kv.value.split()[0]), kv.mod_revision) for kv in (await store.range("/", "0")).items}
    for i, revision in acknowledged[-20:]:
        # The one that was never acknowledged may be there too, over an older one of its key.
        assert found[f"/k/{i % 20}"] in ((i, revision), (i + 20, revision + 20))
    watch = await store.watch("/", "0", from_revision=2)
    for _, revision in acknowledged:
        assert (await watch.__anext__()).revision == revision
    await store.close()


if __name__ == "__main__":
    asyncio.run(_write_for_ever(Path(sys.argv[1])))
