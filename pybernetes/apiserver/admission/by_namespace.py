"""The objects of one kind by their namespace, kept by watch: for plugins that have something to do only where there are
some."""

from __future__ import annotations

from collections.abc import Callable

from pybernetes.api.meta import Object, is_deleting, name_of, namespace_of
from pybernetes.api.resources import Resource
from pybernetes.apiserver.interfaces import ObservableReader


class ByNamespace:
    """`on_change` is called when the first object comes and when the last one goes."""

    def __init__(self, reader: ObservableReader, resource: Resource, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._objects: dict[str, dict[str, Object]] = {}
        """By namespace and name; only namespaces that have some."""
        self.close = reader.subscribe(resource, self._take_in)

    def __bool__(self) -> bool:
        return bool(self._objects)

    def __contains__(self, namespace: str) -> bool:
        return namespace in self._objects

    def of(self, namespace: str) -> list[Object]:
        """Those of a namespace that stay, by name."""
        found = self._objects.get(namespace) or {}
        return [found[name] for name in sorted(found) if not is_deleting(found[name])]

    def _take_in(self, old: Object | None, new: Object | None) -> None:
        obj = new or old
        assert obj is not None
        namespace, had_any = namespace_of(obj), bool(self._objects)
        if new is not None:
            self._objects.setdefault(namespace, {})[name_of(new)] = new
        elif namespace in self._objects:
            self._objects[namespace].pop(name_of(obj), None)
            if not self._objects[namespace]:
                del self._objects[namespace]
        if had_any != bool(self._objects):
            self._on_change()
