"""MutatingAdmissionPolicy: what expressions make of an object, by an apply configuration or a JSON patch."""

from __future__ import annotations

from dataclasses import dataclass

from pybernetes.api import errors
from pybernetes.api.cel.errors import EvaluationError
from pybernetes.api.cel.expression import OBJECT, Input
from pybernetes.api.meta import Object, clone, name_of, namespace_of
from pybernetes.api.patch import json_patch, typed
from pybernetes.api.patch.elements import TypedError
from pybernetes.api.patch.fields import show
from pybernetes.api.resources import MUTATINGADMISSIONPOLICIES, MUTATINGADMISSIONPOLICYBINDINGS
from pybernetes.api.schema.nodes import ListNode, MapNode, Node, ObjectNode, type_of
from pybernetes.apiserver.admission.dynamic.conditions import NoVerdict
from pybernetes.apiserver.admission.dynamic.reinvocation import Pass, Reinvocation, reinvocation_of
from pybernetes.apiserver.admission.dynamic.views import View, Views
from pybernetes.apiserver.admission.plugin import refuse
from pybernetes.apiserver.admission.policies.definitions import Binding, ConfigurationError, Mutation, Policy
from pybernetes.apiserver.admission.policies.index import Hook
from pybernetes.apiserver.admission.policies.plugin import PolicyPlugin
from pybernetes.apiserver.interfaces import AdmissionRequest


class MutationError(Exception):
    """A mutation that cannot be carried out."""


@dataclass(frozen=True, slots=True)
class _Fault:
    policy: Policy
    binding: Binding
    message: str
    reason: str = ""

    def text(self) -> str:
        return f"policy '{self.policy.name}' with binding '{self.binding.name}' denied request: {self.message}"


class MutatingAdmissionPolicy(PolicyPlugin):
    name = "MutatingAdmissionPolicy"
    _policies = MUTATINGADMISSIONPOLICIES
    _bindings = MUTATINGADMISSIONPOLICYBINDINGS

    async def mutate(self, request: AdmissionRequest) -> None:
        memory = reinvocation_of(request)
        turn = memory.begin(self.name, request.object)
        faults: list[_Fault] = []
        for hook in self.hooks(request):
            async for binding, params in self.bound(hook, request):
                if isinstance(params, ConfigurationError):
                    faults.append(_Fault(hook.policy, binding, str(params)))
                    continue
                for param in params:
                    faults += self._invoke(hook, binding, param, request, memory, turn)
        memory.end(self.name, request.object)
        faults = [f for f in faults if not f.policy.fails_open]
        if faults:
            raise _refusal(request, faults)

    def _invoke(
        self,
        hook: Hook,
        binding: Binding,
        param: Object | None,
        request: AdmissionRequest,
        memory: Reinvocation,
        turn: Pass,
    ) -> list[_Fault]:
        """One policy with one binding and parameter. Its mutations see what those before them made."""
        policy = hook.policy
        views = Views(request)
        if policy.conditions is not None:
            try:
                if not policy.conditions.match(self.input(hook, views, param)):
                    return []
            except NoVerdict as error:
                return [_Fault(policy, binding, str(error), "Invalid")]
        uid = f"{policy.name}/{binding.name}/{namespace_of(param or {})}/{name_of(param or {})}"
        if memory.again and uid not in turn.due:
            return []
        faults = []
        changed = False
        for mutation in policy.mutations:
            view = views.of(hook.invocation.resource)
            if view.object is None or request.object is None:
                continue
            try:
                if self._mutate(mutation, self.input(hook, views, param), view, views):
                    changed, views = True, Views(request)
            except (EvaluationError, MutationError) as error:
                faults.append(_Fault(policy, binding, str(error), "Invalid"))
        if changed:
            turn.changed()
            memory.wanted = True
        if policy.reinvoked:
            turn.seen.add(uid)
        return faults

    @staticmethod
    def _mutate(mutation: Mutation, values: Input, view: View, views: Views) -> bool:
        assert view.object is not None
        found = mutation.program.evaluate(values)
        if mutation.result == OBJECT:
            mutated = apply_configuration(view, found)
        else:
            try:
                mutated = json_patch.apply(view.object, found)
            except errors.Invalid as error:
                why = str(error.__cause__ or error)
                if why.endswith("test failed"):
                    # A test that fails says: not this object.
                    return False
                raise MutationError(f"JSONPath: {why}") from error
        try:
            return views.replace(view, mutated)
        except errors.BadRequest as error:
            raise MutationError(error.message) from error


def apply_configuration(view: View, configuration: Object) -> Object:
    """The object with what an apply configuration sets. Raises `MutationError`."""
    assert view.object is not None
    node = type_of(view.kind)
    faults = list(typed.check(configuration, node))
    if faults:
        raise MutationError(
            "error applying patch: failed to convert patch object to typed object: " + "; ".join(faults)
        )
    atomics = _atomics(configuration, node, ())
    if atomics:
        raise MutationError(
            "error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: "
            + ", ".join(atomics)
        )
    try:
        merged: Object = clone(typed.merge(view.object, configuration, node))
    except TypedError as error:
        raise MutationError(f"error applying patch: failed to merge patch: {error}") from error
    return merged


def _atomics(value: object, node: Node, path: tuple[str, ...]) -> list[str]:
    """What a configuration would replace as a whole, which nobody means who sets a part of it."""
    found: list[str] = []
    if isinstance(value, dict) and isinstance(node, (ObjectNode, MapNode)):
        if isinstance(node, (ObjectNode, MapNode)) and node.atomic:
            found.append(show(path))
        for key, inner in value.items():
            child, declared = typed.member(node, key)
            below = (*path, f"f:{key}")
            if declared is not None and declared.atomic and isinstance(inner, dict):
                found.append(show(below))
            found += _atomics(inner, child, below)
    elif isinstance(value, list) and isinstance(node, ListNode):
        if not typed.is_associative(node):
            found.append(show(path))
        for i, inner in enumerate(value):
            found += _atomics(inner, node.items, (*path, f"i:{i}"))
    return found


def _refusal(request: AdmissionRequest, faults: list[_Fault]) -> errors.ApiError:
    forbidden = refuse(request, "admission request denied by policy")
    details = {**(forbidden.details or {}), "causes": [{"message": f.text()} for f in faults]}
    kind = errors.Invalid if faults[0].reason == "Invalid" else errors.Forbidden
    return kind(faults[0].text(), details=details, code=errors.Forbidden.status_code)
