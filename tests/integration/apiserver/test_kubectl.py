"""A stock kubectl, the oldest and the newest on the machine, against a real server.

Debian 12's own is 1.20: what only later ones can is asked of those alone.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path

import pytest

from tests.integration.apiserver.conftest import Server
from tests.support.kubectls import minor_version

MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: c, image: "busybox:1", ports: [{containerPort: 80}]}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: NodePort, selector: {app: web}, ports: [{port: 80}]}
"""


def kubectls() -> list[str]:
    """The oldest and the newest kubectl beside the one on the PATH, else that one alone."""
    found = shutil.which("kubectl")
    if found is None:
        return []
    beside = sorted(
        Path(os.path.realpath(found)).parent.glob("kubectl.1.*"), key=lambda p: int(p.name.rsplit(".", 1)[1])
    )
    return [str(p) for p in (beside[:1] + beside[-1:])] or [found]


class Kubectl:
    def __init__(self, program: str, server: Server) -> None:
        self.program = program
        self.minor = minor_version(program)
        self.environment = {
            "PATH": os.environ["PATH"],
            "KUBECONFIG": str(server.kubeconfig),
            "HOME": str(server.kubeconfig.parent),
        }

    async def run(self, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            self.program,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self.environment,
        )
        async with asyncio.timeout(60):
            out, err = await process.communicate(stdin.encode())
        return process.returncode or 0, out.decode(), err.decode()

    async def __call__(self, *arguments: str, stdin: str = "") -> str:
        code, out, err = await self.run(*arguments, stdin=stdin)
        assert code == 0, f"kubectl {' '.join(arguments)}: {err}"
        return out

    async def fails(self, *arguments: str, stdin: str = "") -> str:
        code, out, err = await self.run(*arguments, stdin=stdin)
        assert code != 0, f"kubectl {' '.join(arguments)} succeeded: {out}"
        return err


@pytest.fixture(params=kubectls(), ids=lambda p: Path(p).name)
def kubectl(request: pytest.FixtureRequest, server: Server) -> Kubectl:
    return Kubectl(request.param, server)


async def test_apply_change_and_delete(kubectl: Kubectl) -> None:
    out = await kubectl("apply", "-f", "-", stdin=MANIFEST)
    assert out == "deployment.apps/web created\nservice/web created\n"
    out = await kubectl("apply", "-f", "-", stdin=MANIFEST)
    assert out == "deployment.apps/web unchanged\nservice/web unchanged\n"
    out = await kubectl("apply", "-f", "-", stdin=MANIFEST.replace("replicas: 2", "replicas: 3"))
    assert "deployment.apps/web configured" in out
    shown = json.loads(await kubectl("get", "deploy", "web", "-o", "json"))
    assert shown["spec"]["replicas"] == 3 and shown["metadata"]["generation"] == 2
    assert shown["spec"]["template"]["spec"]["containers"][0]["terminationMessagePath"] == "/dev/termination-log"

    await kubectl("scale", "deploy", "web", "--replicas=5")
    await kubectl("set", "image", "deploy/web", "c=busybox:2")
    await kubectl("label", "deploy", "web", "tier=front")
    await kubectl("annotate", "deploy", "web", "note=x")
    await kubectl("patch", "deploy", "web", "-p", '{"spec":{"minReadySeconds":4}}')
    await kubectl("patch", "deploy", "web", "--type=json", "-p", '[{"op":"replace","path":"/spec/replicas","value":1}]')
    await kubectl("patch", "deploy", "web", "--type=merge", "-p", '{"spec":{"paused":true}}')
    shown = json.loads(await kubectl("get", "deploy", "-l", "tier=front", "-o", "json"))["items"][0]
    assert shown["spec"]["replicas"] == 1 and shown["spec"]["paused"] and shown["spec"]["minReadySeconds"] == 4
    assert shown["metadata"]["annotations"]["note"] == "x"
    assert shown["spec"]["template"]["spec"]["containers"][0]["image"] == "busybox:2"

    assert await kubectl("get", "deploy", "-o", "jsonpath={.items[*].metadata.name}") == "web"
    assert "web" in await kubectl("get", "deploy,svc")
    assert "NodePort" in await kubectl("get", "svc", "web", "-o", "wide")
    assert "web" in await kubectl("describe", "service", "web")
    assert await kubectl("delete", "-f", "-", stdin=MANIFEST)
    assert "NotFound" in await kubectl.fails("get", "deploy", "web")


async def test_server_side_apply(kubectl: Kubectl) -> None:
    out = await kubectl("apply", "--server-side", "-f", "-", stdin=MANIFEST)
    assert "serverside-applied" in out
    await kubectl("scale", "deploy", "web", "--replicas=4")
    text = await kubectl.fails("apply", "--server-side", "-f", "-", stdin=MANIFEST)
    assert ".spec.replicas" in text and "conflict" in text
    await kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=MANIFEST)
    assert await kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.replicas}") == "2"
    flags = ["--show-managed-fields"] if kubectl.minor >= 21 else []
    assert "f:replicas" in await kubectl("get", "deploy", "web", "-o", "yaml", *flags)


async def test_from_client_side_to_server_side_apply(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", stdin=MANIFEST)
    await kubectl("apply", "--server-side", "-f", "-", stdin=MANIFEST.replace("replicas: 2", "replicas: 3"))
    assert await kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.replicas}") == "3"


