"""The options of ``p8s server`` that say how much it takes on at once, and how it stops; under upstream's names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from pybernetes.cli.datastore import seconds

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--max-requests-inflight",
        type=click.IntRange(1),
        default=400,
        show_default=True,
        metavar="N",
        help="With the next one: requests served at once, which flow control shares out; watches aside.",
    ),
    click.option(
        "--max-mutating-requests-inflight",
        type=click.IntRange(0),
        default=200,
        show_default=True,
        metavar="N",
        help="Added to the one before.",
    ),
    click.option(
        "--request-timeout",
        type=seconds,
        default="60s",
        show_default=True,
        metavar="DURATION",
        help="How long a request may take; watches and connections aside.",
    ),
    click.option(
        "--shutdown-delay-duration",
        type=seconds,
        default="0s",
        show_default=True,
        metavar="DURATION",
        help="How long requests are served as before when the server stops, while /readyz says so already.",
    ),
)


@dataclass(frozen=True, slots=True)
class Overload:
    seats: int
    request_seconds: float
    shutdown_delay_seconds: float


def overload_options(command: F) -> F:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def take_overload_options(options: dict[str, Any]) -> Overload:
    """Takes what `overload_options` added out of a command's arguments. Raises `click.UsageError`."""
    seats = options.pop("max_requests_inflight") + options.pop("max_mutating_requests_inflight")
    request_seconds = options.pop("request_timeout")
    if not request_seconds:
        raise click.UsageError("--request-timeout must be more than 0")
    return Overload(seats, request_seconds, options.pop("shutdown_delay_duration"))
