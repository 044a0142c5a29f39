"""The admission plugins of a server, compiled: which of them have anything to do for an operation on a resource.

`AdmissionChain` owns the order. It asks each plugin once per (operation, resource, subresource) and keeps the answer,
so that a request which interests nobody meets no plugin at all. A plugin whose interest changes (webhooks and
policies come and go) calls what `AdmissionPlugin.listen` gave it, and the answers are asked for anew. Used from the
event loop alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from pybernetes.api.resources import Resource
from pybernetes.apiserver.interfaces import AdmissionOperation, AdmissionPlugin, AdmissionRequest

Step = Callable[[AdmissionRequest], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Steps:
    """What to call, in order; usually little or nothing."""

    mutators: tuple[Step, ...]
    validators: tuple[Step, ...]

    async def mutate_again(self, request: AdmissionRequest) -> None:
        """The second pass, where the first one wanted it."""
        assert request.reinvocation is not None
        request.reinvocation.again = True
        for mutate in self.mutators:
            await mutate(request)


NO_STEPS = Steps((), ())


class AdmissionChain:
    def __init__(self, plugins: Sequence[AdmissionPlugin]) -> None:
        self.plugins = tuple(plugins)
        # Bounded by the resources that are served, times their subresources.
        self._steps: dict[tuple[AdmissionOperation, Resource, str], Steps] = {}
        for plugin in self.plugins:
            plugin.listen(self._steps.clear)

    def steps(self, operation: AdmissionOperation, resource: Resource, subresource: str) -> Steps:
        """`resource` is the one that is stored."""
        key = (operation, resource, subresource)
        steps = self._steps.get(key)
        if steps is None:
            steps = self._steps[key] = self._compile(operation, resource, subresource)
        return steps

    def _compile(self, operation: AdmissionOperation, resource: Resource, subresource: str) -> Steps:
        interested = [p for p in self.plugins if p.handles(operation, resource, subresource)]
        return Steps(
            tuple(p.mutate for p in interested if p.mutates), tuple(p.validate for p in interested if p.validates)
        )
