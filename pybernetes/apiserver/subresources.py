"""Subresources that write the object itself, in part: their strategies. Pure.

``status`` is in every strategy already; ``scale`` travels as another kind and is written as an ordinary update.
"""

from __future__ import annotations

from pybernetes.api.field import FieldError
from pybernetes.api.kinds.pods import PodStrategy
from pybernetes.api.kinds.strategy import Strategy
from pybernetes.api.meta import Object
from pybernetes.apiserver.interfaces import RequestInfo


class _Part(Strategy):
    """Writes a part of the object whose kind has the strategy `whole`."""

    def __init__(self, whole: Strategy) -> None:
        super().__init__(whole.resource)
        self.whole = whole
        self.has_generation = whole.has_generation
        self.allow_unconditional_update = whole.allow_unconditional_update

    def raises_generation(self, obj: Object, old: Object) -> bool:
        return self.whole.raises_generation(obj, old)

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        return []


class NamespaceFinalize(_Part):
    """``namespaces/finalize``: spec.finalizers, and metadata."""

    has_generation = False

    def prepare_for_update(self, obj: Object, old: Object) -> None:
        if "status" in old:
            obj["status"] = old["status"]
        else:
            obj.pop("status", None)


class Approval(_Part):
    """``certificatesigningrequests/approval``: the conditions of the status, and no more."""

    def prepare_for_update(self, obj: Object, old: Object) -> None:
        conditions = (obj.get("status") or {}).get("conditions")
        obj["spec"] = old.get("spec") or {}
        status = {k: v for k, v in (old.get("status") or {}).items() if k != "conditions"}
        if conditions:
            status["conditions"] = conditions
        obj["status"] = status


class EphemeralContainers(_Part):
    def __init__(self, whole: PodStrategy) -> None:
        super().__init__(whole)
        self._pods = whole

    def prepare_for_update(self, obj: Object, old: Object) -> None:
        self._pods.prepare_for_ephemeral_containers_update(obj, old)

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        return self._pods.validate_ephemeral_containers_update(obj, old)


class Resize(_Part):
    def __init__(self, whole: PodStrategy) -> None:
        super().__init__(whole)
        self._pods = whole

    def prepare_for_update(self, obj: Object, old: Object) -> None:
        self._pods.prepare_for_resize(obj, old)

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        return self._pods.validate_resize(obj, old)


def strategy_for(info: RequestInfo, whole: Strategy) -> Strategy:
    """The strategy of an update of the request's subresource, or of the object itself."""
    match info.subresource:
        case "finalize":
            return NamespaceFinalize(whole)
        case "approval":
            return Approval(whole)
        case "ephemeralcontainers" if isinstance(whole, PodStrategy):
            return EphemeralContainers(whole)
        case "resize" if isinstance(whole, PodStrategy):
            return Resize(whole)
    return whole
