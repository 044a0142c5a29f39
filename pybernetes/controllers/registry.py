"""The controllers that run, as data: under which name, as which service account, recording events as whom.

Accounts are those of upstream's bootstrap policy (``system:controller:…`` roles), so that the same RBAC holds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pybernetes.controllers.controller import Context, Controller
from pybernetes.controllers.deployment.loop import DeploymentController
from pybernetes.controllers.replicaset.loop import ReplicaSetController, ReplicationControllerController


@dataclass(frozen=True, slots=True)
class ControllerSpec:
    name: str
    """As upstream's ``--controllers`` flag names it."""
    account: str
    """The service account in kube-system that it writes as."""
    component: str
    """The source of its events."""
    make: Callable[[Context], Controller]


CONTROLLERS: tuple[ControllerSpec, ...] = (
    ControllerSpec("deployment-controller", "deployment-controller", "deployment-controller", DeploymentController),
    ControllerSpec("replicaset-controller", "replicaset-controller", "replicaset-controller", ReplicaSetController),
    ControllerSpec(
        "replicationcontroller-controller",
        "replication-controller",
        "replication-controller",
        ReplicationControllerController,
    ),
)
