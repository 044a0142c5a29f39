"""Volumes, claims and classes."""

from __future__ import annotations

from typing import Any

import pytest

from pybernetes.api import resources as r
from pybernetes.api.meta import Object, clone
from tests.unit.api.kinds.build import created, faults, named, update_faults


def volume(**spec: Any) -> Object:
    defaults = {"capacity": {"storage": "1024Mi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/data"}}
    return named("pv", namespace="", spec={**defaults, **spec})


def claim(**spec: Any) -> Object:
    defaults = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return named("data", spec={**defaults, **spec})


def test_volume_defaults() -> None:
    obj = created(r.PERSISTENTVOLUMES, volume())
    assert obj["spec"] == {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "hostPath": {"path": "/data", "type": ""},
        "persistentVolumeReclaimPolicy": "Retain",
        "volumeMode": "Filesystem",
    }
    assert obj["status"] == {"phase": "Pending"}


@pytest.mark.parametrize(
    ("spec", "errors"),
    [
        ({}, []),
        ({"accessModes": []}, ["spec.accessModes: Required value"]),
        (
            {"accessModes": ["Sometimes"]},
            [
                'spec.accessModes: Unsupported value: "Sometimes": supported values: '
                '"ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"'
            ],
        ),
        (
            {"capacity": {}},
            [
                "spec.capacity: Required value",
                'spec.capacity: Unsupported value: {}: supported values: "storage"',
            ],
        ),
        ({"hostPath": None}, ["spec: Required value: must specify a volume type"]),
        ({"nfs": {"server": "a", "path": "/b"}}, ["spec.nfs: Forbidden: may not specify more than 1 volume type"]),
        (
            {"hostPath": None, "local": {"path": "/mnt"}},
            ["spec.nodeAffinity: Required value: Local volume requires node affinity"],
        ),
        (
            {"hostPath": {"path": "/"}, "persistentVolumeReclaimPolicy": "Recycle"},
            [
                "spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'",
            ],
        ),
        (
            {"hostPath": None, "csi": {"driver": "csi.example.com"}},
            ["spec.csi.volumeHandle: Required value"],
        ),
    ],
)
def test_volumes(spec: dict[str, Any], errors: list[str]) -> None:
    obj = volume(**spec)
    obj["spec"] = {k: v for k, v in obj["spec"].items() if v is not None}
    assert faults(r.PERSISTENTVOLUMES, obj) == errors


def test_the_source_of_a_volume_is_fixed() -> None:
    old = created(r.PERSISTENTVOLUMES, volume())
    new = clone(old)
    new["spec"]["hostPath"]["path"] = "/other"
    (error,) = update_faults(r.PERSISTENTVOLUMES, new, old)
    assert error.startswith(
        "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation\n"
    )


def test_claim_defaults() -> None:
    obj = created(r.PERSISTENTVOLUMECLAIMS, claim(dataSource={"kind": "PersistentVolumeClaim", "name": "a"}))
    assert obj["spec"]["volumeMode"] == "Filesystem"
    assert obj["spec"]["dataSourceRef"] == {"kind": "PersistentVolumeClaim", "name": "a"}
    assert obj["status"] == {"phase": "Pending"}


@pytest.mark.parametrize(
    ("spec", "errors"),
    [
        ({}, []),
        ({"resources": {}}, ["spec.resources[storage]: Required value"]),
        (
            {"resources": {"requests": {"storage": "0"}}},
            ['spec.resources[storage]: Invalid value: "0": must be greater than zero'],
        ),
        (
            {"accessModes": ["ReadWriteOncePod", "ReadWriteOnce"]},
            ["spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes"],
        ),
        (
            {"dataSourceRef": {"kind": "Pod", "name": "x"}},
            [
                f"spec.{field}: Invalid value: \"Pod\": must be 'PersistentVolumeClaim' when referencing the default "
                "apiGroup"
                for field in ("dataSource", "dataSourceRef")
            ],
        ),
    ],
)
def test_claims(spec: dict[str, Any], errors: list[str]) -> None:
    assert faults(r.PERSISTENTVOLUMECLAIMS, claim(**spec)) == errors


def test_a_claim_is_bound_once_and_then_may_only_grow() -> None:
    old = created(r.PERSISTENTVOLUMECLAIMS, claim())
    bound = clone(old)
    bound["spec"]["volumeName"] = "pv"
    assert update_faults(r.PERSISTENTVOLUMECLAIMS, bound, old) == []
    bound["status"] = {"phase": "Bound", "capacity": {"storage": "1Gi"}}
    larger = clone(bound)
    larger["spec"]["resources"]["requests"]["storage"] = "2Gi"
    assert update_faults(r.PERSISTENTVOLUMECLAIMS, larger, bound) == []
    smaller = clone(bound)
    smaller["spec"]["resources"]["requests"]["storage"] = "512Mi"
    assert update_faults(r.PERSISTENTVOLUMECLAIMS, smaller, bound) == [
        "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"
    ]
    moved = clone(bound)
    moved["spec"]["volumeName"] = "other"
    (error,) = update_faults(r.PERSISTENTVOLUMECLAIMS, moved, bound)
    assert error.startswith(
        "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for "
        "bound claims\n"
    )


def test_an_unbound_claim_may_not_grow() -> None:
    old = created(r.PERSISTENTVOLUMECLAIMS, claim())
    new = clone(old)
    new["spec"]["resources"]["requests"]["storage"] = "2Gi"
    assert len(update_faults(r.PERSISTENTVOLUMECLAIMS, new, old)) == 1


def test_storage_classes() -> None:
    obj = named("fast", namespace="", provisioner="example.com/disk")
    old = created(r.STORAGECLASSES, obj)
    assert (old["reclaimPolicy"], old["volumeBindingMode"]) == ("Delete", "Immediate")
    assert faults(r.STORAGECLASSES, obj) == []
    assert faults(r.STORAGECLASSES, named(namespace="")) == ["provisioner: Required value"]
    changed = {**clone(old), "parameters": {"type": "ssd"}, "provisioner": "other"}
    assert update_faults(r.STORAGECLASSES, changed, old) == [
        "parameters: Forbidden: updates to parameters are forbidden.",
        "provisioner: Forbidden: updates to provisioner are forbidden.",
    ]


def test_csi_driver_defaults() -> None:
    assert created(r.CSIDRIVERS, named("csi.example.com", namespace="", spec={}))["spec"] == {
        "attachRequired": True,
        "podInfoOnMount": False,
        "storageCapacity": False,
        "fsGroupPolicy": "ReadWriteOnceWithFSType",
        "requiresRepublish": False,
        "seLinuxMount": False,
        "volumeLifecycleModes": ["Persistent"],
    }
