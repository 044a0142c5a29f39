"""Day 1, containers: what they are made of, and what they do not hide."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.cluster import Cluster, cgroup_file, container, host_pid_of, pod, sleeper

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def marked_pod(name: str, marker: str, **fields: Any) -> dict[str, Any]:
    return pod(name, sleeper(env=[{"name": "MARKER", "value": marker}], **fields))


def test_d01_a_container_is_processes_in_namespaces_and_cgroups(cluster: Cluster, ns: str) -> None:
    """A container is Linux processes in namespaces and cgroups."""
    marker = uuid.uuid4().hex
    cluster.apply(marked_pod("p", marker), namespace=ns)
    cluster.wait(ns, "pod/p", "Ready")
    pid = host_pid_of(marker)
    for kind in ("pid", "mnt", "uts", "ipc", "net"):
        assert os.readlink(f"/proc/{pid}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}"), kind
    found = cluster.get("pod", "p", ns)
    node_netns = Path("/run/netns") / cluster.node_namespace(found["spec"]["nodeName"])
    assert Path(f"/proc/{pid}/ns/net").stat().st_ino != node_netns.stat().st_ino
    # The node sees the same process under another pid: inside it is 1.
    status = Path(f"/proc/{pid}/status").read_text()
    nspid = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[1:]
    assert nspid[0] == str(pid) and nspid[-1] == "1" and len(nspid) >= 2
    uid = found["metadata"]["uid"]
    memory = cgroup_file(pid, "memory", "memory.limit_in_bytes", "memory.max")
    assert uid in str(memory) or uid.replace("-", "_") in str(memory)
    assert memory.exists()


def test_d02_only_its_own_processes_are_seen(cluster: Cluster, ns: str) -> None:
    """Processes are enumerated from /proc; the mount and pid namespaces hide the rest."""
    cluster.apply(pod("p"), pod("q"), namespace=ns)
    cluster.wait(ns, "pod/p", "Ready")
    lines = cluster.exec(ns, "p", "ps", "-o", "pid,args").splitlines()[1:]
    assert any(line.split()[0] == "1" for line in lines)
    assert all(any(word in line for word in ("sh -c", "sleep", "ps -o", "trap")) for line in lines), lines
    numbers = cluster.exec(ns, "p", "sh", "-c", "ls -d /proc/[0-9]*").split()
    assert len(numbers) <= len(lines) + 2


def test_d06_manifests_carry_over(cluster: Cluster) -> None:
    """Manifests carry over: the examples use no field that is not upstream's."""
    files = sorted(EXAMPLES.rglob("*.yaml"))
    assert files
    for file in files:
        documents = [d for d in yaml.safe_load_all(file.read_text()) if d]
        assert documents
        cluster.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", str(file))
        # The same check refuses a field that upstream does not have.
        documents[0].setdefault("metadata", {})["notUpstream"] = "x"
        refused = cluster.refused(
            "apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=yaml.safe_dump(documents[0])
        )
        assert 'unknown field "metadata.notUpstream"' in refused


def test_d10_limits_go_to_the_kernel(cluster: Cluster, ns: str) -> None:
    """Limits go to the kernel: cgroup memory limit and cpu quota equal the spec."""
    marker = uuid.uuid4().hex
    resources = {"limits": {"cpu": "250m", "memory": "48Mi"}, "requests": {"cpu": "100m", "memory": "16Mi"}}
    cluster.apply(marked_pod("p", marker, resources=resources), namespace=ns)
    cluster.wait(ns, "pod/p", "Ready")
    pid = host_pid_of(marker)
    limit = cgroup_file(pid, "memory", "memory.limit_in_bytes", "memory.max").read_text()
    assert int(limit) == 48 * 1024 * 1024
    quota_file = cgroup_file(pid, "cpu", "cpu.cfs_quota_us", "cpu.max")
    if quota_file.name == "cpu.max":
        quota, period = quota_file.read_text().split()
        weight = int(quota_file.with_name("cpu.weight").read_text())
        assert 1 <= weight < 100
    else:
        quota = quota_file.read_text()
        period = quota_file.with_name("cpu.cfs_period_us").read_text()
        assert int(quota_file.with_name("cpu.shares").read_text()) == 102
    assert int(quota) / int(period) == pytest.approx(0.25)


def test_d13_memory_is_reclaimed_by_killing(cluster: Cluster, ns: str) -> None:
    """Memory is reclaimed by killing: OOMKilled, exit 137, restarted."""
    eater = container("main", "tail", "/dev/zero", resources={"limits": {"memory": "32Mi"}})
    cluster.apply(pod("p", eater), namespace=ns)

    def killed(pods: dict[str, Any]) -> bool:
        statuses = pods["p"]["status"].get("containerStatuses") or [{}]
        last = statuses[0].get("lastState", {}).get("terminated", {})
        return bool(last) and statuses[0]["restartCount"] >= 1

    cluster.watch_until(cluster.core.list_namespaced_pod, killed, ns, timeout=60)
    last = cluster.get("pod", "p", ns)["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert (last["reason"], last["exitCode"]) == ("OOMKilled", 137)
