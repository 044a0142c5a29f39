"""Quantities as objects carry them: strings, or JSON numbers from careless clients.

Amounts are counted in billionths (`quantity.NANO` of them make one), so they compare, add and divide as integers.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pybernetes.api import quantity
from pybernetes.api.meta import Object

_MILLI = quantity.NANO // 1000


_KNOWN_MAX = 8192


@lru_cache(maxsize=_KNOWN_MAX)
def _known_amount(text: str) -> int | None:
    try:
        return quantity.parse(text).nano
    except quantity.QuantityError:
        return None


@lru_cache(maxsize=_KNOWN_MAX)
def _known_thousandths(text: str) -> str:
    """Canonical, rounded up to thousandths; what is no quantity as it is."""
    try:
        parsed = quantity.parse(text)
    except quantity.QuantityError:
        return text
    if parsed.nano % _MILLI:
        parsed = quantity.Quantity(-(-parsed.nano // _MILLI) * _MILLI, parsed.format)
    return str(parsed)


def _parse(value: object) -> quantity.Quantity | None:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        return quantity.parse(value if isinstance(value, str) else str(value))
    except quantity.QuantityError:
        return None


def amount(value: object) -> int | None:
    """The amount in billionths, None where the value is no quantity."""
    if type(value) is str:
        return _known_amount(value)
    parsed = _parse(value)
    return None if parsed is None else parsed.nano


def quantity_fault() -> str:
    return quantity.FORMAT_WRONG


def show(value: object) -> str:
    """The canonical text, as messages print it."""
    parsed = _parse(value)
    return str(value) if parsed is None else str(parsed)


def canonical(value: Any) -> Any:
    """The canonical text; what is no quantity stays as it is, for validation to name."""
    parsed = _parse(value)
    return value if parsed is None else str(parsed)


def canonical_list(values: Object) -> Object:
    """A ResourceList in canonical form, each value rounded up to thousandths, which is the finest the API keeps."""
    return {
        name: value
        if isinstance(value, bool) or not isinstance(value, (str, int, float))
        else _known_thousandths(str(value))
        for name, value in values.items()
    }


def format_like(nano: int, model: object) -> str:
    """An amount in the format (binary or decimal) of another quantity's text."""
    parsed = _parse(model)
    return str(quantity.Quantity(nano, parsed.format if parsed is not None else "DecimalSI"))
