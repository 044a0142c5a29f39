"""Leases. Source of rules and texts: ``pkg/apis/coordination/validation``."""

from __future__ import annotations

from pybernetes.api import names
from pybernetes.api.field import FieldError
from pybernetes.api.kinds.faults import NOT_NEGATIVE, Faults
from pybernetes.api.kinds.strategy import Strategy
from pybernetes.api.meta import Object

_STRATEGIES = ("OldestEmulationVersion",)


class LeaseStrategy(Strategy):
    allow_unconditional_update = False
    allow_create_on_update = True

    def default(self, obj: Object) -> None:
        obj.setdefault("spec", {})

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        spec = obj.get("spec") or {}
        seconds = spec.get("leaseDurationSeconds")
        if seconds is not None and seconds <= 0:
            faults.invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0")
        transitions = spec.get("leaseTransitions")
        if transitions is not None and transitions < 0:
            faults.invalid("spec.leaseTransitions", transitions, NOT_NEGATIVE)
        # Upstream names the field twice in paths of its faults.
        strategy = spec.get("strategy")
        if strategy is not None and "/" not in strategy and strategy not in _STRATEGIES:
            faults.not_supported("spec.strategy.strategy", strategy, _STRATEGIES)
        elif strategy is not None:
            faults.each("spec.strategy.strategy", strategy, names.qualified_name(strategy))
        if spec.get("preferredHolder") and not strategy:
            faults.forbidden("spec.preferredHolder", "may only be specified if `strategy` is defined")
        return faults
