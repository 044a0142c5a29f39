"""Several servers, processes of their own, serve one cluster over a real etcd at the same time."""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, aclosing
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from pybernetes.api import errors
from pybernetes.api.meta import Object, name_of
from pybernetes.api.resources import (
    CONFIGMAPS,
    DEPLOYMENTS,
    ENDPOINTS,
    ENDPOINTSLICES,
    LEASES,
    NAMESPACES,
    REPLICASETS,
    ROLEBINDINGS,
    ROLES,
    SERVICEACCOUNTS,
    SERVICES,
)
from pybernetes.apiserver import masterleases
from pybernetes.client.https import HTTPSClient
from pybernetes.store.etcd.config import EtcdConfig
from pybernetes.store.etcd.store import EtcdStore
from pybernetes.store.interface import prefix_end
from tests.support import waiting
from tests.support.etcd import Etcd
from tests.support.servers import ServerProcess, Servers


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Two servers that were started at the same moment on an empty etcd."""
    directory = tmp_path_factory.mktemp("pair")
    with Etcd(directory / "etcd") as etcd, Servers(directory, f"etcd://{etcd.addresses}/one") as servers:
        servers.start(2)
        yield servers


@pytest.fixture(scope="module", autouse=True)
def without_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server whose etcd is not there. It tries for a while, during the other tests."""
    with Servers(tmp_path_factory.mktemp("without"), "etcd://127.0.0.1:1") as servers:
        server = servers.add()
        server.start()
        yield server


@pytest.fixture
async def clients(pair: Servers) -> AsyncIterator[list[HTTPSClient]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(server.client()) for server in pair.servers]


def config_map(name: str, **data: str) -> Object:
    return {"metadata": {"name": name, "namespace": "default"}, "data": data}


def service(name: str, **spec: Any) -> Object:
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {"ports": [{"port": 80}], **spec}}


ERRORS_OF_A_MOMENT = (errors.NotFound, errors.TransportError, errors.ServiceUnavailable, errors.GatewayTimeout)
until = partial(waiting.until, seconds=30.0, ignoring=ERRORS_OF_A_MOMENT)
"""The first truthy answer of an async look; the API's errors of a moment count as none."""


async def addresses(client: HTTPSClient) -> list[str]:
    found = await client.get(ENDPOINTSLICES, "kubernetes", "default")
    return sorted(a for e in found["endpoints"] or () for a in e["addresses"])


async def holder(client: HTTPSClient, name: str) -> str:
    lease = await client.get(LEASES, name, "kube-system")
    return str(lease["spec"].get("holderIdentity") or "")


async def test_a_write_is_seen_by_a_fresh_read_at_the_other(clients: list[HTTPSClient]) -> None:
    a, b = clients
    for i in range(50):
        writer, reader = (a, b) if i % 2 else (b, a)
        made = await writer.create(CONFIGMAPS, config_map(f"fresh-{i}", n=str(i)), "default")
        assert await reader.get(CONFIGMAPS, f"fresh-{i}", "default") == made
        listed = await reader.list(CONFIGMAPS, "default", field_selector=f"metadata.name=fresh-{i}")
        assert [name_of(o) for o in listed.items] == [f"fresh-{i}"]
        await reader.delete(CONFIGMAPS, f"fresh-{i}", "default")
        with pytest.raises(errors.NotFound):
            await writer.get(CONFIGMAPS, f"fresh-{i}", "default")


async def test_versions_and_continue_tokens_of_one_hold_at_the_other(clients: list[HTTPSClient]) -> None:
    a, b = clients
    for i in range(20):
        labels = {"round": str(i)}
        selector = f"round={i}"
        names = [f"page-{i}-{n}" for n in range(5)]
        for name in names:
            made = {**config_map(name), "metadata": {"name": name, "namespace": "default", "labels": labels}}
            made = await a.create(CONFIGMAPS, made, "default")
        page = await a.list(CONFIGMAPS, "default", label_selector=selector, limit=2)
        late = {**config_map(f"page-{i}-0a"), "metadata": {"name": f"page-{i}-0a", "labels": labels}}
        await a.create(CONFIGMAPS, late, "default")
        rest = await b.list(CONFIGMAPS, "default", label_selector=selector, limit=5, continue_token=page.continue_token)
        assert [name_of(o) for o in [*page.items, *rest.items]] == names, "of the first page's revision"
        # A watch at the other, from a version that it may not have reached yet, begins after it.
        version = made["metadata"]["resourceVersion"]
        stream = b.watch(CONFIGMAPS, "default", label_selector=selector, resource_version=version)
        async with aclosing(cast(Any, stream)) as events, asyncio.timeout(10):
            first = await anext(events)
        assert (first.type, name_of(first.object)) == ("ADDED", f"page-{i}-0a")


