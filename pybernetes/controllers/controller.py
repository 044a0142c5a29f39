"""What every controller is given and what it is: the frame that loops are written in.

A controller is made before the shared informers start, so its handlers hear everything; its `run` waits for its own
informers, works until cancelled and leaves nothing behind. Handlers only add keys to the queue.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from pybernetes.api import errors
from pybernetes.api.meta import Object
from pybernetes.api.resources import Resource
from pybernetes.client.events import EventRecorder
from pybernetes.client.informer import Informer, Informers
from pybernetes.client.interface import Client
from pybernetes.controllers.catalog import Catalog
from pybernetes.lib.clock import Clock, SystemClock
from pybernetes.lib.workqueue import WorkQueue, run_workers

CONFLICT_RETRY_SECONDS = 1.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ControllerConfig:
    """The flags of upstream's kube-controller-manager that are used here, with its defaults. Times in seconds."""

    root_ca_pem: str = ""
    """The bundle that ``kube-root-ca.crt`` publishes; without one it is not published."""
    cluster_signing_cert_pem: str = ""
    cluster_signing_key_pem: str = ""
    """The CA that signs approved certificate signing requests; without it nothing is signed."""
    cluster_signing_duration_seconds: int = 365 * 24 * 3600
    sign_legacy_token: Callable[[str, str, str, str], str] | None = None
    """(namespace, account, its uid, secret) -> the token of a kubernetes.io/service-account-token Secret; without it
    such Secrets are not filled."""
    cluster_cidr: str = "10.244.0.0/16"
    node_cidr_mask_size: int = 24
    allocate_node_cidrs: bool = True
    node_monitor_grace_seconds: float = 50.0
    node_startup_grace_seconds: float = 60.0
    node_eviction_rate_per_second: float = 0.1
    terminated_pod_gc_threshold: int = 12500
    disabled: frozenset[str] = frozenset()
    """Names of controllers not to run."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a controller works with: its own client, the shared informers, the clock and its event recorder."""

    client: Client
    informers: Informers
    events: EventRecorder
    catalog: Catalog
    clock: Clock = field(default_factory=SystemClock)
    config: ControllerConfig = field(default_factory=ControllerConfig)


class Controller(Protocol):
    async def run(self) -> None:
        """Works until cancelled."""
        ...

    def statistics(self) -> Mapping[str, int]: ...


class QueueController:
    """A controller around one work queue of ``namespace/name`` keys: `reconcile` brings one key in order."""

    #: The name in logs.
    name = ""
    #: Keys worked on at once, as upstream's concurrent-…-syncs.
    workers = 5

    def __init__(self, context: Context) -> None:
        self.context = context
        self.client = context.client
        self.events = context.events
        self.queue: WorkQueue[str] = WorkQueue()
        self._informers: list[Informer] = []

    def watch(self, resource: Resource) -> Informer:
        """The shared informer of a resource, which `run` then waits for."""
        informer = self.context.informers.for_(resource)
        if informer not in self._informers:
            self._informers.append(informer)
        return informer

    def now(self) -> float:
        return self.context.clock.now()

    def statistics(self) -> Mapping[str, int]:
        return self.queue.statistics()

    async def run(self) -> None:
        for informer in self._informers:
            await informer.synced()
        try:
            await run_workers(self.queue, self._attempt, workers=self.workers, name=self.name)
        finally:
            self.queue.close()

    async def _attempt(self, key: str) -> None:
        try:
            await self.reconcile(key)
        except errors.Conflict as error:
            # Somebody wrote in between. The watch brings that write and with it the key; the timer is for a
            # write whose event came before the key was taken from the queue.
            log.debug("conflict", controller=self.name, key=key, error=error.message)
            self.queue.add_after(key, CONFLICT_RETRY_SECONDS)

    async def reconcile(self, key: str) -> None:
        """Brings one object in order. What it raises is logged and the key tried again with back-off."""
        raise NotImplementedError


def is_namespace_terminating(error: errors.ApiError) -> bool:
    """Whether a creation was refused because its namespace is going away (cause ``NamespaceTerminating``)."""
    return any(c.get("reason") == "NamespaceTerminating" for c in (error.details or {}).get("causes") or ())


def updated_status(obj: Object, status: Object) -> Object:
    """A copy of the object to write to its status subresource. The rest is shared, not copied: only read it."""
    return {**obj, "status": status}
