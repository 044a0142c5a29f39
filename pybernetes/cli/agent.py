"""``p8s agent``: one node in one process: containerd's supervisor, kubelet, service proxy, DNS and routes.

It runs inside the node's network namespace and cgroup, where whoever starts it puts it; containerd and the pods'
processes are below them. When it stops, or is killed, containers, rules and routes stay; the next agent of the same
directories adopts them. The network's parts share one set of informers and an identity of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import structlog

from pybernetes.api.errors import ApiError
from pybernetes.api.resources import NAMESPACES, NODES
from pybernetes.cli.supervision import part, run
from pybernetes.client.https import Credentials, HTTPSClient
from pybernetes.client.informer import Informers
from pybernetes.cluster.processes import notify_ready
from pybernetes.cluster.routes import NodeRoutes
from pybernetes.dns.forward import upstreams_of
from pybernetes.dns.server import DNSServer
from pybernetes.kubelet import cni
from pybernetes.kubelet.config import KubeletConfig
from pybernetes.kubelet.containerd import ContainerdConfig, ContainerdSupervisor
from pybernetes.kubelet.cri import CRIRuntime
from pybernetes.kubelet.kubelet import Kubelet
from pybernetes.lib import logs
from pybernetes.proxy.loop import ServiceProxy

_DNS_PORT = 53
_ASK_MIN_SECONDS = 0.05
_ASK_MAX_SECONDS = 2.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """The command's options."""

    node_name: str
    node_ip: str
    kubeconfig: Path
    network_kubeconfig: Path | None
    data_dir: Path
    run_dir: Path
    cgroup_root: str
    cluster_cidr: str
    service_cidr: str
    cluster_dns: str
    cluster_domain: str
    isolated: bool
    mtu: int
    resolv_conf: Path

    @property
    def pki_directory(self) -> Path:
        """The serving certificate and the cluster's CA, beside the kubeconfig."""
        return self.kubeconfig.parent / "pki"


_DIRECTORY = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("agent")
@click.option("--log-level", type=click.Choice(logs.LEVELS), default="info", show_default=True, help="How much to log.")
@click.option("--node-name", required=True, help="The Node object's name.")
@click.option("--node-ip", required=True, help="The node's address, where its kubelet listens.")
@click.option("--kubeconfig", type=_FILE, required=True, help="The kubelet's access to the API server.")
@click.option(
    "--network-kubeconfig",
    type=_FILE,
    default=None,
    help="The access of service proxy, DNS and routes.  [default: the kubelet's]",
)
@click.option("--data-dir", type=_DIRECTORY, required=True, help="Keeps images, containers and pods' files.")
@click.option("--run-dir", type=_DIRECTORY, required=True, help="Keeps sockets and what a reboot ends.")
@click.option("--cgroup-root", default="/p8s", show_default=True, help="The cgroup below which pods' cgroups lie.")
@click.option("--cluster-cidr", default="10.244.0.0/16", show_default=True, help="The range of pods' addresses.")
@click.option("--service-cidr", default="10.96.0.0/16", show_default=True, help="The range of Services' addresses.")
@click.option("--cluster-dns", default="10.96.0.10", show_default=True, help="The DNS Service's address.")
@click.option("--cluster-domain", default="cluster.local", show_default=True, help="The cluster's DNS domain.")
@click.option("--isolated", is_flag=True, help="No names outside the cluster are resolved.")
@click.option("--mtu", type=click.IntRange(576, 65535), default=1500, show_default=True, help="Of pods' interfaces.")
@click.option(
    "--resolv-conf",
    type=click.Path(path_type=Path),
    default=Path("/etc/resolv.conf"),
    show_default=True,
    help="The node's resolver settings.",
)
def agent_command(log_level: str, **rest: Any) -> int:
    """Run a node: kubelet, service proxy, DNS and containerd, until SIGTERM. Its containers run on."""
    options = AgentOptions(**rest)
    logs.configure(log_level)
    # Not uvloop: it forks its children with gRPC's threads running, and some of them crash; asyncio's are vforked.
    asyncio.set_child_watcher(asyncio.PidfdChildWatcher())
    return run("agent", lambda: work(options), loop_factory=None)


