"""Quotas, disruption budgets, protection of claims and certificates against the API server."""

from __future__ import annotations

import base64

import pytest
from cryptography import x509

from pybernetes.api import resources as r
from pybernetes.api.meta import Object, get_condition
from pybernetes.apiserver.pki import ClusterPKI
from pybernetes.controllers.certificates.plan import CLIENT_SIGNER
from pybernetes.controllers.manager import ControllerConfig
from tests.integration.controllers.conftest import ROOT_CA, World, template
from tests.unit.controllers.test_policy import CLIENT, request


async def test_a_quota_knows_what_is_used(world: World) -> None:
    await world.create(r.RESOURCEQUOTAS, "q", spec={"hard": {"pods": "10", "configmaps": "10", "count/services": "5"}})
    await world.until(lambda: world.status(r.RESOURCEQUOTAS, "q").get("used") is not None)
    maps = len(world.all(r.CONFIGMAPS))
    await world.create(r.CONFIGMAPS, "one")
    spec = {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": template()}
    await world.create(r.REPLICASETS, "web", spec=spec)

    def used() -> dict[str, str]:
        return world.status(r.RESOURCEQUOTAS, "q").get("used") or {}

    await world.until(lambda: used().get("pods") == "3" and used().get("configmaps") == str(maps + 1))
    assert world.status(r.RESOURCEQUOTAS, "q")["hard"]["pods"] == "10"
    await world.patch(r.REPLICASETS, "web", {"spec": {"replicas": 1}})
    await world.admin.delete(r.CONFIGMAPS, "one", "default")
    await world.until(lambda: used().get("pods") == "1" and used().get("configmaps") == str(maps))


async def test_a_budget_follows_its_deployment(world: World) -> None:
    spec = {"replicas": 4, "selector": {"matchLabels": {"app": "web"}}, "template": template()}
    await world.create(r.DEPLOYMENTS, "web", spec=spec)
    budget = {"maxUnavailable": "25%", "selector": {"matchLabels": {"app": "web"}}}
    await world.create(r.PODDISRUPTIONBUDGETS, "web", spec=budget)
    await world.until(lambda: world.status(r.PODDISRUPTIONBUDGETS, "web").get("disruptionsAllowed") == 1)
    status = world.status(r.PODDISRUPTIONBUDGETS, "web")
    assert (status["expectedPods"], status["desiredHealthy"], status["currentHealthy"]) == (4, 3, 4)
    condition = get_condition(world.get(r.PODDISRUPTIONBUDGETS, "web") or {}, "DisruptionAllowed")
    assert condition is not None and condition["reason"] == "SufficientPods"
    world.pods_run = False
    (victim, *_) = world.all(r.PODS)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": victim["metadata"]["name"]}}
    await world.admin.create(r.PODS, eviction, "default", name=victim["metadata"]["name"], subresource="eviction")
    await world.until(lambda: world.status(r.PODDISRUPTIONBUDGETS, "web").get("disruptionsAllowed") == 0)
    await world.until(lambda: world.status(r.PODDISRUPTIONBUDGETS, "web").get("currentHealthy") == 3)
    await world.patch(r.DEPLOYMENTS, "web", {"spec": {"replicas": 8}})
    await world.until(lambda: world.status(r.PODDISRUPTIONBUDGETS, "web").get("desiredHealthy") == 6)


async def test_a_claim_goes_with_its_last_pod(world: World) -> None:
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    await world.create(r.PERSISTENTVOLUMECLAIMS, "data", spec=claim)
    await world.until(lambda: world.meta(r.PERSISTENTVOLUMECLAIMS, "data").get("finalizers"))
    assert world.meta(r.PERSISTENTVOLUMECLAIMS, "data")["finalizers"] == ["kubernetes.io/pvc-protection"]
    volumes = [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]
    await world.create(r.PODS, "user", spec={"containers": [{"name": "c", "image": "web:1"}], "volumes": volumes})
    await world.until(lambda: world.status(r.PODS, "user").get("phase") == "Running")
    await world.admin.delete(r.PERSISTENTVOLUMECLAIMS, "data", "default")
    await world.settled()
    assert world.get(r.PERSISTENTVOLUMECLAIMS, "data") is not None
    await world.admin.delete(r.PODS, "user", "default")
    await world.until(lambda: world.get(r.PERSISTENTVOLUMECLAIMS, "data") is None)


async def test_a_class_of_volumes_goes_with_the_last_that_names_it(world: World) -> None:
    for name in ("idle", "used"):
        await world.create(r.VOLUMEATTRIBUTESCLASSES, name, driverName="d.example.com", parameters={"a": "b"})
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        "volumeAttributesClassName": "used",
    }
    await world.create(r.PERSISTENTVOLUMECLAIMS, "data", spec=spec)
    for name in ("idle", "used"):
        await world.admin.delete(r.VOLUMEATTRIBUTESCLASSES, name)

    def left() -> list[str]:
        return [c["metadata"]["name"] for c in world.all(r.VOLUMEATTRIBUTESCLASSES)]

    await world.until(lambda: left() == ["used"])
    await world.settled()
    assert left() == ["used"]
    await world.admin.delete(r.PERSISTENTVOLUMECLAIMS, "data", "default")
    await world.until(lambda: not left())


