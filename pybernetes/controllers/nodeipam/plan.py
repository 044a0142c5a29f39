"""Which part of the cluster's range each node has. Pure but for its own bookkeeping: no I/O, no clock."""

from __future__ import annotations

import ipaddress

from pybernetes.api.meta import Object, name_of


def pod_cidrs(node: Object) -> list[str]:
    spec = node.get("spec") or {}
    cidrs = spec.get("podCIDRs")
    return list(cidrs) if cidrs else ([spec["podCIDR"]] if spec.get("podCIDR") else [])


class CIDRAllocator:
    """Subnets of one size of one range, each held by at most one node.

    Looks for a free subnet from where the last one was found, so that a range just given back is not at once
    another node's. O(1) but for a nearly full range.
    """

    def __init__(self, cluster_cidr: str, node_mask_bits: int) -> None:
        self._range = ipaddress.IPv4Network(cluster_cidr)
        if not self._range.prefixlen <= node_mask_bits <= 30:
            raise ValueError(f"a /{node_mask_bits} a node does not fit into {cluster_cidr}")
        self._bits = node_mask_bits
        self.capacity = 1 << (node_mask_bits - self._range.prefixlen)
        self._holder: dict[int, str] = {}
        self._held: dict[str, set[int]] = {}
        self._next = 0

    def _covered(self, cidr: str) -> range:
        """The indexes of the subnets that a CIDR touches; empty for one outside the range."""
        network = ipaddress.ip_network(cidr, strict=False)
        if not isinstance(network, ipaddress.IPv4Network) or not network.overlaps(self._range):
            return range(0)
        size = 1 << (32 - self._bits)
        base = int(self._range.network_address)
        first = max(0, (int(network.network_address) - base) // size)
        last = min(self.capacity - 1, (int(network.broadcast_address) - base) // size)
        return range(first, last + 1)

    def occupy(self, node: Object) -> None:
        """Notes what a node has. Idempotent."""
        name = name_of(node)
        for cidr in pod_cidrs(node):
            for index in self._covered(cidr):
                self._holder[index] = name
                self._held.setdefault(name, set()).add(index)

    def release(self, name: str) -> None:
        """Takes back what the node has."""
        for index in self._held.pop(name, ()):
            if self._holder.get(index) == name:
                del self._holder[index]

    def allocate(self, name: str) -> str | None:
        """A subnet for the node, None where the range is used up."""
        if len(self._holder) >= self.capacity:
            return None
        index = self._next
        while index in self._holder:
            index = (index + 1) % self.capacity
        self._next = (index + 1) % self.capacity
        self._holder[index] = name
        self._held.setdefault(name, set()).add(index)
        size = 1 << (32 - self._bits)
        return f"{self._range.network_address + index * size}/{self._bits}"
