"""A real cluster for tests: made with the p8s command, driven with kubectl and the official Python client."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import kubernetes
import yaml

from tests.support import kubectls
from tests.support.waiting import eventually

P8S = (sys.executable, "-m", "pybernetes.cli")


class CommandFailed(AssertionError):
    """A command ended with another code than asked for."""

    def __init__(self, result: subprocess.CompletedProcess[str]) -> None:
        super().__init__(f"{result.args} ended with {result.returncode}\n{result.stdout}{result.stderr}")
        self.result = result


def run(
    command: Sequence[str],
    *,
    env: dict[str, str] | None = None,
    stdin: str | None = None,
    timeout: float = 120.0,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    extra: dict[str, Any] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    result = subprocess.run(command, env=env, capture_output=True, text=True, timeout=timeout, check=False, **extra)
    if check and result.returncode:
        raise CommandFailed(result)
    return result


@dataclass
class Cluster:
    """A running cluster. `kubectl` returns standard output; the client is the official one."""

    name: str
    root: Path
    kubeconfig: Path
    nodes: int
    kubectl_path: str = field(default_factory=kubectls.newest)
    _api: kubernetes.client.ApiClient | None = None

    @property
    def env(self) -> dict[str, str]:
        # kubectl keeps its discovery cache below HOME: each cluster has one of its own.
        return {
            **os.environ,
            "P8S_ROOT": str(self.root),
            "KUBECONFIG": str(self.kubeconfig),
            "HOME": str(self.root),
            "TERM": "dumb",
        }

    # --- the command ---------------------------------------------------------------------------------------------

    def p8s(self, *args: str, timeout: float = 180.0, check: bool = True) -> subprocess.CompletedProcess[str]:
        return run([*P8S, *args], env=self.env, timeout=timeout, check=check)

    def up(self, *, isolated: bool = True, extra: Sequence[str] = ()) -> None:
        flags = ["--isolated"] if isolated else []
        self.p8s("up", "--name", self.name, "--nodes", str(self.nodes), *flags, *extra)

    def down(self) -> None:
        if self._api is not None:
            self._api.close()
            self._api = None
        self.p8s("down", "--name", self.name)

    def load(self, *images: Path) -> None:
        self.p8s("image", "load", "--name", self.name, *map(str, images))

    # --- kubectl -------------------------------------------------------------------------------------------------

    def kubectl(self, *args: str, stdin: str | None = None, timeout: float = 120.0, kubectl: str | None = None) -> str:
        return self.try_kubectl(*args, stdin=stdin, timeout=timeout, kubectl=kubectl, check=True).stdout

    def try_kubectl(
        self,
        *args: str,
        stdin: str | None = None,
        timeout: float = 120.0,
        kubectl: str | None = None,
        check: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        command = [kubectl or self.kubectl_path, *args]
        return run(command, env=self.env, stdin=stdin, timeout=timeout, check=check)

    def refused(self, *args: str, stdin: str | None = None) -> str:
        """Standard error of a kubectl call that must fail."""
        result = self.try_kubectl(*args, stdin=stdin)
        assert result.returncode, f"kubectl {args} should have failed, and said: {result.stdout}"
        return result.stderr

    def apply(self, *objects: dict[str, Any], namespace: str = "") -> str:
        text = "---\n".join(yaml.safe_dump(o) for o in objects)
        return self.kubectl(*(("-n", namespace) if namespace else ()), "apply", "-f", "-", stdin=text)

    def get(self, resource: str, name: str, namespace: str = "") -> dict[str, Any]:
        where = ("-n", namespace) if namespace else ()
        found: dict[str, Any] = json.loads(self.kubectl(*where, "get", resource, name, "-o", "json"))
        return found

    def items(self, resource: str, namespace: str, selector: str = "") -> list[dict[str, Any]]:
        flags = ("-l", selector) if selector else ()
        answer = self.kubectl("-n", namespace, "get", resource, *flags, "-o", "json")
        found: list[dict[str, Any]] = json.loads(answer)["items"]
        return found

    def exec(self, namespace: str, pod: str, *command: str, container: str = "", timeout: float = 60.0) -> str:
        flags = ("-c", container) if container else ()
        return self.kubectl("-n", namespace, "exec", pod, *flags, "--", *command, timeout=timeout)

    def wait(self, namespace: str, what: str, condition: str, *, timeout: int = 60) -> None:
        """``kubectl wait``: condition is ``Ready`` or a whole ``jsonpath=...`` or ``delete``."""
        path, _, value = condition.removeprefix("jsonpath=").rpartition("=")
        if condition.startswith("jsonpath=") and kubectls.minor_version(self.kubectl_path) < 23:
            get = ("-n", namespace, "get", what, "-o", f"jsonpath={path}")
            eventually(lambda: self.kubectl(*get) == value, timeout=timeout, message=f"{what} {condition}")
            return
        wanted = condition if condition.startswith(("jsonpath", "delete", "condition")) else f"condition={condition}"
        self.kubectl("-n", namespace, "wait", what, f"--for={wanted}", f"--timeout={timeout}s", timeout=timeout + 20)

    def rollout(self, namespace: str, what: str, *, timeout: int = 90) -> None:
        self.kubectl("-n", namespace, "rollout", "status", what, f"--timeout={timeout}s", timeout=timeout + 20)

    # --- the official Python client ------------------------------------------------------------------------------

    @property
    def api(self) -> kubernetes.client.ApiClient:
        if self._api is None:
            self._api = kubernetes.config.new_client_from_config(str(self.kubeconfig), context=f"p8s-{self.name}")
        return self._api

    @property
    def core(self) -> kubernetes.client.CoreV1Api:
        return kubernetes.client.CoreV1Api(self.api)

    def watch_until(
        self,
        list_function: Callable[..., Any],
        done: Callable[[dict[str, dict[str, Any]]], Any],
        *args: Any,
        timeout: float = 60.0,
        each: Callable[[dict[str, dict[str, Any]]], None] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Follows a list with its watch until `done(objects by name)` is truthy; `each` is called at every state
        that the watch shows, for what must hold all the time."""
        deadline = time.monotonic() + timeout
        first = self.api.sanitize_for_serialization(list_function(*args, **kwargs))
        state = {o["metadata"]["name"]: o for o in first["items"]}
        version = first["metadata"]["resourceVersion"]
        while True:
            if each is not None:
                each(state)
            if value := done(state):
                return value
            left = deadline - time.monotonic()
            if left <= 0:
                raise AssertionError(f"not within {timeout} s; last state: {json.dumps(state)[:3000]}")
            watcher = kubernetes.watch.Watch()
            stream = watcher.stream(
                list_function, *args, resource_version=version, timeout_seconds=max(1, int(left) + 1), **kwargs
            )
            for event in stream:
                raw = event["raw_object"]
                version = raw["metadata"]["resourceVersion"]
                if event["type"] == "BOOKMARK":
                    continue
                if event["type"] == "DELETED":
                    state.pop(raw["metadata"]["name"], None)
                else:
                    state[raw["metadata"]["name"]] = raw
                if each is not None:
                    each(state)
                if value := done(state):
                    watcher.stop()
                    return value

    @contextmanager
    def namespace(self, prefix: str = "t", labels: dict[str, str] | None = None) -> Iterator[str]:
        """A namespace of one's own, with its default service account; deleted afterwards without waiting."""
        name = f"{prefix}-{uuid.uuid4().hex[:8]}"
        self.core.create_namespace({"metadata": {"name": name, "labels": labels or {}}})
        self.watch_until(self.core.list_namespaced_service_account, lambda found: "default" in found, name)
        try:
            yield name
        finally:
            self.core.delete_namespace(name)

    def node_namespace(self, node: str) -> str:
        """The network namespace of a node, as named below /run/netns."""
        return f"p8s-{self.name}-{node}"


