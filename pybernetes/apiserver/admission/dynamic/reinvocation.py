"""When mutation runs a second time: a webhook or policy changed an object that others had already seen.

The registry runs the mutating plugins once more where `Reinvocation.wanted` is set; in that pass a webhook or policy
acts again only if it asked for that (``reinvocationPolicy: IfNeeded``), acted before, and something was changed after
it did. Once, never a third time.

Source: upstream's ``pkg/admission/reinvocation.go`` and ``plugin/webhook/mutating/reinvocationcontext.go``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pybernetes.api.meta import Object, clone
from pybernetes.apiserver.interfaces import AdmissionRequest


@dataclass(slots=True)
class Pass:
    """One plugin's memory of a request."""

    output: Object | None = None
    """The object as the plugin left it in the first pass."""
    seen: set[str] = field(default_factory=set)
    """Those that acted and ask to be repeated, since the last change."""
    due: set[str] = field(default_factory=set)

    def changed(self) -> None:
        """The object is another now: who saw it before has to see it again."""
        self.due |= self.seen
        self.seen.clear()


class Reinvocation:
    """The memory of one request's mutation. Made by the first plugin that needs it."""

    __slots__ = ("_passes", "again", "wanted")

    def __init__(self) -> None:
        self.wanted = False
        self.again = False
        self._passes: dict[str, Pass] = {}

    def begin(self, plugin: str, obj: Object | None) -> Pass:
        """The plugin's turn begins; what others changed since its first one counts."""
        found = self._passes.setdefault(plugin, Pass())
        if self.again and found.output != obj:
            found.changed()
        return found

    def end(self, plugin: str, obj: Object | None) -> None:
        if not self.again:
            self._passes[plugin].output = clone(obj)


def reinvocation_of(request: AdmissionRequest) -> Reinvocation:
    memory = request.reinvocation
    if memory is None:
        memory = request.reinvocation = Reinvocation()
    assert isinstance(memory, Reinvocation)
    return memory
