"""A valid object of every kind that can be made, and what may and may not be changed of it.

Bodies are what a user would write. `change` and `status` are merge patches that the kind allows; `fixed` is one that
it refuses after creation.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509.oid import NameOID

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sample:
    """`body` goes without apiVersion, kind and metadata."""

    body: Object
    change: Object
    status: Object = field(default_factory=dict)
    fixed: Object = field(default_factory=dict)
    counts: bool = False
    """Whether metadata.generation counts changes of the wanted state."""
    name: Callable[[str], str] = lambda prefix: prefix
    """The name of an object from a short unique word."""
    make: Callable[[str], Object] | None = None
    """Makes a body that depends on the name; `body` is added to it."""

    def body_for(self, name: str) -> Object:
        return {**self.body, **(self.make(name) if self.make is not None else {})}


def _condition(kind: str, **more: Any) -> Object:
    return {
        "type": kind, "status": "True", "reason": "Walked", "message": "by the walk",
        "lastTransitionTime": "2026-01-02T03:04:05Z", **more,
    }  # fmt: skip


def _conditions(kind: str = "Walked", **more: Any) -> Object:
    return {"conditions": [_condition(kind, **more)]}


_POD: Object = {
    "containers": [{"name": "c", "image": "example.com/image:1", "resources": {"requests": {"cpu": "10m"}}}]
}
_TEMPLATE: Object = {"metadata": {"labels": {"app": "walked"}}, "spec": _POD}
_SELECTOR: Object = {"matchLabels": {"app": "walked"}}
_WORKLOAD: Object = {"selector": _SELECTOR, "template": _TEMPLATE}
_OTHER_SELECTOR: Object = {"spec": {"selector": {"matchLabels": {"app": "other"}}}}
_RULE: Object = {
    "apiGroups": ["example.com"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["walked"],
}  # fmt: skip
_WEBHOOK: Object = {
    "name": "walked.example.com",
    "clientConfig": {"url": "https://192.0.2.1/hook"},
    "sideEffects": "None",
    "admissionReviewVersions": ["v1"],
    "failurePolicy": "Ignore",
    "rules": [_RULE],
}
_HPA: Object = {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "walked"}}
_DEVICES: Object = {"requests": [{"name": "one", "exactly": {"deviceClassName": "walked.example.com"}}]}
_SOURCE: Object = {"component": "walk", "host": "walked"}


def _certificate_request() -> str:
    """The same in every process: the key is no secret, and its signatures hold no random number."""
    key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "walked")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, None)
    return base64.b64encode(request.public_bytes(serialization.Encoding.PEM)).decode()


def _schema(**properties: str) -> Object:
    return {"type": "object", "properties": {name: {"type": kind} for name, kind in properties.items()}}


def _definition(name: str) -> Object:
    plural = name.partition(".")[0]
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": _schema(spec="string")}}
    return {
        "spec": {
            "group": "walked.example.com",
            "scope": "Namespaced",
            "names": {"plural": plural, "singular": plural, "kind": plural.capitalize(), "listKind": f"{plural}List"},
            "versions": [version],
        }
    }


def _api_service(name: str) -> Object:
    version, _, group = name.partition(".")
    service = {"name": "walked", "namespace": "default"}
    return {
        "spec": {
            "group": group, "version": version, "service": service, "insecureSkipTLSVerify": True,
            "groupPriorityMinimum": 100, "versionPriority": 10,
        }
    }  # fmt: skip


def _slice(name: str) -> Object:
    return {
        "spec": {
            "driver": "walked.example.com",
            "nodeName": "walked",
            "pool": {"name": name, "generation": 1, "resourceSliceCount": 1},
            "devices": [{"name": "one"}],
        }
    }


def _address(word: str) -> str:
    """An address of a documentation range, another for every word."""
    number = int.from_bytes(word.encode()[-7:], "big") % (1 << 48)
    return ":".join(["2001:db8:0:1:1", *(f"{number >> shift & 0xFFFF:x}" for shift in (32, 16, 0))])


def _service_range(name: str) -> Object:
    number = int.from_bytes(name.encode()[-7:], "big") % (1 << 14)
    return {"spec": {"cidrs": [f"10.{192 + (number >> 8)}.{number & 255}.0/24"]}}


def _policy_spec(**more: Any) -> Object:
    return {"matchConstraints": {"resourceRules": [_RULE]}, "failurePolicy": "Ignore", **more}


_WORKLOAD_STATUS: Object = {"status": {"replicas": 2, "observedGeneration": 1}}

SAMPLES: dict[tuple[str, str, str], Sample] = {
    ("", "v1", "configmaps"): Sample({"data": {"a": "1"}}, {"data": {"b": "2"}}),
    ("", "v1", "endpoints"): Sample(
        {"subsets": [{"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 80, "protocol": "TCP"}]}]},
        {"subsets": [{"addresses": [{"ip": "192.0.2.2"}], "ports": [{"port": 80, "protocol": "TCP"}]}]},
    ),
    ("", "v1", "events"): Sample(
        {
            "involvedObject": {"kind": "Pod", "apiVersion": "v1"},
            "reason": "Walked",
            "message": "one",
            "type": "Normal",
            "source": _SOURCE,
        },
        {"message": "two", "count": 2},
    ),
    ("", "v1", "limitranges"): Sample(
        {"spec": {"limits": [{"type": "PersistentVolumeClaim", "max": {"storage": "1Ti"}}]}},
        {"spec": {"limits": [{"type": "PersistentVolumeClaim", "max": {"storage": "2Ti"}}]}},
    ),
    ("", "v1", "namespaces"): Sample({}, {}, {"status": _conditions("NamespaceContentRemaining")}),
    ("", "v1", "nodes"): Sample(
        {"spec": {"unschedulable": True}},
        {"spec": {"taints": [{"key": "walked", "effect": "NoSchedule"}]}},
        {"status": {"capacity": {"cpu": "4"}, "allocatable": {"cpu": "3"}}},
    ),
    ("", "v1", "persistentvolumeclaims"): Sample(
        {
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}},
                "storageClassName": "",
            }
        },
        {"metadata": {"annotations": {"walked": "yes"}}},
        {"status": {"phase": "Lost"}},
        {"spec": {"accessModes": ["ReadOnlyMany"]}},
    ),
    ("", "v1", "persistentvolumes"): Sample(
        {"spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/walked"}}},
        {"spec": {"capacity": {"storage": "2Gi"}}},
        {"status": {"phase": "Failed", "message": "walked"}},
        {"spec": {"hostPath": {"path": "/other"}}},
    ),
    ("", "v1", "pods"): Sample(
        {"spec": _POD},
        {"spec": {"activeDeadlineSeconds": 100}},
        {"status": {"phase": "Running", "message": "walked"}},
        {"spec": {"hostNetwork": True}},
        counts=True,
    ),
    ("", "v1", "podtemplates"): Sample(
        {"template": _TEMPLATE}, {"template": {"metadata": {"annotations": {"walked": "yes"}}}}
    ),
    ("", "v1", "replicationcontrollers"): Sample(
        {"spec": {"selector": {"app": "walked"}, "template": _TEMPLATE}},
        {"spec": {"replicas": 3}},
        _WORKLOAD_STATUS,
        counts=True,
    ),
    ("", "v1", "resourcequotas"): Sample(
        {"spec": {"hard": {"count/widgets.example.com": "5"}}},
        {"spec": {"hard": {"count/widgets.example.com": "7"}}},
        {"status": {"hard": {"count/widgets.example.com": "5"}, "used": {"count/widgets.example.com": "2"}}},
        {"spec": {"scopes": ["NotTerminating"]}},
    ),
    ("", "v1", "secrets"): Sample(
        {"stringData": {"a": "1"}}, {"data": {"b": "Mg=="}}, fixed={"type": "example.com/other"}
    ),
    ("", "v1", "serviceaccounts"): Sample({}, {"automountServiceAccountToken": False}),
    ("", "v1", "services"): Sample(
        {"spec": {"ports": [{"port": 80}], "selector": {"app": "walked"}}},
        {"spec": {"sessionAffinity": "ClientIP"}},
        {"status": _conditions()},
        {"spec": {"clusterIP": "10.96.77.77"}},
    ),
    ("admissionregistration.k8s.io", "v1", "mutatingadmissionpolicies"): Sample(
        {
            "spec": _policy_spec(
                reinvocationPolicy="Never",
                mutations=[
                    {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{}"}},
                ],
            )
        },
        {"spec": {"failurePolicy": "Fail"}},
        counts=True,
    ),
    ("admissionregistration.k8s.io", "v1", "mutatingadmissionpolicybindings"): Sample(
        {"spec": {"policyName": "absent.example.com"}}, {"spec": {"policyName": "other.example.com"}}, counts=True
    ),
    ("admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations"): Sample(
        {"webhooks": [_WEBHOOK]}, {"webhooks": [{**_WEBHOOK, "timeoutSeconds": 5}]}, counts=True
    ),
    ("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies"): Sample(
        {"spec": _policy_spec(validations=[{"expression": "true"}])},
        {"spec": {"failurePolicy": "Fail"}},
        {"status": {"observedGeneration": 1, **_conditions()}},
        counts=True,
    ),
    ("admissionregistration.k8s.io", "v1", "validatingadmissionpolicybindings"): Sample(
        {"spec": {"policyName": "absent.example.com", "validationActions": ["Deny"]}},
        {"spec": {"validationActions": ["Audit"]}},
        counts=True,
    ),
    ("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations"): Sample(
        {"webhooks": [_WEBHOOK]}, {"webhooks": [{**_WEBHOOK, "timeoutSeconds": 5}]}, counts=True
    ),
    ("apiextensions.k8s.io", "v1", "customresourcedefinitions"): Sample(
        {},
        {"spec": {"names": {"categories": ["walked"]}}},
        {"status": _conditions("NamesAccepted")},
        counts=True,
        name=lambda word: f"{word.replace('-', '')}.walked.example.com",
        make=_definition,
    ),
    ("apiregistration.k8s.io", "v1", "apiservices"): Sample(
        {},
        {"spec": {"versionPriority": 11}},
        {"status": _conditions("Available")},
        name=lambda word: f"v1.{word}.example.com",
        make=_api_service,
    ),
    ("apps", "v1", "controllerrevisions"): Sample(
        {"data": {"a": 1}, "revision": 1}, {"revision": 2}, fixed={"data": {"a": 2}}
    ),
    ("apps", "v1", "daemonsets"): Sample(
        {"spec": _WORKLOAD},
        {"spec": {"minReadySeconds": 3}},
        {
            "status": {
                "currentNumberScheduled": 2,
                "desiredNumberScheduled": 2,
                "numberMisscheduled": 0,
                "numberReady": 1,
            }
        },
        _OTHER_SELECTOR,
        counts=True,
    ),
    ("apps", "v1", "deployments"): Sample(
        {"spec": _WORKLOAD}, {"spec": {"replicas": 3}}, _WORKLOAD_STATUS, _OTHER_SELECTOR, counts=True
    ),
    ("apps", "v1", "replicasets"): Sample(
        {"spec": _WORKLOAD}, {"spec": {"replicas": 3}}, _WORKLOAD_STATUS, _OTHER_SELECTOR, counts=True
    ),
    ("apps", "v1", "statefulsets"): Sample(
        {"spec": {**_WORKLOAD, "serviceName": "walked"}},
        {"spec": {"replicas": 3}},
        _WORKLOAD_STATUS,
        {"spec": {"podManagementPolicy": "Parallel"}},
        counts=True,
    ),
    ("autoscaling", "v1", "horizontalpodautoscalers"): Sample(
        {"spec": _HPA}, {"spec": {"maxReplicas": 5}}, {"status": {"currentReplicas": 1, "desiredReplicas": 2}}
    ),
    ("autoscaling", "v2", "horizontalpodautoscalers"): Sample(
        {"spec": _HPA}, {"spec": {"maxReplicas": 5}}, {"status": {"currentReplicas": 1, "desiredReplicas": 2}}
    ),
    ("batch", "v1", "cronjobs"): Sample(
        {
            "spec": {
                "schedule": "*/5 * * * *",
                "jobTemplate": {"spec": {"template": {"spec": {**_POD, "restartPolicy": "Never"}}}},
            }
        },
        {"spec": {"suspend": True}},
        {"status": {"lastScheduleTime": "2026-01-02T03:00:00Z"}},
        counts=True,
    ),
    ("batch", "v1", "jobs"): Sample(
        {"spec": {"template": {"spec": {**_POD, "restartPolicy": "Never"}}}},
        {"spec": {"parallelism": 2}},
        {"status": {"startTime": "2026-01-02T03:04:05Z", "active": 1}},
        {"spec": {"completions": 7}},
        counts=True,
    ),
    ("certificates.k8s.io", "v1", "certificatesigningrequests"): Sample(
        {"spec": {"request": _certificate_request(), "signerName": "example.com/walked", "usages": ["client auth"]}},
        {"metadata": {"annotations": {"walked": "yes"}}},
        {"status": _conditions("Failed")},
    ),
    ("coordination.k8s.io", "v1", "leases"): Sample(
        {"spec": {"holderIdentity": "one", "leaseDurationSeconds": 15}}, {"spec": {"holderIdentity": "two"}}
    ),
    ("discovery.k8s.io", "v1", "endpointslices"): Sample(
        {"addressType": "IPv4", "endpoints": [{"addresses": ["192.0.2.1"]}], "ports": []},
        {"endpoints": [{"addresses": ["192.0.2.2"]}]},
        fixed={"addressType": "IPv6"},
    ),
    ("events.k8s.io", "v1", "events"): Sample(
        {
            "eventTime": "2026-01-02T03:04:05.000000Z",
            "reportingController": "example.com/walk",
            "reportingInstance": "one",
            "action": "Walk",
            "reason": "Walked",
            "type": "Normal",
            "note": "one",
            "regarding": {"kind": "Pod", "apiVersion": "v1"},
        },
        {"series": {"count": 2, "lastObservedTime": "2026-01-02T03:05:05.000000Z"}},
        fixed={"note": "other"},
    ),
    ("flowcontrol.apiserver.k8s.io", "v1", "flowschemas"): Sample(
        {"spec": {"priorityLevelConfiguration": {"name": "workload-low"}, "matchingPrecedence": 9000}},
        {"spec": {"matchingPrecedence": 9001}},
        {"status": _conditions("Dangling")},
        counts=True,
    ),
    ("flowcontrol.apiserver.k8s.io", "v1", "prioritylevelconfigurations"): Sample(
        {"spec": {"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}}},
        {"spec": {"limited": {"nominalConcurrencyShares": 7}}},
        {"status": _conditions()},
        counts=True,
    ),
    ("networking.k8s.io", "v1", "ingressclasses"): Sample(
        {"spec": {"controller": "example.com/walk"}},
        {"spec": {"parameters": {"kind": "Walk", "name": "x", "scope": "Cluster"}}},
        fixed={"spec": {"controller": "example.com/other"}},
        counts=True,
    ),
    ("networking.k8s.io", "v1", "ingresses"): Sample(
        {"spec": {"defaultBackend": {"service": {"name": "walked", "port": {"number": 80}}}}},
        {"spec": {"ingressClassName": "walked"}},
        {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}}},
        counts=True,
    ),
    ("networking.k8s.io", "v1", "ipaddresses"): Sample(
        {"spec": {"parentRef": {"resource": "services", "namespace": "default", "name": "walked"}}},
        {"metadata": {"annotations": {"walked": "yes"}}},
        fixed={"spec": {"parentRef": {"name": "other"}}},
        name=_address,
    ),
    ("networking.k8s.io", "v1", "networkpolicies"): Sample(
        {"spec": {"podSelector": {}}}, {"spec": {"policyTypes": ["Ingress", "Egress"]}}, counts=True
    ),
    ("networking.k8s.io", "v1", "servicecidrs"): Sample(
        {},
        {"metadata": {"annotations": {"walked": "yes"}}},
        {"status": _conditions("Ready")},
        {"spec": {"cidrs": ["10.99.0.0/24"]}},
        make=_service_range,
    ),
    ("node.k8s.io", "v1", "runtimeclasses"): Sample(
        {"handler": "walked"}, {"overhead": {"podFixed": {"cpu": "1m"}}}, fixed={"handler": "other"}
    ),
    ("policy", "v1", "poddisruptionbudgets"): Sample(
        {"spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "none"}}}},
        {"spec": {"minAvailable": 2}},
        {"status": {"currentHealthy": 3, "desiredHealthy": 1, "disruptionsAllowed": 2, "expectedPods": 3}},
        counts=True,
    ),
    ("rbac.authorization.k8s.io", "v1", "clusterrolebindings"): Sample(
        {"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}},
        {"subjects": [{"kind": "User", "name": "walked", "apiGroup": "rbac.authorization.k8s.io"}]},
        fixed={"roleRef": {"name": "edit"}},
    ),
    ("rbac.authorization.k8s.io", "v1", "clusterroles"): Sample(
        {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]},
        {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]},
    ),
    ("rbac.authorization.k8s.io", "v1", "rolebindings"): Sample(
        {"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}},
        {"subjects": [{"kind": "User", "name": "walked", "apiGroup": "rbac.authorization.k8s.io"}]},
        fixed={"roleRef": {"name": "edit"}},
    ),
    ("rbac.authorization.k8s.io", "v1", "roles"): Sample(
        {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]},
        {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]},
    ),
    ("resource.k8s.io", "v1", "deviceclasses"): Sample(
        {"spec": {"selectors": [{"cel": {"expression": "true"}}]}},
        {"spec": {"selectors": [{"cel": {"expression": "false"}}]}},
        counts=True,
    ),
    ("resource.k8s.io", "v1", "resourceclaims"): Sample(
        {"spec": {"devices": _DEVICES}},
        {"metadata": {"annotations": {"walked": "yes"}}},
        {
            "status": {
                "allocation": {
                    "devices": {
                        "results": [{"request": "one", "driver": "walked.example.com", "pool": "p", "device": "d"}]
                    }
                }
            }
        },
        {"spec": {"devices": {"requests": []}}},
    ),
    ("resource.k8s.io", "v1", "resourceclaimtemplates"): Sample(
        {"spec": {"spec": {"devices": _DEVICES}}},
        {"metadata": {"annotations": {"walked": "yes"}}},
        fixed={"spec": {"spec": {"devices": {"requests": []}}}},
    ),
    ("resource.k8s.io", "v1", "resourceslices"): Sample(
        {},
        {"spec": {"devices": [{"name": "one"}, {"name": "two"}]}},
        fixed={"spec": {"nodeName": "other"}},
        counts=True,
        make=_slice,
    ),
    ("scheduling.k8s.io", "v1", "priorityclasses"): Sample({"value": 7}, {"description": "walked"}, fixed={"value": 8}),
    ("storage.k8s.io", "v1", "csidrivers"): Sample(
        {"spec": {"attachRequired": False}},
        {"spec": {"requiresRepublish": True}},
        fixed={"spec": {"attachRequired": True}},
    ),
    ("storage.k8s.io", "v1", "csinodes"): Sample(
        {"spec": {"drivers": []}}, {"spec": {"drivers": [{"name": "walked.example.com", "nodeID": "n"}]}}
    ),
    ("storage.k8s.io", "v1", "csistoragecapacities"): Sample(
        {"storageClassName": "walked"}, {"capacity": "5Gi"}, fixed={"storageClassName": "other"}
    ),
    ("storage.k8s.io", "v1", "storageclasses"): Sample(
        {"provisioner": "example.com/walk"},
        {"allowVolumeExpansion": True},
        fixed={"provisioner": "example.com/other"},
    ),
    ("storage.k8s.io", "v1", "volumeattachments"): Sample(
        {"spec": {"attacher": "walked.example.com", "nodeName": "n", "source": {"persistentVolumeName": "v"}}},
        {"metadata": {"annotations": {"walked": "yes"}}},
        {"status": {"attached": True}},
        {"spec": {"nodeName": "other"}},
    ),
    ("storage.k8s.io", "v1", "volumeattributesclasses"): Sample(
        {"driverName": "example.com", "parameters": {"a": "1"}},
        {"metadata": {"annotations": {"walked": "yes"}}},
        fixed={"parameters": {"a": "2"}},
    ),
}
