"""The official Python client: create, read, update, patch, delete, watch, exec."""

from __future__ import annotations

import kubernetes
import pytest
from kubernetes.stream import stream

from tests.support.cluster import Cluster, pod


def test_crud_and_watch(cluster: Cluster, ns: str) -> None:
    core = cluster.core
    made = core.create_namespaced_config_map(ns, {"metadata": {"name": "c"}, "data": {"a": "1"}})
    made.data["b"] = "2"
    replaced = core.replace_namespaced_config_map("c", ns, made)
    assert replaced.data == {"a": "1", "b": "2"}
    patched = core.patch_namespaced_config_map("c", ns, {"data": {"c": "3"}})
    assert patched.data == {"a": "1", "b": "2", "c": "3"}
    with pytest.raises(kubernetes.client.ApiException) as stale:
        core.replace_namespaced_config_map("c", ns, made)
    assert stale.value.status == 409
    assert [c.metadata.name for c in core.list_namespaced_config_map(ns).items if c.data and "b" in c.data] == ["c"]
    core.delete_namespaced_config_map("c", ns)
    with pytest.raises(kubernetes.client.ApiException) as gone:
        core.read_namespaced_config_map("c", ns)
    assert gone.value.status == 404
    # Everything that happened, in order, from the revision of the creation on.
    watch, seen = kubernetes.watch.Watch(), []
    version = made.metadata.resource_version
    for event in watch.stream(core.list_namespaced_config_map, ns, resource_version=version, timeout_seconds=30):
        if event["object"].metadata.name == "c":
            seen.append((event["type"], sorted(event["object"].data)))
        if len(seen) == 3:
            watch.stop()
    assert seen == [("MODIFIED", ["a", "b"]), ("MODIFIED", ["a", "b", "c"]), ("DELETED", ["a", "b", "c"])]


def test_exec(cluster: Cluster, ns: str) -> None:
    cluster.apply(pod("p"), namespace=ns)
    cluster.wait(ns, "pod/p", "Ready")
    command = ["sh", "-c", "echo out; echo err >&2; read line; echo got $line"]
    session = stream(
        cluster.core.connect_get_namespaced_pod_exec, "p", ns, command=command,
        stdin=True, stdout=True, stderr=True, tty=False, _preload_content=False,
    )  # fmt: skip
    session.write_stdin("hello\n")
    session.run_forever(timeout=30)
    assert session.read_stdout() == "out\ngot hello\n"
    assert session.read_stderr() == "err\n"
    assert session.returncode == 0
    session.close()
