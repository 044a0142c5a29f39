"""RuntimeClass: a pod takes on the overhead and the scheduling terms of its runtime class.

Source: KEP-688, KEP-894.
"""

from __future__ import annotations

from pybernetes.api.meta import Object, clone
from pybernetes.api.quantity import QuantityError, parse
from pybernetes.api.resources import PODS, RUNTIMECLASSES
from pybernetes.apiserver.admission.plugin import Plugin, is_for, refuse
from pybernetes.apiserver.interfaces import AdmissionRequest, ObservableReader


class RuntimeClass(Plugin):
    name = "RuntimeClass"
    operations = ("CREATE",)
    resources = (("pods", ""),)

    def __init__(self, reader: ObservableReader) -> None:
        self._reader = reader

    async def mutate(self, request: AdmissionRequest) -> None:
        pod = request.object
        if pod is None or not (pod.get("spec") or {}).get("runtimeClassName") or not is_for(request, PODS):
            return
        class_ = await self._class_of(request, pod)
        if class_ is None:
            return
        spec = pod["spec"]
        overhead = (class_.get("overhead") or {}).get("podFixed")
        if overhead:
            if spec.get("overhead") and not _same(spec["overhead"], overhead):
                raise refuse(request, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")
            spec["overhead"] = dict(overhead)
        self._schedule(request, spec, class_.get("scheduling") or {})

    async def validate(self, request: AdmissionRequest) -> None:
        pod = request.object
        spec = (pod or {}).get("spec") or {}
        overhead = spec.get("overhead")
        if pod is None or not (overhead or spec.get("runtimeClassName")) or not is_for(request, PODS):
            return
        class_ = await self._class_of(request, pod)
        defined = ((class_ or {}).get("overhead") or {}).get("podFixed")
        if overhead and not defined:
            raise refuse(request, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead")
        if defined and not _same(overhead or {}, defined):
            raise refuse(request, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")

    async def _class_of(self, request: AdmissionRequest, pod: Object) -> Object | None:
        name = (pod.get("spec") or {}).get("runtimeClassName")
        if not name:
            return None
        class_ = await self._reader.find(RUNTIMECLASSES, "", name)
        if class_ is None:
            raise refuse(request, f'pod rejected: RuntimeClass "{name}" not found')
        return class_

    @staticmethod
    def _schedule(request: AdmissionRequest, spec: Object, scheduling: Object) -> None:
        selector = scheduling.get("nodeSelector") or {}
        if selector:
            own = spec.get("nodeSelector") or {}
            for key, value in selector.items():
                if key in own and own[key] != value:
                    raise refuse(
                        request,
                        f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; "
                        f"pod.spec.nodeSelector[{key}] = {own[key]}",
                    )
            spec["nodeSelector"] = {**own, **selector}
        tolerations = scheduling.get("tolerations") or []
        if tolerations:
            own_tolerations = spec.get("tolerations") or []
            spec["tolerations"] = [*own_tolerations, *clone([t for t in tolerations if t not in own_tolerations])]


def _same(a: Object, b: Object) -> bool:
    try:
        return {k: parse(str(v)) for k, v in a.items()} == {k: parse(str(v)) for k, v in b.items()}
    except QuantityError:
        return False
