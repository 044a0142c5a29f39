"""What a kubelet is told at its start. Immutable; no defaults are read from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pybernetes.api.meta import Object


@dataclass(frozen=True, slots=True)
class KubeletConfig:
    """One node's settings. Paths are on the node; times are seconds; sizes bytes."""

    node_name: str
    node_ip: str
    """The node's InternalIP: where the kubelet's server listens and what pods see as ``status.hostIP``."""
    root_directory: Path
    """State of pods: ``pods/UID/{volumes,containers,etc-hosts}``."""
    log_directory: Path
    """Container logs: ``NAMESPACE_NAME_UID/CONTAINER/N.log``."""
    cgroup_root: str = "/p8s"
    """The cgroup below which ``kubepods`` is made, as a path in each hierarchy."""
    cgroup_mount: Path = Path("/sys/fs/cgroup")

    cluster_dns: tuple[str, ...] = ()
    cluster_domain: str = "cluster.local"
    resolv_conf: Path = Path("/etc/resolv.conf")
    """The node's own resolver settings, for ``dnsPolicy: Default``."""

    port: int = 10250
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    client_ca: Path | None = None
    """The CA of client certificates. Without the three files no server is started."""
    server_users: frozenset[str] = frozenset({"kube-apiserver", "kube-apiserver-kubelet-client"})
    """Common names that may use the server, besides members of ``system:masters``."""

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Object, ...] = ()
    """Taints that a new Node object is registered with."""
    provider_id: str = ""
    max_pods: int = 110
    memory_reserved_bytes: int = 100 * 1024 * 1024
    """Kept back from allocatable, as upstream's default hard eviction threshold does."""
    ephemeral_storage_reserved_fraction: float = 0.1

    lease_duration_seconds: int = 40
    status_report_seconds: float = 300.0
    """How often an unchanged node status is written all the same."""

    log_max_size_bytes: int = 10 * 1024 * 1024
    log_max_files: int = 5
    image_pulls_at_once: int = 4
    restart_backoff_initial_seconds: float = 10.0
    restart_backoff_max_seconds: float = 300.0
    image_backoff_initial_seconds: float = 10.0
    image_backoff_max_seconds: float = 300.0
    dead_containers_kept: int = 1
    """Dead containers kept for each container of a pod, for ``logs --previous``."""
