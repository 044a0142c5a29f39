"""Quotas, disruption budgets, protection of claims and certificates: the plans."""

from __future__ import annotations

import base64
import datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pybernetes.api import quota as q
from pybernetes.api.meta import Object
from pybernetes.api.resources import (
    CONFIGMAPS,
    DEPLOYMENTS,
    PERSISTENTVOLUMECLAIMS,
    PODS,
    RESOURCECLAIMS,
    SERVICES,
    Resource,
)
from pybernetes.api.time import format_time
from pybernetes.controllers.certificates import plan as certificates
from pybernetes.controllers.certificates.signing import CertificateSigner
from pybernetes.controllers.disruption.plan import Scale, failed, plan, stale_condition_at
from pybernetes.controllers.pvcprotection import plan as protection
from pybernetes.controllers.resourcequota.plan import plan_status
from tests.unit.controllers.objects import NOW, owner_ref, pod


def quota(scopes: list[str] | None = None, **hard: str) -> Object:
    return {
        "spec": {"hard": {k.replace("_", "."): v for k, v in hard.items()}, **({"scopes": scopes} if scopes else {})}
    }


def sized(name: str, cpu: str, memory: str = "", **fields: Any) -> Object:
    requests = {"cpu": cpu, **({"memory": memory} if memory else {})}
    return pod(name, containers=[{"name": "c", "resources": {"requests": requests, "limits": requests}}], **fields)


def used(of: Object, **objects: list[Object]) -> dict[str, str]:
    table: dict[str, tuple[Resource, list[Object]]] = {
        "pods": (PODS, []), "services": (SERVICES, []), "claims": (PERSISTENTVOLUMECLAIMS, []),
        "maps": (CONFIGMAPS, []), "deployments": (DEPLOYMENTS, []),
    }  # fmt: skip
    held = {resource: objects.get(name, []) for name, (resource, _) in table.items()}
    return plan_status(of, held, lambda r: held[r], NOW)["used"]  # type: ignore[no-any-return]


def test_pods_count_until_they_end() -> None:
    pods = [sized("a", "500m", "1Gi"), sized("b", "1"), sized("done", "4", phase="Succeeded")]
    hard = quota(pods="5", requests_cpu="2", limits_cpu="4", cpu="2", memory="2Gi", **{"count/pods": "9"})
    assert used(hard, pods=pods) == {
        "pods": "2",
        "requests.cpu": "1500m",
        "limits.cpu": "1500m",
        "cpu": "1500m",
        "memory": "1Gi",
        "count/pods": "3",
    }
    lost = sized("lost", "1", deleting=True)
    lost["metadata"]["deletionGracePeriodSeconds"] = 30
    lost["metadata"]["deletionTimestamp"] = format_time(NOW - 31)
    assert used(quota(pods="1"), pods=[lost]) == {"pods": "0"}


def test_a_resized_pod_counts_for_the_most_it_holds() -> None:
    hard = quota(requests_cpu="9", limits_cpu="9")

    def resized(wanted: str, allocated: str, in_force: str, **condition: str) -> dict[str, str]:
        made = sized("a", wanted)
        made["status"] = {
            "containerStatuses": [
                {
                    "name": "c",
                    "allocatedResources": {"cpu": allocated},
                    "resources": {"requests": {"cpu": in_force}, "limits": {"cpu": in_force}},
                }
            ],
            "conditions": [{"type": "PodResizePending", "status": "True", **condition}] if condition else [],
        }
        return used(hard, pods=[made])

    assert resized("3", "1", "1") == {"requests.cpu": "3", "limits.cpu": "3"}
    assert resized("1", "2", "3") == {"requests.cpu": "3", "limits.cpu": "3"}
    assert resized("1", "3", "2") == {"requests.cpu": "3", "limits.cpu": "2"}
    assert resized("8", "1", "2", reason="Infeasible") == {"requests.cpu": "2", "limits.cpu": "2"}
    assert resized("8", "1", "2", reason="Deferred") == {"requests.cpu": "8", "limits.cpu": "8"}


