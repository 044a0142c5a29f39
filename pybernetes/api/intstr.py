"""A number or a percentage (``IntOrString``): how much it is of a total.

Source: ``k8s.io/apimachinery/pkg/util/intstr``.
"""

from __future__ import annotations

import re

IntOrString = int | str

_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)


class IntOrStringError(ValueError):
    """A value that is neither a number nor a percentage, with upstream's message."""


def is_percent(value: IntOrString) -> bool:
    return isinstance(value, str) and value.endswith("%") and _INTEGER.fullmatch(value[:-1]) is not None


def scaled_value(value: IntOrString, total: int, *, round_up: bool) -> int:
    """The number itself, or that percentage of the total, rounded up or down. Raises `IntOrStringError`."""
    if isinstance(value, int):
        return value
    if not value.endswith("%"):
        raise IntOrStringError("invalid value for IntOrString: invalid type: string is not a percentage")
    number = value[:-1]
    if not _INTEGER.fullmatch(number):
        raise IntOrStringError(
            f'invalid value for IntOrString: invalid value "{value}": strconv.Atoi: parsing "{number}": invalid syntax'
        )
    product = int(number) * total
    return -(-product // 100) if round_up else product // 100
