"""The nodes as columns: what the scheduler knows of every node, in NumPy arrays, kept up incrementally.

A node has a row for as long as it exists; rows of removed nodes are used again. Strings (label values, taint lists)
are interned to small integers, so that "label k has value v" is one comparison of a column. Assumed pods (decided
but not yet bound) count from the moment of the decision.

Owned by the scheduler's task; nothing here awaits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pybernetes.api.meta import Object, key_of, labels_of, name_of, uid_of
from pybernetes.api.pod_resources import non_zero_requests, parse_resources, pod_requests
from pybernetes.scheduler.framework import Change

CPU, MEMORY, STORAGE, PODS = 0, 1, 2, 3
_FIXED = ("cpu", "memory", "ephemeral-storage", "pods")
_GROWTH = 64

HostPort = tuple[str, str, int]
"""(host IP, protocol, port)."""


@dataclass(slots=True)
class AssignedPod:
    """A pod that takes room on a node."""

    pod: Object
    row: int
    requests: NDArray[np.float64]
    non_zero: tuple[float, float]
    ports: tuple[HostPort, ...]


@dataclass(slots=True)
class Row:
    """What of a node does not fit a column."""

    name: str
    node: Object
    taints: tuple[tuple[str, str, str], ...] = ()
    ports: dict[HostPort, int] = field(default_factory=dict)
    images: dict[str, int] = field(default_factory=dict)


def host_ports(pod: Object) -> tuple[HostPort, ...]:
    """The host ports a pod asks for, its restartable init containers' included."""
    spec = pod.get("spec") or {}
    containers = [*(spec.get("containers") or ())]
    containers += [c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]
    found = []
    for container in containers:
        for port in container.get("ports") or ():
            if port.get("hostPort"):
                found.append((port.get("hostIP") or "0.0.0.0", port.get("protocol") or "TCP", port["hostPort"]))
    return tuple(found)


