"""On which nodes a daemon's pod belongs, and how the pod is bound to one. Pure.

Source: upstream's ``pkg/controller/daemon`` and the documentation of DaemonSets (tolerations added to every pod).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pybernetes.api.meta import Object, labels_of, name_of
from pybernetes.controllers import pods as podstate
from pybernetes.controllers.tainteviction.plan import tolerates

_TOLERATED: tuple[tuple[str, str], ...] = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)
_NETWORK_UNAVAILABLE = ("node.kubernetes.io/network-unavailable", "NoSchedule")


def tolerations_for(spec: Mapping[str, Any]) -> list[Object]:
    """The pod spec's tolerations with those that every daemon has."""
    tolerations = list(spec.get("tolerations") or ())
    for key, effect in (*_TOLERATED, *((_NETWORK_UNAVAILABLE,) if spec.get("hostNetwork") else ())):
        added = {"key": key, "operator": "Exists", "effect": effect}
        if added not in tolerations:
            tolerations.append(added)
    return tolerations


def _holds(value: str | None, expression: Mapping[str, Any]) -> bool:
    """One requirement of a node selector term on a label's or field's value (None: not there)."""
    values: Sequence[str] = expression.get("values") or []
    match expression.get("operator"):
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt" as operator:
            try:
                mine, bound = int(value or ""), int(values[0])
            except (ValueError, IndexError):
                return False
            return mine > bound if operator == "Gt" else mine < bound
    return False


def _term_matches(term: Mapping[str, Any], node: Object) -> bool:
    expressions = term.get("matchExpressions") or ()
    fields = term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    labels = labels_of(node)
    return all(_holds(labels.get(e["key"]), e) for e in expressions) and all(
        f.get("key") == "metadata.name" and _holds(name_of(node), f) for f in fields
    )


def fits_affinity(spec: Mapping[str, Any], node: Object) -> bool:
    """Node selector and required node affinity."""
    labels = labels_of(node)
    if any(labels.get(k) != v for k, v in (spec.get("nodeSelector") or {}).items()):
        return False
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return True
    return any(_term_matches(t, node) for t in required.get("nodeSelectorTerms") or ())


def _tolerated(tolerations: Sequence[Object], taints: Iterable[Object]) -> bool:
    return all(any(tolerates(t, taint) for t in tolerations) for taint in taints)


def should_run(ds: Object, node: Object) -> tuple[bool, bool]:
    """(whether a pod should run there, whether one that is there may go on)."""
    spec = ds["spec"]["template"].get("spec") or {}
    if spec.get("nodeName") and spec["nodeName"] != name_of(node):
        return False, False
    if not fits_affinity(spec, node):
        return False, False
    tolerations = tolerations_for(spec)
    taints = (node.get("spec") or {}).get("taints") or ()
    hard = [t for t in taints if t.get("effect") in ("NoSchedule", "NoExecute")]
    if _tolerated(tolerations, hard):
        return True, True
    return False, _tolerated(tolerations, [t for t in hard if t.get("effect") == "NoExecute"])


def bind_to(spec: Object, node_name: str) -> None:
    """Makes the (private) pod spec schedulable on that node only."""
    affinity = dict(spec.get("affinity") or {})
    node_affinity = dict(affinity.get("nodeAffinity") or {})
    field = {"key": "metadata.name", "operator": "In", "values": [node_name]}
    node_affinity["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": [{"matchFields": [field]}]}
    affinity["nodeAffinity"] = node_affinity
    spec["affinity"] = affinity


def target_node(pod: Object) -> str:
    """The node that a daemon's pod is on or is bound to by its affinity; empty for none."""
    if podstate.node_name_of(pod):
        return podstate.node_name_of(pod)
    affinity = ((pod.get("spec") or {}).get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in required.get("nodeSelectorTerms") or ():
        for field in term.get("matchFields") or ():
            values: Sequence[str] = field.get("values") or []
            if field.get("key") == "metadata.name" and field.get("operator") == "In" and len(values) == 1:
                return str(values[0])
    return ""
