"""Bad input: clear errors with the field's path, the right status codes, no stack trace, nothing half-done."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
import yaml

from tests.support.cluster import Cluster, container, pod, service, workload
from tests.support.waiting import eventually


def post(cluster: Cluster, path: str, body: str, content_type: str = "application/json") -> tuple[int, dict[str, Any]]:
    """A raw request with the admin's certificate: (status, answer)."""
    document = yaml.safe_load(cluster.kubeconfig.read_text())
    server = next(c["cluster"] for c in document["clusters"] if cluster.name in c["name"])["server"]
    token = cluster.api.configuration
    result = subprocess.run(
        ["curl", "-s", "--cacert", token.ssl_ca_cert, "--cert", token.cert_file, "--key", token.key_file,
         "-w", "\n%{http_code}", "-H", f"Content-Type: {content_type}", "--data-binary", "@-", server + path],
        input=body, capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    text, _, code = result.stdout.rpartition("\n")
    assert "Traceback" not in text
    return int(code), json.loads(text)


def test_malformed_documents(cluster: Cluster, ns: str) -> None:
    path = f"/api/v1/namespaces/{ns}/configmaps"
    for body, content_type in (("{", "application/json"), ("a: [", "application/yaml"), ("[]", "application/json")):
        code, status = post(cluster, path, body, content_type)
        assert (code, status["kind"], status["reason"]) == (400, "Status", "BadRequest"), body
    code, status = post(cluster, path, "x", "text/plain")
    assert (code, status["reason"]) == (415, "UnsupportedMediaType")
    error = cluster.refused("-n", ns, "apply", "-f", "-", stdin="apiVersion: v1\nkind: ConfigMap\n  metadata: x: y")
    assert "error parsing" in error or "error converting YAML" in error


def test_wrong_types(cluster: Cluster, ns: str) -> None:
    bad = workload("Deployment", "d", 1, [container("c")])
    bad["spec"]["replicas"] = "three"
    code, status = post(cluster, f"/apis/apps/v1/namespaces/{ns}/deployments", json.dumps(bad))
    assert code == 400
    assert 'Deployment in version "v1" cannot be handled as a Deployment' in status["message"]
    assert "spec.replicas" in status["message"]
    assert cluster.items("deployments", ns) == []


def test_unknown_fields(cluster: Cluster, ns: str) -> None:
    bad = pod("p")
    bad["spec"]["containers"][0]["imagee"] = "x"
    bad["spec"]["nodename"] = "y"
    error = cluster.refused("-n", ns, "create", "-f", "-", stdin=yaml.safe_dump(bad))
    assert 'unknown field "spec.containers[0].imagee"' in error and 'unknown field "spec.nodename"' in error
    assert cluster.items("pods", ns) == []
    result = cluster.try_kubectl(
        "-n", ns, "create", "--validate=warn", "-f", "-", stdin=yaml.safe_dump(bad), check=True
    )
    assert 'Warning: unknown field "spec.nodename"' in result.stderr


def test_every_fault_at_once(cluster: Cluster, ns: str) -> None:
    bad = pod("Bad_Name", {"name": "c"}, {"name": "c", "image": "x", "ports": [{"containerPort": 70000}]})
    bad["spec"]["restartPolicy"] = "Sometimes"
    code, status = post(cluster, f"/api/v1/namespaces/{ns}/pods", json.dumps(bad))
    assert (code, status["reason"]) == (422, "Invalid")
    causes = {(c["field"], c["reason"]) for c in status["details"]["causes"]}
    assert causes >= {
        ("metadata.name", "FieldValueInvalid"),
        ("spec.containers[0].image", "FieldValueRequired"),
        ("spec.containers[1].name", "FieldValueDuplicate"),
        ("spec.containers[1].ports[0].containerPort", "FieldValueInvalid"),
        ("spec.restartPolicy", "FieldValueNotSupported"),
    }


def test_service_and_deployment_faults(cluster: Cluster, ns: str) -> None:
    code, status = post(cluster, f"/api/v1/namespaces/{ns}/services", json.dumps(service("s", 0)))
    assert code == 422 and status["details"]["causes"][0]["field"] == "spec.ports[0].port"
    code, status = post(
        cluster, f"/api/v1/namespaces/{ns}/services", json.dumps(service("s", 80, clusterIP="10.96.0.1"))
    )
    assert code == 422 and "provided IP is already allocated" in status["message"]
    bad = workload("Deployment", "d", 1, [container("c")])
    bad["spec"]["selector"]["matchLabels"] = {"app": "other"}
    code, status = post(cluster, f"/apis/apps/v1/namespaces/{ns}/deployments", json.dumps(bad))
    assert code == 422 and "`selector` does not match template `labels`" in status["message"]


def test_a_name_that_is_taken(cluster: Cluster, ns: str) -> None:
    cluster.kubectl("-n", ns, "create", "configmap", "c")
    error = cluster.refused("-n", ns, "create", "configmap", "c")
    assert 'error: failed to create configmap: configmaps "c" already exists' in error


def test_a_stale_resource_version(cluster: Cluster, ns: str) -> None:
    cluster.kubectl("-n", ns, "create", "configmap", "c", "--from-literal=a=1")
    stale = cluster.get("cm", "c", ns)
    cluster.kubectl("-n", ns, "label", "cm", "c", "x=y")
    stale["data"] = {"a": "2"}
    error = cluster.refused("-n", ns, "replace", "-f", "-", stdin=json.dumps(stale))
    assert "the object has been modified; please apply your changes to the latest version and try again" in error
    assert cluster.get("cm", "c", ns)["data"] == {"a": "1"}


@pytest.mark.parametrize("command", [("create", "configmap", "c"), ("run", "p", "--image=busybox:1")])
def test_an_unknown_namespace(cluster: Cluster, command: tuple[str, ...]) -> None:
    assert 'namespaces "nowhere" not found' in cluster.refused("-n", "nowhere", *command)


def test_unknown_resources_and_objects(cluster: Cluster, ns: str) -> None:
    assert 'the server doesn\'t have a resource type "gadgets"' in cluster.refused("get", "gadgets")
    assert 'pods "none" not found' in cluster.refused("-n", ns, "get", "pod", "none")
    assert "no matches for kind" in cluster.refused(
        "apply", "-f", "-", stdin="apiVersion: v1\nkind: Gadget\nmetadata: {name: x}"
    )
    assert "the server could not find the requested resource" in cluster.refused("get", "--raw", "/apis/none/v1/x")


def test_a_missing_image(cluster: Cluster, ns: str) -> None:
    cluster.apply(
        pod("p", {"name": "c", "image": "localhost:1/missing:1"}),
        pod("q", {"name": "c", "image": "missing:1", "imagePullPolicy": "Never"}),
        pod("r", {"name": "c", "image": "Not A Name"}),
        namespace=ns,
    )

    def reason(name: str) -> str:
        statuses = cluster.get("pod", name, ns)["status"].get("containerStatuses") or [{}]
        found: str = statuses[0].get("state", {}).get("waiting", {}).get("reason", "")
        return found

    eventually(lambda: reason("p") in ("ErrImagePull", "ImagePullBackOff"))
    eventually(lambda: reason("q") == "ErrImageNeverPull")
    eventually(lambda: reason("r") == "InvalidImageName")
    eventually(lambda: reason("p") == "ImagePullBackOff")
    events = [e["message"] for e in cluster.items("events", ns) if e["involvedObject"]["name"] == "p"]
    assert any('Failed to pull image "localhost:1/missing:1"' in m for m in events)
    # It can be mended in place.
    cluster.kubectl("-n", ns, "set", "image", "pod/q", "c=web:1")
    cluster.wait(ns, "pod/q", "Ready")
