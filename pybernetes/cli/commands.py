"""The command lines with which `p8s up` starts the components of a local cluster, as anyone could type them."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pybernetes.cluster import credentials
from pybernetes.cluster.layout import ClusterSpec, Layout
from pybernetes.cluster.network import Addresses
from pybernetes.cluster.resolver import node_resolv_conf


def _p8s() -> list[str]:
    # -P: the working directory never shadows a module.
    return [sys.executable, "-P", "-m", "pybernetes.cli"]


class LocalCommands:
    def server(self, layout: Layout, spec: ClusterSpec) -> Sequence[str]:
        return [
            *_p8s(),
            "server",
            f"--log-level={spec.log_level}",
            f"--data-dir={layout.server_state}",
            "--bind-address=127.0.0.1",
            f"--port={spec.api_port}",
            f"--namespace={layout.cluster_namespace}",
            f"--advertise-address={Addresses.of(spec).gateway}",
            f"--log-dir={layout.logs}",
            f"--advertise-port={credentials.SERVER_PORT_INSIDE}",
            f"--cluster-cidr={spec.pod_cidr}",
            f"--service-cidr={spec.service_cidr}",
            f"--cluster-domain={spec.cluster_domain}",
            "--publish-node-ports" if spec.publish_node_ports else "--no-publish-node-ports",
            *(f"--{option}" for option in spec.server_options),
        ]

    def agent(self, layout: Layout, spec: ClusterSpec, node: str) -> Sequence[str]:
        state = layout.node_state(node)
        arguments = [
            *_p8s(),
            "agent",
            f"--log-level={spec.log_level}",
            f"--node-name={node}",
            f"--node-ip={Addresses.of(spec).node(node)}",
            f"--kubeconfig={credentials.node_kubeconfig(layout, node)}",
            f"--network-kubeconfig={credentials.network_kubeconfig(layout, node)}",
            f"--data-dir={state}",
            f"--run-dir={layout.node_run(node)}",
            f"--cgroup-root=/{layout.cgroup}/{node}",
            f"--cluster-cidr={spec.pod_cidr}",
            f"--service-cidr={spec.service_cidr}",
            f"--cluster-dns={spec.cluster_dns}",
            f"--cluster-domain={spec.cluster_domain}",
            f"--resolv-conf={node_resolv_conf()}",
        ]
        if spec.isolated:
            arguments.append("--isolated")
        return arguments
