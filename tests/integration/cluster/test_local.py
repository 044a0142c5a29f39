"""A whole local cluster, with stand-ins for its components: made, completed, and removed without a trace.

The components themselves run in tests/robustness and tests/day1.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from pybernetes.cluster import cgroups, local, processes
from pybernetes.cluster.errors import ClusterBusy, ClusterDiffers, PortTaken, ProcessDied, UnknownCluster
from pybernetes.cluster.layout import ClusterSpec, Layout, clusters
from pybernetes.cluster.local import LocalCluster, Wanted
from pybernetes.cluster.lock import locked
from tests.integration.cluster.conftest import Silent
from tests.integration.cluster.test_network import host_state
from tests.support.waiting import eventually

REPOSITORY = Path(__file__).parents[3]
READY = "from pybernetes.cluster.processes import notify_ready; notify_ready(); import time; time.sleep(1000)"


class StandIns:
    """A server that says it is ready, agents that make what a node makes: mounts, files, children."""

    def __init__(self, server: Sequence[str] = (sys.executable, "-c", READY)) -> None:
        self.server_command = server

    def server(self, layout: Layout, spec: ClusterSpec) -> Sequence[str]:
        return ["env", f"PYTHONPATH={REPOSITORY}", *self.server_command]

    def agent(self, layout: Layout, spec: ClusterSpec, node: str) -> Sequence[str]:
        mount, pods = layout.node_run(node) / "rootfs", layout.node_state(node) / "pods"
        made = f"mkdir -p {mount} {pods}; mount -t tmpfs p8s-test {mount}; touch {mount}/made"
        script = f"{made}; setsid sleep 1000 & exec sleep 1000"
        return ["/bin/sh", "-c", script]


def up(layout: Layout, wanted: Wanted, commands: StandIns | None = None) -> local.UpResult:
    return LocalCluster(layout).up(wanted, commands or StandIns(), Silent(), timeout_seconds=30)


def test_up_and_down_leave_no_trace(layout: Layout) -> None:
    before = host_state()
    cluster = LocalCluster(layout)
    result = up(layout, Wanted(nodes=2, isolated=True))
    assert result.started == ["server", "node1", "node2"]
    assert [c.name for c in clusters(layout.roots)] == [layout.name]
    assert all(c.process is not None for c in cluster.components())
    for node in ("node1", "node2"):
        eventually((layout.node_run(node) / "rootfs" / "made").exists, timeout=10)
    loaded = yaml.safe_load(result.kubeconfig.read_text())
    assert loaded["current-context"] == f"p8s-{layout.name}"
    assert loaded["clusters"][0]["cluster"]["server"] == f"https://127.0.0.1:{result.spec.api_port}"
    assert layout.admin_kubeconfig.stat().st_mode & 0o77 == 0
    agents = [c.process for c in cluster.components() if c.process and c.name != "server"]
    assert len({os.stat(f"/proc/{p.pid}/ns/net").st_ino for p in agents}) == 2
    assert len(cluster.remains()) > 8
    assert host_state() == before

    assert cluster.down(Silent()) is True
    assert cluster.remains() == []
    assert not layout.lock_file.exists() and not layout.roots.run.exists() and not layout.roots.state.exists()
    assert yaml.safe_load(result.kubeconfig.read_text())["contexts"] == []
    assert host_state() == before
    assert cluster.down(Silent()) is False


def test_a_second_up_changes_nothing_and_completes_what_is_missing(layout: Layout) -> None:
    first = up(layout, Wanted(nodes=2, isolated=True))
    pids = {c.name: c.process for c in LocalCluster(layout).components()}
    certificates = {p: p.read_bytes() for p in layout.state.rglob("*.crt")}
    second = up(layout, Wanted())
    assert second.started == [] and second.spec == first.spec
    assert {c.name: c.process for c in LocalCluster(layout).components()} == pids
    # One dies; a node is added.
    assert pids["node2"] is not None
    processes.stop(pids["node2"], timeout_seconds=5)
    third = up(layout, Wanted(nodes=3))
    assert third.started == ["node2", "node3"]
    assert {p: p.read_bytes() for p in certificates} == certificates
    processes.stop_all([c.process for c in LocalCluster(layout).components() if c.process], timeout_seconds=5)
    assert up(layout, Wanted()).started == ["server", "node1", "node2", "node3"]


def test_a_cluster_does_not_become_another_one(layout: Layout) -> None:
    up(layout, Wanted(nodes=2, isolated=True))
    for wanted in (Wanted(nodes=1), Wanted(isolated=False), Wanted(api_port=1), Wanted(publish_node_ports=False)):
        with pytest.raises(ClusterDiffers) as raised:
            up(layout, wanted)
        assert "p8s down" in raised.value.hint


def test_the_next_free_port_is_taken_and_a_wanted_one_insisted_on(layout: Layout) -> None:
    first = up(layout, Wanted(isolated=True))
    second = Layout(layout.name + "b", layout.roots)
    try:
        # The first's server is a stand-in that listens nowhere: the port is its own nevertheless.
        assert up(second, Wanted(isolated=True)).spec.api_port > first.spec.api_port
    finally:
        LocalCluster(second).down(Silent())
    third = Layout(layout.name + "c", layout.roots)
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        with pytest.raises(PortTaken):
            up(third, Wanted(isolated=True, api_port=holder.getsockname()[1]))
    assert LocalCluster(third).remains() == []


def test_a_server_that_dies_at_start_is_told_with_its_log(layout: Layout) -> None:
    dying = StandIns(["/bin/sh", "-c", "echo cannot do it; exit 1"])
    with pytest.raises(ProcessDied, match="cannot do it"):
        up(layout, Wanted(isolated=True), dying)
    # The same up goes on where it ended, once the reason is gone.
    assert up(layout, Wanted()).started == ["server"]


def test_one_command_at_a_time(layout: Layout) -> None:
    with locked(layout):
        with pytest.raises(ClusterBusy):
            up(layout, Wanted(isolated=True))
        with pytest.raises(ClusterBusy):
            LocalCluster(layout).down(Silent())
    assert up(layout, Wanted(isolated=True)).started


def test_a_removed_lock_file_does_not_let_two_in(layout: Layout) -> None:
    with locked(layout) as lock:
        lock.remove_file = True
        # Somebody waits on the file that is about to go.
        waiting = layout.lock_file.open()
    assert not layout.lock_file.exists()
    with waiting, locked(layout), pytest.raises(ClusterBusy), locked(layout):
        pass


@pytest.mark.parametrize("step", ["network", "credentials", "server", "agents"])
def test_an_interruption_anywhere_is_cleaned_up_and_gone_on_from(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The command dies as by SIGKILL: nothing of its own runs after the point of interruption."""
    before = host_state()

    class Interrupted(BaseException):
        pass

    def interrupt(*_: object, **__: object) -> None:
        raise Interrupted

    with monkeypatch.context() as patched:
        if step == "network":
            patched.setattr(local.network, "_set_up_node", interrupt)
        elif step == "credentials":
            patched.setattr(local.credentials, "_issue_node", interrupt)
        elif step == "server":
            patched.setattr(local.processes, "write_pid_file", interrupt)
        else:
            patched.setattr(local.ReadySocket, "wait", interrupt)
        with pytest.raises(Interrupted):
            up(layout, Wanted(nodes=2, isolated=True))
    cluster = LocalCluster(layout)
    assert cluster.remains()
    assert cluster.down(Silent()) is True
    assert cluster.remains() == [] and host_state() == before

    with monkeypatch.context() as patched:
        patched.setattr(local.credentials, "_issue_node", interrupt)
        with pytest.raises(Interrupted):
            up(layout, Wanted(nodes=2, isolated=True))
    assert up(layout, Wanted()).started == ["server", "node1", "node2"]


