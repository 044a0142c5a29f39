"""Resources in the kernel's terms, QoS classes, cgroups of both versions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pybernetes.api.meta import Object
from pybernetes.kubelet.cgroups import CgroupError, PodCgroups, SplitHierarchy, UnifiedHierarchy, hierarchy
from pybernetes.kubelet.resources import (
    container_resources,
    cpu_quota,
    cpu_shares,
    oom_score_adj,
    pod_resources,
    qos_class,
)
from pybernetes.kubelet.runtime import LinuxResources
from pybernetes.lib.clock import SystemClock
from tests.unit.kubelet.builders import UID, container, pod

GI = 1 << 30


def wants(requests: dict[str, str] | None = None, limits: dict[str, str] | None = None, **fields: Any) -> Object:
    return container(resources={"requests": requests or {}, "limits": limits or {}}, **fields)


BOTH = {"cpu": "500m", "memory": "1Gi"}


@pytest.mark.parametrize(
    ("of", "qos"),
    [
        (pod(), "BestEffort"),
        (pod(wants(BOTH, BOTH)), "Guaranteed"),
        (pod(wants(None, BOTH)), "Guaranteed"),
        (pod(wants(BOTH)), "Burstable"),
        (pod(wants({"cpu": "100m"}, BOTH)), "Burstable"),
        (pod(wants(BOTH, {"cpu": "500m"})), "Burstable"),
        (pod(wants(BOTH, BOTH), container("b")), "Burstable"),
        (pod(wants(BOTH, BOTH), initContainers=[container("i")]), "Burstable"),
        (pod(wants({"cpu": "0"})), "BestEffort"),
        (pod(container(), resources={"requests": BOTH, "limits": BOTH}), "Guaranteed"),
    ],
)
def test_qos_classes(of: Object, qos: str) -> None:
    assert qos_class(of) == qos


@pytest.mark.parametrize(("milli", "shares"), [(0, 2), (1, 2), (2, 2), (100, 102), (1000, 1024), (10**9, 262144)])
def test_shares(milli: int, shares: int) -> None:
    assert cpu_shares(milli) == shares


@pytest.mark.parametrize(("milli", "quota"), [(0, 0), (1, 1000), (10, 1000), (250, 25000), (2000, 200000)])
def test_quotas(milli: int, quota: int) -> None:
    assert cpu_quota(milli) == quota


def test_a_containers_resources() -> None:
    found = container_resources(pod(), wants({"cpu": "100m"}, BOTH), 4 * GI)
    assert (found.cpu_shares, found.cpu_quota_us, found.cpu_period_us) == (102, 50_000, 100_000)
    assert found.memory_limit_bytes == GI
    only_limit = container_resources(pod(), wants(None, {"cpu": "2"}), GI)
    assert only_limit.cpu_shares == 2048
    free = container_resources(pod(), container(), GI)
    assert (free.cpu_shares, free.cpu_quota_us, free.memory_limit_bytes) == (2, 0, 0)


def test_whom_the_kernel_kills_first() -> None:
    assert oom_score_adj(pod(wants(BOTH, BOTH)), wants(BOTH, BOTH), 4 * GI) == -997
    assert oom_score_adj(pod(), container(), 4 * GI) == 1000
    assert oom_score_adj(pod(wants({"memory": "1Gi"})), wants({"memory": "1Gi"}), 4 * GI) == 750
    assert oom_score_adj(pod(wants({"memory": "4Gi"})), wants({"memory": "4Gi"}), 4 * GI) == 3
    assert oom_score_adj(pod(wants({"cpu": "1"})), wants({"cpu": "1"}), 4 * GI) == 999
    assert oom_score_adj(pod(priority=2_000_000_000), container(), 4 * GI) == -997


def test_a_pod_is_limited_only_where_all_its_containers_are() -> None:
    both = pod(wants(BOTH, BOTH), wants(BOTH, BOTH, name="b"))
    assert pod_resources(both) == LinuxResources(
        cpu_period_us=100_000, cpu_quota_us=100_000, cpu_shares=1024, memory_limit_bytes=2 * GI
    )
    half = pod_resources(pod(wants(BOTH, BOTH), wants({"cpu": "1"}, name="b")))
    assert (half.cpu_quota_us, half.memory_limit_bytes, half.cpu_shares) == (0, 0, 1536)
    assert pod_resources(pod()).cpu_shares == 2


# Cgroups. The trees are directories made up to look like the kernel's.


def split(root: Path) -> Path:
    for controller in ("cpu", "memory", "pids", "unified"):
        (root / controller).mkdir()
    (root / "cpuacct").symlink_to("cpu")
    return root


def test_both_versions_are_told_apart(tmp_path: Path) -> None:
    assert isinstance(hierarchy(split(tmp_path)), SplitHierarchy)
    (tmp_path / "cgroup.controllers").write_text("cpu memory\n")
    assert isinstance(hierarchy(tmp_path), UnifiedHierarchy)


async def test_a_pods_cgroup_in_version_one(tmp_path: Path) -> None:
    made = PodCgroups("/p8s/c/n", split(tmp_path), SystemClock())
    of = pod(wants({"cpu": "300m"}, {"memory": "1Gi"}))
    path = made.create(of)
    assert path == made.path(of) == f"/p8s/c/n/kubepods/burstable/pod{UID}"
    assert (tmp_path / "cpu" / path[1:] / "cpu.shares").read_text() == "307"
    assert (tmp_path / "memory" / path[1:] / "memory.limit_in_bytes").read_text() == str(GI)
    # All burstable pods together have the shares of what they ask for.
    assert (tmp_path / "cpu/p8s/c/n/kubepods/burstable/cpu.shares").read_text() == "307"
    assert (tmp_path / "cpu/p8s/c/n/kubepods/besteffort/cpu.shares").read_text() == "2"
    assert not (tmp_path / "unified/p8s").exists()
    for file in tmp_path.rglob("*.*"):
        if UID in str(file) and file.is_file():
            file.unlink()
    await made.remove(UID)
    await made.remove(UID)
    assert not list(tmp_path.rglob(f"*{UID}*"))
    assert (tmp_path / "cpu/p8s/c/n/kubepods/burstable/cpu.shares").read_text() == "2"


async def test_a_cgroup_that_cannot_be_removed_is_told(tmp_path: Path) -> None:
    class Quick(SystemClock):
        async def sleep(self, seconds: float) -> None:
            return

    made = PodCgroups("/p8s", split(tmp_path), Quick())
    path = made.create(pod())
    (tmp_path / "pids" / path[1:] / "held").mkdir()
    (tmp_path / "pids" / path[1:] / "held" / "file").write_text("")
    with pytest.raises(CgroupError, match="cannot be removed"):
        await made.remove(UID)


def test_a_pods_cgroup_in_version_two(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory io\n")

    made = UnifiedHierarchy(tmp_path)
    below = tmp_path / "p8s" / "kubepods"
    below.mkdir(parents=True)
    for step in (tmp_path, tmp_path / "p8s", below):
        (step / "cgroup.controllers").write_text("cpu memory io\n")
        (step / "cgroup.subtree_control").write_text("")
    for name in ("cpu.weight", "cpu.max", "memory.max"):
        (below / name).write_text("")
    made.create("/p8s/kubepods", LinuxResources(cpu_shares=1024, cpu_quota_us=50_000, memory_limit_bytes=GI))
    assert (tmp_path / "cgroup.subtree_control").read_text().startswith("+")
    assert (below / "cpu.weight").read_text() == "39"
    assert (below / "cpu.max").read_text() == "50000 100000"
    assert (below / "memory.max").read_text() == str(GI)
    made.update("/p8s/kubepods", LinuxResources(cpu_shares=2))
    assert (below / "cpu.max").read_text() == "max 100000"
    assert (below / "memory.max").read_text() == "max"
