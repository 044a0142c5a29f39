"""The list of faults that a validation collects, with one method a kind of fault.

Validators take a `Faults` and a path as plain text and add to it; a path is only spelled out where there is a fault,
so a valid object costs no path building. A `Faults` is private to one validation call.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

from pybernetes.api import field
from pybernetes.api.field import FieldError, Path
from pybernetes.api.kinds.equality import json_equal

NOT_NEGATIVE = "must be greater than or equal to 0"
NOT_POSITIVE = "must be greater than zero"


def in_range(low: int, high: int) -> str:
    return f"must be between {low} and {high}, inclusive"


class Faults(list[FieldError]):
    """Every fault found so far, in the order found."""

    def required(self, path: str, detail: str = "") -> None:
        self.append(field.required(Path(path), detail))

    def invalid(self, path: str, value: Any, detail: str) -> None:
        self.append(field.invalid(Path(path), value, detail))

    def not_supported(self, path: str, value: Any, supported: Iterable[str]) -> None:
        """`supported` is named in the order given: upstream sorts where it keeps a set."""
        self.append(field.not_supported(Path(path), value, supported))

    def duplicate(self, path: str, value: Any, detail: str = "") -> None:
        self.append(replace(field.duplicate(Path(path), value), detail=detail))

    def forbidden(self, path: str, detail: str) -> None:
        self.append(field.forbidden(Path(path), detail))

    def not_found(self, path: str, value: Any, detail: str = "") -> None:
        self.append(replace(field.not_found(Path(path), value), detail=detail))

    def too_long(self, path: str, limit_bytes: int) -> None:
        self.append(field.too_long(Path(path), limit_bytes))

    def too_many(self, path: str, actual: int, limit: int) -> None:
        self.append(field.too_many(Path(path), actual, limit))

    def each(self, path: str, value: Any, messages: Iterable[str]) -> None:
        """One invalid-value fault a message."""
        for message in messages:
            self.append(field.invalid(Path(path), value, message))

    def not_negative(self, path: str, value: int | None) -> None:
        if value is not None and value < 0:
            self.invalid(path, value, NOT_NEGATIVE)

    def one_of(self, path: str, value: str | None, supported: Collection[str]) -> None:
        """A required value out of a few."""
        if not value:
            self.required(path)
        elif value not in supported:
            self.not_supported(path, value, supported)

    def immutable(self, path: str, new: Any, old: Any) -> None:
        if not json_equal(new, old):
            self.invalid(path, new, field.IMMUTABLE)
