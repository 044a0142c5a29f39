"""Equality of JSON values, and numbers that Python cannot hold. Pure.

To Python ``true == 1 == 1.0``, to JSON they are three values. In fields with a type of their own decoding has settled
that; fields that hold any JSON need a second look wherever Python finds them equal.
"""

from __future__ import annotations

import math
from typing import Any

import orjson


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


def has_infinity(value: Any) -> bool:
    """Whether there is a number beyond a float's range (1e400) in a parsed text. Those turn into null where they are
    written, so values without any null, most of all, need no walk."""
    return type(value) in (dict, list, float) and b"null" in orjson.dumps(value) and not _is_finite(value)


def _is_finite(value: Any) -> bool:
    if type(value) is dict:
        return all(map(_is_finite, value.values()))
    if type(value) is list:
        return all(map(_is_finite, value))
    return type(value) is not float or math.isfinite(value)
