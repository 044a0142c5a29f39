"""What only a store behind a network can show: members that die or stall, connections that break, other users of etcd,
TLS and credentials. Against real etcd processes."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from pybernetes.apiserver.pki import ClusterPKI
from pybernetes.store.etcd.config import EtcdConfig, EtcdTLS
from pybernetes.store.etcd.store import EtcdStore
from pybernetes.store.interface import (
    Compacted,
    Compare,
    Delete,
    OutcomeUnknown,
    Put,
    StoreError,
    StoreUnavailable,
    Watch,
)
from tests.support.etcd import Etcd
from tests.support.relay import relay_to
from tests.support.waiting import until

ALL = ("/", "0")
STALL_SECONDS_MAX = 6.0
"""In which a member that does not answer must be left; a call's own deadline is later."""


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    with Etcd(tmp_path_factory.mktemp("three"), size=3) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    with Etcd(tmp_path_factory.mktemp("one")) as cluster:
        yield cluster


@pytest.fixture
async def stores() -> AsyncIterator[list[EtcdStore]]:
    """Those that a test has opened, closed at its end."""
    opened: list[EtcdStore] = []
    yield opened
    for store in opened:
        await store.close()


def endpoints(cluster: Etcd) -> tuple[str, ...]:
    return tuple(m.address for m in cluster.members)


