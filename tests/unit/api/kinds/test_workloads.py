"""Deployments and their siblings."""

from __future__ import annotations

from typing import Any

import pytest

from pybernetes.api import resources as r
from pybernetes.api.kinds.registry import strategy_for
from pybernetes.api.meta import clone
from pybernetes.api.resources import Resource
from tests.unit.api.kinds.build import created, faults, status_faults, template, update_faults, workload


def spec_of(resource: Resource, **spec: Any) -> dict[str, Any]:
    out: dict[str, Any] = created(resource, workload(resource.kind, **spec))["spec"]
    out.pop("template")
    out.pop("selector", None)
    return out


def test_deployment_defaults() -> None:
    assert spec_of(r.DEPLOYMENTS) == {
        "replicas": 1,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
    }


def test_recreate_gets_no_rolling_update() -> None:
    assert spec_of(r.DEPLOYMENTS, strategy={"type": "Recreate"})["strategy"] == {"type": "Recreate"}


def test_daemon_set_defaults() -> None:
    assert spec_of(r.DAEMONSETS) == {
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}},
        "revisionHistoryLimit": 10,
    }


def test_stateful_set_defaults() -> None:
    claim = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}
    assert spec_of(r.STATEFULSETS, serviceName="web", volumeClaimTemplates=[claim]) == {
        "serviceName": "web",
        "replicas": 1,
        "podManagementPolicy": "OrderedReady",
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0, "maxUnavailable": 1}},
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
        "revisionHistoryLimit": 10,
        "volumeClaimTemplates": [
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": "data"},
                "spec": {"accessModes": ["ReadWriteOnce"], "volumeMode": "Filesystem", "resources": {}},
                "status": {"phase": "Pending"},
            }
        ],
    }


def test_a_replication_controller_takes_selector_and_labels_from_its_template() -> None:
    obj = workload("ReplicationController")
    del obj["spec"]["selector"]
    out = created(r.REPLICATIONCONTROLLERS, obj)
    assert out["spec"]["selector"] == out["metadata"]["labels"] == {"app": "web"}
    assert out["spec"]["replicas"] == 1


WORKLOADS = [r.DEPLOYMENTS, r.REPLICASETS, r.DAEMONSETS, r.STATEFULSETS]


@pytest.mark.parametrize("resource", WORKLOADS)
def test_a_sound_one_passes(resource: Resource) -> None:
    assert faults(resource, workload(resource.kind)) == []


@pytest.mark.parametrize("resource", WORKLOADS)
def test_the_selector_must_match_the_template(resource: Resource) -> None:
    obj = workload(resource.kind, selector={"matchLabels": {"app": "other"}})
    assert faults(resource, obj) == [
        'spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`'
    ]


@pytest.mark.parametrize("resource", WORKLOADS)
def test_the_selector_is_required(resource: Resource) -> None:
    obj = workload(resource.kind)
    del obj["spec"]["selector"]
    # No selector selects nothing. A daemon set's is not missed as such.
    mismatch = (
        'spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`'
    )
    required = [] if resource == r.DAEMONSETS else ["spec.selector: Required value"]
    assert faults(resource, obj) == [*required, mismatch]


@pytest.mark.parametrize(
    ("resource", "kind"), [(r.DEPLOYMENTS, "deployment"), (r.DAEMONSETS, "daemonset"), (r.STATEFULSETS, "statefulset")]
)
def test_the_selector_may_not_be_empty(resource: Resource, kind: str) -> None:
    assert faults(resource, workload(resource.kind, selector={})) == [
        f"spec.selector: Invalid value: {{}}: empty selector is invalid for {kind}"
    ]


@pytest.mark.parametrize("resource", [r.DEPLOYMENTS, r.REPLICASETS, r.DAEMONSETS])
def test_the_selector_is_immutable(resource: Resource) -> None:
    old = created(resource, workload(resource.kind))
    new = clone(old)
    new["spec"]["selector"] = {"matchLabels": {"app": "web", "tier": "x"}}
    new["spec"]["template"]["metadata"]["labels"]["tier"] = "x"
    assert update_faults(resource, new, old) == [
        'spec.selector: Invalid value: {"matchLabels":{"app":"web","tier":"x"}}: field is immutable'
    ]


