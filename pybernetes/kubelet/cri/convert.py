"""Between the kubelet's own terms (`pybernetes.kubelet.runtime`) and CRI's messages. Pure; no I/O.

CRI counts time in nanoseconds, the kubelet in seconds; zero means "never" in both.
"""

from __future__ import annotations

import json
from typing import Any

from pybernetes.kubelet import runtime as rt
from pybernetes.kubelet.cri import runtime_v1_pb2 as pb

_PROTOCOLS = {"TCP": pb.TCP, "UDP": pb.UDP, "SCTP": pb.SCTP}
_PROPAGATIONS = {
    "Private": pb.PROPAGATION_PRIVATE,
    "HostToContainer": pb.PROPAGATION_HOST_TO_CONTAINER,
    "Bidirectional": pb.PROPAGATION_BIDIRECTIONAL,
}
_PROPAGATION_NAMES: dict[int, Any] = {number: name for name, number in _PROPAGATIONS.items()}
_PROFILES = {
    "RuntimeDefault": pb.SecurityProfile.RuntimeDefault,
    "Unconfined": pb.SecurityProfile.Unconfined,
    "Localhost": pb.SecurityProfile.Localhost,
}


def _int64(value: int | None) -> pb.Int64Value | None:
    return None if value is None else pb.Int64Value(value=value)


def _namespaces(options: rt.NamespaceOptions) -> pb.NamespaceOption:
    return pb.NamespaceOption(
        network=options.network.name,
        pid=options.pid.name,
        ipc=options.ipc.name,
        target_id=options.target_id,
    )


def _profile(profile: rt.SecurityProfile | None) -> pb.SecurityProfile | None:
    if profile is None:
        return None
    return pb.SecurityProfile(profile_type=_PROFILES[profile.type], localhost_ref=profile.localhost_ref)


def _apparmor_name(profile: rt.SecurityProfile | None) -> str:
    """The profile in the one-string form that runtimes older than CRI 1.24's SecurityProfile read."""
    if profile is None:
        return ""
    return {
        "RuntimeDefault": "runtime/default",
        "Unconfined": "unconfined",
        "Localhost": f"localhost/{profile.localhost_ref}",
    }[profile.type]


def _selinux(options: rt.SELinuxOptions | None) -> pb.SELinuxOption | None:
    if options is None:
        return None
    return pb.SELinuxOption(user=options.user, role=options.role, type=options.type, level=options.level)


def sandbox_config(config: rt.SandboxConfig) -> pb.PodSandboxConfig:
    return pb.PodSandboxConfig(
        metadata=pb.PodSandboxMetadata(
            name=config.name, uid=config.uid, namespace=config.namespace, attempt=config.attempt
        ),
        hostname=config.hostname,
        log_directory=config.log_directory,
        dns_config=None
        if config.dns is None
        else pb.DNSConfig(servers=config.dns.servers, searches=config.dns.searches, options=config.dns.options),
        port_mappings=[
            pb.PortMapping(
                protocol=_PROTOCOLS[p.protocol],
                container_port=p.container_port,
                host_port=p.host_port,
                host_ip=p.host_ip,
            )
            for p in config.port_mappings
        ],
        labels=dict(config.labels),
        annotations=dict(config.annotations),
        linux=pb.LinuxPodSandboxConfig(
            cgroup_parent=config.cgroup_parent,
            sysctls=dict(config.sysctls),
            security_context=pb.LinuxSandboxSecurityContext(
                namespace_options=_namespaces(config.namespaces),
                selinux_options=_selinux(config.selinux),
                run_as_user=_int64(config.run_as_user),
                run_as_group=_int64(config.run_as_group),
                readonly_rootfs=config.read_only_root,
                supplemental_groups=config.supplemental_groups,
                privileged=config.privileged,
                seccomp=_profile(config.seccomp),
            ),
        ),
    )


def resources(limits: rt.LinuxResources) -> pb.LinuxContainerResources:
    return pb.LinuxContainerResources(
        cpu_period=limits.cpu_period_us,
        cpu_quota=limits.cpu_quota_us,
        cpu_shares=limits.cpu_shares,
        memory_limit_in_bytes=limits.memory_limit_bytes,
        oom_score_adj=limits.oom_score_adj,
        cpuset_cpus=limits.cpuset_cpus,
        cpuset_mems=limits.cpuset_mems,
        unified=dict(limits.unified),
    )


def _security(security: rt.ContainerSecurity) -> pb.LinuxContainerSecurityContext:
    return pb.LinuxContainerSecurityContext(
        capabilities=pb.Capability(
            add_capabilities=security.add_capabilities, drop_capabilities=security.drop_capabilities
        ),
        privileged=security.privileged,
        namespace_options=_namespaces(security.namespaces),
        selinux_options=_selinux(security.selinux),
        run_as_user=_int64(security.run_as_user),
        run_as_group=_int64(security.run_as_group),
        run_as_username=security.run_as_username,
        readonly_rootfs=security.read_only_root,
        supplemental_groups=security.supplemental_groups,
        no_new_privs=security.no_new_privileges,
        masked_paths=security.masked_paths,
        readonly_paths=security.read_only_paths,
        seccomp=_profile(security.seccomp),
        apparmor=_profile(security.apparmor),
        apparmor_profile=_apparmor_name(security.apparmor),
    )


