"""The options that say where objects are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from pybernetes.cli.datastore import datastore_options, take_datastore_options
from pybernetes.client.leases import LeaseTimings
from pybernetes.store.etcd.config import EtcdConfig


def taken(*arguments: str) -> tuple[EtcdConfig | None, LeaseTimings] | str:
    """What the options come to, or what is said of them."""
    found: list[tuple[EtcdConfig | None, LeaseTimings]] = []

    @click.command()
    @datastore_options
    def command(**options: Any) -> None:
        found.append(take_datastore_options(options))
        assert list(options) == ["datastore"]

    result = CliRunner().invoke(command, arguments)
    if result.exit_code:
        assert result.exit_code == 2, result.output
        return result.output
    return found[0]


def test_local_stores_need_nothing() -> None:
    assert taken() == (None, LeaseTimings(15, 10.0, 2.0))
    assert taken("--datastore", "memory") == (None, LeaseTimings())


def test_etcd(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("secret\n")
    options = ("--datastore-user=me", f"--datastore-password-file={password}", "--leader-elect-lease-duration=1m")
    assert taken("--datastore=etcd://a,b:1/x", *options) == (
        EtcdConfig(("a:2379", "b:1"), "/x", None, "me", "secret"),
        LeaseTimings(60, 10.0, 2.0),
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--datastore=postgres://a"], "sqlite, memory or an etcd:// URL"),
        (["--datastore=etcd://"], "no etcd endpoint"),
        (["--datastore=memory", "--datastore-user=me"], "no --datastore-* applies"),
        (["--datastore=etcd://a", "--datastore-user=me"], "given together"),
        (["--leader-elect-lease-duration=1500ms"], "whole seconds"),
        (["--leader-elect-lease-duration=5s"], "greater than the renew deadline"),
        (["--leader-elect-retry-period=soon"], "no duration"),
    ],
)
def test_what_cannot_be_meant_is_refused(arguments: list[str], message: str) -> None:
    answer = taken(*arguments)
    assert isinstance(answer, str) and message in " ".join(answer.split())
