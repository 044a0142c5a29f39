"""Two servers over three etcd members: members are killed and stopped, and clients lose nothing."""

from __future__ import annotations

import asyncio
import signal
import urllib.error
import urllib.request
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any, cast

from pybernetes.api import errors
from pybernetes.api.meta import name_of, resource_version_of
from pybernetes.api.resources import CONFIGMAPS
from pybernetes.client.https import HTTPSClient
from tests.integration.sharing.test_servers import config_map, until
from tests.support.etcd import Etcd, Member
from tests.support.servers import ServerProcess, Servers


class WatchingClient:
    """A client's watch of all ConfigMaps of a namespace, resumed where it broke off: what it was told, in order."""

    def __init__(self, client: HTTPSClient) -> None:
        self._client = client
        self.added: list[str] = []
        self.versions: list[int] = []
        self.resumed = 0
        self.started = asyncio.Event()
        self._task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        version = (await self._client.list(CONFIGMAPS, "default")).resource_version
        self.started.set()
        while True:
            stream = self._client.watch(CONFIGMAPS, "default", resource_version=version)
            try:
                async with aclosing(cast(Any, stream)) as events:
                    async for event in events:
                        version = resource_version_of(event.object)
                        if event.type == "ADDED":
                            self.added.append(name_of(event.object))
                            self.versions.append(int(version))
            except (errors.TransportError, errors.ServiceUnavailable, errors.GatewayTimeout):
                await asyncio.sleep(0.05)
            self.resumed += 1

    async def stop(self) -> None:
        assert not self._task.done(), self._task.exception()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def fail(member: Member, number: signal.Signals) -> None:
    member.send(number)
    if number is signal.SIGKILL:
        await asyncio.to_thread(member.stop, number)


async def recover(etcd: Etcd, member: Member, number: signal.Signals) -> None:
    if number is signal.SIGKILL:
        member.start()
    else:
        member.send(signal.SIGCONT)
    await asyncio.to_thread(etcd.wait_healthy)


def status_of(server: ServerProcess, path: str) -> int:
    try:
        with urllib.request.urlopen(server.url + path, context=server.ssl_context(), timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


async def test_no_member_is_missed(tmp_path: Path) -> None:
    with Etcd(tmp_path / "etcd", size=3) as etcd, Servers(tmp_path, f"etcd://{etcd.addresses}") as servers:
        await asyncio.to_thread(servers.start, 2)
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(s.client()) for s in servers.servers]
            watchers = [WatchingClient(c) for c in clients]
            for watcher in watchers:
                await watcher.started.wait()
            acknowledged: list[str] = []
            unknown: list[str] = []
            stop = asyncio.Event()

            async def write(number: int, client: HTTPSClient) -> None:
                i = 0
                while not stop.is_set():
                    name = f"w-{number}-{i}"
                    i += 1
                    try:
                        await client.create(CONFIGMAPS, config_map(name), "default")
                    except (errors.GatewayTimeout, errors.ServiceUnavailable):
                        unknown.append(name)
                    else:
                        acknowledged.append(name)

            writers = [asyncio.create_task(write(n, clients[n % 2])) for n in range(8)]

            async def more(count: int = 100) -> None:
                wanted = len(acknowledged) + count

                async def enough() -> bool:
                    for task in writers:
                        assert not task.done(), task.exception()
                    return len(acknowledged) >= wanted

                await until(enough)

            await more()
            for member, number in ((etcd.members[0], signal.SIGKILL), (etcd.members[1], signal.SIGSTOP)):
                await fail(member, number)
                await more()
                await recover(etcd, member, number)
                await more()
            stop.set()
            await asyncio.gather(*writers)
            for client, watcher in zip(clients, watchers, strict=True):
                present = {name_of(o) for o in (await client.list(CONFIGMAPS, "default")).items}
                assert set(acknowledged) <= present
                assert {n for n in present if n.startswith("w-")} <= {*acknowledged, *unknown}

                async def complete(watcher: WatchingClient = watcher, present: set[str] = present) -> bool:
                    return {n for n in present if n.startswith("w-")} <= set(watcher.added)

                await until(complete)
                assert watcher.resumed == 0, "members fail behind the servers: clients' watches do not notice"
                told = list(zip(watcher.added, watcher.versions, strict=True))
                twice = [(name, version) for name, version in told if watcher.added.count(name) > 1]
                assert not twice, "an event was told twice"
                assert watcher.versions == sorted(watcher.versions)
                await watcher.stop()


async def test_without_etcd_servers_are_not_ready_and_come_back_with_it(tmp_path: Path) -> None:
    with Etcd(tmp_path / "etcd") as etcd, Servers(tmp_path, f"etcd://{etcd.addresses}") as servers:
        (server,) = await asyncio.to_thread(servers.start, 1)
        async with server.client() as client:
            await client.create(CONFIGMAPS, config_map("before"), "default")
            member = etcd.members[0]
            await asyncio.to_thread(member.stop, signal.SIGKILL)

            async def not_ready() -> bool:
                return await asyncio.to_thread(status_of, server, "/readyz") != 200

            await until(not_ready)
            refused = await asyncio.to_thread(status_of, server, "/api/v1/namespaces/default/configmaps/before")
            assert refused in (500, 503, 504), "a read that must be fresh is not answered from the cache"
            member.start()
            await asyncio.to_thread(server.wait_ready)
            await until(lambda: client.get(CONFIGMAPS, "before", "default"))
            await client.create(CONFIGMAPS, config_map("after"), "default")
            assert server.process is not None and server.process.poll() is None
