"""The DNS server on real sockets, fed by informers; busybox as a resolver of its own make."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from dnslib import EDNS0, QTYPE, RCODE, RR, A, DNSRecord
from dnslib.server import DNSServer as UpstreamServer

from pybernetes.api.resources import ENDPOINTSLICES, NAMESPACES, SERVICES
from pybernetes.client.informer import Informers
from pybernetes.dns.forward import Forwarder, Unanswered, upstreams_of
from pybernetes.dns.server import AnswerCache, DNSServer
from tests.support.waiting import until
from tests.support.watchable import Watchable

IP, PORT = "127.0.53.10", 5353
WEB = "web.default.svc.cluster.local"


def web(ip: str = "10.96.0.7", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"clusterIP": ip, "clusterIPs": [ip], "ports": [{"port": 80, "name": "http"}], **spec},
    }


def endpoints(*addresses: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
        "endpoints": [{"addresses": [a], "conditions": {"ready": True}} for a in addresses],
    }


class Upstream:
    """A name server of the outside world: knows example.org."""

    def __init__(self) -> None:
        self.server = UpstreamServer(self, address="127.0.53.1", port=5353)
        self.tcp = UpstreamServer(self, address="127.0.53.1", port=5353, tcp=True)
        self.server.start_thread()
        self.tcp.start_thread()

    def resolve(self, request: Any, handler: Any) -> Any:
        reply = request.reply()
        if str(request.q.qname) == "example.org.":
            reply.add_answer(RR("example.org", QTYPE.A, rdata=A("192.0.2.80"), ttl=600))
        else:
            reply.header.rcode = RCODE.NXDOMAIN
        return reply

    def stop(self) -> None:
        for server in (self.server, self.tcp):
            server.stop()
            server.server.server_close()


@pytest.fixture
def api() -> Watchable:
    made = Watchable()
    made.put(NAMESPACES, {"metadata": {"name": "default"}})
    return made


async def serving(api: Watchable, **options: Any) -> AsyncIterator[DNSServer]:
    informers = Informers(api)  # type: ignore[arg-type]
    server = DNSServer(informers, [(IP, PORT)], **options)
    informers.start()
    running = asyncio.create_task(server.run())
    async with asyncio.timeout(10):
        await server.ready()
    yield server
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await informers.stop()


@pytest.fixture
async def server(api: Watchable) -> AsyncIterator[DNSServer]:
    async for made in serving(api):
        yield made


@pytest.fixture
async def forwarding(api: Watchable) -> AsyncIterator[DNSServer]:
    upstream = Upstream()
    async for made in serving(api, upstreams=[("127.0.53.1", 5353)]):
        yield made
    upstream.stop()


async def ask(name: str, kind: str = "A", *, tcp: bool = False, edns: int = 0) -> Any:
    message = DNSRecord.question(name, kind)
    if edns:
        message.add_ar(EDNS0(udp_len=edns))
    data = await asyncio.to_thread(lambda: message.send(IP, PORT, tcp=tcp, timeout=10))
    reply = DNSRecord.parse(data)
    assert reply.header.id == message.header.id
    return reply


def values(reply: Any) -> list[str]:
    return [str(r.rdata) for r in reply.rr]


async def answers_become(name: str, expected: list[str]) -> None:
    async def look() -> bool:
        return sorted(values(await ask(name))) == expected

    await until(look, message=f"{name} is {expected}")


async def test_answers_follow_the_objects(api: Watchable, server: DNSServer) -> None:
    reply = await ask(WEB)
    assert (reply.header.rcode, len(reply.auth)) == (RCODE.NXDOMAIN, 1)
    # The refusal was remembered, and is forgotten with the change.
    api.put(SERVICES, web())
    await answers_become(WEB, ["10.96.0.7"])
    before = server.statistics.cached
    assert values(await ask(WEB)) == ["10.96.0.7"]
    assert server.statistics.cached > before
    assert values(await ask(WEB, tcp=True)) == ["10.96.0.7"]
    assert values(await ask(f"_http._tcp.{WEB}", "SRV")) == [f"0 100 80 {WEB}."]
    assert values(await ask("7.0.96.10.in-addr.arpa", "PTR")) == [f"{WEB}."]
    api.put(SERVICES, web("10.96.0.8"))
    await answers_become(WEB, ["10.96.0.8"])
    api.remove(SERVICES, "default", "web")
    await answers_become(WEB, [])


async def test_a_headless_service_spreads(api: Watchable, server: DNSServer) -> None:
    addresses = ["10.244.0.5", "10.244.0.6", "10.244.0.7"]
    api.put(SERVICES, web("None"))
    api.put(ENDPOINTSLICES, endpoints(*addresses))
    await answers_become(WEB, addresses)
    firsts = [values(await ask(WEB))[0] for _ in range(6)]
    assert sorted(firsts) == sorted(addresses * 2)


async def test_large_answers_are_cut_and_whole_by_tcp(api: Watchable, server: DNSServer) -> None:
    addresses = sorted(f"10.244.1.{n}" for n in range(100))
    api.put(SERVICES, web("None"))
    api.put(ENDPOINTSLICES, endpoints(*addresses))

    async def look() -> Any:
        reply = await ask(WEB)
        return reply if reply.rr else None

    reply = await until(look)
    assert reply.header.tc == 1
    assert 0 < len(reply.rr) < 100
    more = await ask(WEB, edns=1232)
    assert len(more.rr) > len(reply.rr)
    assert sorted(values(await ask(WEB, tcp=True))) == addresses


async def test_isolated_other_names_are_refused_at_once(server: DNSServer) -> None:
    for name, kind in (("example.org", "A"), ("1.1.1.1.in-addr.arpa", "PTR")):
        reply = await ask(name, kind)
        assert reply.header.rcode == RCODE.REFUSED


async def test_other_names_are_forwarded(api: Watchable, forwarding: DNSServer) -> None:
    for tcp in (False, True):
        reply = await ask("example.org", tcp=tcp)
        assert values(reply) == ["192.0.2.80"]
        assert reply.rr[0].ttl == 600
    assert (await ask("nowhere.example")).header.rcode == RCODE.NXDOMAIN
    # An alias is followed.
    api.put(SERVICES, web(type="ExternalName", externalName="example.org"))
    await answers_become(WEB, ["192.0.2.80", "example.org."])


async def test_an_upstream_that_is_not_there_costs_bounded_time() -> None:
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind(("127.0.53.2", 0))
    with silent:
        forwarder = Forwarder([silent.getsockname()], attempt_seconds=0.05, limit=1)
        query = bytes(DNSRecord.question("example.org").pack())
        asking = asyncio.create_task(forwarder.ask(query, datagram=True))
        await asyncio.sleep(0)
        with pytest.raises(Unanswered, match="too many"):
            await forwarder.ask(query, datagram=True)
        with pytest.raises(Unanswered, match="no server"):
            await asking
        assert forwarder.under_way == 0


async def test_an_ordinary_resolver_is_content(api: Watchable, server: DNSServer) -> None:
    api.put(SERVICES, web())
    await answers_become(WEB, ["10.96.0.7"])
    found = await asyncio.to_thread(
        subprocess.run,
        ["busybox", "nslookup", WEB, f"{IP}:{PORT}"], capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert "Address: 10.96.0.7" in found.stdout, found
    assert "can't" not in found.stdout


def test_upstreams_are_read_from_resolv_conf(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text(
        "# x\nsearch a\nnameserver 192.0.2.1\nnameserver bad\nnameserver 10.96.0.10\nnameserver fe80::1%eth0\n"
    )
    assert upstreams_of(path, own_addresses=["10.96.0.10"]) == [("192.0.2.1", 53), ("fe80::1", 53)]
    assert upstreams_of(tmp_path / "absent") == []


def test_the_cache_is_bounded() -> None:
    cache = AnswerCache(limit=2)
    for query in (b"a", b"b"):
        cache.put(query, [query.upper()], "ns/web")
    assert cache.get(b"a") == b"A"
    cache.put(b"c", [b"C"], "ns/other")
    assert cache.get(b"b") is None
    cache.forget("ns/web")
    assert (cache.get(b"a"), cache.get(b"c"), len(cache)) == (None, b"C", 1)
    cache.forget("ns/absent")
