"""The kubelet's Node object: registered, watched, its status and lease kept true.

`NodeManager.run` does it until cancelled. One task looks and writes; it is woken by changes of the Node (pod ranges
given, object deleted, status overwritten), by `poke`, and by time only while the runtime is not ready (20 ms doubling
to 1 s) or when an unchanged status is due. Errors of the API or of the runtime are tried again with bounded back-off
and never end `run`. One event loop owns the object. The lease is `pybernetes.kubelet.lease`'s.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence

import structlog

from pybernetes.api import errors
from pybernetes.api.meta import Object, get_condition, name_of, resource_version_of, uid_of
from pybernetes.api.resources import NODES
from pybernetes.client.events import NORMAL, EventRecorder
from pybernetes.client.informer import Informer
from pybernetes.client.interface import Client
from pybernetes.kubelet import nodestatus
from pybernetes.kubelet.config import KubeletConfig
from pybernetes.kubelet.lease import NodeLease
from pybernetes.kubelet.machine import read_machine
from pybernetes.kubelet.runtime import ContainerRuntime, ImageStatus, RuntimeCondition, RuntimeFailure, RuntimeVersion
from pybernetes.lib.clock import Clock

_POKE_DEBOUNCE_SECONDS = 1.0
_RETRY_FIRST_SECONDS = 0.02
_RETRY_MAX_SECONDS = 1.0
_API_RETRY_FIRST_SECONDS = 0.1
_API_RETRY_MAX_SECONDS = 7.0
_RUNTIME_TIMEOUT_SECONDS = 5.0

log = structlog.get_logger(__name__)


class NodeManager:
    """One kubelet's Node; what pods need to know of it is `parts.NodeFacts`.

    `on_pod_cidrs` is called with the node's pod ranges once they are known and whenever they change; an OSError from
    it is logged and it is called again.
    """

    def __init__(
        self,
        config: KubeletConfig,
        client: Client,
        runtime: ContainerRuntime,
        recorder: EventRecorder,
        clock: Clock,
        *,
        on_pod_cidrs: Callable[[Sequence[str]], None],
    ) -> None:
        self._config = config
        self._client = client
        self._runtime = runtime
        self._recorder = recorder
        self._clock = clock
        self._on_pod_cidrs = on_pod_cidrs
        self._on_ready: list[Callable[[], None]] = []
        self._machine = read_machine(config.root_directory)
        self._allocatable = nodestatus.allocatable(config, self._machine)
        self._lease = NodeLease(client, config.node_name, config.lease_duration_seconds, clock, self._uid)

        self._wakeup = asyncio.Event()
        self._registered = asyncio.Event()
        self._node: Object | None = None
        """The Node as last heard of; None while it is not registered."""
        self._reconciled = ""
        """The uid of the Node that was made or reconciled here."""
        self._cidrs: tuple[str, ...] = ()
        """The ranges that `on_pod_cidrs` was told."""
        self._version: RuntimeVersion | None = None
        self._images: Sequence[ImageStatus] = ()
        self._conditions: Sequence[RuntimeCondition] | None = None
        self._failure = ""
        self._stale = True
        """Whether the runtime's version and images are to be read again."""
        self._poke_due: float | None = None
        self._reported_at = float("-inf")
        self._runtime_retry = 0.0
        self._ready_said: bool | None = None

    # Facts.

    @property
    def host_ips(self) -> tuple[str, ...]:
        return (self._config.node_ip,)

    @property
    def memory_bytes(self) -> int:
        return self._machine.memory_bytes

    @property
    def allocatable(self) -> dict[str, str]:
        return dict(self._allocatable)

    @property
    def runtime_name(self) -> str:
        return self._version.name if self._version else "containerd"

    @property
    def network_problem(self) -> str:
        return nodestatus.network_problem(self._conditions)

    @property
    def pod_cidrs(self) -> tuple[str, ...]:
        """The ranges pods get their addresses from, as far as known."""
        return self._cidrs

    @property
    def node(self) -> Object | None:
        """The Node as last heard of, shared with a cache; None while it is not registered."""
        return self._node

    def on_ready(self, callback: Callable[[], None]) -> None:
        """Has `callback` called whenever the network becomes ready; at once where it is already."""
        self._on_ready.append(callback)
        if not self.network_problem:
            callback()

    def poke(self) -> None:
        """Asks for a fresh look at the runtime, its version and images included, within a second. Pokes until then
        are one."""
        if self._poke_due is None:
            self._poke_due = self._clock.monotonic() + _POKE_DEBOUNCE_SECONDS
            self._wakeup.set()

    # Running.

    async def run(self) -> None:
        """Keeps Node and lease until cancelled; both stay behind."""
        informer = Informer(self._client, NODES, field_selector=f"metadata.name={self._config.node_name}")
        informer.add_handler(self._changed)
        self._event("Starting", "Starting kubelet.")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(informer.run(), name="node/informer")
            tasks.create_task(self._keep_lease(), name="node/lease")
            tasks.create_task(self._keep_node(), name="node/status")

    async def _keep_lease(self) -> None:
        await self._registered.wait()
        await self._lease.run()

    async def _keep_node(self) -> None:
        api_retry = 0.0
        while True:
            self._wakeup.clear()
            pause = self._config.status_report_seconds
            try:
                if not self._tell_cidrs():
                    pause = _RETRY_MAX_SECONDS
                await self._look()
                if self._node is None or self._uid() != self._reconciled:
                    await self._register()
                await self._publish()
                api_retry = 0.0
                pause = min(pause, self._reported_at + self._config.status_report_seconds - self._clock.monotonic())
            except errors.ApiError as error:
                if isinstance(error, errors.NotFound):
                    self._node = None
                api_retry = min(max(_API_RETRY_FIRST_SECONDS, api_retry * 2), _API_RETRY_MAX_SECONDS)
                pause = api_retry * random.uniform(0.5, 1.0)
                log.warning("node not written", node=self._config.node_name, error=error.message, retry_s=pause)
            if self._runtime_retry:
                pause = min(pause, self._runtime_retry)
            if self._poke_due is not None:
                pause = min(pause, self._poke_due - self._clock.monotonic())
            await self._wait(pause)

    async def _wait(self, seconds: float) -> None:
        """Until woken, at most so long."""
        if self._wakeup.is_set() or seconds <= 0:
            return
        waits = [asyncio.ensure_future(self._wakeup.wait()), asyncio.ensure_future(self._clock.sleep(seconds))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    # The Node object.

    def _uid(self) -> str:
        return (uid_of(self._node) or "") if self._node is not None else ""

    def _changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            if name_of(new) == self._config.node_name and self._adopt(new):
                self._wakeup.set()
        elif old is not None and uid_of(old) == self._uid():
            log.warning("node object deleted, registering again", node=self._config.node_name)
            self._node = None
            self._wakeup.set()

    def _adopt(self, node: Object) -> bool:
        """Takes a state of the Node, unless a newer one is known; whether it was taken."""
        known = self._node
        if (
            known is not None
            and uid_of(known) == uid_of(node)
            and int(resource_version_of(node) or 0) <= int(resource_version_of(known) or 0)
        ):
            return False
        self._node = node
        self._registered.set()
        if _cidrs_of(node) not in ((), self._cidrs):
            self._runtime_retry = 0.0
            self._wakeup.set()
        return True

    async def _register(self) -> None:
        """Makes the Node, or takes over one that exists already, such as the one of an earlier run."""
        node = self._node
        if node is None:
            wanted = nodestatus.new_node(self._config, self._machine, self._status({}))
            try:
                node = await self._client.create(NODES, wanted)
                self._reported_at = self._clock.monotonic()
                log.info("node registered", node=self._config.node_name)
            except errors.AlreadyExists:
                node = await self._client.get(NODES, self._config.node_name)
        patch = nodestatus.metadata_patch(self._config, self._machine, node)
        if patch is not None:
            node = await self._client.patch(NODES, self._config.node_name, patch)
        self._adopt(node)
        self._reconciled = uid_of(node) or ""

    def _tell_cidrs(self) -> bool:
        """Passes on new pod ranges; whether that went well."""
        cidrs = _cidrs_of(self._node) if self._node is not None else ()
        if not cidrs or cidrs == self._cidrs:
            return True
        try:
            self._on_pod_cidrs(list(cidrs))
        except OSError as error:
            log.error("pod ranges not applied", cidrs=cidrs, error=str(error))
            return False
        self._cidrs = cidrs
        self._runtime_retry = 0.0
        return True

    # The runtime.

    async def _look(self) -> None:
        """Asks the runtime how it is; sets when to ask again where it is not ready."""
        if self._poke_due is not None and self._clock.monotonic() >= self._poke_due:
            self._poke_due = None
            self._stale = True
        had_network = not self.network_problem
        try:
            async with asyncio.timeout(_RUNTIME_TIMEOUT_SECONDS):
                if self._stale or self._version is None:
                    self._version = await self._runtime.version()
                    self._images = await self._runtime.list_images()
                    self._stale = False
                self._conditions = await self._runtime.conditions()
            self._failure = ""
        except (RuntimeFailure, TimeoutError) as error:
            # What the runtime said before of its network stands: pods that run have theirs.
            self._failure = str(error) or "timed out"
        if self._problem():
            self._runtime_retry = min(max(_RETRY_FIRST_SECONDS, self._runtime_retry * 2), _RETRY_MAX_SECONDS)
        else:
            self._runtime_retry = 0.0
        if not had_network and not self.network_problem:
            for callback in list(self._on_ready):
                callback()

    def _problem(self) -> str:
        return nodestatus.problems(self._conditions, self._failure)

    # The status.

    def _status(self, old: Object) -> Object:
        return nodestatus.status(
            self._config, self._machine, self._version, self._images, self._problem(), old, self._clock.now()
        )

    async def _publish(self) -> None:
        """Writes the status if it changed or is due."""
        node = self._node
        if node is None:
            return
        present = node.get("status") or {}
        wanted = self._status(present)
        due = self._clock.monotonic() - self._reported_at >= self._config.status_report_seconds
        if due or nodestatus.differs(wanted, present):
            patch: Object = {"metadata": {"uid": uid_of(node)}, "status": wanted}
            self._adopt(await self._client.patch(NODES, self._config.node_name, patch, subresource="status"))
            self._reported_at = self._clock.monotonic()
        ready = get_condition({"status": wanted}, "Ready")
        is_ready = ready is not None and ready["status"] == "True"
        if is_ready is not self._ready_said:
            if is_ready or self._ready_said is not None:
                reason = "NodeReady" if is_ready else "NodeNotReady"
                self._event(reason, f"Node {self._config.node_name} status is now: {reason}")
            self._ready_said = is_ready

    def _event(self, reason: str, message: str) -> None:
        # Upstream's kubelet refers to its node by name in place of the uid.
        name = self._config.node_name
        self._recorder.event({"kind": "Node", "name": name, "uid": name}, NORMAL, reason, message)


def _cidrs_of(node: Object) -> tuple[str, ...]:
    spec = node.get("spec") or {}
    return tuple(spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else ()))
