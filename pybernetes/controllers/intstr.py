"""Whole numbers or percentages (``IntOrString``), resolved. Pure."""

from __future__ import annotations

import math


def scaled(value: int | str | None, total: int, *, round_up: bool) -> int:
    """`value` itself, or that percentage of `total`. None is 0. Raises ValueError for anything else."""
    if value is None:
        return 0
    if isinstance(value, int):
        return value
    if not value.endswith("%"):
        raise ValueError(f"invalid value for IntOrString: invalid type: string is not a percentage: {value!r}")
    percent = int(value[:-1])
    return math.ceil(percent * total / 100) if round_up else percent * total // 100
