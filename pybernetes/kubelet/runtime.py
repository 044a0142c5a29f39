"""What the kubelet asks of a container runtime, in its own terms.

`pybernetes.kubelet.cri` implements it over CRI v1 and is the only gRPC user. Ids are the runtime's. Times are seconds
since the epoch. Failures raise `RuntimeFailure`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal, Protocol


class RuntimeFailure(Exception):
    """The runtime refused or failed; the message is its own. `not_found` where the thing named does not exist,
    `timed_out` where a deadline passed."""

    def __init__(self, message: str, *, not_found: bool = False, timed_out: bool = False) -> None:
        super().__init__(message)
        self.not_found = not_found
        self.timed_out = timed_out


class NamespaceMode(Enum):
    POD = 0
    CONTAINER = 1
    NODE = 2
    TARGET = 3


@dataclass(frozen=True, slots=True)
class NamespaceOptions:
    network: NamespaceMode = NamespaceMode.POD
    pid: NamespaceMode = NamespaceMode.CONTAINER
    ipc: NamespaceMode = NamespaceMode.POD
    target_id: str = ""


@dataclass(frozen=True, slots=True)
class SecurityProfile:
    """seccomp or AppArmor: ``RuntimeDefault``, ``Unconfined`` or ``Localhost`` with its reference."""

    type: Literal["RuntimeDefault", "Unconfined", "Localhost"] = "Unconfined"
    localhost_ref: str = ""


@dataclass(frozen=True, slots=True)
class SELinuxOptions:
    user: str = ""
    role: str = ""
    type: str = ""
    level: str = ""


@dataclass(frozen=True, slots=True)
class DNSConfig:
    servers: Sequence[str] = ()
    searches: Sequence[str] = ()
    options: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class PortMapping:
    protocol: Literal["TCP", "UDP", "SCTP"]
    container_port: int
    host_port: int
    host_ip: str = ""


@dataclass(frozen=True, slots=True)
class SandboxConfig:
    name: str
    uid: str
    namespace: str
    attempt: int
    hostname: str
    log_directory: str
    dns: DNSConfig | None
    port_mappings: Sequence[PortMapping]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    cgroup_parent: str
    namespaces: NamespaceOptions = field(default_factory=NamespaceOptions)
    sysctls: Mapping[str, str] = field(default_factory=dict)
    privileged: bool = False
    run_as_user: int | None = None
    run_as_group: int | None = None
    supplemental_groups: Sequence[int] = ()
    seccomp: SecurityProfile = field(default_factory=lambda: SecurityProfile("RuntimeDefault"))
    selinux: SELinuxOptions | None = None
    read_only_root: bool = False


@dataclass(frozen=True, slots=True)
class Mount:
    container_path: str
    host_path: str
    read_only: bool = False
    propagation: Literal["Private", "HostToContainer", "Bidirectional"] = "Private"
    selinux_relabel: bool = False


@dataclass(frozen=True, slots=True)
class Device:
    container_path: str
    host_path: str
    permissions: str = "mrw"


@dataclass(frozen=True, slots=True)
class LinuxResources:
    """Limits for the container's cgroup; zero means "not set"."""

    cpu_period_us: int = 0
    cpu_quota_us: int = 0
    cpu_shares: int = 0
    memory_limit_bytes: int = 0
    oom_score_adj: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    unified: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ContainerSecurity:
    namespaces: NamespaceOptions = field(default_factory=NamespaceOptions)
    privileged: bool = False
    add_capabilities: Sequence[str] = ()
    drop_capabilities: Sequence[str] = ()
    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_username: str = ""
    supplemental_groups: Sequence[int] = ()
    read_only_root: bool = False
    no_new_privileges: bool = False
    masked_paths: Sequence[str] = ()
    read_only_paths: Sequence[str] = ()
    seccomp: SecurityProfile = field(default_factory=SecurityProfile)
    apparmor: SecurityProfile | None = None
    selinux: SELinuxOptions | None = None


@dataclass(frozen=True, slots=True)
class ContainerConfig:
    name: str
    attempt: int
    image: str
    """The image reference as pulled (`pull_image`'s result)."""
    image_name: str
    """The name the user gave."""
    command: Sequence[str]
    args: Sequence[str]
    working_dir: str
    envs: Sequence[tuple[str, str]]
    mounts: Sequence[Mount]
    devices: Sequence[Device]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    log_path: str
    """Relative to the sandbox's log_directory."""
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    resources: LinuxResources = field(default_factory=LinuxResources)
    security: ContainerSecurity = field(default_factory=ContainerSecurity)


class ContainerState(Enum):
    CREATED = 0
    RUNNING = 1
    EXITED = 2
    UNKNOWN = 3


@dataclass(frozen=True, slots=True)
class ContainerStatus:
    id: str
    name: str
    attempt: int
    state: ContainerState
    created_at: float
    started_at: float
    finished_at: float
    exit_code: int
    reason: str
    """``Completed``, ``Error``, ``OOMKilled`` or the runtime's own word."""
    message: str
    image: str
    image_ref: str
    image_id: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    log_path: str
    """Absolute."""
    mounts: Sequence[Mount] = ()
    user: tuple[int, int, tuple[int, ...]] | None = None


