"""Objects as plain dictionaries, and how to read their metadata.

An API object is the decoded JSON: ``dict[str, Any]``. Objects that come from a cache are shared by
everybody and are never mutated: `clone` one before changing it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

Object = dict[str, Any]
"""A decoded Kubernetes object. Shared ones (from caches and watches) are read-only by convention."""


def clone(value: Any) -> Any:
    """Deep copy of decoded JSON, by way of its text: a third of the time that walking it takes."""
    if not isinstance(value, (dict, list)):
        return value
    try:
        return orjson.loads(orjson.dumps(value))
    except orjson.JSONEncodeError:
        # What JSON's text cannot carry this way: integers beyond 64 bits in somebody's free-form field.
        return _walk(value)


def copier(value: Object) -> Callable[[], Object]:
    """Makes copies of the value as it is now: cheap where most likely none is asked for."""
    try:
        text = orjson.dumps(value)
    except orjson.JSONEncodeError:
        kept = _walk(value)
        return lambda: clone(kept)
    return lambda: orjson.loads(text)


def _walk(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _walk(v) for k, v in value.items()}
    return [_walk(v) for v in value] if isinstance(value, list) else value


def metadata(obj: Mapping[str, Any]) -> Object:
    """The object's metadata, empty where it has none."""
    return obj.get("metadata") or {}


# These are asked for dozens of times a request: they do not call each other.


def name_of(obj: Mapping[str, Any]) -> str:
    return str((obj.get("metadata") or {}).get("name") or "")


def namespace_of(obj: Mapping[str, Any]) -> str:
    return str((obj.get("metadata") or {}).get("namespace") or "")


def uid_of(obj: Mapping[str, Any]) -> str:
    return str((obj.get("metadata") or {}).get("uid") or "")


def labels_of(obj: Mapping[str, Any]) -> dict[str, str]:
    return (obj.get("metadata") or {}).get("labels") or {}


def annotations_of(obj: Mapping[str, Any]) -> dict[str, str]:
    return (obj.get("metadata") or {}).get("annotations") or {}


def resource_version_of(obj: Mapping[str, Any]) -> str:
    return str((obj.get("metadata") or {}).get("resourceVersion") or "")


def key_of(obj: Mapping[str, Any]) -> str:
    """``namespace/name``, or ``name`` for a cluster-scoped object: the key of work queues and caches."""
    meta = obj.get("metadata") or {}
    ns, name = meta.get("namespace"), meta.get("name") or ""
    return f"{ns}/{name}" if ns else str(name)


def split_key(key: str) -> tuple[str, str]:
    """``(namespace, name)`` of a key made by `key_of`."""
    ns, sep, name = key.partition("/")
    return (ns, name) if sep else ("", ns)


def is_deleting(obj: Mapping[str, Any]) -> bool:
    return bool((obj.get("metadata") or {}).get("deletionTimestamp"))


def controller_of(obj: Mapping[str, Any]) -> Object | None:
    """The owner reference with ``controller: true``, or None."""
    for ref in (obj.get("metadata") or {}).get("ownerReferences") or ():
        if ref.get("controller"):
            return ref  # type: ignore[no-any-return]
    return None


def is_controlled_by(obj: Mapping[str, Any], owner: Mapping[str, Any]) -> bool:
    ref = controller_of(obj)
    return ref is not None and ref.get("uid") == uid_of(owner)


def new_controller_ref(owner: Mapping[str, Any], api_version: str, kind: str) -> Object:
    """An owner reference as upstream's ``metav1.NewControllerRef`` makes it."""
    return {
        "apiVersion": api_version,
        "kind": kind,
        "name": name_of(owner),
        "uid": uid_of(owner),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def object_reference(obj: Mapping[str, Any], api_version: str, kind: str) -> Object:
    """A core/v1 ObjectReference to the object, as events carry it."""
    ref: Object = {"apiVersion": api_version, "kind": kind, "name": name_of(obj)}
    meta = metadata(obj)
    for field in ("namespace", "uid", "resourceVersion"):
        if meta.get(field):
            ref[field] = meta[field]
    return ref


def get_condition(obj: Mapping[str, Any], type_: str) -> Object | None:
    """The condition of that type in ``status.conditions``, or None."""
    for condition in (obj.get("status") or {}).get("conditions") or ():
        if condition.get("type") == type_:
            return condition  # type: ignore[no-any-return]
    return None


def is_condition_true(obj: Mapping[str, Any], type_: str) -> bool:
    condition = get_condition(obj, type_)
    return condition is not None and condition.get("status") == "True"
