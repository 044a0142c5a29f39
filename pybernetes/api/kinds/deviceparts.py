"""What claims, classes and slices of devices share: names, selectors, configurations, taints and tolerations.

Source of rules and texts: ``pkg/apis/resource/validation``. Expressions are not compiled here. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from typing import Any

from pybernetes.api import names
from pybernetes.api.kinds.faults import Faults
from pybernetes.api.kinds.labels import label_name
from pybernetes.api.kinds.podspec.volumes import csi_driver_name
from pybernetes.api.meta import Object

MAX_SELECTORS = 32
MAX_CONFIGS = 32
MAX_EXPRESSION = 10 * 1024
MAX_PARAMETERS = 10 * 1024
MAX_IDENTIFIER = 32
MAX_POOL_NAME = 253
EFFECTS = ("NoExecute", "NoSchedule", "None")


def items(
    faults: Faults,
    path: str,
    values: list[Any] | None,
    limit: int,
    check: Callable[[Faults, str, Any], None],
    key: str | None = None,
) -> None:
    """Every item of a list of limited length; with `key`, no two of the same ``item[key]`` ('' for the item itself)."""
    values = values or []
    if len(values) > limit:
        faults.too_many(path, len(values), limit)
    seen: set[Any] = set()
    for i, value in enumerate(values):
        at = f"{path}[{i}]"
        check(faults, at, value)
        if key is not None:
            name = value.get(key) or "" if key else value
            if name in seen:
                faults.duplicate(at, name)
            seen.add(name)


def selectors(faults: Faults, path: str, values: list[Object] | None) -> None:
    items(faults, path, values, MAX_SELECTORS, _selector)


def _selector(faults: Faults, path: str, selector: Object) -> None:
    cel = selector.get("cel")
    if cel is None:
        faults.required(f"{path}.cel")
    elif len((cel.get("expression") or "").encode()) > MAX_EXPRESSION:
        faults.too_long(f"{path}.cel.expression", MAX_EXPRESSION)


def configuration(faults: Faults, path: str, config: Object) -> None:
    opaque = config.get("opaque")
    if opaque is None:
        faults.required(f"{path}.opaque")
        return
    csi_driver_name(faults, f"{path}.opaque.driver", opaque.get("driver") or "")
    raw_object(faults, f"{path}.opaque.parameters", opaque.get("parameters"))


def raw_object(faults: Faults, path: str, value: Any) -> None:
    """A RawExtension that is a JSON object."""
    if value is None:
        faults.required(path)
    elif not isinstance(value, dict):
        faults.invalid(path, "<value omitted>", "must be a valid JSON object")
    elif len(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()) > MAX_PARAMETERS:
        faults.too_long(path, MAX_PARAMETERS)


def toleration(faults: Faults, path: str, value: Object) -> None:
    key, operator, text, effect = (value.get(k) or "" for k in ("key", "operator", "value", "effect"))
    if key:
        label_name(faults, f"{path}.key", key)
    if operator == "Exists":
        if text:
            faults.invalid(f"{path}.value", text, "must be empty for operator `Exists`")
    elif operator == "Equal":
        faults.each(f"{path}.value", text, names.label_value(text))
        if not key:
            faults.invalid(f"{path}.operator", operator, "must be `Exists` when `key` is empty")
    elif operator:
        faults.not_supported(f"{path}.operator", operator, ("Equal", "Exists"))
    else:
        faults.required(f"{path}.operator")
    if effect and effect not in EFFECTS:
        faults.not_supported(f"{path}.effect", effect, EFFECTS)


def taint(faults: Faults, path: str, value: Object) -> None:
    label_name(faults, f"{path}.key", value.get("key") or "")
    if text := value.get("value"):
        faults.each(f"{path}.value", text, names.label_value(text))
    faults.one_of(f"{path}.effect", value.get("effect"), EFFECTS)


def pool_name(faults: Faults, path: str, name: str) -> None:
    if not name:
        faults.required(path)
        return
    if len(name) > MAX_POOL_NAME:
        faults.too_long(path, MAX_POOL_NAME)
    for part in name.split("/"):
        faults.each(path, part, names.dns_subdomain(part))


def qualified_name(faults: Faults, path: str, name: str, *, fully: bool = False) -> None:
    """``model`` or ``dra.example.com/model``: an identifier with a domain before it, or (unless `fully`) without."""
    if not name:
        faults.required(path, "name required")
        return
    domain, slash, identifier = name.rpartition("/")
    if not slash:
        _identifier(faults, path, name)
        if fully:
            faults.invalid(path, name, "must include a domain")
        return
    if not domain:
        faults.required(path, "the domain must not be empty")
    else:
        csi_driver_name(faults, path, domain)
    if not identifier:
        faults.required(path, "the name must not be empty")
    else:
        _identifier(faults, path, identifier)


def _identifier(faults: Faults, path: str, name: str) -> None:
    if len(name) > MAX_IDENTIFIER:
        faults.too_long(path, MAX_IDENTIFIER)
    faults.each(path, name, names.c_identifier(name))


def request_reference(faults: Faults, path: str, name: str, known: Collection[str]) -> None:
    """``request`` or ``request/subrequest``, as `known` has them."""
    if name not in known:
        faults.invalid(
            path,
            name,
            "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'",
        )
