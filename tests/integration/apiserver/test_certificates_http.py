"""CertificateSigningRequests over HTTP, as clients that ask, approve and sign use them."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pybernetes.api.meta import Object
from pybernetes.api.resources import CLUSTERROLEBINDINGS, CLUSTERROLES
from pybernetes.apiserver.pki import ClusterPKI
from tests.integration.apiserver.conftest import Server
from tests.integration.apiserver.test_security_http import ask, context_of

CSRS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
SIGNER = "example.com/signer"


def pem_request(name: str, *organizations: str) -> str:
    """A request of PKCS #10, as CertificateSigningRequests carry it."""
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    attributes += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, o) for o in organizations]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    made = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()


def wish(signer: str = SIGNER, *organizations: str, **meta: object) -> Object:
    spec = {
        "request": pem_request("jane", *organizations),
        "signerName": signer,
        "expirationSeconds": 3600,
        "usages": ["digital signature", "key encipherment", "client auth"],
    }
    return {"metadata": {"generateName": "csr-", **meta}, "spec": spec}


async def test_a_requests_subresources(server: Server, pki: ClusterPKI) -> None:
    made = (await server.post(CSRS, wish())).json
    path = f"{CSRS}/{made['metadata']['name']}"
    assert made["spec"]["username"] == "kubernetes-admin" and "system:masters" in made["spec"]["groups"]
    assert made["status"] == {}
    for subresource in ("approval", "status"):
        got = await server.get(f"{path}/{subresource}")
        assert (got.status, got.json["kind"]) == (200, "CertificateSigningRequest")
        assert got.json["metadata"]["uid"] == made["metadata"]["uid"]
    condition = {"type": "ApprovalPatch", "status": "True", "reason": "e2e"}
    patch = {"metadata": {"annotations": {"patched": "true"}}, "status": {"conditions": [condition]}}
    patched = (await server.patch(f"{path}/approval", patch, "merge")).json
    assert [c["type"] for c in patched["status"]["conditions"]] == ["ApprovalPatch"]
    assert patched["metadata"]["annotations"] == {"patched": "true"}
    patched["status"]["conditions"].append({"type": "Approved", "status": "True", "reason": "E2E", "message": "test"})
    approved = (await server.put(f"{path}/approval", patched)).json
    assert [c["type"] for c in approved["status"]["conditions"]] == ["ApprovalPatch", "Approved"]
    assert approved["status"]["conditions"][1]["lastUpdateTime"]
    certificate = base64.b64encode(pki.issue_client("jane").certificate_pem).decode()
    issued = (await server.patch(f"{path}/status", {"status": {"certificate": certificate}}, "merge")).json
    assert issued["status"]["certificate"] == certificate
    assert len(issued["status"]["conditions"]) == 2
    issued["status"]["conditions"].append({"type": "StatusUpdate", "status": "True", "reason": "E2E"})
    updated = await server.put(f"{path}/status", issued)
    assert updated.status == 200 and len(updated.json["status"]["conditions"]) == 3
    other = {"status": {"certificate": base64.b64encode(pki.issue_client("x").certificate_pem).decode()}}
    assert (await server.patch(f"{path}/status", other, "merge")).status == 422
    listed = await server.get(CSRS, fieldSelector=f"spec.signerName={SIGNER}")
    assert len(listed.json["items"]) == 1
    assert (await server.delete(CSRS, fieldSelector=f"spec.signerName={SIGNER}")).status == 200
    assert (await server.get(path)).status == 404


