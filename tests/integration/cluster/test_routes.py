"""Routes in a real namespace follow the Node objects."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess

from pybernetes.api.resources import NODES
from pybernetes.client.informer import Informer
from pybernetes.cluster import netns, network
from pybernetes.cluster.layout import ClusterSpec, Layout
from pybernetes.cluster.netns import Namespace
from pybernetes.cluster.routes import PROTOCOL, NodeRoutes
from tests.integration.cluster.feed import Feed
from tests.support.waiting import until
from tests.unit.cluster.test_routes import node


async def routes_become(layout: Layout, expected: dict[str, str]) -> None:
    command = [
        "nsenter",
        f"--net={netns.path_of(layout.cluster_namespace)}",
        "ip",
        "route",
        "show",
        "proto",
        str(PROTOCOL),
    ]

    def routes() -> dict[str, str]:
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return {line.split()[0]: line.split()[2] for line in output.splitlines()}

    await until(lambda: routes() == expected)


async def test_routes_follow_the_nodes(layout: Layout) -> None:
    network.create_cluster_network(layout, ClusterSpec(layout.name, isolated=True))
    namespace = Namespace(layout.cluster_namespace)
    before = subprocess.run(["ip", "route"], capture_output=True, text=True, check=True).stdout
    feed = Feed()
    feed.put(NODES, node("node1", "172.30.0.2", "10.244.0.0/24"))
    try:
        for _ in range(2):  # The second run finds the first one's routes.
            informer = Informer(feed, NODES)  # type: ignore[arg-type]
            tasks = [asyncio.create_task(c) for c in (informer.run(), NodeRoutes(informer, namespace=namespace).run())]
            await routes_become(layout, {"10.244.0.0/24": "172.30.0.2"})
            feed.put(NODES, node("node2", "172.30.0.3", "10.244.1.0/24"))
            await routes_become(layout, {"10.244.0.0/24": "172.30.0.2", "10.244.1.0/24": "172.30.0.3"})
            feed.put(NODES, node("node2", "172.30.0.4", "10.244.1.0/24"))
            await routes_become(layout, {"10.244.0.0/24": "172.30.0.2", "10.244.1.0/24": "172.30.0.4"})
            feed.remove(NODES, "node2")
            await routes_become(layout, {"10.244.0.0/24": "172.30.0.2"})
            for task in tasks:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
    finally:
        namespace.close()
    assert subprocess.run(["ip", "route"], capture_output=True, text=True, check=True).stdout == before


async def test_a_gateway_out_of_reach_is_tried_again(layout: Layout) -> None:
    network.create_cluster_network(layout, ClusterSpec(layout.name, isolated=True))
    namespace = Namespace(layout.cluster_namespace)
    feed = Feed()
    feed.put(NODES, node("node1", "203.0.113.1", "10.244.0.0/24"))
    feed.put(NODES, node("node2", "172.30.0.3", "10.244.1.0/24"))
    informer = Informer(feed, NODES)  # type: ignore[arg-type]
    tasks = [asyncio.create_task(c) for c in (informer.run(), NodeRoutes(informer, namespace=namespace).run())]
    try:
        await routes_become(layout, {"10.244.1.0/24": "172.30.0.3"})
        feed.put(NODES, node("node1", "172.30.0.2", "10.244.0.0/24"))
        await routes_become(layout, {"10.244.0.0/24": "172.30.0.2", "10.244.1.0/24": "172.30.0.3"})
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        namespace.close()
