"""NodePorts on the host's loopback, relayed into a real namespace."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from pybernetes.api.resources import NODES, SERVICES
from pybernetes.client.events import EventRecorder
from pybernetes.client.informer import Informers
from pybernetes.cluster import network
from pybernetes.cluster.layout import ClusterSpec, Layout
from pybernetes.cluster.netns import Namespace
from pybernetes.cluster.nodeports import NodePortPublisher, node_addresses, node_ports
from tests.integration.cluster.feed import Feed
from tests.support.ports import free_port
from tests.support.waiting import until


def node(name: str, address: str, *, ready: bool = True) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": "True" if ready else "Unknown"}]
    addresses = [{"type": "InternalIP", "address": address}]
    return {"metadata": {"name": name}, "status": {"conditions": conditions, "addresses": addresses}}


def service(name: str, *ports: int, kind: str = "NodePort") -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "default", "uid": name},
        "spec": {"type": kind, "ports": [{"port": 80, "protocol": "TCP", "nodePort": p} for p in ports]},
    }


@asynccontextmanager
async def publishing(layout: Layout, feed: Feed) -> AsyncIterator[NodePortPublisher]:
    namespace = Namespace(layout.cluster_namespace)
    informers = Informers(feed)  # type: ignore[arg-type]
    recorder = EventRecorder(feed, "p8s-server")  # type: ignore[arg-type]
    publisher = NodePortPublisher(informers.for_(SERVICES), informers.for_(NODES), namespace, recorder)
    informers.start()
    await informers.synced()
    tasks = [asyncio.create_task(publisher.run()), asyncio.create_task(recorder.run())]
    try:
        yield publisher
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await informers.stop()
        namespace.close()
        assert publisher.ports == []


async def listen_on_node(layout: Layout, name: str, address: str, port: int, handler: Any) -> asyncio.Server:
    inside = Namespace(layout.node_namespace(name))
    try:
        return await asyncio.start_server(handler, sock=inside.listen(address, port))
    finally:
        inside.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write(b"<end>")
    writer.close()


async def exchange(port: int, payload: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def send() -> None:
        writer.write(payload)
        await writer.drain()
        writer.write_eof()

    sending = asyncio.create_task(send())
    async with asyncio.timeout(20):
        answer = await reader.read(-1)
    await sending
    writer.close()
    return answer


async def test_bytes_go_both_ways_and_an_end_is_an_end(layout: Layout) -> None:
    network.create_cluster_network(layout, ClusterSpec(layout.name, isolated=True))
    feed, port = Feed(), free_port()
    feed.put(NODES, node("node1", "172.30.0.2"))
    feed.put(SERVICES, service("web", port))
    async with publishing(layout, feed) as publisher:
        await until(lambda: publisher.ports == [port])
        async with await listen_on_node(layout, "node1", "172.30.0.2", port, echo):
            # More than any buffer on the way, so that each side must wait for the other.
            payload = bytes(range(256)) * 4096 * 8
            assert await exchange(port, payload) == payload + b"<end>"
            answers = await asyncio.gather(*(exchange(port, str(i).encode()) for i in range(100)))
            assert answers == [f"{i}<end>".encode() for i in range(100)]
            await until(lambda: publisher.statistics()["connections"] == 0)


async def test_ports_come_and_go_with_their_services(layout: Layout) -> None:
    network.create_cluster_network(layout, ClusterSpec(layout.name, isolated=True))
    feed, first, second = Feed(), free_port(), free_port()
    async with publishing(layout, feed) as publisher:
        feed.put(SERVICES, service("web", first))
        await until(lambda: publisher.ports == [first])
        feed.put(SERVICES, service("web", second))
        await until(lambda: publisher.ports == [second])
        feed.put(SERVICES, service("web", second, kind="ClusterIP"))
        await until(lambda: publisher.ports == [])
        feed.put(SERVICES, service("web", first, second))
        await until(lambda: publisher.ports == sorted([first, second]))
        feed.remove(SERVICES, "default/web")
        await until(lambda: publisher.ports == [])


async def test_nobody_inside_is_a_reset_and_another_node_takes_over(layout: Layout) -> None:
    network.create_cluster_network(layout, ClusterSpec(layout.name, nodes=2, isolated=True))
    feed, port = Feed(), free_port()
    feed.put(NODES, node("node1", "172.30.0.2"))
    feed.put(NODES, node("node2", "172.30.0.3"))
    feed.put(SERVICES, service("web", port))
    async with publishing(layout, feed) as publisher:
        await until(lambda: publisher.ports == [port])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()
        async with await listen_on_node(layout, "node2", "172.30.0.3", port, echo):
            assert await exchange(port, b"hello") == b"hello<end>"


async def test_a_taken_port_is_an_event_and_no_fault_of_the_others(layout: Layout) -> None:
    network.create_cluster_network(layout, ClusterSpec(layout.name, isolated=True))
    feed, port = Feed(), free_port()
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = holder.getsockname()[1]
        async with publishing(layout, feed) as publisher:
            feed.put(SERVICES, service("a", taken))
            feed.put(SERVICES, service("b", port))
            await until(lambda: publisher.ports == [port] and len(feed.created) == 1)
            event = feed.created[0]
            assert (event["type"], event["reason"]) == ("Warning", "NodePortNotPublished")
            assert event["involvedObject"]["name"] == "a" and str(taken) in event["message"]
            holder.close()
            await until(lambda: publisher.ports == sorted([port, taken]))
            assert len(feed.created) == 1


def test_which_ports_and_which_nodes() -> None:
    assert node_ports(service("a", 30000, 30001)) == [30000, 30001]
    assert node_ports(service("a", 30000, kind="ClusterIP")) == []
    udp = service("a", 30000)
    udp["spec"]["ports"][0]["protocol"] = "UDP"
    assert node_ports(udp) == []
    found = node_addresses([node("b", "172.30.0.3"), node("c", "172.30.0.4", ready=False), node("a", "172.30.0.2")])
    assert found == ["172.30.0.2", "172.30.0.3", "172.30.0.4"]
    assert node_addresses([{"metadata": {"name": "x"}}]) == []