async def test_who_a_request_is_from_is_the_servers_to_say(server: Server, pki: ClusterPKI, tmp_path: Path) -> None:
    rules = [{"apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests"], "verbs": ["create"]}]
    await server.admin.create(CLUSTERROLES, {"metadata": {"name": "asks"}, "rules": rules})
    binding = {
        "metadata": {"name": "asks"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "asks"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "alice"}],
    }
    await server.admin.create(CLUSTERROLEBINDINGS, binding)
    alice = context_of(pki, tmp_path, pki.issue_client("alice"))
    body = wish()
    body["spec"] |= {"username": "system:node:n1", "groups": ["system:nodes"]}
    body["status"] = {"conditions": [{"type": "Approved", "status": "True"}]}
    made = (await ask(server, alice, "POST", CSRS, body)).json
    assert (made["spec"]["username"], made["spec"]["groups"]) == ("alice", ["system:authenticated"])
    assert made["spec"]["extra"]["authentication.kubernetes.io/credential-id"][0].startswith("X509SHA256=")
    assert made["status"] == {}


async def test_approving_and_signing_need_rights_for_the_signer(
    server: Server, pki: ClusterPKI, tmp_path: Path
) -> None:
    everything = {
        "apiGroups": ["certificates.k8s.io"],
        "resources": [f"certificatesigningrequests{s}" for s in ("", "/approval", "/status")],
        "verbs": ["*"],
    }
    role = {"metadata": {"name": "r"}, "rules": [everything]}
    live = await server.admin.create(CLUSTERROLES, role)
    binding = {
        "metadata": {"name": "b"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "r"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "alice"}],
    }
    await server.admin.create(CLUSTERROLEBINDINGS, binding)
    alice = context_of(pki, tmp_path, pki.issue_client("alice"))
    made = (await server.post(CSRS, wish())).json
    path = f"{CSRS}/{made['metadata']['name']}"
    approved = {"conditions": [{"type": "Approved", "status": "True", "reason": "x", "message": ""}]}
    refused = await ask(server, alice, "PUT", f"{path}/approval", {**made, "status": approved})
    assert refused.status == 403
    assert refused.json["message"].endswith(f'user not permitted to approve requests with signerName "{SIGNER}"')
    certificate = {"certificate": base64.b64encode(pki.issue_client("jane").certificate_pem).decode()}
    refused = await ask(server, alice, "PUT", f"{path}/status", {**made, "status": certificate})
    assert refused.status == 403
    assert refused.json["message"].endswith(f'user not permitted to sign requests with signerName "{SIGNER}"')
    signers = {
        "apiGroups": ["certificates.k8s.io"],
        "resources": ["signers"],
        "resourceNames": ["example.com/*"],
        "verbs": ["approve", "sign"],
    }
    await server.admin.update(CLUSTERROLES, {**live, "rules": [everything, signers]})
    answer = await ask(server, alice, "PUT", f"{path}/approval", {**made, "status": approved})
    assert answer.status == 200, answer.body
    issued = {**answer.json, "status": {**answer.json["status"], **certificate}}
    answer = await ask(server, alice, "PUT", f"{path}/status", issued)
    assert answer.status == 200, answer.body


@pytest.mark.parametrize(
    ("change", "status", "fault"),
    [
        ({"usages": []}, 422, "spec.usages: Required value"),
        ({"usages": ["flying"]}, 422, 'spec.usages[0]: Unsupported value: "flying"'),
        ({"signerName": "signer"}, 422, "must be a fully qualified domain and path of the form"),
        ({"expirationSeconds": 599}, 422, "may not specify a duration less than 600 seconds (10 minutes)"),
        ({"request": base64.b64encode(b"x").decode()}, 422, "PEM block type must be CERTIFICATE REQUEST"),
    ],
)
async def test_refusals(server: Server, change: Object, status: int, fault: str) -> None:
    body = wish()
    body["spec"] |= change
    answer = await server.post(CSRS, body)
    assert answer.status == status and fault in answer.json["message"], json.dumps(answer.json)


async def test_nobody_asks_for_system_masters(server: Server) -> None:
    answer = await server.post(CSRS, wish("kubernetes.io/kube-apiserver-client", "system:masters"))
    assert answer.status == 403
    assert "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed" in str(
        answer.json["message"]
    )
