"""Field managers, for tests: writes as the registry notes them, and what a manager then holds."""

from __future__ import annotations

from typing import Any

from pybernetes.api.patch import tracking
from pybernetes.api.patch.scope import scope_of
from pybernetes.api.resources import Resource


def written(
    old: Any, new: Any, resource: Resource, manager: str = "me", *, now: float, subresource: str = ""
) -> dict[str, Any]:
    """`new` as it is stored after `manager` wrote it over `old` (None: created it)."""
    scope = scope_of(resource, subresource)
    if old is None:
        noted = tracking.managers_of_new(new, scope, manager, now)
    else:
        noted = tracking.managers_of_changed(old, new, scope, manager, now)
    meta = {k: v for k, v in new["metadata"].items() if k != "managedFields"}
    if noted:
        meta["managedFields"] = noted
    return {**new, "metadata": meta}


def owned(obj: Any, manager: str, operation: str = "Apply") -> Any:
    """The fields of one manager, None where it holds nothing."""
    found = [
        e for e in obj["metadata"].get("managedFields", ()) if (e["manager"], e["operation"]) == (manager, operation)
    ]
    assert len(found) <= 1
    return found[0]["fieldsV1"] if found else None
