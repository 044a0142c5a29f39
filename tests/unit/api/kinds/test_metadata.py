"""ObjectMeta: names, labels, owners, finalizers, and what an update may not change."""

from __future__ import annotations

from typing import Any

import pytest

from pybernetes.api import resources as r
from pybernetes.api.kinds.metadata import validate_object_meta, validate_object_meta_update
from pybernetes.api.kinds.registry import strategy_for
from pybernetes.api.resources import Resource

SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)


def created(resource: Resource, **meta: Any) -> list[str]:
    return [str(e) for e in validate_object_meta({"metadata": meta}, resource, strategy_for(resource))]


def updated(new: dict[str, Any], old: dict[str, Any]) -> list[str]:
    base = {"name": "a", "namespace": "b", "uid": "u", "resourceVersion": "5"}
    return [str(e) for e in validate_object_meta_update({"metadata": {**base, **new}}, {"metadata": {**base, **old}})]


@pytest.mark.parametrize(
    ("resource", "meta", "errors"),
    [
        (r.CONFIGMAPS, {"name": "a", "namespace": "b"}, []),
        (r.CONFIGMAPS, {"namespace": "b"}, ["metadata.name: Required value: name or generateName is required"]),
        (r.CONFIGMAPS, {"name": "a"}, ["metadata.namespace: Required value"]),
        (r.CONFIGMAPS, {"name": "A_b", "namespace": "b"}, [f'metadata.name: Invalid value: "A_b": {SUBDOMAIN}']),
        (r.NODES, {"name": "a", "namespace": "b"}, ["metadata.namespace: Forbidden: not allowed on this type"]),
        (r.ROLES, {"name": "system:x", "namespace": "b"}, []),
        (r.ROLES, {"name": "a/b", "namespace": "b"}, ["metadata.name: Invalid value: \"a/b\": may not contain '/'"]),
        (r.CRONJOBS, {"name": "a" * 53, "namespace": "b"}, [
            f'metadata.name: Invalid value: "{"a" * 53}": must be no more than 52 characters'
        ]),
        (r.CONFIGMAPS, {"name": "a", "namespace": "b", "labels": {"k": "not ok"}}, [
            'metadata.labels: Invalid value: "not ok": a valid label must be an empty string or consist of '
            "alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. "
            "'MyValue',  or 'my_value',  or '12345', regex used for validation is "
            "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
        ]),
        (r.CONFIGMAPS, {"name": "a", "namespace": "b", "annotations": {"Example.COM/x": "y"}}, []),
        (r.CONFIGMAPS, {"name": "a", "namespace": "b", "annotations": {"k": "x" * 262144}}, [
            "metadata.annotations: Too long: may not be more than 262144 bytes"
        ]),
        (r.CONFIGMAPS, {"name": "a", "namespace": "b", "finalizers": ["mine"]}, [
            'metadata.finalizers[0]: Invalid value: "mine": '
            "name is neither a standard finalizer name nor is it fully qualified"
        ]),
        (r.CONFIGMAPS, {"name": "a", "namespace": "b", "finalizers": ["orphan", "foregroundDeletion"]}, [
            'metadata.finalizers: Invalid value: ["orphan","foregroundDeletion"]: '
            "finalizer orphan and foregroundDeletion cannot be both set"
        ]),
        (r.CONFIGMAPS, {"name": "a", "namespace": "b", "ownerReferences": [
            {"apiVersion": "v1", "kind": "Pod", "name": "x"}
        ]}, ['metadata.ownerReferences.uid: Invalid value: "": must not be empty']),
    ],
)  # fmt: skip
def test_creation(resource: Resource, meta: dict[str, Any], errors: list[str]) -> None:
    assert created(resource, **meta) == errors


def test_only_one_controller() -> None:
    owners = [{"apiVersion": "v1", "kind": "Pod", "name": n, "uid": n, "controller": True} for n in ("one", "two")]
    (error,) = created(r.CONFIGMAPS, name="a", namespace="b", ownerReferences=owners)
    assert error.endswith(
        'Only one reference can have Controller set to true. Found "true" in references for Pod/one and Pod/two'
    )


@pytest.mark.parametrize(
    ("new", "old", "errors"),
    [
        ({}, {}, []),
        ({"name": "c"}, {}, ['metadata.name: Invalid value: "c": field is immutable']),
        ({"uid": "v"}, {}, ['metadata.uid: Invalid value: "v": field is immutable']),
        ({"resourceVersion": ""}, {}, [
            'metadata.resourceVersion: Invalid value: "": must be specified for an update'
        ]),
        ({"generation": 1}, {"generation": 2}, ["metadata.generation: Invalid value: 1: must not be decremented"]),
        (
            {"deletionTimestamp": "t", "finalizers": ["a.io/x", "b.io/y"]},
            {"deletionTimestamp": "t", "finalizers": ["a.io/x"]},
            [
                "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, "
                'found new finalizers []string{"b.io/y"}'
            ],
        ),
    ],
)  # fmt: skip
def test_update(new: dict[str, Any], old: dict[str, Any], errors: list[str]) -> None:
    assert updated(new, old) == errors


def test_custom_resources_and_definitions_take_bare_finalizers() -> None:
    custom = Resource("example.com", "v1", "widgets", "Widget", "widget", True)
    assert created(custom, name="a", namespace="b", finalizers=["mine"]) == []
    assert created(r.CUSTOMRESOURCEDEFINITIONS, name="a", finalizers=["mine"]) == []
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"resourceVersion": "1", "finalizers": ["mine"]}}
    old = {"metadata": {}}
    assert len(validate_object_meta_update(obj, old)) == 1
    assert len(validate_object_meta_update({**obj, "apiVersion": "example.com/v1", "kind": "Widget"}, old)) == 0