def container_config(config: rt.ContainerConfig) -> pb.ContainerConfig:
    return pb.ContainerConfig(
        metadata=pb.ContainerMetadata(name=config.name, attempt=config.attempt),
        image=pb.ImageSpec(image=config.image, user_specified_image=config.image_name),
        command=config.command,
        args=config.args,
        working_dir=config.working_dir,
        envs=[pb.KeyValue(key=key, value=value) for key, value in config.envs],
        mounts=[
            pb.Mount(
                container_path=m.container_path,
                host_path=m.host_path,
                readonly=m.read_only,
                selinux_relabel=m.selinux_relabel,
                propagation=_PROPAGATIONS[m.propagation],
            )
            for m in config.mounts
        ],
        devices=[
            pb.Device(container_path=d.container_path, host_path=d.host_path, permissions=d.permissions)
            for d in config.devices
        ],
        labels=dict(config.labels),
        annotations=dict(config.annotations),
        log_path=config.log_path,
        stdin=config.stdin,
        stdin_once=config.stdin_once,
        tty=config.tty,
        linux=pb.LinuxContainerConfig(
            resources=resources(config.resources), security_context=_security(config.security)
        ),
    )


def auth(credentials: rt.RegistryAuth | None) -> pb.AuthConfig | None:
    if credentials is None:
        return None
    return pb.AuthConfig(
        username=credentials.username,
        password=credentials.password,
        auth=credentials.auth,
        server_address=credentials.server_address,
        identity_token=credentials.identity_token,
        registry_token=credentials.registry_token,
    )


def _info(info: Any) -> dict[str, Any]:
    """The JSON that a verbose answer carries under ``info``; {} where the runtime sends none or something else."""
    try:
        decoded = json.loads(info.get("info") or "{}")
    except ValueError:
        return {}
    return decoded if isinstance(decoded, dict) else {}


def container_pid(response: pb.ContainerStatusResponse) -> int:
    """The first process of a running container, from a verbose answer; 0 otherwise."""
    if response.status.state != pb.CONTAINER_RUNNING:
        return 0
    pid = _info(response.info).get("pid", 0)
    return pid if isinstance(pid, int) else 0


def container_status(status: pb.ContainerStatus) -> rt.ContainerStatus:
    user = status.user.linux if status.HasField("user") else None
    return rt.ContainerStatus(
        id=status.id,
        name=status.metadata.name,
        attempt=status.metadata.attempt,
        state=rt.ContainerState(status.state),
        created_at=status.created_at / 1e9,
        started_at=status.started_at / 1e9,
        finished_at=status.finished_at / 1e9,
        exit_code=status.exit_code,
        reason=status.reason,
        message=status.message,
        image=status.image.user_specified_image or status.image.image,
        image_ref=status.image_ref,
        image_id=status.image_id,
        labels=dict(status.labels),
        annotations=dict(status.annotations),
        log_path=status.log_path,
        mounts=tuple(
            rt.Mount(
                container_path=m.container_path,
                host_path=m.host_path,
                read_only=m.readonly,
                propagation=_PROPAGATION_NAMES.get(m.propagation, "Private"),
                selinux_relabel=m.selinux_relabel,
            )
            for m in status.mounts
        ),
        user=None if user is None else (user.uid, user.gid, tuple(user.supplemental_groups)),
    )


def container_summary(container: pb.Container) -> rt.ContainerSummary:
    return rt.ContainerSummary(
        id=container.id,
        sandbox_id=container.pod_sandbox_id,
        name=container.metadata.name,
        attempt=container.metadata.attempt,
        state=rt.ContainerState(container.state),
        image_ref=container.image_ref,
        created_at=container.created_at / 1e9,
        labels=dict(container.labels),
        annotations=dict(container.annotations),
    )


def sandbox_status(response: pb.PodSandboxStatusResponse) -> rt.SandboxStatus:
    status = response.status
    ips = [status.network.ip, *(extra.ip for extra in status.network.additional_ips)]
    spec = _info(response.info).get("runtimeSpec")
    namespaces = (spec.get("linux") or {}).get("namespaces") or () if isinstance(spec, dict) else ()
    return rt.SandboxStatus(
        id=status.id,
        name=status.metadata.name,
        namespace=status.metadata.namespace,
        uid=status.metadata.uid,
        attempt=status.metadata.attempt,
        ready=status.state == pb.SANDBOX_READY,
        created_at=status.created_at / 1e9,
        ips=tuple(ip for ip in ips if ip),
        network_namespace=next((str(n.get("path", "")) for n in namespaces if n.get("type") == "network"), ""),
        labels=dict(status.labels),
        annotations=dict(status.annotations),
    )


def sandbox_summary(sandbox: pb.PodSandbox) -> rt.SandboxSummary:
    return rt.SandboxSummary(
        id=sandbox.id,
        name=sandbox.metadata.name,
        namespace=sandbox.metadata.namespace,
        uid=sandbox.metadata.uid,
        attempt=sandbox.metadata.attempt,
        ready=sandbox.state == pb.SANDBOX_READY,
        created_at=sandbox.created_at / 1e9,
        labels=dict(sandbox.labels),
        annotations=dict(sandbox.annotations),
    )


def usage(stats: pb.ContainerStats) -> rt.ContainerUsage:
    return rt.ContainerUsage(
        id=stats.attributes.id,
        labels=dict(stats.attributes.labels),
        timestamp=max(stats.cpu.timestamp, stats.memory.timestamp) / 1e9,
        cpu_core_nanoseconds=stats.cpu.usage_core_nano_seconds.value,
        memory_working_set_bytes=stats.memory.working_set_bytes.value,
        memory_usage_bytes=stats.memory.usage_bytes.value,
        writable_layer_bytes=stats.writable_layer.used_bytes.value,
    )


def image_status(image: pb.Image) -> rt.ImageStatus:
    return rt.ImageStatus(
        id=image.id,
        tags=tuple(image.repo_tags),
        digests=tuple(image.repo_digests),
        size_bytes=image.size,
        uid=image.uid.value if image.HasField("uid") else None,
        username=image.username,
        pinned=image.pinned,
    )
