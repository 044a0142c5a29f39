"""Volumes, claims and storage classes: the exact faults and warnings."""

from __future__ import annotations

from typing import Any

import pytest

from pybernetes.api import resources as r
from pybernetes.api.meta import Object
from pybernetes.api.resources import Resource
from tests.unit.api.kinds.build import changed, faults, named, stated, warned


def volume(**spec: Any) -> Object:
    usual: Object = {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/a"}}
    return named(namespace="", spec={**usual, **spec})


def claim(**spec: Any) -> Object:
    usual: Object = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return named(spec={**usual, **spec})


@pytest.mark.parametrize(
    ("resource", "obj", "errors"),
    [
        (
            r.PERSISTENTVOLUMES,
            volume(accessModes=[], capacity={}),
            [
                "spec.accessModes: Required value",
                "spec.capacity: Required value",
                'spec.capacity: Unsupported value: {}: supported values: "storage"',
            ],
        ),
        (
            r.PERSISTENTVOLUMES,
            volume(accessModes=["x", "ReadWriteOncePod", "ReadWriteOnce"], capacity={"storage": "0"}),
            [
                'spec.accessModes: Unsupported value: "x": supported values: "ReadOnlyMany", "ReadWriteMany", '
                '"ReadWriteOnce", "ReadWriteOncePod"',
                "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
                'spec.capacity[storage]: Invalid value: "0": must be greater than zero',
            ],
        ),
        (
            r.PERSISTENTVOLUMES,
            volume(capacity={"storage": "1Gi", "cpu": "1"}, persistentVolumeReclaimPolicy="x"),
            [
                'spec.capacity: Unsupported value: {"storage":"1Gi","cpu":"1"}: supported values: "storage"',
                'spec.persistentVolumeReclaimPolicy: Unsupported value: "x": supported values: "Delete", '
                '"Recycle", "Retain"',
            ],
        ),
        (
            r.PERSISTENTVOLUMES,
            volume(hostPath=None),
            [
                "spec: Required value: must specify a volume type",
            ],
        ),
        (
            r.PERSISTENTVOLUMES,
            volume(nfs={"server": "a", "path": "/"}),
            [
                "spec.nfs: Forbidden: may not specify more than 1 volume type",
            ],
        ),
        (
            r.PERSISTENTVOLUMES,
            volume(hostPath={"path": "/"}, persistentVolumeReclaimPolicy="Recycle"),
            [
                "spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'",
            ],
        ),
        (
            r.PERSISTENTVOLUMES,
            volume(hostPath=None, local={"path": "/a"}),
            [
                "spec.nodeAffinity: Required value: Local volume requires node affinity",
            ],
        ),
        (
            r.PERSISTENTVOLUMES,
            volume(hostPath=None, csi={"driver": "", "volumeHandle": ""}),
            [
                "spec.csi.driver: Required value",
                'spec.csi.driver: Invalid value: "": a lowercase RFC 1123 subdomain must consist of lower case '
                "alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. "
                "'example.com', regex used for validation is "
                "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
                "spec.csi.volumeHandle: Required value",
            ],
        ),
        (
            r.PERSISTENTVOLUMES,
            volume(storageClassName="_", volumeMode="x", nodeAffinity={}),
            [
                "spec.nodeAffinity.required: Required value: must specify required node constraints",
                'spec.storageClassName: Invalid value: "_": a lowercase RFC 1123 subdomain must consist of lower '
                "case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character "
                "(e.g. 'example.com', regex used for validation is "
                "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
                'spec.volumeMode: Unsupported value: "x": supported values: "Block", "Filesystem"',
            ],
        ),
    ],
)
def test_volumes(resource: Resource, obj: Object, errors: list[str]) -> None:
    assert faults(resource, obj) == errors


@pytest.mark.parametrize(
    ("resource", "obj", "texts"),
    [
        (
            r.PERSISTENTVOLUMES,
            volume(persistentVolumeReclaimPolicy="Recycle", capacity={"storage": "1m"}),
            [
                "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the "
                "recommended approach is to use dynamic provisioning.",
            ],
        ),
    ],
)
def test_volume_warnings(resource: Resource, obj: Object, texts: list[str]) -> None:
    assert warned(resource, obj) == texts


@pytest.mark.parametrize(
    ("resource", "old", "new", "errors"),
    [
        (
            r.PERSISTENTVOLUMES,
            volume(),
            volume(volumeMode="Block"),
            [
                'volumeMode: Invalid value: "Block": field is immutable',
            ],
        ),
        (r.PERSISTENTVOLUMES, volume(), volume(storageClassName="a"), []),
        (
            r.PERSISTENTVOLUMES,
            volume(hostPath=None, csi={"driver": "a.b", "volumeHandle": "c"}),
            volume(hostPath=None, csi={"driver": "a.b", "volumeHandle": "d"}),
            [
                "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after "
                'creation\n- \tcsi.volumeHandle: "c"\n+ \tcsi.volumeHandle: "d"',
            ],
        ),
    ],
)
def test_volume_updates(resource: Resource, old: Object, new: Object, errors: list[str]) -> None:
    assert changed(resource, old, new) == errors


@pytest.mark.parametrize(
    ("resource", "obj", "errors"),
    [
        (
            r.PERSISTENTVOLUMECLAIMS,
            claim(accessModes=[], resources={}),
            [
                "spec.accessModes: Required value: at least 1 access mode is required",
                "spec.resources[storage]: Required value",
            ],
        ),
        (
            r.PERSISTENTVOLUMECLAIMS,
            claim(accessModes=["x"], volumeMode="y", storageClassName="_"),
            [
                'spec.accessModes: Unsupported value: "x": supported values: "ReadOnlyMany", "ReadWriteMany", '
                '"ReadWriteOnce", "ReadWriteOncePod"',
                'spec.storageClassName: Invalid value: "_": a lowercase RFC 1123 subdomain must consist of lower '
                "case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character "
                "(e.g. 'example.com', regex used for validation is "
                "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
                'spec.volumeMode: Unsupported value: "y": supported values: "Block", "Filesystem"',
            ],
        ),
        (
            r.PERSISTENTVOLUMECLAIMS,
            claim(resources={"requests": {"storage": "-1"}}),
            [
                'spec.resources[storage]: Invalid value: "-1": must be greater than zero',
            ],
        ),
        (r.PERSISTENTVOLUMECLAIMS, claim(dataSource={"kind": "Pod", "name": ""}), []),
        (
            r.PERSISTENTVOLUMECLAIMS,
            claim(selector={"matchExpressions": [{"key": "a", "operator": "x"}]}),
            [
                'spec.selector.matchExpressions[0].operator: Invalid value: "x": not a valid selector operator',
            ],
        ),
    ],
)
def test_claims(resource: Resource, obj: Object, errors: list[str]) -> None:
    assert faults(resource, obj) == errors


@pytest.mark.parametrize(
    ("resource", "obj", "texts"),
    [
        (
            r.PERSISTENTVOLUMECLAIMS,
            claim(resources={"requests": {"storage": "1500m"}}),
            [
                'spec.resources.requests[storage]: fractional byte value "1500m" is invalid, must be an integer',
            ],
        ),
    ],
)
def test_claim_warnings(resource: Resource, obj: Object, texts: list[str]) -> None:
    assert warned(resource, obj) == texts


@pytest.mark.parametrize(
    ("resource", "obj", "status", "errors"),
    [
        (
            r.PERSISTENTVOLUMECLAIMS,
            claim(),
            {"phase": "Bound", "capacity": {"storage": "-1"}, "accessModes": ["x"]},
            [
                "status.capacity[storage]: Invalid value: -1: must be a valid resource quantity",
            ],
        ),
    ],
)
def test_claim_statuses(resource: Resource, obj: Object, status: Object, errors: list[str]) -> None:
    assert stated(resource, obj, status) == errors


@pytest.mark.parametrize(
    ("resource", "obj", "errors"),
    [
        (
            r.STORAGECLASSES,
            named(namespace="", provisioner="", parameters={"": "x"}),
            [
                "provisioner: Required value",
                'parameters: Invalid value: "": field can not be empty.',
            ],
        ),
        (
            r.STORAGECLASSES,
            named(namespace="", provisioner="a/b/c", reclaimPolicy="x", volumeBindingMode="y"),
            [
                'provisioner: Invalid value: "a/b/c": a valid label key must consist of alphanumeric characters, '
                "'-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or "
                "'my.name',  or '123-abc', regex used for validation is "
                "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. "
                "'example.com/MyName')",
                'reclaimPolicy: Unsupported value: "x": supported values: "Delete", "Retain"',
                'volumeBindingMode: Unsupported value: "y": supported values: "Immediate", "WaitForFirstConsumer"',
            ],
        ),
        (
            r.STORAGECLASSES,
            named(
                namespace="",
                provisioner="a.b",
                allowedTopologies=[{"matchLabelExpressions": [{"key": "a", "values": []}]}],
            ),
            [
                "allowedTopologies[0].matchLabelExpressions[0].values: Required value",
            ],
        ),
        (
            r.VOLUMEATTACHMENTS,
            named(namespace="", spec={"attacher": "", "nodeName": "", "source": {}}),
            [
                "spec.attacher: Required value",
                'spec.attacher: Invalid value: "": a lowercase RFC 1123 subdomain must consist of lower case '
                "alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. "
                "'example.com', regex used for validation is "
                "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
                "spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName",
                'spec.nodeName: Invalid value: "": a lowercase RFC 1123 subdomain must consist of lower case '
                "alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. "
                "'example.com', regex used for validation is "
                "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
            ],
        ),
        (
            r.CSIDRIVERS,
            named(
                "a.b",
                "",
                spec={
                    "fsGroupPolicy": "x",
                    "volumeLifecycleModes": ["y"],
                    "tokenRequests": [{"audience": "a", "expirationSeconds": 5}, {"audience": "a"}],
                },
            ),
            [
                'spec.fsGroupPolicy: Unsupported value: "x": supported values: "File", "None", '
                '"ReadWriteOnceWithFSType"',
                "spec.tokenRequests[0].expirationSeconds: Invalid value: 5: may not specify a duration less than "
                "10 minutes",
                'spec.tokenRequests[1].audience: Duplicate value: "a"',
                'spec.volumeLifecycleModes: Unsupported value: "y": supported values: "Ephemeral", "Persistent"',
            ],
        ),
        (
            r.CSIDRIVERS,
            named("a.b", "", spec={"serviceAccountTokenInSecrets": True}),
            [
                "spec.serviceAccountTokenInSecrets: Invalid value: true: "
                "serviceAccountTokenInSecrets is set but no tokenRequests are specified"
            ],
        ),
        (
            r.CSINODES,
            named(namespace="", spec={"drivers": [{"name": "", "nodeID": "", "topologyKeys": ["a", "a"]}]}),
            [
                "spec.drivers[0].name: Required value",
                'spec.drivers[0].name: Invalid value: "": a lowercase RFC 1123 subdomain must consist of lower '
                "case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character "
                "(e.g. 'example.com', regex used for validation is "
                "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
                "spec.drivers[0].nodeID: Required value",
                'spec.drivers[0]: Duplicate value: "a"',
            ],
        ),
        (
            r.CSISTORAGECAPACITIES,
            named(storageClassName="", capacity="-1"),
            [
                'storageClassName: Invalid value: "": a lowercase RFC 1123 subdomain must consist of lower case '
                "alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. "
                "'example.com', regex used for validation is "
                "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
                'capacity: Invalid value: "-1": must be greater than or equal to 0',
            ],
        ),
        (
            r.VOLUMEATTRIBUTESCLASSES,
            named(namespace="", driverName="", parameters={}),
            [
                "driverName: Required value",
                "parameters: Required value: must contain at least one key/value pair",
            ],
        ),
    ],
)
def test_storage_classes(resource: Resource, obj: Object, errors: list[str]) -> None:
    assert faults(resource, obj) == errors


@pytest.mark.parametrize(
    ("resource", "old", "new", "errors"),
    [
        (
            r.STORAGECLASSES,
            named(namespace="", provisioner="a"),
            named(namespace="", provisioner="b", reclaimPolicy="Retain"),
            [
                "provisioner: Forbidden: updates to provisioner are forbidden.",
                "reclaimPolicy: Forbidden: updates to reclaimPolicy are forbidden.",
            ],
        ),
        (
            r.CSIDRIVERS,
            named(namespace="", spec={}),
            named(namespace="", spec={"attachRequired": False, "fsGroupPolicy": "None"}),
            [
                "spec.attachedRequired: Invalid value: false: field is immutable",
            ],
        ),
    ],
)
def test_storage_class_updates(resource: Resource, old: Object, new: Object, errors: list[str]) -> None:
    assert changed(resource, old, new) == errors
