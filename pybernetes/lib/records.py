"""Small immutable values that are made many times a request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def record(cls: type[T]) -> type[T]:
    """A frozen dataclass with slots to type checkers, and by convention. When it runs it is not frozen: setting each
    field past the class's own guard makes such an object five times as dear."""
    return dataclass(slots=True, unsafe_hash=True)(cls)
