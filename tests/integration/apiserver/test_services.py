"""Cluster IPs and node ports: given, claimed, kept, released, never twice."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pybernetes.api.resources import SERVICES as RESOURCE
from pybernetes.apiserver.pki import ClusterPKI
from pybernetes.store.interface import Compare, Operation, StoreError, TxnResult
from pybernetes.store.memory import MemoryStore
from tests.integration.apiserver.conftest import Server, running

SERVICES = "/api/v1/namespaces/default/services"


def service(name: str = "s", type_: str = "ClusterIP", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {"type": type_, "ports": [{"port": 80}], "selector": {"a": "b"}, **spec},
    }


async def test_a_service_gets_an_address(server: Server) -> None:
    made = await server.post(SERVICES, service())
    spec = made.json["spec"]
    assert ipaddress.ip_address(spec["clusterIP"]) in ipaddress.ip_network("10.96.0.0/16")
    assert spec["clusterIPs"] == [spec["clusterIP"]]
    assert spec["ipFamilies"] == ["IPv4"] and spec["ipFamilyPolicy"] == "SingleStack"
    assert made.json["status"] == {"loadBalancer": {}}
    kubernetes = (await server.get(f"{SERVICES}/kubernetes")).json
    assert kubernetes["spec"]["clusterIP"] == "10.96.0.1"


async def test_chosen_addresses_and_ports(server: Server) -> None:
    body = service("a", "NodePort", clusterIP="10.96.0.77", ports=[{"port": 80, "nodePort": 30080}])
    made = await server.post(SERVICES, body)
    assert made.status == 201 and made.json["spec"]["clusterIPs"] == ["10.96.0.77"]

    taken = await server.post(SERVICES, service("b", clusterIP="10.96.0.77"))
    assert taken.status == 422
    assert taken.json["message"] == (
        'Service "b" is invalid: spec.clusterIPs: Invalid value: ["10.96.0.77"]: failed to allocate IP 10.96.0.77: '
        "provided IP is already allocated"
    )
    outside = await server.post(SERVICES, service("b", clusterIP="10.97.0.1"))
    assert outside.status == 422
    assert "provided IP is not in the valid range. The range of valid IPs is 10.96.0.0/16" in outside.json["message"]
    port = await server.post(SERVICES, service("b", "NodePort", ports=[{"port": 80, "nodePort": 30080}]))
    assert port.status == 422
    assert port.json["message"] == (
        'Service "b" is invalid: spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated'
    )
    port = await server.post(SERVICES, service("b", "NodePort", ports=[{"port": 80, "nodePort": 80}]))
    assert "The range of valid ports is 30000-32767" in port.json["message"]
    # What failed holds nothing.
    free = service("b", "NodePort", clusterIP="10.96.0.78", ports=[{"port": 80, "nodePort": 30081}])
    assert (await server.post(SERVICES, free)).status == 201


async def test_headless_and_external(server: Server) -> None:
    headless = (await server.post(SERVICES, service("h", clusterIP="None"))).json["spec"]
    assert headless["clusterIPs"] == ["None"] and headless["ipFamilies"] == ["IPv4"]
    bare = (await server.post(SERVICES, {"metadata": {"name": "b"}, "spec": {"clusterIP": "None"}})).json["spec"]
    assert bare["ipFamilyPolicy"] == "RequireDualStack" and bare["ipFamilies"] == ["IPv4", "IPv6"]
    external = {"metadata": {"name": "e"}, "spec": {"type": "ExternalName", "externalName": "example.com"}}
    assert "clusterIP" not in (await server.post(SERVICES, external)).json["spec"]
    dual = await server.post(SERVICES, service("d", ipFamilyPolicy="RequireDualStack"))
    assert dual.status == 422 and "this cluster is not configured for dual-stack services" in dual.json["message"]


async def test_a_type_change_takes_and_gives_back(server: Server) -> None:
    made = (await server.post(SERVICES, service("s", "NodePort"))).json
    address, port = made["spec"]["clusterIP"], made["spec"]["ports"][0]["nodePort"]
    plain = (await server.patch(f"{SERVICES}/s", {"spec": {"type": "ClusterIP"}})).json["spec"]
    assert plain["clusterIP"] == address and "nodePort" not in plain["ports"][0]
    again = await server.post(SERVICES, service("t", "NodePort", ports=[{"port": 1, "nodePort": port}]))
    assert again.status == 201
    back = (await server.patch(f"{SERVICES}/s", {"spec": {"type": "NodePort"}})).json["spec"]
    assert back["ports"][0]["nodePort"] not in (0, port)
    external = {"spec": {"type": "ExternalName", "externalName": "x.example"}}
    gone = (await server.patch(f"{SERVICES}/s", external)).json["spec"]
    assert "clusterIP" not in gone
    assert (await server.post(SERVICES, service("u", clusterIP=address))).status == 201


async def test_replace_keeps_what_was_given(server: Server) -> None:
    made = (await server.post(SERVICES, service("s", "NodePort"))).json["spec"]
    # A port is the same as long as its name is, here none.
    body = service("s", "NodePort", ports=[{"port": 81}])
    after = (await server.put(f"{SERVICES}/s", body)).json["spec"]
    assert after["clusterIP"] == made["clusterIP"]
    assert after["ports"][0]["nodePort"] == made["ports"][0]["nodePort"]


async def test_deletion_gives_back(server: Server) -> None:
    body = service("s", "NodePort", clusterIP="10.96.0.99", ports=[{"port": 1, "nodePort": 30999}])
    for _ in range(3):
        assert (await server.post(SERVICES, body)).status == 201
        assert (await server.delete(f"{SERVICES}/s")).status == 200


async def test_two_protocols_of_one_port_share(server: Server) -> None:
    ports = [{"name": "t", "port": 53}, {"name": "u", "port": 53, "protocol": "UDP"}]
    given = (await server.post(SERVICES, service("dns", "NodePort", ports=ports))).json["spec"]["ports"]
    assert given[0]["nodePort"] == given[1]["nodePort"]


async def test_a_local_load_balancer_gets_a_health_check_port(server: Server) -> None:
    made = (await server.post(SERVICES, service("lb", "LoadBalancer", externalTrafficPolicy="Local"))).json["spec"]
    assert 30000 <= made["healthCheckNodePort"] <= 32767
    assert made["healthCheckNodePort"] != made["ports"][0]["nodePort"]


async def test_many_at_once_get_their_own(server: Server) -> None:
    answers = await asyncio.gather(*(server.post(SERVICES, service(f"s{i}", "NodePort")) for i in range(100)))
    assert {a.status for a in answers} == {201}
    assert len({a.json["spec"]["clusterIP"] for a in answers}) == 100
    assert len({a.json["spec"]["ports"][0]["nodePort"] for a in answers}) == 100


async def test_one_address_asked_for_by_many(server: Server) -> None:
    answers = await asyncio.gather(*(server.post(SERVICES, service(f"s{i}", clusterIP="10.96.3.3")) for i in range(20)))
    assert sorted(a.status for a in answers) == [201] + [422] * 19


async def test_a_small_range_runs_full_and_recovers(pki: ClusterPKI, tmp_path: Path) -> None:
    async with running(pki, tmp_path, node_ports=(31000, 31002)) as server:
        for i in range(3):
            assert (await server.post(SERVICES, service(f"s{i}", "NodePort"))).status == 201
        full = await server.post(SERVICES, service("s3", "NodePort"))
        assert full.status == 500 and "range is full" in full.json["message"]
        await server.delete(f"{SERVICES}/s1")
        assert (await server.post(SERVICES, service("s3", "NodePort"))).status == 201


async def test_a_new_server_knows_what_is_given(server: Server, pki: ClusterPKI, tmp_path: Path) -> None:
    made = (await server.post(SERVICES, service("s", "NodePort"))).json["spec"]
    await server.api.stop()
    (tmp_path / "second").mkdir()
    async with running(pki, tmp_path / "second", server.store) as second:
        claim = service("t", clusterIP=made["clusterIP"])
        assert (await second.post(SERVICES, claim)).status == 422
        claim = service("t", "NodePort", ports=[{"port": 1, "nodePort": made["ports"][0]["nodePort"]}])
        assert (await second.post(SERVICES, claim)).status == 422


async def test_dry_runs_hold_nothing(server: Server) -> None:
    body = service("s", "NodePort", clusterIP="10.96.0.50", ports=[{"port": 1, "nodePort": 30500}])
    for _ in range(2):
        assert (await server.post(SERVICES, body, dryRun="All")).status == 201
    assert (await server.post(SERVICES, body)).status == 201


class LateStore(MemoryStore):
    """Writes of services wait at a gate. As in SQLite's queue, a write that nobody waits for any more happens all the
    same."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = asyncio.Event()
        self.silent = False

    async def txn(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> TxnResult:
        if not any(op.key.startswith("/registry/core/services/") for op in operations):
            return await super().txn(compares, operations)

        self.asked.set()

        async def late() -> TxnResult:
            await self.gate.wait()
            return await MemoryStore.txn(self, compares, operations)

        return await asyncio.shield(asyncio.create_task(late()))

    async def revision(self) -> int:
        if self.silent:
            raise StoreError("no answer")
        return await super().revision()


async def shown(server: Server, name: str) -> None:
    """Waits until there is a service of that name."""
    async with asyncio.timeout(20):
        async for event in server.admin.watch(RESOURCE, "default"):
            if event.object["metadata"]["name"] == name:
                return


async def test_an_address_is_held_until_the_outcome_of_its_write_is_known(pki: ClusterPKI, tmp_path: Path) -> None:
    store = LateStore()
    async with running(pki, tmp_path, store) as server:

        async def claim(name: str, address: str) -> int:
            return (await server.post(SERVICES, service(name, clusterIP=address), timeout="150ms")).status

        store.gate.clear()
        assert await claim("a", "10.96.0.77") == 504
        assert await claim("b", "10.96.0.77") == 422, "it may still be written"
        # Of two with one name, the one that comes first to the store is written.
        assert [await claim("c", "10.96.0.78"), await claim("c", "10.96.0.79")] == [504, 504]
        store.gate.set()
        await shown(server, "c")
        assert (await server.get(f"{SERVICES}/a")).json["spec"]["clusterIP"] == "10.96.0.77"
        assert [await claim("d", f"10.96.0.{n}") for n in (77, 78, 79)] == [422, 422, 201]
        for name in "ac":
            await server.delete(f"{SERVICES}/{name}")
        assert [await claim(f"e{n}", f"10.96.0.{n}") for n in (77, 78)] == [201, 201]


async def test_what_was_written_is_told_though_the_store_answers_nothing_more(pki: ClusterPKI, tmp_path: Path) -> None:
    store = LateStore()
    async with running(pki, tmp_path, store) as server:
        store.asked.clear()
        store.gate.clear()
        written = asyncio.create_task(server.post(SERVICES, service("a", clusterIP="10.96.0.77")))
        async with asyncio.timeout(20):
            await store.asked.wait()
        store.silent = True
        store.gate.set()
        assert (await written).status == 201
        store.silent = False
        assert (await server.post(SERVICES, service("b", clusterIP="10.96.0.77"))).status == 422
