"""Where a cluster keeps its things on this machine, and what it was asked to be.

State (survives a reboot) lies in /var/lib/p8s/NAME, what runs (sockets, pid files, the lock) in /run/p8s/NAME. With
P8S_ROOT set, both lie below that directory, so that a test keeps everything to itself; keep it short, since a socket's
path may have 107 characters.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from pybernetes.cluster.errors import BadArgument, ClusterError, UnknownCluster, UnknownNode

DEFAULT_NAME = "default"
MAX_NODES = 200

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,28}[a-z0-9])?")
_LIKE_A_NODE = re.compile(r"-node[0-9]+$")


@dataclass(frozen=True, slots=True)
class Roots:
    """The two directories below which every cluster lies."""

    state: Path
    run: Path

    @staticmethod
    def from_environment() -> Roots:
        root = os.environ.get("P8S_ROOT", "")
        if root:
            return Roots(Path(root) / "lib", Path(root) / "run")
        return Roots(Path("/var/lib/p8s"), Path("/run/p8s"))


def check_name(name: str) -> str:
    """The cluster's name, if it may be one: it becomes a part of namespace, cgroup and context names."""
    if not _NAME.fullmatch(name):
        raise BadArgument(
            f'"{name}" cannot name a cluster',
            hint="use at most 30 lower-case letters, digits and dashes, beginning and ending with a letter or digit",
        )
    if _LIKE_A_NODE.search(name):
        raise BadArgument(
            f'"{name}" cannot name a cluster', hint='a name that ends in "-node" and a number would clash with a node'
        )
    return name


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """What `p8s up` was asked for. Written before anything is made, so that `down` always knows what there may be."""

    name: str
    nodes: int = 1
    isolated: bool = False
    api_port: int = 6443
    """On the host's loopback."""
    publish_node_ports: bool = True
    log_level: str = "info"
    server_options: tuple[str, ...] = ()
    """More options of the server, as ``name=value``."""
    subnet: str = "172.30.0.0/24"
    pod_cidr: str = "10.244.0.0/16"
    service_cidr: str = "10.96.0.0/16"
    cluster_dns: str = "10.96.0.10"
    cluster_domain: str = "cluster.local"
    uplink_subnet: str = ""
    """The /30 between the host and the cluster; empty for an isolated cluster."""

    @property
    def node_names(self) -> list[str]:
        return [node_name(i) for i in range(1, self.nodes + 1)]


def node_name(index: int) -> str:
    """Nodes count from 1."""
    return f"node{index}"


def node_index(name: str) -> int:
    return int(name.removeprefix("node"))


@dataclass(frozen=True, slots=True)
class Layout:
    """Every path, namespace and cgroup name of one cluster."""

    name: str
    roots: Roots

    @staticmethod
    def of(name: str, roots: Roots | None = None) -> Layout:
        return Layout(check_name(name), roots or Roots.from_environment())

    # State.
    @property
    def state(self) -> Path:
        return self.roots.state / self.name

    @property
    def spec_file(self) -> Path:
        return self.state / "cluster.json"

    @property
    def server_state(self) -> Path:
        return self.state / "server"

    @property
    def admin_kubeconfig(self) -> Path:
        return self.state / "admin.kubeconfig"

    def node_state(self, node: str) -> Path:
        return self.state / "nodes" / node

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    def log_file(self, component: str) -> Path:
        """`component` is ``server`` or a node's name."""
        return self.logs / f"{component}.log"

    # What runs.
    @property
    def run(self) -> Path:
        return self.roots.run / self.name

    def node_run(self, node: str) -> Path:
        return self.run / node

    def pid_file(self, component: str) -> Path:
        return self.run / f"{component}.pid"

    @property
    def lock_file(self) -> Path:
        """Beside the cluster's directory and not in it: `down` removes the directory while it holds the lock."""
        return self.roots.run / f"{self.name}.lock"

    def containerd_socket(self, node: str) -> Path:
        return self.node_run(node) / "containerd" / "containerd.sock"

    # Names in the kernel.
    @property
    def cluster_namespace(self) -> str:
        return f"p8s-{self.name}"

    def node_namespace(self, node: str) -> str:
        return f"p8s-{self.name}-{node}"

    @property
    def cgroup(self) -> str:
        """Relative to the root of each hierarchy."""
        return f"p8s/{self.name}"

    def component_cgroup(self, component: str) -> str:
        """A node's own processes lie one level below the node's cgroup, beside its pods' (cgroup v2 allows processes
        in leaves only)."""
        return f"{self.cgroup}/server" if component == "server" else f"{self.cgroup}/{component}/agent"

    @property
    def context(self) -> str:
        """The kubeconfig's context, cluster and user."""
        return f"p8s-{self.name}"

    # The specification.
    @property
    def exists(self) -> bool:
        return self.spec_file.exists()

    def write_spec(self, spec: ClusterSpec) -> None:
        self.state.mkdir(parents=True, exist_ok=True, mode=0o755)
        temporary = self.spec_file.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(spec), indent=2) + "\n")
        temporary.replace(self.spec_file)

    def read_spec(self) -> ClusterSpec:
        """Raises `UnknownCluster`. Fields of a newer or older version are ignored or take their defaults."""
        try:
            stored = json.loads(self.spec_file.read_text())
        except FileNotFoundError:
            raise UnknownCluster(self.name, [layout.name for layout in clusters(self.roots)]) from None
        except (OSError, ValueError) as error:
            raise ClusterError(f"cannot read {self.spec_file}: {error}", hint=self._make_anew()) from error
        known = {f.name for f in fields(ClusterSpec)}
        if not isinstance(stored, dict) or "name" not in stored:
            raise ClusterError(f"{self.spec_file} describes no cluster", hint=self._make_anew())
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in stored.items() if k in known}
        return ClusterSpec(**values)

    def _make_anew(self) -> str:
        return f"remove the cluster with: p8s down --name {self.name}"

    def check_node(self, node: str) -> str:
        known = self.read_spec().node_names
        if node not in known:
            raise UnknownNode(node, known)
        return node


def clusters(roots: Roots | None = None) -> Iterator[Layout]:
    """Every cluster on this machine, by name."""
    roots = roots or Roots.from_environment()
    if roots.state.is_dir():
        for directory in sorted(roots.state.iterdir()):
            if (directory / "cluster.json").exists():
                yield Layout(directory.name, roots)
