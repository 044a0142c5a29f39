"""Admission webhooks, called over HTTPS on loopback."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from pybernetes.api.meta import Object
from pybernetes.api.resources import ENDPOINTS, SERVICES
from pybernetes.apiserver.admission.webhooks.caller import CallFailed, Target, WebhookCaller
from pybernetes.apiserver.pki import ClusterPKI, server_context, write_private
from tests.integration.apiserver.conftest import Answer, Server, running
from tests.integration.apiserver.test_crud import MAPS
from tests.support.networks import pod_network
from tests.support.webhook import Webhook, allow, configuration, hook, patch, webhook_server
from tests.unit.apiserver.security.memory_reader import MemoryReader

API = "/apis/admissionregistration.k8s.io/v1"
PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


@pytest.fixture
async def webhook(pki: ClusterPKI, tmp_path: Path) -> AsyncIterator[Webhook]:
    async with webhook_server(pki, tmp_path) as made:
        yield made


async def configure(server: Server, kind: str, name: str, *webhooks: Object) -> None:
    path = f"{API}/{kind.lower()}webhookconfigurations"
    made = await server.post(path, configuration(kind, name, *webhooks))
    assert made.status == 201, made.json
    # The next request meets it: the cache that admission reads shows it once a fresh read does.
    assert (await server.get(f"{path}/{name}")).status == 200


def config_map(name: str) -> Object:
    return {"metadata": {"name": name}, "data": {"k": "v"}}


def pod(name: str = "p", **spec: Any) -> Object:
    return {
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "i"}], "serviceAccountName": "default", **spec},
    }


async def account(server: Server) -> None:
    made = await server.post("/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    assert made.status in (201, 409)


# Validating


async def test_what_a_webhook_is_shown(server: Server, webhook: Webhook) -> None:
    webhook.answers["/v"] = allow
    await configure(server, "Validating", "v", hook("v.example.com", webhook.client_config("/v"), timeoutSeconds=7))
    made = await server.post(MAPS, config_map("m"), fieldManager="me", fieldValidation="Strict")
    assert made.status == 201
    (review,) = webhook.seen
    request = review["request"]
    assert (review["apiVersion"], review["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    assert webhook.queries == ["timeout=7s"]
    kind, resource = {"group": "", "version": "v1", "kind": "ConfigMap"}, {
        "group": "", "version": "v1", "resource": "configmaps",
    }  # fmt: skip
    assert {k: v for k, v in request.items() if k not in ("uid", "object", "userInfo")} == {
        "kind": kind, "resource": resource, "requestKind": kind, "requestResource": resource, "name": "m",
        "namespace": "default", "operation": "CREATE", "oldObject": None, "dryRun": False,
        "options": {
            "kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "me", "fieldValidation": "Strict",
        },
    }  # fmt: skip
    assert request["userInfo"]["username"] == "kubernetes-admin"
    assert "system:masters" in request["userInfo"]["groups"]
    shown = request["object"]
    assert (shown["apiVersion"], shown["kind"]) == ("v1", "ConfigMap")
    assert shown["metadata"]["uid"] == made.json["metadata"]["uid"] and shown["data"] == made.json["data"]
    await server.patch(f"{MAPS}/m", {"data": {"x": "y"}})
    await server.delete(f"{MAPS}/m", {"gracePeriodSeconds": 0, "propagationPolicy": "Background"})
    changed, deleted = webhook.requests()[1:]
    assert changed["operation"] == "UPDATE" and changed["options"]["kind"] == "PatchOptions"
    assert changed["object"]["data"]["x"] == "y" and "x" not in changed["oldObject"]["data"]
    assert deleted["operation"] == "DELETE" and deleted["object"] is None
    assert deleted["oldObject"]["metadata"]["name"] == "m"
    assert deleted["options"]["propagationPolicy"] == "Background" and deleted["options"]["gracePeriodSeconds"] == 0


@pytest.mark.parametrize(
    ("status", "code", "reason", "message"),
    [
        ({"message": "no pods today", "code": 403, "reason": "Forbidden"}, 403, "Forbidden", ": no pods today"),
        ({"message": "teapot", "code": 418, "reason": "Teapot"}, 418, "Teapot", ": teapot"),
        ({"reason": "because"}, 400, "because", ": because"),
        ({"message": "low", "code": 200, "status": "Success"}, 400, None, ": low"),
        ({}, 400, None, " without explanation"),
    ],
)
async def test_a_denial(
    server: Server, webhook: Webhook, status: Any, code: int, reason: str | None, message: str
) -> None:
    webhook.answers["/v"] = lambda request: {"allowed": False, "status": status, "warnings": ["beware"]}
    await configure(server, "Validating", "v", hook("v.example.com", webhook.client_config("/v")))
    refused = await server.post(MAPS, config_map("m"))
    assert refused.status == code and refused.json.get("reason") == reason and refused.json["status"] == "Failure"
    assert refused.json["message"] == f'admission webhook "v.example.com" denied the request{message}'
    assert refused.headers["Warning"] == '299 - "beware"'
    assert (await server.get(f"{MAPS}/m")).status == 404


async def test_validating_webhooks_are_called_at_once(server: Server, webhook: Webhook) -> None:
    together = asyncio.Event()

    async def wait(request: Object) -> Object:
        if webhook.under_way == 3:
            together.set()
        await asyncio.wait_for(together.wait(), 5)
        return {"allowed": True, "auditAnnotations": {"k": "v"}}

    webhook.answers["/v"] = wait
    hooks = [hook(f"v{i}.example.com", webhook.client_config("/v")) for i in range(3)]
    await configure(server, "Validating", "v", *hooks)
    assert (await server.post(MAPS, config_map("m"))).status == 201
    assert webhook.most_under_way == 3


async def test_failures(server: Server, webhook: Webhook, pki: ClusterPKI) -> None:
    async def slow(request: Object) -> Object:
        await asyncio.Event().wait()
        return {"allowed": True}

    webhook.answers |= {
        "/slow": slow,
        "/broken": lambda request: web.Response(status=500, text="broken"),
        "/text": lambda request: web.Response(text="hello"),
        "/other": lambda request: {"allowed": True, "uid": "other"},
        "/patching": patch({"op": "add", "path": "/data/x", "value": "y"}),
    }

    async def call(config: Object, **fields: Any) -> Answer:
        path = f"{API}/validatingwebhookconfigurations/v"
        await server.delete(path)
        await configure(server, "Validating", "v", hook("v.example.com", config, **fields))
        return await server.post(MAPS, config_map("m"), dryRun="All")

    def url(path: str) -> str:
        return f'Post "{webhook.url}{path}?timeout=10s": '

    called = 'Internal error occurred: failed calling webhook "v.example.com": failed to call webhook: '
    received = 'Internal error occurred: failed calling webhook "v.example.com": received invalid webhook response: '
    for path, text in (
        ("/broken", called + 'an error on the server ("broken") has prevented the request from succeeding'),
        ("/missing", called + "the server could not find the requested resource"),
        ("/patching", received + "validating webhook may not return response.patch"),
    ):
        failed = await call(webhook.client_config(path))
        assert (failed.status, failed.json["reason"], failed.json["message"]) == (500, "InternalError", text)
        assert (await call(webhook.client_config(path), failurePolicy="Ignore")).status == 201
    failed = await call(webhook.client_config("/text"))
    assert failed.json["message"].startswith(received + "couldn't parse the response as JSON")
    failed = await call(webhook.client_config("/other"))
    assert failed.json["message"].startswith(received + "expected response.uid=")
    failed = await call(webhook.client_config("/slow"), timeoutSeconds=1)
    assert failed.json["message"] == called + f'Post "{webhook.url}/slow?timeout=1s": context deadline exceeded'
    failed = await call({"url": webhook.url + "/v"})
    assert failed.json["message"].startswith(called + url("/v") + "tls: failed to verify certificate: x509: ")
    failed = await call({"url": "https://127.0.0.1:1/v", "caBundle": webhook.ca_bundle})
    assert failed.json["message"] == (
        called + 'Post "https://127.0.0.1:1/v?timeout=10s": dial tcp 127.0.0.1:1: connect: connection refused'
    )
    service = {"service": {"name": "hooks", "namespace": "default", "path": "/v"}, "caBundle": webhook.ca_bundle}
    failed = await call(service)
    assert failed.json["message"] == (
        called + 'Post "https://hooks.default.svc:443/v?timeout=10s": service "hooks" not found'
    )


async def test_who_is_asked(server: Server, webhook: Webhook) -> None:
    webhook.answers["/v"] = allow
    config = webhook.client_config("/v")

    def rule(**changes: Any) -> Object:
        made = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}
        return {"rules": [{**made, **changes}]}

    selectors: dict[str, Object] = {
        "by-namespace": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}}},
        "by-other-namespace": {"namespaceSelector": {"matchLabels": {"x": "y"}}},
        "by-object": {"objectSelector": {"matchLabels": {"ask": "me"}}},
        "by-condition": {"matchConditions": [{"name": "c", "expression": "object.metadata.name.startsWith('m')"}]},
        "by-user": {"matchConditions": [{"name": "c", "expression": "request.userInfo.username == 'nobody'"}]},
        "by-right": {
            "matchConditions": [
                {"name": "c", "expression": "authorizer.group('').resource('pods').check('create').allowed()"}
            ]
        },
        "by-operation": rule(operations=["UPDATE"]),
        "by-group": rule(apiGroups=["apps"]),
        "by-version": rule(apiVersions=["v2"]),
        "by-subresource": rule(resources=["configmaps/status"]),
        "by-everything": rule(resources=["*/*"], operations=["*"]),
        "by-scope": rule(scope="Cluster"),
        "by-own-scope": rule(scope="Namespaced"),
    }
    for name, fields in selectors.items():
        webhook.answers[f"/{name}"] = allow
        config = webhook.client_config(f"/{name}")
        await configure(server, "Validating", name, hook(f"{name}.example.com", config, **fields))
    await server.post(MAPS, config_map("m"))

    def asked() -> set[str]:
        found = {r["path"][1:] for r in webhook.seen}
        webhook.seen.clear()
        return found

    everywhere = {"by-namespace", "by-right", "by-everything", "by-own-scope"}
    assert asked() == everywhere | {"by-condition"}
    labelled = config_map("x")
    labelled["metadata"]["labels"] = {"ask": "me"}
    await server.post(MAPS, labelled)
    assert asked() == everywhere | {"by-object"}
    assert (await server.post("/api/v1/namespaces", {"metadata": {"name": "n"}})).status == 201
    assert "namespace" not in webhook.requests()[-1]
    assert asked() == {"by-everything"}
    assert (await server.patch("/api/v1/namespaces/n", {"metadata": {"labels": {"a": "b"}}})).status == 200
    assert webhook.requests()[-1]["namespace"] == "n"


async def test_a_condition_without_value(server: Server, webhook: Webhook) -> None:
    condition = [{"name": "c", "expression": "object.data.nope == 'x'"}]
    await configure(
        server, "Validating", "v", hook("v.example.com", webhook.client_config("/v"), matchConditions=condition)
    )
    refused = await server.post(MAPS, config_map("m"))
    assert refused.status == 403 and refused.json["message"] == (
        "configmaps \"m\" is forbidden: expression 'object.data.nope == 'x'' resulted in error: no such key: nope"
    )
    open_ = hook("v.example.com", webhook.client_config("/v"), matchConditions=condition, failurePolicy="Ignore")
    await server.delete(f"{API}/validatingwebhookconfigurations/v")
    await configure(server, "Validating", "w", open_)
    assert (await server.post(MAPS, config_map("m"))).status == 201 and not webhook.seen


async def test_dry_runs_and_configurations(server: Server, webhook: Webhook) -> None:
    webhook.answers["/v"] = lambda request: {"allowed": False}
    everything = hook("v.example.com", webhook.client_config("/v"), "*/*", sideEffects="NoneOnDryRun")
    await configure(server, "Validating", "v", everything)
    refused = await server.post(MAPS, config_map("m"), dryRun="All")
    assert refused.status == 400 and webhook.requests()[0]["dryRun"] is True
    # It cannot stand in the way of its own removal, nor of other configurations.
    await configure(server, "Mutating", "other", hook("m.example.com", webhook.client_config("/m"), "secrets"))
    for kind, name in (("mutating", "other"), ("validating", "v")):
        gone = await server.delete(f"{API}/{kind}webhookconfigurations/{name}")
        assert gone.status == 200
    assert len(webhook.seen) == 1
    await server.get(f"{API}/validatingwebhookconfigurations")
    assert (await server.post(MAPS, config_map("m"))).status == 201


async def test_connections_and_subresources(server: Server, webhook: Webhook) -> None:
    await account(server)
    webhook.answers["/v"] = lambda request: {
        "allowed": request["operation"] != "CONNECT", "status": {"message": "attaching to pod is not allowed"}
    }  # fmt: skip
    await configure(
        server, "Validating", "v",
        hook("v.example.com", webhook.client_config("/v"), "pods/attach", "pods/binding", "deployments/scale"),
    )  # fmt: skip
    assert (await server.post(PODS, pod())).status == 201
    refused = await server.post(f"{PODS}/p/attach", None, container="c", stdin="true")
    assert refused.status == 400 and refused.json["message"].endswith("attaching to pod is not allowed")
    (attach,) = webhook.requests()
    assert attach["subResource"] == "attach" and attach["kind"]["kind"] == "PodAttachOptions"
    assert attach["object"] == {"kind": "PodAttachOptions", "apiVersion": "v1", "stdin": True, "container": "c"}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod()["spec"]}
    deployment = {"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}}
    assert (await server.post(DEPLOYMENTS, deployment)).status == 201
    assert (await server.patch(f"{DEPLOYMENTS}/d/scale", {"spec": {"replicas": 3}}, kind="merge")).status == 200
    scale = webhook.requests()[-1]
    assert scale["kind"] == {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    assert scale["resource"]["resource"] == "deployments" and scale["subResource"] == "scale"
    assert scale["object"]["spec"] == {"replicas": 3} and scale["oldObject"]["spec"] == {"replicas": 1}


async def test_an_eviction_is_admitted_once(server: Server, webhook: Webhook) -> None:
    await account(server)
    webhook.answers["/v"] = allow
    config = webhook.client_config("/v")
    await configure(server, "Validating", "v", hook("v.example.com", config, "pods", "pods/eviction"))
    assert (await server.post(PODS, pod())).status == 201
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    assert (await server.post(f"{PODS}/p/eviction", eviction)).status == 201
    _, asked = webhook.requests()
    assert (asked["operation"], asked["subResource"], asked["name"]) == ("CREATE", "eviction", "p")
    assert asked["kind"] == {"group": "policy", "version": "v1", "kind": "Eviction"} == asked["requestKind"]
    assert asked["resource"] == {"group": "", "version": "v1", "resource": "pods"}


async def test_an_equivalent_version(server: Server, webhook: Webhook) -> None:
    webhook.answers |= {"/v1": allow, "/exact": allow}
    rules = [
        {
            "operations": ["CREATE"], "apiGroups": ["autoscaling"], "apiVersions": ["v1"],
            "resources": ["horizontalpodautoscalers"],
        }
    ]  # fmt: skip
    await configure(
        server, "Validating", "v",
        hook("v.example.com", webhook.client_config("/v1"), rules=rules),
        hook("w.example.com", webhook.client_config("/exact"), rules=rules, matchPolicy="Exact"),
    )  # fmt: skip
    scaler = {
        "metadata": {"name": "h"},
        "spec": {
            "maxReplicas": 3,
            "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"},
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}},
                }
            ],
        },
    }  # fmt: skip
    made = await server.post("/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers", scaler)
    assert made.status == 201, made.json
    (request,) = webhook.requests()
    assert request["kind"]["version"] == request["resource"]["version"] == "v1"
    assert request["requestKind"]["version"] == request["requestResource"]["version"] == "v2"
    assert request["object"]["apiVersion"] == "autoscaling/v1"
    assert request["object"]["spec"]["targetCPUUtilizationPercentage"] == 70


# Mutating


async def test_mutations_follow_each_other(server: Server, webhook: Webhook) -> None:
    webhook.answers |= {
        "/1": patch({"op": "add", "path": "/data/one", "value": "1"}, {"op": "remove", "path": "/data/k"}),
        "/2": patch({"op": "copy", "from": "/data/one", "path": "/data/two"}),
    }
    await configure(
        server, "Mutating", "m",
        hook("one.example.com", webhook.client_config("/1")), hook("two.example.com", webhook.client_config("/2")),
    )  # fmt: skip
    body = config_map("m")
    body["data"] = {"k": "v"}
    made = await server.post(MAPS, body)
    assert made.status == 201 and made.json["data"] == {"one": "1", "two": "1"}
    assert (await server.get(f"{MAPS}/m")).json["data"] == {"one": "1", "two": "1"}
    assert webhook.requests("/2")[0]["object"]["data"] == {"one": "1"}
    assert "uid" not in webhook.requests("/1")[0]["object"]["metadata"]


async def test_defaults_are_applied_after_a_mutation(server: Server, webhook: Webhook) -> None:
    await account(server)
    init = {"name": "added", "image": "i"}
    webhook.answers["/m"] = patch({"op": "add", "path": "/spec/initContainers", "value": [init]})
    await configure(server, "Mutating", "m", hook("m.example.com", webhook.client_config("/m"), "pods"))
    made = (await server.post(PODS, {**pod(), "metadata": {"generateName": "p-"}})).json
    (added,) = made["spec"]["initContainers"]
    assert added["terminationMessagePolicy"] == "File" and added["imagePullPolicy"] == "Always"
    # The plugins before it had another look: the added container has its token too.
    assert added["volumeMounts"][0]["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount"
    shown = webhook.requests()[0]["object"]["metadata"]
    assert shown["generateName"] == "p-" and "name" not in shown
    assert made["metadata"]["name"].startswith("p-")


async def test_reinvocation(server: Server, webhook: Webhook) -> None:
    webhook.answers |= {
        "/first": lambda request: {"allowed": True},
        "/once": lambda request: {"allowed": True},
        "/last": patch({"op": "add", "path": "/data/last", "value": "1"}),
    }
    await configure(
        server, "Mutating", "m",
        hook("first.example.com", webhook.client_config("/first"), reinvocationPolicy="IfNeeded"),
        hook("once.example.com", webhook.client_config("/once")),
        hook("last.example.com", webhook.client_config("/last"), reinvocationPolicy="IfNeeded"),
    )  # fmt: skip
    assert (await server.post(MAPS, config_map("m"))).status == 201
    assert [r["path"] for r in webhook.seen] == ["/first", "/once", "/last", "/first"]
    assert webhook.requests("/first")[1]["object"]["data"]["last"] == "1"


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({"patch": "W10="}, "webhook returned response.patch but not response.patchType"),
        ({"patchType": "JSONPatch"}, "webhook returned response.patchType but not response.patch"),
        ({"patchType": "Other", "patch": "W10="}, 'unsupported patch type "Other"'),
    ],
)
async def test_bad_patches(server: Server, webhook: Webhook, answer: Object, text: str) -> None:
    webhook.answers["/m"] = lambda request: {"allowed": True, **answer}
    await configure(server, "Mutating", "m", hook("m.example.com", webhook.client_config("/m")))
    failed = await server.post(MAPS, config_map("m"))
    assert failed.status == 500 and failed.json["message"] == (
        f'Internal error occurred: failed calling webhook "m.example.com": received invalid webhook response: {text}'
    )


async def test_a_patch_that_does_not_apply(server: Server, webhook: Webhook) -> None:
    webhook.answers["/m"] = patch({"op": "remove", "path": "/data/nope"})
    await configure(server, "Mutating", "m", hook("m.example.com", webhook.client_config("/m")))
    failed = await server.post(MAPS, config_map("m"))
    assert failed.status == 500 and failed.json["message"] == (
        "Internal error occurred: error in remove for path: '/data/nope': Unable to remove nonexistent key: nope: "
        "missing value"
    )
    await server.delete(f"{API}/mutatingwebhookconfigurations/m")
    await server.get(f"{API}/mutatingwebhookconfigurations")
    assert (await server.post(MAPS, config_map("m"))).status == 201
    webhook.answers["/d"] = patch({"op": "add", "path": "/data/x", "value": "y"})
    await configure(server, "Mutating", "d", hook("d.example.com", webhook.client_config("/d"), operations=("DELETE",)))
    failed = await server.delete(f"{MAPS}/m")
    assert failed.json["message"] == (
        'Internal error occurred: admission webhook "d.example.com" attempted to modify the object, which is not '
        "supported for this operation"
    )


async def test_a_service_is_reached_at_its_endpoints(pki: ClusterPKI, tmp_path: Path) -> None:
    reader = MemoryReader()
    async with webhook_server(pki, tmp_path, ("hooks.shop.svc",)) as webhook:
        webhook.answers["/review"] = allow
        reader.make(SERVICES, "hooks", "shop", spec={"ports": [{"name": "tls", "port": 8443}]})
        service = {"namespace": "shop", "name": "hooks", "port": 8443, "path": "review"}
        target = Target.of({"service": service, "caBundle": webhook.ca_bundle})
        caller = WebhookCaller(reader)
        try:
            with pytest.raises(CallFailed, match='no endpoints available for service "hooks"'):
                await caller.call(target, b"{}", 5)
            ports = [{"name": "other", "port": 1}, {"name": "tls", "port": webhook.port}]
            reader.make(ENDPOINTS, "hooks", "shop", subsets=[{"addresses": [{"ip": "127.0.0.1"}], "ports": ports}])
            body = b'{"apiVersion":"a","kind":"b","request":{"uid":"1"}}'
            assert b'"allowed": true' in await caller.call(target, body, 5)
            wrong = Target.of(
                {"service": {"namespace": "shop", "name": "hooks", "port": 1}, "caBundle": webhook.ca_bundle}
            )
            with pytest.raises(CallFailed, match='no service port 1 found for service "hooks"'):
                await caller.call(wrong, b"{}", 5)
        finally:
            await caller.close()


async def test_a_kept_connection_that_was_given_up(pki: ClusterPKI, tmp_path: Path) -> None:
    """The peer answers once on a connection and closes it when it is used again: the call is made anew."""
    pair = pki.issue_serving("webhook", ["127.0.0.1"])
    write_private(tmp_path / "w.crt", pair.certificate_pem)
    write_private(tmp_path / "w.key", pair.key_pem)
    served = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        try:
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(2)
            served += 1
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            # The caller closed it at the end.
            return
        finally:
            writer.close()

    tls = server_context(tmp_path / "w.crt", tmp_path / "w.key", None)
    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    caller = WebhookCaller(MemoryReader())
    try:
        port = listener.sockets[0].getsockname()[1]
        bundle = base64.b64encode(pki.ca_pem).decode()
        target = Target.of({"url": f"https://127.0.0.1:{port}/v", "caBundle": bundle})
        for _ in range(3):
            assert await caller.call(target, b"{}", 5) == b"ok"
        assert served == 3
    finally:
        await caller.close()
        listener.close()


async def test_a_webhook_in_the_clusters_network(pki: ClusterPKI, tmp_path: Path) -> None:
    """The server's own network knows nothing of the pod's address; the namespace that it dials from does."""
    address = "192.0.2.11"
    with pod_network("webhook", address) as namespace:
        listening = namespace.listen(address, 0)
        listening.setblocking(False)
        port = listening.getsockname()[1]
        async with (
            webhook_server(pki, tmp_path, ("hooks.default.svc",), listening) as webhook,
            running(pki, tmp_path, socket_factory=namespace.socket_factory) as server,
        ):
            ports = [{"name": "tls", "port": 443, "targetPort": port}]
            await server.admin.create(SERVICES, {"metadata": {"name": "hooks"}, "spec": {"ports": ports}}, "default")
            subset = {"addresses": [{"ip": address}], "ports": [{"name": "tls", "port": port}]}
            await server.admin.create(ENDPOINTS, {"metadata": {"name": "hooks"}, "subsets": [subset]}, "default")
            webhook.answers["/m"] = patch({"op": "add", "path": "/data/seen", "value": "yes"})
            service = {"service": {"name": "hooks", "namespace": "default", "path": "/m"}}
            config = {**service, "caBundle": webhook.ca_bundle}
            await configure(server, "Mutating", "m", hook("m.example.com", config))
            made = await server.post(MAPS, config_map("m"))
            assert made.status == 201 and made.json["data"] == {"k": "v", "seen": "yes"}