def test_claims_and_devices_count_by_class() -> None:
    claims = [
        {"spec": {"volumeAttributesClassName": "fast", "resources": {"requests": {"storage": "1500m"}}}},
        {
            "spec": {"resources": {"requests": {"storage": "1Gi"}}},
            "status": {"currentVolumeAttributesClassName": "slow", "allocatedResources": {"storage": "2Gi"}},
        },
    ]
    spec = {"hard": {"requests.storage": "9Gi", "persistentvolumeclaims": "9"}}
    expression = {"scopeName": "VolumeAttributesClass", "operator": "In", "values": ["slow"]}
    assert used({"spec": spec}, claims=claims[:1]) == {"requests.storage": "2", "persistentvolumeclaims": "1"}
    scoped = {"spec": {**spec, "scopeSelector": {"matchExpressions": [expression]}}}
    assert used(scoped, claims=claims) == {"requests.storage": "2Gi", "persistentvolumeclaims": "1"}
    device = {"deviceClassName": "gpu", "count": 2}
    requests = [{"exactly": device}, {"firstAvailable": [{**device, "count": 3}, {"deviceClassName": "tpu"}]}]
    claim = {"spec": {"devices": {"requests": requests}}}
    usage = q.usage_of(RESOURCECLAIMS, claim, NOW)
    assert {name: str(amount) for name, amount in usage.items()} == {
        "count/resourceclaims.resource.k8s.io": "1",
        "gpu.deviceclass.resource.k8s.io/devices": "5",
        "tpu.deviceclass.resource.k8s.io/devices": "1",
    }


def test_overhead_counts_with_limits_only_where_there_are_any() -> None:
    made = sized("a", "1")
    made["spec"]["overhead"] = {"cpu": "250m", "memory": "64Mi"}
    hard = quota(requests_cpu="9", limits_cpu="9", requests_memory="9Gi", limits_memory="9Gi")
    assert used(hard, pods=[made]) == {
        "requests.cpu": "1250m", "limits.cpu": "1250m", "requests.memory": "64Mi", "limits.memory": "0",
    }  # fmt: skip


