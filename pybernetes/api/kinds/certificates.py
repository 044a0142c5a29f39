"""Certificate signing requests. Who asks (spec.username and its siblings) is filled in by the API server.

Source of rules and texts: ``pkg/apis/certificates/validation``.
"""

from __future__ import annotations

import base64
import binascii
from typing import ClassVar

from cryptography import x509

from pybernetes.api import names
from pybernetes.api.field import FieldError
from pybernetes.api.kinds.faults import Faults
from pybernetes.api.kinds.strategy import Strategy
from pybernetes.api.meta import Object, clone, name_of

USAGES = (
    "any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment",
    "decipher only", "digital signature", "email protection", "encipher only", "ipsec end system", "ipsec tunnel",
    "ipsec user", "key agreement", "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime",
    "server auth", "signing", "timestamping",
)  # fmt: skip
LEGACY_SIGNER = "kubernetes.io/legacy-unknown"
MIN_EXPIRATION_SECONDS = 600


def signer_name(faults: Faults, path: str, signer: str) -> None:
    """``example.com/my-signer``: a domain of at least two parts, and a path."""
    if not signer:
        faults.required(path)
        return
    domain, slash, rest = signer.partition("/")
    if not slash or "/" in rest:
        faults.invalid(path, signer, "must be a fully qualified domain and path of the form 'example.com/signer-name'")
        return
    for message in names.dns_subdomain(domain):
        faults.invalid(path, domain, f'validating label "{domain}": {message}')
    if "." not in domain:
        faults.invalid(path, domain, "should be a domain with at least two segments separated by dots")
    for message in names.dns_subdomain(rest):
        faults.invalid(path, rest, f'validating label "{rest}": {message}')
    if len(signer) > 253 + 1 + 63 + 253:
        faults.too_long(path, 571)


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
        # Approving and denying is another subresource: those conditions stay as they were.
        status, before = obj.setdefault("status", {}), old.get("status") or {}
        kept = [c for c in before.get("conditions") or () if c.get("type") in ("Approved", "Denied")]
        others = [c for c in status.get("conditions") or () if c.get("type") not in ("Approved", "Denied")]
        if kept or others:
            status["conditions"] = clone(kept) + others
        else:
            status.pop("conditions", None)

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        spec = obj.get("spec") or {}
        request = spec.get("request") or ""
        try:
            x509.load_pem_x509_csr(base64.b64decode(request, validate=True))
        except (ValueError, binascii.Error):
            faults.invalid("spec.request", request, "PEM block type must be CERTIFICATE REQUEST")
        usages = spec.get("usages") or []
        if not usages:
            faults.required("spec.usages")
        for i, usage in enumerate(usages):
            if usage not in USAGES:
                faults.not_supported(f"spec.usages[{i}]", usage, USAGES)
            if usage in usages[:i]:
                faults.duplicate(f"spec.usages[{i}]", usage)
        signer = spec.get("signerName") or ""
        if signer == LEGACY_SIGNER:
            faults.invalid("spec.signerName", signer, "the legacy signerName is not allowed via this API version")
        else:
            signer_name(faults, "spec.signerName", signer)
        seconds = spec.get("expirationSeconds")
        if seconds is not None and seconds < MIN_EXPIRATION_SECONDS:
            faults.invalid(
                "spec.expirationSeconds", seconds, "may not specify a duration less than 600 seconds (10 minutes)"
            )
        return faults

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        return self.validate_status_update(obj, old)

    def validate_status_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults()
        status, before = obj.get("status") or {}, old.get("status") or {}
        conditions = status.get("conditions") or []
        seen: set[str] = set()
        for i, condition in enumerate(conditions):
            at, kind = f"status.conditions[{i}]", condition.get("type") or ""
            if not kind:
                faults.required(f"{at}.type")
            state = condition.get("status")
            if not state:
                faults.required(f"{at}.status")
            elif kind in ("Approved", "Denied", "Failed") and state != "True":
                faults.not_supported(f"{at}.status", state, ("True",))
            elif state not in ("True", "False", "Unknown"):
                faults.not_supported(f"{at}.status", state, ("True", "False", "Unknown"))
            if kind in seen:
                faults.duplicate(f"{at}.type", kind)
            seen.add(kind)
        if {"Approved", "Denied"} <= seen:
            index = max(i for i, c in enumerate(conditions) if c.get("type") in ("Approved", "Denied"))
            faults.invalid(
                f"status.conditions[{index}].type",
                conditions[index].get("type"),
                "Approved and Denied conditions are mutually exclusive",
            )
        had = {c.get("type") for c in before.get("conditions") or ()}
        for kind in ("Approved", "Denied", "Failed"):
            if kind in had and kind not in seen:
                faults.forbidden("status.conditions", f'updates may not remove a condition of type "{kind}"')
        if before.get("certificate") and status.get("certificate") != before["certificate"]:
            faults.forbidden("status.certificate", "updates may not change the certificate once issued")
        return faults

    def selectable_fields(self, obj: Object) -> dict[str, str]:
        return {
            "metadata.name": name_of(obj),
            "spec.signerName": (obj.get("spec") or {}).get("signerName") or "",
        }
