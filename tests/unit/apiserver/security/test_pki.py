"""The cluster's PKI: what it makes, keeps, renews and survives."""

from __future__ import annotations

import os
import signal
import ssl
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from pybernetes.apiserver.authentication import user_of_certificate
from pybernetes.apiserver.pki import ClusterPKI, PKIError
from pybernetes.lib.clock import ManualClock


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_everything_is_made_once(tmp_path: Path) -> None:
    directory = tmp_path / "pki"
    ClusterPKI.ensure(directory, advertise_addresses=["10.0.0.1"])
    first = files(directory)
    ClusterPKI.ensure(directory, advertise_addresses=["10.0.0.1"])
    assert files(directory) == first
    assert {"ca.crt", "ca.key", "apiserver.crt", "apiserver.key", "sa.key", "sa.pub", "admin.crt"} <= first.keys()


def test_keys_are_private(tmp_path: Path) -> None:
    directory = tmp_path / "pki"
    ClusterPKI.ensure(directory)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    for path in directory.glob("*.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_serving_certificate_holds_every_name(tmp_path: Path) -> None:
    pki = ClusterPKI.ensure(tmp_path / "pki", advertise_addresses=["192.0.2.7"], service_ip="10.96.0.1")
    names = pki.pair("apiserver").certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    held = {str(n.value) for n in names}
    assert {
        "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local", "127.0.0.1", "10.96.0.1", "192.0.2.7",
    } <= held  # fmt: skip


def test_a_new_address_makes_only_the_serving_certificate_anew(tmp_path: Path) -> None:
    directory = tmp_path / "pki"
    ClusterPKI.ensure(directory, advertise_addresses=["192.0.2.7"])
    before = files(directory)
    ClusterPKI.ensure(directory, advertise_addresses=["192.0.2.8"])
    changed = {name for name, content in files(directory).items() if before[name] != content}
    assert changed == {"apiserver.crt", "apiserver.key"}


def test_identities(tmp_path: Path) -> None:
    pki = ClusterPKI.ensure(tmp_path / "pki")
    admin = user_of_certificate(pki.pair("admin").certificate)
    assert admin is not None
    assert (admin.name, admin.groups) == ("kubernetes-admin", ("system:masters", "system:authenticated"))
    node = user_of_certificate(pki.issue_node("n1").certificate)
    assert node is not None
    assert (node.name, node.groups) == ("system:node:n1", ("system:nodes", "system:authenticated"))
    many = user_of_certificate(pki.issue_client("alice", ["b", "a"]).certificate)
    assert many is not None
    assert many.groups == ("b", "a", "system:authenticated")


def test_usages_are_apart(tmp_path: Path) -> None:
    pki = ClusterPKI.ensure(tmp_path / "pki")
    client = pki.issue_client("alice").certificate
    server = pki.issue_kubelet_serving("n1", ["n1", "192.0.2.1"]).certificate
    usage = x509.ExtendedKeyUsage
    assert list(client.extensions.get_extension_for_class(usage).value) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert list(server.extensions.get_extension_for_class(usage).value) == [ExtendedKeyUsageOID.SERVER_AUTH]


def test_certificates_near_their_end_are_renewed(tmp_path: Path) -> None:
    directory, clock = tmp_path / "pki", ManualClock(time.time())
    ClusterPKI.ensure(directory, clock=clock)
    before = files(directory)
    clock.advance(200 * 86400)
    ClusterPKI.ensure(directory, clock=clock)
    assert files(directory) == before
    clock.advance(120 * 86400)
    pki = ClusterPKI.ensure(directory, clock=clock)
    after = files(directory)
    assert {n for n in after if after[n] != before[n]} == {
        f"{pair}.{end}" for pair in ("apiserver", "apiserver-kubelet-client", "admin") for end in ("crt", "key")
    }
    pki.pair("admin").certificate.verify_directly_issued_by(pki.ca_certificate)


@pytest.mark.parametrize("missing", ["apiserver.crt", "apiserver.key", "sa.pub", "admin.key", "ca.crt"])
def test_what_an_interruption_left_out_is_made(tmp_path: Path, missing: str) -> None:
    directory = tmp_path / "pki"
    pki = ClusterPKI.ensure(directory)
    old_admin = pki.pair("admin").certificate
    (directory / missing).unlink()
    pki = ClusterPKI.ensure(directory)
    assert (directory / missing).exists()
    # Whatever was signed before still holds: the CA's key was kept.
    old_admin.verify_directly_issued_by(pki.ca_certificate)
    pki.server_context()
    pki.kubelet_client_context()


def test_a_key_of_another_pair_is_noticed(tmp_path: Path) -> None:
    directory = tmp_path / "pki"
    pki = ClusterPKI.ensure(directory)
    (directory / "apiserver.key").write_bytes(pki.issue_client("x").key_pem)
    ClusterPKI.ensure(directory).server_context()


def test_a_ca_without_its_key_is_an_error_that_says_so(tmp_path: Path) -> None:
    directory = tmp_path / "pki"
    ClusterPKI.ensure(directory)
    (directory / "ca.key").unlink()
    with pytest.raises(PKIError, match=r"ca\.key is missing"):
        ClusterPKI.ensure(directory)


def test_killed_half_way_it_goes_on(tmp_path: Path) -> None:
    """kill -9 at many moments: every later run makes a PKI whose pairs match."""
    directory = tmp_path / "pki"
    program = (
        "import sys; from pathlib import Path; from pybernetes.apiserver.pki import ClusterPKI\n"
        "print('go', flush=True); ClusterPKI.ensure(Path(sys.argv[1]))"
    )
    for delay_ms in (0, 1, 2, 3, 5, 8):
        child = subprocess.Popen([sys.executable, "-c", program, str(directory)], stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(delay_ms / 1000)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
    pki = ClusterPKI.ensure(directory)
    for name in ("apiserver", "apiserver-kubelet-client", "admin"):
        pair = pki.pair(name)
        pair.certificate.verify_directly_issued_by(pki.ca_certificate)
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(*pki.paths(name))
    assert not [p for p in directory.iterdir() if not p.name.startswith(".") and p.stat().st_size == 0]
