"""Watches CertificateSigningRequests: one controller approves, one signs, one cleans up."""

from __future__ import annotations

import asyncio
import base64

from pybernetes.api import errors
from pybernetes.api.meta import Object, is_deleting, name_of, uid_of
from pybernetes.api.resources import CERTIFICATESIGNINGREQUESTS, SUBJECTACCESSREVIEWS
from pybernetes.controllers.certificates import plan as p
from pybernetes.controllers.certificates.signing import CertificateSigner
from pybernetes.controllers.controller import Context, QueueController


class _CertificateController(QueueController):
    workers = 2

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._requests = self.watch(CERTIFICATESIGNINGREQUESTS)
        self._requests.add_handler(self._on_request)

    def _on_request(self, old: Object | None, new: Object | None) -> None:
        if new is not None and self.concerns(new):
            self.queue.add(name_of(new))

    def concerns(self, csr: Object) -> bool:
        return True

    def current(self, key: str) -> Object | None:
        csr = self._requests.cache.get(key)
        return csr if csr is not None and not is_deleting(csr) and self.concerns(csr) else None


class CSRApprovingController(_CertificateController):
    """Approves kubelets' client certificates for whoever has the permission to ask for them."""

    name = "csrapproving"

    def concerns(self, csr: Object) -> bool:
        return (
            csr["spec"].get("signerName") == p.KUBELET_CLIENT_SIGNER
            and not (csr.get("status") or {}).get("certificate")
            and p.condition(csr, "Approved") is None
            and p.condition(csr, "Denied") is None
        )

    async def reconcile(self, key: str) -> None:
        csr = self.current(key)
        if csr is None:
            return
        for subresource, message in p.recognizers(csr):
            if not await self._is_allowed(csr, subresource):
                continue
            approved = p.with_condition(csr, "Approved", "AutoApproved", message, self.now())
            try:
                await self.client.update(CERTIFICATESIGNINGREQUESTS, approved, subresource="approval")
            except errors.NotFound:
                return
            return

    async def _is_allowed(self, csr: Object, subresource: str) -> bool:
        spec = csr["spec"]
        review: Object = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": spec.get("username") or "",
                "uid": spec.get("uid") or "",
                "groups": list(spec.get("groups") or ()),
                "extra": {k: list(v) for k, v in (spec.get("extra") or {}).items()},
                "resourceAttributes": {
                    "group": "certificates.k8s.io",
                    "resource": "certificatesigningrequests",
                    "verb": "create",
                    "subresource": subresource,
                },
            },
        }
        answer = await self.client.create(SUBJECTACCESSREVIEWS, review)
        return bool((answer.get("status") or {}).get("allowed"))


class CSRSigningController(_CertificateController):
    """Signs approved requests of the signers that are built in. Does nothing without a CA."""

    name = "csrsigning"

    def __init__(self, context: Context) -> None:
        config = context.config
        self._signer = (
            CertificateSigner(
                config.cluster_signing_cert_pem, config.cluster_signing_key_pem, config.cluster_signing_duration_seconds
            )
            if config.cluster_signing_cert_pem and config.cluster_signing_key_pem
            else None
        )
        super().__init__(context)

    def concerns(self, csr: Object) -> bool:
        return (
            self._signer is not None
            and csr["spec"].get("signerName") in p.SIGNERS
            and p.condition(csr, "Approved") is not None
            and p.condition(csr, "Denied") is None
            and p.condition(csr, "Failed") is None
            and not (csr.get("status") or {}).get("certificate")
        )

    async def reconcile(self, key: str) -> None:
        csr = self.current(key)
        if csr is None or self._signer is None:
            return
        try:
            asked = p.parse(csr)
            fault = p.signer_fault(csr, asked)
        except ValueError as error:
            fault = f'unable to parse csr "{key}": {error}'
        if fault:
            changed = p.with_condition(csr, "Failed", "SignerValidationFailure", fault, self.now())
        else:
            certificate = await asyncio.to_thread(self._signer.sign, csr, asked, self.now())
            encoded = base64.b64encode(certificate).decode()
            changed = {**csr, "status": {**(csr.get("status") or {}), "certificate": encoded}}
        try:
            await self.client.update(CERTIFICATESIGNINGREQUESTS, changed, subresource="status")
        except errors.NotFound:
            return


class CSRCleanerController(_CertificateController):
    """Deletes requests that are done or that nobody cared for."""

    name = "csrcleaner"

    async def reconcile(self, key: str) -> None:
        csr = self.current(key)
        if csr is None:
            return
        left = p.expires_at(csr) - self.now()
        if left > 0:
            self.queue.add_after(key, left)
            return
        try:
            await self.client.delete(CERTIFICATESIGNINGREQUESTS, key, uid=uid_of(csr))
        except errors.NotFound:
            return
