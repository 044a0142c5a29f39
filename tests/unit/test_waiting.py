"""The tests' own way to wait."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.waiting import until, until_changed


async def test_the_value_is_what_the_condition_gives() -> None:
    found: list[str] = []
    asyncio.get_running_loop().call_later(0.02, found.append, "here")
    assert await until(lambda: found) == ["here"]

    async def look() -> str:
        return found[0]

    assert await until(look) == "here"


async def test_a_failure_says_what_was_waited_for_and_what_was_there() -> None:
    count = 0
    with pytest.raises(AssertionError, match=r"until\(lambda: count > 0, 0.02\).*: not within 0.02 s, but False"):
        await until(lambda: count > 0, 0.02)
    with pytest.raises(AssertionError, match=r"^the count: not within 0 s, but 0$"):
        await until(lambda: count, 0, "the count")


async def test_a_loop_that_was_held_up_looks_once_more() -> None:
    loop = asyncio.get_running_loop()
    over = loop.time() + 0.02

    def look() -> bool:
        held_up = loop.time() < over
        while loop.time() < over:
            pass
        return not held_up

    assert await until(look, 0.01)


async def test_errors_end_the_wait_but_for_those_to_be_ignored() -> None:
    def look() -> str:
        return {}["key"]

    with pytest.raises(KeyError):
        await until(look)
    with pytest.raises(AssertionError, match=r"the key: not within 0.02 s, but KeyError") as failed:
        await until(look, 0.02, "the key", ignoring=(KeyError,))
    assert isinstance(failed.value.__cause__, KeyError)


async def test_a_look_that_hangs_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.waiting._LAST_LOOK_SECONDS", 0.01)
    cancelled = asyncio.Event()

    async def look() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with pytest.raises(AssertionError, match="the look itself did not end"):
        await until(look, 0.02)
    assert cancelled.is_set()
    # A time-out of the condition's own is its own.
    with pytest.raises(TimeoutError):
        await until(lambda: asyncio.wait_for(asyncio.Event().wait(), 0.001))


async def test_a_wait_for_changes_looks_at_each_and_at_no_other_time() -> None:
    changed, looks = asyncio.Event(), 0

    def third_look() -> int:
        nonlocal looks
        looks += 1
        return looks if looks == 3 else 0

    waiting = asyncio.create_task(until_changed(changed, third_look, 5))
    await until(lambda: looks == 1)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(waiting), 0.02)
    assert looks == 1
    changed.set()
    await until(lambda: looks == 2)
    changed.set()
    assert await waiting == 3
    with pytest.raises(AssertionError, match=r"not within 0.01 s: so many changes: 0"):
        await until_changed(changed, lambda: None, 0.01, lambda: f"so many changes: {looks - 3}")
