"""Nodes, quotas, budgets and classes: the exact faults and warnings."""

from __future__ import annotations

from typing import Any

import pytest

from pybernetes.api import resources as r
from pybernetes.api.meta import Object
from pybernetes.api.resources import Resource
from tests.unit.api.kinds.build import changed, faults, named, stated, warned


def quota(**spec: Any) -> Object:
    return named(spec=spec)


def limits(**item: Any) -> Object:
    return named(spec={"limits": [{"type": "Container", **item}]})


def node(**spec: Any) -> Object:
    return named(namespace="", spec=spec)


@pytest.mark.parametrize(
    ("resource", "old", "new", "errors"),
    [
        (
            r.NODES,
            node(podCIDR="10.0.0.0/24", podCIDRs=["10.0.0.0/24"]),
            node(podCIDR="10.1.0.0/24", podCIDRs=["10.1.0.0/24"]),
            [
                'spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid',
            ],
        ),
        (
            r.NODES,
            node(providerID="a"),
            node(providerID="b"),
            [
                'spec.providerID: Forbidden: node updates may not change providerID except from "" to valid',
            ],
        ),
        (
            r.NODES,
            node(),
            node(
                taints=[
                    {"key": "a", "effect": "x"},
                    {"key": "b", "effect": "NoSchedule"},
                    {"key": "b", "effect": "NoSchedule"},
                ]
            ),
            [
                'metadata.taints[0].effect: Unsupported value: "x": supported values: "NoSchedule", '
                '"PreferNoSchedule", "NoExecute"',
                'metadata.taints[2]: Duplicate value: {"key":"b","effect":"NoSchedule"}: taints must be unique by '
                "key and effect pair",
            ],
        ),
    ],
)
def test_nodes(resource: Resource, old: Object, new: Object, errors: list[str]) -> None:
    assert changed(resource, old, new) == errors


@pytest.mark.parametrize(
    ("resource", "obj", "texts"),
    [
        (
            r.NODES,
            node(podCIDRs=["10.0.0.1/24"], externalID="x", configSource={"configMap": {}}),
            [
                "spec.configSource: the feature is no longer supported by kubelet; use a configuration file instead",
                "spec.externalID: this field is deprecated, and is unused by Kubernetes",
                'spec.podCIDRs[0]: CIDR value "10.0.0.1/24" is ambiguous in this context (should be "10.0.0.0/24" '
                'or "10.0.0.1/32"?)',
            ],
        ),
    ],
)
def test_node_warnings(resource: Resource, obj: Object, texts: list[str]) -> None:
    assert warned(resource, obj) == texts


@pytest.mark.parametrize(
    ("resource", "obj", "errors"),
    [
        (
            r.RESOURCEQUOTAS,
            quota(hard={"pods": "1.5", "nothing": "1", "count/a": "-1"}),
            [
                'spec.hard[pods]: Invalid value: "1500m": must be an integer',
                'spec.hard[nothing]: Invalid value: "nothing": must be a standard resource type or fully qualified',
                'spec.hard[nothing]: Invalid value: "nothing": must be a standard resource for quota',
                'spec.hard[count/a]: Invalid value: "-1": must be greater than or equal to 0',
            ],
        ),
        (
            r.RESOURCEQUOTAS,
            quota(hard={"services": "1"}, scopes=["BestEffort", "NotBestEffort"]),
            [
                'spec.scopes: Invalid value: ["BestEffort","NotBestEffort"]: unsupported scope applied to resource',
                'spec.scopes: Invalid value: ["BestEffort","NotBestEffort"]: unsupported scope applied to resource',
                'spec.scopes: Invalid value: ["BestEffort","NotBestEffort"]: conflicting scopes',
            ],
        ),
        (
            r.RESOURCEQUOTAS,
            quota(scopes=["x"]),
            [
                'spec.scopes: Invalid value: ["x"]: unsupported scope',
            ],
        ),
        (
            r.RESOURCEQUOTAS,
            quota(scopeSelector={"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In"}]}),
            [
                "spec.scopeSelector.matchExpressions.values: Required value: must be at least one value when "
                "`operator` is 'In' or 'NotIn' for scope selector",
            ],
        ),
        (
            r.RESOURCEQUOTAS,
            quota(scopeSelector={"matchExpressions": [{"scopeName": "x", "operator": "y"}]}),
            [
                'spec.scopeSelector.matchExpressions.scopeName: Invalid value: "x": unsupported scope',
                'spec.scopeSelector.matchExpressions.operator: Invalid value: "y": not a valid selector operator',
            ],
        ),
        (
            r.RESOURCEQUOTAS,
            quota(scopeSelector={"matchExpressions": [{"scopeName": "BestEffort", "operator": "In", "values": ["a"]}]}),
            [
                "spec.scopeSelector.matchExpressions.operator: Invalid value: \"In\": must be 'Exists' when scope "
                "is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, "
                "ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or "
                "ResourceQuotaScopeCrossNamespacePodAffinity",
            ],
        ),
        (
            r.LIMITRANGES,
            limits(max={"cpu": "1"}, default={"cpu": "2"}),
            [
                'spec.limits[0].defaultRequest[cpu]: Invalid value: "2": default request value 2 is greater than '
                "max value 1",
                'spec.limits[0].default[cpu]: Invalid value: "1": default value 2 is greater than max value 1',
            ],
        ),
        (
            r.LIMITRANGES,
            limits(type="Pod", default={"cpu": "1"}),
            [
                "spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'",
            ],
        ),
        (
            r.LIMITRANGES,
            limits(type="PersistentVolumeClaim"),
            [
                "spec.limits[0].limits: Required value: either minimum or maximum storage value is required, but "
                "neither was provided",
            ],
        ),
        (
            r.LIMITRANGES,
            limits(maxLimitRequestRatio={"cpu": "500m"}),
            [
                'spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: "500m": ratio 500m is less than 1',
            ],
        ),
        (
            r.LIMITRANGES,
            limits(type="x"),
            [
                'spec.limits[0].type: Invalid value: "x": must be a standard limit type or fully qualified',
            ],
        ),
    ],
)
def test_quotas(resource: Resource, obj: Object, errors: list[str]) -> None:
    assert faults(resource, obj) == errors


