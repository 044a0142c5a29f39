"""Who holds what after kubectl's writes, and how its client-side apply hands over to its server-side one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from tests.integration.apiserver.conftest import Server
from tests.integration.apiserver.test_field_managers import held
from tests.integration.apiserver.test_kubectl import MANIFEST, Kubectl, kubectl

__all__ = ["kubectl"]

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
CONTAINER = 'k:{"name":"c"}'


async def deployment(server: Server) -> dict[str, Any]:
    found: dict[str, Any] = (await server.get("/apis/apps/v1/namespaces/default/deployments/web")).json
    return found


def names(obj: dict[str, Any]) -> list[tuple[str, str]]:
    return [(m["manager"], m["operation"]) for m in obj["metadata"]["managedFields"]]


def container(obj: dict[str, Any], manager: str) -> Any:
    found = held(obj, manager)["f:spec"]["f:template"]["f:spec"]["f:containers"]
    assert list(found) == [CONTAINER]
    return found[CONTAINER]


async def test_each_command_is_a_manager(kubectl: Kubectl, server: Server) -> None:
    await kubectl("apply", "-f", "-", stdin=MANIFEST)
    made = await deployment(server)
    assert names(made) == [("kubectl-client-side-apply", "Update")]
    fields = held(made, "kubectl-client-side-apply")
    assert fields["f:metadata"] == {
        "f:annotations": {".": {}, f"f:{LAST_APPLIED}": {}},
        "f:labels": {".": {}, "f:app": {}},
    }
    assert fields["f:spec"]["f:strategy"] == {
        "f:rollingUpdate": {".": {}, "f:maxSurge": {}, "f:maxUnavailable": {}},
        "f:type": {},
    }
    await kubectl("set", "image", "deploy/web", "c=busybox:2")
    await kubectl("label", "deploy", "web", "tier=front")
    await kubectl("annotate", "deploy", "web", "note=x")
    await kubectl("patch", "deploy", "web", "-p", '{"spec":{"minReadySeconds":4}}')
    kubectl.environment["KUBE_EDITOR"] = "sed -i s/minReadySeconds:.4/minReadySeconds:\\ 6/"
    await kubectl("edit", "deploy", "web")
    await kubectl("scale", "deploy", "web", "--replicas=5")
    obj = await deployment(server)
    assert container(obj, "kubectl-set") == {"f:image": {}}
    assert held(obj, "kubectl-label") == {"f:metadata": {"f:labels": {"f:tier": {}}}}
    assert held(obj, "kubectl-annotate") == {"f:metadata": {"f:annotations": {"f:note": {}}}}
    assert held(obj, "kubectl-edit") == {"f:spec": {"f:minReadySeconds": {}}} and held(obj, "kubectl-patch") is None
    assert held(obj, Path(kubectl.program).name, "scale") == {"f:spec": {"f:replicas": {}}}
    left = held(obj, "kubectl-client-side-apply")
    assert "f:replicas" not in left["f:spec"] and "f:image" not in container(obj, "kubectl-client-side-apply")
    await kubectl("create", "configmap", "made", "--from-literal=a=1")
    made = (await server.get("/api/v1/namespaces/default/configmaps/made")).json
    assert names(made) == [("kubectl-create", "Update")]


async def test_shown_on_demand(kubectl: Kubectl, server: Server) -> None:
    await kubectl("apply", "-f", "-", stdin=MANIFEST)
    if kubectl.minor >= 21:
        assert "managedFields" not in await kubectl("get", "deploy", "web", "-o", "yaml")
    flags = ["--show-managed-fields"] if kubectl.minor >= 21 else []
    shown = yaml.safe_load(await kubectl("get", "deploy", "web", "-o", "yaml", *flags))
    assert shown["metadata"]["managedFields"] == (await deployment(server))["metadata"]["managedFields"]


async def test_what_client_side_apply_no_longer_names_goes(kubectl: Kubectl, server: Server) -> None:
    both = MANIFEST.replace("name: web, labels: {app: web}", "name: web, labels: {app: web, old: x}")
    await kubectl("apply", "-f", "-", stdin=both)
    await kubectl("label", "deploy", "web", "mine=yes")
    without = MANIFEST.replace(", ports: [{containerPort: 80}]", "")
    assert "deployment.apps/web configured" in await kubectl("apply", "-f", "-", stdin=without)
    obj = await deployment(server)
    assert obj["metadata"]["labels"] == {"app": "web", "mine": "yes"}
    assert "ports" not in obj["spec"]["template"]["spec"]["containers"][0]
    assert "f:ports" not in container(obj, "kubectl-client-side-apply")
    assert held(obj, "kubectl-label") == {"f:metadata": {"f:labels": {"f:mine": {}}}}


async def test_conflicts_and_forcing(kubectl: Kubectl, server: Server) -> None:
    await kubectl("apply", "--server-side", "-f", "-", stdin=MANIFEST)
    await kubectl("set", "image", "deploy/web", "c=busybox:2")
    await kubectl("scale", "deploy", "web", "--replicas=5")
    text = await kubectl.fails("apply", "--server-side", "-f", "-", stdin=MANIFEST)
    program = Path(kubectl.program).name
    assert (
        'Apply failed with 2 conflicts: conflicts with "kubectl-set" using apps/v1:\n'
        '- .spec.template.spec.containers[name="c"].image\n'
        f'conflicts with "{program}" with subresource "scale" using apps/v1:\n'
        "- .spec.replicas\n"
    ) in text
    await kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=MANIFEST)
    obj = await deployment(server)
    assert names(obj) == [("kubectl", "Apply")] and obj["spec"]["replicas"] == 2
    version = obj["metadata"]["resourceVersion"]
    await kubectl("apply", "--server-side", "-f", "-", stdin=MANIFEST)
    assert (await deployment(server))["metadata"]["resourceVersion"] == version, "the same again is no write"


async def test_from_client_side_apply_to_server_side_apply(kubectl: Kubectl, server: Server) -> None:
    await kubectl("apply", "-f", "-", stdin=MANIFEST)
    without = MANIFEST.replace(", ports: [{containerPort: 80}]", "").replace("replicas: 2", "replicas: 3")
    await kubectl("apply", "--server-side", "-f", "-", stdin=without)
    obj = await deployment(server)
    assert obj["spec"]["replicas"] == 3
    noted = json.loads(obj["metadata"]["annotations"][LAST_APPLIED])
    assert noted["spec"]["replicas"] == 3, "the annotation of client-side apply is kept in step"
    if kubectl.minor < 26:
        return  # before kubectl handed over the fields of its client-side apply
    assert names(obj) == [("kubectl-last-applied", "Apply"), ("kubectl", "Apply")]
    assert held(obj, "kubectl-last-applied") == {"f:metadata": {"f:annotations": {f"f:{LAST_APPLIED}": {}}}}
    assert container(obj, "kubectl") == {".": {}, "f:image": {}, "f:name": {}}
    assert "ports" not in obj["spec"]["template"]["spec"]["containers"][0], "what client-side apply set goes, too"
