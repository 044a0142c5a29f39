"""Tables of every kind but pods."""

from __future__ import annotations

from typing import Any

import pytest

from pybernetes.api import resources as r
from pybernetes.api.meta import Object
from pybernetes.api.printers import cells, columns, table
from pybernetes.api.resources import Resource
from pybernetes.api.time import format_time

NOW = 1_800_000_000.0
CREATED = format_time(NOW - 2 * 86400 - 4 * 3600)
AGE = "2d4h"


def named(name: str = "web", **fields: Any) -> Object:
    return {"metadata": {"name": name, "creationTimestamp": CREATED}, **fields}


TEMPLATE = {"spec": {"containers": [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:2"}]}}
SELECTOR = {"matchLabels": {"app": "web"}}
WIDE = ["a,b", "a:1,b:2", "app=web"]
SPEC = {"replicas": 3, "selector": SELECTOR, "template": TEMPLATE}

CASES: list[tuple[Resource, Object, list[Any]]] = [
    (
        r.DEPLOYMENTS,
        named(spec=SPEC, status={"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 2}),
        ["web", "2/3", 3, 2, AGE, *WIDE],
    ),
    (r.REPLICASETS, named(spec=SPEC, status={"replicas": 3, "readyReplicas": 1}), ["web", 3, 3, 1, AGE, *WIDE]),
    (r.STATEFULSETS, named(spec=SPEC, status={"readyReplicas": 3}), ["web", "3/3", AGE, *WIDE[:2]]),
    (
        r.DAEMONSETS,
        named(spec=SPEC, status={"desiredNumberScheduled": 2, "currentNumberScheduled": 2, "numberReady": 1}),
        ["web", 2, 2, 1, 0, 0, "<none>", AGE, *WIDE],
    ),
    (
        r.JOBS,
        named(
            spec={"completions": 3, "template": TEMPLATE, "selector": SELECTOR},
            status={
                "succeeded": 3,
                "startTime": format_time(NOW - 100),
                "completionTime": format_time(NOW - 90),
                "conditions": [{"type": "Complete", "status": "True"}],
            },
        ),
        ["web", "Complete", "3/3", "10s", AGE, *WIDE],
    ),
    (
        r.JOBS,
        named(spec={"parallelism": 2}, status={"startTime": format_time(NOW - 60)}),
        ["web", "Running", "0/1 of 2", "60s", AGE, "", "", "<none>"],
    ),
    (
        r.CRONJOBS,
        named(
            spec={"schedule": "* * * * *", "suspend": False, "jobTemplate": {"spec": {"template": TEMPLATE}}},
            status={"active": [{}], "lastScheduleTime": format_time(NOW - 30)},
        ),
        ["web", "* * * * *", "<none>", "False", 1, "30s", AGE, "a,b", "a:1,b:2", "<none>"],
    ),
    (
        r.SERVICES,
        named(
            spec={
                "type": "NodePort",
                "clusterIPs": ["10.96.0.1"],
                "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}],
                "selector": {"app": "web"},
            }
        ),
        ["web", "NodePort", "10.96.0.1", "<none>", "80:30080/TCP,53/UDP", AGE, "app=web"],
    ),
    (
        r.SERVICES,
        named(spec={"type": "LoadBalancer"}),
        ["web", "LoadBalancer", "<none>", "<pending>", "<none>", AGE, "<none>"],
    ),
    (
        r.SERVICES,
        named(
            spec={"type": "LoadBalancer", "clusterIPs": ["10.96.0.1"]},
            status={"loadBalancer": {"ingress": [{"hostname": "a-very-long-name.example.com"}]}},
        ),
        ["web", "LoadBalancer", "10.96.0.1", "a-very-long-n...", "<none>", AGE, "<none>"],
    ),
    (
        r.SERVICES,
        named(spec={"type": "ExternalName", "externalName": "example.com"}),
        ["web", "ExternalName", "<none>", "example.com", "<none>", AGE, "<none>"],
    ),
    (r.ENDPOINTS, named(), ["web", "<none>", AGE]),
    (
        r.ENDPOINTS,
        named(subsets=[{"addresses": [{"ip": f"10.0.0.{i}"} for i in range(4)], "ports": [{"port": 80}]}]),
        ["web", "10.0.0.0:80,10.0.0.1:80,10.0.0.2:80 + 1 more...", AGE],
    ),
    (
        r.ENDPOINTSLICES,
        named(
            addressType="IPv4",
            ports=[{"port": 80}, {"name": "x"}],
            endpoints=[{"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0.2"]}],
        ),
        ["web", "IPv4", "80,x", "10.0.0.1,10.0.0.2", AGE],
    ),
    (
        r.NODES,
        {
            "metadata": {
                "name": "n1",
                "creationTimestamp": CREATED,
                "labels": {"node-role.kubernetes.io/control-plane": "", "kubernetes.io/role": "x"},
            },
            "spec": {"unschedulable": True},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
                "nodeInfo": {
                    "kubeletVersion": "v1.37.0",
                    "osImage": "Debian",
                    "kernelVersion": "6.1",
                    "containerRuntimeVersion": "containerd://1.6",
                },
            },
        },
        [
            "n1", "Ready,SchedulingDisabled", "control-plane,x", AGE, "v1.37.0", "10.0.0.1", "<none>", "Debian", "6.1",
            "containerd://1.6",
        ],
    ),
    (r.NAMESPACES, named(status={"phase": "Active"}), ["web", "Active", AGE]),
    (r.CONFIGMAPS, named(data={"a": "1"}, binaryData={"b": "eA=="}), ["web", 2, AGE]),
    (r.SECRETS, named(type="Opaque", data={"a": "eA=="}), ["web", "Opaque", 1, AGE]),
    (
        r.EVENTS,
        named(
            involvedObject={"kind": "Pod", "name": "p", "fieldPath": "spec.containers{c}"},
            type="Warning",
            reason="BackOff",
            message="Back-off restarting\n",
            source={"component": "kubelet", "host": "n1"},
            firstTimestamp=format_time(NOW - 600),
            lastTimestamp=format_time(NOW - 5),
            count=7,
        ),
        [
            "5s", "Warning", "BackOff", "pod/p", "spec.containers{c}", "kubelet, n1", "Back-off restarting", "10m", 7,
            "web",
        ],
    ),
    (
        r.EVENTS_V1,
        named(
            regarding={"kind": "Node"},
            note="hello",
            reportingController="me",
            eventTime="2027-01-15T07:59:00.000000Z",
            series={"count": 4, "lastObservedTime": "2027-01-15T07:59:59.000000Z"},
        ),
        ["1s", "", "", "node", "", "me", "hello", "60s", 4, "web"],
    ),
    (
        r.PERSISTENTVOLUMES,
        named(
            spec={
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain",
                "claimRef": {"namespace": "default", "name": "data"},
                "storageClassName": "fast",
                "volumeMode": "Filesystem",
            },
            status={"phase": "Bound"},
        ),
        ["web", "1Gi", "RWO", "Retain", "Bound", "default/data", "fast", "<unset>", "", AGE, "Filesystem"],
    ),
    (
        r.PERSISTENTVOLUMECLAIMS,
        named(spec={"storageClassName": "fast", "volumeMode": "Filesystem"}, status={"phase": "Pending"}),
        ["web", "Pending", "", "", "", "fast", "<unset>", AGE, "Filesystem"],
    ),
    (
        r.RESOURCEQUOTAS,
        named(status={"hard": {"requests.cpu": "1", "limits.cpu": "2", "pods": "5"}, "used": {"pods": "3"}}),
        ["web", "pods: 3/5, requests.cpu: 0/1", "limits.cpu: 0/2", AGE],
    ),
    (
        r.ROLEBINDINGS,
        named(
            roleRef={"kind": "Role", "name": "reader"},
            subjects=[
                {"kind": "User", "name": "ann"},
                {"kind": "Group", "name": "devs"},
                {"kind": "ServiceAccount", "name": "sa", "namespace": "x"},
            ],
        ),
        ["web", "Role/reader", AGE, "ann", "devs", "x/sa"],
    ),
    (
        r.CERTIFICATESIGNINGREQUESTS,
        named(
            spec={"signerName": "a.io/b", "username": "ann", "expirationSeconds": 86400},
            status={"conditions": [{"type": "Approved"}], "certificate": "eA=="},
        ),
        ["web", AGE, "a.io/b", "ann", "24h", "Approved,Issued"],
    ),
    (
        r.HORIZONTALPODAUTOSCALERS,
        named(
            spec={
                "scaleTargetRef": {"kind": "Deployment", "name": "web"},
                "maxReplicas": 5,
                "minReplicas": 1,
                "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 80}}}],
            },
            status={
                "currentReplicas": 2,
                "currentMetrics": [{"type": "Resource", "resource": {"current": {"averageUtilization": 40}}}],
            },
        ),
        ["web", "Deployment/web", "cpu: 40%/80%", "1", 5, 2, AGE],
    ),
    (
        r.HORIZONTALPODAUTOSCALERS_V1,
        named(spec={"scaleTargetRef": {"kind": "D", "name": "w"}, "targetCPUUtilizationPercentage": 50}),
        ["web", "D/w", "cpu: <unknown>/50%", "<unset>", 0, 0, AGE],
    ),
    (
        r.INGRESSES,
        named(spec={"ingressClassName": "nginx", "rules": [{"host": "a"}, {"host": "b"}], "tls": [{}]}),
        ["web", "nginx", "a,b", "", "80, 443", AGE],
    ),
    (
        r.STORAGECLASSES,
        {
            "metadata": {
                "name": "fast",
                "creationTimestamp": CREATED,
                "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
            },
            "provisioner": "p",
        },
        ["fast (default)", "p", "Delete", "Immediate", False, AGE],
    ),
    (
        r.PODDISRUPTIONBUDGETS,
        named(spec={"minAvailable": "50%"}, status={"disruptionsAllowed": 1}),
        ["web", "50%", "N/A", 1, AGE],
    ),
    (r.LEASES, named(spec={"holderIdentity": "n1"}), ["web", "n1", AGE]),
    (
        r.CONTROLLERREVISIONS,
        {
            "metadata": {
                "name": "web",
                "creationTimestamp": CREATED,
                "ownerReferences": [
                    {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "controller": True}
                ],
            },
            "revision": 3,
        },
        ["web", "statefulset.apps/db", 3, AGE],
    ),
    (r.ROLES, named(), ["web", CREATED]),
    (
        r.APISERVICES,
        named(status={"conditions": [{"type": "Available", "status": "False", "reason": "Gone"}]}),
        ["web", "Local", "False (Gone)", AGE],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("resource", "obj", "expected"), CASES)
def test_cells(resource: Resource, obj: Object, expected: list[Any]) -> None:
    assert cells(resource, obj, NOW) == expected


@pytest.mark.parametrize(
    ("resource", "narrow", "wide"),
    [
        (r.PODS, ["Name", "Ready", "Status", "Restarts", "Age"], ["IP", "Node", "Nominated Node", "Readiness Gates"]),
        (
            r.DEPLOYMENTS,
            ["Name", "Ready", "Up-to-date", "Available", "Age"],
            ["Containers", "Images", "Selector"],
        ),
        (r.SERVICES, ["Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age"], ["Selector"]),
        (
            r.EVENTS,
            ["Last Seen", "Type", "Reason", "Object", "Message"],
            ["Subobject", "Source", "First Seen", "Count", "Name"],
        ),
        (r.CLUSTERROLES, ["Name", "Created At"], []),
    ],
)
def test_headings(resource: Resource, narrow: list[str], wide: list[str]) -> None:
    definitions = columns(resource)
    assert [d["name"] for d in definitions if d["priority"] == 0] == narrow
    assert [d["name"] for d in definitions if d["priority"] == 1] == wide
    assert all(set(d) == {"name", "type", "format", "description", "priority"} for d in definitions)


def test_a_table() -> None:
    obj = named(status={"phase": "Active"})
    out = table(r.NAMESPACES, [obj], NOW, "42", continue_token="next", remaining=7)
    assert out["kind"] == "Table"
    assert out["apiVersion"] == "meta.k8s.io/v1"
    assert out["metadata"] == {"resourceVersion": "42", "continue": "next", "remainingItemCount": 7}
    assert out["rows"] == [
        {
            "cells": ["web", "Active", AGE],
            "object": {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]},
        }
    ]


def test_what_a_row_carries() -> None:
    obj = named()
    assert table(r.NAMESPACES, [obj], NOW, include_object="None")["rows"][0]["object"] is None
    assert table(r.NAMESPACES, [obj], NOW, include_object="Object")["rows"][0]["object"] is obj


def test_later_events_of_a_watch_repeat_no_headings() -> None:
    assert table(r.NAMESPACES, [named()], NOW, headers=False)["columnDefinitions"] == []


def test_a_scale_has_columns_of_its_own() -> None:
    scale = named(kind="Scale", spec={"replicas": 3}, status={"replicas": 2})
    out = table(r.DEPLOYMENTS, [scale], NOW)
    assert [d["name"] for d in out["columnDefinitions"]] == ["Name", "Desired", "Available", "Age"]
    assert out["rows"][0]["cells"] == ["web", 3, 2, AGE]


def _shown(resource: Resource) -> list[tuple[str, str, str, int]]:
    return [(d["name"], d["type"], d["format"], d["priority"]) for d in columns(resource)]


def test_every_column_is_described_and_has_its_cell() -> None:
    for resource in r.BUILTIN:
        definitions = columns(resource)
        assert len(cells(resource, named(), NOW)) == len(definitions), resource
        undescribed = [d["name"] for d in definitions if not d["description"]]
        assert undescribed == (["Handler"] if resource is r.RUNTIMECLASSES else []), resource
    assert columns(r.PODS)[0]["description"].startswith("Name must be unique within a namespace.")


def test_types_and_formats_that_are_not_what_one_thinks() -> None:
    assert _shown(r.DEPLOYMENTS)[2:4] == [("Up-to-date", "string", "", 0), ("Available", "string", "", 0)]
    assert _shown(r.SECRETS)[2] == ("Data", "string", "", 0)
    assert _shown(r.STORAGECLASSES)[4] == ("AllowVolumeExpansion", "string", "", 0)
    assert _shown(r.VOLUMEATTACHMENTS)[1] == ("Attacher", "string", "name", 0)
    assert _shown(r.PRIORITYCLASSES)[1:3] == [("Value", "integer", "", 0), ("Global-Default", "boolean", "", 0)]
    assert _shown(r.IPADDRESSES) == [("Name", "string", "name", 0), ("ParentRef", "string", "", 0)]
    assert _shown(r.CLUSTERROLES) == [("Name", "string", "name", 0), ("Created At", "date", "", 0)]
    assert _shown(r.EVENTS)[-1] == ("Name", "string", "name", 1)