@pytest.mark.parametrize("resource", WORKLOADS)
def test_pods_restart_always(resource: Resource) -> None:
    obj = workload(resource.kind, template=template(restartPolicy="Never"))
    assert faults(resource, obj) == [
        'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"'
    ]


@pytest.mark.parametrize(
    ("spec", "errors"),
    [
        ({"replicas": -1}, ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]),
        (
            {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "0%"}}},
            [
                "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0",
            ],
        ),
        (
            {"strategy": {"rollingUpdate": {"maxUnavailable": "101%"}}},
            ['spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "101%": must not be greater than 100%'],
        ),
        (
            {"strategy": {"rollingUpdate": {"maxSurge": "lots"}}},
            [
                'spec.strategy.rollingUpdate.maxSurge: Invalid value: "lots": a valid percent string must be a numeric '
                "string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"
            ],
        ),
        (
            {"strategy": {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}},
            [
                "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
            ],
        ),
        (
            {"progressDeadlineSeconds": 10, "minReadySeconds": 10},
            ["spec.progressDeadlineSeconds: Invalid value: 10: must be greater than minReadySeconds"],
        ),
    ],
)
def test_deployment_refused(spec: dict[str, Any], errors: list[str]) -> None:
    assert faults(r.DEPLOYMENTS, workload("Deployment", **spec)) == errors


def test_faults_inside_a_template_have_their_path() -> None:
    obj = workload("Deployment", template=template(containers=[{"name": "a"}]))
    assert faults(r.DEPLOYMENTS, obj) == ["spec.template.spec.containers[0].image: Required value"]


def test_a_daemon_set_surges_or_is_unavailable_not_both() -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 1}}
    assert faults(r.DAEMONSETS, workload("DaemonSet", updateStrategy=strategy)) == [
        "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero"
    ]


def test_most_of_a_stateful_set_is_fixed() -> None:
    old = created(r.STATEFULSETS, workload("StatefulSet", serviceName="web"))
    new = clone(old)
    new["spec"]["replicas"] = 5
    assert update_faults(r.STATEFULSETS, new, old) == []
    new["spec"]["serviceName"] = "other"
    assert update_faults(r.STATEFULSETS, new, old) == [
        "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
        "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are "
        "forbidden"
    ]


def test_a_change_of_the_spec_raises_the_generation_and_nothing_else_does() -> None:
    strategy = strategy_for(r.DEPLOYMENTS)
    old = created(r.DEPLOYMENTS, workload("Deployment"))
    new = clone(old)
    new["metadata"]["labels"] = {"a": "b"}
    assert strategy.has_generation
    assert not strategy.raises_generation(new, old)
    new["spec"]["replicas"] = 2
    assert strategy.raises_generation(new, old)


def test_a_status_counts_plausibly() -> None:
    old = created(r.REPLICASETS, workload("ReplicaSet"))
    new = clone(old)
    new["status"] = {"replicas": 1, "readyReplicas": 2}
    assert status_faults(r.REPLICASETS, new, old) == [
        "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas"
    ]


def test_required_counts_are_in_a_new_status() -> None:
    assert created(r.REPLICASETS, workload("ReplicaSet"))["status"] == {"replicas": 0}
    assert created(r.DAEMONSETS, workload("DaemonSet"))["status"] == {
        "currentNumberScheduled": 0,
        "numberMisscheduled": 0,
        "desiredNumberScheduled": 0,
        "numberReady": 0,
    }


def test_the_initial_status_is_not_shared() -> None:
    first = created(r.REPLICASETS, workload("ReplicaSet"))
    first["status"]["replicas"] = 7
    assert created(r.REPLICASETS, workload("ReplicaSet"))["status"] == {"replicas": 0}


def test_controller_revisions_keep_their_data() -> None:
    old = created(r.CONTROLLERREVISIONS, {"metadata": {"name": "a", "namespace": "b"}, "data": {"x": 1}, "revision": 1})
    new = {**clone(old), "data": {"x": 2}}
    assert update_faults(r.CONTROLLERREVISIONS, new, old) == ['data: Invalid value: {"x":2}: field is immutable']


def test_a_dotted_name_is_warned_of() -> None:
    obj = created(r.DEPLOYMENTS, {**workload("Deployment"), "metadata": {"name": "a.b", "namespace": "default"}})
    (warning,) = strategy_for(r.DEPLOYMENTS).warnings(obj, None)
    assert warning.startswith("metadata.name: this is used in Pod names and hostnames")
