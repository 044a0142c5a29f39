"""The certificate plugins: who may approve and sign, and what may not be asked for.

Source: https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#authorization.
"""

from __future__ import annotations

import base64
import binascii

from cryptography import x509
from cryptography.x509.oid import NameOID

from pybernetes.api.meta import Object
from pybernetes.api.resources import CERTIFICATESIGNINGREQUESTS
from pybernetes.api.user import SYSTEM_MASTERS, User
from pybernetes.apiserver.admission.plugin import Plugin, is_for, refuse
from pybernetes.apiserver.interfaces import AdmissionRequest, Attributes, Authorizer

_CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client"


def is_authorized_for_signer(authorizer: Authorizer, user: User, verb: str, signer: str) -> bool:
    """Whether the user may do this with the signer, by its name or by its domain's wildcard."""
    names = [signer]
    if "/" in signer:
        names.append(signer.partition("/")[0] + "/*")
    return any(
        authorizer.authorize(
            Attributes(user=user, verb=verb, group="certificates.k8s.io", version="*", resource="signers", name=name)
        ).allowed
        for name in names
    )


class CertificateRequester(Plugin):
    """Writes down who asks: the server's word alone, whatever the request says.

    Upstream has this in the storage of the resource, after all mutating plugins, so it cannot be disabled.
    """

    name = "CertificateRequester"
    operations = ("CREATE",)
    resources = (("certificatesigningrequests", ""),)

    async def mutate(self, request: AdmissionRequest) -> None:
        if request.object is None or not is_for(request, CERTIFICATESIGNINGREQUESTS):
            return
        spec, user = request.object.setdefault("spec", {}), request.user
        for field, value in (
            ("username", user.name),
            ("uid", user.uid),
            ("groups", list(user.groups)),
            ("extra", {key: list(values) for key, values in user.extra.items()}),
        ):
            if value:
                spec[field] = value
            else:
                spec.pop(field, None)


class CertificateApproval(Plugin):
    """Approving or denying needs the right to approve for the signer."""

    name = "CertificateApproval"
    operations = ("UPDATE",)
    resources = (("certificatesigningrequests", "approval"),)

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def validate(self, request: AdmissionRequest) -> None:
        if request.operation != "UPDATE" or not is_for(request, CERTIFICATESIGNINGREQUESTS, "approval"):
            return
        signer = _signer(request.old)
        if not is_authorized_for_signer(self._authorizer, request.user, "approve", signer):
            raise refuse(request, f'user not permitted to approve requests with signerName "{signer}"')


class CertificateSigning(Plugin):
    """Issuing a certificate, or declaring failure, needs the right to sign for the signer."""

    name = "CertificateSigning"
    operations = ("UPDATE",)
    resources = (("certificatesigningrequests", "status"),)

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def validate(self, request: AdmissionRequest) -> None:
        new, old = request.object, request.old
        if request.operation != "UPDATE" or new is None or old is None:
            return
        if not is_for(request, CERTIFICATESIGNINGREQUESTS, "status"):
            return
        if _issued(new) == _issued(old):
            return
        signer = _signer(old)
        if not is_authorized_for_signer(self._authorizer, request.user, "sign", signer):
            raise refuse(request, f'user not permitted to sign requests with signerName "{signer}"')


class CertificateSubjectRestriction(Plugin):
    """Nobody becomes system:masters through a signing request."""

    name = "CertificateSubjectRestriction"
    operations = ("CREATE",)
    resources = (("certificatesigningrequests", ""),)

    async def validate(self, request: AdmissionRequest) -> None:
        csr = request.object
        if request.operation != "CREATE" or csr is None or not is_for(request, CERTIFICATESIGNINGREQUESTS):
            return
        if _signer(csr) != _CLIENT_SIGNER:
            return
        try:
            pem = base64.b64decode(str((csr.get("spec") or {}).get("request") or ""))
            parsed = x509.load_pem_x509_csr(pem)
        except (ValueError, binascii.Error) as error:
            raise refuse(request, f"failed to parse certificate request: {error}") from error
        for organization in parsed.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME):
            if organization.value == SYSTEM_MASTERS:
                raise refuse(request, f"use of {_CLIENT_SIGNER} signer with {SYSTEM_MASTERS} group is not allowed")


def _signer(csr: Object | None) -> str:
    return str(((csr or {}).get("spec") or {}).get("signerName") or "")


def _issued(csr: Object) -> tuple[object, bool]:
    status = csr.get("status") or {}
    return status.get("certificate"), any(c.get("type") == "Failed" for c in status.get("conditions") or ())