class TestCertificates:
    @pytest.fixture
    def config(self, pki: ClusterPKI) -> ControllerConfig:
        _, key = pki.paths("ca")
        return ControllerConfig(
            root_ca_pem=ROOT_CA,
            cluster_signing_cert_pem=pki.ca_pem.decode(),
            cluster_signing_key_pem=key.read_text(),
        )

    async def test_an_approved_request_is_signed(self, world: World, pki: ClusterPKI) -> None:
        csr = request("jane", "dev", CLIENT_SIGNER, CLIENT)
        await world.create(
            r.CERTIFICATESIGNINGREQUESTS,
            "jane",
            spec={k: v for k, v in csr["spec"].items() if k != "username"},
        )
        live = await world.admin.get(r.CERTIFICATESIGNINGREQUESTS, "jane")
        condition = {"type": "Approved", "status": "True", "reason": "Test", "message": "by hand"}
        approved = {**live, "status": {"conditions": [condition]}}
        await world.admin.update(r.CERTIFICATESIGNINGREQUESTS, approved, subresource="approval")
        encoded = await world.until(lambda: world.status(r.CERTIFICATESIGNINGREQUESTS, "jane").get("certificate"))
        issued = x509.load_pem_x509_certificate(base64.b64decode(encoded))
        issued.verify_directly_issued_by(pki.ca_certificate)
        assert issued.subject.rfc4514_string() == "CN=jane,O=dev"

    async def test_what_no_signer_may_sign_fails(self, world: World) -> None:
        csr = request("jane", "dev", CLIENT_SIGNER, ["server auth"])
        spec = {k: v for k, v in csr["spec"].items() if k != "username"}
        await world.create(r.CERTIFICATESIGNINGREQUESTS, "jane", spec=spec)
        live = await world.admin.get(r.CERTIFICATESIGNINGREQUESTS, "jane")
        condition = {"type": "Approved", "status": "True", "reason": "Test", "message": "by hand"}
        approved = {**live, "status": {"conditions": [condition]}}
        await world.admin.update(r.CERTIFICATESIGNINGREQUESTS, approved, subresource="approval")
        fault = await world.until(
            lambda: get_condition(world.get(r.CERTIFICATESIGNINGREQUESTS, "jane") or {}, "Failed")
        )
        assert fault["reason"] == "SignerValidationFailure"


async def test_a_validating_policy_is_type_checked(world: World) -> None:
    def spec(*expressions: str) -> Object:
        rule = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"]}
        return {
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [{"expression": text} for text in expressions],
        }

    def status() -> Object:
        return world.status(r.VALIDATINGADMISSIONPOLICIES, "p")

    await world.create(r.VALIDATINGADMISSIONPOLICIES, "p", spec=spec("object.spec.replicas > 1"))
    await world.until(lambda: status() == {"observedGeneration": 1, "typeChecking": {}})
    wrong = spec("object.spec.replicas > 1", "object.replicas > 1", "object.spec.replicas > 'a'")
    await world.patch(r.VALIDATINGADMISSIONPOLICIES, "p", {"spec": wrong})
    await world.until(lambda: status().get("observedGeneration") == 2)
    one, two = status()["typeChecking"]["expressionWarnings"]
    assert one["fieldRef"] == "spec.validations[1].expression" and one["warning"].startswith(
        "apps/v1, Kind=Deployment: ERROR: <input>:1:7: undefined field 'replicas'"
    )
    assert two["fieldRef"] == "spec.validations[2].expression"
    assert "found no matching overload for '_>_' applied to '(int, string)'" in two["warning"]
