"""Equality of JSON values. Pure.

To Python ``true == 1 == 1.0``, to JSON they are three values. In fields with a type of their own decoding has settled
that; fields that hold any JSON need a second look wherever Python finds them equal.
"""

from __future__ import annotations

from typing import Any


def same_types(a: Any, b: Any) -> bool:
    """Whether values that are equal to Python are so as JSON."""
    kind = type(a)
    if kind is not type(b):
        return False
    if kind is dict:
        return all(same_types(value, b[key]) for key, value in a.items())
    return kind is not list or all(map(same_types, a, b))


def same_json(a: Any, b: Any) -> bool:
    return bool(a == b) and same_types(a, b)
