"""Quantities: ``quantity("1.5Gi").isGreaterThan(quantity("1G"))``. A value is its exact amount in billionths."""

from __future__ import annotations

from typing import Any

from pybernetes.api.cel.libraries import Declarer
from pybernetes.api.cel.messages import Types
from pybernetes.api.quantity import NANO, QuantityError, parse

_INT64 = 2**63


def declare(d: Declarer, types: Types) -> None:
    quantity, string, boolean, integer, double = (
        d.message("kubernetes.Quantity"), d.type.STRING, d.type.BOOL, d.type.INT, d.type.DOUBLE,
    )  # fmt: skip

    def make(nano: int) -> Any:
        return types.new("kubernetes.Quantity", nano=str(nano))

    def parsed(text: str) -> Any:
        return make(parse(text).nano)

    d.add("quantity", [string], quantity, parsed, member=False)
    d.add("isQuantity", [string], boolean, _is_quantity, member=False)
    d.add("sign", [quantity], integer, lambda q: (nano(q) > 0) - (nano(q) < 0))
    d.add("isInteger", [quantity], boolean, _is_integer)
    d.add("asInteger", [quantity], integer, _as_integer)
    d.add("asApproximateFloat", [quantity], double, lambda q: nano(q) / NANO)
    d.add("isLessThan", [quantity, quantity], boolean, lambda a, b: nano(a) < nano(b))
    d.add("isGreaterThan", [quantity, quantity], boolean, lambda a, b: nano(a) > nano(b))
    d.add("compareTo", [quantity, quantity], integer, lambda a, b: (nano(a) > nano(b)) - (nano(a) < nano(b)))
    d.add("add", [quantity, quantity], quantity, lambda a, b: make(nano(a) + nano(b)))
    d.add("add", [quantity, integer], quantity, lambda a, n: make(nano(a) + n * NANO))
    d.add("sub", [quantity, quantity], quantity, lambda a, b: make(nano(a) - nano(b)))
    d.add("sub", [quantity, integer], quantity, lambda a, n: make(nano(a) - n * NANO))


def nano(quantity: Any) -> int:
    return int(quantity.nano)


def _is_quantity(text: str) -> bool:
    try:
        parse(text)
    except QuantityError:
        return False
    return True


def _is_integer(quantity: Any) -> bool:
    value, rest = divmod(nano(quantity), NANO)
    return rest == 0 and -_INT64 <= value < _INT64


def _as_integer(quantity: Any) -> int:
    if not _is_integer(quantity):
        raise ValueError("cannot convert value to integer")
    return nano(quantity) // NANO
