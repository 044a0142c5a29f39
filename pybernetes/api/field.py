"""Field paths and field errors, worded as upstream's ``k8s.io/apimachinery/pkg/util/validation/field``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_NO_VALUE = object()
OMITTED: Any = _NO_VALUE
"""For a fault whose message names no value: upstream's OmitValueType."""


@dataclass(frozen=True, slots=True)
class Path:
    """A path into an object: ``Path("spec").child("containers").index(0).child("name")``."""

    text: str = ""

    def child(self, *names: str) -> Path:
        tail = ".".join(names)
        return Path(f"{self.text}.{tail}" if self.text else tail)

    def index(self, i: int) -> Path:
        return Path(f"{self.text}[{i}]")

    def key(self, key: str) -> Path:
        return Path(f"{self.text}[{key}]")

    def __str__(self) -> str:
        return self.text or "<nil>"


@dataclass(frozen=True, slots=True)
class FieldError:
    """One fault of one field. `type` is the cause's reason, such as ``FieldValueRequired``."""

    type: str
    label: str
    field: str
    value: Any
    detail: str

    def body(self) -> str:
        """The cause's message: the error without its path."""
        text = self.label
        if self.value is not _NO_VALUE:
            text += f": {_show(self.value)}"
        return f"{text}: {self.detail}" if self.detail else text

    def __str__(self) -> str:
        return f"{self.field}: {self.body()}"


def _show(value: Any) -> str:
    """A value as Go's error texts show it: strings quoted, objects as JSON, nil as null."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if value is None:
        return '"null"'  # upstream prints a nil pointer as the string, quotes and all
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return str(value)


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


def required(path: Path, detail: str = "") -> FieldError:
    return FieldError("FieldValueRequired", "Required value", str(path), _NO_VALUE, detail)


def invalid(path: Path, value: Any, detail: str) -> FieldError:
    return FieldError("FieldValueInvalid", "Invalid value", str(path), value, detail)


def not_supported(path: Path, value: Any, supported: Iterable[str]) -> FieldError:
    names = ", ".join(json.dumps(s) for s in supported)
    return FieldError(
        "FieldValueNotSupported", "Unsupported value", str(path), value, f"supported values: {names}" if names else ""
    )


def duplicate(path: Path, value: Any) -> FieldError:
    return FieldError("FieldValueDuplicate", "Duplicate value", str(path), value, "")


def forbidden(path: Path, detail: str) -> FieldError:
    return FieldError("FieldValueForbidden", "Forbidden", str(path), _NO_VALUE, detail)


def not_found(path: Path, value: Any) -> FieldError:
    return FieldError("FieldValueNotFound", "Not found", str(path), value, "")


def too_long(path: Path, limit: int) -> FieldError:
    """A string over its limit of bytes; upstream does not repeat the value."""
    return FieldError(
        "FieldValueTooLong", "Too long", str(path), _NO_VALUE, f"may not be more than {_count(limit, 'byte')}"
    )


def too_many(path: Path, actual: int, limit: int) -> FieldError:
    return FieldError("FieldValueTooMany", "Too many", str(path), actual, f"must have at most {_count(limit, 'item')}")


def type_invalid(path: Path, value: Any, detail: str) -> FieldError:
    return FieldError("FieldValueTypeInvalid", "Invalid value", str(path), value, detail)


IMMUTABLE = "field is immutable"
