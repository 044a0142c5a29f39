"""How a long-running component runs: until SIGTERM or SIGINT, with all of its parts or not at all.

The first signal cancels the component, which then has `STOP_SECONDS` to end in order; the second signal, or the end of
that time, ends the process at once. A part that ends by itself, in error or not, ends the whole, and the exit code
says so.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog
import uvloop

STOP_SECONDS = 15.0

log = structlog.get_logger(__name__)


class PartEnded(Exception):
    """A part that works until it is cancelled ended by itself."""


async def part(name: str, work: Callable[[], Awaitable[Any]]) -> None:
    """Runs one part of a component; to be a task of the component's group. Raises `PartEnded` where it ends."""
    try:
        # Called here and not by the caller: a task that is cancelled before its first step leaves nothing unawaited.
        await work()
    except asyncio.CancelledError:
        raise
    except Exception as error:
        log.error("a component failed", component=name, error=str(error), exc_info=error)
        raise PartEnded(f"{name}: {error}") from error
    raise PartEnded(f"{name} ended by itself")


def run(
    name: str,
    component: Callable[[], Coroutine[Any, Any, None]],
    *,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = uvloop.new_event_loop,
) -> int:
    """Runs a component to its end; the exit code: 0 after a signal, 1 after a failure. Without a factory it is
    asyncio's own loop."""

    async def supervised() -> int:
        loop = asyncio.get_running_loop()
        work = asyncio.ensure_future(component())
        told = False

        def stop(number: int) -> None:
            nonlocal told
            if told:
                log.warning("stopped hard", component=name)
                os._exit(1)
            told = True
            log.info("stopping", component=name, signal=signal.Signals(number).name)
            work.cancel()
            loop.call_later(STOP_SECONDS, give_up)

        def give_up() -> None:
            log.error("does not stop in time, ended hard", component=name, after_s=STOP_SECONDS)
            os._exit(1)

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop, number)
        try:
            await work
        except asyncio.CancelledError:
            log.info("stopped", component=name)
            return 0
        except Exception as error:
            # A part's own error has been logged with its traceback.
            told_already = isinstance(error, BaseExceptionGroup) and error.subgroup(PartEnded) is not None
            log.error("ended by an error", component=name, error=_text(error), exc_info=None if told_already else error)
            return 0 if told else 1
        log.error("ended by itself", component=name)
        return 1

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(supervised())


def _text(error: BaseException) -> str:
    """What went wrong, without the groups around it."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_text(e) for e in error.exceptions)
    return str(error) or type(error).__name__
