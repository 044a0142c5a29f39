"""What the runtime is told to run: a pod's sandbox and containers, put together from the spec, the node's settings, the
volumes and the environment."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pybernetes.api.meta import Object, annotations_of, name_of, namespace_of, uid_of
from pybernetes.kubelet import dns, identity, resources, security, spec
from pybernetes.kubelet.config import KubeletConfig
from pybernetes.kubelet.downward import PodFacts
from pybernetes.kubelet.env import ContainerConfigError, container_environment, expand, expand_all
from pybernetes.kubelet.images import Ready
from pybernetes.kubelet.objects import SharedObjects
from pybernetes.kubelet.runtime import ContainerConfig, Mount, PortMapping, SandboxConfig
from pybernetes.kubelet.volumes import subpath
from pybernetes.kubelet.volumes.interface import Mounted

_HOSTS = "/etc/hosts"


def sandbox_config(pod: Object, config: KubeletConfig, cgroup_parent: str, attempt: int) -> SandboxConfig:
    """Raises `HostnameError`."""
    own = spec.security(pod)
    on_node = spec.uses_host_network(pod)
    name, _ = dns.hostname(pod, config)
    if on_node:
        # A pod on the node's network has the node's UTS namespace too, whose name is not the pod's to set.
        name = ""
    ports: list[PortMapping] = []
    if not on_node:
        for container in [*spec.containers(pod), *(c for c in spec.init_containers(pod) if spec.is_sidecar(c))]:
            for port in container.get("ports") or ():
                if port.get("hostPort"):
                    ports.append(
                        PortMapping(
                            port.get("protocol") or "TCP",
                            int(port["containerPort"]),
                            int(port["hostPort"]),
                            port.get("hostIP") or "",
                        )
                    )
    user, group = own.get("runAsUser"), own.get("runAsGroup")
    return SandboxConfig(
        name=name_of(pod),
        uid=uid_of(pod),
        namespace=namespace_of(pod),
        attempt=attempt,
        hostname=name,
        log_directory=str(identity.pod_log_directory(config.log_directory, pod)),
        dns=dns.pod_dns(pod, config),
        port_mappings=tuple(ports),
        labels=identity.sandbox_labels(pod),
        annotations=dict(annotations_of(pod)),
        cgroup_parent=cgroup_parent,
        namespaces=security.namespaces(pod),
        sysctls=security.sysctls(pod),
        privileged=security.any_privileged(pod),
        run_as_user=int(user) if user is not None else None,
        # containerd refuses a group without a user.
        run_as_group=int(group) if group is not None and user is not None else None,
        supplemental_groups=security.supplemental_groups(pod),
        selinux=security.selinux(own.get("seLinuxOptions")),
    )


@dataclass(frozen=True, slots=True)
class ContainerInputs:
    """What a container's configuration is made from, besides its spec."""

    config: KubeletConfig
    objects: SharedObjects
    services: Iterable[Object]
    facts: PodFacts
    volumes: Mapping[str, Mounted]
    image: Ready
    restart_count: int
    node_memory_bytes: int
    target_id: str = ""
    """The container that an ephemeral one shares its process namespace with."""


async def container_config(pod: Object, container: Object, inputs: ContainerInputs) -> ContainerConfig:
    """Raises `ContainerConfigError` for what the spec's author must mend, `SecurityError` for what may not run, and API
    errors where the server cannot be asked."""
    environment = await container_environment(pod, container, inputs.objects, inputs.services, inputs.facts)
    name = container["name"]
    directory = identity.pod_log_directory(inputs.config.log_directory, pod) / name
    directory.mkdir(parents=True, exist_ok=True)
    return ContainerConfig(
        name=name,
        attempt=inputs.restart_count,
        image=inputs.image.ref,
        image_name=container["image"],
        command=expand_all(container.get("command") or (), environment),
        args=expand_all(container.get("args") or (), environment),
        working_dir=container.get("workingDir") or "",
        envs=environment,
        mounts=_mounts(pod, container, inputs, dict(environment)),
        devices=(),
        labels=identity.container_labels(pod, container),
        annotations=identity.container_annotations(pod, container, inputs.restart_count),
        log_path=f"{name}/{inputs.restart_count}.log",
        stdin=bool(container.get("stdin")),
        stdin_once=bool(container.get("stdinOnce")),
        tty=bool(container.get("tty")),
        resources=resources.container_resources(pod, container, inputs.node_memory_bytes),
        security=security.container_security(pod, container, inputs.image.status, inputs.target_id),
    )


_PROPAGATION: Mapping[str, Literal["Private", "HostToContainer", "Bidirectional"]] = {
    "HostToContainer": "HostToContainer",
    "Bidirectional": "Bidirectional",
}


def _mounts(pod: Object, container: Object, inputs: ContainerInputs, environment: Mapping[str, str]) -> list[Mount]:
    mounts: list[Mount] = []
    for wanted in container.get("volumeMounts") or ():
        volume = inputs.volumes.get(wanted["name"])
        if volume is None:
            raise ContainerConfigError(
                f'cannot find volume "{wanted["name"]}" to mount into container "{container["name"]}"'
            )
        source = volume.path
        part = wanted.get("subPath") or ""
        if wanted.get("subPathExpr"):
            part = expand(wanted["subPathExpr"], environment)
            if "$(" in part:
                raise ContainerConfigError(f"missing value for {wanted['subPathExpr']!r}")
        if part:
            source = subpath.prepare(volume, part)
        target = wanted["mountPath"]
        if not target.startswith("/"):
            target = "/" + target
        mounts.append(
            Mount(
                container_path=target,
                host_path=str(source),
                read_only=bool(wanted.get("readOnly")) or volume.read_only,
                propagation=_PROPAGATION.get(wanted.get("mountPropagation") or "", "Private"),
            )
        )
    targets = {m.container_path for m in mounts}
    if _HOSTS not in targets:
        mounts.append(Mount(_HOSTS, str(write_hosts(pod, inputs.config, inputs.facts.pod_ips))))
    message_path = container.get("terminationMessagePath") or "/dev/termination-log"
    if message_path not in targets:
        file = identity.termination_file(
            inputs.config.root_directory, uid_of(pod), container["name"], inputs.restart_count
        )
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        # The container may run as any user.
        file.chmod(0o666)
        mounts.append(Mount(message_path, str(file)))
    return mounts


def write_hosts(pod: Object, config: KubeletConfig, pod_ips: Sequence[str]) -> Path:
    """Writes the pod's managed hosts file and returns its path. It is written in place: containers hold it by its
    inode."""
    path = identity.pod_directory(config.root_directory, uid_of(pod)) / "etc-hosts"
    node_hosts = ""
    if spec.uses_host_network(pod):
        try:
            node_hosts = Path(_HOSTS).read_text()
        except OSError:
            node_hosts = "127.0.0.1\tlocalhost\n"
    text = dns.hosts_file(pod, config, pod_ips, node_hosts)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        unchanged = path.read_text() == text
    except FileNotFoundError:
        unchanged = False
    if not unchanged:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), "w") as file:
            file.write(text)
        path.chmod(0o644)
    return path
