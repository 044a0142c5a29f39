"""Seats of priority levels: lending and borrowing, fair queues, and that nothing is lost or counted twice."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybernetes.apiserver.flowcontrol.seats import Level, Pool, Queuing, Rejected, Waiter, deal


def make(pool: Pool, name: str, nominal: int, *, lent: int = 0, most: int = 1000, queuing: Any = (8, 2, 10)) -> Level:
    level = pool.level(name)
    level.configure(
        exempt=False,
        nominal=nominal,
        own=nominal - lent,
        most=most,
        queuing=Queuing(*queuing) if queuing else None,
    )
    pool.settle()
    return level


def take(level: Level, count: int) -> int:
    return sum(level.try_take(1) for _ in range(count))


def check(pool: Pool) -> None:
    """The invariants at any moment."""
    assert pool.taken == sum(max(0, level.in_use - level.own) for level in pool.levels.values())
    assert pool.taken <= pool.lent
    for level in pool.levels.values():
        assert 0 <= level.in_use <= max(level.most, level.nominal)
        assert (level in pool.waiting) == (level.waiting > 0)


def test_a_level_lends_what_it_does_not_need_and_keeps_its_own() -> None:
    pool = Pool()
    lender, borrower = make(pool, "lender", 10, lent=6), make(pool, "borrower", 2)
    assert take(borrower, 20) == 8, "its own two, and the six that are lent"
    check(pool)
    assert take(lender, 20) == 4, "its own four: the others are not taken away from whoever has them"
    for _ in range(3):
        borrower.release(1)
    assert take(lender, 20) == 3
    check(pool)


def test_a_borrowing_limit_holds() -> None:
    pool = Pool()
    make(pool, "lender", 10, lent=10)
    assert take(make(pool, "b", 2, most=3), 20) == 3
    assert take(make(pool, "c", 2, most=2), 20) == 2


def test_a_wide_request_runs_alone() -> None:
    level = make(Pool(), "a", 4, most=4)
    assert level.try_take(1) and not level.try_take(10)
    level.release(1)
    assert level.try_take(4)
    level.release(4)
    assert not level.in_use


def test_an_exempt_level_has_no_limit() -> None:
    pool = Pool()
    level = pool.level("exempt")
    level.configure(exempt=True, nominal=0, own=0, most=0, queuing=None)
    pool.settle()
    assert take(level, 10_000) == 10_000 and pool.taken == 0


async def test_without_queues_a_full_level_sends_away() -> None:
    level = make(Pool(), "a", 1, queuing=None)
    assert level.try_take(1)
    with pytest.raises(Rejected, match="concurrency-limit"):
        await level.wait(1, 7, 10)
    assert level.in_use == 1 and level.idle() is False


async def test_a_full_queue_and_a_long_wait() -> None:
    pool = Pool()
    level = make(pool, "a", 1, queuing=(1, 1, 2))
    assert level.try_take(1)
    first, second = (asyncio.create_task(level.wait(1, 7, 30)) for _ in range(2))
    await asyncio.sleep(0)
    with pytest.raises(Rejected, match="queue-full"):
        await level.wait(1, 7, 30)
    level.release(1)
    waiter = await first
    with pytest.raises(Rejected, match="time-out"):
        await level.wait(1, 7, 0.01)
    check(pool)
    level.release(1, waiter)
    level.release(1, await second)
    assert level.idle() and not pool.waiting


async def test_who_waits_is_not_overtaken() -> None:
    level = make(Pool(), "a", 2)
    assert take(level, 2) == 2
    waiting = asyncio.create_task(level.wait(2, 7, 30))
    await asyncio.sleep(0)
    level.release(1)
    assert not level.try_take(1), "the seat is kept for the wide request that waits"
    level.release(1)
    level.release(2, await waiting)
    assert level.idle()


async def test_a_cancelled_wait_leaves_nothing() -> None:
    pool = Pool()
    level = make(pool, "a", 1)
    assert level.try_take(1)
    waiting = [asyncio.create_task(level.wait(1, i, 30)) for i in range(5)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.gather(waiting[0], return_exceptions=True)
    # Let in and cancelled in the same moment.
    level.release(1)
    for task in waiting[1:]:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert level.idle() and not pool.waiting and not pool.taken and not level._queues


async def test_an_elephant_does_not_starve_a_mouse() -> None:
    """One flow with hundreds of requests and one with few share the seats equally, not by their numbers."""
    clock = [0.0]
    pool = Pool(lambda: clock[0])
    level = make(pool, "a", 4, queuing=(64, 6, 500))
    running: list[Waiter] = []
    done: list[str] = []

    async def ask(flow: str, number: int) -> None:
        waiter = await level.wait(1, number, 1000)
        done.append(flow)
        running.append(waiter)

    assert take(level, 4) == 4
    tasks = [asyncio.create_task(ask("elephant", 11)) for _ in range(400)]
    tasks += [asyncio.create_task(ask("mouse", 2**40 + 3)) for _ in range(10)]
    await asyncio.sleep(0)
    level.release(4)
    while len(done) < 60:
        await asyncio.sleep(0)
        clock[0] += 1.0
        ended, running = running, []
        for waiter in ended:
            level.release(1, waiter)
    assert done[:60].count("mouse") == 10, "every request of the mouse is among the first, though all came last"
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_lender_gets_its_seats_back_before_others_borrow_again() -> None:
    pool = Pool()
    lender, borrower = make(pool, "lender", 4, lent=4), make(pool, "borrower", 1)
    assert take(borrower, 5) == 5
    greedy = [asyncio.create_task(borrower.wait(1, i, 30)) for i in range(4)]
    mine = [asyncio.create_task(lender.wait(1, i, 30)) for i in range(3)]
    await asyncio.sleep(0)
    for _ in range(3):
        borrower.release(1)
        check(pool)
    await asyncio.sleep(0)
    assert all(t.done() for t in mine) and not any(t.done() for t in greedy)
    for task in greedy:
        task.cancel()
    await asyncio.gather(*greedy, return_exceptions=True)


async def test_who_waits_for_its_own_is_not_robbed_by_borrowers() -> None:
    """Also not by one that comes just now, while the wide request that waits does not fit yet."""
    pool = Pool()
    lender, borrower = make(pool, "lender", 4, lent=4), make(pool, "borrower", 1)
    assert take(borrower, 3) == 3
    mine = asyncio.create_task(lender.wait(4, 7, 30))
    await asyncio.sleep(0)
    assert not borrower.try_take(1), "two lent seats are free, and kept for the lender"
    borrower.release(1)
    borrower.release(1)
    await asyncio.sleep(0)
    assert mine.done() and lender.in_use == 4


async def test_a_flow_that_comes_late_has_no_claim_to_what_it_missed() -> None:
    clock = [0.0]
    pool = Pool(lambda: clock[0])
    level = make(pool, "a", 1, queuing=(64, 1, 500))
    done: list[str] = []
    running: list[Waiter] = []

    async def ask(flow: str, number: int) -> None:
        running.append(await level.wait(1, number, 1000))
        done.append(flow)

    async def serve(count: int) -> None:
        for _ in range(count):
            await asyncio.sleep(0)
            clock[0] += 1.0
            level.release(1, running.pop())
            await asyncio.sleep(0)

    assert level.try_take(1)
    tasks = [asyncio.create_task(ask("first", 1)) for _ in range(100)]
    await asyncio.sleep(0)
    level.release(1)
    await serve(50)
    tasks += [asyncio.create_task(ask("late", 2)) for _ in range(50)]
    await asyncio.sleep(0)
    done.clear()
    await serve(20)
    assert 9 <= done[:20].count("late") <= 11, done
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_any_order_of_requests_keeps_the_books() -> None:
    pick = random.Random(5)
    pool = Pool()
    levels = [
        make(pool, "a", 10, lent=5), make(pool, "b", 4, lent=4), make(pool, "c", 6, most=7),
        make(pool, "d", 3, queuing=None),
    ]  # fmt: skip
    held: list[tuple[Level, int, Waiter | None]] = []
    served = 0

    async def request() -> None:
        nonlocal served
        level, width = pick.choice(levels), pick.choice((1, 1, 1, 2, 3))
        if level.try_take(width):
            held.append((level, width, None))
        else:
            try:
                held.append((level, width, await level.wait(width, pick.randrange(9), pick.choice((0.001, 5)))))
            except Rejected:
                return
        served += 1

    tasks: list[asyncio.Task[None]] = []
    for _ in range(3000):
        tasks.append(asyncio.create_task(request()))
        if pick.random() < 0.5:
            await asyncio.sleep(0)
        if pick.random() < 0.05:
            pick.choice(tasks).cancel()
        for _ in range(pick.randrange(3)):
            if held:
                level, width, waiter = held.pop(pick.randrange(len(held)))
                level.release(width, waiter)
        if pick.random() < 0.01:
            make(pool, "a", pick.randrange(10, 14), lent=5)
        assert pool.taken == sum(max(0, level.in_use - level.own) for level in levels)
    while held or not all(t.done() for t in tasks):
        while held:
            level, width, waiter = held.pop()
            level.release(width, waiter)
        await asyncio.sleep(0)
    assert all(level.idle() and not level._queues for level in levels) and not pool.waiting and not pool.taken
    assert served > 500


@given(st.integers(0, 2**64 - 1), st.integers(1, 300), st.integers(1, 12))
def test_a_hand_has_different_cards_of_the_deck(value: int, deck: int, hand: int) -> None:
    cards = deal(value, deck, hand)
    assert len(set(cards)) == len(cards) == min(hand, deck)
    assert all(0 <= c < deck for c in cards)


def test_hands_are_spread_evenly() -> None:
    pick = random.Random(1)
    counts = [0] * 16
    for _ in range(8000):
        for card in deal(pick.getrandbits(64), 16, 4):
            counts[card] += 1
    assert min(counts) > 1800 and max(counts) < 2200
