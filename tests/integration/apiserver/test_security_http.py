"""Security as clients see it: a running server, its certificates, tokens, roles and plugins, stock kubectl."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest

from pybernetes.api import errors
from pybernetes.api.meta import uid_of
from pybernetes.api.resources import (
    CLUSTERROLEBINDINGS,
    CLUSTERROLES,
    CONFIGMAPS,
    ENDPOINTS,
    ENDPOINTSLICES,
    NAMESPACES,
    NODES,
    PODS,
    PRIORITYCLASSES,
    RESOURCEQUOTAS,
    ROLEBINDINGS,
    ROLES,
    SECRETS,
    SERVICEACCOUNTS,
    SERVICES,
)
from pybernetes.api.user import NODES_GROUP, User
from pybernetes.apiserver.bootstrap import APISERVER_USER, BootstrapConfig, KubernetesService, bootstrap
from pybernetes.apiserver.pki import ClusterPKI, KeyPair, client_context, write_private
from pybernetes.apiserver.rbac_policy import cluster_roles
from pybernetes.lib.clock import SystemClock
from tests.integration.apiserver.conftest import Answer, Server
from tests.support.waiting import until

POD = {"metadata": {"name": "web"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}


def context_of(pki: ClusterPKI, directory: Path, pair: KeyPair | None) -> ssl.SSLContext:
    if pair is None:
        return client_context(pki.ca_path)
    certificate, key = directory / "client.crt", directory / "client.key"
    write_private(certificate, pair.certificate_pem)
    write_private(key, pair.key_pem)
    return client_context(pki.ca_path, certificate, key)


async def ask(
    server: Server, context: ssl.SSLContext, method: str, path: str, body: Any = None, **headers: str
) -> Answer:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, server.url + path, json=body, headers=sent, ssl=context) as got,
    ):
        return Answer(got.status, got.headers, await got.read())


async def token_of(server: Server, name: str = "robot", **spec: Any) -> str:
    await server.admin.create(SERVICEACCOUNTS, {"metadata": {"name": name}}, "default")
    answer = await server.post(f"/api/v1/namespaces/default/serviceaccounts/{name}/token", {"spec": spec})
    assert answer.status == 201, answer.body
    return str(answer.json["status"]["token"])


async def test_nobody_sees_little(server: Server, pki: ClusterPKI, tmp_path: Path) -> None:
    nobody = context_of(pki, tmp_path, None)
    for path in ("/version", "/healthz", "/livez", "/readyz"):
        assert (await ask(server, nobody, "GET", path)).status == 200, path
    answer = await ask(server, nobody, "GET", "/api/v1/namespaces/default/pods")
    assert answer.status == 403
    assert answer.json["message"] == (
        'pods is forbidden: User "system:anonymous" cannot list resource "pods" in API group "" in the namespace '
        '"default"'
    )
    assert answer.json["details"] == {"kind": "pods"}
    answer = await ask(server, nobody, "GET", "/apis")
    assert answer.json["message"] == 'forbidden: User "system:anonymous" cannot get path "/apis"'


async def test_strangers_are_refused(server: Server, pki: ClusterPKI, tmp_path: Path) -> None:
    nobody = context_of(pki, tmp_path, None)
    answer = await ask(server, nobody, "GET", "/version", Authorization="Bearer nonsense")
    assert (answer.status, answer.json["reason"], answer.json["message"]) == (401, "Unauthorized", "Unauthorized")
    other = ClusterPKI.ensure(tmp_path / "other")
    forged = context_of(pki, tmp_path, other.issue_client("kubernetes-admin", ["system:masters"]))
    with pytest.raises((aiohttp.ClientError, ssl.SSLError, ConnectionError)):
        await ask(server, forged, "GET", "/api/v1/secrets")


async def test_a_servers_certificate_is_no_clients(server: Server, pki: ClusterPKI, tmp_path: Path) -> None:
    serving = context_of(pki, tmp_path, pki.issue_kubelet_serving("n1", ["127.0.0.1"]))
    with pytest.raises((aiohttp.ClientError, ssl.SSLError, ConnectionError)):
        await ask(server, serving, "GET", "/version")


async def test_a_users_rights(server: Server, pki: ClusterPKI, tmp_path: Path) -> None:
    alice = context_of(pki, tmp_path, pki.issue_client("alice", ["devs"]))
    path = "/api/v1/namespaces/default/configmaps"
    assert (await ask(server, alice, "GET", path)).status == 403
    role = {"metadata": {"name": "r"}, "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]}
    await server.admin.create(ROLES, role, "default")
    binding = {
        "metadata": {"name": "b"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "devs"}],
    }
    await server.admin.create(ROLEBINDINGS, binding, "default")
    assert (await ask(server, alice, "GET", path)).status == 200
    assert (await ask(server, alice, "POST", path, {"metadata": {"name": "x"}})).status == 403
    assert (await ask(server, alice, "GET", "/api/v1/configmaps")).status == 403
    await server.admin.delete(ROLEBINDINGS, "b", "default")
    assert (await ask(server, alice, "GET", path)).status == 403


async def test_a_selector_is_no_way_around_a_name(server: Server, pki: ClusterPKI, tmp_path: Path) -> None:
    alice = context_of(pki, tmp_path, pki.issue_client("alice"))
    for name in ("mine", "other"):
        await server.admin.create(CONFIGMAPS, {"metadata": {"name": name}}, "default")
    verbs = ["list", "watch", "deletecollection"]
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": verbs, "resourceNames": ["mine"]}
    await server.admin.create(ROLES, {"metadata": {"name": "r"}, "rules": [rule]}, "default")
    binding = {
        "metadata": {"name": "b"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "alice"}],
    }
    await server.admin.create(ROLEBINDINGS, binding, "default")
    path = "/api/v1/namespaces/default/configmaps?fieldSelector="
    listed = await ask(server, alice, "GET", path + "metadata.name%3Dmine")
    assert [i["metadata"]["name"] for i in listed.json["items"]] == ["mine"]
    # The comma is part of the value: this selects all config maps but one that nobody has.
    for selector in ("metadata.name!%3Dx%5C,metadata.name%3Dmine", "metadata.namespace!%3Dx%5C,metadata.name%3Dmine"):
        assert (await ask(server, alice, "GET", path + selector)).status == 403, selector
    assert (await ask(server, alice, "DELETE", path + "metadata.name%3Dmine")).status == 403


async def test_a_service_accounts_token(server: Server, pki: ClusterPKI, tmp_path: Path) -> None:
    nobody = context_of(pki, tmp_path, None)
    bearer = {"Authorization": f"Bearer {await token_of(server)}"}
    answer = await ask(server, nobody, "GET", "/api/v1/namespaces/default/pods", **bearer)
    assert answer.json["message"].startswith(
        'pods is forbidden: User "system:serviceaccount:default:robot" cannot list resource "pods"'
    )
    binding = {
        "metadata": {"name": "b"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "ServiceAccount", "name": "robot", "namespace": "default"}],
    }
    await server.admin.create(ROLEBINDINGS, binding, "default")
    assert (await ask(server, nobody, "GET", "/api/v1/namespaces/default/pods", **bearer)).status == 200
    assert (await ask(server, nobody, "GET", "/api/v1/namespaces/default/secrets", **bearer)).status == 403
    await server.admin.delete(SERVICEACCOUNTS, "robot", "default")
    assert (await ask(server, nobody, "GET", "/api/v1/namespaces/default/pods", **bearer)).status == 401


async def test_the_issuers_documents(server: Server, pki: ClusterPKI, tmp_path: Path) -> None:
    token = await token_of(server)
    nobody = context_of(pki, tmp_path, None)
    bearer = {"Authorization": f"Bearer {token}"}
    document = await ask(server, nobody, "GET", "/.well-known/openid-configuration", **bearer)
    keys = await ask(server, nobody, "GET", "/openid/v1/jwks", **bearer)
    assert keys.headers["Content-Type"] == "application/jwk-set+json"
    issuer = document.json["issuer"]
    claims = jwt.decode(token, jwt.PyJWK(keys.json["keys"][0]), audience=issuer, issuer=issuer)
    assert claims["sub"] == "system:serviceaccount:default:robot"
    assert (await ask(server, nobody, "GET", "/openid/v1/jwks")).status == 403


async def test_impersonation(server: Server, pki: ClusterPKI, tmp_path: Path) -> None:
    answer = await server.request("GET", "/api/v1/nodes", headers={"Impersonate-User": "bob"})
    assert answer.json["message"].startswith('nodes is forbidden: User "bob" cannot list resource "nodes"')
    alice = context_of(pki, tmp_path, pki.issue_client("alice"))
    answer = await ask(server, alice, "GET", "/version", Impersonate_User="root", Impersonate_Group="system:masters")
    assert (answer.status, answer.json["details"]) == (403, {"name": "root", "kind": "users"})


# A kubelet


async def test_a_kubelets_rights(server: Server, pki: ClusterPKI, tmp_path: Path) -> None:
    await server.admin.create(SERVICEACCOUNTS, {"metadata": {"name": "default"}}, "default")
    await server.admin.create(SECRETS, {"metadata": {"name": "s"}}, "default")
    node = context_of(pki, tmp_path, pki.issue_node("n1"))
    secret = "/api/v1/namespaces/default/secrets/s"
    made = await ask(server, node, "POST", "/api/v1/nodes", {"metadata": {"name": "n1"}})
    assert made.status == 201
    assert made.json["spec"]["taints"] == [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]
    assert (await ask(server, node, "POST", "/api/v1/nodes", {"metadata": {"name": "n2"}})).status == 403
    assert (await ask(server, node, "GET", secret)).status == 403
    volumes = [{"name": "v", "secret": {"secretName": "s"}}]
    pod = {"metadata": {"name": "web"}, "spec": {**POD["spec"], "nodeName": "n1", "volumes": volumes}}
    pod = await server.admin.create(PODS, pod, "default")
    assert (await ask(server, node, "GET", secret)).status == 200
    assert (await ask(server, node, "GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1")).status == 200
    refused = await ask(server, node, "GET", "/api/v1/pods")
    assert "can only list/watch pods with spec.nodeName field selector" in refused.json["message"]
    assert (await ask(server, node, "GET", "/api/v1/nodes?fieldSelector=metadata.name%3Dn1")).status == 200
    assert (await ask(server, node, "GET", "/api/v1/nodes")).status == 403
    reference = {"apiVersion": "v1", "kind": "Pod", "name": "web", "uid": pod["metadata"]["uid"]}
    wish = {"spec": {"boundObjectRef": reference, "expirationSeconds": 3607}}
    token_path = "/api/v1/namespaces/default/serviceaccounts/default/token"
    issued = await ask(server, node, "POST", token_path, wish)
    assert issued.status == 201
    nobody = context_of(pki, tmp_path, None)
    bearer = {"Authorization": f"Bearer {issued.json['status']['token']}"}
    assert (await ask(server, nobody, "GET", "/api", **bearer)).status == 200
    assert (await ask(server, node, "POST", token_path, {"spec": {}})).status == 403
    await server.admin.delete(PODS, "web", "default", grace_period_seconds=0)
    assert (await ask(server, node, "GET", secret)).status == 403
    assert (await ask(server, nobody, "GET", "/api", **bearer)).status == 401


# Admission, end to end


async def test_a_pods_way_in(server: Server) -> None:
    client = server.admin
    waiting = asyncio.create_task(client.create(PODS, POD, "default"))
    await asyncio.sleep(0)
    await client.create(SERVICEACCOUNTS, {"metadata": {"name": "default"}}, "default")
    spec = (await waiting)["spec"]
    assert spec["serviceAccountName"] == "default"
    assert (spec["priority"], spec["preemptionPolicy"]) == (0, "PreemptLowerPriority")
    assert [t["key"] for t in spec["tolerations"]] == ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]
    (volume,) = spec["volumes"]
    assert volume["name"].startswith("kube-api-access-")
    critical = {**POD, "metadata": {"name": "c"}, "spec": {**POD["spec"], "priorityClassName": "system-node-critical"}}
    assert (await client.create(PODS, critical, "default"))["spec"]["priority"] == 2_000_001_000


async def test_namespaces_are_watched_over(server: Server) -> None:
    answer = await server.post("/api/v1/namespaces/nowhere/configmaps", {"metadata": {"name": "c"}})
    assert (answer.status, answer.json["message"]) == (404, 'namespaces "nowhere" not found')
    assert (await server.delete("/api/v1/namespaces/kube-system")).json["message"] == (
        'namespaces "kube-system" is forbidden: this namespace may not be deleted'
    )
    await server.post("/api/v1/namespaces", {"metadata": {"name": "gone"}})
    await server.delete("/api/v1/namespaces/gone")
    answer = await server.post("/api/v1/namespaces/gone/configmaps", {"metadata": {"name": "c"}})
    assert answer.status == 403
    assert answer.json["details"]["causes"][0]["reason"] == "NamespaceTerminating"


async def test_a_quota_holds_against_a_crowd(server: Server) -> None:
    client = server.admin
    await client.create(
        RESOURCEQUOTAS, {"metadata": {"name": "q"}, "spec": {"hard": {"count/configmaps": "5"}}}, "default"
    )
    quota = await client.get(RESOURCEQUOTAS, "q", "default")
    status = {"hard": quota["spec"]["hard"], "used": {"count/configmaps": "0"}}
    await client.update(RESOURCEQUOTAS, {**quota, "status": status}, subresource="status")

    wanted = [{"metadata": {"name": f"c{n}"}} for n in range(30)]
    answers = await asyncio.gather(*(client.create(CONFIGMAPS, c, "default") for c in wanted), return_exceptions=True)
    refusals = [a for a in answers if isinstance(a, BaseException)]
    assert len(refusals) == 25
    assert all("exceeded quota: q, requested: count/configmaps=1" in str(refusal) for refusal in refusals)
    quota = await client.get(RESOURCEQUOTAS, "q", "default")
    assert quota["status"]["used"] == {"count/configmaps": "5"}


async def test_nobody_escalates(server: Server, pki: ClusterPKI, tmp_path: Path) -> None:
    binding = {
        "metadata": {"name": "b"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "alice"}],
    }
    await server.admin.create(ROLEBINDINGS, binding, "default")
    alice = context_of(pki, tmp_path, pki.issue_client("alice"))
    path = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/"
    fine = {"metadata": {"name": "r"}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]}
    assert (await ask(server, alice, "POST", path + "roles", fine)).status == 201
    wild = {"metadata": {"name": "w"}, "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]}
    answer = await ask(server, alice, "POST", path + "roles", wild)
    assert answer.status == 403
    assert "is attempting to grant RBAC permissions not currently held" in answer.json["message"]
    take = {**binding, "metadata": {"name": "t"}, "roleRef": {**binding["roleRef"], "name": "cluster-admin"}}
    assert (await ask(server, alice, "POST", path + "rolebindings", take)).status == 403


# Bootstrap


async def test_a_second_start_writes_nothing(server: Server) -> None:
    before = server.api.cacher.revision
    _, _, port = server.url.rpartition(":")
    config = BootstrapConfig(["192.0.2.1"], int(port), "10.96.0.0/16", dns=False)
    await bootstrap(server.api.client_for(APISERVER_USER), config)
    assert server.api.cacher.revision == before


async def test_what_is_there_at_first(server: Server) -> None:
    client = server.admin
    names = {n["metadata"]["name"] for n in (await client.list(NAMESPACES)).items}
    assert names == {"default", "kube-node-lease", "kube-public", "kube-system"}
    service = await client.get(SERVICES, "kubernetes", "default")
    assert service["spec"]["clusterIP"] == "10.96.0.1"
    endpoints = await client.get(ENDPOINTS, "kubernetes", "default")
    assert endpoints["subsets"][0]["addresses"] == [{"ip": "192.0.2.1"}]
    assert (await client.get(PRIORITYCLASSES, "system-cluster-critical"))["value"] == 2_000_000_000
    admin = await client.get(CLUSTERROLES, "admin")
    assert admin["aggregationRule"] and admin["rules"]
    roles = {r["metadata"]["name"] for r in (await client.list(CLUSTERROLES)).items}
    assert roles == {r["metadata"]["name"] for r in cluster_roles()}


async def test_default_roles_are_mended(server: Server) -> None:
    client = server.admin
    role = await client.get(CLUSTERROLES, "system:basic-user")
    mine = {"apiGroups": ["x"], "resources": ["y"], "verbs": ["get"]}
    await client.update(CLUSTERROLES, {**role, "rules": [mine]})
    await client.delete(CLUSTERROLES, "view")
    binding = await client.get(CLUSTERROLEBINDINGS, "system:discovery")
    await client.update(CLUSTERROLEBINDINGS, {**binding, "subjects": []})
    left_alone = await client.get(CLUSTERROLES, "system:heapster")
    metadata = {**left_alone["metadata"], "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "false"}}
    await client.update(CLUSTERROLES, {**left_alone, "metadata": metadata, "rules": []})
    config = BootstrapConfig(["192.0.2.1"], 6443, "10.96.0.0/16", dns=False)
    await bootstrap(server.api.client_for(APISERVER_USER), config)
    mended = await client.get(CLUSTERROLES, "system:basic-user")
    assert mine in mended["rules"] and len(mended["rules"]) > 1
    assert await client.get(CLUSTERROLES, "view")
    assert (await client.get(CLUSTERROLEBINDINGS, "system:discovery"))["subjects"]
    assert not (await client.get(CLUSTERROLES, "system:heapster")).get("rules")


async def test_the_kubernetes_service_is_kept_true(server: Server) -> None:
    client = server.admin
    _, _, port = server.url.rpartition(":")
    config = BootstrapConfig(["192.0.2.1"], int(port), "10.96.0.0/16", dns=False)
    keeper = KubernetesService(client, server.api.reader, config, SystemClock())
    running = asyncio.create_task(keeper.run())
    try:
        endpoints = await client.get(ENDPOINTS, "kubernetes", "default")
        await client.update(ENDPOINTS, {**endpoints, "subsets": []})
        await client.delete(ENDPOINTSLICES, "kubernetes", "default")
        reader = server.api.reader

        def is_true() -> bool:
            found = reader.get(ENDPOINTS, "default", "kubernetes")
            slice_ = reader.get(ENDPOINTSLICES, "default", "kubernetes")
            return bool(found and found.get("subsets") and slice_)

        await until(is_true, 5)
        gone = uid_of(await client.delete(SERVICES, "kubernetes", "default"))

        def is_another() -> bool:
            found = reader.get(SERVICES, "default", "kubernetes")
            return found is not None and uid_of(found) != gone

        await until(is_another, 5)
        service = await client.get(SERVICES, "kubernetes", "default")
        assert service["spec"]["clusterIP"] == "10.96.0.1"
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


# kubectl

KUBECTLS = [
    path
    for version in ("1.27", "1.33")
    if (path := shutil.which(f"kubectl.{version}") or f"/usr/lib/google-cloud-sdk/bin/kubectl.{version}")
    and os.access(path, os.X_OK)
]


@pytest.mark.parametrize("kubectl", KUBECTLS)
async def test_kubectl(server: Server, kubectl: str) -> None:
    async def run(*args: str, ok: bool = True) -> str:
        process = await asyncio.create_subprocess_exec(
            kubectl, "--kubeconfig", str(server.kubeconfig), *args,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        assert (process.returncode == 0) is ok, (args, out, err)
        return (out if ok else out + err).decode()

    assert await run("auth", "can-i", "create", "pods") == "yes\n"
    assert "no" in await run("auth", "can-i", "create", "pods", "--as", "bob", ok=False)
    assert "*.*" in await run("auth", "can-i", "--list")
    if not kubectl.endswith("1.27"):
        # The oldest only knows the review's beta versions, which 1.37 serves no more.
        whoami = json.loads(await run("auth", "whoami", "-o", "json"))
        assert whoami["status"]["userInfo"]["username"] == "kubernetes-admin"
    await run("create", "serviceaccount", "robot")
    token = (await run("create", "token", "robot", "--duration", "20m", "--audience", "vault")).strip()
    assert jwt.decode(token, options={"verify_signature": False})["aud"] == ["vault"]
    await run("create", "role", "reader", "--verb=get,list", "--resource=pods")
    await run("create", "rolebinding", "robots", "--role=reader", "--serviceaccount=default:robot")
    assert await run("auth", "can-i", "list", "pods", "--as=system:serviceaccount:default:robot") == "yes\n"
    refused = await run("get", "secrets", "--as=system:serviceaccount:default:robot", ok=False)
    assert refused.strip() == (
        'Error from server (Forbidden): secrets is forbidden: User "system:serviceaccount:default:robot" cannot list '
        'resource "secrets" in API group "" in the namespace "default"'
    )
    refused = await run("get", "nodes", "--as=bob", "--as-group=devs", ok=False)
    assert 'User "bob" cannot list resource "nodes"' in refused


async def test_in_process_clients_are_judged_too(server: Server) -> None:
    node = server.api.client_for(User("system:node:n1", groups=(NODES_GROUP,)))
    with pytest.raises(errors.Forbidden):
        await node.list(SECRETS, "default")
    controller = server.api.client_for(User("system:serviceaccount:kube-system:replicaset-controller"))
    with pytest.raises(errors.Forbidden):
        await controller.delete(NODES, "n1")
