"""NodePorts: a host port is taken once a node (per protocol and address)."""

from __future__ import annotations

import numpy as np

from pybernetes.scheduler.framework import Change, Cycle, Verdict
from pybernetes.scheduler.nodes import HostPort, host_ports

_REASON = "node(s) didn't have free ports for the requested pod ports"
_ANY = "0.0.0.0"


def conflicts(wanted: HostPort, used: HostPort) -> bool:
    """Whether both cannot be on one node: same protocol and port, and addresses that meet."""
    return wanted[1:] == used[1:] and (wanted[0] == used[0] or _ANY in (wanted[0], used[0]))


class NodePorts:
    name = "NodePorts"
    events = Change.NODE_ADD | Change.POD_GONE

    def filter(self, cycle: Cycle) -> Verdict | None:
        wanted = host_ports(cycle.pod)
        if not wanted:
            return None
        fits = cycle.table.active.copy()
        for index in np.flatnonzero(fits):
            row = cycle.table.rows[index]
            assert row is not None, "an active row has a node"
            if row.ports:
                fits[index] = not any(conflicts(w, used) for w in wanted for used in row.ports)
        return Verdict(fits, [(_REASON, np.logical_not(fits))])
