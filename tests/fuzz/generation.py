"""Cases made ahead, in processes of their own: making them up costs more than sending them.

A campaign is a row of rounds, a round is made of parts, each of one source with a seed of its own. What a part holds
depends on that seed alone, not on the process that makes it or on what that made before.
"""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import random
import signal
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager

from tests.fuzz.request import Case

ROUND_REQUESTS = 2000
_PART_REQUESTS = 100
_ROUNDS_AHEAD = 2
_PROCESSES = 2

_PR_SET_PDEATHSIG = 1

Part = tuple[str, int, int]
"""Source, seed, number of requests."""


def parts(seed: int, round_number: int, requests: int) -> list[Part]:
    """What a round of about so many requests is made of."""
    from tests.fuzz.sources import SOURCES

    found: list[Part] = []
    for at, (name, (_, share)) in enumerate(SOURCES.items()):
        wanted = max(1, round(requests * share))
        for first in range(0, wanted, _PART_REQUESTS):
            # Not hash(): it differs from process to process.
            own = ((seed * 1_000_003 + round_number) * 101 + at) * 1009 + first // _PART_REQUESTS
            found.append((name, own, min(_PART_REQUESTS, wanted - first)))
    return found


def made(part: Part) -> list[Case]:
    """In a process of the pool."""
    from tests.fuzz.sources import SOURCES

    name, seed, count = part
    return list(SOURCES[name][0](seed, count))


def _settle_in() -> None:
    """All that is imported when needed is imported first: hypothesis takes constants from the modules that it finds."""
    from tests.fuzz.sources import SOURCES

    # A campaign that is killed leaves nothing behind.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.nice(2)
    # What makes things up makes much garbage, and few cycles.
    gc.set_threshold(100_000, 20, 20)
    for source, _ in SOURCES.values():
        list(source(0, 10))


@contextmanager
def rounds(seed: int, requests: int = ROUND_REQUESTS) -> Iterator[Iterator[list[Case]]]:
    """An endless row of rounds. The cases of a round are shuffled, by the seed too."""
    # The order of sets is in what libraries make up.
    os.environ.setdefault("PYTHONHASHSEED", "0")
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(_PROCESSES, context, _settle_in)

    def generated() -> Iterator[list[Case]]:
        waiting: deque[list[Future[list[Case]]]] = deque()
        number = 0
        while True:
            while len(waiting) < _ROUNDS_AHEAD:
                waiting.append([pool.submit(made, part) for part in parts(seed, number + len(waiting), requests)])
            cases = [case for future in waiting.popleft() for case in future.result()]
            random.Random(seed * 1009 + number).shuffle(cases)
            number += 1
            yield cases

    try:
        yield generated()
    finally:
        pool.shutdown(cancel_futures=True)
