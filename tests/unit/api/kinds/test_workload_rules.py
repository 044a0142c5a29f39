"""Workloads and jobs: the exact faults."""

from __future__ import annotations

from typing import Any

import pytest

from pybernetes.api import resources as r
from pybernetes.api.meta import Object
from pybernetes.api.resources import Resource
from tests.unit.api.kinds.build import changed, faults, named, stated, template, workload


def job(**spec: Any) -> Object:
    return named(spec={"template": template(restartPolicy="Never"), **spec})


def cron(**spec: Any) -> Object:
    return named(spec={"schedule": "@daily", "jobTemplate": {"spec": job()["spec"]}, **spec})


DATA: Object = {"name": "data", "emptyDir": {}}
NO_NAME: Object = {"emptyDir": {}}


def claim(name: str, **spec: Any) -> Object:
    requests = {"requests": {"storage": "1Gi"}}
    return {"metadata": {"name": name}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": requests, **spec}}


def mounting(volume: str) -> Object:
    return {"name": "web", "image": "nginx:1.25", "volumeMounts": [{"name": volume, "mountPath": "/data"}]}


@pytest.mark.parametrize(
    ("resource", "obj", "errors"),
    [
        (
            r.DEPLOYMENTS,
            workload("Deployment", selector={}, replicas=-1),
            [
                "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
                "spec.selector: Invalid value: {}: empty selector is invalid for deployment",
            ],
        ),
        (
            r.DEPLOYMENTS,
            workload("Deployment", selector={"matchLabels": {"a": "b"}}),
            [
                'spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template '
                "`labels`",
            ],
        ),
        (
            r.DEPLOYMENTS,
            workload("Deployment", template=template(restartPolicy="Never", activeDeadlineSeconds=5)),
            [
                'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"',
                "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not "
                "Supported",
            ],
        ),
        (
            r.DEPLOYMENTS,
            workload("Deployment", strategy={"type": "Recreate", "rollingUpdate": {}}),
            [
                "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
            ],
        ),
        (
            r.DEPLOYMENTS,
            workload(
                "Deployment",
                strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}},
            ),
            [
                'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "0%": may not be 0 when `maxSurge` is 0',
            ],
        ),
        (
            r.DEPLOYMENTS,
            workload("Deployment", minReadySeconds=700, progressDeadlineSeconds=600),
            [
                "spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds",
            ],
        ),
        (
            r.DAEMONSETS,
            workload("DaemonSet", updateStrategy={"type": "x"}),
            [
                'spec.updateStrategy: Unsupported value: {"type":"x"}: supported values: "RollingUpdate", "OnDelete"',
            ],
        ),
        (
            r.DAEMONSETS,
            workload("DaemonSet", updateStrategy={"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}),
            [
                "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable "
                "is non-zero",
            ],
        ),
        (
            r.STATEFULSETS,
            workload("StatefulSet", podManagementPolicy="x", updateStrategy={"type": "y"}, ordinals={"start": -1}),
            [
                "spec.podManagementPolicy: Invalid value: \"x\": must be 'OrderedReady' or 'Parallel'",
                "spec.updateStrategy: Invalid value: {\"type\":\"y\"}: must be 'RollingUpdate' or 'OnDelete'",
                "spec.ordinals.start: Invalid value: -1: must be greater than or equal to 0",
            ],
        ),
        (
            r.STATEFULSETS,
            workload("StatefulSet", persistentVolumeClaimRetentionPolicy={"whenDeleted": "x"}),
            [
                'spec.persistentVolumeClaimRetentionPolicy.whenDeleted: Unsupported value: "x": supported values: '
                '"Retain", "Delete"',
            ],
        ),
        (
            r.STATEFULSETS,
            workload("StatefulSet", serviceName="a.b", volumeClaimTemplates=[claim("data", accessModes=[])]),
            [
                "spec.volumeClaimTemplates[0].spec.accessModes: Required value: at least 1 access mode is required",
                'spec.serviceName: Invalid value: "a.b": must not contain dots',
            ],
        ),
        (
            r.STATEFULSETS,
            workload(
                "StatefulSet",
                template=template(containers=[mounting("data")], volumes=[]),
                volumeClaimTemplates=[claim("data")],
            ),
            [],
        ),
        (
            r.STATEFULSETS,
            workload(
                "StatefulSet",
                template=template(containers=[mounting("data")], volumes=[DATA, NO_NAME]),
                volumeClaimTemplates=[claim("data"), claim("more")],
            ),
            ["spec.template.spec.volumes[0].name: Required value"],
        ),
        (
            r.STATEFULSETS,
            workload(
                "StatefulSet", template=template(containers=[mounting("other")]), volumeClaimTemplates=[claim("data")]
            ),
            ['spec.template.spec.containers[0].volumeMounts[0].name: Not found: "other"'],
        ),
        (
            r.REPLICATIONCONTROLLERS,
            named(spec={"replicas": -1, "selector": {"a": "b"}, "template": template()}),
            [
                "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
                'spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template '
                "`labels`",
            ],
        ),
        (
            r.CONTROLLERREVISIONS,
            named(revision=-1),
            [
                "data: Required value: data is mandatory",
                "revision: Invalid value: -1: must be greater than or equal to 0",
            ],
        ),
    ],
)
def test_workloads(resource: Resource, obj: Object, errors: list[str]) -> None:
    assert faults(resource, obj) == errors


@pytest.mark.parametrize(
    ("resource", "old", "new", "errors"),
    [
        (
            r.DEPLOYMENTS,
            workload("Deployment"),
            workload(
                "Deployment",
                selector={"matchLabels": {"app": "web", "a": "b"}},
                template={**template(), "metadata": {"labels": {"app": "web", "a": "b"}}},
            ),
            [
                'spec.selector: Invalid value: {"matchLabels":{"app":"web","a":"b"}}: field is immutable',
            ],
        ),
        (
            r.STATEFULSETS,
            workload("StatefulSet"),
            workload("StatefulSet", serviceName="b", replicas=3),
            [
                "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', "
                "'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
                "'minReadySeconds' are forbidden",
            ],
        ),
        # What was stored before a rule existed may stay.
        (
            r.STATEFULSETS,
            workload("StatefulSet", template=template(containers=[mounting("none")]), serviceName="a.b"),
            workload("StatefulSet", template=template(containers=[mounting("none")]), serviceName="a.b", replicas=3),
            [],
        ),
        (
            r.STATEFULSETS,
            workload("StatefulSet", template=template(containers=[mounting("none")])),
            workload("StatefulSet", template=template(containers=[mounting("none")], restartPolicy="Never")),
            ['spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"'],
        ),
        (
            r.STATEFULSETS,
            workload("StatefulSet"),
            workload("StatefulSet", template=template(containers=[mounting("none")])),
            ['spec.template.spec.containers[0].volumeMounts[0].name: Not found: "none"'],
        ),
        (
            r.CONTROLLERREVISIONS,
            named(revision=1, data={"a": 1}),
            named(revision=2, data={"a": 2}),
            [
                'data: Invalid value: {"a":2}: field is immutable',
            ],
        ),
    ],
)
def test_workload_updates(resource: Resource, old: Object, new: Object, errors: list[str]) -> None:
    assert changed(resource, old, new) == errors


@pytest.mark.parametrize(
    ("resource", "obj", "status", "errors"),
    [
        (
            r.DEPLOYMENTS,
            workload("Deployment"),
            {"replicas": 1, "updatedReplicas": 2, "readyReplicas": 3, "availableReplicas": 4},
            [
                "status.updatedReplicas: Invalid value: 2: cannot be greater than status.replicas",
                "status.readyReplicas: Invalid value: 3: cannot be greater than status.replicas",
                "status.availableReplicas: Invalid value: 4: cannot be greater than status.replicas",
                "status.availableReplicas: Invalid value: 4: cannot be greater than readyReplicas",
            ],
        ),
        (
            r.REPLICASETS,
            workload("ReplicaSet"),
            {"replicas": 1, "readyReplicas": 2, "availableReplicas": 3, "fullyLabeledReplicas": 4},
            [
                "status.fullyLabeledReplicas: Invalid value: 4: cannot be greater than status.replicas",
                "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas",
                "status.availableReplicas: Invalid value: 3: cannot be greater than status.replicas",
                "status.availableReplicas: Invalid value: 3: cannot be greater than readyReplicas",
            ],
        ),
        (
            r.STATEFULSETS,
            workload("StatefulSet"),
            {"replicas": 3, "readyReplicas": 1, "availableReplicas": 2},
            ["status.availableReplicas: Invalid value: 2: cannot be greater than status.readyReplicas"],
        ),
    ],
)
def test_workload_statuses(resource: Resource, obj: Object, status: Object, errors: list[str]) -> None:
    assert stated(resource, obj, status) == errors


@pytest.mark.parametrize(
    ("resource", "obj", "errors"),
    [
        (
            r.JOBS,
            job(parallelism=-1, completions=-1, backoffLimit=-1, activeDeadlineSeconds=-1, ttlSecondsAfterFinished=-1),
            [
                "spec.parallelism: Invalid value: -1: must be greater than or equal to 0",
                "spec.completions: Invalid value: -1: must be greater than or equal to 0",
                "spec.activeDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0",
                "spec.backoffLimit: Invalid value: -1: must be greater than or equal to 0",
                "spec.ttlSecondsAfterFinished: Invalid value: -1: must be greater than or equal to 0",
            ],
        ),
        (
            r.JOBS,
            job(template=template()),
            [
                'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"',
            ],
        ),
        (r.JOBS, job(completionMode="Indexed"), []),
        (
            r.JOBS,
            job(completionMode="x", podReplacementPolicy="y"),
            [
                'spec.completionMode: Unsupported value: "x": supported values: "NonIndexed", "Indexed"',
                'spec.podReplacementPolicy: Unsupported value: "y": supported values: "Failed", "TerminatingOrFailed"',
            ],
        ),
        (
            r.JOBS,
            job(backoffLimitPerIndex=1),
            [
                "spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode",
            ],
        ),
        (
            r.JOBS,
            job(completionMode="Indexed", completions=200000, parallelism=200000),
            [
                "spec.parallelism: Invalid value: 200000: must be less than or equal to 100000 when completion "
                "mode is Indexed",
            ],
        ),
        (
            r.JOBS,
            job(podFailurePolicy={"rules": [{"action": "x"}]}),
            [
                'spec.podFailurePolicy.rules[0].action: Unsupported value: "x": supported values: "Count", '
                '"FailIndex", "FailJob", "Ignore"',
                "spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions "
                "is required",
            ],
        ),
        (
            r.JOBS,
            job(
                podFailurePolicy={
                    "rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [0, 2, 1]}}]
                }
            ),
            [
                "spec.podFailurePolicy.rules[0].onExitCodes.values[0]: Invalid value: 0: must not be 0 for the In "
                "operator",
                "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [0,2,1]: must be ordered",
            ],
        ),
        (
            r.JOBS,
            job(successPolicy={"rules": []}),
            [
                'spec.successPolicy: Invalid value: {"rules":[]}: requires indexed completion mode',
            ],
        ),
        (
            r.JOBS,
            job(managedBy="a"),
            [
                'spec.managedBy: Invalid value: "a": must be a domain-prefixed path (such as "acme.io/foo")',
            ],
        ),
    ],
)
def test_jobs(resource: Resource, obj: Object, errors: list[str]) -> None:
    assert faults(resource, obj) == errors


@pytest.mark.parametrize(
    ("resource", "obj", "errors"),
    [
        (
            r.CRONJOBS,
            cron(schedule=""),
            [
                "spec.schedule: Required value",
            ],
        ),
        (
            r.CRONJOBS,
            cron(schedule="TZ=UTC * * * * *", concurrencyPolicy="x", startingDeadlineSeconds=-1),
            [
                'spec.schedule: Invalid value: "TZ=UTC * * * * *": cannot use TZ or CRON_TZ in schedule, use '
                "timeZone field instead",
                "spec.startingDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0",
                'spec.concurrencyPolicy: Unsupported value: "x": supported values: "Allow", "Forbid", "Replace"',
            ],
        ),
        (
            r.CRONJOBS,
            cron(timeZone="Nowhere/None", successfulJobsHistoryLimit=-1),
            [
                'spec.timeZone: Invalid value: "Nowhere/None": unknown time zone Nowhere/None',
                "spec.successfulJobsHistoryLimit: Invalid value: -1: must be greater than or equal to 0",
            ],
        ),
        (
            r.CRONJOBS,
            named("x" * 53, spec=cron()["spec"]),
            [
                'metadata.name: Invalid value: "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx": must be no '
                "more than 52 characters",
            ],
        ),
    ],
)
def test_cron_jobs(resource: Resource, obj: Object, errors: list[str]) -> None:
    assert faults(resource, obj) == errors
