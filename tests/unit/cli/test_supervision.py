"""A component as a process: its exit code after a signal, a second signal, a failed part."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

_PROGRAM = """
import asyncio, sys
from pybernetes.cli.supervision import part, run

async def forever():
    try:
        print("working", flush=True)
        await asyncio.Event().wait()
    finally:
        print("cleaned up", flush=True)

async def stubborn():
    try:
        await forever()
    finally:
        await asyncio.Event().wait()

async def fails():
    raise OSError("no such luck")

async def ends():
    return

async def component(second):
    async with asyncio.TaskGroup() as group:
        group.create_task(part("first", forever))
        if second is not None:
            await asyncio.sleep(0)
            group.create_task(part("second", second))

second = {"none": None, "fails": fails, "ends": ends, "stubborn": stubborn}[sys.argv[1]]
sys.exit(run("component", lambda: component(second)))
"""

Start = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def make(second: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, second], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        started.append(process)
        return process

    yield make
    for process in started:
        process.kill()
        process.communicate()


def _until(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"{text!r} was never printed")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(start: Start, number: signal.Signals) -> None:
    process = start("none")
    _until(process, "working")
    process.send_signal(number)
    _until(process, "cleaned up")
    assert process.wait(timeout=10) == 0


def test_a_second_signal_ends_it_at_once(start: Start) -> None:
    process = start("stubborn")
    _until(process, "working")
    _until(process, "working")
    process.send_signal(signal.SIGTERM)
    _until(process, "cleaned up")
    _until(process, "cleaned up")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 1


@pytest.mark.parametrize(("second", "message"), [("fails", "no such luck"), ("ends", "second ended by itself")])
def test_the_end_of_one_part_ends_the_whole(start: Start, second: str, message: str) -> None:
    process = start(second)
    output, _ = process.communicate(timeout=10)
    assert process.returncode == 1
    assert "cleaned up" in output
    assert message in output
