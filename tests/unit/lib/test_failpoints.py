"""Failpoints: armed by the environment alone, hit once, at the passage asked for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from pybernetes.lib import failpoints

PASSES_FIVE_TIMES = """
from pybernetes.lib import failpoints
for i in range(5):
    failpoints.hit("here/it-is")
    print(i, flush=True)
"""


def run(armed: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, failpoints.VARIABLE: armed}
    return subprocess.run(
        [sys.executable, "-c", PASSES_FIVE_TIMES], env=env, capture_output=True, text=True, timeout=30
    )


def test_kill_at_a_passage() -> None:
    ended = run("other=kill; here/it-is=kill@3")
    assert ended.returncode == -signal.SIGKILL
    assert ended.stdout == "0\n1\n"


def test_unarmed_and_armed_elsewhere() -> None:
    assert run("").stdout == "0\n1\n2\n3\n4\n" == run("other=kill").stdout


def test_a_bad_list_ends_the_process_with_a_reason() -> None:
    ended = run("here/it-is=explode")
    assert ended.returncode == 1
    assert 'P8S_FAILPOINTS: "here/it-is=explode" is not NAME=ACTION[@HIT]' in ended.stderr


@pytest.mark.parametrize("text", ["x", "x=kill@0", "X=kill", "x=kill@", "=kill"])
def test_what_is_no_list(text: str) -> None:
    with pytest.raises(ValueError, match="is not NAME=ACTION"):
        failpoints.parse(text)