async def test_concurrent_updates_lose_nothing(clients: list[HTTPSClient]) -> None:
    await clients[0].create(CONFIGMAPS, config_map("counter", n="0"), "default")

    async def increment(client: HTTPSClient) -> None:
        while True:
            current = await client.get(CONFIGMAPS, "counter", "default")
            try:
                await client.update(CONFIGMAPS, {**current, "data": {"n": str(int(current["data"]["n"]) + 1)}})
            except errors.Conflict:
                continue
            return

    await asyncio.gather(*(increment(clients[i % 2]) for i in range(20)))
    for client in clients:
        assert (await client.get(CONFIGMAPS, "counter", "default"))["data"] == {"n": "20"}


async def test_services_get_different_addresses_and_ports(clients: list[HTTPSClient]) -> None:
    made = await asyncio.gather(
        *(clients[i % 2].create(SERVICES, service(f"np-{i}", type="NodePort"), "default") for i in range(40))
    )
    assert len({s["spec"]["clusterIP"] for s in made}) == 40
    assert len({s["spec"]["ports"][0]["nodePort"] for s in made}) == 40


async def test_an_address_asked_for_by_name_goes_to_one(clients: list[HTTPSClient]) -> None:
    for i in range(10):
        ip, port = f"10.96.1.{i + 1}", 30001 + i
        wanted = {"type": "NodePort", "clusterIP": ip, "ports": [{"port": 80, "nodePort": port}]}
        answers = await asyncio.gather(
            *(c.create(SERVICES, service(f"want-{i}-{n}", **wanted), "default") for n, c in enumerate(clients)),
            return_exceptions=True,
        )
        made = [a for a in answers if isinstance(a, dict)]
        refused = [a for a in answers if isinstance(a, errors.Invalid)]
        assert len(made) == 1 and len(refused) == 1, answers
        assert "provided IP is already allocated" in refused[0].message
        # Freed at one server, it is free at the other at once.
        await clients[0].delete(SERVICES, name_of(made[0]), "default")
        await clients[1].create(SERVICES, service(f"again-{i}", **wanted), "default")


