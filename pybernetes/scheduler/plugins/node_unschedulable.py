"""NodeUnschedulable: cordoned nodes take no new pods, unless they are tolerated."""

from __future__ import annotations

import numpy as np

from pybernetes.scheduler.framework import Change, Cycle, Resolution, Verdict
from pybernetes.scheduler.plugins.taint_toleration import tolerates

_TAINT = ("node.kubernetes.io/unschedulable", "", "NoSchedule")


class NodeUnschedulable:
    name = "NodeUnschedulable"
    events = Change.NODE_ADD | Change.NODE_SCHEDULABLE | Change.POD_SPEC

    def filter(self, cycle: Cycle) -> Verdict | None:
        cordoned = cycle.table.unschedulable
        if not cordoned.any() or tolerates(cycle.pod["spec"].get("tolerations") or (), _TAINT):
            return None
        return Verdict(np.logical_not(cordoned), [("node(s) were unschedulable", cordoned)], Resolution.UNRESOLVABLE)
