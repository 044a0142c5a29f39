"""Real processes in real cgroups: started, known again, awaited, found and killed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pybernetes.cluster import cgroups, mounts, netns, processes
from pybernetes.cluster.errors import NotReadyInTime, ProcessDied
from pybernetes.cluster.layout import Layout
from pybernetes.cluster.processes import ProcessId, ReadySocket
from tests.support.waiting import eventually

NOTIFY = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[3])!r})
from pybernetes.cluster.processes import notify_ready
"""


@pytest.fixture
def started(layout: Layout) -> Iterator[list[ProcessId]]:
    """What a test started; killed in the end."""
    found: list[ProcessId] = []
    yield found
    for process in found:
        processes.kill(process)


def start(layout: Layout, *arguments: str, name: str = "server", **options: object) -> ProcessId:
    return processes.start(
        arguments,
        log_file=layout.log_file(name),
        pid_file=layout.pid_file(name),
        cgroup=layout.component_cgroup(name),
        **options,  # type: ignore[arg-type]
    )


def test_a_process_has_its_session_cgroup_namespace_and_log(layout: Layout, started: list[ProcessId]) -> None:
    netns.create(layout.cluster_namespace)
    script = "echo said; echo failed >&2; exec sleep 1000"
    process = start(layout, "/bin/sh", "-c", script, namespace=layout.cluster_namespace, environment={"MARK": "1"})
    started.append(process)
    eventually(lambda: os.readlink(f"/proc/{process.pid}/exe").endswith(("sleep", "coreutils", "busybox")), timeout=10)
    assert os.getsid(process.pid) == process.pid
    assert f"/{layout.component_cgroup('server')}" in Path(f"/proc/{process.pid}/cgroup").read_text()
    assert os.stat(f"/proc/{process.pid}/ns/net").st_ino == os.stat(netns.path_of(layout.cluster_namespace)).st_ino
    assert layout.log_file("server").read_text() == "said\nfailed\n"
    assert b"MARK=1" in Path(f"/proc/{process.pid}/environ").read_bytes()
    assert os.readlink(f"/proc/{process.pid}/fd/0") == "/dev/null"
    assert processes.read_pid_file(layout.pid_file("server")) == process
    assert processes.stop(process, timeout_seconds=5)
    assert processes.read_pid_file(layout.pid_file("server")) is None


def test_a_recycled_pid_is_not_taken_for_ours(layout: Layout) -> None:
    layout.run.mkdir(parents=True)
    mine = ProcessId.of(os.getpid())
    assert mine is not None and mine.alive
    processes.write_pid_file(layout.pid_file("server"), ProcessId(mine.pid, mine.start_ticks - 1))
    assert processes.read_pid_file(layout.pid_file("server")) is None
    assert ProcessId(mine.pid, mine.start_ticks - 1).open() is None
    layout.pid_file("server").write_text("no pid")
    assert processes.read_pid_file(layout.pid_file("server")) is None


def test_readiness_is_told(layout: Layout, started: list[ProcessId]) -> None:
    code = NOTIFY + "import time; notify_ready(); time.sleep(1000)"
    with ReadySocket(layout.run / "ready.sock") as ready:
        started.append(start(layout, sys.executable, "-c", code, environment=ready.environment))
        ready.wait(started[0], "server", layout.log_file("server"), timeout_seconds=20)
    assert not ready.path.exists()


def test_an_end_before_readiness_shows_the_log(layout: Layout) -> None:
    with ReadySocket(layout.run / "ready.sock") as ready:
        process = start(layout, "/bin/sh", "-c", "sleep 0.05; echo the reason; exit 3")
        with pytest.raises(ProcessDied, match="the reason") as raised:
            ready.wait(process, "server", layout.log_file("server"), timeout_seconds=20)
    assert str(layout.log_file("server")) in raised.value.hint


def test_no_readiness_in_time(layout: Layout, started: list[ProcessId]) -> None:
    with ReadySocket(layout.run / "ready.sock") as ready:
        started.append(start(layout, "sleep", "1000"))
        with pytest.raises(NotReadyInTime):
            ready.wait(started[0], "server", layout.log_file("server"), timeout_seconds=0.05)


def test_stop_kills_what_does_not_listen(layout: Layout, started: list[ProcessId]) -> None:
    started.append(start(layout, "/bin/sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"))
    eventually(lambda: layout.log_file("server").read_text() == "ready\n", timeout=10)
    assert processes.stop(started[0], timeout_seconds=0.2) is False
    assert not started[0].alive


def test_killing_a_cgroup_finds_descendants_wherever_they_went(layout: Layout) -> None:
    """A grandchild in a session and a cgroup of its own, as a container is."""
    cgroups.create(f"{layout.cgroup}/node1/pods/one")
    inner = " ".join(str(d / "cgroup.procs") for d in cgroups.create(f"{layout.cgroup}/node1/pods/one"))
    script = f"setsid sh -c 'for f in {inner}; do echo $$ > $f; done; exec sleep 1000' & exec sleep 1000"
    start(layout, "/bin/sh", "-c", script, name="node1")
    bystander = subprocess.Popen(["sleep", "1000"])
    try:
        eventually(lambda: len(cgroups.processes(layout.cgroup)) == 2, timeout=10)
        assert cgroups.kill(layout.cgroup) == 2
        assert cgroups.processes(layout.cgroup) == set()
        assert bystander.poll() is None
        cgroups.remove(layout.cgroup)
        assert cgroups.remains(layout.cgroup) == []
        cgroups.remove(layout.cgroup)
        assert cgroups.kill(layout.cgroup) == 0
    finally:
        bystander.kill()
        bystander.wait()


def test_what_joins_a_cgroup_that_is_being_removed_is_killed(layout: Layout, started: list[ProcessId]) -> None:
    """As after an interrupted start: the process was not there yet when all of the cgroup were killed."""
    assert cgroups.kill(layout.cgroup) == 0
    started.append(start(layout, "sleep", "1000"))
    eventually(lambda: cgroups.processes(layout.cgroup) == {started[0].pid}, timeout=10)
    cgroups.remove(layout.cgroup)
    assert cgroups.remains(layout.cgroup) == []
    assert not started[0].alive


def test_a_fork_bomb_of_a_kind_is_outrun(layout: Layout) -> None:
    script = "while :; do sleep 1000 & sleep 0.002; done"
    start(layout, "/bin/sh", "-c", script, name="node1")
    eventually(lambda: len(cgroups.processes(layout.cgroup)) > 20, timeout=10)
    cgroups.kill(layout.cgroup)
    assert cgroups.processes(layout.cgroup) == set()


def test_mounts_below_a_directory_go_deepest_first(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in side", tmp_path / "in side too"
    (inside / "a").mkdir(parents=True)
    outside.mkdir()
    mounted = []
    try:
        for point in (inside / "a", outside):
            subprocess.run(["mount", "-t", "tmpfs", "p8s-test", str(point)], check=True)
            mounted.append(point)
        (inside / "a" / "b").mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "p8s-test", str(inside / "a" / "b")], check=True)
        busy = (inside / "a" / "b" / "file").open("w")
        with busy:
            assert mounts.below([inside]) == [inside / "a" / "b", inside / "a"]
            assert mounts.unmount_below([inside]) == 2
        assert mounts.below([inside]) == [] and mounts.below([outside]) == [outside]
    finally:
        for point in mounted:
            with contextlib.suppress(subprocess.CalledProcessError):
                subprocess.run(["umount", "-l", str(point)], check=True, capture_output=True)
