"""A cluster on this machine, as a whole: made, looked at, unmade.

`up` can be interrupted anywhere and repeated: each step does what is missing, and the specification is on disk before
anything is made, so `down` always finds everything. `down` needs nothing to be alive or whole. Both hold the
cluster's lock. Synchronous, for the command line; what components run is given as command lines by the caller.
"""

from __future__ import annotations

import contextlib
import ipaddress
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from pybernetes.cluster import cgroups, credentials, kubeconfig, mounts, network, processes, requirements, uplink
from pybernetes.cluster.errors import ClusterDiffers, ClusterError
from pybernetes.cluster.layout import MAX_NODES, ClusterSpec, Layout, clusters
from pybernetes.cluster.lock import locked
from pybernetes.cluster.network import Addresses
from pybernetes.cluster.processes import ProcessId, ReadySocket

_SHIM_SOCKETS = "*/containerd/state/io.containerd.runtime.v2.task/*/*/address"
_SHIM_DIRECTORY = Path("/run/containerd/s")
_CNI_RESULTS = Path("/var/lib/cni/results")


class Progress(Protocol):
    """Told of each step as it begins and ends."""

    def step(self, text: str) -> contextlib.AbstractContextManager[None]: ...


class Commands(Protocol):
    """The command lines of the components."""

    def server(self, layout: Layout, spec: ClusterSpec) -> Sequence[str]: ...
    def agent(self, layout: Layout, spec: ClusterSpec, node: str) -> Sequence[str]: ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """What `p8s up` asks for; None is "as it is, or the default"."""

    nodes: int | None = None
    isolated: bool | None = None
    api_port: int | None = None
    publish_node_ports: bool | None = None
    log_level: str | None = None
    server_options: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class UpResult:
    spec: ClusterSpec
    kubeconfig: Path
    started: list[str]
    """Components that were not running before; empty where there was nothing to do."""


@dataclass(frozen=True, slots=True)
class ComponentStatus:
    name: str
    process: ProcessId | None


def service_address(cidr: str, index: int) -> str:
    """The `index`-th address of the service range; the first is the API server's."""
    return str(ipaddress.ip_network(cidr)[index])


def plan_spec(name: str, existing: ClusterSpec | None, wanted: Wanted) -> ClusterSpec:
    """The cluster to make, without what must be looked up on the machine (port, uplink). Raises `ClusterDiffers`
    where the cluster exists and would have to become another one; more nodes it may get."""
    if existing is None:
        defaults = ClusterSpec(name)
        return replace(
            defaults,
            nodes=wanted.nodes or defaults.nodes,
            isolated=bool(wanted.isolated),
            publish_node_ports=wanted.publish_node_ports is not False,
            log_level=wanted.log_level or defaults.log_level,
            server_options=wanted.server_options or (),
        )
    again = f"to make it anew: p8s down --name {name}, then p8s up again"
    if wanted.nodes is not None and wanted.nodes < existing.nodes:
        raise ClusterDiffers(f'the cluster "{name}" exists and has {existing.nodes} nodes', hint=again)
    if wanted.isolated is not None and wanted.isolated != existing.isolated:
        state = "isolated" if existing.isolated else "not isolated"
        raise ClusterDiffers(f'the cluster "{name}" exists and is {state}', hint=again)
    if wanted.api_port is not None and wanted.api_port != existing.api_port:
        raise ClusterDiffers(f'the cluster "{name}" exists and listens on port {existing.api_port}', hint=again)
    if wanted.publish_node_ports not in (None, existing.publish_node_ports):
        state = "published" if existing.publish_node_ports else "not published"
        raise ClusterDiffers(f'the cluster "{name}" exists and its node ports are {state}', hint=again)
    return replace(
        existing,
        nodes=wanted.nodes or existing.nodes,
        log_level=wanted.log_level or existing.log_level,
        server_options=existing.server_options if wanted.server_options is None else wanted.server_options,
    )


