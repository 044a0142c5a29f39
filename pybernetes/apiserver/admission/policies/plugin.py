"""What the plugins of validating and of mutating policies share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping

from pybernetes.api import errors
from pybernetes.api.cel.expression import Input
from pybernetes.api.meta import Object, labels_of
from pybernetes.api.resources import NAMESPACES, Resource
from pybernetes.apiserver.admission.dynamic.matching import namespace_of_request
from pybernetes.apiserver.admission.dynamic.situation import situation
from pybernetes.apiserver.admission.dynamic.views import Views
from pybernetes.apiserver.admission.plugin import Plugin
from pybernetes.apiserver.admission.policies.definitions import Binding, ConfigurationError
from pybernetes.apiserver.admission.policies.index import Hook, PolicyIndex
from pybernetes.apiserver.admission.policies.params import params_for
from pybernetes.apiserver.interfaces import AdmissionOperation, AdmissionRequest, Authorizer, ObservableReader


class PolicyPlugin(Plugin):
    _policies: Resource
    _bindings: Resource

    def __init__(self, reader: ObservableReader, authorizer: Authorizer) -> None:
        self._reader = reader
        self._authorizer = authorizer
        self._changed: Callable[[], None] = lambda: None
        self._index = PolicyIndex(reader, self._policies, self._bindings, lambda: self._changed())

    def listen(self, changed: Callable[[], None]) -> None:
        self._changed = changed

    def close(self) -> None:
        self._index.close()

    def handles(self, operation: AdmissionOperation, resource: Resource, subresource: str) -> bool:
        return self._index.concerns(operation, resource, subresource)

    def hooks(self, request: AdmissionRequest) -> tuple[Hook, ...]:
        """The policies that this very request is for."""
        asked = request.info.resource if request.info is not None else None
        hooks = self._index.hooks(request.operation, asked or request.resource, request.subresource)
        return tuple(h for h in hooks if h.policy.criteria.selects(request, h.invocation, self._namespace_labels))

    async def bound(
        self, hook: Hook, request: AdmissionRequest
    ) -> AsyncIterator[tuple[Binding, list[Object | None] | ConfigurationError]]:
        """The bindings that are for the request, each with its parameters or with what is wrong about them."""
        for binding, invocation in hook.bindings:
            criteria = binding.criteria
            if (
                criteria is not None
                and invocation is not None
                and not criteria.selects(request, invocation, self._namespace_labels)
            ):
                continue
            try:
                params = await params_for(hook.policy, binding, request.namespace, self._reader)
            except ConfigurationError as error:
                yield binding, error
                continue
            yield binding, params

    def input(self, hook: Hook, views: Views, params: Object | None) -> Input:
        return situation(
            views, hook.invocation.resource, self._authorizer, namespace=self._namespace(views.request), params=params
        )

    def _namespace(self, request: AdmissionRequest) -> Object | None:
        if not request.namespace or request.resource == NAMESPACES:
            return None
        found = self._reader.get(NAMESPACES, "", request.namespace)
        if found is None:
            raise errors.not_found("", "namespaces", request.namespace)
        return found

    def _namespace_labels(self, request: AdmissionRequest) -> Mapping[str, str]:
        found = namespace_of_request(request, lambda name: self._reader.get(NAMESPACES, "", name))
        return labels_of(found) if found is not None else {}