def test_other_objects_count() -> None:
    services = [
        {"spec": {"type": "NodePort", "ports": [{}, {}]}},
        {"spec": {"type": "LoadBalancer", "ports": [{}]}},
        {"spec": {"type": "ClusterIP", "ports": [{}]}},
    ]
    claims = [{"spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "5Gi"}}}}]
    hard = quota(
        services="9", services_nodeports="9", services_loadbalancers="9", configmaps="9", requests_storage="9Gi",
        persistentvolumeclaims="9", **{"count/deployments.apps": "9"},
    )  # fmt: skip
    hard["spec"]["hard"]["fast.storageclass.storage.k8s.io/requests.storage"] = "9Gi"
    assert used(hard, services=services, claims=claims, maps=[{}], deployments=[{}, {}]) == {
        "services": "3",
        "services.nodeports": "3",
        "services.loadbalancers": "1",
        "configmaps": "1",
        "requests.storage": "5Gi",
        "persistentvolumeclaims": "1",
        "count/deployments.apps": "2",
        "fast.storageclass.storage.k8s.io/requests.storage": "5Gi",
    }


@pytest.mark.parametrize(
    ("scope", "expected"),
    [("BestEffort", "1"), ("NotBestEffort", "2"), ("Terminating", "1"), ("NotTerminating", "2")],
)
def test_scopes(scope: str, expected: str) -> None:
    pods = [pod("a"), sized("b", "1"), sized("c", "1", activeDeadlineSeconds=5)]
    assert used(quota([scope], pods="9"), pods=pods) == {"pods": expected}


def test_priority_scopes() -> None:
    high = pod("a", priorityClassName="high")

    def matches(obj: Object, operator: str, *values: str) -> bool:
        expression = {"scopeName": "PriorityClass", "operator": operator, "values": list(values)}
        return q.scopes_match({"spec": {"scopeSelector": {"matchExpressions": [expression]}}}, PODS, obj)

    assert matches(high, "In", "high") and not matches(high, "NotIn", "high")
    assert matches(high, "Exists") and matches(pod("b"), "DoesNotExist")
    assert not q.scopes_match(quota(["BestEffort"]), SERVICES, {})


def budget(**spec: Any) -> Object:
    return {"metadata": {"name": "b", "generation": 1}, "spec": spec, "status": {}}


def allowed(pdb: Object, pods: list[Object], expected: int = 0) -> tuple[int, int, int, int]:
    status = plan(pdb, pods, lambda: Scale(expected), NOW).status
    return status["expectedPods"], status["desiredHealthy"], status["currentHealthy"], status["disruptionsAllowed"]


def test_budgets() -> None:
    ready = [pod(f"p{i}") for i in range(4)]
    assert allowed(budget(minAvailable=3), ready) == (4, 3, 4, 1)
    assert allowed(budget(minAvailable="50%"), ready, 5) == (5, 3, 4, 1)
    assert allowed(budget(maxUnavailable=1), ready, 4) == (4, 3, 4, 1)
    assert allowed(budget(maxUnavailable=1), [*ready[:3], pod("p3", ready=False)], 4) == (4, 3, 3, 0)
    assert allowed(budget(maxUnavailable="100%"), ready, 4) == (4, 0, 4, 4)
    assert allowed(budget(minAvailable=1), []) == (0, 1, 0, 0)


def test_evictions_under_way_count_until_they_show() -> None:
    pdb = budget(minAvailable=1)
    pdb["status"] = {
        "disruptedPods": {"a": format_time(NOW - 10), "b": format_time(NOW - 200), "gone": format_time(NOW)}
    }
    planned = plan(pdb, [pod("a"), pod("b")], lambda: Scale(0), NOW)
    assert planned.status["disruptedPods"] == {"a": format_time(NOW - 10)}
    assert planned.status["currentHealthy"] == 1 and planned.check_again_at == NOW + 110


def test_budget_conditions() -> None:
    pdb = budget(minAvailable=1)
    pdb["status"] = plan(pdb, [pod("a"), pod("b")], lambda: Scale(0), NOW).status
    (condition,) = pdb["status"]["conditions"]
    assert (condition["status"], condition["reason"]) == ("True", "SufficientPods")
    assert plan(pdb, [pod("a"), pod("b")], lambda: Scale(0), NOW + 9).status == pdb["status"]
    (condition,) = plan(pdb, [pod("a")], lambda: Scale(0), NOW + 9).status["conditions"]
    assert (condition["status"], condition["reason"], condition["lastTransitionTime"]) == (
        "False", "InsufficientPods", format_time(NOW + 9),
    )  # fmt: skip
    status = failed(pdb, "no", NOW)
    assert status["disruptionsAllowed"] == 0 and status["conditions"][0]["reason"] == "SyncFailed"


def test_a_disruption_that_did_not_happen_is_taken_back() -> None:
    target = pod("a")
    target["status"]["conditions"].append(
        {"type": "DisruptionTarget", "status": "True", "lastTransitionTime": format_time(NOW)}
    )
    assert stale_condition_at(target) == NOW + 120
    assert stale_condition_at(pod("b")) is None


def test_claims_in_use_stay() -> None:
    user = pod(
        "a", volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}, {"name": "e", "ephemeral": {}}]
    )
    assert list(protection.by_claim(user)) == ["default/c", "default/a-e"]
    assert protection.is_used_by(user)
    assert not protection.is_used_by(pod("b", node="")) and not protection.is_used_by(pod("c", phase="Failed"))
    fresh: Object = {"metadata": {}}
    assert protection.plan_finalizers(fresh, "f", in_use=False) == ["f"]
    leaving: Object = {"metadata": {"deletionTimestamp": "x", "finalizers": ["f", "g"]}}
    assert protection.plan_finalizers(leaving, "f", in_use=True) is None
    assert protection.plan_finalizers(leaving, "f", in_use=False) == ["g"]


def request(
    common_name: str, organization: str, signer: str, usages: list[str], sans: list[str] | None = None
) -> Object:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
        x509.NameAttribute(NameOID.COMMON_NAME, common_name),
    ]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    if sans:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(s) for s in sans]), critical=False)
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return {
        "metadata": {"name": "r", "uid": "u", "creationTimestamp": format_time(NOW)},
        "spec": {
            "request": base64.b64encode(pem).decode(), "signerName": signer, "usages": usages, "username": common_name,
        },
    }  # fmt: skip


