"""etcd's members under test: the real etcd of the test support, three members, killed and paused one at a time."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path

from tests.support.etcd import Etcd, Member
from tests.support.waiting import eventually

SIZE = 3


class EtcdMember:
    """A member as the faults see one."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self.name = f"etcd {member.name}"

    async def kill(self) -> None:
        await asyncio.to_thread(self._member.stop, signal.SIGKILL)

    async def start(self) -> None:
        """Returns when the member is part of the cluster again."""
        self._member.start()
        await asyncio.to_thread(eventually, self._member.healthy, timeout=30)

    def pause(self) -> None:
        self._member.send(signal.SIGSTOP)

    def resume(self) -> None:
        self._member.send(signal.SIGCONT)


@contextlib.asynccontextmanager
async def etcd_cluster(directory: Path) -> AsyncIterator[Etcd]:
    """Three healthy members, gone with the context."""
    cluster = Etcd(directory, SIZE)
    await asyncio.to_thread(cluster.__enter__)
    try:
        yield cluster
    finally:
        await asyncio.to_thread(cluster.__exit__)
