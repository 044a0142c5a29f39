"""The whole `p8s server` with its security options, and what a user does with stock kubectl."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pybernetes.apiserver.pki import ClusterPKI
from tests.integration.apiserver.conftest import write_kubeconfig
from tests.support import kubectls
from tests.support.waiting import eventually

START_SECONDS = 60.0


@dataclass
class Running:
    directory: Path
    kubeconfig: Path

    def kubectl(self, *args: str, check: bool = True, text: str = "") -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig), "HOME": str(self.directory)}
        done = subprocess.run(
            [kubectls.newest(), *args], env=environment, input=text, capture_output=True, text=True, timeout=60
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    def events(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in (self.directory / "audit.log").read_text().splitlines()]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("server")
    key = base64.b64encode(os.urandom(32)).decode()
    sealing = {"resources": ["secrets"], "providers": [{"secretbox": {"keys": [{"name": "k", "secret": key}]}}]}
    files = {
        "encryption.yaml": {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "EncryptionConfiguration",
            "resources": [sealing],
        },
        "policy.yaml": {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived"],
            "rules": [{"level": "Metadata", "resources": [{"resources": ["secrets"]}], "verbs": ["create", "delete"]}],
        },
    }
    for name, content in files.items():
        (directory / name).write_text(yaml.safe_dump(content))
    (directory / "tokens.csv").write_text("s3cret,ops,7,watchers\n")
    ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    ready.bind(str(directory / "ready"))
    ready.settimeout(START_SECONDS)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "pybernetes.cli.main", "server",
                "--data-dir", str(directory / "data"), "--port", str(port),
                "--anonymous-auth=false",
                "--token-auth-file", str(directory / "tokens.csv"),
                "--encryption-provider-config", str(directory / "encryption.yaml"),
                "--audit-policy-file", str(directory / "policy.yaml"),
                "--audit-log-path", str(directory / "audit.log"),
            ],
            env={**os.environ, "NOTIFY_SOCKET": str(directory / "ready")},
            stdout=log,
            stderr=log,
        )  # fmt: skip
        try:
            assert ready.recv(64) == b"READY=1"
            yield Running(directory, write_kubeconfig(directory, ClusterPKI.load(directory / "data" / "pki"), port))
        finally:
            ready.close()
            process.terminate()
            assert process.wait(30) == 0, (directory / "log").read_text()[-4000:]


def test_secrets_are_sealed_and_audited(cluster: Running) -> None:
    cluster.kubectl("create", "secret", "generic", "s", "--from-literal=password=correct-horse-battery-staple")
    shown = cluster.kubectl("get", "secret", "s", "-o", "jsonpath={.data.password}").stdout
    assert base64.b64decode(shown) == b"correct-horse-battery-staple"
    raw = b"".join(p.read_bytes() for p in (cluster.directory / "data").rglob("*") if p.is_file())
    assert b"k8s:enc:secretbox:v1:k:" in raw and shown.encode() not in raw

    def told() -> bool:
        return any(
            event["verb"] == "create" and event["objectRef"]["name"] == "s"  # type: ignore[index]
            for event in cluster.events()
        )

    eventually(told, timeout=10)


def test_who_am_i(cluster: Running) -> None:
    told = json.loads(cluster.kubectl("auth", "whoami", "-o", "json").stdout)
    assert told["status"]["userInfo"]["username"] == "kubernetes-admin"
    acting = json.loads(cluster.kubectl("auth", "whoami", "-o", "json", "--as=jane", "--as-group=devs").stdout)
    assert acting["status"]["userInfo"] == {"username": "jane", "groups": ["devs", "system:authenticated"]}


def test_tokens(cluster: Running) -> None:
    cluster.kubectl("create", "serviceaccount", "robot")
    token = cluster.kubectl("create", "token", "robot", "--duration=1h").stdout.strip()
    bare = cluster.directory / "bare"
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["users"] = [{"name": "t", "user": {"token": token}}]
    bare.write_text(yaml.safe_dump(config))
    robot = Running(cluster.directory, bare)
    told = json.loads(robot.kubectl("auth", "whoami", "-o", "json").stdout)
    assert told["status"]["userInfo"]["username"] == "system:serviceaccount:default:robot"
    refused = robot.kubectl("get", "pods", check=False)
    assert 'User "system:serviceaccount:default:robot" cannot list resource "pods"' in refused.stderr
    cluster.kubectl("create", "rolebinding", "v", "--clusterrole=view", "--serviceaccount=default:robot")
    assert robot.kubectl("auth", "can-i", "list", "pods").stdout == "yes\n"
    rules = robot.kubectl("auth", "can-i", "--list").stdout
    assert "configmaps" in rules and "selfsubjectreviews.authentication.k8s.io" in rules
    cluster.kubectl("delete", "serviceaccount", "robot")
    assert "Unauthorized" in robot.kubectl("get", "pods", check=False).stderr
    config["users"] = [{"name": "t", "user": {"token": "s3cret"}}]
    bare.write_text(yaml.safe_dump(config))
    assert json.loads(robot.kubectl("auth", "whoami", "-o", "json").stdout)["status"]["userInfo"]["uid"] == "7"


def csr(name: str, signer: str, key: ec.EllipticCurvePrivateKey, common_name: str, *organizations: str) -> str:
    """A CertificateSigningRequest as kubectl takes it."""
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, o) for o in organizations]
    attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
    made = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes)).sign(key, hashes.SHA256())
    return json.dumps(
        {
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "metadata": {"name": name},
            "spec": {
                "request": base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode(),
                "signerName": signer,
                "usages": ["digital signature", "client auth"],
                "expirationSeconds": 3600,
            },
        }
    )


def acting_as(cluster: Running, name: str, **user: str) -> Running:
    """The cluster with other credentials."""
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["users"] = [{"name": "t", "user": user}]
    path = cluster.directory / name
    path.write_text(yaml.safe_dump(config))
    return Running(cluster.directory, path)


def issued(cluster: Running, name: str, key: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    """The credentials that come of a signed request."""
    shown = eventually(
        lambda: cluster.kubectl("get", "csr", name, "-o", "jsonpath={.status.certificate}").stdout, timeout=15
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return {"client-certificate-data": shown, "client-key-data": base64.b64encode(pem).decode()}


def test_a_certificate_is_asked_for_approved_and_used(cluster: Running) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    cluster.kubectl("create", "-f", "-", text=csr("jane", "kubernetes.io/kube-apiserver-client", key, "jane", "devs"))
    assert "Pending" in cluster.kubectl("get", "csr", "jane").stdout
    assert "approved" in cluster.kubectl("certificate", "approve", "jane").stdout
    jane = acting_as(cluster, "jane", **issued(cluster, "jane", key))
    assert "Approved,Issued" in cluster.kubectl("get", "csr", "jane").stdout
    told = json.loads(jane.kubectl("auth", "whoami", "-o", "json").stdout)["status"]["userInfo"]
    assert (told["username"], told["groups"]) == ("jane", ["devs", "system:authenticated"])
    cluster.kubectl("create", "-f", "-", text=csr("joe", "kubernetes.io/kube-apiserver-client", key, "joe"))
    cluster.kubectl("certificate", "deny", "joe")
    assert "Denied" in cluster.kubectl("get", "csr", "joe").stdout


def test_a_kubelet_joins_with_a_bootstrap_token(cluster: Running) -> None:
    literals = {
        "token-id": "abcdef",
        "token-secret": "0123456789abcdef",
        "usage-bootstrap-authentication": "true",
        "usage-bootstrap-signing": "true",
    }
    cluster.kubectl(
        "create", "secret", "generic", "bootstrap-token-abcdef", "-n", "kube-system",
        "--type=bootstrap.kubernetes.io/token", *(f"--from-literal={k}={v}" for k, v in literals.items()),
    )  # fmt: skip
    for role in ("system:node-bootstrapper", "system:certificates.k8s.io:certificatesigningrequests:nodeclient"):
        name = role.rpartition(":")[2]
        cluster.kubectl("create", "clusterrolebinding", name, f"--clusterrole={role}", "--group=system:bootstrappers")
    newcomer = acting_as(cluster, "newcomer", token="abcdef.0123456789abcdef")
    key = ec.generate_private_key(ec.SECP256R1())
    signer = "kubernetes.io/kube-apiserver-client-kubelet"
    newcomer.kubectl("create", "-f", "-", text=csr("n9", signer, key, "system:node:n9", "system:nodes"))
    node = acting_as(cluster, "n9", **issued(cluster, "n9", key))
    assert node.kubectl("auth", "can-i", "create", "nodes").stdout == "yes\n"
    info = json.loads(cluster.kubectl("get", "configmap", "cluster-info", "-n", "kube-public", "-o", "json").stdout)
    assert info["data"]["jws-kubeconfig-abcdef"] and "certificate-authority-data" in info["data"]["kubeconfig"]


def test_a_secret_asks_for_a_token(cluster: Running) -> None:
    cluster.kubectl("create", "serviceaccount", "builder")
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "builder", "annotations": {"kubernetes.io/service-account.name": "builder"}},
        "type": "kubernetes.io/service-account-token",
    }
    cluster.kubectl("create", "-f", "-", text=json.dumps(secret))
    shown = eventually(
        lambda: cluster.kubectl("get", "secret", "builder", "-o", "jsonpath={.data.token}").stdout, timeout=15
    )
    builder = acting_as(cluster, "builder", token=base64.b64decode(shown).decode())
    told = json.loads(builder.kubectl("auth", "whoami", "-o", "json").stdout)["status"]["userInfo"]
    assert told["username"] == "system:serviceaccount:default:builder"


def test_roles_are_reconciled_and_aggregated(cluster: Running) -> None:
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "r", "namespace": "default"},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
    }
    for verbs in (["get"], ["list"]):
        role["rules"] = [{"apiGroups": [""], "resources": ["pods"], "verbs": verbs}]
        cluster.kubectl("auth", "reconcile", "-f", "-", text=json.dumps(role))
    described = cluster.kubectl("describe", "role", "r").stdout
    assert "[get list]" in described
    cluster.kubectl("create", "clusterrole", "whole", "--aggregation-rule=part=yes")
    cluster.kubectl("create", "clusterrole", "part", "--verb=get", "--resource=leases.coordination.k8s.io")
    cluster.kubectl("label", "clusterrole", "part", "part=yes")
    eventually(lambda: "leases" in cluster.kubectl("get", "clusterrole", "whole", "-o", "yaml").stdout, timeout=15)
    cluster.kubectl("create", "clusterrolebinding", "whole", "--clusterrole=whole", "--user=ann")
    asked = ("auth", "can-i", "get", "leases.coordination.k8s.io", "-n", "default")
    assert cluster.kubectl(*asked, "--as=ann").stdout == "yes\n"
    assert cluster.kubectl(*asked, "--as=bob", check=False).stdout == "no\n"


def test_strangers_are_not_let_in(cluster: Running) -> None:
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["users"] = [{"name": "t", "user": {"token": "guessed"}}]
    nobody = cluster.directory / "nobody"
    nobody.write_text(yaml.safe_dump(config))
    assert "Unauthorized" in Running(cluster.directory, nobody).kubectl("get", "--raw", "/version", check=False).stderr


def test_options_that_cannot_be_used_are_told_at_once(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: All}]\n")
    done = subprocess.run(
        [
            sys.executable, "-m", "pybernetes.cli.main", "server", "--data-dir", str(tmp_path / "data"),
            "--audit-policy-file", str(policy), "--audit-log-path", "-",
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert 'rules[0].level: Unsupported value: "All"' in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "data").exists()