def new_cluster(nodes: int = 2, *, base: Path | None = None) -> Cluster:
    """A cluster that is not up yet, in a fresh directory with a short path (sockets' paths are bounded)."""
    root = Path(tempfile.mkdtemp(prefix="p8s-", dir=base or "/tmp"))
    return Cluster(f"t{uuid.uuid4().hex[:6]}", root, root / "kubeconfig", nodes)


# --- manifests ---------------------------------------------------------------------------------------------------


BUSYBOX = "busybox:1"


def container(name: str, *command: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "image": BUSYBOX, **({"command": list(command)} if command else {}), **fields}


def sleeper(name: str = "main", **fields: Any) -> dict[str, Any]:
    """A container that does nothing, and ends at once when told to."""
    return container(name, "sh", "-c", "trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done", **fields)


def pod(name: str, *containers: dict[str, Any], labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {"containers": list(containers) or [sleeper()], "terminationGracePeriodSeconds": 5, **spec},
    }


def workload(
    kind: str, name: str, replicas: int, template_containers: Iterable[dict[str, Any]], **fields: Any
) -> dict[str, Any]:
    """A Deployment or ReplicaSet whose pods are labelled ``app: NAME``."""
    template_spec = {"terminationGracePeriodSeconds": 5, **fields.pop("template_spec", {})}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name, **fields.pop("template_labels", {})}},
                "spec": {"containers": list(template_containers), **template_spec},
            },
            **fields,
        },
    }


def service(name: str, port: int, selector: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    protocol = spec.pop("protocol", "TCP")
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": selector or {"app": name}, "ports": [{"port": port, "protocol": protocol}], **spec},
    }


def hostname_server(port: int = 8080, **fields: Any) -> dict[str, Any]:
    """A container that answers each TCP connection with its pod's name."""
    return container("server", "nc", "-ll", "-p", str(port), "-e", "hostname", **fields)


def is_ready(obj: dict[str, Any]) -> bool:
    conditions = obj.get("status", {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def host_pid_of(marker: str, *, timeout: float = 10.0) -> int:
    """The pid, as this machine sees it, of the first process whose environment has MARKER=`marker`."""
    wanted = f"MARKER={marker}".encode()

    def find() -> int:
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if wanted in path.read_bytes().split(b"\0"):
                    found.append(int(path.parent.name))
            except OSError:
                continue  # gone meanwhile
        # Children inherit the environment; the first process of a container is the oldest.
        return min(found, default=0)

    return eventually(find, timeout=timeout, message=f"a process with MARKER={marker}")


def cgroup_file(pid: int, v1_controller: str, v1_name: str, v2_name: str) -> Path:
    """A control file of a process's cgroup, on either cgroup version."""
    entries = [line.split(":", 2) for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    for _, controllers, path in entries:
        if v1_controller in controllers.split(","):
            return Path("/sys/fs/cgroup") / v1_controller / path.lstrip("/") / v1_name
    unified = next(path for number, _, path in entries if number == "0")
    return Path("/sys/fs/cgroup") / unified.lstrip("/") / v2_name
