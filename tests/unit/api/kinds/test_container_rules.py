"""Pods: what containers and volumes are refused for."""

from __future__ import annotations

from typing import Any

import pytest

from pybernetes.api import resources as r
from pybernetes.api.meta import Object
from pybernetes.api.resources import Resource
from tests.unit.api.kinds.build import faults, pod

WEB: Object = {"name": "web", "image": "nginx:1.25"}


def with_web(**fields: Any) -> Object:
    return pod(containers=[{**WEB, **fields}])


def with_volume(**source: Any) -> Object:
    return pod(volumes=[{"name": "v", **source}])


@pytest.mark.parametrize(
    ("resource", "obj", "errors"),
    [
        (
            r.PODS,
            with_web(ports=[{"containerPort": 0}, {"containerPort": 1, "protocol": "x", "hostPort": 70000}]),
            [
                "spec.containers[0].ports[0].containerPort: Required value",
                "spec.containers[0].ports[1].hostPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
                'spec.containers[0].ports[1].protocol: Unsupported value: "x": supported values: "SCTP", "TCP", "UDP"',
            ],
        ),
        (
            r.PODS,
            with_web(ports=[{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}]),
            [
                'spec.containers[0].ports[1].name: Duplicate value: "a"',
            ],
        ),
        (
            r.PODS,
            with_web(
                env=[
                    {"name": "A=B"},
                    {"name": "C", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                ]
            ),
            [
                'spec.containers[0].env[0].name: Invalid value: "A=B": a valid environment variable name must '
                "consist only of printable ASCII characters other than '='",
                'spec.containers[0].env[1].valueFrom: Invalid value: "": may not be specified when `value` is not '
                "empty",
            ],
        ),
        (
            r.PODS,
            with_web(
                env=[
                    {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.what"}}},
                    {"name": "B", "valueFrom": {}},
                ]
            ),
            [
                'spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: "spec.what": error '
                "converting fieldPath: field label not supported: spec.what",
                'spec.containers[0].env[1].valueFrom: Invalid value: "": must specify one of: `fieldRef`, '
                "`resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
            ],
        ),
        (
            r.PODS,
            with_web(resources={"limits": {"cpu": "1"}, "requests": {"cpu": "2", "memory": "-1"}}),
            [
                'spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu '
                "limit of 1",
                'spec.containers[0].resources.requests[memory]: Invalid value: "-1": must be greater than or equal '
                "to 0",
            ],
        ),
        (
            r.PODS,
            with_web(resources={"limits": {"example.com/gpu": "1.5"}, "requests": {"nothing": "1"}}),
            [
                'spec.containers[0].resources.limits[example.com/gpu]: Invalid value: "1500m": must be an integer',
                'spec.containers[0].resources.requests[nothing]: Invalid value: "nothing": must be a standard '
                "resource type or fully qualified",
                'spec.containers[0].resources.requests[nothing]: Invalid value: "nothing": must be a standard '
                "resource for containers",
                'spec.containers[0].resources.requests[example.com/gpu]: Invalid value: "1500m": must be an integer',
            ],
        ),
        (
            r.PODS,
            with_web(volumeMounts=[{"name": "v", "mountPath": "/a"}, {"name": "", "mountPath": "/a"}]),
            [
                'spec.containers[0].volumeMounts[0].name: Not found: "v"',
                "spec.containers[0].volumeMounts[1].name: Required value",
                'spec.containers[0].volumeMounts[1].name: Not found: ""',
                'spec.containers[0].volumeMounts[1].mountPath: Invalid value: "/a": must be unique',
            ],
        ),
        (
            r.PODS,
            with_web(livenessProbe={"httpGet": {"port": 0}, "tcpSocket": {"port": "UP"}}),
            [
                "spec.containers[0].livenessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, "
                "inclusive",
                "spec.containers[0].livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type",
            ],
        ),
        (
            r.PODS,
            with_web(livenessProbe={"exec": {"command": []}, "successThreshold": 2, "periodSeconds": -1}),
            [
                "spec.containers[0].livenessProbe.exec.command: Required value",
                "spec.containers[0].livenessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0",
                "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1",
            ],
        ),
        (
            r.PODS,
            with_web(lifecycle={"preStop": {}}),
            [
                "spec.containers[0].lifecycle.preStop: Required value: must specify a handler type",
            ],
        ),
        (
            r.PODS,
            with_web(imagePullPolicy="x", terminationMessagePolicy="y"),
            [
                'spec.containers[0].terminationMessagePolicy: Unsupported value: "y": supported values: "File", '
                '"FallbackToLogsOnError"',
                'spec.containers[0].imagePullPolicy: Unsupported value: "x": supported values: "Always", '
                '"IfNotPresent", "Never"',
            ],
        ),
        (
            r.PODS,
            with_web(securityContext={"privileged": True, "allowPrivilegeEscalation": False, "procMount": "x"}),
            [
                'spec.containers[0].securityContext.procMount: Unsupported value: "x": supported values: '
                '"Default", "Unmasked"',
                "spec.containers[0].securityContext: Invalid value: "
                '{"privileged":true,"allowPrivilegeEscalation":false,"procMount":"x"}: cannot set '
                "`allowPrivilegeEscalation` to false and `privileged` to true",
            ],
        ),
        (r.PODS, with_web(restartPolicy="Always"), []),
    ],
)
def test_containers(resource: Resource, obj: Object, errors: list[str]) -> None:
    assert faults(resource, obj) == errors


@pytest.mark.parametrize(
    ("resource", "obj", "errors"),
    [
        (r.PODS, with_volume(), []),
        (r.PODS, pod(volumes=[{"name": "v"}]), []),
        (
            r.PODS,
            with_volume(emptyDir={"sizeLimit": "-1"}),
            [
                "spec.volumes[0].emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity",
            ],
        ),
        (
            r.PODS,
            with_volume(emptyDir={}, hostPath={"path": "/a"}),
            [
                "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type",
            ],
        ),
        (
            r.PODS,
            with_volume(hostPath={"path": "/a/../b", "type": "x"}),
            [
                "spec.volumes[0].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'",
                'spec.volumes[0].hostPath.type: Unsupported value: "x": supported values: "", "BlockDevice", '
                '"CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"',
            ],
        ),
        (
            r.PODS,
            with_volume(configMap={"items": [{"key": "", "path": "../a"}], "defaultMode": 1000}),
            [
                "spec.volumes[0].configMap.name: Required value",
                "spec.volumes[0].configMap.defaultMode: Invalid value: 1000: must be a number between 0 and 0777 "
                "(octal), both inclusive",
                "spec.volumes[0].configMap.items[0].key: Required value",
                "spec.volumes[0].configMap.items[0].path: Invalid value: \"../a\": must not contain '..'",
            ],
        ),
        (
            r.PODS,
            with_volume(secret={"secretName": "", "items": [{"key": "a", "path": "/a"}]}),
            [
                "spec.volumes[0].secret.secretName: Required value",
                'spec.volumes[0].secret.items[0].path: Invalid value: "/a": must be a relative path',
            ],
        ),
        (
            r.PODS,
            with_volume(projected={"sources": [{"secret": {"name": "a"}, "configMap": {"name": "b"}}]}),
            [
                "spec.volumes[0].projected.sources[0]: Forbidden: may not specify more than 1 volume type per source",
            ],
        ),
        (
            r.PODS,
            with_volume(downwardAPI={"items": [{"path": "a", "fieldRef": {"fieldPath": "spec.nodeName"}}]}),
            [
                'spec.volumes[0].downwardAPI.fieldRef.fieldPath: Unsupported value: "spec.nodeName": supported '
                'values: "metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", '
                '"metadata.uid"',
            ],
        ),
        (
            r.PODS,
            with_volume(persistentVolumeClaim={}),
            [
                "spec.volumes[0].persistentVolumeClaim.claimName: Required value",
            ],
        ),
        (
            r.PODS,
            with_volume(nfs={"server": "", "path": "rel"}),
            [
                "spec.volumes[0].nfs.server: Required value",
                'spec.volumes[0].nfs.path: Invalid value: "rel": must be an absolute path',
            ],
        ),
        (
            r.PODS,
            with_volume(csi={"driver": ""}),
            [
                "spec.volumes[0].csi.driver: Required value",
                'spec.volumes[0].csi.driver: Invalid value: "": a lowercase RFC 1123 subdomain must consist of '
                "lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric "
                "character (e.g. 'example.com', regex used for validation is "
                "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
            ],
        ),
        (
            r.PODS,
            with_volume(ephemeral={}),
            [
                "spec.volumes[0].ephemeral.volumeClaimTemplate: Required value",
            ],
        ),
        (
            r.PODS,
            with_volume(image={}),
            [
                "spec.volumes[0].image.reference: Required value",
            ],
        ),
    ],
)
def test_volumes(resource: Resource, obj: Object, errors: list[str]) -> None:
    assert faults(resource, obj) == errors
