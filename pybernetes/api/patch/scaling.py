"""Field managers between an object and its Scale: whoever holds the one's ``spec.replicas`` holds the other's. Pure.

Source: ``k8s.io/apimachinery/pkg/util/managedfields`` (scalehandler.go).
"""

from __future__ import annotations

from typing import Any

from pybernetes.api.meta import Object, metadata
from pybernetes.api.patch import managed
from pybernetes.api.patch.fields import FieldPath, contains, difference, from_paths, union
from pybernetes.api.patch.managed import Entry, Managed, Manager
from pybernetes.api.patch.scope import Scope
from pybernetes.api.schema.nodes import type_of

SCALE = ("autoscaling", "v1", "Scale")
API_VERSION = "autoscaling/v1"
SUBRESOURCE = "scale"
REPLICAS: FieldPath = ("f:spec", "f:replicas")

_REPLICAS_ALONE = from_paths([REPLICAS])


def scale_scope() -> Scope:
    """Of writes to the scale subresource, in terms of the Scale."""
    return Scope(type_of(SCALE), API_VERSION, SUBRESOURCE)


def _in_version(manager: Manager, api_version: str) -> Manager:
    return Manager(manager.name, manager.operation, api_version, manager.subresource)


def managers_of_scale(entries: Any, api_version: str) -> list[Object]:
    """The ``managedFields`` of the Scale of an object in `api_version` that has `entries`."""
    of_scale = Managed()
    for entry in managed.decode(entries).entries.values():
        if entry.manager.api_version == api_version and contains(entry.fields, REPLICAS):
            of_scale.set(_in_version(entry.manager, API_VERSION), _REPLICAS_ALONE, entry.time)
    return managed.encode(of_scale)


def managers_of_parent(entries: Any, scale: Object, api_version: str) -> list[Object]:
    """The ``managedFields`` of an object that had `entries`, after its Scale was written. A manager that is new by way
    of the Scale has no time, as with upstream."""
    left = {
        _in_version(e.manager, api_version).key: e.manager
        for e in managed.decode(metadata(scale).get("managedFields")).entries.values()
        if contains(e.fields, REPLICAS)
    }
    parent = Managed()
    for key, entry in managed.decode(entries).entries.items():
        if entry.manager.api_version != api_version:
            continue  # a version that is no longer served
        if contains(entry.fields, REPLICAS) and left.pop(key, None) is None:
            fields = difference(entry.fields, _REPLICAS_ALONE)
            if fields:
                parent.entries[key] = Entry(entry.manager, fields, entry.time)
        else:
            parent.entries[key] = entry
    for key, manager in left.items():
        known = parent.entries.get(key)
        if known is None:
            parent.set(_in_version(manager, api_version), _REPLICAS_ALONE)
        else:
            parent.set(known.manager, union(known.fields, _REPLICAS_ALONE), known.time)
    return managed.encode(parent)
