"""What controllers read off a pod: active, ready, available; and the pod that a template makes. Pure.

Source of the rules: ``k8s.io/kubernetes/pkg/controller/controller_utils.go`` and ``pkg/api/v1/pod``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pybernetes.api.meta import Object, clone, controller_of, get_condition, is_deleting, metadata, namespace_of
from pybernetes.api.time import parse_time

TERMINAL_PHASES = ("Succeeded", "Failed")
CONTROLLER_INDEX = "controllers/controller"
NODE_INDEX = "controllers/node"


def by_controller(obj: Object) -> Iterable[str]:
    """Index under the controller's uid; without a controller under ``orphans/`` and the namespace."""
    ref = controller_of(obj)
    return (ref["uid"] if ref else f"orphans/{namespace_of(obj)}",)


def owners_part(obj: Object) -> Any:
    """What `by_controller` looks at."""
    return obj["metadata"].get("ownerReferences")


def spec_part(obj: Object) -> Any:
    return obj.get("spec")


def by_node(pod: Object) -> Iterable[str]:
    """Index under the node's name, empty while unassigned."""
    return (node_name_of(pod),)


def phase_of(pod: Mapping[str, Any]) -> str:
    return str((pod.get("status") or {}).get("phase") or "")


def node_name_of(pod: Mapping[str, Any]) -> str:
    return str((pod.get("spec") or {}).get("nodeName") or "")


def is_terminal(pod: Mapping[str, Any]) -> bool:
    """Succeeded or Failed: it will never run again."""
    return (pod.get("status") or {}).get("phase") in TERMINAL_PHASES


def is_active(pod: Mapping[str, Any]) -> bool:
    """Neither finished nor going away: it counts towards its controller's replicas."""
    return not is_terminal(pod) and not is_deleting(pod)


def is_terminating(pod: Mapping[str, Any]) -> bool:
    """Going away but not finished yet."""
    return not is_terminal(pod) and is_deleting(pod)


def ready_since(pod: Mapping[str, Any]) -> float | None:
    """When the pod became ready (epoch seconds; 0 where nobody wrote it down), None while it is not."""
    condition = get_condition(pod, "Ready")
    if condition is None or condition.get("status") != "True":
        return None
    since = condition.get("lastTransitionTime")
    return parse_time(since) if since else 0.0


def is_ready(pod: Mapping[str, Any]) -> bool:
    condition = get_condition(pod, "Ready")
    return condition is not None and condition.get("status") == "True"


def available_at(pod: Mapping[str, Any], min_ready_seconds: int) -> float | None:
    """When the pod is (or was) ready for `min_ready_seconds`, None while it is not ready."""
    since = ready_since(pod)
    if since is None:
        return None
    if min_ready_seconds and not since:
        return None
    return since + min_ready_seconds


def is_available(pod: Mapping[str, Any], min_ready_seconds: int, now: float) -> bool:
    at = available_at(pod, min_ready_seconds)
    return at is not None and (min_ready_seconds == 0 or at <= now)


def from_template(template: Mapping[str, Any] | None, owner_ref: Object | None, namespace: str) -> Object:
    """A new pod: the template's labels, annotations, finalizers and spec, nameless and owned."""
    template = template or {}
    meta: Object = {"namespace": namespace}
    for field in ("labels", "annotations", "finalizers"):
        if value := metadata(template).get(field):
            meta[field] = clone(value)
    if owner_ref is not None:
        meta["ownerReferences"] = [owner_ref]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": clone(template.get("spec") or {})}