class LocalCluster:
    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    # Up.

    def up(self, wanted: Wanted, commands: Commands, progress: Progress, *, timeout_seconds: float) -> UpResult:
        """Makes the cluster, or what is missing of it, and waits until its API server serves. Nodes may not be Ready
        yet. Raises `ClusterError`s; what was made until then stays for a look, a second `up` or a `down`."""
        requirements.check_root()
        with progress.step("Checking this machine"):
            requirements.check_programs()
            requirements.check_kernel()
        with locked(self.layout):
            spec = self._settle_spec(wanted)
            with progress.step(f"Making the network ({_nodes(spec.nodes)}{', isolated' if spec.isolated else ''})"):
                network.create_cluster_network(self.layout, spec)
                if not spec.isolated:
                    uplink.create(self.layout, spec.uplink_subnet)
            with progress.step("Issuing certificates"):
                access = credentials.ensure(self.layout, spec, service_ip=service_address(spec.service_cidr, 1))
            started = self._start_components(spec, commands, progress, timeout_seconds)
            written = kubeconfig.merge(self.layout.context, access)
        return UpResult(spec, written, started)

    def _settle_spec(self, wanted: Wanted) -> ClusterSpec:
        layout = self.layout
        existing = layout.read_spec() if layout.exists else None
        if wanted.nodes is not None and not 1 <= wanted.nodes <= MAX_NODES:
            raise ClusterDiffers(f"a cluster has 1 to {MAX_NODES} nodes, not {wanted.nodes}")
        spec = plan_spec(layout.name, existing, wanted)
        if existing is None:
            reserved = _ports_of(clusters(layout.roots))
            spec = replace(
                spec,
                api_port=requirements.choose_port(wanted.api_port, reserved),
                uplink_subnet="" if spec.isolated else uplink.find_subnet(layout.name),
            )
        elif processes.read_pid_file(layout.pid_file("server")) is None:
            if wanted.api_port is None and not requirements.port_is_free("127.0.0.1", spec.api_port):
                # Somebody took the port while the server was down; nobody asked for this very one.
                spec = replace(spec, api_port=requirements.choose_port(None, ()))
            requirements.choose_port(spec.api_port, ())
        if spec != existing:
            layout.write_spec(spec)
        return spec

    def _start_components(
        self, spec: ClusterSpec, commands: Commands, progress: Progress, timeout_seconds: float
    ) -> list[str]:
        layout = self.layout
        path = {"PATH": requirements.search_path()}
        started = []
        with ReadySocket(layout.run / "ready.sock") as ready:
            server = processes.read_pid_file(layout.pid_file("server"))
            fresh = server is None
            if server is None:
                server = processes.start(
                    commands.server(layout, spec),
                    log_file=layout.log_file("server"),
                    pid_file=layout.pid_file("server"),
                    cgroup=layout.component_cgroup("server"),
                    environment={**path, **ready.environment},
                )
                started.append("server")
            # The agents come up beside the server, and meet it when it serves.
            for node in spec.node_names:
                if processes.read_pid_file(layout.pid_file(node)) is None:
                    layout.node_run(node).mkdir(parents=True, exist_ok=True)
                    processes.start(
                        commands.agent(layout, spec, node),
                        log_file=layout.log_file(node),
                        pid_file=layout.pid_file(node),
                        cgroup=layout.component_cgroup(node),
                        namespace=layout.node_namespace(node),
                        environment=path,
                    )
                    started.append(node)
            if fresh:
                with progress.step("Starting the API server, the scheduler and the controllers"):
                    log_file = layout.log_file("server")
                    ready.wait(server, "server", log_file, timeout_seconds=timeout_seconds)
        return started

    # Down.

    def down(self, progress: Progress) -> bool:
        """Removes the cluster, whatever is left of it; whether there was anything. Leaves no process, mount,
        namespace, interface, route, rule, cgroup, directory or kubeconfig entry of it behind."""
        requirements.check_root()
        with locked(self.layout) as lock:
            lock.remove_file = True
            there = bool(self.remains())
            # The context first: kubectl is not to meet a cluster that is half gone.
            removed_context = kubeconfig.remove(self.layout.context)
            with progress.step("Stopping every process") if there else contextlib.nullcontext():
                self._kill_processes()
            with progress.step("Removing mounts, networks and files") if there else contextlib.nullcontext():
                self._remove_leftovers()
        return there or bool(removed_context)

    def _kill_processes(self) -> None:
        # No farewells: the state goes too, and a killed container needs no one to look after it.
        for file in self.layout.run.glob("*.pid"):
            if (process := processes.read_pid_file(file)) is not None:
                processes.kill(process)
        cgroups.kill(self.layout.cgroup)

    def _remove_leftovers(self) -> None:
        layout = self.layout
        for file in (*self._shim_sockets(), *self._cni_results()):
            file.unlink(missing_ok=True)
        mounts.unmount_below([layout.state, layout.run])
        uplink.remove(layout)
        network.remove_cluster_network(layout)
        cgroups.remove(layout.cgroup)
        for directory in (layout.run, layout.state):
            _remove_tree(directory)
        # Made by our containerd where the machine has no other; they stay where that has anything in them.
        for directory in (_CNI_RESULTS, _CNI_RESULTS.parent, _SHIM_DIRECTORY, _SHIM_DIRECTORY.parent):
            with contextlib.suppress(OSError):
                directory.rmdir()

    def _shim_sockets(self) -> Iterator[Path]:
        """containerd's shims listen below /run/containerd whatever their containerd's directories are; each bundle
        says where."""
        for address in self.layout.run.glob(_SHIM_SOCKETS):
            with contextlib.suppress(OSError):
                yield Path(address.read_text().strip().removeprefix("unix://"))

    def _cni_results(self) -> list[Path]:
        """libcni keeps each attachment's result in one directory of the machine; ours name a network namespace
        below our own directory."""
        mine = f'"{self.layout.run}/'.encode()
        found = []
        for result in _CNI_RESULTS.glob("*"):
            with contextlib.suppress(OSError):
                if mine in result.read_bytes():
                    found.append(result)
        return found

    def remains(self) -> list[str]:
        """Everything of this cluster that is found on the machine, in words; empty after `down`."""
        layout = self.layout
        found = [f"process {pid}" for pid in sorted(cgroups.processes(layout.cgroup))]
        found += [f"cgroup {path}" for path in cgroups.remains(layout.cgroup)]
        found += [f"mount {path}" for path in mounts.below([layout.state, layout.run])]
        found += [f"namespace {name}" for name in network.remaining_namespaces(layout)]
        found += uplink.remains(layout)
        found += [f"file {path}" for path in (*self._shim_sockets(), *self._cni_results())]
        found += [f"directory {path}" for path in (layout.state, layout.run) if path.exists()]
        return found

    # Looking.

    def components(self) -> list[ComponentStatus]:
        """The server and the agents. Raises `UnknownCluster`."""
        spec = self.layout.read_spec()
        names = ["server", *spec.node_names]
        return [ComponentStatus(n, processes.read_pid_file(self.layout.pid_file(n))) for n in names]

    def addresses(self) -> Addresses:
        return Addresses.of(self.layout.read_spec())


def _ports_of(layouts: Iterable[Layout]) -> list[int]:
    """The API servers' ports; a cluster whose specification is damaged has none to keep."""
    ports = []
    for layout in layouts:
        with contextlib.suppress(ClusterError):
            ports.append(layout.read_spec().api_port)
    return ports


def _nodes(count: int) -> str:
    return "1 node" if count == 1 else f"{count} nodes"


def _remove_tree(directory: Path) -> None:
    """Removes a directory; a file that goes by itself meanwhile is no error."""

    def failed(_function: object, _path: str, info: tuple[type[BaseException], BaseException, object]) -> None:
        if not isinstance(info[1], FileNotFoundError):
            raise info[1]

    if directory.exists():
        shutil.rmtree(directory, onerror=failed)