CLIENT = ["digital signature", "client auth"]
SERVER = ["digital signature", "server auth"]


@pytest.mark.parametrize(
    ("csr", "fault"),
    [
        (request("system:node:a", "system:nodes", certificates.KUBELET_CLIENT_SIGNER, CLIENT), ""),
        (request("system:node:a", "other", certificates.KUBELET_CLIENT_SIGNER, CLIENT), "organization"),
        (request("a", "system:nodes", certificates.KUBELET_CLIENT_SIGNER, CLIENT), "common name"),
        (request("system:node:a", "system:nodes", certificates.KUBELET_CLIENT_SIGNER, SERVER), "usages"),
        (request("system:node:a", "system:nodes", certificates.KUBELET_CLIENT_SIGNER, CLIENT, ["x"]), "DNS"),
        (request("system:node:a", "system:nodes", certificates.KUBELET_SERVING_SIGNER, SERVER, ["a"]), ""),
        (request("system:node:a", "system:nodes", certificates.KUBELET_SERVING_SIGNER, SERVER), "required"),
        (request("jane", "dev", certificates.CLIENT_SIGNER, CLIENT), ""),
        (
            request("jane", "dev", certificates.CLIENT_SIGNER, SERVER),
            "invalid usage for client certificate: server auth",
        ),
        (request("jane", "system:masters", certificates.CLIENT_SIGNER, CLIENT), "system:masters"),
    ],
)
def test_what_a_signer_may_sign(csr: Object, fault: str) -> None:
    found = certificates.signer_fault(csr, certificates.parse(csr))
    assert (fault in found) if fault else not found


def test_who_is_approved() -> None:
    node = request("system:node:a", "system:nodes", certificates.KUBELET_CLIENT_SIGNER, CLIENT)
    assert [s for s, _ in certificates.recognizers(node)] == ["selfnodeclient", "nodeclient"]
    node["spec"]["username"] = "bootstrap"
    assert [s for s, _ in certificates.recognizers(node)] == ["nodeclient"]
    assert certificates.recognizers(request("jane", "dev", certificates.CLIENT_SIGNER, CLIENT)) == []
    with pytest.raises(ValueError, match="decode"):
        certificates.parse({"spec": {"request": "%"}})


def authority() -> tuple[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")])
    at = datetime.datetime.fromtimestamp(NOW, datetime.UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(at).not_valid_after(at + datetime.timedelta(days=100)).sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(pem).decode(), private.decode()


def test_signing() -> None:
    ca, key = authority()
    csr = request("system:node:a", "system:nodes", certificates.KUBELET_SERVING_SIGNER, SERVER, ["a.example"])
    csr["spec"]["expirationSeconds"] = 3600
    issued = x509.load_pem_x509_certificate(CertificateSigner(ca, key, 86400).sign(csr, certificates.parse(csr), NOW))
    issued.verify_directly_issued_by(x509.load_pem_x509_certificate(ca.encode()))
    assert issued.not_valid_after_utc.timestamp() == NOW + 3600
    assert issued.not_valid_before_utc.timestamp() == NOW - 300
    assert issued.subject.rfc4514_string() == "CN=system:node:a,O=system:nodes"
    names = issued.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a.example"]
    extended = issued.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(extended) == [ExtendedKeyUsageOID.SERVER_AUTH]
    del csr["spec"]["expirationSeconds"]
    longest = CertificateSigner(ca, key, 10**9).sign(csr, certificates.parse(csr), NOW)
    assert x509.load_pem_x509_certificate(longest).not_valid_after_utc.timestamp() == NOW + 100 * 86400


def test_requests_are_cleaned_up() -> None:
    csr = request("jane", "dev", certificates.CLIENT_SIGNER, CLIENT)
    assert certificates.expires_at(csr) == NOW + 86400
    approved = certificates.with_condition(csr, "Approved", "x", "y", NOW + 60)
    assert certificates.expires_at(approved) == NOW + 3660
    assert owner_ref("a", "b", "c")["kind"] == "a"
