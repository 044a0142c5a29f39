"""The scheduling framework: what a plugin is and what it may say.

A cycle takes one pod through the extension points, in upstream's order: PreFilter (once a pod: look at the pod,
or have nothing to do), Filter (which nodes it fits), Score (which of those is best), Bind (elsewhere: effects are
not for plugins). Filters and scores are vector operations: they take all nodes at once and answer with a NumPy
array of one element a row of the `NodeTable`.

"Does not fit" is an answer and not an error: a filter returns a `Verdict`.
Source: the scheduling framework page of the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, Flag, auto
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pybernetes.api.meta import Object

if TYPE_CHECKING:
    from pybernetes.scheduler.nodes import NodeTable

Mask = NDArray[np.bool_]
Scores = NDArray[np.float64]

MAX_NODE_SCORE = 100.0


class Change(Flag):
    """What happened in the cluster that could let a rejected pod fit."""

    NODE_ADD = auto()
    NODE_ALLOCATABLE = auto()
    NODE_LABELS = auto()
    NODE_TAINTS = auto()
    NODE_SCHEDULABLE = auto()
    POD_GONE = auto()
    """An assigned pod ended or was deleted: its resources and ports are free."""
    POD_ASSIGNED = auto()
    """A pod was assigned: one that wanted to be near it may fit now."""
    POD_LABELS = auto()
    POD_SPEC = auto()
    """The waiting pod itself changed (gates, tolerations)."""


NODE_ANY = Change.NODE_ADD | Change.NODE_ALLOCATABLE | Change.NODE_LABELS | Change.NODE_TAINTS | Change.NODE_SCHEDULABLE


class Resolution(Enum):
    """Whether evicting pods could make a rejected node fit."""

    UNSCHEDULABLE = "unschedulable"
    UNRESOLVABLE = "unresolvable"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A filter's answer: `fits` is true for each node that fits; each of `reasons` has a mask of the nodes it
    holds for (a node may be refused for several)."""

    fits: Mask
    reasons: Sequence[tuple[str, Mask]] = ()
    resolution: Resolution = Resolution.UNSCHEDULABLE


@dataclass(slots=True)
class Cycle:
    """One pod's way through the extension points; plugins keep their PreFilter results in `state`."""

    pod: Object
    table: NodeTable
    state: dict[str, Any] = field(default_factory=dict)


class Plugin(Protocol):
    """A plugin implements any of the extension points below; the protocol is its common part."""

    name: str
    events: Change
    """What could unblock a pod that this plugin rejected."""


class FilterPlugin(Plugin, Protocol):
    def filter(self, cycle: Cycle) -> Verdict | None:
        """None where the plugin has nothing to say of this pod: every node fits."""
        ...


class ScorePlugin(Plugin, Protocol):
    weight: float

    def score(self, cycle: Cycle, candidates: NDArray[np.intp]) -> Scores | None:
        """Scores from 0 to `MAX_NODE_SCORE`, one a candidate row, normalised; None where it does not care."""
        ...


@dataclass(frozen=True, slots=True)
class Fit:
    """A decision: the pod goes to this node."""

    node: str
    row: int
    feasible: int
    """How many nodes fitted."""


@dataclass(frozen=True, slots=True)
class NoFit:
    """No node fits now. `plugins` are those that rejected some node: their events may change the outcome."""

    summary: str
    """How many nodes there are, and why they do not fit."""
    plugins: frozenset[str]
    reasons: Mapping[str, int] = field(default_factory=dict)
    potential: tuple[int, ...] = ()
    """The rows of nodes that evictions could make fit."""
    preemption: str = ""
    """Why evictions do not help; empty where there is nothing to say."""

    @property
    def message(self) -> str:
        return f"{self.summary} preemption: {self.preemption}" if self.preemption else self.summary


def normalise(raw: Scores, *, reverse: bool = False) -> Scores:
    """Stretches raw scores to 0..`MAX_NODE_SCORE` by their maximum, as upstream's DefaultNormalizeScore."""
    top = float(raw.max()) if raw.size else 0.0
    if top == 0.0:
        return np.full(raw.shape, MAX_NODE_SCORE if reverse else 0.0)
    scaled = np.floor(raw * MAX_NODE_SCORE / top)
    return MAX_NODE_SCORE - scaled if reverse else scaled