async def work(options: AgentOptions) -> None:
    """Works until cancelled."""
    cni_plugins = cni.find_plugins()
    supervisor = ContainerdSupervisor(
        ContainerdConfig(
            root_dir=options.data_dir / "containerd",
            state_dir=options.run_dir / "containerd",
            cni_bin_dir=cni_plugins,
            cni_conf_dir=_cni_conf_dir(options),
            registry_dir=options.data_dir / "registries",
        )
    )
    runtime: CRIRuntime | None = None
    async with (
        HTTPSClient.from_credentials(
            Credentials.from_kubeconfig(options.kubeconfig), user_agent="kubelet/pybernetes"
        ) as client,
        HTTPSClient.from_credentials(
            Credentials.from_kubeconfig(options.network_kubeconfig or options.kubeconfig),
            user_agent="node-network/pybernetes",
        ) as network_client,
    ):
        informers = Informers(network_client)
        try:
            async with asyncio.TaskGroup() as group:

                def start(name: str, work: Any) -> None:
                    group.create_task(part(name, work), name=name)

                start("service-proxy", _service_proxy(options, informers).run)
                start("dns", _dns(options, informers).run)
                start("routes", NodeRoutes(informers.for_(NODES), own_node=options.node_name).run)
                await supervisor.start()
                runtime = CRIRuntime(str(supervisor.socket_path))
                kubelet = Kubelet(
                    _kubelet_config(options),
                    client,
                    runtime,
                    on_pod_cidrs=lambda cidrs: _configure_pod_network(options, cidrs),
                )
                start("containerd", supervisor.run)
                await _server_serves(network_client)
                informers.start()
                start("kubelet", kubelet.run)
                notify_ready()
        finally:
            await informers.stop()
            if runtime is not None:
                await runtime.close()
            supervisor.detach()


async def _server_serves(client: HTTPSClient) -> None:
    """Waits until the API server answers and knows what the node may do. It may be starting beside this process, or
    be away for long; there is no event for its coming, so it is asked, less and less often."""
    pause = _ASK_MIN_SECONDS
    while True:
        try:
            await client.list(NAMESPACES, limit=1)
            return
        except ApiError as error:
            level = log.debug if pause < _ASK_MAX_SECONDS else log.warning
            level("waiting for the API server", error=error.message)
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, _ASK_MAX_SECONDS)


def _cni_conf_dir(options: AgentOptions) -> Path:
    return options.data_dir / "cni" / "conf"


def _configure_pod_network(options: AgentOptions, pod_cidrs: Sequence[str]) -> None:
    if cni.configure(
        _cni_conf_dir(options), pod_cidrs, mtu=options.mtu, data_dir=options.data_dir / "cni" / "addresses"
    ):
        log.info("pod network configured", pod_cidrs=list(pod_cidrs))


def _kubelet_config(options: AgentOptions) -> KubeletConfig:
    pki = options.pki_directory
    return KubeletConfig(
        node_name=options.node_name,
        node_ip=options.node_ip,
        root_directory=options.data_dir / "kubelet",
        log_directory=options.data_dir / "logs" / "pods",
        cgroup_root=options.cgroup_root,
        cluster_dns=(options.cluster_dns,) if options.cluster_dns else (),
        cluster_domain=options.cluster_domain,
        resolv_conf=options.resolv_conf,
        tls_certificate=pki / "serving.crt",
        tls_key=pki / "serving.key",
        client_ca=pki / "ca.crt",
    )


def _service_proxy(options: AgentOptions, informers: Informers) -> ServiceProxy:
    return ServiceProxy(
        informers,
        node_name=options.node_name,
        node_ips=[options.node_ip],
        service_cidrs=[options.service_cidr],
        pod_cidrs=[options.cluster_cidr],
        excluded_ips=[options.cluster_dns],
    )


def _dns(options: AgentOptions, informers: Informers) -> DNSServer:
    upstreams = [] if options.isolated else upstreams_of(options.resolv_conf, own_addresses=[options.cluster_dns])
    return DNSServer(
        informers,
        [(options.cluster_dns, _DNS_PORT)],
        cluster_domain=options.cluster_domain,
        upstreams=upstreams,
        claim=[options.cluster_dns],
    )
