"""Event streams: the bounded queue, the wait for a status, and a runtime that is not containerd."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from pybernetes.kubelet.cri import CRIRuntime
from pybernetes.kubelet.cri import runtime_v1_pb2 as pb
from pybernetes.kubelet.cri.events import EventQueue, settle
from pybernetes.kubelet.runtime import EventKind, RuntimeEvent, RuntimeFailure
from tests.support.waiting import until


async def test_an_overflow_becomes_a_resync() -> None:
    queue = EventQueue(limit=2)
    for id_ in ("a", "b", "c", "d"):
        queue.put(RuntimeEvent(EventKind.STOPPED, id_))
    assert await queue.get() == RuntimeEvent(EventKind.RESYNC, "")
    assert await queue.get() == RuntimeEvent(EventKind.STOPPED, "d")
    assert queue.overflows == 1
    queue.fail(RuntimeFailure("over"))
    with pytest.raises(RuntimeFailure, match="over"):
        await queue.get()


async def test_an_exit_waits_for_the_deletion_and_then_for_the_status() -> None:
    deletion = asyncio.Event()
    asked = []

    async def settled(id_: str) -> bool:
        asked.append(deletion.is_set())
        return len(asked) >= 4

    waiting = asyncio.create_task(
        settle("x", deletion, settled, deletion_deadline_seconds=30, settle_deadline_seconds=30)
    )
    await until(lambda: asked)
    assert not waiting.done()
    deletion.set()
    assert await waiting
    assert asked == [False, True, True, True]


async def test_a_status_that_never_follows_is_given_up() -> None:
    async def settled(id_: str) -> bool:
        return False

    assert not await settle(
        "x", asyncio.Event(), settled, deletion_deadline_seconds=0.01, settle_deadline_seconds=0.005
    )


class OtherRuntime:
    """A CRI server that has GetContainerEvents, as runtimes other than containerd do."""

    def __init__(self) -> None:
        self.subscriptions = 0

    def handler(self) -> Any:
        async def version(request: Any, context: Any) -> Any:
            return pb.VersionResponse(runtime_name="other", runtime_version="1", runtime_api_version="v1")

        async def status(request: Any, context: Any) -> Any:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no container {request.container_id}")

        async def slow(request: Any, context: Any) -> Any:
            await asyncio.Event().wait()

        async def events(request: Any, context: Any) -> AsyncIterator[Any]:
            self.subscriptions += 1
            yield pb.ContainerEventResponse(container_id="c", container_event_type=pb.CONTAINER_STARTED_EVENT)
            if self.subscriptions == 1:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "going away")
            yield pb.ContainerEventResponse(container_id="c", container_event_type=pb.CONTAINER_STOPPED_EVENT)
            await asyncio.Event().wait()

        def unary(function: Any, request: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(
                function, request_deserializer=request.FromString, response_serializer=lambda m: m.SerializeToString()
            )

        return grpc.method_handlers_generic_handler(
            "runtime.v1.RuntimeService",
            {
                "Version": unary(version, pb.VersionRequest),
                "ContainerStatus": unary(status, pb.ContainerStatusRequest),
                "StopContainer": unary(slow, pb.StopContainerRequest),
                "GetContainerEvents": grpc.unary_stream_rpc_method_handler(
                    events,
                    request_deserializer=pb.GetEventsRequest.FromString,
                    response_serializer=lambda m: m.SerializeToString(),
                ),
            },
        )


@pytest.fixture
async def other(tmp_path: Path) -> AsyncIterator[CRIRuntime]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((OtherRuntime().handler(),))
    server.add_insecure_port(f"unix:{tmp_path}/cri.sock")
    await server.start()
    runtime = CRIRuntime(f"{tmp_path}/cri.sock")
    yield runtime
    await runtime.close()
    await server.stop(None)


async def test_events_of_another_runtime_and_a_resync_after_a_break(other: CRIRuntime) -> None:
    seen = []
    async with asyncio.timeout(30), aclosing(other.events()) as events:  # type: ignore[type-var]
        async for event in events:
            seen.append((event.kind, event.id))
            if event.kind is EventKind.STOPPED:
                break
    resync = (EventKind.RESYNC, "")
    assert seen == [resync, (EventKind.STARTED, "c"), resync, (EventKind.STARTED, "c"), (EventKind.STOPPED, "c")]


async def test_failures_say_what_the_runtime_said(other: CRIRuntime, tmp_path: Path) -> None:
    with pytest.raises(RuntimeFailure, match=r"^no container c$") as failure:
        await other.container_status("c")
    assert failure.value.not_found
    nowhere = CRIRuntime(str(tmp_path / "absent.sock"))
    with pytest.raises(RuntimeFailure) as failure:
        await nowhere.version()
    assert not failure.value.not_found
    await nowhere.close()


async def test_every_call_has_a_deadline(other: CRIRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pybernetes.kubelet.cri.client.REQUEST_DEADLINE_SECONDS", 0.05)
    with pytest.raises(RuntimeFailure) as failure:
        await other.stop_container("c", 0)
    assert failure.value.timed_out
