"""Conditions in the form that all kinds share (``metav1.Condition``).

Source of rules and texts: ``k8s.io/apimachinery/pkg/apis/meta/v1/validation``. Pure.
"""

from __future__ import annotations

import re

from pybernetes.api import names
from pybernetes.api.kinds.faults import Faults
from pybernetes.api.meta import Object

_REASON = re.compile(r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?")
_REASON_WRONG = names.regex_error(
    "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric "
    "characters or '_,:', and must end with an alphanumeric character or '_'",
    _REASON.pattern,
    "my_name",
    "MY_NAME",
    "MyName",
    "ReasonA,ReasonB",
    "ReasonA:ReasonB",
)
_STATES = ("False", "True", "Unknown")
_MAX_REASON, _MAX_MESSAGE = 1024, 32 * 1024


def conditions(faults: Faults, path: str, values: list[Object] | None) -> None:
    seen: set[str] = set()
    for i, value in enumerate(values or ()):
        at, kind = f"{path}[{i}]", value.get("type") or ""
        if kind in seen:
            faults.duplicate(f"{at}.type", kind)
        seen.add(kind)
        _condition(faults, at, value)


def _condition(faults: Faults, path: str, value: Object) -> None:
    kind, state, reason = (value.get(k) or "" for k in ("type", "status", "reason"))
    faults.each(f"{path}.type", kind, names.qualified_name(kind))
    if state not in _STATES:
        faults.not_supported(f"{path}.status", state, _STATES)
    if (value.get("observedGeneration") or 0) < 0:
        faults.invalid(
            f"{path}.observedGeneration", value["observedGeneration"], "must be greater than or equal to zero"
        )
    if not value.get("lastTransitionTime"):
        faults.required(f"{path}.lastTransitionTime", "must be set")
    if not reason:
        faults.required(f"{path}.reason", "must be set")
    else:
        if not _REASON.fullmatch(reason):
            faults.invalid(f"{path}.reason", reason, _REASON_WRONG)
        if len(reason) > _MAX_REASON:
            faults.too_long(f"{path}.reason", _MAX_REASON)
    if len(value.get("message") or "") > _MAX_MESSAGE:
        faults.too_long(f"{path}.message", _MAX_MESSAGE)
