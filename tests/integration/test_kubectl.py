"""A stock kubectl, the oldest and the newest on the machine, driving real containers."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import kubectls
from tests.support.cluster import Cluster, container, hostname_server, pod, service, sleeper, workload
from tests.support.waiting import eventually


@pytest.fixture(params=sorted({kubectls.oldest(), kubectls.newest()}), ids=lambda p: Path(p).name)
def k(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[Cluster]:
    """The shared cluster, driven by one version of kubectl."""
    before = cluster.kubectl_path
    cluster.kubectl_path = request.param
    yield cluster
    cluster.kubectl_path = before


def test_apply_get_describe(k: Cluster, ns: str) -> None:
    web = workload("Deployment", "web", 2, [hostname_server()])
    assert k.apply(web, service("web", 8080), namespace=ns) == "deployment.apps/web created\nservice/web created\n"
    assert k.apply(web, namespace=ns) == "deployment.apps/web unchanged\n"
    web["spec"]["replicas"] = 3
    assert k.apply(web, namespace=ns) == "deployment.apps/web configured\n"
    k.rollout(ns, "deploy/web")
    header, *rows = k.kubectl("-n", ns, "get", "pods", "-o", "wide").splitlines()
    assert header.split() == [
        "NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE", "NOMINATED", "NODE", "READINESS", "GATES",
    ]  # fmt: skip
    assert len(rows) == 3 and all(row.split()[1:4] == ["1/1", "Running", "0"] for row in rows)
    assert {row.split()[6] for row in rows} <= {n["metadata"]["name"] for n in k.items("nodes", ns)}
    names = k.kubectl("-n", ns, "get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].metadata.name}").split()
    assert len(names) == 3
    assert k.kubectl("-n", ns, "get", "pods", "-l", "app=other") == ""
    document = yaml.safe_load(k.kubectl("-n", ns, "get", "deploy", "web", "-o", "yaml"))
    assert document["status"]["readyReplicas"] == 3 and document["kind"] == "Deployment"
    assert re.match(r"web +3/3 +3 +3 ", k.kubectl("-n", ns, "get", "deploy").splitlines()[1])
    described = k.kubectl("-n", ns, "describe", "deploy", "web")
    assert "Scaled up replica set web-" in described and "3 desired | 3 updated | 3 total | 3 available" in described
    described = k.kubectl("-n", ns, "describe", "pod", names[0])
    for text in ("Successfully assigned", "Container created", "Container started", "Ready          True"):
        assert text in re.sub(r"Ready +True", "Ready          True", described)
    assert "Endpoints:" in k.kubectl("-n", ns, "describe", "service", "web")
    assert "Allocatable:" in k.kubectl("describe", "nodes")
    assert all(row.split()[1] == "Ready" for row in k.kubectl("get", "nodes").splitlines()[1:])


def test_get_watch(k: Cluster, ns: str) -> None:
    command = [k.kubectl_path, "-n", ns, "get", "pods", "-w", "--output-watch-events"]
    with subprocess.Popen(command, env=k.env, stdout=subprocess.PIPE, text=True) as watcher:
        assert watcher.stdout is not None
        try:
            k.apply(pod("p"), namespace=ns)
            lines = []
            # Each line is one event; the test's own time limit bounds the wait.
            for line in watcher.stdout:
                lines.append(line.split())
                if lines[-1][:4] == ["MODIFIED", "p", "1/1", "Running"]:
                    k.kubectl("-n", ns, "delete", "pod", "p", "--wait=false")
                if lines[-1][:2] == ["DELETED", "p"]:
                    break
        finally:
            watcher.send_signal(signal.SIGINT)
    states = [line[3] for line in lines if line[0] in ("ADDED", "MODIFIED")]
    assert states[0] == "Pending" and "ContainerCreating" in states and "Running" in states


def test_logs(k: Cluster, ns: str) -> None:
    script = (
        "for i in 1 2 3; do echo line $i; done; echo oops >&2; while ! test -e /tmp/go; do sleep 0.1; done; echo end"
    )
    k.apply(pod("p", container("main", "sh", "-c", script), restartPolicy="Never"), namespace=ns)
    eventually(lambda: len(k.kubectl("-n", ns, "logs", "p").splitlines()) == 4)
    whole = k.kubectl("-n", ns, "logs", "p").splitlines()
    # The two streams are two pipes: only the order within each is certain.
    assert sorted(whole) == ["line 1", "line 2", "line 3", "oops"]
    assert [line for line in whole if line != "oops"] == ["line 1", "line 2", "line 3"]
    assert k.kubectl("-n", ns, "logs", "p", "--tail=2").splitlines() == whole[-2:]
    stamped = k.kubectl("-n", ns, "logs", "p", "--timestamps", "--tail=1")
    assert re.match(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00) ", stamped)
    with subprocess.Popen(
        [k.kubectl_path, "-n", ns, "logs", "-f", "p"], env=k.env, stdout=subprocess.PIPE, text=True
    ) as follower:
        k.exec(ns, "p", "touch", "/tmp/go")
        out, _ = follower.communicate(timeout=30)
    assert out.splitlines()[-1] == "end" and "line 1" in out
    assert "container nope is not valid for pod p" in k.refused("-n", ns, "logs", "p", "-c", "nope")


def test_exec(k: Cluster, ns: str) -> None:
    k.apply(pod("p"), namespace=ns)
    k.wait(ns, "pod/p", "Ready")
    assert k.exec(ns, "p", "hostname") == "p\n"
    result = k.try_kubectl("-n", ns, "exec", "p", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (result.returncode, result.stdout) == (7, "out\n") and result.stderr.startswith("err\n")
    big = "x" * 300_000
    echoed = k.kubectl("-n", ns, "exec", "-i", "p", "--", "cat", stdin=big)
    assert echoed == big
    assert "not found" in k.refused("-n", ns, "exec", "none", "--", "true")
    assert k.refused("-n", ns, "exec", "p", "--", "no-such-program")


def test_exec_with_a_terminal(k: Cluster, ns: str) -> None:
    k.apply(pod("p"), namespace=ns)
    k.wait(ns, "pod/p", "Ready")
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(k.kubectl_path, [k.kubectl_path, "-n", ns, "exec", "-it", "p", "--", "sh"], k.env)
    seen = b""

    def read_until(wanted: bytes) -> None:
        nonlocal seen
        deadline = time.monotonic() + 30
        while wanted not in seen:
            ready, _, _ = select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"no {wanted!r} in {seen!r}"
            seen += os.read(terminal, 4096)

    try:
        read_until(b"# ")
        os.write(terminal, b"tty; echo $((6*7))\n")
        read_until(b"/dev/pts/0")
        read_until(b"42")
        os.write(terminal, b"exit 3\n")
        _, status = os.waitpid(pid, 0)
    finally:
        os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 3


def test_attach_to_a_process_that_reads(k: Cluster, ns: str) -> None:
    reader = container("main", "sh", "-c", "while read line; do echo got $line; done", stdin=True)
    k.apply(pod("p", reader), namespace=ns)
    k.wait(ns, "pod/p", "Ready")
    with subprocess.Popen(
        [k.kubectl_path, "-n", ns, "attach", "-i", "p"],
        env=k.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as attached:  # fmt: skip
        assert attached.stdin is not None and attached.stdout is not None
        attached.stdin.write("one\n")
        attached.stdin.flush()
        assert any("got one" in line for line in iter(attached.stdout.readline, ""))
        attached.kill()


def test_port_forward(k: Cluster, ns: str) -> None:
    web = container(
        "main", "sh", "-c", "mkdir /www; head -c 100000 /dev/zero > /www/big; exec httpd -f -p 8080 -h /www"
    )
    k.apply(pod("web", web), namespace=ns)
    k.wait(ns, "pod/web", "Ready")
    command = [k.kubectl_path, "-n", ns, "port-forward", "pod/web", ":8080"]
    with subprocess.Popen(command, env=k.env, stdout=subprocess.PIPE, text=True) as forwarder:
        assert forwarder.stdout is not None
        try:
            line = forwarder.stdout.readline()
            port = re.search(r"127\.0\.0\.1:(\d+) -> 8080", line)
            assert port, line

            def fetched() -> bool:
                with urllib.request.urlopen(f"http://127.0.0.1:{port.group(1)}/big", timeout=10) as answer:
                    return len(answer.read()) == 100_000

            eventually(fetched)
            for _ in range(5):
                assert fetched()
        finally:
            forwarder.terminate()


def test_cp(k: Cluster, ns: str, tmp_path: Path) -> None:
    k.apply(pod("p"), namespace=ns)
    k.wait(ns, "pod/p", "Ready")
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").write_bytes(bytes(range(256)) * 100)
    k.kubectl("-n", ns, "cp", str(tmp_path / "there"), "p:/tmp/there")
    k.kubectl("-n", ns, "cp", "p:/tmp/there/file", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == bytes(range(256)) * 100


def test_scale_set_image_and_rollouts(k: Cluster, ns: str) -> None:
    k.apply(workload("Deployment", "d", 1, [sleeper()]), namespace=ns)
    assert k.kubectl("-n", ns, "scale", "deploy/d", "--replicas=2") == "deployment.apps/d scaled\n"
    k.rollout(ns, "deploy/d")
    assert k.kubectl("-n", ns, "set", "image", "deploy/d", "main=web:1") == "deployment.apps/d image updated\n"
    status = k.kubectl("-n", ns, "rollout", "status", "deploy/d", "--timeout=90s")
    assert 'deployment "d" successfully rolled out' in status
    history = k.kubectl("-n", ns, "rollout", "history", "deploy/d")
    assert [line.split()[0] for line in history.splitlines() if line[:1].isdigit()] == ["1", "2"]
    assert "web:1" in k.kubectl("-n", ns, "rollout", "history", "deploy/d", "--revision=2")
    assert k.kubectl("-n", ns, "rollout", "undo", "deploy/d") == "deployment.apps/d rolled back\n"
    k.rollout(ns, "deploy/d")
    assert k.get("deploy", "d", ns)["spec"]["template"]["spec"]["containers"][0]["image"] == "busybox:1"
    before = {p["metadata"]["uid"] for p in k.items("pods", ns)}
    assert k.kubectl("-n", ns, "rollout", "restart", "deploy/d") == "deployment.apps/d restarted\n"
    k.rollout(ns, "deploy/d")

    def all_new(pods: dict[str, Any]) -> bool:
        return len(pods) == 2 and not before & {p["metadata"]["uid"] for p in pods.values()}

    k.watch_until(k.core.list_namespaced_pod, all_new, ns)


def test_label_annotate_patch_edit_delete(k: Cluster, ns: str) -> None:
    k.kubectl("-n", ns, "create", "configmap", "c", "--from-literal=a=1")
    k.kubectl("-n", ns, "label", "cm", "c", "x=y")
    k.kubectl("-n", ns, "annotate", "cm", "c", "note=hello")
    k.kubectl("-n", ns, "patch", "cm", "c", "--type=merge", "-p", '{"data":{"b":"2"}}')
    k.kubectl("-n", ns, "patch", "cm", "c", "-p", '{"data":{"c":"3"}}')
    k.kubectl("-n", ns, "patch", "cm", "c", "--type=json", "-p", '[{"op":"remove","path":"/data/a"}]')
    edited = subprocess.run(
        [k.kubectl_path, "-n", ns, "edit", "cm", "c"],
        env={**k.env, "EDITOR": "sed -i s/hello/changed/"}, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert edited.stdout == "configmap/c edited\n"
    found = k.get("cm", "c", ns)
    assert found["data"] == {"b": "2", "c": "3"} and found["metadata"]["labels"] == {"x": "y"}
    assert found["metadata"]["annotations"]["note"] == "changed"
    assert k.kubectl("-n", ns, "delete", "cm", "c").startswith('configmap "c" deleted')
    assert "NotFound" in k.refused("-n", ns, "get", "cm", "c")


def test_wait_explain_api_resources_auth(k: Cluster, ns: str) -> None:
    k.apply(pod("p"), namespace=ns)
    assert "pod/p condition met" in k.kubectl("-n", ns, "wait", "pod/p", "--for=condition=Ready", "--timeout=60s")
    k.kubectl("-n", ns, "delete", "pod", "p", "--wait=false")
    k.kubectl("-n", ns, "wait", "pod/p", "--for=delete", "--timeout=60s")
    explained = k.kubectl("explain", "deployment.spec.strategy.rollingUpdate.maxSurge")
    assert "maximum number of pods" in explained
    assert "FIELDS:" in k.kubectl("explain", "pod.spec.containers", "--recursive")
    resources = k.kubectl("api-resources")
    assert re.search(r"deployments +deploy +apps/v1 +true +Deployment", resources)
    assert re.search(r"nodes +no +v1 +false +Node", resources)
    versions = k.kubectl("api-versions").split()
    assert {"v1", "apps/v1", "rbac.authorization.k8s.io/v1"} <= set(versions)
    assert not [v for v in versions if "alpha" in v or "beta" in v]
    assert k.kubectl("auth", "can-i", "create", "pods").strip() == "yes"
    denied = k.try_kubectl("auth", "can-i", "create", "pods", "--as=system:serviceaccount:default:default")
    assert denied.stdout.strip() == "no"
    forbidden = k.refused("-n", ns, "get", "pods", "--as=system:serviceaccount:default:default")
    assert f'cannot list resource "pods" in API group "" in the namespace "{ns}"' in forbidden
    version = json.loads(k.kubectl("version", "-o", "json"))
    assert version["serverVersion"]["minor"] == "37"
    assert "is running at" in k.kubectl("cluster-info")


def test_run_expose_create(k: Cluster, ns: str) -> None:
    assert k.kubectl("-n", ns, "run", "r", "--image=busybox:1", "--", "sleep", "60") == "pod/r created\n"
    out = k.kubectl(
        "-n", ns, "run", "once", "--image=busybox:1", "--restart=Never", "--rm", "-i", "--quiet",
        "--", "sh", "-c", "read line; echo from inside $line", stdin="hello\n",
    )  # fmt: skip
    # It reads first: what a container says before anybody is attached is for its log alone.
    assert "from inside hello" in out
    k.kubectl("-n", ns, "create", "deployment", "d", "--image=web:1", "--replicas=2", "--port=8080")
    k.kubectl("-n", ns, "expose", "deployment", "d", "--port=80", "--target-port=8080", "--type=NodePort")
    k.rollout(ns, "deploy/d")
    port = k.get("service", "d", ns)["spec"]["ports"][0]["nodePort"]

    def served() -> bool:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return connection.recv(100).startswith(b"HTTP/1")

    eventually(lambda: _no_error(served))
    # Earlier ones send these in beta versions, which are served no longer.
    since_1_22 = (
        ("cronjob", "cj", "--image=busybox:1", "--schedule=0 0 1 1 *", "--", "true"),
        ("poddisruptionbudget", "b", "--selector=app=d", "--min-available=1"),
    )
    for arguments in (
        ("namespace", f"{ns}-more"),
        ("secret", "generic", "s", "--from-literal=k=v"),
        ("serviceaccount", "robot"),
        ("role", "reader", "--verb=get,list", "--resource=pods"),
        ("rolebinding", "readers", "--role=reader", f"--serviceaccount={ns}:robot"),
        ("job", "j", "--image=busybox:1", "--", "true"),
        ("ingress", "i", "--rule=example.com/*=d:80"),
        ("quota", "q", "--hard=pods=100"),
        ("priorityclass", f"{ns}-p", "--value=10"),
        *(since_1_22 if kubectls.minor_version(k.kubectl_path) >= 22 else ()),
    ):
        assert "created" in k.kubectl("-n", ns, "create", *arguments), arguments
    robot = f"--as=system:serviceaccount:{ns}:robot"
    assert k.kubectl("-n", ns, "get", "pods", robot, "-o", "name")
    assert "cannot delete" in k.refused("-n", ns, "delete", "pod", "r", robot)
    k.kubectl("delete", "namespace", f"{ns}-more", "--wait=false")
    k.kubectl("delete", "priorityclass", f"{ns}-p")
    assert k.kubectl("-n", ns, "get", "all")


def _no_error(check: Any) -> bool:
    try:
        return bool(check())
    except OSError:
        return False
