"""Credentials follow the PKI: what a restore has replaced is issued anew, everything else stays."""

from __future__ import annotations

import shutil
from pathlib import Path

from cryptography import x509

from pybernetes.cluster import credentials
from pybernetes.cluster.layout import ClusterSpec, Layout, Roots


def node_files(layout: Layout) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in (layout.node_state("node1") / "pki").iterdir()}


def test_a_node_gets_credentials_of_the_restored_pki(tmp_path: Path) -> None:
    layout = Layout.of("c", Roots(tmp_path / "lib", tmp_path / "run"))
    spec = ClusterSpec("c", nodes=1)
    credentials.ensure(layout, spec, service_ip="10.96.0.1")
    first = node_files(layout)
    credentials.ensure(layout, spec, service_ip="10.96.0.1")
    assert node_files(layout) == first
    shutil.rmtree(credentials.pki_directory(layout))
    credentials.ensure(layout, spec, service_ip="10.96.0.1")
    second = node_files(layout)
    authority = x509.load_pem_x509_certificate((credentials.pki_directory(layout) / "ca.crt").read_bytes())
    assert set(second) == set(first)
    assert second["ca.crt"] == (credentials.pki_directory(layout) / "ca.crt").read_bytes() != first["ca.crt"]
    for name in ("client.crt", "serving.crt", "network.crt"):
        x509.load_pem_x509_certificate(second[name]).verify_directly_issued_by(authority)
