"""The kubelet: one node's agent, put together.

`run` first reads what the runtime has (so that containers of an earlier kubelet are adopted and not started twice),
then follows the pods bound to this node and keeps a worker for each. What the runtime has and the API has not is
stopped. Cancelled, the kubelet leaves all containers running.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

import structlog

from pybernetes.api.meta import Object, name_of, namespace_of, uid_of
from pybernetes.api.resources import PODS, SERVICES
from pybernetes.client.events import EventRecorder
from pybernetes.client.informer import Informer
from pybernetes.client.interface import Client
from pybernetes.kubelet import spec
from pybernetes.kubelet.backoff import BackOff
from pybernetes.kubelet.cgroups import CgroupError, PodCgroups
from pybernetes.kubelet.config import KubeletConfig
from pybernetes.kubelet.cri import grpc_health
from pybernetes.kubelet.hooks import HookRunner
from pybernetes.kubelet.httpget import HTTPGetter
from pybernetes.kubelet.identity import restore_pod
from pybernetes.kubelet.images import ImageManager
from pybernetes.kubelet.node import NodeManager
from pybernetes.kubelet.objects import SharedObjects
from pybernetes.kubelet.observed import RuntimeView
from pybernetes.kubelet.parts import Parts
from pybernetes.kubelet.probes import ProbeManager, Prober
from pybernetes.kubelet.runtime import ContainerRuntime, EventKind, RuntimeEvent
from pybernetes.kubelet.server import KubeletServer
from pybernetes.kubelet.statuswriter import StatusWriter
from pybernetes.kubelet.volumes.claims import APIClaims
from pybernetes.kubelet.volumes.interface import PluginContext, VolumeError
from pybernetes.kubelet.volumes.manager import VolumeManager
from pybernetes.kubelet.volumes.tokens import APITokens
from pybernetes.kubelet.worker import PodWorker
from pybernetes.lib.clock import Clock, SystemClock
from pybernetes.lib.tasks import TaskSet

log = structlog.get_logger(__name__)


class _Services:
    """Every Service, from a watch of the kubelet's own."""

    def __init__(self, client: Client) -> None:
        self.informer = Informer(client, SERVICES)

    async def all(self) -> Iterable[Object]:
        await self.informer.synced()
        return self.informer.cache


