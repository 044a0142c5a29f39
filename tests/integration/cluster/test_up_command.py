"""``p8s up`` with the real components, where one of them cannot start: told at once, and mended by the same command."""

from __future__ import annotations

import subprocess
import sys
import time

from pybernetes.cluster.layout import Layout

P8S = (sys.executable, "-P", "-m", "pybernetes.cli")
WAIT_SECONDS = 100


def p8s(layout: Layout, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*P8S, *arguments, "--name", layout.name]
    return subprocess.run(command, capture_output=True, text=True, timeout=WAIT_SECONDS + 60, check=False)


def test_an_agent_that_cannot_start_is_told_at_once(layout: Layout) -> None:
    in_the_way = layout.node_state("node1") / "containerd"
    in_the_way.parent.mkdir(parents=True)
    in_the_way.touch()
    began = time.monotonic()
    done = p8s(layout, "up", "--isolated", f"--wait={WAIT_SECONDS}")
    assert time.monotonic() - began < WAIT_SECONDS / 2
    assert done.returncode == 1
    assert "node1 ended" in done.stderr and str(in_the_way) in done.stderr
    assert "Traceback" not in done.stderr and "never awaited" not in done.stderr
    assert str(layout.log_file("node1")) in done.stderr

    in_the_way.unlink()
    done = p8s(layout, "up", f"--wait={WAIT_SECONDS}")
    assert done.returncode == 0, done.stderr
    status = p8s(layout, "status")
    assert status.returncode == 0 and status.stdout.count("Ready") == 1
    again = p8s(layout, "up")
    assert again.returncode == 0 and "is running" in again.stdout
    # Plain lines in a pipe.
    assert "\x1b" not in again.stderr + again.stdout
    assert p8s(layout, "down").returncode == 0