def test_ctrl_c_reaches_the_command_and_not_what_it_started(layout: Layout, tmp_path: Path) -> None:
    """A real interrupt, from a terminal's point of view: to the whole foreground group."""
    code = f"""
import signal, sys; sys.path.insert(0, {str(REPOSITORY)!r})
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background inherits that it is ignored
from tests.integration.cluster.test_local import *
up(Layout.of({layout.name!r}), Wanted(isolated=True), StandIns(["sleep", "1000"]))
"""
    command = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stderr=subprocess.PIPE)
    eventually(lambda: len(cgroups.processes(layout.cgroup)) >= 3, timeout=10)
    os.killpg(command.pid, signal.SIGINT)
    assert command.wait(10) != 0
    assert command.stderr is not None and b"KeyboardInterrupt" in command.stderr.read()
    assert len(cgroups.processes(layout.cgroup)) >= 3
    cluster = LocalCluster(layout)
    assert cluster.down(Silent()) is True and cluster.remains() == []


def test_down_does_not_need_the_specification(layout: Layout) -> None:
    up(layout, Wanted(nodes=2, isolated=True))
    layout.spec_file.unlink()
    cluster = LocalCluster(layout)
    with pytest.raises(UnknownCluster):
        cluster.components()
    assert cluster.down(Silent()) is True
    assert cluster.remains() == []


def test_the_uplink_is_removed_with_its_cluster(layout: Layout) -> None:
    before = host_state()
    spec = up(layout, Wanted()).spec
    assert spec.uplink_subnet and host_state() != before
    # Again, without a trace of the first: a reboot keeps the state and forgets the rest.
    assert up(layout, Wanted()).spec == spec
    LocalCluster(layout).down(Silent())
    assert host_state() == before


def test_an_old_specification_is_read(layout: Layout) -> None:
    spec = ClusterSpec(layout.name, nodes=3)
    layout.write_spec(spec)
    text = layout.spec_file.read_text().replace('"nodes": 3', '"nodes": 3, "from_the_future": true')
    layout.spec_file.write_text(text.replace('"log_level": "info",', ""))
    assert layout.read_spec() == replace(spec, log_level="info")
