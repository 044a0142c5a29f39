"""The pods that benchmarks write: 2 KB as served, of the kind that a Deployment makes. No scheduler looks at them."""

from __future__ import annotations

from typing import Any

import orjson

NAMESPACE = "bench"


def pod(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "labels": {"app": "web", "tier": "front", "pod-template-hash": "6f7d9c8b5d"},
            "annotations": {"example.com/revision": "7", "example.com/owner": "team-a"},
        },
        "spec": {
            "schedulerName": "bench",
            "serviceAccountName": "default",
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 5,
            "containers": [
                {
                    "name": "web",
                    "image": "registry.example/web:1.4.2",
                    "args": ["--listen", "0.0.0.0:8080"],
                    "ports": [{"name": "http", "containerPort": 8080}],
                    "env": [
                        {"name": "MODE", "value": "production"},
                        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                    ],
                    "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
                    "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 5},
                    "volumeMounts": [{"name": "config", "mountPath": "/etc/web"}],
                }
            ],
            "volumes": [{"name": "config", "configMap": {"name": "web"}}],
        },
    }


def status(number: int) -> dict[str, Any]:
    """A status patch as a kubelet sends it."""
    return {
        "status": {
            "phase": "Running",
            "podIP": f"10.244.{number // 250 % 250}.{number % 250 + 1}",
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True" if number % 2 else "False",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }
            ],
        }
    }


def encoded(value: Any) -> bytes:
    return orjson.dumps(value)
