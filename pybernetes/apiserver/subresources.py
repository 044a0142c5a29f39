"""Subresources that write the object itself, in part: their strategies. Pure.

``status`` is in every strategy already; ``scale`` travels as another kind and is written as an ordinary update.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from pybernetes.api.field import FieldError
from pybernetes.api.kinds.strategy import Strategy
from pybernetes.api.meta import Object
from pybernetes.api.resources import CERTIFICATESIGNINGREQUESTS, PERSISTENTVOLUMES, PODS
from pybernetes.api.time import format_time
from pybernetes.apiserver.interfaces import RequestInfo
from pybernetes.lib.clock import Clock

if TYPE_CHECKING:
    # Kinds load when they are first asked for.
    from pybernetes.api.kinds.certificates import CertificateSigningRequestStrategy
    from pybernetes.api.kinds.cluster import NamespaceStrategy
    from pybernetes.api.kinds.persistentvolumes import PersistentVolumeStrategy
    from pybernetes.api.kinds.pods import PodStrategy


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

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        return cast("NamespaceStrategy", self.whole).validate_finalize_update(obj, old)

    def prepare_for_update(self, obj: Object, old: Object) -> None:
        if "status" in old:
            obj["status"] = old["status"]
        else:
            obj.pop("status", None)


def stamp_conditions(obj: Object, old: Object, now: float) -> None:
    """Gives a certificate signing request's conditions the times that they come without: now, or for the transition
    that of the condition of that type that was in the same state already."""
    time = format_time(now)
    before = {c.get("type"): c for c in (old.get("status") or {}).get("conditions") or ()}
    for condition in (obj.get("status") or {}).get("conditions") or ():
        if not condition.get("lastUpdateTime"):
            condition["lastUpdateTime"] = time
        if not condition.get("lastTransitionTime"):
            same = before.get(condition.get("type"), {})
            kept = same.get("lastTransitionTime") if same.get("status") == condition.get("status") else None
            condition["lastTransitionTime"] = kept or time


class Approval(_Part):
    """``certificatesigningrequests/approval``: the conditions of the status, and no more."""

    def __init__(self, whole: Strategy, now: float) -> None:
        super().__init__(whole)
        self._now = now

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        return cast("CertificateSigningRequestStrategy", self.whole).validate_approval_update(obj, old)

    def prepare_for_update(self, obj: Object, old: Object) -> None:
        conditions = (obj.get("status") or {}).get("conditions")
        obj["spec"] = old.get("spec") or {}
        status = {k: v for k, v in (old.get("status") or {}).items() if k != "conditions"}
        if conditions:
            status["conditions"] = conditions
        obj["status"] = status
        stamp_conditions(obj, old, self._now)


class _StampedStatus(_Part):
    """A status with times that the server fills in."""

    def __init__(self, whole: Strategy, now: float) -> None:
        super().__init__(whole)
        self._now = now

    def validate_status_update(self, obj: Object, old: Object) -> list[FieldError]:
        return self.whole.validate_status_update(obj, old)


class CertificateStatus(_StampedStatus):
    """``certificatesigningrequests/status``: conditions get the times that they come without."""

    def prepare_for_status_update(self, obj: Object, old: Object) -> None:
        self.whole.prepare_for_status_update(obj, old)
        stamp_conditions(obj, old, self._now)


class VolumeStatus(_StampedStatus):
    """``persistentvolumes/status``: when the phase changed last."""

    def prepare_for_status_update(self, obj: Object, old: Object) -> None:
        self.whole.prepare_for_status_update(obj, old)
        cast("PersistentVolumeStrategy", self.whole).stamp_phase(obj, old, format_time(self._now))


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


def strategy_for(info: RequestInfo, whole: Strategy, clock: Clock) -> Strategy:
    """The strategy of an update of the request's subresource, or of the object itself."""
    match info.subresource:
        case "finalize":
            return NamespaceFinalize(whole)
        case "approval":
            return Approval(whole, clock.now())
        case "status" if whole.resource == CERTIFICATESIGNINGREQUESTS:
            return CertificateStatus(whole, clock.now())
        case "status" if whole.resource == PERSISTENTVOLUMES:
            return VolumeStatus(whole, clock.now())
        case "ephemeralcontainers" if whole.resource == PODS:
            return EphemeralContainers(cast("PodStrategy", whole))
        case "resize" if whole.resource == PODS:
            return Resize(cast("PodStrategy", whole))
    return whole
