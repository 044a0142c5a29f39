"""Container and sandbox events of a runtime, as streams of `RuntimeEvent`.

`containerd_events` reads containerd's events service, which every version of it has, on the socket of its CRI;
`cri_events` reads CRI's GetContainerEvents, for other runtimes. Both end by raising: to connect again is the caller's.

A STOPPED event is held back until the runtime's own status agrees. containerd publishes an exit before its CRI has
taken note of it (CRI deletes the task first, some tens of milliseconds), and whoever asked for the status in between
would read RUNNING and never hear of the container again. The end of that gap is announced by the task's deletion,
so that the status is read again then and not on a timer; a short back-off, bounded, covers the write that follows it.

One asyncio task reads the stream and one task a pending exit waits; all belong to the generator and end with it.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import structlog
from google.protobuf import any_pb2

from pybernetes.kubelet.cri import containerd_v1_pb2 as ctrd
from pybernetes.kubelet.cri import runtime_v1_pb2 as pb
from pybernetes.kubelet.cri.channel import Channel, failure_of
from pybernetes.kubelet.runtime import EventKind, RuntimeEvent, RuntimeFailure
from pybernetes.lib.tasks import TaskSet

NAMESPACE = "k8s.io"
"""The containerd namespace in which its CRI keeps everything."""

QUEUE_LIMIT = 4096
"""Events that wait for a slow reader. On overflow all of them are dropped for one RESYNC, which covers them."""

_METADATA = (("containerd-namespace", NAMESPACE),)
_CALL_DEADLINE_SECONDS = 10.0
_MARKER_TOPIC = "/pybernetes/subscribed"
_MARKER_DEADLINE_SECONDS = 1.0
_MARKER_ATTEMPTS = 5
# How long an exit waits for the deletion of its task, and then for the status to agree, before it is told anyway.
_DELETION_DEADLINE_SECONDS = 0.5
_SETTLE_DEADLINE_SECONDS = 5.0

_RUNTIME = "/runtime.v1.RuntimeService/"
_EVENTS = "/containerd.services.events.v1.Events/"
_TASKS = "/containerd.services.tasks.v1.Tasks/"

log = structlog.get_logger(__name__)

Settled = Callable[[str], Awaitable[bool]]


class EventQueue:
    """Events for one reader, bounded by `QUEUE_LIMIT`."""

    def __init__(self, limit: int = QUEUE_LIMIT) -> None:
        self._limit = limit
        self._events: deque[RuntimeEvent] = deque()
        self._wakeup = asyncio.Event()
        self._error: BaseException | None = None
        self.overflows = 0

    def put(self, event: RuntimeEvent) -> None:
        if len(self._events) >= self._limit:
            self._events.clear()
            self.overflows += 1
            event = RuntimeEvent(EventKind.RESYNC, "")
        self._events.append(event)
        self._wakeup.set()

    def put_first(self, event: RuntimeEvent) -> None:
        self._events.appendleft(event)
        self._wakeup.set()

    def fail(self, error: BaseException) -> None:
        """Ends the reader with this error, after what already waits."""
        self._error = error
        self._wakeup.set()

    async def get(self) -> RuntimeEvent:
        while not self._events:
            if self._error is not None:
                raise self._error
            self._wakeup.clear()
            await self._wakeup.wait()
        return self._events.popleft()


async def status_agrees(channel: Channel, id_: str) -> bool:
    """Whether the CRI status of a container, or sandbox, whose process ended says so; one that is gone agrees."""
    try:
        status = await channel.call(
            _RUNTIME + "ContainerStatus",
            pb.ContainerStatusRequest(container_id=id_),
            pb.ContainerStatusResponse,
            deadline_seconds=_CALL_DEADLINE_SECONDS,
        )
        return status.status.state in (pb.CONTAINER_EXITED, pb.CONTAINER_UNKNOWN)
    except RuntimeFailure as error:
        if not error.not_found:
            raise
    try:
        sandbox = await channel.call(
            _RUNTIME + "PodSandboxStatus",
            pb.PodSandboxStatusRequest(pod_sandbox_id=id_),
            pb.PodSandboxStatusResponse,
            deadline_seconds=_CALL_DEADLINE_SECONDS,
        )
        return bool(sandbox.status.state == pb.SANDBOX_NOTREADY)
    except RuntimeFailure as error:
        if not error.not_found:
            raise
        return True


class ContainerdSubscription:
    """One subscription to containerd's events. `open` it, then `queue.get` in a loop, then `close`."""

    def __init__(self, channel: Channel, on_oom: Callable[[str], None]) -> None:
        self.queue = EventQueue()
        self._channel = channel
        self._on_oom = on_oom
        self._tasks = TaskSet("containerd-events")
        self._deletions: dict[str, asyncio.Event] = {}
        self._token = uuid.uuid4().hex
        self._live = asyncio.Event()
        self._call: Any = None

    async def open(self) -> None:
        """Returns when events are known to arrive and RESYNC is queued before all of them."""
        topics = (
            "/tasks/start", "/tasks/exit", "/tasks/delete", "/tasks/oom",
            "/containers/create", "/containers/delete", _MARKER_TOPIC,
        )  # fmt: skip
        self._call = self._channel.stream(
            _EVENTS + "Subscribe",
            ctrd.SubscribeRequest(filters=[f'namespace=={NAMESPACE},topic=="{topic}"' for topic in topics]),
            ctrd.Envelope,
            metadata=_METADATA,
        )
        reader = self._tasks.start(self._read(), name="read")
        await self._wait_until_live(reader)
        await self._find_missed_exits()
        self.queue.put_first(RuntimeEvent(EventKind.RESYNC, ""))

    async def close(self) -> None:
        if self._call is not None:
            self._call.cancel()
        await self._tasks.cancel()

    async def _wait_until_live(self, reader: asyncio.Task[None]) -> None:
        """The server does not acknowledge a subscription: publish an event of our own until it comes back."""
        for _ in range(_MARKER_ATTEMPTS):
            marker = any_pb2.Any(
                type_url="containerd.events.ContainerUpdate",
                value=ctrd.ContainerUpdate(id=self._token).SerializeToString(),
            )
            await self._channel.call(
                _EVENTS + "Publish",
                ctrd.PublishRequest(topic=_MARKER_TOPIC, event=marker),
                any_pb2.Any,
                deadline_seconds=_CALL_DEADLINE_SECONDS,
                metadata=_METADATA,
            )
            waiting = asyncio.ensure_future(self._live.wait())
            try:
                await asyncio.wait(
                    {waiting, reader}, timeout=_MARKER_DEADLINE_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
            finally:
                waiting.cancel()
            if self._live.is_set():
                return
            if reader.done():
                break
        raise RuntimeFailure(f"no events arrive from containerd at {self._channel.socket_path}", timed_out=True)

    async def _find_missed_exits(self) -> None:
        """Whatever CRI still calls running although its task has ended exited just before the subscription: its
        status is about to change, and no further event would tell of it."""
        tasks = await self._channel.call(
            _TASKS + "List",
            ctrd.ListTasksRequest(),
            ctrd.ListTasksResponse,
            deadline_seconds=_CALL_DEADLINE_SECONDS,
            metadata=_METADATA,
        )
        alive = {t.id or t.container_id for t in tasks.tasks if t.status not in (ctrd.STOPPED, ctrd.UNKNOWN)}
        containers = await self._channel.call(
            _RUNTIME + "ListContainers",
            pb.ListContainersRequest(
                filter=pb.ContainerFilter(state=pb.ContainerStateValue(state=pb.CONTAINER_RUNNING))
            ),
            pb.ListContainersResponse,
            deadline_seconds=_CALL_DEADLINE_SECONDS,
        )
        sandboxes = await self._channel.call(
            _RUNTIME + "ListPodSandbox",
            pb.ListPodSandboxRequest(),
            pb.ListPodSandboxResponse,
            deadline_seconds=_CALL_DEADLINE_SECONDS,
        )
        running = {c.id for c in containers.containers}
        running |= {s.id for s in sandboxes.items if s.state == pb.SANDBOX_READY}
        for id_ in running - alive:
            self._exited(id_).set()

    async def _read(self) -> None:
        try:
            async for envelope in self._call:
                self._take(envelope)
            self.queue.fail(RuntimeFailure("containerd ended the event stream"))
        except grpc.aio.AioRpcError as error:
            self.queue.fail(failure_of(error))

    def _take(self, envelope: Any) -> None:
        value = envelope.event.value
        match envelope.topic:
            case "/tasks/exit":
                exited = ctrd.TaskExit.FromString(value)
                # An exec's process has an id of its own and says nothing of the container.
                if exited.id == exited.container_id:
                    self._exited(exited.container_id)
            case "/tasks/delete":
                deleted = ctrd.TaskDelete.FromString(value)
                if deleted.id in ("", deleted.container_id):
                    self._exited(deleted.container_id).set()
            case "/tasks/start":
                self.queue.put(RuntimeEvent(EventKind.STARTED, ctrd.TaskStart.FromString(value).container_id))
            case "/tasks/oom":
                id_ = ctrd.TaskOOM.FromString(value).container_id
                self._on_oom(id_)
                self.queue.put(RuntimeEvent(EventKind.OOM, id_))
            case "/containers/create":
                self.queue.put(RuntimeEvent(EventKind.CREATED, ctrd.ContainerCreate.FromString(value).id))
            case "/containers/delete":
                self.queue.put(RuntimeEvent(EventKind.DELETED, ctrd.ContainerDelete.FromString(value).id))
            case _ if envelope.topic == _MARKER_TOPIC:
                if ctrd.ContainerUpdate.FromString(value).id == self._token:
                    self._live.set()

    def _exited(self, id_: str) -> asyncio.Event:
        """The event to set when the task is deleted; starts the wait for the exit's status once."""
        deletion = self._deletions.get(id_)
        if deletion is None:
            deletion = self._deletions[id_] = asyncio.Event()
            self._tasks.start(self._settle(id_, deletion), name=f"exit/{id_}")
        return deletion

    async def _settle(self, id_: str, deletion: asyncio.Event) -> None:
        try:
            if not await settle(
                id_,
                deletion,
                lambda i: status_agrees(self._channel, i),
                deletion_deadline_seconds=_DELETION_DEADLINE_SECONDS,
                settle_deadline_seconds=_SETTLE_DEADLINE_SECONDS,
            ):
                log.warning("the runtime's status does not follow an exit", id=id_)
        except RuntimeFailure as error:
            # The reader hears of a broken connection by itself; the RESYNC after it covers this exit.
            log.debug("no status after an exit", id=id_, error=str(error))
        finally:
            self._deletions.pop(id_, None)
        self.queue.put(RuntimeEvent(EventKind.STOPPED, id_))


async def settle(
    id_: str,
    deletion: asyncio.Event,
    settled: Settled,
    *,
    deletion_deadline_seconds: float,
    settle_deadline_seconds: float,
) -> bool:
    """Waits until `settled(id_)`: asked at once (an exit may be told late, when its task is long deleted), again when
    the task's deletion is announced, then after pauses of 1, 2, 4, … ms. False where it did not come true before the
    deadlines."""
    if not deletion.is_set() and await settled(id_):
        return True
    try:
        async with asyncio.timeout(deletion_deadline_seconds):
            await deletion.wait()
    except TimeoutError:
        log.debug("no deletion follows an exit", id=id_)
    pause = 0.001
    waited = 0.0
    while not await settled(id_):
        if waited >= settle_deadline_seconds:
            return False
        await asyncio.sleep(pause)
        waited += pause
        pause = min(pause * 2, 0.5)
    return True


async def containerd_events(channel: Channel, on_oom: Callable[[str], None]) -> AsyncIterator[RuntimeEvent]:
    """Events of one connection, RESYNC first; ends by raising `RuntimeFailure`."""
    subscription = ContainerdSubscription(channel, on_oom)
    try:
        await subscription.open()
        while True:
            yield await subscription.queue.get()
    finally:
        await subscription.close()


_CRI_KINDS = {
    pb.CONTAINER_CREATED_EVENT: EventKind.CREATED,
    pb.CONTAINER_STARTED_EVENT: EventKind.STARTED,
    pb.CONTAINER_STOPPED_EVENT: EventKind.STOPPED,
    pb.CONTAINER_DELETED_EVENT: EventKind.DELETED,
}


async def cri_events(channel: Channel) -> AsyncIterator[RuntimeEvent]:
    """Events of one connection by CRI's own call, RESYNC first; ends by raising `RuntimeFailure`. A runtime sends
    these after it has changed its status, so nothing is held back; CRI has no OOM event."""
    call = channel.stream(_RUNTIME + "GetContainerEvents", pb.GetEventsRequest(), pb.ContainerEventResponse)
    try:
        # The stream is not acknowledged either; a call after it on the same connection has at least passed it.
        await channel.call(
            _RUNTIME + "Version", pb.VersionRequest(), pb.VersionResponse, deadline_seconds=_CALL_DEADLINE_SECONDS
        )
        yield RuntimeEvent(EventKind.RESYNC, "")
        async for event in call:
            kind = _CRI_KINDS.get(event.container_event_type)
            if kind is not None:
                yield RuntimeEvent(kind, event.container_id)
        raise RuntimeFailure("the runtime ended the event stream")
    except grpc.aio.AioRpcError as error:
        raise failure_of(error) from error
    finally:
        call.cancel()
