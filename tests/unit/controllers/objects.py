"""Objects as the API server would hold them, for tests of plans."""

from __future__ import annotations

from typing import Any

from pybernetes.api.meta import Object
from pybernetes.api.time import format_time

NOW = 1_700_000_000.0


def owner_ref(kind: str, name: str, uid: str, api_version: str = "apps/v1") -> Object:
    return {
        "apiVersion": api_version,
        "kind": kind,
        "name": name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def pod(
    name: str,
    *,
    phase: str = "Running",
    ready: bool = True,
    ready_at: float | None = None,
    created: float = NOW - 1000,
    node: str = "n1",
    ip: str = "",
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    owner: Object | None = None,
    restarts: int = 0,
    deleting: bool = False,
    **spec: Any,
) -> Object:
    meta: Object = {
        "name": name,
        "namespace": "default",
        "uid": f"uid-{name}",
        "resourceVersion": "1",
        "creationTimestamp": format_time(created),
        "labels": labels if labels is not None else {"app": "web"},
    }
    if annotations:
        meta["annotations"] = annotations
    if owner:
        meta["ownerReferences"] = [owner]
    if deleting:
        meta["deletionTimestamp"] = format_time(NOW)
    status: Object = {"phase": phase}
    if ready_at is not None or ready:
        status["conditions"] = [
            {
                "type": "Ready",
                "status": "True" if ready else "False",
                "lastTransitionTime": format_time(ready_at if ready_at is not None else created + 1),
            }
        ]
    if restarts:
        status["containerStatuses"] = [{"name": "c", "restartCount": restarts}]
    if ip:
        status["podIP"] = ip
        status["podIPs"] = [{"ip": ip}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": meta,
        "spec": {**({"nodeName": node} if node else {}), **spec},
        "status": status,
    }


def replica_set(name: str = "web", replicas: int = 3, **spec: Any) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}", "generation": 1},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c"}]}},
            **spec,
        },
        "status": {"replicas": 0},
    }
