"""The policies of one kind with their bindings, kept by watch and indexed by what requests they are for.

A policy without a binding does nothing. Which policies and bindings concern an operation on a resource is computed at
the first such request and kept until one of them changes. Policies and bindings go by their names' order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pybernetes.api.meta import Object, name_of
from pybernetes.api.resources import Resource
from pybernetes.apiserver.admission.dynamic.matching import EXEMPT_GROUP, Invocation, equivalents
from pybernetes.apiserver.admission.policies.definitions import Binding, Policy
from pybernetes.apiserver.interfaces import AdmissionOperation, ObservableReader

_EXCLUDED = frozenset(
    (
        ("authentication.k8s.io", "selfsubjectreviews"),
        ("authentication.k8s.io", "tokenreviews"),
        ("authorization.k8s.io", "localsubjectaccessreviews"),
        ("authorization.k8s.io", "selfsubjectaccessreviews"),
        ("authorization.k8s.io", "selfsubjectrulesreviews"),
        ("authorization.k8s.io", "subjectaccessreviews"),
    )
)
"""Questions, not changes: policies do not judge them."""


@dataclass(frozen=True, slots=True)
class Hook:
    """A policy that is for a kind of request, with the bindings that are."""

    policy: Policy
    invocation: Invocation
    bindings: tuple[tuple[Binding, Invocation | None], ...]


class PolicyIndex:
    def __init__(
        self,
        reader: ObservableReader,
        policies: Resource,
        bindings: Resource,
        changed: Callable[[], None],
    ) -> None:
        self._changed = changed
        self._policies: dict[str, Policy] = {}
        self._bindings: dict[str, Binding] = {}
        self._hooks: dict[tuple[str, Resource, str], tuple[Hook, ...]] = {}
        self._closers = (reader.subscribe(policies, self._on_policy), reader.subscribe(bindings, self._on_binding))

    def close(self) -> None:
        for close in self._closers:
            close()

    def _on_policy(self, old: Object | None, new: Object | None) -> None:
        if old is not None and new is not None and old.get("spec") == new.get("spec"):
            return
        if new is not None:
            self._policies[name_of(new)] = Policy.of(new)
        elif old is not None:
            self._policies.pop(name_of(old), None)
        self._forget()

    def _on_binding(self, old: Object | None, new: Object | None) -> None:
        if old is not None and new is not None and old.get("spec") == new.get("spec"):
            return
        if new is not None:
            self._bindings[name_of(new)] = Binding.of(new)
        elif old is not None:
            self._bindings.pop(name_of(old), None)
        self._forget()

    def _forget(self) -> None:
        self._hooks.clear()
        self._changed()

    def hooks(self, operation: AdmissionOperation, resource: Resource, subresource: str) -> tuple[Hook, ...]:
        """Which policies are for such requests. `resource` is the one asked for."""
        key = (operation, resource, subresource)
        hooks = self._hooks.get(key)
        if hooks is None:
            hooks = self._hooks[key] = tuple(self._compute(operation, resource, subresource))
        return hooks

    def _compute(self, operation: AdmissionOperation, resource: Resource, subresource: str) -> list[Hook]:
        by_policy: dict[str, list[tuple[Binding, Invocation | None]]] = {}
        for name in sorted(self._bindings):
            binding = self._bindings[name]
            invocation = None
            if binding.criteria is not None:
                invocation = binding.criteria.invocation(operation, resource, subresource)
                if invocation is None:
                    continue
            by_policy.setdefault(binding.policy, []).append((binding, invocation))
        return [
            Hook(policy, invocation, tuple(by_policy[name]))
            for name, policy in sorted(self._policies.items())
            if name in by_policy
            and (invocation := policy.criteria.invocation(operation, resource, subresource)) is not None
        ]

    def concerns(self, operation: AdmissionOperation, resource: Resource, subresource: str) -> bool:
        """Whether any policy is for such requests, in whatever version they come."""
        if not self._policies or not self._bindings or resource.group == EXEMPT_GROUP:
            return False
        if (resource.group, resource.plural) in _EXCLUDED:
            return False
        return any(self.hooks(operation, r, subresource) for r in (resource, *equivalents(resource)))