class Kubelet:
    """One node. `on_pod_cidrs` is called with the node's pod ranges when the cluster has given it some."""

    def __init__(
        self,
        config: KubeletConfig,
        client: Client,
        runtime: ContainerRuntime,
        *,
        on_pod_cidrs: Callable[[Sequence[str]], None],
        clock: Clock | None = None,
    ) -> None:
        self._config = config
        self._clock = clock or SystemClock()
        self._runtime = runtime
        self._recorder = EventRecorder(client, "kubelet", host=config.node_name, clock=self._clock)
        self._http = HTTPGetter()
        self._services = _Services(client)
        self.node = NodeManager(config, client, runtime, self._recorder, self._clock, on_pod_cidrs=on_pod_cidrs)
        objects = SharedObjects(client)
        tokens = APITokens(client, self._clock)
        context = PluginContext(objects, tokens, APIClaims(client), self._clock.now)
        self.parts = Parts(
            config=config,
            client=client,
            runtime=runtime,
            view=RuntimeView(runtime, config, self._clock),
            images=ImageManager(runtime, config, self._recorder, self._clock),
            volumes=VolumeManager(config.root_directory, context),
            tokens=tokens,
            cgroups=PodCgroups(config.cgroup_root, config.cgroup_mount, self._clock),
            objects=objects,
            statuses=StatusWriter(client, self._clock),
            probes=ProbeManager(Prober(runtime, self._http, grpc_health.check), self._recorder, self._clock),
            hooks=HookRunner(runtime, self._http, self._clock),
            recorder=self._recorder,
            clock=self._clock,
            backoffs=BackOff(config.restart_backoff_initial_seconds, config.restart_backoff_max_seconds),
            node=self.node,
            services=self._services,
        )
        self.server = KubeletServer(
            config, find_pod=self.find_pod, list_pods=self.pods, view=self.parts.view, runtime=runtime
        )
        self._pods = Informer(client, PODS, field_selector=f"spec.nodeName={config.node_name}")
        self._workers: dict[str, PodWorker] = {}
        self._tasks = TaskSet("kubelet")

    def find_pod(self, namespace: str, name: str) -> Object | None:
        """The pod of that name on this node, as the API last told it."""
        return self._pods.cache.get(f"{namespace}/{name}")

    def pods(self) -> Iterable[Object]:
        return self._pods.cache

    async def run(self) -> None:
        """Runs the node until cancelled. Containers stay as they are."""
        parts, tasks = self.parts, self._tasks
        parts.view.on_change(self._runtime_changed)
        parts.view.on_event(self._runtime_event)
        self._pods.add_handler(self._pod_changed)
        self.node.on_ready(self._wake_all)
        for directory in (self._config.root_directory, self._config.log_directory):
            directory.mkdir(parents=True, exist_ok=True)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._recorder.run(), name="events")
                group.create_task(parts.view.run(), name="runtime-view")
                await parts.view.synced.wait()
                await self.server.start()
                group.create_task(self.node.run(), name="node")
                group.create_task(self._services.informer.run(), name="services")
                group.create_task(self._pods.run(), name="pods")
                await self._pods.synced()
                await self._remove_orphans()
        finally:
            await self.server.stop()
            await tasks.cancel()
            await parts.probes.close()
            await parts.images.close()
            await parts.statuses.close()
            await parts.objects.close()
            await self._http.close()

    # -- pods ------------------------------------------------------------------------------------------------------

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        if old is not None and (new is None or uid_of(old) != uid_of(new)):
            worker = self._workers.get(uid_of(old))
            if worker is not None:
                worker.removed(old)
        if new is None:
            return
        worker = self._workers.get(uid_of(new))
        if worker is None:
            self._launch(PodWorker(self.parts, new))
        else:
            worker.update(new)

    def _launch(self, worker: PodWorker) -> None:
        self._workers[worker.uid] = worker
        self._tasks.start(self._work(worker), name=f"{namespace_of(worker.pod)}/{name_of(worker.pod)}")

    async def _work(self, worker: PodWorker) -> None:
        try:
            await worker.run()
        finally:
            if self._workers.get(worker.uid) is worker:
                del self._workers[worker.uid]

    async def _remove_orphans(self) -> None:
        """Stops what an earlier kubelet ran and the API no longer has, and removes directories without an owner."""
        known = set(self._workers)
        for uid in self.parts.view.uids() - known:
            observed = self.parts.view.pod(uid)
            notes = [(c.status.labels, c.status.annotations) for c in observed.containers]
            labels = observed.sandbox.labels if observed.sandbox is not None else notes[0][0]
            log.info("stopping a pod that the API does not have", uid=uid)
            self._launch(PodWorker(self.parts, restore_pod(labels, notes), known_to_api=False))
        for uid in self.parts.volumes.leftovers() - set(self._workers):
            try:
                await self.parts.volumes.tear_down(uid)
                await self.parts.cgroups.remove(uid)
                self.parts.volumes.remove_pod_directory(uid)
            except (VolumeError, CgroupError) as error:
                log.warning("what an old pod left cannot be removed", uid=uid, error=str(error))

    # -- wake-ups --------------------------------------------------------------------------------------------------

    def _runtime_changed(self, uid: str) -> None:
        worker = self._workers.get(uid)
        if worker is not None:
            worker.wake()

    def _runtime_event(self, event: RuntimeEvent) -> None:
        if event.kind is EventKind.RESYNC:
            self.node.poke()

    def _wake_all(self) -> None:
        for worker in self._workers.values():
            worker.retry_now()

    def works_on(self, uid: str) -> bool:
        """Whether anything of the pod is left to be done here."""
        return uid in self._workers

    def statistics(self) -> dict[str, int]:
        phases = [(w.pod.get("status") or {}).get("phase") for w in self._workers.values()]
        return {"pods": len(phases), "ended": sum(1 for p in phases if spec.is_terminal(p))}
