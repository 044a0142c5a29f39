"""Policy, networking, autoscaling, certificates, extensions, admission, flow control and devices."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pybernetes.api import errors
from pybernetes.api import resources as r
from pybernetes.api.kinds.registry import STRATEGIES, strategy_for
from pybernetes.api.kinds.scale import from_scale, to_scale
from pybernetes.api.kinds.strategy import Strategy
from pybernetes.api.meta import Object, clone
from pybernetes.api.resources import Resource
from tests.unit.api.kinds.build import created, faults, named, status_faults, update_faults, workload


def test_the_table_names_only_served_resources_and_instances_are_shared() -> None:
    assert set(STRATEGIES) <= set(r.BUILTIN)
    for resource in r.BUILTIN:
        strategy = strategy_for(resource)
        assert strategy is strategy_for(resource)
        assert strategy.resource == resource
        assert {"metadata.name"} <= strategy.selectable_field_names()


def test_an_unknown_resource_gets_the_generic_strategy() -> None:
    custom = Resource("example.com", "v1", "widgets", "Widget", "widget", True)
    assert type(strategy_for(custom)) is Strategy
    obj = {"metadata": {"name": "a"}, "status": {"x": 1}}
    strategy_for(custom).prepare_for_create(obj)
    assert obj["status"] == {"x": 1}, "without a status subresource, status is a field like any other"


CASES: list[tuple[Resource, Object, list[str]]] = [
    (r.PODDISRUPTIONBUDGETS, named(spec={"minAvailable": "50%"}), []),
    (
        r.PODDISRUPTIONBUDGETS,
        named(spec={"minAvailable": 1, "maxUnavailable": 1}),
        [
            'spec: Invalid value: {"minAvailable":1,"maxUnavailable":1}: '
            "minAvailable and maxUnavailable cannot be both set"
        ],
    ),
    (
        r.LIMITRANGES,
        named(spec={"limits": [{"type": "Container", "min": {"cpu": "2"}, "max": {"cpu": "1"}}]}),
        [
            'spec.limits[0].min[cpu]: Invalid value: "2": min value 2 is greater than max value 1',
            'spec.limits[0].defaultRequest[cpu]: Invalid value: "1": '
            "min value 2 is greater than default request value 1",
            'spec.limits[0].default[cpu]: Invalid value: "2": min value 2 is greater than default value 1',
        ],
    ),
    (
        r.LIMITRANGES,
        named(spec={"limits": [{"type": "Pod", "default": {"cpu": "1"}}]}),
        ["spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'"],
    ),
    (r.RESOURCEQUOTAS, named(spec={"hard": {"requests.cpu": "1", "count/deployments.apps": "5", "pods": "10"}}), []),
    (
        r.RESOURCEQUOTAS,
        named(spec={"hard": {"pods": "1.5"}}),
        ['spec.hard[pods]: Invalid value: "1500m": must be an integer'],
    ),
    (
        r.RESOURCEQUOTAS,
        named(spec={"hard": {"pods": "1"}, "scopes": ["BestEffort", "NotBestEffort"]}),
        ['spec.scopes: Invalid value: ["BestEffort","NotBestEffort"]: conflicting scopes'],
    ),
    (r.PRIORITYCLASSES, named(namespace="", value=1000), []),
    (
        r.PRIORITYCLASSES,
        named(namespace="", value=2_000_000_000),
        ["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"],
    ),
    (
        r.PRIORITYCLASSES,
        named("system-mine", namespace="", value=1),
        [
            "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. "
            "error: system-mine is not a known system priority class"
        ],
    ),
    (
        r.INGRESSES,
        named(spec={"rules": [{"host": "10.0.0.1", "http": {"paths": [{"pathType": "Prefix", "path": "x"}]}}]}),
        [
            'spec.rules[0].host: Invalid value: "10.0.0.1": must be a DNS name, not an IP address',
            'spec.rules[0].http.paths[0].path: Invalid value: "x": must be an absolute path',
            'spec.rules[0].http.paths[0].backend: Invalid value: "": resource or service backend is required',
        ],
    ),
    (
        r.INGRESSES,
        named(spec={"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}}),
        [],
    ),
    (
        r.INGRESSCLASSES,
        named(namespace="", spec={"controller": "nginx"}),
        ['spec.controller: Invalid value: "nginx": must be a domain-prefixed path (such as "acme.io/foo")'],
    ),
    (r.NETWORKPOLICIES, named(spec={"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}]}]}), []),
    (
        r.NETWORKPOLICIES,
        named(
            spec={
                "podSelector": {},
                "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/24", "except": ["10.1.0.0/25"]}}, {}]}],
            }
        ),
        [
            'spec.egress[0].to[0].ipBlock.except[0]: Invalid value: "10.1.0.0/25": must be a strict subset of `cidr`',
            "spec.egress[0].to[1]: Required value: must specify a peer",
        ],
    ),
    (
        r.HORIZONTALPODAUTOSCALERS,
        named(spec={"minReplicas": 5, "maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "web"}}),
        ["spec.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`"],
    ),
    (
        r.HORIZONTALPODAUTOSCALERS,
        named(spec={"minReplicas": -1, "maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "web"}}),
        ["spec.minReplicas: Invalid value: -1: must be greater than or equal to 0"],
    ),
    (
        r.HORIZONTALPODAUTOSCALERS,
        named(spec={"minReplicas": 0, "maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "web"}}),
        [
            "spec.metrics: Forbidden: must specify at least one Object or External metric to support scaling to zero "
            "replicas"
        ],
    ),
    (
        r.HORIZONTALPODAUTOSCALERS,
        named(
            spec={
                "minReplicas": 0,
                "maxReplicas": 3,
                "scaleTargetRef": {"kind": "Deployment", "name": "web"},
                "metrics": [
                    {
                        "type": "External",
                        "external": {"metric": {"name": "q"}, "target": {"type": "Value", "value": "5"}},
                    }
                ],
            },
        ),
        [],
    ),
    (
        r.HORIZONTALPODAUTOSCALERS,
        named(
            spec={
                "maxReplicas": 3,
                "scaleTargetRef": {"kind": "Deployment", "name": "web"},
                "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization"}}}],
            }
        ),
        [
            "spec.metrics[0].resource.target.averageUtilization: Required value: "
            "must set either a target raw value or a target utilization"
        ],
    ),
    (r.RUNTIMECLASSES, named(namespace="", handler="runc"), []),
    (
        r.SERVICECIDRS,
        named(namespace="", spec={"cidrs": ["nope"]}),
        ['spec.cidrs[0]: Invalid value: "nope": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)'],
    ),
    (
        r.VALIDATINGWEBHOOKCONFIGURATIONS,
        named(
            namespace="",
            webhooks=[
                {
                    "name": "a.example.com",
                    "clientConfig": {"url": "http://x"},
                    "admissionReviewVersions": ["v1"],
                    "sideEffects": "Some",
                }
            ],
        ),
        [
            'webhooks[0].sideEffects: Unsupported value: "Some": supported values: "None", "NoneOnDryRun"',
            "webhooks[0].clientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; "
            "desired format: https://host[/path]",
        ],
    ),
    (
        r.VALIDATINGADMISSIONPOLICYBINDINGS,
        named(namespace="", spec={"policyName": "p", "validationActions": []}),
        ["spec.validationActions: Required value: at least one validation action is required"],
    ),
    (
        r.PRIORITYLEVELCONFIGURATIONS,
        named(namespace="", spec={"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}}),
        [],
    ),
    (
        r.RESOURCECLAIMS,
        named(spec={"devices": {"requests": [{"name": "gpu", "exactly": {}}]}}),
        ["spec.devices.requests[0].exactly.deviceClassName: Required value"],
    ),
]


@pytest.mark.parametrize(("resource", "obj", "expected"), CASES)
def test_creation(resource: Resource, obj: Object, expected: list[str]) -> None:
    assert faults(resource, obj) == expected


def test_limit_range_defaults() -> None:
    item = {"type": "Container", "max": {"cpu": "2", "memory": "1Gi"}, "min": {"cpu": "100m"}}
    (out,) = created(r.LIMITRANGES, named(spec={"limits": [item]}))["spec"]["limits"]
    assert out["default"] == out["defaultRequest"] == {"cpu": "2", "memory": "1Gi"}


def test_hpa_defaults() -> None:
    spec = created(r.HORIZONTALPODAUTOSCALERS, named(spec={"maxReplicas": 3, "behavior": {"scaleUp": {}}}))["spec"]
    assert spec["minReplicas"] == 1
    assert spec["metrics"] == [
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}
    ]
    assert spec["behavior"]["scaleUp"] == {
        "stabilizationWindowSeconds": 0,
        "selectPolicy": "Max",
        "policies": [
            {"type": "Pods", "value": 4, "periodSeconds": 15},
            {"type": "Percent", "value": 100, "periodSeconds": 15},
        ],
    }


def test_webhook_defaults() -> None:
    webhook = {"name": "a.b.c", "rules": [{}], "clientConfig": {"service": {"name": "s", "namespace": "n"}}}
    (out,) = created(r.MUTATINGWEBHOOKCONFIGURATIONS, named(namespace="", webhooks=[webhook]))["webhooks"]
    assert out == {
        "name": "a.b.c",
        "rules": [{"scope": "*"}],
        "clientConfig": {"service": {"name": "s", "namespace": "n", "port": 443}},
        "failurePolicy": "Fail",
        "matchPolicy": "Equivalent",
        "namespaceSelector": {},
        "objectSelector": {},
        "timeoutSeconds": 10,
        "reinvocationPolicy": "Never",
    }


def test_network_policy_types_follow_the_rules() -> None:
    one = created(r.NETWORKPOLICIES, named(spec={"podSelector": {}}))
    both = created(r.NETWORKPOLICIES, named(spec={"podSelector": {}, "egress": [{"ports": [{"port": 53}]}]}))
    assert one["spec"]["policyTypes"] == ["Ingress"]
    assert both["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert both["spec"]["egress"][0]["ports"][0]["protocol"] == "TCP"


def definition(**spec: Any) -> Object:
    schema = {"openAPIV3Schema": {"type": "object"}}
    defaults = {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget"},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
    }
    return named("widgets.example.com", namespace="", spec={**defaults, **spec})


def test_custom_resource_definitions() -> None:
    obj = created(r.CUSTOMRESOURCEDEFINITIONS, definition())
    assert obj["spec"]["names"] == {
        "plural": "widgets",
        "kind": "Widget",
        "singular": "widget",
        "listKind": "WidgetList",
    }
    assert obj["spec"]["conversion"] == {"strategy": "None"}
    assert obj["status"]["storedVersions"] == ["v1"]
    assert obj["metadata"]["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"]
    assert faults(r.CUSTOMRESOURCEDEFINITIONS, definition()) == []


def test_a_definition_needs_types_everywhere_and_one_storage_version() -> None:
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"properties": {"a": {"type": "nope"}}}}}}
    bad = definition(versions=[{"name": "v1", "served": True, "storage": False, "schema": schema}])
    found = faults(r.CUSTOMRESOURCEDEFINITIONS, bad)
    at = "spec.versions[0].schema.openAPIV3Schema.properties[spec]"
    assert found[:2] == [
        f"{at}.type: Required value: must not be empty for specified object fields",
        f'{at}.properties[a].type: Unsupported value: "nope": supported values: '
        '"array", "boolean", "integer", "number", "object", "string"',
    ]
    assert found[2].endswith("must have exactly one version marked as storage version")


def test_a_new_storage_version_is_remembered() -> None:
    old = created(r.CUSTOMRESOURCEDEFINITIONS, definition())
    schema = {"openAPIV3Schema": {"type": "object"}}
    new = clone(old)
    new["spec"]["versions"] = [
        {"name": "v1", "served": True, "storage": False, "schema": schema},
        {"name": "v2", "served": True, "storage": True, "schema": schema},
    ]
    strategy_for(r.CUSTOMRESOURCEDEFINITIONS).prepare_for_update(new, old)
    assert new["status"]["storedVersions"] == ["v1", "v2"]


def signing_request(**spec: Any) -> Object:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ann")])
    pem = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    defaults = {
        "request": base64.b64encode(pem.public_bytes(serialization.Encoding.PEM)).decode(),
        "signerName": "kubernetes.io/kube-apiserver-client",
        "usages": ["client auth"],
    }
    return named(namespace="", spec={**defaults, **spec})


@pytest.mark.parametrize(
    ("spec", "errors"),
    [
        ({}, []),
        ({"usages": []}, ["spec.usages: Required value"]),
        ({"expirationSeconds": 60}, [
            "spec.expirationSeconds: Invalid value: 60: may not specify a duration less than 600 seconds (10 minutes)"
        ]),
        ({"request": "eA=="}, [
            'spec.request: Invalid value: "eA==": PEM block type must be CERTIFICATE REQUEST'
        ]),
        ({"signerName": "mine"}, [
            'spec.signerName: Invalid value: "mine": '
            "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        ]),
    ],
)  # fmt: skip
def test_signing_requests(spec: dict[str, Any], errors: list[str]) -> None:
    assert faults(r.CERTIFICATESIGNINGREQUESTS, signing_request(**spec)) == errors


def test_a_signing_request_is_not_approved_through_its_status() -> None:
    old = created(r.CERTIFICATESIGNINGREQUESTS, signing_request())
    new = clone(old)
    new["status"] = {"conditions": [{"type": "Approved", "status": "True"}], "certificate": "eA=="}
    assert status_faults(r.CERTIFICATESIGNINGREQUESTS, new, old) == [
        'status.certificate: Invalid value: "<certificate data>": must contain at least one CERTIFICATE PEM block',
        'status.conditions: Forbidden: updates may not add a condition of type "Approved"',
    ]


def test_a_status_update_keeps_how_a_request_was_approved() -> None:
    old = created(r.CERTIFICATESIGNINGREQUESTS, signing_request())
    old["status"] = {"conditions": [{"type": "Approved", "status": "True", "reason": "Mine"}]}
    new = clone(old)
    new["status"]["conditions"][0]["reason"] = "Other"
    assert status_faults(r.CERTIFICATESIGNINGREQUESTS, new, old) == []
    strategy_for(r.CERTIFICATESIGNINGREQUESTS).prepare_for_status_update(new, old)
    assert new["status"] == old["status"]


def test_approved_and_denied_exclude_each_other() -> None:
    old = created(r.CERTIFICATESIGNINGREQUESTS, signing_request())
    old["status"] = {"conditions": [{"type": t, "status": "True"} for t in ("Approved", "Denied")]}
    assert status_faults(r.CERTIFICATESIGNINGREQUESTS, clone(old), old) == [
        'status.conditions[1].type: Invalid value: "Denied": Approved and Denied conditions are mutually exclusive'
    ]


IMMUTABLE: list[tuple[Resource, Object, Object, str]] = [
    (r.RUNTIMECLASSES, {"handler": "a"}, {"handler": "b"}, 'handler: Invalid value: "b": field is immutable'),
    (r.PRIORITYCLASSES, {"value": 1}, {"value": 2}, "value: Forbidden: may not be changed in an update."),
    (
        r.INGRESSCLASSES,
        {"spec": {"controller": "a.io/x"}},
        {"spec": {"controller": "a.io/y"}},
        'spec.controller: Invalid value: "a.io/y": field is immutable',
    ),
]


@pytest.mark.parametrize(("resource", "before", "after", "error"), IMMUTABLE)
def test_what_may_not_change(resource: Resource, before: Object, after: Object, error: str) -> None:
    old = created(resource, named(namespace="", **before))
    assert update_faults(resource, {**clone(old), **after}, old) == [error]


# Scale


def deployment() -> Object:
    obj = created(r.DEPLOYMENTS, workload("Deployment", replicas=3))
    obj["metadata"]["resourceVersion"] = "7"
    obj["status"] = {"replicas": 2}
    return obj


def test_scale_of_a_deployment() -> None:
    scale = to_scale(r.DEPLOYMENTS, deployment())
    assert (scale["kind"], scale["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert scale["spec"] == {"replicas": 3}
    assert scale["status"] == {"replicas": 2, "selector": "app=web"}
    assert scale["metadata"]["resourceVersion"] == "7"


def test_scale_of_a_replication_controller_has_a_plain_selector() -> None:
    obj = named(spec={"replicas": 1, "selector": {"b": "2", "a": "1"}})
    assert to_scale(r.REPLICATIONCONTROLLERS, obj)["status"]["selector"] == "a=1,b=2"


def test_scaling_sets_the_replicas() -> None:
    obj = deployment()
    from_scale(r.DEPLOYMENTS, obj, {"metadata": {"name": "web"}, "spec": {"replicas": 9}})
    assert obj["spec"]["replicas"] == 9
    from_scale(r.DEPLOYMENTS, obj, {"metadata": {"name": "web"}, "spec": {}})
    assert obj["spec"]["replicas"] == 0


def test_scaling_is_refused_for_bad_counts_and_old_versions() -> None:
    with pytest.raises(errors.Invalid) as info:
        from_scale(r.DEPLOYMENTS, deployment(), {"spec": {"replicas": -1}})
    assert info.value.message == (
        'Scale.autoscaling "web" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0'
    )
    with pytest.raises(errors.Conflict):
        from_scale(r.DEPLOYMENTS, deployment(), {"metadata": {"resourceVersion": "6"}, "spec": {"replicas": 1}})