async def test_diff_edit_replace_and_wait(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", stdin=MANIFEST)
    code, out, err = await kubectl.run("diff", "-f", "-", stdin=MANIFEST.replace("replicas: 2", "replicas: 7"))
    assert code == 1 and "+  replicas: 7" in out, err
    kubectl.environment["KUBE_EDITOR"] = "sed -i s/replicas:.2/replicas:\\ 6/"
    await kubectl("edit", "deploy", "web")
    assert await kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.replicas}") == "6"
    shown = await kubectl("get", "svc", "web", "-o", "yaml")
    await kubectl("replace", "-f", "-", stdin=shown)
    if kubectl.minor >= 23:
        await kubectl("wait", "deploy/web", "--for=jsonpath={.spec.replicas}=6", "--timeout=10s")
    await kubectl("delete", "deploy", "web", "--wait=true", "--timeout=10s")


async def test_create_commands(kubectl: Kubectl) -> None:
    """Newer kubectls send these in protobuf."""
    await kubectl("create", "namespace", "team")
    # Earlier ones send these in beta versions, which are served no longer.
    since_1_22 = (
        "cronjob cj --image=busybox --schedule=*/5\\s*\\s*\\s*\\s* -- true",
        "poddisruptionbudget pdb --selector=app=d --min-available=1",
    )
    for arguments in (
        "configmap c --from-literal=x=1",
        "secret generic s --from-literal=p=q",
        "serviceaccount sa",
        "serviceaccount default",
        "deployment d --image=busybox --replicas=2 --port=80",
        "service clusterip s --tcp=80:8080",
        "service nodeport n --tcp=80",
        "job j --image=busybox -- true",
        "role r --verb=get,list --resource=pods",
        "rolebinding rb --role=r --serviceaccount=team:sa",
        "clusterrole cr --verb=get --resource=nodes",
        "clusterrolebinding crb --clusterrole=cr --user=someone",
        "quota q --hard=pods=5",
        "priorityclass pc --value=7",
        "ingress i --rule=host/path=s:80",
        *(since_1_22 if kubectl.minor >= 22 else ()),
    ):
        await kubectl("create", "-n", "team", *(a.replace("\\s", " ") for a in arguments.split(" ")))
    await kubectl("run", "p", "--image=busybox", "-n", "team")
    await kubectl("expose", "deploy", "d", "-n", "team", "--name=e", "--port=80")

    deployment = json.loads(await kubectl("get", "deploy", "d", "-n", "team", "-o", "json"))
    assert deployment["spec"]["replicas"] == 2
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "busybox" and container["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    assert "env" not in container and "command" not in container
    secret = json.loads(await kubectl("get", "secret", "s", "-n", "team", "-o", "json"))
    assert secret["data"] == {"p": "cQ=="}
    service = json.loads(await kubectl("get", "svc", "s", "-n", "team", "-o", "json"))
    assert service["spec"]["ports"] == [{"name": "80-8080", "port": 80, "protocol": "TCP", "targetPort": 8080}]
    role = json.loads(await kubectl("get", "role", "r", "-n", "team", "-o", "json"))
    assert role["rules"] == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]
    ingress = json.loads(await kubectl("get", "ingress", "i", "-n", "team", "-o", "json"))
    assert ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"] == {
        "service": {"name": "s", "port": {"number": 80}}
    }
    if kubectl.minor >= 24:
        assert (await kubectl("create", "token", "sa", "-n", "team")).count(".") == 2


async def test_what_a_user_may(kubectl: Kubectl) -> None:
    assert await kubectl("auth", "can-i", "create", "pods") == "yes\n"
    code, out, _ = await kubectl.run("auth", "can-i", "create", "pods", "--as=nobody")
    assert (code, out) == (1, "no\n")
    text = await kubectl.fails("get", "pods", "--as=nobody")
    assert text == (
        'Error from server (Forbidden): pods is forbidden: User "nobody" cannot list resource "pods" in API group "" '
        'in the namespace "default"\n'
    )


async def test_discovery_and_documents(kubectl: Kubectl) -> None:
    out = await kubectl("api-resources")
    assert "deployments                         deploy" in out
    assert "apps/v1" in await kubectl("api-versions")
    assert "Container image name" in await kubectl("explain", "pod.spec.containers.image")
    assert "v1.37.0" in await kubectl("version")


async def test_bad_manifests(kubectl: Kubectl) -> None:
    text = await kubectl.fails("apply", "-f", "-", stdin=MANIFEST.replace("replicas: 2", "replicas: two"))
    assert "spec.replicas" in text
    text = await kubectl.fails("apply", "-f", "-", stdin=MANIFEST.replace("replicas: 2", "replikas: 2"))
    # Since 1.25 the server is asked; earlier ones check by themselves.
    assert ('unknown field "spec.replikas"' if kubectl.minor >= 25 else 'unknown field "replikas"') in text
    text = await kubectl.fails("apply", "-f", "-", stdin=MANIFEST.replace('image: "busybox:1", ', ""))
    assert "spec.template.spec.containers[0].image: Required value" in text


async def test_watch(kubectl: Kubectl, server: Server) -> None:
    process = await asyncio.create_subprocess_exec(
        kubectl.program, "get", "configmaps", "-w", "--no-headers", "-o", "name",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=kubectl.environment,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            while True:
                # The client lists first and then watches: what is made in between must show either way.
                await kubectl("create", "configmap", "seen")
                line = await process.stdout.readline()
                assert line == b"configmap/seen\n"
                break
    finally:
        process.terminate()
        await process.communicate()
