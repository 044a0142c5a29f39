"""Routes to the pods of every node, kept true from the Node objects: ``podCIDR via the node's InternalIP``.

Each agent keeps those to the other nodes in its own namespace; the server of a local cluster keeps those to all nodes
in the cluster's namespace, so that it reaches pods and webhooks. Needs nodes on one link. Only routes that carry this
component's protocol number are touched; they stay when it ends, so that an agent's restart interrupts nothing.

Lifecycle: `run` until cancelled. One event loop owns it; netlink calls run in a thread of their own.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import structlog
from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from pybernetes.api.meta import Object
from pybernetes.client.informer import Informer
from pybernetes.cluster.netns import Namespace, NamespaceThread
from pybernetes.lib.workqueue import WorkQueue, run_workers

PROTOCOL = 112
"""Marks our routes (``proto 112`` in ``ip route``); free in the kernel's list of routing protocols."""

log = structlog.get_logger(__name__)


class RouteError(Exception):
    """The kernel refused routes, such as one over a gateway that is not on a link; they are tried again."""


@dataclass(frozen=True, slots=True)
class RouteChanges:
    put: Mapping[str, str]
    """Network -> gateway, to be added or replaced."""
    delete: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.put or self.delete)


def desired_routes(nodes: Iterable[Object], own_node: str) -> dict[str, str]:
    """Network -> gateway for every pod range of every other node; a range goes to an address of its own family, and
    of two nodes that claim one range (which no allocator hands out) the first by name has it."""
    routes: dict[str, str] = {}
    for node in sorted(nodes, key=lambda n: str(n["metadata"]["name"])):
        if node["metadata"]["name"] == own_node:
            continue
        spec = node.get("spec") or {}
        ranges = spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else [])
        addresses = [
            ipaddress.ip_address(a["address"])
            for a in (node.get("status") or {}).get("addresses") or ()
            if a.get("type") == "InternalIP"
        ]
        for text in ranges:
            network = ipaddress.ip_network(text, strict=False)
            gateway = next((a for a in addresses if a.version == network.version), None)
            if gateway is not None:
                routes.setdefault(str(network), str(gateway))
    return routes


def plan(observed: Mapping[str, str], desired: Mapping[str, str]) -> RouteChanges:
    return RouteChanges(
        {network: gateway for network, gateway in desired.items() if observed.get(network) != gateway},
        tuple(network for network in observed if network not in desired),
    )


def read_routes() -> dict[str, str]:
    """Our routes in the calling thread's namespace."""
    found = {}
    with IPRoute() as netlink:
        for route in netlink.get_routes(proto=PROTOCOL):
            destination, gateway = route.get("dst"), route.get("gateway")
            if route["proto"] == PROTOCOL and destination and gateway:
                found[f"{destination}/{route['dst_len']}"] = str(gateway)
    return found


def apply(changes: RouteChanges) -> None:
    """Carries the changes out in the calling thread's namespace. One that the kernel refuses does not hold up the
    others; raises `RouteError` in the end."""
    refused = []
    with IPRoute() as netlink:
        for network in changes.delete:
            try:
                netlink.route("del", dst=network, proto=PROTOCOL)
            except NetlinkError as error:
                refused.append(f"{network}: {error}")
        for network, gateway in changes.put.items():
            try:
                netlink.route("replace", dst=network, gateway=gateway, proto=PROTOCOL)
            except NetlinkError as error:
                refused.append(f"{network} via {gateway}: {error}")
    if refused:
        raise RouteError("; ".join(refused))


class NodeRoutes:
    """Keeps the routes in `namespace` (None: the process's own) for what the informer of Nodes says. `own_node` is
    the node that needs no route to itself; empty for the server."""

    def __init__(self, nodes: Informer, *, namespace: Namespace | None = None, own_node: str = "") -> None:
        self._nodes = nodes
        self._namespace = namespace
        self._own_node = own_node
        self._queue: WorkQueue[str] = WorkQueue(base_delay_seconds=0.1, max_delay_seconds=30.0)
        self._observed: dict[str, str] | None = None

    async def run(self) -> None:
        """Works until cancelled. The informer is run by its owner."""
        self._nodes.add_handler(lambda _old, _new: self._queue.add("routes"))
        # A cluster without nodes says nothing, and leftovers go nevertheless.
        self._queue.add("routes")
        thread = NamespaceThread(self._namespace)
        try:
            await self._nodes.synced()
            await run_workers(self._queue, lambda _key: self._reconcile(thread), workers=1, name="routes")
        finally:
            self._queue.close()
            # Waits for a netlink call that is under way, which takes microseconds.
            thread.close()

    async def _reconcile(self, thread: NamespaceThread) -> None:
        if self._observed is None:
            self._observed = await asyncio.wrap_future(thread.submit(read_routes))
        desired = desired_routes(self._nodes.cache, self._own_node)
        changes = plan(self._observed, desired)
        if not changes:
            return
        # What the kernel has after a failure is known again only by looking.
        self._observed = None
        await asyncio.wrap_future(thread.submit(apply, changes))
        self._observed = desired
        log.info("routes changed", put=len(changes.put), deleted=len(changes.delete), total=len(desired))
