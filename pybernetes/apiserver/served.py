"""Which resources this server serves, with the strategy and the decoder of each.

The built-in ones are there from the start; `add` and `remove` are for resources that come and go (custom ones). One
event loop owns it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from pybernetes.api import resources
from pybernetes.api.kinds.strategy import Strategy
from pybernetes.api.meta import Object
from pybernetes.api.resources import Resource
from pybernetes.api.schema import decode as schema
from pybernetes.api.schema.decode import FieldValidation
from pybernetes.apiserver import conversion

What = Resource | tuple[str, str, str]
"""A type: a resource's, or that of a (group, version, kind)."""


class ServedKinds:
    def __init__(
        self, strategy_for: Callable[[Resource], Strategy], builtin: Iterable[Resource] = resources.BUILTIN
    ) -> None:
        self._strategy_for = strategy_for
        self._by_version: dict[tuple[str, str], dict[str, Resource]] = {}
        self._strategies: dict[Resource, Strategy] = {}
        self.generation = 0
        """Rises whenever a resource comes or goes."""
        for resource in builtin:
            self.add(resource)

    def add(self, resource: Resource) -> None:
        self.generation += 1
        self._by_version.setdefault((resource.group, resource.version), {})[resource.plural] = resource

    def remove(self, resource: Resource) -> None:
        self.generation += 1
        plurals = self._by_version.get((resource.group, resource.version), {})
        plurals.pop(resource.plural, None)
        if not plurals:
            self._by_version.pop((resource.group, resource.version), None)
        self._strategies.pop(resource, None)

    def __iter__(self) -> Iterator[Resource]:
        for plurals in self._by_version.values():
            yield from plurals.values()

    def lookup(self, group: str, version: str, plural: str) -> Resource | None:
        plurals = self._by_version.get((group, version))
        return plurals.get(plural) if plurals is not None else None

    def has_version(self, group: str, version: str) -> bool:
        return (group, version) in self._by_version

    def decode(
        self, obj: Any, what: What, field_validation: FieldValidation, faults: Sequence[str] = ()
    ) -> tuple[Object, list[str]]:
        """(a new object in its type's form, warnings). Raises `BadRequest`."""
        return schema.decode(obj, what, field_validation, faults)

    def decode_patched(
        self,
        obj: Any,
        what: What,
        field_validation: FieldValidation,
        faults: Sequence[str] = (),
        shown: Callable[[], str] | None = None,
    ) -> tuple[Object, list[str]]:
        """The same for what a patch made. Raises `Invalid`."""
        return schema.decode_patched(obj, what, field_validation, faults, shown)

    def strategy(self, resource: Resource) -> Strategy:
        """The strategy of the stored version of `resource`; events have rules of their own in either group."""
        strategy = self._strategies.get(resource)
        if strategy is None:
            strategy = self._strategies[resource] = self._strategy_for(
                resource if resource is resources.EVENTS_V1 else conversion.storage_resource(resource)
            )
        return strategy
