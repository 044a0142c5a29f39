"""Deadlines of requests: one timer for all, and durations as Go writes them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from pybernetes.api.errors import BadRequest
from pybernetes.apiserver.deadlines import Deadlines, parse_timeout


@dataclass(eq=False)
class Asked:
    late: bool = False


async def test_who_is_late_is_cancelled_and_nobody_else() -> None:
    loop = asyncio.get_running_loop()
    deadlines: Deadlines[Asked] = Deadlines(0.02)
    started = loop.time()
    slow, quick, lasting, hasty = (Asked() for _ in range(4))
    tasks = {id(a): loop.create_task(asyncio.Event().wait()) for a in (slow, quick, lasting, hasty)}
    for asked in (slow, quick, lasting, hasty):
        deadlines.enter(asked, tasks[id(asked)], started)
    deadlines.shorten(hasty, 0.001)
    deadlines.leave(quick)
    deadlines.leave(lasting)
    deadlines.leave(lasting)
    await asyncio.wait([tasks[id(hasty)]])
    assert hasty.late and not slow.late
    deadlines.leave(hasty)
    await asyncio.wait([tasks[id(slow)]])
    assert slow.late and not quick.late and not lasting.late and len(deadlines) == 0
    assert not tasks[id(quick)].done() and not tasks[id(lasting)].done()
    later = Asked()
    task = loop.create_task(asyncio.Event().wait())
    deadlines.enter(later, task, loop.time())
    await asyncio.wait([task])
    assert later.late, "the timer starts again with the next request"
    for rest in tasks.values():
        rest.cancel()
    deadlines.close()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0.0), ("10s", 10.0), ("1m30s", 90.0), ("1.5h", 5400.0), ("250ms", 0.25), ("-1s", -1.0), ("+.5s", 0.5)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_timeout(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("abc", 'time: invalid duration "abc"'),
        ("10", 'time: missing unit in duration "10"'),
        ("10x", 'time: unknown unit "x" in duration "10x"'),
        ("-", 'time: invalid duration "-"'),
        (".s", 'time: invalid duration ".s"'),
    ],
)
def test_what_is_no_duration(text: str, why: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_timeout(text)
    assert caught.value.message == f"invalid timeout specified in the request URL - {why}"
