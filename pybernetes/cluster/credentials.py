"""Credentials of a local cluster: the PKI, made before the server starts so that the agents can start beside it; each
node's client and serving certificates with its kubeconfig; the administrator's access.

Idempotent: what is there and whole stays.
"""

from __future__ import annotations

from pathlib import Path

from pybernetes.apiserver.pki import ClusterPKI, write_private
from pybernetes.cluster import backup, kubeconfig
from pybernetes.cluster.layout import ClusterSpec, Layout
from pybernetes.cluster.network import Addresses

SERVER_PORT_INSIDE = 6443
"""Where the API server listens in the cluster's namespace."""

NETWORK_USER = "system:kube-proxy"
"""As whom a node's service proxy, DNS and routes read."""


def pki_directory(layout: Layout) -> Path:
    return layout.server_state / "pki"


def node_kubeconfig(layout: Layout, node: str) -> Path:
    return layout.node_state(node) / "kubeconfig"


def network_kubeconfig(layout: Layout, node: str) -> Path:
    """That of the node's service proxy, DNS and routes, which read more than a kubelet may."""
    return layout.node_state(node) / "network.kubeconfig"


def ensure(layout: Layout, spec: ClusterSpec, *, service_ip: str) -> kubeconfig.AdminAccess:
    """Makes everything that is missing; the administrator's access through the host's loopback."""
    addresses = Addresses.of(spec)
    layout.server_state.mkdir(parents=True, exist_ok=True, mode=0o700)
    backup.finish(layout.server_state)
    pki = ClusterPKI.ensure(
        pki_directory(layout),
        advertise_addresses=[addresses.gateway],
        service_ip=service_ip,
        cluster_domain=spec.cluster_domain,
    )
    for node in spec.node_names:
        current = _issued_by(layout, node, pki)
        if not current or not node_kubeconfig(layout, node).exists():
            _issue_node(layout, pki, node, addresses)
        if not current or not network_kubeconfig(layout, node).exists():
            _issue_network(layout, pki, node, addresses)
        if not current:
            # Last: where it is this PKI's, so is everything beside it.
            write_private(_node_ca(layout, node), pki.ca_pem, mode=0o644)
    pair = pki.pair("admin")
    access = kubeconfig.AdminAccess(
        f"https://127.0.0.1:{spec.api_port}", pki.ca_pem, pair.certificate_pem, pair.key_pem
    )
    document = kubeconfig.dump(kubeconfig.document(layout.context, access)).encode()
    if not layout.admin_kubeconfig.exists() or layout.admin_kubeconfig.read_bytes() != document:
        write_private(layout.admin_kubeconfig, document)
    return access


def _node_ca(layout: Layout, node: str) -> Path:
    return layout.node_state(node) / "pki" / "ca.crt"


def _issued_by(layout: Layout, node: str, pki: ClusterPKI) -> bool:
    """Whether the node's credentials are of this PKI, and not of one that a restore has replaced."""
    path = _node_ca(layout, node)
    return path.exists() and path.read_bytes() == pki.ca_pem


def _issue_node(layout: Layout, pki: ClusterPKI, node: str, addresses: Addresses) -> None:
    directory = layout.node_state(node) / "pki"
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    client = pki.issue_node(node)
    serving = pki.issue_kubelet_serving(node, [node, addresses.node(node)])
    for name, pair in (("client", client), ("serving", serving)):
        write_private(directory / f"{name}.key", pair.key_pem)
        write_private(directory / f"{name}.crt", pair.certificate_pem, mode=0o644)
    # Last: where it exists, everything it names does.
    write_private(
        node_kubeconfig(layout, node),
        node_document(node, f"https://{addresses.gateway}:{SERVER_PORT_INSIDE}", f"system:node:{node}", "client"),
    )


def _issue_network(layout: Layout, pki: ClusterPKI, node: str, addresses: Addresses) -> None:
    directory = layout.node_state(node) / "pki"
    pair = pki.issue_client(NETWORK_USER)
    write_private(directory / "network.key", pair.key_pem)
    write_private(directory / "network.crt", pair.certificate_pem, mode=0o644)
    write_private(
        network_kubeconfig(layout, node),
        node_document(node, f"https://{addresses.gateway}:{SERVER_PORT_INSIDE}", NETWORK_USER, "network"),
    )


def node_document(node: str, server: str, user: str, pair: str) -> bytes:
    """A kubeconfig of a node's component; its credentials are the files of the pair beside it."""
    return kubeconfig.dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "cluster", "cluster": {"server": server, "certificate-authority": "pki/ca.crt"}}],
            "users": [
                {"name": user, "user": {"client-certificate": f"pki/{pair}.crt", "client-key": f"pki/{pair}.key"}}
            ],
            "contexts": [{"name": node, "context": {"cluster": "cluster", "user": user}}],
            "current-context": node,
        }
    ).encode()
