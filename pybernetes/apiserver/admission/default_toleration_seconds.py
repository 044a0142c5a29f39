"""DefaultTolerationSeconds: a pod stays five minutes on a node that is not ready or not reachable, unless it says
otherwise.

Source: https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#defaulttolerationseconds.
"""

from __future__ import annotations

from pybernetes.api.meta import Object
from pybernetes.api.resources import PODS
from pybernetes.apiserver.admission.plugin import Plugin, is_for
from pybernetes.apiserver.interfaces import AdmissionRequest

TOLERATION_SECONDS = 300
_TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


class DefaultTolerationSeconds(Plugin):
    name = "DefaultTolerationSeconds"
    operations = ("CREATE", "UPDATE")
    resources = (("pods", ""),)

    async def mutate(self, request: AdmissionRequest) -> None:
        pod = request.object
        if pod is None or request.operation not in ("CREATE", "UPDATE") or not is_for(request, PODS):
            return
        spec = pod.get("spec") or {}
        tolerations = spec.get("tolerations") or []
        missing = [taint for taint in _TAINTS if not any(_tolerates(t, taint) for t in tolerations)]
        if missing:
            # Of an update, the spec may be the old object's own.
            pod["spec"] = {**spec, "tolerations": [*tolerations, *map(_toleration, missing)]}


def _tolerates(toleration: Object, taint: str) -> bool:
    return (toleration.get("key") or taint) == taint and (toleration.get("effect") or "NoExecute") == "NoExecute"


def _toleration(taint: str) -> Object:
    return {"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": TOLERATION_SECONDS}
