"""The view of the runtime under events that come early, late, twice, or for things nobody knows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import pytest

from pybernetes.kubelet import identity
from pybernetes.kubelet.config import KubeletConfig
from pybernetes.kubelet.observed import RuntimeView
from pybernetes.kubelet.runtime import (
    ContainerRuntime,
    ContainerState,
    ContainerStatus,
    ContainerSummary,
    EventKind,
    RuntimeEvent,
    RuntimeFailure,
    SandboxStatus,
    SandboxSummary,
)
from pybernetes.lib.clock import SystemClock
from tests.support.waiting import until_changed
from tests.unit.kubelet.builders import NOW, UID, ran, sandbox

LABELS = {identity.POD_UID: UID, identity.CONTAINER_NAME: "main"}


@dataclass
class Runtime:
    """A runtime whose answers a test sets; `lag` makes it answer with an old state so many times."""

    containers: dict[str, ContainerStatus] = field(default_factory=dict)
    sandboxes: dict[str, SandboxStatus] = field(default_factory=dict)
    lag: list[ContainerStatus] = field(default_factory=list)
    reads: int = 0
    stream: asyncio.Queue[RuntimeEvent] = field(default_factory=asyncio.Queue)

    async def container_status(self, id_: str) -> ContainerStatus:
        self.reads += 1
        if id_ not in self.containers:
            raise RuntimeFailure("no such container", not_found=True)
        return self.lag.pop() if self.lag else self.containers[id_]

    async def sandbox_status(self, id_: str) -> SandboxStatus:
        if id_ not in self.sandboxes:
            raise RuntimeFailure("no such sandbox", not_found=True)
        return self.sandboxes[id_]

    async def list_containers(
        self, *, sandbox_id: str = "", labels: Mapping[str, str] | None = None
    ) -> Sequence[ContainerSummary]:
        return [
            ContainerSummary(c.id, "s0", c.name, c.attempt, c.state, "", 0.0, c.labels, c.annotations)
            for c in self.containers.values()
        ]

    async def list_sandboxes(self, labels: Mapping[str, str] | None = None) -> Sequence[SandboxSummary]:
        return [
            SandboxSummary(s.id, s.name, s.namespace, s.uid, s.attempt, s.ready, 0.0, s.labels, s.annotations)
            for s in self.sandboxes.values()
        ]

    async def events(self) -> AsyncIterator[RuntimeEvent]:
        while True:
            yield await self.stream.get()

    def tell(self, kind: EventKind, id_: str = "") -> None:
        self.stream.put_nowait(RuntimeEvent(kind, id_))


RUNNING = replace(ran().status, id="c0", labels=LABELS)
ENDED = replace(RUNNING, state=ContainerState.EXITED, exit_code=3, finished_at=NOW, reason="Error")
CREATED = replace(RUNNING, state=ContainerState.CREATED)
BOX = replace(sandbox(), labels={identity.POD_UID: UID})


@asynccontextmanager
async def following(runtime: Runtime, tmp_path: Path) -> AsyncIterator[RuntimeView]:
    made = RuntimeView(
        cast(ContainerRuntime, runtime), KubeletConfig("n", "192.0.2.7", tmp_path, tmp_path), SystemClock()
    )
    task = asyncio.create_task(made.run())
    runtime.tell(EventKind.RESYNC)
    try:
        await asyncio.wait_for(made.synced.wait(), 5)
        yield made
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(view: RuntimeView, state: ContainerState | None) -> None:
    """Waits for the container's state (None: for it to be gone)."""
    changed = asyncio.Event()
    view.on_change(lambda uid: changed.set())

    def is_so() -> bool:
        found = view.container("c0")
        return (found.state if found else None) is state

    await until_changed(changed, is_so, 5)


async def test_a_resync_reads_what_is_there_and_drops_what_is_not(tmp_path: Path) -> None:
    runtime = Runtime({"c0": RUNNING}, {"s0": BOX})
    async with following(runtime, tmp_path) as view:
        pod = view.pod(UID)
        assert [c.id for c in pod.containers] == ["c0"] and pod.containers[0].sandbox_id == "s0"
        assert pod.sandbox is not None and pod.sandbox.id == "s0" and not pod.quiet
        runtime.containers.clear()
        runtime.tell(EventKind.RESYNC)
        await until(view, None)
        assert view.uids() == {UID}