def is_terminal(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


class NodeTable:
    """All nodes, a row each. Read `rows`, `active` and the columns; change through the methods."""

    def __init__(self) -> None:
        self.resources: dict[str, int] = {name: i for i, name in enumerate(_FIXED)}
        self.rows: list[Row | None] = []
        self._row_of: dict[str, int] = {}
        self._free: list[int] = []
        self.active: NDArray[np.bool_] = np.zeros(0, dtype=bool)
        self.unschedulable: NDArray[np.bool_] = np.zeros(0, dtype=bool)
        self.allocatable: NDArray[np.float64] = np.zeros((0, len(_FIXED)))
        self.requested: NDArray[np.float64] = np.zeros((0, len(_FIXED)))
        self.non_zero: NDArray[np.float64] = np.zeros((0, 2))
        self.taint_set: NDArray[np.int32] = np.zeros(0, dtype=np.int32)
        self._taint_ids: dict[tuple[tuple[str, str, str], ...], int] = {(): 0}
        self.taint_sets: list[tuple[tuple[str, str, str], ...]] = [()]
        self._labels: dict[str, NDArray[np.int32]] = {}
        self._value_ids: dict[str, int] = {}
        self.values: list[str] = []
        self.pods: dict[str, AssignedPod] = {}
        self._pods_by_row: dict[int, dict[str, AssignedPod]] = {}
        # Pods of nodes that are not known (yet): they count as soon as the node appears.
        self._homeless: dict[str, dict[str, Object]] = {}

    def __len__(self) -> int:
        return len(self._row_of)

    def row_of(self, name: str) -> int | None:
        return self._row_of.get(name)

    def names(self, rows: Iterable[int]) -> list[str]:
        return [row.name for i in rows if (row := self.rows[i]) is not None]

    def pods_on(self, row: int) -> Iterable[AssignedPod]:
        return self._pods_by_row.get(row, {}).values()

    # --- columns -------------------------------------------------------------------------------------------------

    def _grow(self) -> None:
        size = len(self.rows) + _GROWTH
        self._free.extend(range(size - 1, len(self.rows) - 1, -1))
        self.rows.extend([None] * _GROWTH)
        self.active = np.concatenate([self.active, np.zeros(_GROWTH, dtype=bool)])
        self.unschedulable = np.concatenate([self.unschedulable, np.zeros(_GROWTH, dtype=bool)])
        width = self.allocatable.shape[1]
        self.allocatable = np.vstack([self.allocatable, np.zeros((_GROWTH, width))])
        self.requested = np.vstack([self.requested, np.zeros((_GROWTH, width))])
        self.non_zero = np.vstack([self.non_zero, np.zeros((_GROWTH, 2))])
        self.taint_set = np.concatenate([self.taint_set, np.zeros(_GROWTH, dtype=np.int32)])
        for key, column in self._labels.items():
            self._labels[key] = np.concatenate([column, np.full(_GROWTH, -1, dtype=np.int32)])

    def _resource(self, name: str) -> int:
        """The column of a resource, made where it is new."""
        index = self.resources.get(name)
        if index is None:
            index = self.resources[name] = len(self.resources)
            empty = np.zeros((len(self.rows), 1))
            self.allocatable = np.hstack([self.allocatable, empty])
            self.requested = np.hstack([self.requested, empty])
            for pod in self.pods.values():
                pod.requests = np.append(pod.requests, 0.0)
        return index

    def vector(self, quantities: dict[str, int]) -> NDArray[np.float64]:
        """Requests as a row of the resource columns; CPU in millicores, the rest in units."""
        indexes = {self._resource(name): value for name, value in quantities.items()}
        result = np.zeros(len(self.resources))
        for index, value in indexes.items():
            result[index] = value
        return result

    def label(self, key: str) -> NDArray[np.int32]:
        """The interned values of a label, -1 where a node does not have it."""
        column = self._labels.get(key)
        if column is None:
            column = np.full(len(self.rows), -1, dtype=np.int32)
            for i, row in enumerate(self.rows):
                if row is not None and key in (labels := labels_of(row.node)):
                    column[i] = self._intern(labels[key])
            self._labels[key] = column
        return column

    def value_id(self, value: str) -> int:
        """The interned id of a label's value; -2, which no node has, where it was never seen."""
        return self._value_ids.get(value, -2)

    def _intern(self, value: str) -> int:
        found = self._value_ids.get(value)
        if found is None:
            found = self._value_ids[value] = len(self.values)
            self.values.append(value)
        return found

    # --- nodes ---------------------------------------------------------------------------------------------------

    def put_node(self, node: Object) -> Change:
        """Adds or updates a node; tells what changed (no flag: nothing that matters)."""
        name = name_of(node)
        spec, status = node.get("spec") or {}, node.get("status") or {}
        index = self._row_of.get(name)
        change = Change(0)
        old: Row | None = None
        if index is None:
            if not self._free:
                self._grow()
            index = self._free.pop()
            self._row_of[name] = index
            change = Change.NODE_ADD
        else:
            old = self.rows[index]
        taints = tuple((t["key"], t.get("value") or "", t["effect"]) for t in spec.get("taints") or ())
        row = Row(name, node, taints, old.ports if old else {}, _image_sizes(status))
        self.rows[index] = row
        self.active[index] = True
        allocatable = self.vector(parse_resources(status.get("allocatable") or {}))
        if not np.array_equal(allocatable, self.allocatable[index]):
            self.allocatable[index] = allocatable
            change |= Change.NODE_ALLOCATABLE
        unschedulable = bool(spec.get("unschedulable"))
        if unschedulable != self.unschedulable[index]:
            self.unschedulable[index] = unschedulable
            change |= Change.NODE_SCHEDULABLE
        if taints not in self._taint_ids:
            self._taint_ids[taints] = len(self.taint_sets)
            self.taint_sets.append(taints)
        if self.taint_set[index] != self._taint_ids[taints]:
            self.taint_set[index] = self._taint_ids[taints]
            change |= Change.NODE_TAINTS
        if old is None or labels_of(old.node) != labels_of(node):
            labels = labels_of(node)
            for key, column in self._labels.items():
                column[index] = self._intern(labels[key]) if key in labels else -1
            change |= Change.NODE_LABELS
        if old is None:
            for pod in self._homeless.pop(name, {}).values():
                self.add_pod(pod, name)
        return change

    def remove_node(self, name: str) -> None:
        index = self._row_of.pop(name, None)
        if index is None:
            return
        for key, assigned in self._pods_by_row.pop(index, {}).items():
            del self.pods[key]
            self._homeless.setdefault(name, {})[key] = assigned.pod
        self.rows[index] = None
        self.active[index] = self.unschedulable[index] = False
        self.allocatable[index] = self.requested[index] = 0.0
        self.non_zero[index] = 0.0
        self.taint_set[index] = 0
        for column in self._labels.values():
            column[index] = -1
        self._free.append(index)

    # --- pods ----------------------------------------------------------------------------------------------------

    def add_pod(self, pod: Object, node: str = "") -> None:
        """Counts a pod on its node, or on `node` where it is only assumed to go there. The same pod counts once."""
        key, name = key_of(pod), node or pod["spec"]["nodeName"]
        self.remove_pod(key)
        index = self._row_of.get(name)
        if index is None:
            self._homeless.setdefault(name, {})[key] = pod
            return
        requests = pod_requests(pod)
        vector = self.vector({**requests, "pods": 1})
        cpu, memory = non_zero_requests(pod)
        self._count(key, AssignedPod(pod, index, vector, (cpu, memory), host_ports(pod)))

    def _count(self, key: str, assigned: AssignedPod) -> None:
        index = assigned.row
        self.requested[index] += assigned.requests
        self.non_zero[index] += assigned.non_zero
        row = self.rows[index]
        assert row is not None
        for port in assigned.ports:
            row.ports[port] = row.ports.get(port, 0) + 1
        self.pods[key] = assigned
        self._pods_by_row.setdefault(index, {})[key] = assigned

    def remove_pod(self, key: str) -> bool:
        """Stops counting a pod; whether it counted."""
        assigned = self.pods.pop(key, None)
        if assigned is None:
            return any(pods.pop(key, None) is not None for pods in self._homeless.values())
        self.requested[assigned.row] -= assigned.requests
        self.non_zero[assigned.row] -= assigned.non_zero
        row = self.rows[assigned.row]
        assert row is not None
        for port in assigned.ports:
            row.ports[port] -= 1
            if not row.ports[port]:
                del row.ports[port]
        del self._pods_by_row[assigned.row][key]
        return True

    @contextmanager
    def assuming(self, pods: Iterable[tuple[Object, str]]) -> Iterator[None]:
        """Inside, these pods count on these nodes; those that count already stay as they are."""
        added = []
        for pod, node in pods:
            key = key_of(pod)
            if key not in self.pods and node in self._row_of:
                self.add_pod(pod, node)
                added.append(key)
        try:
            yield
        finally:
            for key in added:
                self.remove_pod(key)

    def only(self, row: int) -> NodeTable:
        """A table of one node and the pods that count on it, for trying things out; row 0 is the node."""
        source = self.rows[row]
        assert source is not None, "an active row has a node"
        small = NodeTable()
        small.resources = dict(self.resources)
        small.rows = [Row(source.name, source.node, source.taints, {}, source.images)]
        small._row_of = {source.name: 0}
        small.active, small.unschedulable = self.active[[row]], self.unschedulable[[row]]
        small.allocatable = self.allocatable[[row]]
        small.requested, small.non_zero = np.zeros_like(small.allocatable), np.zeros((1, 2))
        small.taint_set, small.taint_sets = self.taint_set[[row]], self.taint_sets
        for key, a in self._pods_by_row.get(row, {}).items():
            small._count(key, AssignedPod(a.pod, 0, a.requests, a.non_zero, a.ports))
        return small

    @contextmanager
    def without(self, row: int, pods: Iterable[str]) -> Iterator[Callable[[str], None]]:
        """Inside, these pods of a row do not count; calling what it gives lets one of them count again."""
        aside = {key: self._pods_by_row[row][key] for key in pods}
        for key in aside:
            self.remove_pod(key)
        try:
            yield lambda key: self._count(key, aside[key])
        finally:
            for key, assigned in aside.items():
                if key not in self.pods:
                    self._count(key, assigned)

    def is_counted(self, pod: Object) -> bool:
        assigned = self.pods.get(key_of(pod))
        return assigned is not None and uid_of(assigned.pod) == uid_of(pod)


def _image_sizes(status: Object) -> dict[str, int]:
    return {
        name: image.get("sizeBytes", 0) for image in status.get("images") or () for name in image.get("names") or ()
    }
