"""What remains in a namespace that is going away, and the conditions that say so. Pure.

Source: upstream's ``pkg/controller/namespace/deletion``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from pybernetes.api.meta import Object, clone, metadata
from pybernetes.api.resources import Resource
from pybernetes.api.time import format_time

FINALIZER = "kubernetes"

_FINE = {
    "NamespaceDeletionDiscoveryFailure": ("ResourcesDiscovered", "All resources successfully discovered"),
    "NamespaceDeletionGroupVersionParsingFailure": (
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    ),
    "NamespaceDeletionContentFailure": (
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
    "NamespaceContentRemaining": ("ContentRemoved", "All content successfully removed"),
    "NamespaceFinalizersRemaining": ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
}


@dataclass(slots=True)
class Findings:
    """What one pass over a namespace came to."""

    failures: list[str] = field(default_factory=list)
    """Errors of deletions, as ``failed to …`` texts."""
    remaining: dict[Resource, int] = field(default_factory=dict)
    finalizers: Counter[str] = field(default_factory=Counter)

    def remain(self, resource: Resource, objects: Sequence[Object]) -> None:
        """Notes what is still there after a deletion."""
        if objects:
            self.remaining[resource] = len(objects)
            for obj in objects:
                self.finalizers.update(metadata(obj).get("finalizers") or ())

    @property
    def is_empty(self) -> bool:
        return not self.failures and not self.remaining


def plan_conditions(namespace: Object, findings: Findings, now: float) -> list[Object]:
    """The namespace's conditions; one that stays as it is keeps its time."""
    found: dict[str, tuple[str, str]] = {}
    if findings.failures:
        text = findings.failures[0] if len(findings.failures) == 1 else "[" + ", ".join(findings.failures) + "]"
        found["NamespaceDeletionContentFailure"] = (
            "ContentDeletionFailed",
            f"Failed to delete all resource types, {len(findings.failures)} remaining: {text}",
        )
    if findings.remaining:
        # The core group is empty and the dot stays, as upstream prints it.
        texts = sorted(f"{r.plural}.{r.group} has {n} resource instances" for r, n in findings.remaining.items())
        found["NamespaceContentRemaining"] = (
            "SomeResourcesRemain",
            "Some resources are remaining: " + ", ".join(texts),
        )
    if findings.finalizers:
        texts = sorted(f"{name} in {n} resource instances" for name, n in findings.finalizers.items())
        found["NamespaceFinalizersRemaining"] = (
            "SomeFinalizersRemain",
            "Some content in the namespace has finalizers remaining: " + ", ".join(texts),
        )
    conditions: list[Object] = clone((namespace.get("status") or {}).get("conditions") or [])
    standing = {c.get("type"): c for c in conditions}
    for type_, (fine_reason, fine_message) in _FINE.items():
        status = "True" if type_ in found else "False"
        reason, message = found.get(type_, (fine_reason, fine_message))
        condition = standing.get(type_)
        if condition is None:
            conditions.append({"type": type_, "status": status})
            condition = conditions[-1]
            condition["lastTransitionTime"] = format_time(now)
        elif (condition.get("status"), condition.get("reason"), condition.get("message")) != (status, reason, message):
            if condition.get("status") != status:
                condition["lastTransitionTime"] = format_time(now)
        else:
            continue
        condition |= {"status": status, "reason": reason, "message": message}
    return conditions


def without_finalizer(namespace: Object) -> Object:
    """The namespace as it goes to its finalize subresource."""
    spec = dict(namespace.get("spec") or {})
    spec["finalizers"] = [f for f in spec.get("finalizers") or () if f != FINALIZER]
    return {**namespace, "spec": spec}


def is_finalized(namespace: Object) -> bool:
    return FINALIZER not in ((namespace.get("spec") or {}).get("finalizers") or ())
