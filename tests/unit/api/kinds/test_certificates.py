"""Approvals and certificates of signing requests; what else of objects is written through subresources."""

from __future__ import annotations

import base64
import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pybernetes.api import resources as r
from pybernetes.api.kinds.certificates import CertificateSigningRequestStrategy
from pybernetes.api.kinds.cluster import NamespaceStrategy
from pybernetes.api.kinds.registry import strategy_for
from pybernetes.api.meta import Object, clone
from tests.unit.api.kinds.build import created, named, stated
from tests.unit.api.kinds.test_others import signing_request

APPROVED: Object = {"type": "Approved", "status": "True", "reason": "Mine"}
DENIED: Object = {"type": "Denied", "status": "True", "reason": "Mine"}


def encoded(text: str | bytes) -> str:
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def certificate() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ann")])
    day = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    made = made.not_valid_before(day).not_valid_after(day + datetime.timedelta(days=1))
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def pem(label: str, body: str = "eA==") -> str:
    return encoded(f"-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")


ABOUT = 'status.certificate: Invalid value: "<certificate data>": '


@pytest.mark.parametrize(
    ("text", "errors"),
    [
        (encoded(certificate()), []),
        (encoded(b"Issued by me:\n" + certificate() + certificate()), []),
        (encoded("no certificate"), [ABOUT + "must contain at least one CERTIFICATE PEM block"]),
        (pem("PRIVATE KEY"), [ABOUT + 'only CERTIFICATE PEM blocks are allowed, found "PRIVATE KEY"']),
        (pem("CERTIFICATE", "A: b\n\neA=="), [ABOUT + "no PEM block headers are permitted"]),
        (pem("CERTIFICATE"), [ABOUT + "x509: malformed certificate"]),
    ],
)
def test_an_issued_certificate_is_one(text: str, errors: list[str]) -> None:
    assert stated(r.CERTIFICATESIGNINGREQUESTS, signing_request(), {"certificate": text}) == errors


def approval_faults(before: list[Object], now: list[Object], **status: str) -> list[str]:
    strategy = strategy_for(r.CERTIFICATESIGNINGREQUESTS)
    assert isinstance(strategy, CertificateSigningRequestStrategy)
    old = created(r.CERTIFICATESIGNINGREQUESTS, signing_request())
    old["status"] = {"conditions": before}
    new = {**clone(old), "status": {"conditions": now, **status}}
    return [str(e) for e in strategy.validate_approval_update(new, old)]


def test_approvals_are_given_and_stay() -> None:
    assert approval_faults([], [APPROVED]) == []
    assert approval_faults([APPROVED], [{**APPROVED, "reason": "Other"}]) == []
    assert approval_faults([APPROVED], []) == [
        'status.conditions: Forbidden: updates may not remove a condition of type "Approved"'
    ]
    assert approval_faults([APPROVED], [APPROVED, DENIED]) == [
        'status.conditions[1].type: Invalid value: "Denied": Approved and Denied conditions are mutually exclusive'
    ]
    assert approval_faults([], [{"type": "Approved", "status": "False"}, {}]) == [
        'status.conditions[0].status: Unsupported value: "False": supported values: "True"',
        "status.conditions[1].type: Required value",
        "status.conditions[1].status: Required value",
    ]
    assert approval_faults([], [], certificate=encoded(certificate())) == [
        "status.certificate: Forbidden: updates may not set certificate content"
    ]


def test_finalizers_are_named_by_their_place_where_they_are_what_is_written() -> None:
    strategy = strategy_for(r.NAMESPACES)
    assert isinstance(strategy, NamespaceStrategy)
    old = created(r.NAMESPACES, named(namespace=""))
    new = {**clone(old), "spec": {"finalizers": ["kubernetes", "mine"]}}
    assert [str(e) for e in strategy.validate_finalize_update(new, old)] == [
        'spec.finalizers[1]: Invalid value: "mine": name is neither a standard finalizer name nor is it fully qualified'
    ]


def test_a_status_is_warned_of_for_what_it_says() -> None:
    status: Object = {"loadBalancer": {"ingress": [{"ip": "01.2.3.4"}]}}
    for resource in (r.SERVICES, r.INGRESSES):
        assert strategy_for(resource).status_warnings(named(status=status)) == [
            'status.loadBalancer.ingress[0].ip: non-standard IP address "01.2.3.4" will be considered invalid in a '
            'future Kubernetes release: use "1.2.3.4"'
        ]
        assert strategy_for(resource).status_warnings(named()) == []
