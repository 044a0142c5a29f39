"""PodResizeValidator: a bound pod is not resized to more than its node has, nor on a node that cannot resize.

Source: upstream's ``plugin/pkg/admission/podresize``.
"""

from __future__ import annotations

from pybernetes.api.meta import Object, labels_of, metadata, name_of
from pybernetes.api.pod_resources import parse_resources, pod_requests
from pybernetes.api.resources import NODES
from pybernetes.apiserver.admission.plugin import Plugin, refuse
from pybernetes.apiserver.interfaces import AdmissionRequest, ObservableReader

_OS = "kubernetes.io/os"


class PodResizeValidator(Plugin):
    name = "PodResizeValidator"
    operations = ("UPDATE",)
    resources = (("pods", "resize"),)

    def __init__(self, reader: ObservableReader) -> None:
        self._reader = reader

    async def validate(self, request: AdmissionRequest) -> None:
        pod, old = request.object, request.old
        node_name = ((pod or {}).get("spec") or {}).get("nodeName")
        if pod is None or old is None or not node_name:
            return
        if metadata(pod).get("generation") == metadata(old).get("generation"):
            return
        node = await self._reader.find(NODES, "", node_name)
        if node is None:
            raise refuse(request, f'node "{node_name}" not found')
        lacking = _lacking(pod, node)
        if lacking:
            raise refuse(request, f"Node didn't have enough allocatable resources: {'; '.join(lacking)}")
        if labels_of(node).get(_OS) != "linux":
            raise refuse(
                request,
                f'pod resize is only supported on linux nodes, node "{name_of(node)}" is '
                f'"{labels_of(node).get(_OS, "")}"',
            )


def _lacking(pod: Object, node: Object) -> list[str]:
    """What the pod asks for beyond the node's allocatable, in millicores and bytes."""
    asked = pod_requests(pod)
    have = parse_resources((node.get("status") or {}).get("allocatable") or {})
    return [
        f"{name}, requested: {asked[name]}, allocatable: {have.get(name, 0)}"
        for name in ("cpu", "memory")
        if asked.get(name, 0) > have.get(name, 0)
    ]
