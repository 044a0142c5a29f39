"""What runs: the runtime's sandboxes and containers by pod, kept true by the runtime's events.

Lifecycle: `RuntimeView.run` follows the runtime's events until cancelled. RESYNC reads everything once; any other
event reads the one thing it names. There is no periodic relist. One event loop owns the view; what `pod` returns is
immutable. A container's state never goes back (created, running, exited), so an answer that overtakes another does
no harm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog

from pybernetes.kubelet import identity
from pybernetes.kubelet.config import KubeletConfig
from pybernetes.kubelet.runtime import (
    ContainerRuntime,
    ContainerState,
    ContainerStatus,
    EventKind,
    RuntimeEvent,
    RuntimeFailure,
    SandboxStatus,
)
from pybernetes.lib.clock import Clock
from pybernetes.lib.tasks import TaskSet

log = structlog.get_logger(__name__)

_CHANGES = (EventKind.STARTED, EventKind.STOPPED)
_READS_AT_ONCE = 16
_SETTLE_TRIES = 12
_TERMINATION_MESSAGE_BYTES = 4096
_LOG_MESSAGE_BYTES = 2048
_LOG_MESSAGE_LINES = 80


@dataclass(frozen=True, slots=True)
class ObservedContainer:
    """A container as the runtime tells it, with what its annotations say of it."""

    status: ContainerStatus
    sandbox_id: str
    restart_count: int
    spec_hash: str
    message: str = ""
    """The termination message of an exited container."""

    @property
    def id(self) -> str:
        return self.status.id

    @property
    def name(self) -> str:
        return self.status.name

    @property
    def state(self) -> ContainerState:
        return self.status.state

    @property
    def running(self) -> bool:
        return self.status.state is ContainerState.RUNNING

    @property
    def exited(self) -> bool:
        return self.status.state is ContainerState.EXITED

    @property
    def exit_code(self) -> int:
        return self.status.exit_code


@dataclass(frozen=True, slots=True)
class ObservedPod:
    """All sandboxes and containers of one pod, newest first."""

    uid: str
    sandboxes: tuple[SandboxStatus, ...] = ()
    containers: tuple[ObservedContainer, ...] = ()

    @property
    def sandbox(self) -> SandboxStatus | None:
        """The newest sandbox, ready or not."""
        return self.sandboxes[0] if self.sandboxes else None

    def latest(self, name: str) -> ObservedContainer | None:
        return next((c for c in self.containers if c.name == name), None)

    def history(self, name: str) -> list[ObservedContainer]:
        return [c for c in self.containers if c.name == name]

    def running(self) -> list[ObservedContainer]:
        return [c for c in self.containers if c.state in (ContainerState.RUNNING, ContainerState.UNKNOWN)]

    @property
    def quiet(self) -> bool:
        """Whether nothing of the pod runs any more."""
        return not self.running() and not any(s.ready for s in self.sandboxes)


_ORDER = {ContainerState.CREATED: 0, ContainerState.UNKNOWN: 0, ContainerState.RUNNING: 1, ContainerState.EXITED: 2}


class RuntimeView:
    """The runtime's state by pod uid. `on_change` hears the uid of every pod whose state changed."""

    def __init__(self, runtime: ContainerRuntime, config: KubeletConfig, clock: Clock) -> None:
        self._runtime = runtime
        self._config = config
        self._clock = clock
        self._containers: dict[str, dict[str, ObservedContainer]] = {}
        self._sandboxes: dict[str, dict[str, SandboxStatus]] = {}
        self._owner: dict[str, str] = {}
        self._built: dict[str, ObservedPod] = {}
        self._listeners: list[Callable[[str], None]] = []
        self._event_listeners: list[Callable[[RuntimeEvent], None]] = []
        self._tasks = TaskSet("runtime-view")
        self._settling: set[tuple[str, EventKind]] = set()
        self._reads = asyncio.Semaphore(_READS_AT_ONCE)
        self.synced = asyncio.Event()

    def on_change(self, listener: Callable[[str], None]) -> None:
        self._listeners.append(listener)

    def on_event(self, listener: Callable[[RuntimeEvent], None]) -> None:
        """Hears every event of the runtime as it comes, before its effect is read."""
        self._event_listeners.append(listener)

    def uids(self) -> set[str]:
        return set(self._containers) | set(self._sandboxes)

    def pod(self, uid: str) -> ObservedPod:
        pod = self._built.get(uid)
        if pod is None:
            pod = ObservedPod(
                uid,
                tuple(
                    sorted(self._sandboxes.get(uid, {}).values(), key=lambda s: (s.created_at, s.attempt), reverse=True)
                ),
                tuple(
                    sorted(
                        self._containers.get(uid, {}).values(),
                        key=lambda c: (c.status.created_at, c.restart_count),
                        reverse=True,
                    )
                ),
            )
            self._built[uid] = pod
        return pod

    def owner_of(self, id_: str) -> str | None:
        """The uid of the pod that a container or sandbox belongs to."""
        return self._owner.get(id_)

    def container(self, id_: str) -> ObservedContainer | None:
        return self._containers.get(self._owner.get(id_, ""), {}).get(id_)

    # -- reading the runtime -------------------------------------------------------------------------------------

    async def refresh_container(self, container_id: str, sandbox_id: str = "") -> ObservedContainer | None:
        """Reads one container and notes its state; None where it is gone (which is noted too)."""
        try:
            status = await self._runtime.container_status(container_id)
        except RuntimeFailure as failure:
            if not failure.not_found:
                raise
            # A sandbox's id is no container's, and the sandbox may have been noted while this was asked.
            if self.container(container_id) is not None:
                self._drop(container_id)
            return None
        known = self.container(container_id)
        if not sandbox_id and known is not None:
            sandbox_id = known.sandbox_id
        if not sandbox_id:
            summaries = await self._runtime.list_containers(labels={identity.POD_UID: _uid(status.labels)})
            sandbox_id = next((s.sandbox_id for s in summaries if s.id == container_id), "")
        return self._note_container(status, sandbox_id)

    async def refresh_sandbox(self, sandbox_id: str) -> SandboxStatus | None:
        try:
            status = await self._runtime.sandbox_status(sandbox_id)
        except RuntimeFailure as failure:
            if not failure.not_found:
                raise
            self._drop(sandbox_id)
            return None
        self._note_sandbox(status)
        return status

    async def refresh_pod(self, uid: str) -> ObservedPod:
        """Reads everything the runtime has of one pod."""
        await self._read({identity.POD_UID: uid}, only=uid)
        return self.pod(uid)

    async def refresh_all(self) -> None:
        await self._read(None, only=None)

    async def _read(self, labels: dict[str, str] | None, only: str | None) -> None:
        known = list(self._owner.items())
        sandboxes, containers = await asyncio.gather(
            self._runtime.list_sandboxes(labels), self._runtime.list_containers(labels=labels)
        )
        seen = {s.id for s in sandboxes} | {c.id for c in containers}
        for id_, uid in known:
            if id_ not in seen and (only is None or uid == only):
                self._drop(id_)
        await self._all([partial(self.refresh_sandbox, s.id) for s in sandboxes if _uid(s.labels)])
        await self._all([partial(self.refresh_container, c.id, c.sandbox_id) for c in containers if _uid(c.labels)])

    async def _all(self, reads: Sequence[Callable[[], Awaitable[object]]]) -> None:
        """Makes the reads, a few at a time, and every one of them; then raises the first failure."""

        async def one(read: Callable[[], Awaitable[object]]) -> None:
            async with self._reads:
                await read()

        for result in await asyncio.gather(*(one(read) for read in reads), return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    # -- noting it -------------------------------------------------------------------------------------------------

    def _note_container(self, status: ContainerStatus, sandbox_id: str) -> ObservedContainer | None:
        uid = _uid(status.labels)
        if not uid:
            return None
        known = self._containers.get(uid, {}).get(status.id)
        if known is not None and _ORDER[status.state] < _ORDER[known.state]:
            return known
        count = status.annotations.get(identity.RESTART_COUNT, "")
        restart_count = int(count) if count.isdigit() else status.attempt
        message = ""
        if status.state is ContainerState.EXITED:
            message = known.message if known is not None and known.exited else self._message(uid, status, restart_count)
        observed = ObservedContainer(
            status, sandbox_id, restart_count, status.annotations.get(identity.CONTAINER_HASH, ""), message
        )
        if observed == known:
            return known
        self._containers.setdefault(uid, {})[status.id] = observed
        self._owner[status.id] = uid
        self._changed(uid)
        return observed

    def _message(self, uid: str, status: ContainerStatus, restart_count: int) -> str:
        """What an exited container left as its last words: its termination message file, else the end of its log
        where its policy says so, else the runtime's message."""
        name = status.labels.get(identity.CONTAINER_NAME, status.name)
        text = _read_start(
            identity.termination_file(self._config.root_directory, uid, name, restart_count),
            _TERMINATION_MESSAGE_BYTES,
        )
        if text:
            return text
        policy = status.annotations.get(identity.TERMINATION_MESSAGE_POLICY, "File")
        if policy == "FallbackToLogsOnError" and status.exit_code != 0 and status.log_path:
            tail = _log_tail(Path(status.log_path))
            if tail:
                return tail
        return status.message

    def _note_sandbox(self, status: SandboxStatus) -> None:
        uid = _uid(status.labels) or status.uid
        if not uid:
            return
        known = self._sandboxes.get(uid, {}).get(status.id)
        if known == status or (known is not None and status.ready and not known.ready):
            return
        self._sandboxes.setdefault(uid, {})[status.id] = status
        self._owner[status.id] = uid
        self._changed(uid)

    def _drop(self, id_: str) -> None:
        uid = self._owner.pop(id_, None)
        if uid is None:
            return
        containers, sandboxes = self._containers.get(uid, {}), self._sandboxes.get(uid, {})
        containers.pop(id_, None)
        sandboxes.pop(id_, None)
        if not containers:
            self._containers.pop(uid, None)
        if not sandboxes:
            self._sandboxes.pop(uid, None)
        self._changed(uid)

    def forget(self, id_: str) -> None:
        """Notes that the kubelet itself removed a container or sandbox."""
        self._drop(id_)

    def _changed(self, uid: str) -> None:
        self._built.pop(uid, None)
        for listener in self._listeners:
            listener(uid)

    # -- following events ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Follows the runtime until cancelled; cancellation leaves the view as it is."""
        try:
            async for event in self._runtime.events():
                for listener in self._event_listeners:
                    listener(event)
                if event.kind is EventKind.RESYNC:
                    await self._resync()
                elif event.kind in _CHANGES or (event.kind is EventKind.DELETED and event.id in self._owner):
                    self._follow(event)
                # A creation is the kubelet's own doing and read by it; an OOM kill shows when the container has ended.
        finally:
            await self._tasks.cancel()

    async def _resync(self) -> None:
        delay = 0.05
        while True:
            try:
                await self.refresh_all()
            except RuntimeFailure as failure:
                log.warning("reading the runtime failed", error=str(failure), retry_s=delay)
                await self._clock.sleep(delay)
                delay = min(delay * 2, 5.0)
            else:
                self.synced.set()
                return

    def _follow(self, event: RuntimeEvent) -> None:
        known = self.container(event.id)
        if event.kind is EventKind.STARTED and known is not None and known.state is not ContainerState.CREATED:
            return
        if event.kind is EventKind.STOPPED and known is not None and known.exited:
            return
        if (event.id, event.kind) in self._settling:
            return
        self._settling.add((event.id, event.kind))
        self._tasks.start(self._settle(event), name=event.id[:12])

    async def _settle(self, event: RuntimeEvent) -> None:
        """Reads what an event is about until the runtime's own state has caught up with it."""
        try:
            delay = 0.005
            for _ in range(_SETTLE_TRIES):
                if await self._settled(event):
                    return
                await self._clock.sleep(delay)
                delay = min(delay * 2, 2.0)
            log.warning("the runtime does not catch up with its own event", kind=event.kind.value, id=event.id)
        finally:
            self._settling.discard((event.id, event.kind))

    async def _settled(self, event: RuntimeEvent) -> bool:
        try:
            if event.id in self._sandboxes.get(self._owner.get(event.id, ""), {}):
                sandbox = await self.refresh_sandbox(event.id)
                return sandbox is None or event.kind is not EventKind.STOPPED or not sandbox.ready
            container = await self.refresh_container(event.id)
            if container is None:
                # Neither known nor a container: a sandbox from before a restart, or something already removed.
                sandbox = await self.refresh_sandbox(event.id)
                return sandbox is None or event.kind is not EventKind.STOPPED or not sandbox.ready
            if event.kind is EventKind.STOPPED:
                return container.exited
            return container.state is not ContainerState.CREATED
        except RuntimeFailure as failure:
            log.debug("reading after an event failed", id=event.id, error=str(failure))
            return False


def _uid(labels: object) -> str:
    return str(labels.get(identity.POD_UID, "")) if hasattr(labels, "get") else ""


def _read_start(path: Path, limit: int) -> str:
    try:
        with path.open("rb") as file:
            return file.read(limit).decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"Error on reading termination log {path}: {error}"


def _log_tail(path: Path) -> str:
    """The last lines of a CRI log without their headers."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - 4 * _LOG_MESSAGE_BYTES))
            data = file.read()
    except OSError:
        return ""
    lines: list[bytes] = []
    for line in data.split(b"\n"):
        parts = line.split(b" ", 3)
        if len(parts) == 4:
            lines.append(parts[3] + (b"\n" if parts[2] == b"F" else b""))
    return b"".join(lines[-_LOG_MESSAGE_LINES:])[-_LOG_MESSAGE_BYTES:].decode("utf-8", "replace")
