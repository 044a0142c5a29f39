"""Watches validating policies and says in the status of each generation what is wrong with its expressions' types.

The check is pure and takes milliseconds a policy; it loads the CEL runtime, which a cluster without policies does
without.
"""

from __future__ import annotations

from pybernetes.api import errors
from pybernetes.api.meta import Object, key_of, metadata
from pybernetes.api.resources import VALIDATINGADMISSIONPOLICIES
from pybernetes.controllers.controller import Context, QueueController, updated_status


class ValidatingAdmissionPolicyStatusController(QueueController):
    name = "validatingadmissionpolicy-status"
    workers = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._policies = self.watch(VALIDATINGADMISSIONPOLICIES)
        self._policies.add_handler(self._on_policy)

    def _on_policy(self, old: Object | None, new: Object | None) -> None:
        if new is not None and not _is_observed(new):
            self.queue.add(key_of(new))

    async def reconcile(self, key: str) -> None:
        policy = self._policies.cache.get(key)
        if policy is None or _is_observed(policy):
            return
        from pybernetes.api.cel.typecheck import expression_warnings

        found = expression_warnings(policy)
        status = {
            **(policy.get("status") or {}),
            "observedGeneration": metadata(policy).get("generation"),
            "typeChecking": {"expressionWarnings": found} if found else {},
        }
        try:
            await self.client.update(VALIDATINGADMISSIONPOLICIES, updated_status(policy, status), subresource="status")
        except errors.NotFound:
            return


def _is_observed(policy: Object) -> bool:
    status = policy.get("status") or {}
    return "typeChecking" in status and status.get("observedGeneration") == metadata(policy).get("generation")
