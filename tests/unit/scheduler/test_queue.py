"""The scheduling queue: order, back-off, and events that bring a pod back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pybernetes.lib.clock import ManualClock
from pybernetes.scheduler.framework import Change
from pybernetes.scheduler.queue import SchedulingQueue, Waiting

EVENTS = {"Fit": Change.POD_GONE | Change.NODE_ADD, "Taints": Change.NODE_TAINTS}


def pod(name: str, priority: int = 0, uid: str = "") -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "d", "uid": uid or name}, "spec": {"priority": priority}}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def pop(queue: SchedulingQueue) -> Waiting:
    async with asyncio.timeout(5):
        return await queue.pop()


async def is_idle(queue: SchedulingQueue) -> bool:
    try:
        async with asyncio.timeout(0.01):
            await queue.pop()
    except TimeoutError:
        return True
    return False


async def test_priority_then_age(clock: ManualClock) -> None:
    queue = SchedulingQueue(clock, EVENTS)
    for name, priority in (("low", 0), ("high", 10), ("low2", 0)):
        queue.put(pod(name, priority))
        clock.advance(1)
    assert [(await pop(queue)).pod["metadata"]["name"] for _ in range(3)] == ["high", "low", "low2"]


async def test_rejected_pod_waits_for_an_event_that_could_help(clock: ManualClock) -> None:
    queue = SchedulingQueue(clock, EVENTS)
    queue.put(pod("p"))
    queue.requeue(await pop(queue), frozenset({"Fit"}))
    clock.advance(60)
    queue.happened(Change.NODE_TAINTS)
    assert await is_idle(queue)
    queue.happened(Change.POD_GONE)
    assert (await pop(queue)).attempts == 2


async def test_back_off_doubles_to_its_limit(clock: ManualClock) -> None:
    queue = SchedulingQueue(clock, EVENTS)
    queue.put(pod("p"))
    for delay in (1, 2, 4, 8, 10, 10):
        queue.requeue(await pop(queue), frozenset({"Fit"}))
        queue.happened(Change.POD_GONE)
        clock.advance(delay - 0.1)
        queue.release()
        assert await is_idle(queue)
        clock.advance(0.1)
        queue.release()
    assert (await pop(queue)).attempts == 7


async def test_an_event_during_the_attempt_is_not_missed(clock: ManualClock) -> None:
    queue = SchedulingQueue(clock, EVENTS)
    queue.put(pod("p"))
    waiting = await pop(queue)
    queue.happened(Change.NODE_ADD)
    queue.requeue(waiting, frozenset({"Fit"}))
    clock.advance(2)
    queue.release()
    assert (await pop(queue)) is waiting


async def test_an_error_is_retried_without_an_event(clock: ManualClock) -> None:
    queue = SchedulingQueue(clock, EVENTS)
    queue.put(pod("p"))
    queue.requeue(await pop(queue), frozenset())
    assert await is_idle(queue)
    clock.advance(1)
    queue.release()
    await pop(queue)


async def test_removed_and_replaced_pods(clock: ManualClock) -> None:
    queue = SchedulingQueue(clock, EVENTS)
    queue.put(pod("gone"))
    queue.remove("d/gone")
    assert await is_idle(queue)
    queue.put(pod("p", uid="1"))
    old = await pop(queue)
    queue.put(pod("p", uid="2"))
    queue.requeue(old, frozenset({"Fit"}))
    assert (await pop(queue)).pod["metadata"]["uid"] == "2"
    assert len(queue) == 1
