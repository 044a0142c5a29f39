"""Which plugins a request meets."""

from __future__ import annotations

from collections.abc import Callable

from pybernetes.api.resources import CONFIGMAPS, PODS, Resource
from pybernetes.apiserver.admission.chain import AdmissionChain
from pybernetes.apiserver.admission.plugin import Plugin
from pybernetes.apiserver.interfaces import AdmissionOperation, AdmissionRequest


class Defaults(Plugin):
    operations = ("CREATE",)
    resources = (("pods", ""),)

    async def mutate(self, request: AdmissionRequest) -> None:
        request.warnings.append("defaults")


class Moody(Plugin):
    interested = False
    asked = 0

    def listen(self, changed: Callable[[], None]) -> None:
        self.changed = changed

    def handles(self, operation: AdmissionOperation, resource: Resource, subresource: str) -> bool:
        self.asked += 1
        return self.interested

    async def validate(self, request: AdmissionRequest) -> None:
        request.warnings.append("moody")


def test_only_interested_plugins_are_met_in_the_phases_they_have() -> None:
    defaults, moody = Defaults(), Moody()
    chain = AdmissionChain([defaults, moody])
    assert chain.steps("CREATE", PODS, "").mutators == (defaults.mutate,)
    assert chain.steps("CREATE", PODS, "").validators == ()
    for operation, resource, subresource in (("UPDATE", PODS, ""), ("CREATE", CONFIGMAPS, ""), ("CREATE", PODS, "x")):
        steps = chain.steps(operation, resource, subresource)  # type: ignore[arg-type]
        assert steps.mutators == steps.validators == ()


def test_a_change_of_mind_is_heard() -> None:
    moody = Moody()
    chain = AdmissionChain([moody])
    for _ in range(3):
        assert not chain.steps("CREATE", PODS, "").validators
    assert moody.asked == 1
    moody.interested = True
    moody.changed()
    assert chain.steps("CREATE", PODS, "").validators == (moody.validate,)
