"""DefaultIngressClass: an Ingress that names no class gets the default one, if there is any.

Source: https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#defaultingressclass.
"""

from __future__ import annotations

from pybernetes.api.meta import annotations_of, name_of
from pybernetes.api.resources import INGRESSCLASSES, INGRESSES
from pybernetes.apiserver.admission.plugin import Plugin, is_for
from pybernetes.apiserver.admission.storage import newest_default
from pybernetes.apiserver.interfaces import AdmissionRequest, ObjectReader

_CLASS_ANNOTATION = "kubernetes.io/ingress.class"
_DEFAULT_CLASS = ("ingressclass.kubernetes.io/is-default-class",)


class DefaultIngressClass(Plugin):
    name = "DefaultIngressClass"
    operations = ("CREATE",)
    resources = (("ingresses", ""),)

    def __init__(self, reader: ObjectReader) -> None:
        self._reader = reader

    async def mutate(self, request: AdmissionRequest) -> None:
        ingress = request.object
        if request.operation != "CREATE" or ingress is None or not is_for(request, INGRESSES):
            return
        spec = ingress.setdefault("spec", {})
        if spec.get("ingressClassName") is not None or _CLASS_ANNOTATION in annotations_of(ingress):
            return
        default = newest_default(self._reader.list(INGRESSCLASSES), _DEFAULT_CLASS)
        if default is not None:
            spec["ingressClassName"] = name_of(default)
