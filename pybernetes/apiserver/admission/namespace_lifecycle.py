"""NamespaceLifecycle: nothing is made in a namespace that is missing or on its way out, and the first namespaces
stay.

Source: https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#namespacelifecycle.
"""

from __future__ import annotations

from pybernetes.api import errors
from pybernetes.api.meta import Object, is_deleting
from pybernetes.api.resources import NAMESPACES, Resource
from pybernetes.apiserver.admission.plugin import Plugin, refuse
from pybernetes.apiserver.interfaces import AdmissionOperation, AdmissionRequest, ObservableReader

IMMORTAL = frozenset({"default", "kube-system", "kube-public"})


class NamespaceLifecycle(Plugin):
    """Runs first, so that other plugins may count on the namespace.

    The watch cache answers; only a namespace that it does not show is asked for from the store, since it may be
    newer than the cache.
    """

    name = "NamespaceLifecycle"

    def __init__(self, reader: ObservableReader) -> None:
        self._reader = reader

    def handles(self, operation: AdmissionOperation, resource: Resource, subresource: str) -> bool:
        if resource.storage_id == NAMESPACES.storage_id:
            return operation == "DELETE"
        # Telling whether a namespace is there would leak it to who may only ask what he may do.
        return (
            operation in ("CREATE", "UPDATE") and resource.namespaced and resource.plural != "localsubjectaccessreviews"
        )

    async def mutate(self, request: AdmissionRequest) -> None:
        if request.operation == "DELETE":
            if request.name in IMMORTAL:
                raise errors.forbidden("", "namespaces", request.name, "this namespace may not be deleted")
            return
        namespace = self._reader.get(NAMESPACES, "", request.namespace)
        if namespace is None:
            namespace = await self._reader.find(NAMESPACES, "", request.namespace)
            if namespace is None:
                raise errors.not_found("", "namespaces", request.namespace)
        if request.operation != "CREATE" or not _is_terminating(namespace):
            return
        refusal = refuse(
            request,
            f"unable to create new content in namespace {request.namespace} because it is being terminated",
        )
        assert refusal.details is not None
        refusal.details["causes"] = [
            {
                "reason": "NamespaceTerminating",
                "message": f"namespace {request.namespace} is being terminated",
                "field": "metadata.namespace",
            }
        ]
        raise refusal


def _is_terminating(namespace: Object) -> bool:
    return is_deleting(namespace) or (namespace.get("status") or {}).get("phase") == "Terminating"
