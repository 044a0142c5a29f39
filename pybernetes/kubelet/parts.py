"""What pod workers share: the kubelet's parts, handed to each worker as one object."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from pybernetes.api.meta import Object
from pybernetes.client.events import EventRecorder
from pybernetes.client.interface import Client
from pybernetes.kubelet.backoff import BackOff
from pybernetes.kubelet.cgroups import PodCgroups
from pybernetes.kubelet.config import KubeletConfig
from pybernetes.kubelet.hooks import HookRunner
from pybernetes.kubelet.images import ImageManager
from pybernetes.kubelet.objects import SharedObjects
from pybernetes.kubelet.observed import RuntimeView
from pybernetes.kubelet.probes import ProbeManager
from pybernetes.kubelet.runtime import ContainerRuntime
from pybernetes.kubelet.statuswriter import StatusWriter
from pybernetes.kubelet.volumes.manager import VolumeManager
from pybernetes.kubelet.volumes.tokens import APITokens
from pybernetes.lib.clock import Clock


class NodeFacts(Protocol):
    """What pods need to know of their node."""

    @property
    def host_ips(self) -> tuple[str, ...]: ...
    @property
    def memory_bytes(self) -> int: ...
    @property
    def allocatable(self) -> dict[str, str]: ...
    @property
    def runtime_name(self) -> str: ...
    @property
    def network_problem(self) -> str:
        """Why pods cannot have a network yet; empty where they can."""
        ...


@dataclass(slots=True)
class Parts:
    config: KubeletConfig
    client: Client
    runtime: ContainerRuntime
    view: RuntimeView
    images: ImageManager
    volumes: VolumeManager
    tokens: APITokens
    cgroups: PodCgroups
    objects: SharedObjects
    statuses: StatusWriter
    probes: ProbeManager
    hooks: HookRunner
    recorder: EventRecorder
    clock: Clock
    backoffs: BackOff[tuple[str, str, str]]
    node: NodeFacts
    services: ServiceSource


class ServiceSource(Protocol):
    """The cluster's Services, for the environment of containers."""

    async def all(self) -> Iterable[Object]:
        """Every Service; waits until they have been read once."""
        ...
