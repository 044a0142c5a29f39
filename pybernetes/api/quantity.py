"""Resource quantities (``500m``, ``1.5Gi``, ``1e3``) as upstream's ``k8s.io/apimachinery/pkg/api/resource`` has them.

A `Quantity` is immutable and exact: an integer count of billionths, the finest that the API keeps; finer values are
rounded away from zero when read. Its text is canonical: no fraction, the largest suffix that leaves none.
Parsing is cached (bounded), since clusters repeat few distinct quantities many times.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Format = Literal["DecimalSI", "BinarySI", "DecimalExponent"]

NANO = 10**9
_MAX_BINARY = (2**63 - 1) * NANO
_MAX_EXPONENT = 1000
"""Larger decimal exponents are refused: nobody means them, and their digits would fill the memory."""

_SYNTAX = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?([eEinumkKMGTP]*[-+]?[0-9]*)", re.ASCII)
_EXPONENT = re.compile(r"[eE][+-]?[0-9]+", re.ASCII)
_DECIMAL_EXPONENTS = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_DECIMAL_SUFFIXES = {v: k for k, v in _DECIMAL_EXPONENTS.items()}
_BINARY_EXPONENTS = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_BINARY_SUFFIXES = ("", *_BINARY_EXPONENTS)

FORMAT_WRONG = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
SUFFIX_WRONG = "unable to parse quantity's suffix"


class QuantityError(ValueError):
    """A text that is no quantity, with upstream's message."""


def _divide_up(value: int, by: int) -> int:
    """value / by, rounded away from zero."""
    return -(-value // by) if value >= 0 else -((-value + by - 1) // by)


@dataclass(frozen=True, slots=True, eq=False)
class Quantity:
    """An exact amount. `nano` counts billionths; `format` says which suffixes its text uses.

    Two quantities are equal where their amounts are, whatever their formats.
    """

    nano: int = 0
    format: Format = "DecimalSI"

    @classmethod
    def of(cls, value: int, format_: Format = "DecimalSI") -> Quantity:
        """A whole amount."""
        return cls(value * NANO, format_)

    @classmethod
    def of_milli(cls, value: int, format_: Format = "DecimalSI") -> Quantity:
        """An amount in thousandths."""
        return cls(value * (NANO // 1000), format_)

    @property
    def value(self) -> int:
        """The whole amount, rounded away from zero."""
        return _divide_up(self.nano, NANO)

    @property
    def milli_value(self) -> int:
        """The amount in thousandths, rounded away from zero."""
        return _divide_up(self.nano, NANO // 1000)

    def __str__(self) -> str:
        return _canonical(self.nano, self.format)

    def __float__(self) -> float:
        return self.nano / NANO

    def __bool__(self) -> bool:
        return self.nano != 0

    def __eq__(self, other: object) -> bool:
        return self.nano == other.nano if isinstance(other, Quantity) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.nano)

    def __lt__(self, other: Quantity) -> bool:
        return self.nano < other.nano

    def __le__(self, other: Quantity) -> bool:
        return self.nano <= other.nano

    def __gt__(self, other: Quantity) -> bool:
        return self.nano > other.nano

    def __ge__(self, other: Quantity) -> bool:
        return self.nano >= other.nano

    def __add__(self, other: Quantity) -> Quantity:
        return Quantity(self.nano + other.nano, self.format if self.nano else other.format)

    def __sub__(self, other: Quantity) -> Quantity:
        return Quantity(self.nano - other.nano, self.format if self.nano else other.format)

    def __neg__(self) -> Quantity:
        return Quantity(-self.nano, self.format)


ZERO = Quantity()


def _canonical(nano: int, format_: Format) -> str:
    if nano == 0:
        return "0"
    if format_ == "BinarySI":
        # Under 1024, and where the amount is no whole number, a binary suffix could not show it exactly.
        if -1024 * NANO < nano < 1024 * NANO or nano % NANO:
            format_ = "DecimalSI"
        else:
            amount, power = nano // NANO, 0
            while power < 6 and amount % 1024 == 0:
                amount //= 1024
                power += 1
            return f"{amount}{_BINARY_SUFFIXES[power]}"
    exponent = -9
    if format_ == "DecimalSI":
        while exponent < 18 and nano % 1000 == 0:
            nano //= 1000
            exponent += 3
        return f"{nano}{_DECIMAL_SUFFIXES[exponent]}"
    while nano % 1000 == 0:
        nano //= 1000
        exponent += 3
    return f"{nano}e{exponent}" if exponent else str(nano)


def _scale_to_nano(digits: int, exponent: int) -> int:
    """digits * 10**exponent in billionths; what is finer is rounded away from zero."""
    exponent += 9
    if exponent >= 0:
        return digits * int(10**exponent)
    return _divide_up(digits, int(10 ** min(-exponent, 10 * _MAX_EXPONENT)))


@lru_cache(maxsize=16384)
def parse(text: str) -> Quantity:
    """The quantity that a text names. Raises `QuantityError`."""
    match = _SYNTAX.fullmatch(text)
    if match is None or not text:
        raise QuantityError(FORMAT_WRONG)
    sign, whole, fraction, suffix = match.groups()
    if len(whole) + len(fraction or "") > _MAX_EXPONENT:
        raise QuantityError(FORMAT_WRONG)
    digits = int((whole + (fraction or "")) or "0")
    places = len(fraction or "")
    format_: Format
    if suffix in _DECIMAL_EXPONENTS:
        format_ = "DecimalSI"
        nano = _scale_to_nano(digits, _DECIMAL_EXPONENTS[suffix] - places)
    elif suffix in _BINARY_EXPONENTS:
        format_ = "BinarySI"
        nano = min(_scale_to_nano(digits * 1024 ** _BINARY_EXPONENTS[suffix], -places), _MAX_BINARY)
        if 0 < nano < NANO:
            format_ = "DecimalSI"
    elif _EXPONENT.fullmatch(suffix) and abs(int(suffix[1:])) <= _MAX_EXPONENT:
        format_ = "DecimalExponent"
        nano = _scale_to_nano(digits, int(suffix[1:]) - places)
    else:
        raise QuantityError(SUFFIX_WRONG)
    return Quantity(-nano if sign == "-" else nano, format_)


@lru_cache(maxsize=16384)
def canonical(text: str) -> str:
    """The text in canonical form: ``1000m`` becomes ``1``, ``1024Mi`` becomes ``1Gi``. Raises `QuantityError`."""
    return str(parse(text))
