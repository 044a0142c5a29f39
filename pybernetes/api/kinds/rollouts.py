"""Numbers and percentages of rollouts: their validation, shared by workloads and disruption budgets."""

from __future__ import annotations

from pybernetes.api import names
from pybernetes.api.intstr import IntOrString
from pybernetes.api.kinds.faults import Faults


def int_or_percent(faults: Faults, path: str, value: IntOrString | None) -> None:
    """A number that is not negative, or a percentage."""
    if isinstance(value, str):
        faults.each(path, value, names.percent(value))
    else:
        faults.not_negative(path, value)


def at_most_all(faults: Faults, path: str, value: IntOrString | None) -> None:
    """A percentage of at most 100."""
    if isinstance(value, str) and not names.percent(value) and int(value[:-1]) > 100:
        faults.invalid(path, value, "must not be greater than 100%")


def is_zero(value: IntOrString | None) -> bool:
    if isinstance(value, str):
        return not names.percent(value) and int(value[:-1]) == 0
    return not value
