"""Certificate signing requests. Who asks (spec.username and its siblings) is filled in by the API server.

Source of rules and texts: ``pkg/apis/certificates/validation``.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import ClassVar

from cryptography import x509

from pybernetes.api import names
from pybernetes.api.field import FieldError
from pybernetes.api.kinds.faults import Faults
from pybernetes.api.kinds.prefixed import signer_name
from pybernetes.api.kinds.strategy import Strategy
from pybernetes.api.meta import Object, clone, name_of

USAGES = (
    "any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment",
    "decipher only", "digital signature", "email protection", "encipher only", "ipsec end system", "ipsec tunnel",
    "ipsec user", "key agreement", "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime",
    "server auth", "signing", "timestamping",
)  # fmt: skip
_USAGES = frozenset(USAGES)
LEGACY_SIGNER = "kubernetes.io/legacy-unknown"
MIN_EXPIRATION_SECONDS = 600


class CertificateSigningRequestStrategy(Strategy):
    initial_status: ClassVar[Object | None] = {}

    def validate_name(self, name: str, *, prefix: bool) -> list[str]:
        return names.path_segment_name(name, prefix=prefix)

    def default(self, obj: Object) -> None:
        obj.setdefault("spec", {})

    def prepare_for_update(self, obj: Object, old: Object) -> None:
        # Only metadata changes; status and approval have subresources.
        super().prepare_for_update(obj, old)
        obj["spec"] = clone(old.get("spec") or {})

    def prepare_for_status_update(self, obj: Object, old: Object) -> None:
        super().prepare_for_status_update(obj, old)
        # Approving and denying is another subresource: those conditions keep their values, as many as they were. More
        # or fewer are the validation's to refuse.
        conditions, before = _conditions(obj), _conditions(old)
        for kind in ("Approved", "Denied"):
            places = [i for i, c in enumerate(conditions) if c.get("type") == kind]
            kept = [c for c in before if c.get("type") == kind]
            if len(places) == len(kept):
                for i, condition in zip(places, kept, strict=True):
                    conditions[i] = clone(condition)

    def validate_create(self, obj: Object) -> list[FieldError]:
        return self._validate(obj, {})

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        return self._validate_update(obj, old, approving=False, issuing=False)

    def validate_status_update(self, obj: Object, old: Object) -> list[FieldError]:
        return self._validate_update(obj, old, approving=False, issuing=True)

    def validate_approval_update(self, obj: Object, old: Object) -> list[FieldError]:
        return self._validate_update(obj, old, approving=True, issuing=False)

    @staticmethod
    def _validate(obj: Object, old: Object) -> Faults:
        """The whole request; what a stored one (`old`) has wrong already stays allowed."""
        faults = Faults()
        spec, before = obj.get("spec") or {}, old.get("spec") or {}
        request = spec.get("request") or ""
        try:
            x509.load_pem_x509_csr(base64.b64decode(request, validate=True))
        except (ValueError, binascii.Error):
            faults.invalid("spec.request", request, "PEM block type must be CERTIFICATE REQUEST")
        usages, usages_before = spec.get("usages") or [], before.get("usages") or []
        if not usages:
            faults.required("spec.usages")
        if set(usages_before) <= _USAGES:
            for i, usage in enumerate(usages):
                if usage not in _USAGES:
                    faults.not_supported(f"spec.usages[{i}]", usage, USAGES)
        if len(set(usages_before)) == len(usages_before):
            for i, usage in enumerate(usages):
                if usage in usages[:i]:
                    faults.duplicate(f"spec.usages[{i}]", usage)
        signer = spec.get("signerName") or ""
        if signer == LEGACY_SIGNER and before.get("signerName") != LEGACY_SIGNER:
            faults.invalid("spec.signerName", signer, "the legacy signerName is not allowed via this API version")
        else:
            signer_name(faults, "spec.signerName", signer)
        seconds = spec.get("expirationSeconds")
        if seconds is not None and seconds < MIN_EXPIRATION_SECONDS:
            faults.invalid(
                "spec.expirationSeconds", seconds, "may not specify a duration less than 600 seconds (10 minutes)"
            )
        _validate_conditions(faults, _conditions(obj))
        certificate = (obj.get("status") or {}).get("certificate") or ""
        issued = (old.get("status") or {}).get("certificate")
        if certificate and certificate != issued and (wrong := _certificate_fault(certificate)):
            faults.invalid("status.certificate", "<certificate data>", wrong)
        return faults

    def _validate_update(self, obj: Object, old: Object, *, approving: bool, issuing: bool) -> Faults:
        faults = self._validate(obj, old)
        now, before = _conditions(obj), _conditions(old)
        for kind in ("Approved", "Denied", "Failed"):
            if sum(c.get("type") == kind for c in now) < sum(c.get("type") == kind for c in before):
                faults.forbidden("status.conditions", f'updates may not remove a condition of type "{kind}"')
        for kind in () if approving else ("Approved", "Denied"):
            new, kept = ([c for c in all_ if c.get("type") == kind] for all_ in (now, before))
            if len(new) > len(kept):
                faults.forbidden("status.conditions", f'updates may not add a condition of type "{kind}"')
            elif len(new) == len(kept) and new != kept:
                # Upstream goes on with a diff of the two.
                faults.forbidden("status.conditions", f'updates may not modify a condition of type "{kind}"')
        certificate = (obj.get("status") or {}).get("certificate") or ""
        issued = (old.get("status") or {}).get("certificate") or ""
        if certificate != issued:
            if not issuing:
                faults.forbidden("status.certificate", "updates may not set certificate content")
            elif issued:
                faults.forbidden("status.certificate", "updates may not modify existing certificate content")
        return faults

    def selectable_fields(self, obj: Object) -> dict[str, str]:
        return {
            "metadata.name": name_of(obj),
            "spec.signerName": (obj.get("spec") or {}).get("signerName") or "",
        }


def _conditions(obj: Object) -> list[Object]:
    return (obj.get("status") or {}).get("conditions") or []


def _validate_conditions(faults: Faults, conditions: list[Object]) -> None:
    seen: set[str] = set()
    for i, condition in enumerate(conditions):
        at, kind = f"status.conditions[{i}]", condition.get("type") or ""
        if not kind:
            faults.required(f"{at}.type")
        state = condition.get("status")
        allowed = ("True",) if kind in ("Approved", "Denied", "Failed") else ("False", "True", "Unknown")
        if not state:
            faults.required(f"{at}.status")
        elif state not in allowed:
            # Whatever the type, upstream names this value only.
            faults.not_supported(f"{at}.status", state, ("True",))
        if (kind == "Approved" and "Denied" in seen) or (kind == "Denied" and "Approved" in seen):
            faults.invalid(f"{at}.type", kind, "Approved and Denied conditions are mutually exclusive")
        if kind in seen:
            faults.duplicate(f"{at}.type", kind)
        seen.add(kind)


_PEM_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----[ \t]*\r?\n(.*?)-----END \1-----[ \t]*(?:\r?\n|$)", re.DOTALL)


def _certificate_fault(encoded: str) -> str:
    """What is wrong with an issued certificate, in upstream's words; empty when nothing is."""
    try:
        pem = base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error):
        return "must contain at least one CERTIFICATE PEM block"
    blocks = 0
    for block in _PEM_BLOCK.finditer(pem):
        label, body = block[1].decode(), block[2]
        if label != "CERTIFICATE":
            return f'only CERTIFICATE PEM blocks are allowed, found "{label}"'
        if b":" in body:
            return "no PEM block headers are permitted"
        blocks += 1
        try:
            x509.load_der_x509_certificate(base64.b64decode(body))
        except (ValueError, binascii.Error):
            return "x509: malformed certificate"
    return "" if blocks else "must contain at least one CERTIFICATE PEM block"
