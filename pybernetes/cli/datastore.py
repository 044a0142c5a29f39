"""The options that say where objects are kept, of ``p8s server``, ``backup`` and ``restore``, and how servers on one
datastore share the work."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from pybernetes.client.leases import LeaseTimings
from pybernetes.store.etcd.config import SCHEMES, EtcdConfig, parse_url

F = TypeVar("F", bound=Callable[..., Any])

LOCAL = ("sqlite", "memory")
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(text: str) -> float:
    """A duration as Go writes it, with one unit: ``15s``, ``500ms``, ``1m``; a bare number is seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|)", text)
    if match is None:
        raise ValueError(f"{text!r} is no duration, such as 15s or 500ms")
    return float(match[1]) * _UNITS[match[2]]


_CONNECTION_OPTIONS = (
    click.option(
        "--datastore",
        default="sqlite",
        show_default=True,
        metavar="sqlite|memory|etcd://HOST:PORT,...[/PREFIX]",
        help="Where objects are kept. In etcd, several servers can share them; memory forgets them at the end.",
    ),
    click.option("--datastore-cafile", type=_FILE, help="The CA of etcd's certificates (PEM); implies TLS."),
    click.option("--datastore-certfile", type=_FILE, help="The client certificate for etcd (PEM)."),
    click.option("--datastore-keyfile", type=_FILE, help="The client certificate's key (PEM)."),
    click.option("--datastore-user", default="", help="The user for etcd.  [default: the URL's]"),
    click.option("--datastore-password-file", type=_FILE, help="A file with that user's password."),
)
_ELECTION_OPTIONS = (
    click.option(
        "--leader-elect-lease-duration",
        type=seconds,
        metavar="DURATION",
        default="15s",
        show_default=True,
        help="With etcd: how long after a server's death another takes over its controllers and its scheduler.",
    ),
    click.option(
        "--leader-elect-renew-deadline",
        type=seconds,
        metavar="DURATION",
        default="10s",
        show_default=True,
        help="With etcd: how long a leader that cannot renew its lease goes on.",
    ),
    click.option(
        "--leader-elect-retry-period",
        type=seconds,
        metavar="DURATION",
        default="2s",
        show_default=True,
        help="With etcd: how often a leader renews its lease.",
    ),
)


def connection_options(command: F) -> F:
    """Where the datastore is and how to get in."""
    for option in reversed(_CONNECTION_OPTIONS):
        command = option(command)
    return command


def datastore_options(command: F) -> F:
    """Those, and how servers share the work."""
    for option in reversed(_ELECTION_OPTIONS):
        command = option(command)
    return connection_options(command)


def take_datastore_options(options: dict[str, Any]) -> tuple[EtcdConfig | None, LeaseTimings]:
    """Takes these options but for ``datastore`` out of a command's, checked. Raises click.UsageError."""
    duration, deadline, retry = (
        options.pop(f"leader_elect_{name}") for name in ("lease_duration", "renew_deadline", "retry_period")
    )
    if duration != int(duration):
        raise click.UsageError("--leader-elect-lease-duration must be whole seconds")
    try:
        timings = LeaseTimings(int(duration), deadline, retry)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    return take_connection_options(options), timings


def take_connection_options(options: dict[str, Any]) -> EtcdConfig | None:
    """None for a datastore that is not etcd. Raises click.UsageError."""
    ca, certificate, key = (options.pop(f"datastore_{name}") for name in ("cafile", "certfile", "keyfile"))
    user, password_file = options.pop("datastore_user"), options.pop("datastore_password_file")
    datastore = options["datastore"]
    if datastore in LOCAL:
        if ca or certificate or key or user or password_file:
            raise click.UsageError(f"--datastore {datastore} is not reached over the network: no --datastore-* applies")
        return None
    if datastore.partition("://")[0] not in SCHEMES:
        raise click.UsageError(f"--datastore is sqlite, memory or an etcd:// URL, not {datastore!r}")
    try:
        password = password_file.read_text().rstrip("\n") if password_file else ""
        config = parse_url(
            datastore, ca_file=ca, certificate_file=certificate, key_file=key, user=user, password=password
        )
    except ValueError as error:
        raise click.UsageError(f"--datastore: {error}") from None
    return config
