"""What a CertificateSigningRequest asks for, and whether its signer may grant it. Pure but for parsing.

Source: the documentation of "Certificates and Certificate Signing Requests" (Kubernetes signers) and upstream's
``pkg/apis/certificates`` helpers.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from cryptography import x509
from cryptography.x509.oid import ExtensionOID, NameOID

from pybernetes.api.meta import Object, metadata
from pybernetes.api.time import format_time, parse_time

CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client"
KUBELET_CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING_SIGNER = "kubernetes.io/kubelet-serving"
LEGACY_SIGNER = "kubernetes.io/legacy-unknown"
SIGNERS = frozenset((CLIENT_SIGNER, KUBELET_CLIENT_SIGNER, KUBELET_SERVING_SIGNER, LEGACY_SIGNER))

_HOUR = 3600.0
_APPROVED_EXPIRY, _DENIED_EXPIRY, _PENDING_EXPIRY = _HOUR, _HOUR, 24 * _HOUR
_KUBELET_CLIENT_USAGES = frozenset(("key encipherment", "digital signature", "client auth"))
_KUBELET_SERVING_USAGES = frozenset(("key encipherment", "digital signature", "server auth"))
_CLIENT_USAGES = frozenset(("digital signature", "key encipherment", "client auth"))


@dataclass(frozen=True, slots=True)
class Asked:
    """The certificate that a request wants."""

    request: x509.CertificateSigningRequest
    common_name: str
    organizations: tuple[str, ...]
    dns_names: tuple[str, ...]
    ip_addresses: tuple[str, ...]
    others: int
    """E-mail addresses and URIs."""


def parse(csr: Object) -> Asked:
    """Raises ValueError where the request is no PEM-encoded PKCS #10 with a valid signature."""
    try:
        pem = base64.b64decode(csr["spec"]["request"], validate=True)
    except (KeyError, binascii.Error) as error:
        raise ValueError("unable to decode request") from error
    request = x509.load_pem_x509_csr(pem)
    if not request.is_signature_valid:
        raise ValueError("the request's signature does not hold")
    names = [str(a.value) for a in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    organizations = [str(a.value) for a in request.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    dns: list[str] = []
    ips: list[str] = []
    others = 0
    try:
        extension = request.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
    except x509.ExtensionNotFound:
        extension = None
    if extension is not None and isinstance(extension.value, x509.SubjectAlternativeName):
        dns = list(extension.value.get_values_for_type(x509.DNSName))
        ips = [str(ip) for ip in extension.value.get_values_for_type(x509.IPAddress)]
        others = len(list(extension.value)) - len(dns) - len(ips)
    return Asked(request, names[0] if names else "", tuple(organizations), tuple(dns), tuple(ips), others)


def usages(csr: Object) -> frozenset[str]:
    return frozenset(csr["spec"].get("usages") or ())


def kubelet_client_fault(csr: Object, asked: Asked) -> str:
    """Why this is no kubelet's client certificate; empty where it is one."""
    if asked.organizations != ("system:nodes",):
        return "subject organization is not system:nodes"
    if asked.dns_names:
        return "DNS subjectAltNames are not allowed"
    if asked.ip_addresses:
        return "IP subjectAltNames are not allowed"
    if asked.others:
        return "Email and URI subjectAltNames are not allowed"
    if not asked.common_name.startswith("system:node:"):
        return "subject common name does not begin with system:node:"
    if not usages(csr) <= _KUBELET_CLIENT_USAGES or "client auth" not in usages(csr):
        return "usages did not match [client auth digital signature key encipherment]"
    return ""


def kubelet_serving_fault(csr: Object, asked: Asked) -> str:
    """Why this is no kubelet's serving certificate; empty where it is one."""
    if asked.organizations != ("system:nodes",):
        return "subject organization is not system:nodes"
    if not asked.dns_names and not asked.ip_addresses:
        return "DNS or IP subjectAltName is required"
    if asked.others:
        return "Email and URI subjectAltNames are not allowed"
    if not usages(csr) <= _KUBELET_SERVING_USAGES or "server auth" not in usages(csr):
        return "usages did not match [digital signature key encipherment server auth]"
    if not asked.common_name.startswith("system:node:"):
        return "subject common name does not begin with system:node:"
    return ""


def signer_fault(csr: Object, asked: Asked) -> str:
    """Why the request's signer must not sign it; empty where it may."""
    match csr["spec"].get("signerName"):
        case name if name == KUBELET_CLIENT_SIGNER:
            return kubelet_client_fault(csr, asked)
        case name if name == KUBELET_SERVING_SIGNER:
            return kubelet_serving_fault(csr, asked)
        case name if name == CLIENT_SIGNER:
            for usage in csr["spec"].get("usages") or ():
                if usage not in _CLIENT_USAGES:
                    return f"invalid usage for client certificate: {usage}"
            if "client auth" not in usages(csr):
                return "missing required usage for client certificate: client auth"
            if "system:masters" in asked.organizations:
                return "subject organization system:masters is not allowed"
    return ""


def condition(csr: Object, type_: str) -> Object | None:
    for c in (csr.get("status") or {}).get("conditions") or ():
        if c.get("type") == type_:
            return c  # type: ignore[no-any-return]
    return None


def with_condition(csr: Object, type_: str, reason: str, message: str, now: float) -> Object:
    """A copy with one more condition."""
    status = dict(csr.get("status") or {})
    at = format_time(now)
    added = {
        "type": type_,
        "status": "True",
        "reason": reason,
        "message": message,
        "lastUpdateTime": at,
        "lastTransitionTime": at,
    }
    status["conditions"] = [*(status.get("conditions") or ()), added]
    return {**csr, "status": status}


def recognizers(csr: Object) -> list[tuple[str, str]]:
    """Which permissions approve the request by themselves: (subresource that the user may ``create``, message)."""
    if csr["spec"].get("signerName") != KUBELET_CLIENT_SIGNER:
        return []
    try:
        asked = parse(csr)
    except ValueError:
        return []
    if kubelet_client_fault(csr, asked):
        return []
    found = []
    if asked.common_name == csr["spec"].get("username"):
        text = "Auto approving self kubelet client certificate after SubjectAccessReview."
        found.append(("selfnodeclient", text))
    text = "Auto approving kubelet client certificate after SubjectAccessReview."
    found.append(("nodeclient", text))
    return found


def expires_at(csr: Object) -> float:
    """When the request is cleaned up (epoch seconds)."""
    times: list[float] = []
    for type_, lifetime in (("Approved", _APPROVED_EXPIRY), ("Denied", _DENIED_EXPIRY), ("Failed", _DENIED_EXPIRY)):
        c = condition(csr, type_)
        if c is not None and (since := c.get("lastUpdateTime") or c.get("lastTransitionTime")):
            times.append(parse_time(since) + lifetime)
    created = parse_time(metadata(csr)["creationTimestamp"])
    certificate = (csr.get("status") or {}).get("certificate")
    if not times and not certificate:
        times.append(created + _PENDING_EXPIRY)
    if certificate:
        try:
            issued = x509.load_pem_x509_certificate(base64.b64decode(certificate))
            times.append(issued.not_valid_after_utc.timestamp())
        except ValueError:
            times.append(created + _PENDING_EXPIRY)
    return min(times)
