"""What a person sees while p8s works: moving progress on a terminal, one plain line a step in a pipe."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence

import click

_SLOW_STEP_SECONDS = 0.2


class TerminalProgress:
    """A spinner beside the step at work, a tick before each that is done."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True, highlight=False)

    @contextlib.contextmanager
    def step(self, text: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            with self._console.status(text, spinner="dots"):
                yield
        except BaseException:
            self._console.print(f" [red]✗[/red] {text}")
            raise
        self._console.print(f" [green]✓[/green] {text}{_duration(time.monotonic() - began)}")


class PlainProgress:
    """A line when a step begins; nothing that moves."""

    @contextlib.contextmanager
    def step(self, text: str) -> Iterator[None]:
        click.echo(text, err=True)
        yield


class SilentProgress:
    @contextlib.contextmanager
    def step(self, text: str) -> Iterator[None]:
        yield


Progress = TerminalProgress | PlainProgress | SilentProgress


def progress(*, quiet: bool = False) -> Progress:
    """What fits stderr."""
    if quiet:
        return SilentProgress()
    return TerminalProgress() if sys.stderr.isatty() else PlainProgress()


def _duration(seconds: float) -> str:
    return f" [dim]{seconds:.1f} s[/dim]" if seconds >= _SLOW_STEP_SECONDS else ""


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as kubectl prints them: upper-case header, three blanks between."""
    lines = [header, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "\n".join("   ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines)