async def test_an_end_that_the_runtime_has_not_noted_yet_is_asked_for_again(tmp_path: Path) -> None:
    runtime = Runtime({"c0": RUNNING}, {"s0": BOX})
    async with following(runtime, tmp_path) as view:
        runtime.containers["c0"] = ENDED
        runtime.lag = [RUNNING] * 3
        runtime.tell(EventKind.STOPPED, "c0")
        await until(view, ContainerState.EXITED)
        found = view.container("c0")
        assert found is not None and found.exit_code == 3


async def test_an_end_of_a_container_that_nobody_has_read_is_not_lost(tmp_path: Path) -> None:
    runtime = Runtime()
    async with following(runtime, tmp_path) as view:
        runtime.containers["c0"] = ENDED
        runtime.lag = [RUNNING]
        runtime.tell(EventKind.STOPPED, "c0")
        await until(view, ContainerState.EXITED)


async def test_a_late_answer_does_not_bring_back_the_dead(tmp_path: Path) -> None:
    runtime = Runtime({"c0": ENDED}, {"s0": BOX})
    async with following(runtime, tmp_path) as view:
        runtime.containers["c0"] = RUNNING
        found = await view.refresh_container("c0")
        assert found is not None and found.state is ContainerState.EXITED


async def test_events_about_what_is_known_cost_nothing(tmp_path: Path) -> None:
    runtime = Runtime({"c0": RUNNING}, {"s0": BOX})
    async with following(runtime, tmp_path) as view:
        before = runtime.reads
        for _ in range(5):
            runtime.tell(EventKind.STARTED, "c0")
            runtime.tell(EventKind.CREATED, "c0")
            runtime.tell(EventKind.OOM, "c0")
        runtime.containers["c0"] = ENDED
        runtime.tell(EventKind.STOPPED, "c0")
        await until(view, ContainerState.EXITED)
        runtime.tell(EventKind.STOPPED, "c0")
        runtime.tell(EventKind.DELETED, "unknown")
        runtime.containers.clear()
        runtime.tell(EventKind.DELETED, "c0")
        await until(view, None)
        assert runtime.reads == before + 2


async def test_a_sandbox_that_dies_is_noted(tmp_path: Path) -> None:
    runtime = Runtime({}, {"s0": BOX})
    async with following(runtime, tmp_path) as view:
        changed = asyncio.Event()
        view.on_change(lambda uid: changed.set())
        runtime.sandboxes["s0"] = replace(BOX, ready=False)
        runtime.tell(EventKind.STOPPED, "s0")
        await asyncio.wait_for(changed.wait(), 5)
        assert view.pod(UID).quiet


@pytest.mark.parametrize(
    ("policy", "code", "file", "message"),
    [
        ("File", 1, "said", "said"),
        ("File", 1, "", "runtime"),
        ("FallbackToLogsOnError", 1, "", "one\ntwo and more\n"),
        ("FallbackToLogsOnError", 0, "", "runtime"),
        ("FallbackToLogsOnError", 1, "said", "said"),
        ("File", 1, "x" * 9000, "x" * 4096),
    ],
)
async def test_last_words(tmp_path: Path, policy: str, code: int, file: str, message: str) -> None:
    log = tmp_path / "0.log"
    log.write_text(
        "2026-01-01T00:00:00.0Z stdout F one\n"
        "2026-01-01T00:00:01.0Z stderr P two \n"
        "2026-01-01T00:00:01.0Z stderr F and more\n"
    )
    path = identity.termination_file(tmp_path, UID, "main", 0)
    path.parent.mkdir(parents=True)
    path.write_text(file)
    annotations = {identity.TERMINATION_MESSAGE_POLICY: policy}
    ended = replace(ENDED, exit_code=code, annotations=annotations, log_path=str(log), message="runtime")
    async with following(Runtime({"c0": ended}), tmp_path) as view:
        found = view.container("c0")
        assert found is not None and found.message == message