async def test_tokens_and_rights_given_at_one_hold_at_the_other_and_end_there(
    pair: Servers, clients: list[HTTPSClient]
) -> None:
    a = clients[0]
    await a.create(SERVICEACCOUNTS, {"metadata": {"name": "robot", "namespace": "default"}}, "default")
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    answer = await a.create(SERVICEACCOUNTS, request, "default", name="robot", subresource="token")
    trust = ssl.create_default_context(cafile=str(pair.servers[1].directory / "pki" / "ca.crt"))
    async with HTTPSClient(pair.servers[1].url, trust, token=lambda: str(answer["status"]["token"])) as robot:
        # The other server knows at once who it is, and that it may not.
        with pytest.raises(errors.Forbidden, match="system:serviceaccount:default:robot"):
            await robot.get(CONFIGMAPS, "kube-root-ca.crt", "default")
        role = {
            "metadata": {"name": "reader", "namespace": "default"},
            "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}],
        }
        await a.create(ROLES, role, "default")
        binding = {
            "metadata": {"name": "reader", "namespace": "default"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
            "subjects": [{"kind": "ServiceAccount", "name": "robot", "namespace": "default"}],
        }
        await a.create(ROLEBINDINGS, binding, "default")

        async def outcome() -> str:
            try:
                await robot.get(CONFIGMAPS, "nothing", "default")
            except errors.ApiError as error:
                return type(error).__name__
            return ""

        async def turns(name: str) -> bool:
            return await outcome() == name

        await until(lambda: turns("NotFound"))
        await a.delete(ROLEBINDINGS, "reader", "default")
        await until(lambda: turns("Forbidden"))
        await a.delete(SERVICEACCOUNTS, "robot", "default")
        await until(lambda: turns("Unauthorized"))


async def test_what_one_has_acknowledged_the_other_may_use_at_once(pair: Servers, clients: list[HTTPSClient]) -> None:
    a, b = clients
    trust = ssl.create_default_context(cafile=str(pair.servers[1].directory / "pki" / "ca.crt"))
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    for i in range(20):
        name = f"quick-{i}"
        await a.create(NAMESPACES, {"metadata": {"name": name}})
        await b.create(SERVICEACCOUNTS, {"metadata": {"name": "robot", "namespace": name}}, name)
        answer = await a.create(SERVICEACCOUNTS, request, name, name="robot", subresource="token")
        token = str(answer["status"]["token"])
        async with HTTPSClient(pair.servers[i % 2].url, trust, token=lambda token=token: token) as robot:
            with pytest.raises(errors.Forbidden, match=f"system:serviceaccount:{name}:robot"):
                await robot.get(CONFIGMAPS, "nothing", "default")


async def test_the_kubernetes_service_has_all_servers(pair: Servers, clients: list[HTTPSClient]) -> None:
    expected = sorted(s.advertised for s in pair.servers)
    for client in clients:

        async def complete(client: HTTPSClient = client) -> bool:
            return await addresses(client) == expected

        await until(complete)
    endpoints = await clients[0].get(ENDPOINTS, "kubernetes", "default")
    assert [a["ip"] for a in endpoints["subsets"][0]["addresses"]] == expected


async def test_one_leads(clients: list[HTTPSClient]) -> None:
    for name in ("kube-controller-manager", "kube-scheduler"):

        async def held(name: str = name) -> str:
            return await holder(clients[0], name)

        await until(held)
        lease = await clients[1].get(LEASES, name, "kube-system")
        assert lease["spec"]["leaseDurationSeconds"] == 3
        assert {"acquireTime", "renewTime", "leaseTransitions"} <= lease["spec"].keys()


async def test_a_server_with_other_keys_is_refused(pair: Servers, tmp_path: Path) -> None:
    stranger = Servers(tmp_path, pair.datastore).add()
    stranger.start()
    assert stranger.process is not None
    code = await asyncio.to_thread(stranger.process.wait, 30)
    assert code == 1
    assert "belongs to a cluster with other keys" in stranger.log.read_text()


async def test_a_server_with_other_settings_is_refused(pair: Servers) -> None:
    with Servers(pair.directory, pair.datastore, (*pair.options, "--service-cidr=10.97.0.0/16")) as more:
        more.servers = list(pair.servers)
        odd = more.add()
        odd.start()
        assert odd.process is not None
        try:
            code = await asyncio.to_thread(odd.process.wait, 30)
        finally:
            odd.process.kill()
            more.servers = []
    assert code == 1
    assert "--service-cidr 10.96.0.0/16, this one with --service-cidr 10.97.0.0/16" in odd.log.read_text()


def deployment(name: str) -> Object:
    labels = {"app": name}
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "c:1"}]}},
        },
    }


async def replica_set_of(client: HTTPSClient, name: str) -> Object | None:
    found = await client.list(REPLICASETS, "default", label_selector=f"app={name}")
    return found.items[0] if found.items else None


def leader_of(servers: Servers, identity: str) -> ServerProcess:
    """The process that logged that it leads as this holder."""
    for server in servers.servers:
        if server.process is not None and identity and identity in server.log.read_text():
            return server
    raise AssertionError(f"nobody is {identity}")


