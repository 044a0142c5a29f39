"""What is done to the processes while the clients work, one fault at a time, in an order that the seed decides.

A fault returns when its damage is undone (the server is back, the disk has room), so that the next one meets a whole
system, and says in a few words what it did. What it broke is for the validators to find, not for it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from tests.robustness.disks import SmallDisk
from tests.robustness.history import Record, Recorder
from tests.robustness.members import EtcdMember
from tests.robustness.processes import ServerProcess
from tests.support.waiting import until

PAUSE_SECONDS = (0.3, 2.0)
FULL_SECONDS = (0.2, 1.2)
_FULL_SECONDS_MAX = 20.0
BETWEEN_SECONDS = (0.6, 1.8)


@dataclass
class Targets:
    """What there is to break."""

    servers: Sequence[ServerProcess]
    recorder: Recorder
    disk: SmallDisk | None = None
    members: Sequence[EtcdMember] = ()


Fault = Callable[[Targets, random.Random], Awaitable[str]]


async def kill(targets: Targets, chance: random.Random) -> str:
    """kill -9 of a server, and a new one in its place."""
    server = chance.choice(targets.servers)
    await server.kill()
    await server.start()
    return f"{server.name} killed and started"


async def pause(targets: Targets, chance: random.Random) -> str:
    """A server does not get the processor for a while, as on an overloaded or suspended machine."""
    server = chance.choice(targets.servers)
    return await _pause(server, chance)


async def _pause(process: ServerProcess | EtcdMember, chance: random.Random) -> str:
    seconds = chance.uniform(*PAUSE_SECONDS)
    process.pause()
    try:
        await asyncio.sleep(seconds)
    finally:
        process.resume()
    return f"{process.name} paused for {seconds:.2f} s"


async def _fill(targets: Targets) -> None:
    """Returns when somebody has met the full disk: the store's log may have room for a while yet."""
    assert targets.disk is not None
    before = targets.recorder.failures
    targets.disk.fill()
    await until(lambda: targets.recorder.failures != before, _FULL_SECONDS_MAX)


async def fill_disk(targets: Targets, chance: random.Random) -> str:
    assert targets.disk is not None
    seconds = chance.uniform(*FULL_SECONDS)
    try:
        await _fill(targets)
        await asyncio.sleep(seconds)
    finally:
        targets.disk.free()
    return f"disk full for {seconds:.2f} s"


async def kill_on_full_disk(targets: Targets, chance: random.Random) -> str:
    """The server dies while its disk is full, and starts when there is room again."""
    assert targets.disk is not None
    server = chance.choice(targets.servers)
    try:
        await _fill(targets)
        await asyncio.sleep(chance.uniform(*FULL_SECONDS))
        await server.kill()
    finally:
        targets.disk.free()
    await server.start()
    return f"{server.name} killed on a full disk"


async def kill_member(targets: Targets, chance: random.Random) -> str:
    member = chance.choice(targets.members)
    await member.kill()
    await asyncio.sleep(chance.uniform(*PAUSE_SECONDS))
    await member.start()
    return f"{member.name} killed and started"


async def pause_member(targets: Targets, chance: random.Random) -> str:
    return await _pause(chance.choice(targets.members), chance)


async def lose_quorum(targets: Targets, chance: random.Random) -> str:
    """All members but one stand still: nothing can be written, and nothing fresh can be read."""
    still = list(targets.members)
    chance.shuffle(still)
    seconds = chance.uniform(*PAUSE_SECONDS)
    for member in still[1:]:
        member.pause()
    try:
        await asyncio.sleep(seconds)
    finally:
        for member in still[1:]:
            member.resume()
    return f"{' and '.join(m.name for m in still[1:])} paused for {seconds:.2f} s"


FAULTS: dict[str, Fault] = {
    "kill": kill,
    "pause": pause,
    "disk": fill_disk,
    "disk-kill": kill_on_full_disk,
    "member-kill": kill_member,
    "member-pause": pause_member,
    "quorum": lose_quorum,
}


async def inject(
    names: Sequence[str], targets: Targets, recorder: Recorder, chance: random.Random, seconds: float
) -> None:
    """One fault after the other, each kind in turn, for about so long; every kind comes at least once."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    done = 0
    order = list(names)
    while names and (loop.time() < deadline or done < len(names)):
        if done % len(order) == 0:
            chance.shuffle(order)
        name = order[done % len(order)]
        await asyncio.sleep(chance.uniform(*BETWEEN_SECONDS))
        start = recorder.now()
        text = await FAULTS[name](targets, chance)
        recorder.add(Record("faults", "fault", start, recorder.now(), args={"kind": name}, result={"text": text}))
        done += 1
    await asyncio.sleep(max(0.0, deadline - loop.time()))
