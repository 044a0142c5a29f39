"""Bodies in protobuf: what an encoder writes from an object, the decoder reads back."""

from __future__ import annotations

from typing import Any

import pytest

from pybernetes.api import protobuf, resources
from pybernetes.api.errors import BadRequest
from tests.support.protobuf import encode, message

DEPLOYMENT: dict[str, Any] = {
    "kind": "Deployment",
    "apiVersion": "apps/v1",
    "metadata": {"name": "d", "labels": {"a": "b"}, "creationTimestamp": None},
    "spec": {
        "replicas": 0,
        "selector": {"matchLabels": {"a": "b"}},
        "template": {
            "metadata": {"creationTimestamp": None},
            "spec": {
                "automountServiceAccountToken": False,
                "containers": [
                    {
                        "name": "c",
                        "image": "i",
                        "command": ["a", "b"],
                        "env": [
                            {"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": False}}}
                        ],
                        "ports": [{"containerPort": 80}],
                        "readinessProbe": {"httpGet": {"path": "/", "port": "web"}, "periodSeconds": 3},
                        "livenessProbe": {"tcpSocket": {"port": 8080}},
                        "resources": {"requests": {"cpu": "100m"}},
                    }
                ],
                "volumes": [
                    {"name": "v", "emptyDir": {}},
                    {"name": "w", "configMap": {"name": "m", "defaultMode": 420}},
                ],
            },
        },
        "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 1}},
    },
    "status": {},
}
SECRET = {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "s"}, "data": {"k": "dg=="}, "immutable": True}
EVENT = {
    "kind": "Event",
    "apiVersion": "v1",
    "metadata": {"name": "e", "creationTimestamp": "2026-01-02T03:04:05Z"},
    "eventTime": "2026-01-02T03:04:05.500000Z",
    "count": 3,
}
REVIEW = {
    "kind": "SubjectAccessReview",
    "apiVersion": "authorization.k8s.io/v1",
    "spec": {"user": "u", "groups": ["g"], "extra": {"k": ["x", "y"]}, "resourceAttributes": {"verb": "get"}},
}
LEASE = {
    "kind": "Lease",
    "apiVersion": "coordination.k8s.io/v1",
    "metadata": {"name": "l"},
    "spec": {
        "holderIdentity": "",
        "leaseTransitions": 0,
        "acquireTime": "0001-01-01T00:00:02.000000Z",
        "renewTime": "2026-01-02T03:04:05.000007Z",
    },
}
_SCHEMA = {
    "type": "object",
    "required": ["a"],
    "properties": {
        "a": {"type": "integer", "minimum": 0, "default": 3, "enum": [3, "x"], "x-kubernetes-int-or-string": True},
        "b": {"type": "array", "items": {"type": "string"}},
        "c": {"type": "object", "additionalProperties": True},
        "d": {"type": "object", "additionalProperties": {"type": "number", "maximum": 0.5}},
        "e": {"items": [{"type": "string"}], "dependencies": {"x": ["y"], "z": {"type": "string"}}},
    },
}
DEFINITION = {
    "kind": "CustomResourceDefinition",
    "apiVersion": "apiextensions.k8s.io/v1",
    "metadata": {"name": "as.b.c"},
    "spec": {
        "group": "b.c",
        "names": {"plural": "as", "kind": "A"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": False,
                "schema": {"openAPIV3Schema": _SCHEMA},
                "subresources": {"status": {}},
            }
        ],
    },
}
REVISION = {
    "kind": "ControllerRevision",
    "apiVersion": "apps/v1",
    "metadata": {"name": "r"},
    "data": {"spec": {"any": [1, None]}},
    "revision": 4,
}


@pytest.mark.parametrize(
    "obj", [DEPLOYMENT, SECRET, EVENT, REVIEW, REVISION, LEASE, DEFINITION], ids=lambda o: o["kind"]
)
def test_objects_survive(obj: dict[str, Any]) -> None:
    assert protobuf.decode(encode(obj), "", "") == obj


def test_zeroes_that_go_always_writes_are_not_said() -> None:
    """Go writes plain fields whatever they hold: an empty string there means that nobody set it."""
    body = message("core.v1.Container")
    body.f1, body.f2, body.f16 = "c", "", False
    pod = message("core.v1.Pod")
    pod.f2.f2.add().CopyFrom(body)
    pod.f2.f4 = 0
    envelope = message("Unknown")
    envelope.f1.f1, envelope.f1.f2, envelope.f2 = "v1", "Pod", pod.SerializeToString()
    decoded = protobuf.decode(b"k8s\0" + envelope.SerializeToString(), "", "")
    assert decoded["spec"] == {"containers": [{"name": "c"}], "terminationGracePeriodSeconds": 0}


def test_zeroes_that_json_always_has_are_said() -> None:
    body = message("core.v1.ReplicationController")
    body.f2.f1, body.f2.f4 = 0, 0
    body.f3.f1, body.f3.f2 = 0, 0
    envelope = message("Unknown")
    envelope.f1.f1, envelope.f1.f2, envelope.f2 = "v1", "ReplicationController", body.SerializeToString()
    decoded = protobuf.decode(b"k8s\0" + envelope.SerializeToString(), "", "")
    assert decoded["spec"] == {"replicas": 0} and decoded["status"] == {"replicas": 0}


def test_every_built_in_kind_is_known() -> None:
    assert not [r.kind for r in resources.BUILTIN if protobuf._message_of(r.api_version, r.kind) is None]
    assert protobuf._message_of("policy/v1", "Eviction") and protobuf._message_of("apps/v1", "DeleteOptions")


def test_a_body_that_names_nothing_is_what_is_expected() -> None:
    body = message("core.v1.Namespace")
    body.f1.f1 = "n"
    envelope = message("Unknown")
    envelope.f2 = body.SerializeToString()
    decoded = protobuf.decode(b"k8s\0" + envelope.SerializeToString(), "v1", "Namespace")
    assert decoded == {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "n"}}


@pytest.mark.parametrize("body", [b"", b"{}", b"k8s\0\x0a\xff", b"k8s\0" + b"\xff" * 20])
def test_bad_bodies(body: bytes) -> None:
    with pytest.raises(BadRequest):
        protobuf.decode(body, "v1", "Chair")
