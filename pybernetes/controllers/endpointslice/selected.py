"""Which Services a change of a pod concerns: the handlers that EndpointSlices and Endpoints share."""

from __future__ import annotations

from collections.abc import Callable

from pybernetes.api.meta import Object, key_of, labels_of, namespace_of
from pybernetes.api.resources import PODS, SERVICES
from pybernetes.client.informer import Informers
from pybernetes.controllers.endpointslice import endpoint as ep
from pybernetes.controllers.selection import (
    POD_LABEL_INDEX,
    SELECTOR_INDEX,
    labels_part,
    pods_by_label,
    selected,
    selecting,
    selectors_by_pair,
)


class ServicePods:
    """Services and their pods, each found from the other by index. Tells its listeners the keys of Services whose
    endpoints may have changed. Shared by all who use the same informers (`Informers.shared`)."""

    def __init__(self, informers: Informers) -> None:
        self._services = services = informers.for_(SERVICES)
        self._pods = pods = informers.for_(PODS)
        self._listeners: list[Callable[[str], None]] = []
        services.cache.add_index(SELECTOR_INDEX, selectors_by_pair)
        pods.cache.add_index(POD_LABEL_INDEX, pods_by_label, labels_part)
        services.add_handler(self._on_service)
        pods.add_handler(self._on_pod)

    def listen(self, changed: Callable[[str], None]) -> None:
        """Adds a listener, which first hears of all Services."""
        self._listeners.append(changed)
        for service in self._services.cache:
            changed(key_of(service))

    def _changed(self, key: str) -> None:
        for listener in self._listeners:
            listener(key)

    def pods_of(self, service: Object) -> list[Object]:
        selector = service["spec"].get("selector")
        return selected(self._pods.cache, namespace_of(service), {"matchLabels": selector} if selector else None)

    def services_of(self, pod: Object) -> list[Object]:
        return selecting(self._services.cache, namespace_of(pod), labels_of(pod))

    def _on_service(self, old: Object | None, new: Object | None) -> None:
        obj = new or old
        assert obj is not None
        self._changed(key_of(obj))

    def _on_pod(self, old: Object | None, new: Object | None) -> None:
        if old is not None and new is not None:
            if labels_of(old) == labels_of(new):
                if not ep.may_differ(old, new):
                    return
                if ep.traits(old) != ep.traits(new):
                    self._concerns(new)
                return
            self._concerns(old)
            self._concerns(new)
            return
        obj = new or old
        assert obj is not None
        if ep.pod_ips(obj):
            self._concerns(obj)

    def _concerns(self, pod: Object) -> None:
        for service in self.services_of(pod):
            self._changed(key_of(service))
