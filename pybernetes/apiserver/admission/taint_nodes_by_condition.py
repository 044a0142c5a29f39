"""TaintNodesByCondition: a new node takes no pods until it has said that it is ready.

Source: https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#taintnodesbycondition.
"""

from __future__ import annotations

from pybernetes.api.resources import NODES
from pybernetes.apiserver.admission.plugin import Plugin, is_for
from pybernetes.apiserver.interfaces import AdmissionRequest

_TAINT = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}


class TaintNodesByCondition(Plugin):
    name = "TaintNodesByCondition"
    operations = ("CREATE",)
    resources = (("nodes", ""),)

    async def mutate(self, request: AdmissionRequest) -> None:
        node = request.object
        if request.operation != "CREATE" or node is None or not is_for(request, NODES):
            return
        spec = node.setdefault("spec", {})
        taints = spec.get("taints") or []
        if not any(t.get("key") == _TAINT["key"] and t.get("effect") == _TAINT["effect"] for t in taints):
            spec["taints"] = [*taints, dict(_TAINT)]
