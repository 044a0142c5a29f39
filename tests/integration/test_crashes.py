"""Components that die: containers run on, no acknowledged write is lost, the cluster converges. And a cluster that is
interrupted half-way leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes
import pytest

from pybernetes.cluster.layout import Layout, Roots
from tests.support.cluster import P8S, Cluster, host_pid_of, new_cluster, pod, service, sleeper, workload
from tests.support.cluster import hostname_server as answering
from tests.support.traces import traces_of
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def fragile(images: list[Path]) -> Iterator[Cluster]:
    """A cluster of this module's own, to break."""
    cluster = new_cluster(nodes=2)
    try:
        cluster.up()
        cluster.load(images[0])
        yield cluster
    finally:
        cluster.down()
        left = traces_of(cluster)
    assert not left


def layout(cluster: Cluster) -> Layout:
    return Layout.of(cluster.name, Roots(cluster.root / "lib", cluster.root / "run"))


def kill(cluster: Cluster, component: str) -> None:
    pid = int(layout(cluster).pid_file(component).read_text().split()[0])
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not Path(f"/proc/{pid}").exists() or " Z " in Path(f"/proc/{pid}/stat").read_text())


def running(cluster: Cluster, ns: str, replicas: int) -> dict[str, Any]:
    """A Deployment of marked pods: what of it must not change."""
    marker = uuid.uuid4().hex
    container = sleeper(env=[{"name": "MARKER", "value": marker}])
    cluster.apply(workload("Deployment", "d", replicas, [container]), namespace=ns)
    cluster.rollout(ns, "deploy/d")
    return {"marker": marker, "pid": host_pid_of(marker), "ids": ids(cluster, ns)}


def ids(cluster: Cluster, ns: str) -> dict[str, tuple[str, int]]:
    found = {}
    for p in cluster.items("pods", ns, "app=d"):
        status = p["status"]["containerStatuses"][0]
        found[p["metadata"]["uid"]] = (status["containerID"], status["restartCount"])
    return found


def still_works(cluster: Cluster, ns: str, replicas: int) -> None:
    """The whole chain, from the API to a container: a scaled Deployment gets its pods, and one answers."""
    cluster.kubectl("-n", ns, "scale", "deploy/d", f"--replicas={replicas}")
    cluster.rollout(ns, "deploy/d")
    name = cluster.items("pods", ns, "app=d")[-1]["metadata"]["name"]
    assert cluster.exec(ns, name, "hostname").strip() == name


def test_kill_9_of_the_server(fragile: Cluster) -> None:
    with fragile.namespace() as ns:
        before = running(fragile, ns, 2)
        acknowledged: list[str] = []
        stop = threading.Event()

        def write() -> None:
            serial = 0
            while not stop.is_set():
                try:
                    fragile.core.create_namespaced_config_map(ns, {"metadata": {"name": f"c{serial}"}})
                except (kubernetes.client.ApiException, Exception):
                    return
                acknowledged.append(f"c{serial}")
                serial += 1

        writer = threading.Thread(target=write)
        writer.start()
        eventually(lambda: len(acknowledged) > 50)
        kill(fragile, "server")
        stop.set()
        writer.join(timeout=60)
        assert Path(f"/proc/{before['pid']}").exists()
        fragile.up()
        found = {c["metadata"]["name"] for c in fragile.items("configmaps", ns)}
        assert set(acknowledged) <= found
        assert Path(f"/proc/{before['pid']}").exists()
        assert ids(fragile, ns) == before["ids"]
        still_works(fragile, ns, 3)
        assert before["ids"].items() <= ids(fragile, ns).items()


def test_kill_9_of_an_agent(fragile: Cluster) -> None:
    with fragile.namespace() as ns:
        before = running(fragile, ns, 2)
        fragile.apply(service("web", 8080), pod("web", answering(), labels={"app": "web"}), pod("client"), namespace=ns)
        for name in ("web", "client"):
            fragile.wait(ns, f"pod/{name}", "Ready")
        for node in ("node1", "node2"):
            kill(fragile, node)
        assert Path(f"/proc/{before['pid']}").exists()
        # A write that the agents do not see happen is found when they are back.
        fragile.kubectl("-n", ns, "scale", "deploy/d", "--replicas=4")
        fragile.up()
        fragile.rollout(ns, "deploy/d")
        assert before["ids"].items() <= ids(fragile, ns).items(), "running containers are adopted, not restarted"
        assert Path(f"/proc/{before['pid']}").exists()
        assert eventually(lambda: fragile.exec(ns, "client", "nc", "-w", "5", "web", "8080").strip() == "web")
        still_works(fragile, ns, 5)


