"""Gives every node without one its pod range, and takes it back when the node is gone.

One worker: allocation is a decision about the whole range. A node's range, once written, never changes.
"""

from __future__ import annotations

from pybernetes.api import errors
from pybernetes.api.meta import Object, is_deleting, name_of, object_reference
from pybernetes.api.resources import NODES
from pybernetes.client.events import NORMAL
from pybernetes.client.interface import MERGE_PATCH
from pybernetes.controllers.controller import Context, QueueController
from pybernetes.controllers.nodeipam.plan import CIDRAllocator, pod_cidrs


class NodeIPAMController(QueueController):
    name = "nodeipam"
    workers = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._nodes = self.watch(NODES)
        self._allocator = CIDRAllocator(context.config.cluster_cidr, context.config.node_cidr_mask_size)
        if context.config.allocate_node_cidrs:
            self._nodes.add_handler(self._on_node)

    def _on_node(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            assert old is not None
            self._allocator.release(name_of(old))
            # Room for whoever waits for some.
            for node in self._nodes.cache:
                if not pod_cidrs(node):
                    self.queue.add(name_of(node))
        elif pod_cidrs(new):
            self._allocator.occupy(new)
        else:
            self.queue.add(name_of(new))

    async def reconcile(self, key: str) -> None:
        node = self._nodes.cache.get(key)
        if node is None or pod_cidrs(node) or is_deleting(node):
            return
        cidr = self._allocator.allocate(key)
        if cidr is None:
            self.events.event(
                object_reference(node, "v1", "Node"),
                NORMAL,
                "CIDRNotAvailable",
                f"Node {key} status is now: CIDRNotAvailable",
            )
            return
        patch = {
            "metadata": {"uid": node["metadata"]["uid"], "resourceVersion": node["metadata"]["resourceVersion"]},
            "spec": {"podCIDR": cidr, "podCIDRs": [cidr]},
        }
        try:
            await self.client.patch(NODES, key, patch, patch_type=MERGE_PATCH)
        except errors.NotFound:
            self._allocator.release(key)
        except (errors.Conflict, errors.Invalid):
            # Changed since: certainly not with this range.
            self._allocator.release(key)
            raise
        except (errors.TransportError, errors.GatewayTimeout):
            # Perhaps written: the range stays taken until the node says what it has.
            raise
        except errors.ApiError:
            self._allocator.release(key)
            raise
