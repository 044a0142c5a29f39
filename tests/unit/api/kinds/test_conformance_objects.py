"""Objects as the upstream conformance tests send them: created, updated and given a status without a fault."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from pybernetes.api import resources as r
from pybernetes.api.kinds.metadata import validate_object_meta, validate_object_meta_update
from pybernetes.api.kinds.registry import strategy_for
from pybernetes.api.meta import Object, clone
from pybernetes.api.resources import Resource
from tests.unit.api.kinds.build import created
from tests.unit.api.kinds.test_others import signing_request

NOW = "2026-01-02T03:04:05Z"
STATUS_UPDATED: Object = {
    "type": "StatusUpdate",
    "status": "True",
    "reason": "E2E",
    "message": "Set from an e2e test",
    "lastTransitionTime": NOW,
}
POD: Object = {"containers": [{"name": "c", "image": "registry.k8s.io/e2e-test-images/agnhost:2.53"}]}
LABELS: Object = {"name": "e2e", "pod": "httpd"}
TEMPLATE: Object = {"metadata": {"labels": LABELS}, "spec": POD}
RULE: Object = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"]}
CLIENT: Object = {"service": {"namespace": "e2e", "name": "hook", "path": "/always-deny", "port": 8443}}
WEBHOOK: Object = {
    "name": "deny-unwanted-pod.k8s.io",
    "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
    "clientConfig": CLIENT,
    "sideEffects": "None",
    "admissionReviewVersions": ["v1", "v1beta1"],
    "namespaceSelector": {"matchLabels": {"unique": "true"}},
    "matchConditions": [{"name": "exclude-leases", "expression": "request.resource.group != 'coordination.k8s.io'"}],
}


@dataclass(frozen=True, slots=True)
class Flow:
    resource: Resource
    body: Object
    change: Object = field(default_factory=dict)
    status: Object = field(default_factory=dict)
    name: str = "e2e-example"


FLOWS = [
    Flow(
        r.FLOWSCHEMAS,
        {
            "spec": {
                "matchingPrecedence": 10000,
                "priorityLevelConfiguration": {"name": "global-default"},
                "distinguisherMethod": {"type": "ByUser"},
                "rules": [
                    {
                        "subjects": [{"kind": "User", "user": {"name": "example-e2e-non-existent-user"}}],
                        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
                    }
                ],
            }
        },
        {"spec": {"matchingPrecedence": 9999}},
        {"conditions": [STATUS_UPDATED]},
    ),
    Flow(
        r.PRIORITYLEVELCONFIGURATIONS,
        {"spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": 2, "limitResponse": {"type": "Reject"}}}},
        {"spec": {"limited": {"nominalConcurrencyShares": 4}}},
        {"conditions": [STATUS_UPDATED]},
    ),
    Flow(
        r.CERTIFICATESIGNINGREQUESTS,
        {"spec": signing_request(signerName="example.com/e2e-x", expirationSeconds=3600)["spec"]},
        {},
        {"conditions": [STATUS_UPDATED]},
    ),
    Flow(
        r.INGRESSES,
        {
            "spec": {
                "defaultBackend": {"service": {"name": "default-backend", "port": {"number": 80}}},
                "rules": [
                    {
                        "host": "test.example.com",
                        "http": {
                            "paths": [
                                {
                                    "path": "/",
                                    "pathType": "ImplementationSpecific",
                                    "backend": {"service": {"name": "test-backend", "port": {"number": 8080}}},
                                }
                            ]
                        },
                    }
                ],
            }
        },
        {"spec": {"rules": []}},
        {"loadBalancer": {"ingress": [{"ip": "169.1.1.1"}]}},
    ),
    Flow(
        r.INGRESSCLASSES,
        {
            "spec": {
                "controller": "example.com/controller",
                "parameters": {"apiGroup": "k8s.example.com", "kind": "Config", "name": "all", "scope": "Cluster"},
            }
        },
    ),
    Flow(
        r.NETWORKPOLICIES,
        {
            "spec": {
                "podSelector": {"matchLabels": {"pod-name": "test-pod"}},
                "policyTypes": ["Ingress", "Egress"],
                "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]}],
                "egress": [{"ports": [{"port": 80, "endPort": 90, "protocol": "TCP"}]}],
            }
        },
        {"spec": {"policyTypes": ["Ingress"]}},
    ),
    Flow(r.SERVICECIDRS, {"spec": {"cidrs": ["10.196.0.0/24"]}}, {}, {"conditions": [STATUS_UPDATED]}),
    Flow(
        r.IPADDRESSES,
        {"spec": {"parentRef": {"resource": "services", "namespace": "default", "name": "svc"}}},
        name="10.196.0.9",
    ),
    Flow(
        r.ENDPOINTSLICES,
        {
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["1.2.3.4"], "conditions": {"ready": True, "serving": True}}],
            "ports": [{"name": "port80", "port": 80, "protocol": "TCP"}],
        },
        {"endpoints": [{"addresses": ["4.5.6.7"]}]},
    ),
    Flow(
        r.ENDPOINTS,
        {"subsets": [{"addresses": [{"ip": "10.0.0.24"}], "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}]},
        {"subsets": [{"addresses": [{"ip": "10.0.0.25"}], "ports": [{"name": "http-test", "port": 8080}]}]},
    ),
    Flow(r.RUNTIMECLASSES, {"handler": "e2e-handler"}),
    Flow(
        r.LEASES,
        {"spec": {"holderIdentity": "holder", "leaseDurationSeconds": 30, "leaseTransitions": 0}},
        {"spec": {"holderIdentity": "holder2", "leaseTransitions": 1}},
    ),
    Flow(
        r.CSIDRIVERS, {"spec": {"attachRequired": False, "volumeLifecycleModes": ["Ephemeral"]}}, name="inline-driver-x"
    ),
    Flow(r.CSINODES, {"spec": {"drivers": [{"name": "e2e-driver", "nodeID": "e2e", "topologyKeys": []}]}}),
    Flow(
        r.CSISTORAGECAPACITIES,
        {"storageClassName": "example.com", "nodeTopology": {"matchLabels": {"a": "b"}}, "capacity": "1Mi"},
        {"capacity": "2Mi"},
    ),
    Flow(r.STORAGECLASSES, {"provisioner": "e2e-fake-provisioner", "parameters": {"a": "b"}}),
    Flow(
        r.VOLUMEATTACHMENTS,
        {"spec": {"attacher": "e2e-driver", "nodeName": "node", "source": {"persistentVolumeName": "pv"}}},
        {},
        {"attached": True},
    ),
    Flow(
        r.VALIDATINGADMISSIONPOLICIES,
        {
            "spec": {
                "matchConstraints": {"resourceRules": [RULE], "namespaceSelector": {"matchLabels": {"a": "b"}}},
                "validations": [{"expression": "object.spec.replicas <= 1", "messageExpression": "'wants too many'"}],
                "variables": [{"name": "replicas", "expression": "object.spec.replicas"}],
                "auditAnnotations": [{"key": "k", "valueExpression": "'v'"}],
            }
        },
        {"spec": {"failurePolicy": "Ignore"}},
        {"conditions": [STATUS_UPDATED]},
        name="e2e-policy.example.com",
    ),
    Flow(
        r.VALIDATINGADMISSIONPOLICYBINDINGS,
        {"spec": {"policyName": "e2e-policy.example.com", "validationActions": ["Deny"]}},
    ),
    Flow(
        r.VALIDATINGWEBHOOKCONFIGURATIONS,
        {"webhooks": [WEBHOOK]},
        {"webhooks": [{**WEBHOOK, "failurePolicy": "Ignore"}]},
    ),
    Flow(r.MUTATINGWEBHOOKCONFIGURATIONS, {"webhooks": [WEBHOOK]}, {"webhooks": [{**WEBHOOK, "timeoutSeconds": 5}]}),
    Flow(
        r.DEVICECLASSES,
        {"spec": {"selectors": [{"cel": {"expression": "device.driver == 'dra.example.com'"}}]}},
        {"spec": {"selectors": []}},
    ),
    Flow(
        r.RESOURCECLAIMS,
        {"spec": {"devices": {"requests": [{"name": "req-0", "exactly": {"deviceClassName": "class"}}]}}},
        {},
        {
            "allocation": {
                "devices": {
                    "results": [{"driver": "dra.example.com", "pool": "some-pool", "device": "d0", "request": "req-0"}]
                }
            }
        },
    ),
    Flow(
        r.RESOURCESLICES,
        {
            "spec": {
                "nodeName": "e2e-node",
                "driver": "dra.example.com",
                "pool": {"name": "e2e-node", "resourceSliceCount": 1},
                "devices": [{"name": "d0", "attributes": {"a": {"string": "x"}}, "capacity": {"m": {"value": "1Gi"}}}],
            }
        },
        {"spec": {"devices": []}},
    ),
    Flow(r.PRIORITYCLASSES, {"value": 1, "description": "e2e"}, {"description": "other"}),
    Flow(r.CONTROLLERREVISIONS, {"revision": 1, "data": {"spec": {}}}, {"revision": 2}),
    Flow(
        r.PODTEMPLATES,
        {"template": {"metadata": {"labels": LABELS}, "spec": POD}},
        {"metadata": {"labels": {"a": "b"}}},
    ),
    Flow(
        r.REPLICATIONCONTROLLERS,
        {"spec": {"replicas": 1, "selector": LABELS, "template": TEMPLATE}},
        {"spec": {"replicas": 2}},
        {"availableReplicas": 0, "readyReplicas": 0, "conditions": [STATUS_UPDATED]},
    ),
    Flow(
        r.REPLICASETS,
        {"spec": {"replicas": 1, "selector": {"matchLabels": LABELS}, "template": TEMPLATE}},
        {"spec": {"replicas": 3}},
        {"conditions": [STATUS_UPDATED]},
    ),
    Flow(
        r.DEPLOYMENTS,
        {"spec": {"replicas": 2, "selector": {"matchLabels": LABELS}, "template": TEMPLATE}},
        {"spec": {"paused": True}},
        {"conditions": [STATUS_UPDATED], "readyReplicas": 0},
    ),
    Flow(
        r.STATEFULSETS,
        {"spec": {"serviceName": "test", "selector": {"matchLabels": LABELS}, "template": TEMPLATE}},
        {"spec": {"replicas": 2}},
        {"conditions": [STATUS_UPDATED]},
    ),
    Flow(
        r.DAEMONSETS,
        {"spec": {"selector": {"matchLabels": LABELS}, "template": TEMPLATE}},
        {"spec": {"updateStrategy": {"type": "OnDelete"}}},
        {"conditions": [STATUS_UPDATED]},
    ),
    Flow(
        r.JOBS,
        {"spec": {"suspend": True, "template": {"spec": {**POD, "restartPolicy": "Never"}}}},
        {"spec": {"suspend": False}},
        {"startTime": NOW},
    ),
    Flow(
        r.CRONJOBS,
        {
            "spec": {
                "schedule": "* */1 * * ?",
                "jobTemplate": {"spec": {"template": {"spec": {**POD, "restartPolicy": "OnFailure"}}}},
            }
        },
        {"spec": {"schedule": "0 0 1 * *"}},
        {"lastScheduleTime": NOW, "active": []},
    ),
    Flow(
        r.PODDISRUPTIONBUDGETS,
        {"spec": {"minAvailable": 1, "selector": {"matchLabels": LABELS}}},
        {"spec": {"minAvailable": 2}},
        {"disruptedPods": {"pod-0": NOW}},
    ),
    Flow(
        r.HORIZONTALPODAUTOSCALERS,
        {
            "spec": {
                "maxReplicas": 3,
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"},
                "metrics": [
                    {
                        "type": "Resource",
                        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
                    }
                ],
            }
        },
        {"spec": {"maxReplicas": 5}},
    ),
    Flow(
        r.RESOURCEQUOTAS,
        {
            "spec": {
                "hard": {
                    "cpu": "1",
                    "memory": "500Mi",
                    "pods": "5",
                    "count/replicasets.apps": "5",
                    "gold.storageclass.storage.k8s.io/requests.storage": "10Gi",
                    "requests.example.com/dongle": "3",
                }
            }
        },
        {"spec": {"hard": {"cpu": "2"}}},
        {"hard": {"cpu": "1"}, "used": {"cpu": "0"}},
    ),
    Flow(
        r.RESOURCEQUOTAS,
        {
            "spec": {
                "hard": {"pods": "5"},
                "scopeSelector": {
                    "matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["p"]}]
                },
            }
        },
    ),
    Flow(
        r.LIMITRANGES,
        {
            "spec": {
                "limits": [
                    {
                        "type": "Container",
                        "min": {"cpu": "50m", "memory": "100Mi"},
                        "max": {"cpu": "500m", "memory": "500Mi"},
                        "defaultRequest": {"cpu": "100m", "memory": "200Mi"},
                        "default": {"cpu": "300m", "memory": "400Mi"},
                        "maxLimitRequestRatio": {},
                    }
                ]
            }
        },
    ),
    Flow(
        r.PERSISTENTVOLUMES,
        {
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "capacity": {"storage": "2Gi"},
                "hostPath": {"path": "/tmp/volume"},
                "nodeAffinity": {
                    "required": {
                        "nodeSelectorTerms": [
                            {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["n"]}]}
                        ]
                    }
                },
            }
        },
        {"metadata": {"labels": {"a": "b"}}},
        {"phase": "Available", "message": "StatusPatched", "reason": "E2E patchStatus"},
    ),
    Flow(
        r.PERSISTENTVOLUMECLAIMS,
        {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}},
        {"metadata": {"labels": {"a": "b"}}},
        {"conditions": [STATUS_UPDATED]},
    ),
    Flow(
        r.SERVICES,
        {"spec": {"type": "LoadBalancer", "ports": [{"name": "http", "port": 80, "targetPort": 80}]}},
        {"spec": {"ports": [{"name": "http", "port": 81}]}},
        {"loadBalancer": {"ingress": [{"ip": "203.0.113.1", "ipMode": "VIP"}]}, "conditions": [STATUS_UPDATED]},
    ),
    Flow(r.NAMESPACES, {}, {"metadata": {"labels": {"a": "b"}}}, {"conditions": [STATUS_UPDATED]}),
    Flow(
        r.NODES,
        {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}},
        {"spec": {"unschedulable": True}},
        {"capacity": {"example.com/fakecpu": "1k"}},
    ),
    Flow(
        r.PODS,
        {"spec": {**POD, "terminationGracePeriodSeconds": 1}},
        {"metadata": {"labels": {"a": "b"}}},
        {"message": "Patched Status update", "conditions": [STATUS_UPDATED]},
    ),
    Flow(r.SECRETS, {"type": "Opaque", "stringData": {"a": "b"}}, {"immutable": True}),
    Flow(r.CONFIGMAPS, {"data": {"a": "b"}, "binaryData": {"c": "eA=="}}, {"data": {"a": "c"}}),
    Flow(r.SERVICEACCOUNTS, {"automountServiceAccountToken": False}, {"automountServiceAccountToken": True}),
    Flow(r.ROLES, {"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["a"]}]}),
    Flow(
        r.CLUSTERROLES,
        {
            "rules": [{"verbs": ["*"], "nonResourceURLs": ["/x"]}],
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]},
        },
    ),
    Flow(
        r.ROLEBINDINGS,
        {
            "roleRef": {"kind": "ClusterRole", "name": "view"},
            "subjects": [
                {"kind": "ServiceAccount", "name": "default", "namespace": "e2e"},
                {"kind": "User", "name": "u"},
            ],
        },
        {"subjects": [{"kind": "Group", "name": "g"}]},
    ),
    Flow(
        r.APISERVICES,
        {
            "spec": {
                "group": "wardle.example.com",
                "version": "v1alpha1",
                "groupPriorityMinimum": 2000,
                "versionPriority": 200,
                "service": {"namespace": "e2e", "name": "sample-api", "port": 7443},
                "insecureSkipTLSVerify": True,
            }
        },
        {"spec": {"versionPriority": 400}},
        {"conditions": [STATUS_UPDATED]},
        name="v1alpha1.wardle.example.com",
    ),
    Flow(
        r.CUSTOMRESOURCEDEFINITIONS,
        {
            "spec": {
                "group": "example.com",
                "scope": "Namespaced",
                "names": {"plural": "foos", "singular": "foo", "kind": "Foo", "listKind": "FooList"},
                "versions": [
                    {
                        "name": "v1",
                        "served": True,
                        "storage": True,
                        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
                        "subresources": {"status": {}},
                    }
                ],
                "conversion": {
                    "strategy": "Webhook",
                    "webhook": {"clientConfig": CLIENT, "conversionReviewVersions": ["v1", "v1beta1"]},
                },
            }
        },
        {"metadata": {"labels": {"a": "b"}}},
        {"conditions": [STATUS_UPDATED]},
        name="foos.example.com",
    ),
]


def merged(obj: Object, patch: Object) -> Object:
    """A JSON merge patch, as most of those tests send."""
    out: dict[str, Any] = dict(obj)
    for key, value in patch.items():
        out[key] = merged(out.get(key) or {}, value) if isinstance(value, dict) else value
    return out


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.resource.plural)
def test_a_conformance_test_gets_its_way(flow: Flow) -> None:
    resource = flow.resource
    strategy = strategy_for(resource)
    meta: Object = {"name": flow.name, "labels": {"e2e": "yes"}, "annotations": {"patched": "true"}}
    if resource.namespaced:
        meta["namespace"] = "e2e"
    old = created(resource, {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": meta, **flow.body})
    old["metadata"]["resourceVersion"] = "1"
    assert [*validate_object_meta(old, resource, strategy), *strategy.validate_create(old)] == []

    new = clone(merged(old, flow.change))
    strategy.default(new)
    strategy.prepare_for_update(new, old)
    assert [*validate_object_meta_update(new, old), *strategy.validate_update(new, old)] == []

    if flow.status:
        new = clone(merged(old, {"status": flow.status}))
        strategy.default(new)
        strategy.prepare_for_status_update(new, old)
        assert strategy.validate_status_update(new, old) == []
        assert {key: new["status"].get(key) for key in flow.status} == flow.status, "taken as it is sent"
