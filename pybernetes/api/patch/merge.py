"""JSON Merge Patch (RFC 7386): objects merge member by member, null deletes, all else replaces."""

from __future__ import annotations

from typing import Any

from pybernetes.api.errors import BadRequest
from pybernetes.api.meta import Object, clone

_GO_KINDS = {str: "string", bool: "bool", int: "number", float: "number", list: "array"}


def _without_nulls(value: Any) -> Any:
    """What a patch says about a place where nothing is yet."""
    if isinstance(value, dict):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    return clone(value)


def _merge(live: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    target = dict(live)
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict) and isinstance(target.get(key), dict):
            target[key] = _merge(target[key], value)
        else:
            target[key] = _without_nulls(value)
    return target


BAD_PATCH = "Invalid JSON Patch"


def apply(obj: Object, patch: Any, *, strict: bool = True) -> Object:
    """The object with the patch merged in, a new one that shares what stays. Raises `BadRequest` for a patch that is
    no object; `strict` where upstream would have read it once more before."""
    if patch is None or (not strict and not isinstance(patch, dict)):
        raise BadRequest(BAD_PATCH)
    if not isinstance(patch, dict):
        raise BadRequest(
            f"error decoding patch: json: cannot unmarshal {_GO_KINDS[type(patch)]} "
            "into Go value of type map[string]interface {}"
        )
    return _merge(obj, patch)
