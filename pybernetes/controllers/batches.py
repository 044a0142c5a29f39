"""Slow start: many creations in batches that double while they succeed, so that a namespace over its quota or a
server that refuses is asked once and not five hundred times. Source: upstream's ``slowStartBatch``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from pybernetes.api import errors

T = TypeVar("T")

BURST_REPLICAS = 500
"""At most so many creations or deletions in one pass."""


async def slow_start(
    items: list[T], act: Callable[[T], Awaitable[None]], *, initial: int = 1
) -> tuple[int, errors.ApiError | None]:
    """Acts on all items, 1, then 2, then 4 … at once; stops after the first batch with an error.

    Returns how many succeeded and the first error. Cancelled, the batch under way is cancelled with it.
    """
    done = 0
    batch = min(initial, len(items))
    at = 0
    while batch:
        outcomes = await asyncio.gather(*(_outcome(act, item) for item in items[at : at + batch]))
        failures = [o for o in outcomes if o is not None]
        done += batch - len(failures)
        if failures:
            return done, failures[0]
        at += batch
        batch = min(2 * batch, len(items) - at)
    return done, None


async def all_at_once(items: list[T], act: Callable[[T], Awaitable[None]]) -> errors.ApiError | None:
    """Acts on all items concurrently and returns the first error, after all have ended."""
    outcomes = await asyncio.gather(*(_outcome(act, item) for item in items))
    return next((o for o in outcomes if o is not None), None)


async def _outcome(act: Callable[[T], Awaitable[None]], item: T) -> errors.ApiError | None:
    try:
        await act(item)
    except errors.ApiError as error:
        return error
    return None