@dataclass(frozen=True, slots=True)
class ContainerSummary:
    id: str
    sandbox_id: str
    name: str
    attempt: int
    state: ContainerState
    image_ref: str
    created_at: float
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SandboxStatus:
    id: str
    name: str
    namespace: str
    uid: str
    attempt: int
    ready: bool
    created_at: float
    ips: Sequence[str]
    network_namespace: str
    """Path of the sandbox's network namespace where the runtime tells it, else empty."""
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SandboxSummary:
    id: str
    name: str
    namespace: str
    uid: str
    attempt: int
    ready: bool
    created_at: float
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ExecResult:
    exit_code: int
    stdout: bytes
    stderr: bytes


@dataclass(frozen=True, slots=True)
class ImageStatus:
    id: str
    tags: Sequence[str]
    digests: Sequence[str]
    size_bytes: int
    uid: int | None
    username: str
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class RegistryAuth:
    username: str = ""
    password: str = ""
    server_address: str = ""
    identity_token: str = ""
    registry_token: str = ""
    auth: str = ""


@dataclass(frozen=True, slots=True)
class ContainerUsage:
    id: str
    labels: Mapping[str, str]
    timestamp: float
    cpu_core_nanoseconds: int
    memory_working_set_bytes: int
    memory_usage_bytes: int
    writable_layer_bytes: int


@dataclass(frozen=True, slots=True)
class RuntimeVersion:
    name: str
    version: str
    api_version: str


@dataclass(frozen=True, slots=True)
class RuntimeCondition:
    """RuntimeReady and NetworkReady, with the runtime's reason where not."""

    type: str
    status: bool
    reason: str
    message: str


class EventKind(Enum):
    CREATED = "created"
    STARTED = "started"
    STOPPED = "stopped"
    DELETED = "deleted"
    OOM = "oom"
    RESYNC = "resync"
    """The event stream was (re)opened: events may have been missed, look at everything once."""


@dataclass(frozen=True, slots=True)
class RuntimeEvent:
    kind: EventKind
    id: str
    """Container id, or sandbox id for a sandbox's own process; empty for RESYNC."""


class ContainerRuntime(Protocol):
    async def version(self) -> RuntimeVersion: ...
    async def conditions(self) -> Sequence[RuntimeCondition]: ...

    async def run_sandbox(self, config: SandboxConfig, runtime_handler: str = "") -> str: ...
    async def stop_sandbox(self, sandbox_id: str) -> None: ...
    async def remove_sandbox(self, sandbox_id: str) -> None: ...
    async def sandbox_status(self, sandbox_id: str) -> SandboxStatus: ...
    async def list_sandboxes(self, labels: Mapping[str, str] | None = None) -> Sequence[SandboxSummary]: ...

    async def create_container(
        self, sandbox_id: str, config: ContainerConfig, sandbox_config: SandboxConfig
    ) -> str: ...
    async def start_container(self, container_id: str) -> None: ...
    async def stop_container(self, container_id: str, timeout_seconds: int) -> None: ...
    async def remove_container(self, container_id: str) -> None: ...
    async def container_status(self, container_id: str) -> ContainerStatus: ...
    async def list_containers(
        self, *, sandbox_id: str = "", labels: Mapping[str, str] | None = None
    ) -> Sequence[ContainerSummary]: ...
    async def update_container_resources(self, container_id: str, resources: LinuxResources) -> None: ...
    async def container_pid(self, container_id: str) -> int:
        """The container's first process, as the node sees it; 0 where it does not run."""
        ...

    async def container_usage(self, labels: Mapping[str, str] | None = None) -> Sequence[ContainerUsage]: ...

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout_seconds: float) -> ExecResult: ...

    # Streaming: each returns the URL of the runtime's own streaming server, for one use, to be tunnelled to.
    async def exec(
        self, container_id: str, command: Sequence[str], *, tty: bool, stdin: bool, stdout: bool, stderr: bool
    ) -> str: ...
    async def attach(self, container_id: str, *, tty: bool, stdin: bool, stdout: bool, stderr: bool) -> str: ...
    async def port_forward(self, sandbox_id: str, ports: Sequence[int]) -> str: ...

    async def reopen_container_log(self, container_id: str) -> None: ...

    async def pull_image(
        self, image: str, auth: RegistryAuth | None = None, sandbox_config: SandboxConfig | None = None
    ) -> str:
        """Pulls and returns the image's reference (its id)."""
        ...

    async def image_status(self, image: str) -> ImageStatus | None: ...
    async def list_images(self) -> Sequence[ImageStatus]: ...
    async def remove_image(self, image: str) -> None: ...

    def events(self) -> AsyncIterator[RuntimeEvent]:
        """Container and sandbox events, for as long as the runtime is there; reconnects by itself and then says
        RESYNC, which is also the first event. Never polls."""
        ...
