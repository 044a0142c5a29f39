"""Namespaces, nodes, config maps, secrets, events, leases and RBAC."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from pybernetes.api import resources as r
from pybernetes.api.kinds.registry import strategy_for
from pybernetes.api.meta import Object, clone
from tests.unit.api.kinds.build import created, faults, named, status_faults, update_faults


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


# Namespaces


def test_a_namespace_gets_its_label_finalizer_and_phase() -> None:
    obj = created(r.NAMESPACES, named("team", namespace=""))
    assert obj["metadata"]["labels"] == {"kubernetes.io/metadata.name": "team"}
    assert obj["spec"] == {"finalizers": ["kubernetes"]}
    assert obj["status"] == {"phase": "Active"}


def test_the_name_label_of_a_namespace_cannot_be_changed() -> None:
    obj = named("team", namespace="")
    obj["metadata"]["labels"] = {"kubernetes.io/metadata.name": "other"}
    assert created(r.NAMESPACES, obj)["metadata"]["labels"]["kubernetes.io/metadata.name"] == "team"


def test_an_update_does_not_take_the_finalizer_away() -> None:
    old = created(r.NAMESPACES, named("team", namespace=""))
    new = clone(old)
    new["spec"] = {}
    strategy_for(r.NAMESPACES).prepare_for_update(new, old)
    assert new["spec"] == {"finalizers": ["kubernetes"]}


def test_phases_of_a_namespace() -> None:
    old = created(r.NAMESPACES, named("team", namespace=""))
    new = {**clone(old), "status": {"phase": "Terminating"}}
    assert status_faults(r.NAMESPACES, new, old) == [
        "status.Phase: Invalid value: \"Terminating\": may only be 'Active' if `deletionTimestamp` is empty"
    ]


def test_namespaces_can_be_selected_by_phase_and_by_either_spelling_of_the_name() -> None:
    obj = created(r.NAMESPACES, named("team", namespace=""))
    assert strategy_for(r.NAMESPACES).selectable_fields(obj) == {
        "metadata.name": "team",
        "name": "team",
        "status.phase": "Active",
    }


# Nodes


def node(**spec: Any) -> Object:
    return named("n1", namespace="", spec=spec)


def test_a_node_brings_its_status_along() -> None:
    obj = {**node(), "status": {"capacity": {"cpu": "2000m"}}}
    assert created(r.NODES, obj)["status"] == {"capacity": {"cpu": "2"}, "allocatable": {"cpu": "2"}}


def test_pod_cidrs_follow_each_other_and_stay() -> None:
    old = created(r.NODES, node(podCIDR="10.244.0.0/24"))
    assert old["spec"]["podCIDRs"] == ["10.244.0.0/24"]
    new = clone(old)
    new["spec"].update(podCIDR="10.244.1.0/24", podCIDRs=["10.244.1.0/24"])
    assert update_faults(r.NODES, new, old) == [
        'spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid'
    ]


def test_taints() -> None:
    taints = [{"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoSchedule"}, {"key": "b", "effect": "No"}]
    assert faults(r.NODES, node(taints=taints)) == [
        'metadata.taints[1]: Duplicate value: {"key":"a","effect":"NoSchedule"}: '
        "taints must be unique by key and effect pair",
        'metadata.taints[2].effect: Unsupported value: "No": '
        'supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"',
    ]


def test_nodes_can_be_selected_by_unschedulable() -> None:
    assert strategy_for(r.NODES).selectable_fields(node(unschedulable=True))["spec.unschedulable"] == "true"


# Config maps and secrets


@pytest.mark.parametrize(
    ("fields", "errors"),
    [
        ({"data": {"a.b-c_d": "x"}}, []),
        (
            {"data": {"a b": "x"}},
            [
                "data[a b]: Invalid value: \"a b\": a valid config key must consist of alphanumeric characters, '-', "
                "'_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is "
                "'[-._a-zA-Z0-9]+')"
            ],
        ),
        (
            {"data": {"k": "x"}, "binaryData": {"k": "eA=="}},
            ['data[k]: Invalid value: "k": duplicate of key present in binaryData'],
        ),
        ({"data": {"k": "x" * (1 << 20)}}, []),
        ({"data": {"k": "x" * ((1 << 20) + 1)}}, ["<nil>: Too long: may not be more than 1048576 bytes"]),
    ],
)
def test_config_maps(fields: dict[str, Any], errors: list[str]) -> None:
    assert faults(r.CONFIGMAPS, named(**fields)) == errors


def test_an_immutable_config_map_stays() -> None:
    old = created(r.CONFIGMAPS, named(data={"a": "1"}, immutable=True))
    assert update_faults(r.CONFIGMAPS, {**clone(old), "data": {"a": "2"}}, old) == [
        "data: Forbidden: field is immutable when `immutable` is set"
    ]
    assert update_faults(r.CONFIGMAPS, {**clone(old), "immutable": False}, old) == [
        "immutable: Forbidden: field is immutable when `immutable` is set"
    ]


def test_string_data_is_folded_into_data_and_wins() -> None:
    obj = created(r.SECRETS, named(data={"a": b64("old"), "b": b64("kept")}, stringData={"a": "neu"}))
    assert obj["data"] == {"a": b64("neu"), "b": b64("kept")}
    assert "stringData" not in obj
    assert obj["type"] == "Opaque"


@pytest.mark.parametrize(
    ("kind", "data", "errors"),
    [
        ("kubernetes.io/tls", {"tls.crt": "eA=="}, ["data[tls.key]: Required value"]),
        (
            "kubernetes.io/basic-auth",
            {},
            ["data[username]: Required value", "data[password]: Required value"],
        ),
        ("kubernetes.io/basic-auth", {"username": "eA=="}, []),
        ("kubernetes.io/ssh-auth", {}, ["data[ssh-privatekey]: Required value"]),
        ("kubernetes.io/dockerconfigjson", {}, ["data[.dockerconfigjson]: Required value"]),
        ("kubernetes.io/dockerconfigjson", {".dockerconfigjson": b64("{}")}, []),
        ("example.com/own", {}, []),
        (
            "kubernetes.io/service-account-token",
            {},
            ["metadata.annotations[kubernetes.io/service-account.name]: Required value"],
        ),
    ],
)
def test_typed_secrets(kind: str, data: dict[str, str], errors: list[str]) -> None:
    assert faults(r.SECRETS, named(type=kind, data=data)) == errors


def test_a_bad_docker_configuration_is_not_repeated_in_the_message() -> None:
    obj = named(type="kubernetes.io/dockerconfigjson", data={".dockerconfigjson": b64("hunter2")})
    (error,) = faults(r.SECRETS, obj)
    assert error == (
        "data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": invalid character 'h' looking for "
        "beginning of value"
    )


def test_the_type_of_a_secret_is_fixed() -> None:
    old = created(r.SECRETS, named())
    assert update_faults(r.SECRETS, {**clone(old), "type": "other"}, old) == [
        'type: Invalid value: "other": field is immutable'
    ]
    assert strategy_for(r.SECRETS).selectable_fields(old)["type"] == "Opaque"


# Events


def test_an_event_lives_in_the_namespace_of_what_it_is_about() -> None:
    event = named(involvedObject={"kind": "Pod", "namespace": "other", "name": "p"})
    assert faults(r.EVENTS, event) == [
        'involvedObject.namespace: Invalid value: "other": does not match event.namespace'
    ]
    assert faults(r.EVENTS, named(involvedObject={"kind": "Node", "name": "n"})) == []


def test_fields_to_select_events_by() -> None:
    event = named(
        involvedObject={"kind": "Pod", "namespace": "default", "name": "p", "uid": "u"},
        reason="Started",
        type="Normal",
        source={"component": "kubelet"},
    )
    fields = strategy_for(r.EVENTS).selectable_fields(event)
    assert fields["involvedObject.name"] == "p"
    assert fields["involvedObject.uid"] == "u"
    assert (fields["reason"], fields["type"], fields["source"]) == ("Started", "Normal", "kubelet")
    new = strategy_for(r.EVENTS_V1).selectable_fields({"metadata": {}, "regarding": {"name": "p"}})
    assert new["regarding.name"] == "p"


# Leases and RBAC


def test_leases() -> None:
    assert faults(r.LEASES, named(spec={"leaseDurationSeconds": 0, "leaseTransitions": -1})) == [
        "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
        "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0",
    ]


@pytest.mark.parametrize(
    ("rule", "errors"),
    [
        ({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}, []),
        (
            {"apiGroups": [""], "resources": ["pods"]},
            ["rules[0].verbs: Required value: verbs must contain at least one value"],
        ),
        (
            {"verbs": ["get"]},
            [
                "rules[0].apiGroups: Required value: resource rules must supply at least one api group",
                "rules[0].resources: Required value: resource rules must supply at least one resource",
            ],
        ),
        (
            {"verbs": ["get"], "nonResourceURLs": ["/x"]},
            ['rules[0].nonResourceURLs: Invalid value: ["/x"]: namespaced rules cannot apply to non-resource URLs'],
        ),
    ],
)
def test_roles(rule: dict[str, Any], errors: list[str]) -> None:
    assert faults(r.ROLES, named(rules=[rule])) == errors


def test_role_bindings_default_their_groups_and_keep_their_role() -> None:
    obj = named(
        roleRef={"kind": "Role", "name": "reader"},
        subjects=[{"kind": "User", "name": "ann"}, {"kind": "ServiceAccount", "name": "sa", "namespace": "x"}],
    )
    old = created(r.ROLEBINDINGS, obj)
    assert old["roleRef"]["apiGroup"] == old["subjects"][0]["apiGroup"] == "rbac.authorization.k8s.io"
    assert faults(r.ROLEBINDINGS, obj) == []
    new = clone(old)
    new["roleRef"]["name"] = "writer"
    assert update_faults(r.ROLEBINDINGS, new, old) == [
        'roleRef: Invalid value: {"kind":"Role","name":"writer","apiGroup":"rbac.authorization.k8s.io"}: '
        "cannot change roleRef"
    ]


def test_a_cluster_role_binding_binds_cluster_roles_to_fully_named_accounts() -> None:
    obj = named(
        namespace="", roleRef={"kind": "Role", "name": "x"}, subjects=[{"kind": "ServiceAccount", "name": "sa"}]
    )
    assert faults(r.CLUSTERROLEBINDINGS, obj) == [
        'roleRef.kind: Unsupported value: "Role": supported values: "ClusterRole"',
        "subjects[0].namespace: Required value",
    ]


def test_of_a_service_accounts_secrets_only_names_are_kept() -> None:
    reference = {"name": "token", "namespace": "elsewhere", "kind": "Secret"}
    old = created(r.SERVICEACCOUNTS, named(secrets=[reference]))
    assert old["secrets"] == [{"name": "token"}]
    new = {**clone(old), "secrets": [reference, {"kind": "Secret"}]}
    strategy_for(r.SERVICEACCOUNTS).prepare_for_update(new, old)
    assert new["secrets"] == [{"name": "token"}, {}]