def test_kill_9_of_containerd(fragile: Cluster) -> None:
    with fragile.namespace() as ns:
        before = running(fragile, ns, 2)
        killed = 0
        for path in Path("/proc").glob("[0-9]*"):
            try:
                words = (path / "cmdline").read_bytes().decode().split("\0")
            except OSError:
                continue
            if Path(words[0]).name == "containerd" and any(str(fragile.root) in w for w in words):
                os.kill(int(path.name), signal.SIGKILL)
                killed += 1
        assert killed == 2
        assert Path(f"/proc/{before['pid']}").exists()
        # Nobody is asked to bring it back: the agent does.
        still_works(fragile, ns, 4)
        assert before["ids"].items() <= ids(fragile, ns).items()
        assert Path(f"/proc/{before['pid']}").exists()


def test_a_container_that_ended_while_nobody_looked(fragile: Cluster) -> None:
    with fragile.namespace() as ns:
        before = running(fragile, ns, 1)
        for node in ("node1", "node2"):
            kill(fragile, node)
        os.kill(before["pid"], signal.SIGKILL)
        fragile.up()

        def restarted() -> bool:
            ((_, count),) = ids(fragile, ns).values()
            return count == 1

        eventually(restarted)
        fragile.rollout(ns, "deploy/d")


def test_backup_and_restore_of_a_running_cluster(fragile: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "backup"
    with fragile.namespace() as ns:
        before = running(fragile, ns, 2)
        assert "objects as of revision" in fragile.p8s("backup", "--name", fragile.name, str(file)).stdout
        assert file.stat().st_mode & 0o777 == 0o600
        # What comes after the backup: one Deployment grows, another one is made.
        fragile.kubectl("-n", ns, "scale", "deploy/d", "--replicas=3")
        fragile.apply(workload("Deployment", "later", 1, [sleeper()]), namespace=ns)
        fragile.rollout(ns, "deploy/later")
        version = int(fragile.get("deployment", "later", ns)["metadata"]["resourceVersion"])

        refused = fragile.p8s("restore", "--name", fragile.name, str(file), check=False)
        assert refused.returncode == 4 and "is running" in refused.stderr and "--force" in refused.stderr
        said = fragile.p8s("restore", "--name", fragile.name, "--force", str(file))
        assert "What was there before is in" in said.stdout

        found = {d["metadata"]["name"]: d for d in fragile.items("deployments", ns)}
        assert set(found) == {"d"} and found["d"]["spec"]["replicas"] == 2
        assert int(found["d"]["metadata"]["resourceVersion"]) > version
        # The pods of the backup run on untouched; the agents end those that the restored cluster does not know.
        assert Path(f"/proc/{before['pid']}").exists()
        eventually(lambda: len(fragile.items("pods", ns)) == 2)
        assert ids(fragile, ns) == before["ids"]
        still_works(fragile, ns, 4)


def test_a_cluster_comes_back_from_its_backup_alone(tmp_path: Path) -> None:
    """On a machine that has nothing but the file, and under another name."""
    first, second = new_cluster(nodes=1), new_cluster(nodes=1)
    file = tmp_path / "backup"
    try:
        first.up(extra=["--wait", "0"])
        first.kubectl("create", "configmap", "remembered", "--from-literal=a=1")
        first.p8s("backup", "--name", first.name, str(file))
        first.down()
        said = second.p8s("restore", "--name", second.name, str(file)).stdout
        assert f"Start it with: p8s up --name {second.name}" in said
        second.p8s("up", "--name", second.name)
        assert second.get("configmap", "remembered", "default")["data"] == {"a": "1"}
        second.wait("default", "node/node1", "Ready")
    finally:
        first.down()
        second.down()
    assert traces_of(first) == traces_of(second) == []


def test_a_second_up_is_quick_and_changes_nothing(fragile: Cluster) -> None:
    files = {n: layout(fragile).pid_file(n).read_text() for n in ("server", "node1", "node2")}
    config = fragile.kubeconfig.read_text()
    fragile.up()
    assert {n: layout(fragile).pid_file(n).read_text() for n in files} == files
    assert fragile.kubeconfig.read_text() == config


@pytest.mark.parametrize("output_lines", [1, 3, 5])
def test_up_interrupted_then_down_is_clean(output_lines: int) -> None:
    cluster = new_cluster(nodes=2)
    process = subprocess.Popen(
        [*P8S, "up", "--name", cluster.name, "--nodes", "2", "--isolated"],
        env=cluster.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        said = "".join(process.stdout.readline() for _ in range(output_lines))
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        cluster.down()
    assert process.returncode not in (0, None), said + rest
    assert "Traceback" not in said + rest
    assert traces_of(cluster) == []