async def test_killing_a_server_loses_nothing_and_moves_the_leader(tmp_path: Path) -> None:
    """Three servers; the one that leads is killed while all take writes."""
    with Etcd(tmp_path / "etcd") as etcd, Servers(tmp_path, f"etcd://{etcd.addresses}") as servers:
        await asyncio.to_thread(servers.start, 3)
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(s.client()) for s in servers.servers]
            identity = await until(lambda: holder(clients[0], "kube-controller-manager"))
            victim = leader_of(servers, identity)
            others = [c for c, s in zip(clients, servers.servers, strict=True) if s is not victim]
            acknowledged: list[str] = []
            stop = asyncio.Event()

            async def write(number: int, client: HTTPSClient) -> None:
                for i in range(100_000):
                    if stop.is_set():
                        return
                    name = f"w-{number}-{i}"
                    try:
                        await client.create(CONFIGMAPS, config_map(name), "default")
                    except errors.ApiError:
                        return
                    acknowledged.append(name)

            writers = [asyncio.create_task(write(n, c)) for n, c in enumerate(clients)]

            async def enough() -> bool:
                return len(acknowledged) > 100

            await until(enough)
            victim.send(signal.SIGKILL)
            await asyncio.to_thread(victim.stop)
            before = len(acknowledged)

            async def more() -> bool:
                return len(acknowledged) > before + 100

            await until(more)
            stop.set()
            await asyncio.gather(*writers)
            for client in others:
                present = {name_of(o) for o in (await client.list(CONFIGMAPS, "default")).items}
                assert set(acknowledged) <= present
            # Another controller manager goes on, and the dead server is no endpoint any more.
            await others[0].create(DEPLOYMENTS, deployment("after"), "default")
            await until(lambda: replica_set_of(others[1], "after"))
            assert await holder(others[0], "kube-controller-manager") not in ("", identity)
            expected = sorted(s.advertised for s in servers.servers if s is not victim)

            async def gone() -> bool:
                return await addresses(others[0]) == expected

            await until(gone)
            # It comes back, under a new identity, and is one of them again.
            victim.start()
            await asyncio.to_thread(victim.wait_ready)
            expected = sorted(s.advertised for s in servers.servers)
            await until(gone)
            # A server that stops in order gives its leases away: nobody waits for them to run out.
            identity = await until(lambda: holder(others[0], "kube-controller-manager"))
            leaving = leader_of(servers, identity)
            rest = next(c for c, s in zip(clients, servers.servers, strict=True) if s is not leaving)
            assert await asyncio.to_thread(leaving.stop) == 0
            assert await holder(rest, "kube-controller-manager") != identity
            store = await EtcdStore.open(EtcdConfig(tuple(m.address for m in etcd.members)))
            live = await store.range(masterleases.PREFIX, prefix_end(masterleases.PREFIX))
            await store.close()
            assert len(live.items) == 2 and not [kv for kv in live.items if kv.key.endswith(identity)]
            expected = sorted(s.advertised for s in servers.servers if s is not leaving)

            async def gone_there() -> bool:
                return await addresses(rest) == expected

            await until(gone_there)


async def test_a_paused_leader_writes_nothing_when_it_wakes(tmp_path: Path) -> None:
    with Etcd(tmp_path / "etcd") as etcd, Servers(tmp_path, f"etcd://{etcd.addresses}") as servers:
        await asyncio.to_thread(servers.start, 2)
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(s.client()) for s in servers.servers]
            identity = await until(lambda: holder(clients[0], "kube-controller-manager"))
            leader = leader_of(servers, identity)
            client = next(c for c, s in zip(clients, servers.servers, strict=True) if s is not leader)
            leader.send(signal.SIGSTOP)

            async def moved() -> bool:
                return await holder(client, "kube-controller-manager") not in ("", identity)

            await until(moved)
            leader.send(signal.SIGCONT)
            await client.create(DEPLOYMENTS, deployment("once"), "default")
            made = await until(lambda: replica_set_of(client, "once"))

            async def noticed() -> bool:
                return "leadership lost" in leader.log.read_text()

            await until(noticed)
            listed = (await client.list(REPLICASETS, "default", label_selector="app=once")).items
            assert [name_of(o) for o in listed] == [name_of(made)]
            # It goes on as a candidate, and leads again when its turn comes.
            other = next(s for s in servers.servers if s is not leader)
            assert await asyncio.to_thread(other.stop) == 0
            client = clients[leader.number]
            await client.create(DEPLOYMENTS, deployment("again"), "default")
            await until(lambda: replica_set_of(client, "again"))
            assert await holder(client, "kube-controller-manager") == identity


async def test_no_etcd_is_told_clearly(without_etcd: ServerProcess) -> None:
    assert without_etcd.process is not None
    code = await asyncio.to_thread(without_etcd.process.wait, 60)
    lines = [json.loads(line) for line in without_etcd.log.read_text().splitlines() if line.startswith("{")]
    assert code == 1
    assert any("etcd cannot be reached at 127.0.0.1:1" in line.get("error", "") for line in lines)
