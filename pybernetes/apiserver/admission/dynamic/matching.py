"""Which requests a webhook or a policy is for: rules, and selectors of namespaces and objects. Pure.

Rules speak of operations, resources and scope: what they say of a request is the same for all requests with that
operation on that resource and subresource, so it is computed once for each (`Criteria.invocation`). Selectors and
resource names are looked at request by request (`Criteria.selects`).

Source: upstream's ``plugin/webhook/predicates`` and ``plugin/policy/matching``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pybernetes.api import resources, selectors
from pybernetes.api.meta import Object, labels_of
from pybernetes.api.resources import NAMESPACES, Resource
from pybernetes.apiserver.interfaces import AdmissionRequest

EXEMPT_GROUP = "admissionregistration.k8s.io"
"""Webhooks and policies never judge the objects that configure them: a broken one could not be taken away again."""

NamespaceLabels = Callable[[AdmissionRequest], Mapping[str, str]]


@lru_cache(maxsize=1)
def _cohabitants() -> dict[str, tuple[Resource, ...]]:
    found: dict[str, list[Resource]] = {}
    for resource in resources.BUILTIN:
        found.setdefault(resource.storage_id, []).append(resource)
    return {storage_id: tuple(sharing) for storage_id, sharing in found.items() if len(sharing) > 1}


def equivalents(resource: Resource) -> tuple[Resource, ...]:
    """The other resources that give access to the same stored objects."""
    return tuple(r for r in _cohabitants().get(resource.storage_id, ()) if r != resource)


@dataclass(frozen=True, slots=True)
class Rule:
    operations: frozenset[str]
    groups: frozenset[str]
    versions: frozenset[str]
    resources: tuple[tuple[str, str], ...]
    """(resource, subresource)."""
    scope: str
    names: frozenset[str] = frozenset()
    """Policies' resourceNames; empty for all."""

    @classmethod
    def of(cls, rule: Mapping[str, Any]) -> Rule:
        return cls(
            frozenset(rule.get("operations") or ()),
            frozenset(rule.get("apiGroups") or ()),
            frozenset(rule.get("apiVersions") or ()),
            tuple((r.partition("/")[0], r.partition("/")[2]) for r in rule.get("resources") or ()),
            str(rule.get("scope") or "*"),
            frozenset(rule.get("resourceNames") or ()),
        )

    def covers(self, operation: str, resource: Resource, subresource: str) -> bool:
        """Whether the rule speaks of such requests, whatever the object's name."""
        return (
            (operation in self.operations or "*" in self.operations)
            and (resource.group in self.groups or "*" in self.groups)
            and (resource.version in self.versions or "*" in self.versions)
            and (self.scope == "*" or (self.scope == "Namespaced") == resource.namespaced)
            and any(plural in ("*", resource.plural) and sub in ("*", subresource) for plural, sub in self.resources)
        )


@dataclass(frozen=True, slots=True)
class Invocation:
    """In which version a matching request is to be shown, and the names that the matching rules ask for."""

    resource: Resource
    names: tuple[frozenset[str], ...] = ()
    """Of the rules that matched; any of them will do. An empty set stands for all names."""
    excluded: tuple[frozenset[str], ...] = ()


class Criteria:
    """Rules and selectors of one webhook, policy or binding."""

    __slots__ = ("_exclude", "_namespace_selector", "_object_selector", "_rules", "equivalent")

    def __init__(
        self,
        rules: Iterable[Mapping[str, Any]] | None,
        *,
        exclude: Iterable[Mapping[str, Any]] = (),
        match_policy: str = "Equivalent",
        namespace_selector: Mapping[str, Any] | None = None,
        object_selector: Mapping[str, Any] | None = None,
    ) -> None:
        """`rules` None is for everything. Raises `SelectorError`; stored selectors are valid."""
        self._rules = None if rules is None else tuple(Rule.of(r) for r in rules)
        self._exclude = tuple(Rule.of(r) for r in exclude)
        self.equivalent = match_policy != "Exact"
        self._namespace_selector = selectors.from_label_selector(namespace_selector or {})
        self._object_selector = selectors.from_label_selector(object_selector or {})

    def invocation(self, operation: str, resource: Resource, subresource: str) -> Invocation | None:
        """How such requests are matched; None where no rule speaks of them. `resource` is the one asked for."""
        excluded = self._covering(self._exclude, operation, resource, subresource)
        if excluded is not None and frozenset() in excluded[1]:
            return None
        without = excluded[1] if excluded is not None else ()
        if self._rules is None:
            return Invocation(resource, (), without)
        found = self._covering(self._rules, operation, resource, subresource)
        return Invocation(found[0], found[1], without) if found is not None else None

    def _covering(
        self, rules: tuple[Rule, ...], operation: str, resource: Resource, subresource: str
    ) -> tuple[Resource, tuple[frozenset[str], ...]] | None:
        names = tuple(r.names for r in rules if r.covers(operation, resource, subresource))
        if names:
            return resource, names
        if self.equivalent:
            for rule in rules:
                for other in equivalents(resource):
                    if rule.covers(operation, other, subresource):
                        return other, (rule.names,)
        return None

    def selects(self, request: AdmissionRequest, invocation: Invocation, namespace_labels: NamespaceLabels) -> bool:
        """Whether this request is meant, of those that the rules speak of."""
        if invocation.names and not _named(request.name, invocation.names):
            return False
        if invocation.excluded and _named(request.name, invocation.excluded):
            return False
        if (
            not self._namespace_selector.empty
            and (request.namespace or request.resource == NAMESPACES)
            and not self._namespace_selector.matches(namespace_labels(request))
        ):
            return False
        selector = self._object_selector
        return selector.empty or any(
            obj is not None and "metadata" in obj and selector.matches(labels_of(obj))
            for obj in (request.object, request.old)
        )


def _named(name: str, alternatives: tuple[frozenset[str], ...]) -> bool:
    return any(not names or name in names for names in alternatives)


def namespace_of_request(request: AdmissionRequest, current: Callable[[str], Object | None]) -> Object | None:
    """The namespace that a request is in, or that it is about: as it will be, for one that is made or changed.
    `current` gives one by its name. None for other cluster-scoped objects and where there is none (any more)."""
    if request.resource == NAMESPACES:
        if request.operation in ("CREATE", "UPDATE") and not request.subresource:
            return request.object
        return current(request.name) or request.old
    return current(request.namespace) if request.namespace else None