class Follower:
    """All that a watch brings, checked: revisions in order, no event twice."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self.keys: list[str] = []
        self.revision = 0
        self._task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        async for batch in self._watch:
            assert batch.revision > self.revision or (not batch.events and batch.revision >= self.revision)
            assert all(e.mod_revision == batch.revision for e in batch.events)
            self.revision = batch.revision
            self.keys += [e.key for e in batch.events]

    async def until(self, revision: int) -> None:
        def reached() -> bool:
            if self.revision >= revision:
                return True
            assert not self._task.done(), self._task.result()
            return False

        await until(reached, 30)

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


class Writers:
    """Concurrent clients that create keys of their own and note what was acknowledged."""

    def __init__(self, store: EtcdStore, count: int = 8) -> None:
        self.acknowledged: dict[str, int] = {}
        self.unknown: set[str] = set()
        self.refused: set[str] = set()
        self._stop = False
        self._tasks = [asyncio.ensure_future(self._write(store, n)) for n in range(count)]

    async def _write(self, store: EtcdStore, number: int) -> None:
        i = 0
        while not self._stop:
            key = f"/w/{number}/{i}"
            i += 1
            try:
                result = await store.txn([Compare(key, 0)], [Put(key, b"x" * 100)])
            except OutcomeUnknown:
                self.unknown.add(key)
            except StoreUnavailable:
                self.refused.add(key)
            else:
                assert result.succeeded, "a write of a key of its own was sent twice"
                self.acknowledged[key] = result.revision

    async def more(self, count: int) -> None:
        """Waits until so many more are acknowledged."""
        wanted = len(self.acknowledged) + count

        def enough() -> bool:
            if len(self.acknowledged) >= wanted:
                return True
            for task in self._tasks:
                assert not task.done(), task.result()
            return False

        await until(enough, 30)

    async def stop(self) -> None:
        self._stop = True
        await asyncio.gather(*self._tasks)


async def check(writers: Writers, follower: Follower, other: EtcdStore) -> None:
    """Every acknowledged write is there at its revision, a refused one is not, the watch has told all of it once."""
    await writers.stop()
    found = {kv.key: kv for kv in (await other.range("/w/", "/w0")).items}
    for key, revision in writers.acknowledged.items():
        assert found[key].mod_revision == revision and found[key].version == 1
    assert not writers.refused & found.keys()
    assert found.keys() <= writers.acknowledged.keys() | writers.unknown
    await follower.until(max(kv.mod_revision for kv in found.values()))
    assert len(follower.keys) == len(set(follower.keys))
    assert set(follower.keys) == found.keys()
    await follower.stop()


async def test_each_member_may_fail_in_turn(three: Etcd, stores: list[EtcdStore]) -> None:
    for _ in range(2):
        stores.append(await EtcdStore.open(EtcdConfig(endpoints(three), "/turns")))
    store, other = stores
    writers, follower = Writers(store), Follower(await store.watch(*ALL))
    for member, number in zip(three.members, (signal.SIGKILL, signal.SIGSTOP, signal.SIGKILL), strict=True):
        await writers.more(50)
        started = asyncio.get_running_loop().time()
        if number is signal.SIGKILL:
            await asyncio.to_thread(member.stop, number)
        else:
            member.send(number)
        await writers.more(50)
        if number is signal.SIGSTOP:
            assert asyncio.get_running_loop().time() - started < STALL_SECONDS_MAX
        # A fresh read sees what was acknowledged, whichever member is gone.
        key, revision = list(writers.acknowledged.items())[-1]
        assert (await store.range(key)).items[0].mod_revision == revision
        assert await store.revision() >= revision
        if number is signal.SIGKILL:
            member.start()
        else:
            member.send(signal.SIGCONT)
        await asyncio.to_thread(three.wait_healthy)
    await check(writers, follower, other)


async def test_a_write_whose_answer_is_lost_is_no_success_and_is_not_repeated(
    one: Etcd, stores: list[EtcdStore]
) -> None:
    async with relay_to(one.members[0].client_port) as relay:
        stores.append(store := await EtcdStore.open(EtcdConfig((f"127.0.0.1:{relay.port}",), "/lost")))
        stores.append(direct := await EtcdStore.open(EtcdConfig(endpoints(one), "/lost")))
        await store.txn([], [Put("/n", b"0")])
        watch = await direct.watch(*ALL)
        relay.answers.clear()
        # Not conditional: carried out twice, it would count twice.
        write = asyncio.ensure_future(store.txn([], [Put("/n", b"1")]))
        async with asyncio.timeout(10):
            assert [e.value for e in (await watch.__anext__()).events] == [b"1"]
        assert not write.done()
        relay.cut()
        with pytest.raises(OutcomeUnknown):
            await write
        relay.mend()
        assert (await store.range("/n")).items[0].version == 2
        assert (await store.txn([], [Put("/n", b"2")])).succeeded
        assert (await store.range("/n")).items[0].version == 3


async def test_a_broken_watch_is_resumed_without_loss(one: Etcd, stores: list[EtcdStore]) -> None:
    async with relay_to(one.members[0].client_port) as relay:
        stores.append(store := await EtcdStore.open(EtcdConfig((f"127.0.0.1:{relay.port}",), "/resumed")))
        stores.append(direct := await EtcdStore.open(EtcdConfig(endpoints(one), "/resumed")))
        follower = Follower(await store.watch(*ALL))
        written = []
        for round_ in range(3):
            relay.cut()
            for i in range(20):
                written.append(f"/{round_}/{i}")
                await direct.txn([], [Put(written[-1], b"")])
            last = (await direct.txn([], [Delete(written[-1])])).revision
            written.append(written[-1])
            relay.mend()
            await follower.until(last)
            assert follower.keys == written
        await follower.stop()


async def test_compaction_beyond_a_broken_watch_is_told(one: Etcd, stores: list[EtcdStore]) -> None:
    async with relay_to(one.members[0].client_port) as relay:
        stores.append(store := await EtcdStore.open(EtcdConfig((f"127.0.0.1:{relay.port}",), "/compacted")))
        stores.append(direct := await EtcdStore.open(EtcdConfig(endpoints(one), "/compacted")))
        await store.txn([], [Put("/a", b"1")])
        watch = await store.watch(*ALL)
        seen = await store.revision()
        relay.cut()
        await direct.txn([], [Delete("/a")])
        newest = (await direct.txn([], [Put("/b", b"1")])).revision
        await direct.compact(newest)
        relay.mend()
        with pytest.raises(Compacted) as caught:
            async with asyncio.timeout(20):
                await watch.__anext__()
        assert caught.value.compact_revision == newest
        # Who goes on from what was seen is told too, and who reads again misses nothing from then on.
        with pytest.raises(Compacted):
            await store.watch(*ALL, from_revision=seen + 1)
        result = await store.range(*ALL)
        assert [kv.key for kv in result.items] == ["/b"]
        watch = await store.watch(*ALL, from_revision=result.revision + 1)
        revision = (await direct.txn([], [Put("/c", b"1")])).revision
        async with asyncio.timeout(10):
            batch = await watch.__anext__()
            while not batch.events:
                batch = await watch.__anext__()
        assert [(e.key, e.mod_revision) for e in batch.events] == [("/c", revision)]


async def test_a_deletion_at_the_compacted_revision_is_not_forgotten(one: Etcd, stores: list[EtcdStore]) -> None:
    stores.append(store := await EtcdStore.open(EtcdConfig(endpoints(one), "/tombstone")))
    await store.txn([], [Put("/a", b"1")])
    deleted = (await store.txn([], [Delete("/a")])).revision
    await store.txn([], [Put("/b", b"1")])
    await store.compact(deleted)
    assert await store.compacted() == deleted
    watch = await store.watch(*ALL, from_revision=deleted)
    async with asyncio.timeout(10):
        batch = await watch.__anext__()
    assert [(e.type, e.key) for e in batch.events] == [("DELETE", "/a")]


async def test_writes_of_others_do_not_hold_up_who_waits_for_the_newest_revision(
    one: Etcd, stores: list[EtcdStore]
) -> None:
    stores.append(store := await EtcdStore.open(EtcdConfig(endpoints(one), "/mine")))
    stores.append(others := await EtcdStore.open(EtcdConfig(endpoints(one), "/theirs")))
    watch = await store.watch(*ALL)
    await others.txn([], [Put("/x", b"")])
    revision = await store.revision()
    async with asyncio.timeout(5):
        while (batch := await watch.__anext__()).revision < revision:
            pass
    assert batch.events == []


async def test_who_asks_for_the_revision_shares_only_requests_that_start_later(
    one: Etcd, stores: list[EtcdStore]
) -> None:
    stores.append(store := await EtcdStore.open(EtcdConfig(endpoints(one), "/shared")))
    stores.append(other := await EtcdStore.open(EtcdConfig(endpoints(one), "/shared")))
    stop = False

    async def ask() -> None:
        while not stop:
            await store.revision()

    askers = [asyncio.ensure_future(ask()) for _ in range(20)]
    for i in range(200):
        written = (await other.txn([], [Put("/n", str(i).encode())])).revision
        assert await store.revision() >= written
    stop = True
    await asyncio.gather(*askers)


# --- getting in


def post(member_url: str, path: str, body: dict[str, Any], token: str = "") -> dict[str, Any]:
    """A call of etcd's JSON gateway."""
    request = urllib.request.Request(
        member_url + path, json.dumps(body).encode(), {"Authorization": token} if token else {}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return dict(json.loads(answer.read()))


async def test_user_and_password(tmp_path: Path, stores: list[EtcdStore]) -> None:
    with Etcd(tmp_path) as cluster:
        url = f"http://{cluster.addresses}"
        for name in ("root", "p8s"):
            post(url, "/v3/auth/user/add", {"name": name, "password": f"{name}-secret"})
        post(url, "/v3/auth/role/add", {"name": "p8s"})
        # "/k8s" to "/k8t" in base64.
        permission = {"permType": 2, "key": "L2s4cw==", "range_end": "L2s4dA=="}
        post(url, "/v3/auth/role/grant", {"name": "p8s", "perm": permission})
        post(url, "/v3/auth/role/add", {"name": "root"})
        post(url, "/v3/auth/user/grant", {"user": "root", "role": "root"})
        post(url, "/v3/auth/user/grant", {"user": "p8s", "role": "p8s"})
        post(url, "/v3/auth/enable", {})
        hosts = endpoints(cluster)
        with pytest.raises(StoreError, match="user name is empty"):
            await EtcdStore.open(EtcdConfig(hosts, "/k8s"))
        with pytest.raises(StoreError, match="authentication failed"):
            await EtcdStore.open(EtcdConfig(hosts, "/k8s", None, "p8s", "wrong"))
        with pytest.raises(StoreError, match="permission denied"):
            await EtcdStore.open(EtcdConfig(hosts, "/elsewhere", None, "p8s", "p8s-secret"))
        stores.append(store := await EtcdStore.open(EtcdConfig(hosts, "/k8s", None, "p8s", "p8s-secret")))
        watch = await store.watch(*ALL)
        assert (await store.txn([Compare("/a", 0)], [Put("/a", b"1")])).succeeded
        # Tokens do not survive a restart: new ones are fetched, also for the watch.
        member = cluster.members[0]
        await asyncio.to_thread(member.stop)
        member.start()
        await asyncio.to_thread(cluster.wait_healthy)

        async def write() -> bool:
            try:
                return (await store.txn([], [Put("/b", b"1")])).succeeded
            except StoreUnavailable:
                return False

        async with asyncio.timeout(20):
            while not await write():
                pass
            keys: list[str] = []
            while "/b" not in keys:
                keys += [e.key for e in (await watch.__anext__()).events]
        assert keys[0] == "/a"
        assert await store.compacted() == 0


async def test_tls(tmp_path: Path, stores: list[EtcdStore]) -> None:
    pki, strange = ClusterPKI.ensure(tmp_path / "pki"), ClusterPKI.ensure(tmp_path / "strange")
    serving = pki.issue_serving("etcd", ["127.0.0.1", "localhost"])
    client = pki.issue_client("p8s")
    (tmp_path / "etcd.crt").write_bytes(serving.certificate_pem)
    (tmp_path / "etcd.key").write_bytes(serving.key_pem)
    options = (
        f"--cert-file={tmp_path / 'etcd.crt'}",
        f"--key-file={tmp_path / 'etcd.key'}",
        f"--trusted-ca-file={pki.ca_path}",
        "--client-cert-auth",
    )
    with Etcd(tmp_path / "data", client_options=options, scheme="https") as cluster:
        hosts = endpoints(cluster)
        tls = EtcdTLS(pki.ca_pem, client.certificate_pem, client.key_pem)
        stores.append(store := await EtcdStore.open(EtcdConfig(hosts, "/x", tls)))
        assert (await store.txn([Compare("/a", 0)], [Put("/a", b"1")])).succeeded
        assert [kv.value for kv in (await store.range(*ALL)).items] == [b"1"]
        refused: dict[str, EtcdConfig] = {
            "without a client certificate": EtcdConfig(hosts, "/x", EtcdTLS(pki.ca_pem)),
            "another CA": EtcdConfig(hosts, "/x", EtcdTLS(strange.ca_pem, client.certificate_pem, client.key_pem)),
            "no TLS": EtcdConfig(hosts, "/x"),
        }

        async def open_refused(config: EtcdConfig) -> None:
            with pytest.raises(StoreUnavailable, match="etcd cannot be reached"):
                await EtcdStore.open(config, patience_seconds=1.0)

        await asyncio.gather(*(open_refused(config) for config in refused.values()))


async def test_an_etcd_that_has_gone_back_is_refused(tmp_path: Path, stores: list[EtcdStore]) -> None:
    with Etcd(tmp_path) as cluster:
        stores.append(store := await EtcdStore.open(EtcdConfig(endpoints(cluster))))
        for i in range(20):
            await store.txn([], [Put(f"/{i}", b"")])
        member = cluster.members[0]
        await asyncio.to_thread(member.stop)
        shutil.rmtree(tmp_path / member.name)
        member.start()
        await asyncio.to_thread(cluster.wait_healthy)
        with pytest.raises(StoreError, match="gone back"):
            await store.revision()
        assert "restart" in store.fault()
