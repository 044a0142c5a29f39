"""Which admission plugins ``p8s server`` runs with."""

from __future__ import annotations

from typing import Any

import click
import pytest
from click.testing import CliRunner

from pybernetes.cli.server_security import LoadedSecurity, SecurityFlags, security_options


def loaded(*arguments: str) -> tuple[str, list[LoadedSecurity]]:
    """(what the command says, what it loads)."""
    found: list[LoadedSecurity] = []

    @click.command()
    @security_options
    def command(security: SecurityFlags, **rest: Any) -> None:
        found.append(security.load())

    return CliRunner().invoke(command, arguments).output, found


def test_plugins_can_be_left_out() -> None:
    _, (options,) = loaded("--disable-admission-plugins", "PodSecurity,ResourceQuota")
    assert options.disabled_plugins == ("PodSecurity", "ResourceQuota")
    _, (options,) = loaded()
    assert options.disabled_plugins == ()


@pytest.mark.parametrize("name", ["Nope", "RBACEscalation"])
def test_unknown_plugins_are_refused(name: str) -> None:
    said, found = loaded("--disable-admission-plugins", name)
    assert not found and f'disable-admission-plugins plugin "{name}" is unknown' in said
