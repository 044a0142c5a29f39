"""PodTopologyLabels: a pod that is bound to a node gets the node's zone and region as labels.

They are copied onto the Binding, from where the binding puts them on the pod; pods that are created with a node name,
as static ones are, get them at once. Source: KEP-4742.
"""

from __future__ import annotations

from pybernetes.api.meta import Object, labels_of
from pybernetes.api.resources import BINDINGS, NODES, PODS
from pybernetes.apiserver.admission.plugin import Plugin, is_for
from pybernetes.apiserver.interfaces import AdmissionRequest, ObjectReader

LABELS = ("topology.kubernetes.io/region", "topology.kubernetes.io/zone")


class PodTopologyLabels(Plugin):
    name = "PodTopologyLabels"
    operations = ("CREATE",)
    resources = (("pods", ""), ("pods", "binding"), ("bindings", ""))

    def __init__(self, reader: ObjectReader) -> None:
        self._reader = reader

    async def mutate(self, request: AdmissionRequest) -> None:
        obj = request.object
        if obj is None:
            return
        if is_for(request, PODS):
            self._label(obj, str((obj.get("spec") or {}).get("nodeName") or ""))
        elif is_for(request, PODS, "binding") or is_for(request, BINDINGS):
            target = obj.get("target") or {}
            if (target.get("kind") or "Node") == "Node":
                self._label(obj, str(target.get("name") or ""))

    def _label(self, obj: Object, node_name: str) -> None:
        node = self._reader.get(NODES, "", node_name) if node_name else None
        if node is None:
            return
        found = {key: value for key, value in labels_of(node).items() if key in LABELS}
        if found:
            meta = obj.setdefault("metadata", {})
            meta["labels"] = {**(meta.get("labels") or {}), **found}