@pytest.mark.parametrize(
    ("resource", "obj", "errors"),
    [
        (
            r.PODDISRUPTIONBUDGETS,
            named(spec={"minAvailable": -1, "unhealthyPodEvictionPolicy": "x"}),
            [
                "spec.minAvailable: Invalid value: -1: must be greater than or equal to 0",
                'spec.unhealthyPodEvictionPolicy: Unsupported value: "x": supported values: "AlwaysAllow", '
                '"IfHealthyBudget"',
            ],
        ),
        (
            r.PODDISRUPTIONBUDGETS,
            named(spec={"maxUnavailable": "101%"}),
            [
                'spec.maxUnavailable: Invalid value: "101%": must not be greater than 100%',
            ],
        ),
        (
            r.PRIORITYCLASSES,
            named("system-mine", "", value=1),
            [
                "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use "
                "only. error: system-mine is not a known system priority class",
            ],
        ),
        (
            r.PRIORITYCLASSES,
            named(namespace="", value=1000000001, preemptionPolicy="x"),
            [
                "value: Forbidden: maximum allowed value of a user defined priority is 1000000000",
                'preemptionPolicy: Unsupported value: "x": supported values: "PreemptLowerPriority", "Never"',
            ],
        ),
        (
            r.RUNTIMECLASSES,
            named(namespace="", handler="A", scheduling={"nodeSelector": {"-": "x"}}),
            [
                'handler: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric '
                "characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or "
                "'123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
                'scheduling.nodeSelector: Invalid value: "-": name part must consist of alphanumeric characters, '
                "'-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or "
                "'my.name',  or '123-abc', regex used for validation is "
                "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
            ],
        ),
        (
            r.RUNTIMECLASSES,
            named(
                namespace="",
                handler="a",
                scheduling={
                    "tolerations": [
                        {"key": "a", "operator": "Exists"},
                        {"key": "a", "operator": "Exists", "effect": "NoExecute"},
                        {"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5},
                    ]
                },
            ),
            [
                'scheduling.tolerations[2]: Duplicate value: {"key":"a","operator":"Exists","effect":"NoExecute",'
                '"tolerationSeconds":5}',
            ],
        ),
    ],
)
def test_policies(resource: Resource, obj: Object, errors: list[str]) -> None:
    assert faults(resource, obj) == errors


@pytest.mark.parametrize(
    ("resource", "obj", "texts"),
    [
        (
            r.PODDISRUPTIONBUDGETS,
            named(spec={"selector": {}}),
            [
                "spec.selector: an empty selector selects all pods in the namespace",
            ],
        ),
        (
            r.RUNTIMECLASSES,
            named(namespace="", handler="a", scheduling={"nodeSelector": {"beta.kubernetes.io/arch": "x"}}),
            [
                "scheduling.nodeSelector[beta.kubernetes.io/arch]: deprecated since v1.14; use "
                '"kubernetes.io/arch" instead',
            ],
        ),
    ],
)
def test_policy_warnings(resource: Resource, obj: Object, texts: list[str]) -> None:
    assert warned(resource, obj) == texts


@pytest.mark.parametrize(
    ("resource", "obj", "status", "errors"),
    [
        (
            r.PODDISRUPTIONBUDGETS,
            named(spec={}),
            {"disruptionsAllowed": -1, "conditions": [{"type": "A", "status": "x"}]},
            [
                'status.conditions[0].status: Unsupported value: "x": supported values: "False", "True", "Unknown"',
                "status.conditions[0].lastTransitionTime: Required value: must be set",
                "status.conditions[0].reason: Required value: must be set",
                "status.disruptionsAllowed: Invalid value: -1: must be greater than or equal to 0",
            ],
        ),
    ],
)
def test_policy_statuses(resource: Resource, obj: Object, status: Object, errors: list[str]) -> None:
    assert stated(resource, obj, status) == errors
