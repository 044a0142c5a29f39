"""The p8s command as a process: what it prints, its exit codes, and how little it imports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from pybernetes import KUBERNETES_VERSION, __version__
from pybernetes.cli.console import table
from pybernetes.cli.main import run
from pybernetes.cluster.layout import ClusterSpec, Layout, Roots


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("P8S_")}
    return {**kept, "P8S_ROOT": str(tmp_path), "KUBECONFIG": str(tmp_path / "kubeconfig"), "TERM": "dumb"}


def p8s(environment: dict[str, str], *arguments: str, user: int | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "pybernetes.cli", *arguments]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=False, cwd="/", user=user
    )


def layout_of(environment: dict[str, str], name: str) -> Layout:
    return Layout(name, Roots(Path(environment["P8S_ROOT"]) / "lib", Path(environment["P8S_ROOT"]) / "run"))


def test_help_names_every_command(environment: dict[str, str]) -> None:
    done = p8s(environment, "--help")
    assert done.returncode == 0
    commands = (
        "up", "down", "list", "status", "logs", "kubeconfig", "image", "server", "agent", "version", "completion",
    )  # fmt: skip
    for command in commands:
        assert f"  {command} " in done.stdout
        assert run([command, "--help"]) == 0


@pytest.mark.parametrize(
    ("arguments", "unwanted"),
    [
        (["--help"], ["aiohttp", "pyroute2", "grpc", "rich", "structlog", "yaml", "numpy", "cryptography"]),
        (["version"], ["aiohttp", "pyroute2", "grpc", "rich", "structlog", "yaml", "numpy", "cryptography"]),
        (["list"], ["aiohttp", "grpc", "numpy"]),
        (["completion", "bash"], ["aiohttp", "pyroute2", "grpc", "rich", "numpy"]),
    ],
)
def test_a_command_imports_no_more_than_it_needs(
    environment: dict[str, str], arguments: Sequence[str], unwanted: Sequence[str]
) -> None:
    code = f"""
import sys
from pybernetes.cli.main import run
run({list(arguments)!r})
print([m for m in {list(unwanted)!r} if m in sys.modules], file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr.splitlines()[-1] == "[]"


def test_version(environment: dict[str, str]) -> None:
    done = p8s(environment, "version")
    assert __version__ in done.stdout and KUBERNETES_VERSION in done.stdout
    assert json.loads(p8s(environment, "version", "-o", "json").stdout)["kubernetes"] == KUBERNETES_VERSION


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(environment: dict[str, str], shell: str) -> None:
    assert "_P8S_COMPLETE" in p8s(environment, "completion", shell).stdout


def test_completion_completes_clusters_and_components(environment: dict[str, str]) -> None:
    layout_of(environment, "alpha").write_spec(ClusterSpec("alpha", nodes=2))

    def complete(words: str) -> list[str]:
        asked = {
            **environment,
            "_P8S_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split())),
        }
        return [line.partition(",")[2] for line in p8s(asked).stdout.splitlines()]

    assert complete("p8s status --name") == ["alpha"]
    assert complete("p8s logs --name alpha") == ["server", "node1", "node2"]
    assert "kubeconfig" in complete("p8s")


@pytest.mark.parametrize(
    ("arguments", "code", "said", "hint"),
    [
        (["status"], 4, 'no cluster "default"', "p8s up"),
        (["status", "--name", "beta"], 4, 'no cluster "beta"', "p8s up --name beta"),
        (["logs"], 4, 'no cluster "default"', "p8s up"),
        (["kubeconfig"], 4, 'no cluster "default"', "p8s up"),
        (["image", "list"], 4, 'no cluster "default"', "p8s up"),
        (["up", "--name", "No_Good"], 2, "cannot name a cluster", "lower-case"),
        (["up", "--nodes", "0"], 2, "--nodes", ""),
        (["up", "--nodes", "many"], 2, "--nodes", ""),
        (["up", "--server-option", "port=1"], 2, "no NAME=VALUE of a security option", ""),
        (["up", "--server-option", "audit-policy-file=/none"], 2, "does not exist", ""),
        (["nonsense"], 2, "No such command", ""),
        (["image", "load", "/nonexistent.tar"], 2, "does not exist", ""),
        (["server"], 2, "--data-dir", ""),
        (["server", "--data-dir", "/nonexistent", "--request-timeout", "0"], 2, "--request-timeout", ""),
        (["server", "--data-dir", "/nonexistent", "--shutdown-delay-duration", "soon"], 2, "no duration", "500ms"),
    ],
)
def test_errors_say_what_to_do(
    environment: dict[str, str], arguments: Sequence[str], code: int, said: str, hint: str
) -> None:
    done = p8s(environment, *arguments)
    assert done.returncode == code
    assert said in done.stderr and hint in done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""


def test_who_is_not_root_is_told_to_be(environment: dict[str, str], tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("the interpreter may be out of another user's reach")
    done = p8s(environment, "up")
    assert done.returncode == 3 and "sudo p8s up" in done.stderr


def test_down_of_nothing_is_no_error(environment: dict[str, str]) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    done = p8s(environment, "down", "--name", "t-none")
    assert done.returncode == 0 and "no cluster" in done.stdout


def test_a_stopped_cluster_is_listed_and_shown_as_that(environment: dict[str, str]) -> None:
    assert "Start one" in p8s(environment, "list").stdout
    assert json.loads(p8s(environment, "list", "-o", "json").stdout) == []
    layout_of(environment, "alpha").write_spec(ClusterSpec("alpha", nodes=2, isolated=True, api_port=7001))
    header, line = p8s(environment, "list").stdout.splitlines()
    assert header.split() == ["NAME", "NODES", "STATE", "SERVER", "CONTEXT"]
    assert line.split() == ["alpha", "2", "Stopped", "https://127.0.0.1:7001", "p8s-alpha"]
    done = p8s(environment, "status", "--name", "alpha", "-o", "json")
    assert done.returncode == 1
    shown = json.loads(done.stdout)
    assert shown["healthy"] is False
    assert [(c["component"], c["state"]) for c in shown["components"]] == [
        ("server", "not running"), ("node1", "not running"), ("node2", "not running"),
    ]  # fmt: skip


def test_logs_show_the_end_of_a_components_log(environment: dict[str, str]) -> None:
    layout = layout_of(environment, "alpha")
    layout.write_spec(ClusterSpec("alpha"))
    assert p8s(environment, "logs", "--name", "alpha").returncode == 1
    layout.logs.mkdir()
    layout.log_file("node1").write_text("one\ntwo\nthree\n")
    assert p8s(environment, "logs", "--name", "alpha", "node1").stdout == "one\ntwo\nthree\n"
    assert p8s(environment, "logs", "--name", "alpha", "-n", "1", "node1").stdout == "three\n"
    done = p8s(environment, "logs", "--name", "alpha", "node7")
    assert done.returncode == 4 and "node1" in done.stderr


def test_a_damaged_specification_does_not_hide_the_other_clusters(environment: dict[str, str]) -> None:
    layout_of(environment, "alpha").write_spec(ClusterSpec("alpha"))
    broken = layout_of(environment, "broken")
    broken.state.mkdir()
    broken.spec_file.write_text("{")
    done = p8s(environment, "list")
    assert done.returncode == 0
    assert [line.split()[:3] for line in done.stdout.splitlines()[1:]] == [
        ["alpha", "1", "Stopped"],
        ["broken", "-", "Damaged"],
    ]


def test_tables_align() -> None:
    assert table(["A", "LONGER"], [["xxx", "y"], ["z", ""]]) == "A     LONGER\nxxx   y\nz"
