"""Which plugins run, in which order. The order of filters is upstream's: cheap and final ones first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pybernetes.scheduler.framework import FilterPlugin, Plugin, ScorePlugin
from pybernetes.scheduler.plugins.image_locality import ImageLocality
from pybernetes.scheduler.plugins.inter_pod_affinity import InterPodAffinity, NamespaceLabels
from pybernetes.scheduler.plugins.node_affinity import NodeAffinity
from pybernetes.scheduler.plugins.node_ports import NodePorts
from pybernetes.scheduler.plugins.node_resources import BalancedAllocation, NodeResourcesFit
from pybernetes.scheduler.plugins.node_unschedulable import NodeUnschedulable
from pybernetes.scheduler.plugins.pod_topology_spread import PodTopologySpread
from pybernetes.scheduler.plugins.taint_toleration import TaintToleration


@dataclass(frozen=True, slots=True)
class Profile:
    """The plugins of one scheduler name."""

    filters: Sequence[FilterPlugin]
    scores: Sequence[ScorePlugin]

    @property
    def plugins(self) -> Sequence[Plugin]:
        return list({p.name: p for p in (*self.filters, *self.scores)}.values())


def default_profile(namespace_labels: NamespaceLabels) -> Profile:
    taints, affinity, fit = TaintToleration(), NodeAffinity(), NodeResourcesFit()
    spread, pods = PodTopologySpread(), InterPodAffinity(namespace_labels)
    return Profile(
        filters=(NodeUnschedulable(), taints, affinity, NodePorts(), fit, spread, pods),
        scores=(taints, affinity, fit, BalancedAllocation(), ImageLocality(), spread, pods),
    )
