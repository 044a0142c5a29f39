"""A webhook that says who may do what, on a running server."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web

from pybernetes.apiserver import authorization_config
from pybernetes.apiserver.authorization_config import AuthorizationConfigError, AuthorizationWebhook
from pybernetes.apiserver.outbound import WebhookConfig, trusting
from pybernetes.apiserver.pki import ClusterPKI
from tests.integration.apiserver.conftest import running
from tests.integration.apiserver.test_authenticators import peer
from tests.integration.apiserver.test_security_http import ask, context_of

MAPS = "/api/v1/namespaces/default/configmaps"
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


async def test_a_webhook_decides_for_whom_rbac_has_no_opinion(pki: ClusterPKI, tmp_path: Path) -> None:
    alice = context_of(pki, tmp_path, pki.issue_client("alice", ["devs"]))
    asked: list[dict[str, Any]] = []

    async def review(request: web.Request) -> web.Response:
        body = await request.json()
        asked.append(body)
        wanted = body["spec"].get("resourceAttributes") or {}
        allowed = wanted.get("verb") in ("list", "create") and wanted.get("resource") in ("configmaps", "clusterroles")
        if wanted.get("verb") == "delete":
            return web.json_response({**body, "status": {"allowed": False, "denied": True, "reason": "not here"}})
        if wanted.get("verb") == "get":
            return web.Response(status=500)
        return web.json_response({**body, "status": {"allowed": allowed, "reason": "the hook says so"}})

    async with peer(pki, tmp_path, {("POST", "/review"): review}) as url:
        hook = AuthorizationWebhook(WebhookConfig(url + "/review", trusting(pki.ca_pem.decode())), version="v1")
        security = {"authorizers": ("Node", "RBAC", hook)}
        async with running(pki, tmp_path, security=security) as server:
            # Whoever RBAC lets in, the webhook does not hear of.
            assert (await server.get(MAPS)).status == 200
            before = len(asked)
            for _ in range(3):
                assert (await ask(server, alice, "GET", MAPS)).status == 200
            assert len(asked) == before + 1
            assert asked[-1]["apiVersion"] == "authorization.k8s.io/v1" and asked[-1]["metadata"] == {}
            spec = asked[-1]["spec"]
            assert (spec["user"], spec["groups"]) == ("alice", ["devs", "system:authenticated"])
            assert spec["resourceAttributes"] == {
                "namespace": "default",
                "verb": "list",
                "version": "v1",
                "resource": "configmaps",
            }
            # Selectors only narrow what is asked for, so what has no name there is left out.
            fields, labels = "metadata.name!=x,metadata.namespace==default", "a=b,c in (z,y),!d,e,f>3"
            selected = f"{MAPS}?fieldSelector={quote(fields)}&labelSelector={quote(labels)}"
            told_fields = [
                {"key": "metadata.name", "operator": "NotIn", "values": ["x"]},
                {"key": "metadata.namespace", "operator": "In", "values": ["default"]},
            ]
            told_labels = [
                {"key": "a", "operator": "In", "values": ["b"]},
                {"key": "c", "operator": "In", "values": ["y", "z"]},
                {"key": "d", "operator": "DoesNotExist"},
                {"key": "e", "operator": "Exists"},
            ]
            assert (await ask(server, alice, "GET", selected)).status == 200
            resource = asked[-1]["spec"]["resourceAttributes"]
            assert resource["fieldSelector"] == {"requirements": told_fields}
            assert resource["labelSelector"] == {"requirements": told_labels}
            assert (await ask(server, alice, "GET", f"{MAPS}?labelSelector=a+in&fieldSelector=a")).status == 400
            assert asked[-1]["spec"]["resourceAttributes"] is resource, "asked without selectors, and known"
            narrow = {"verb": "list", "resource": "configmaps", "labelSelector": {"requirements": told_labels[1:3]}}
            narrow["fieldSelector"] = {
                "requirements": [{"key": "metadata.name", "operator": "In", "values": ["a,b=c"]}]
            }
            told = await ask(server, alice, "POST", REVIEWS, {"spec": {"resourceAttributes": narrow}})
            assert told.json["status"]["allowed"] is True
            resource = asked[-1]["spec"]["resourceAttributes"]
            assert (resource["fieldSelector"], resource["labelSelector"]) == (
                narrow["fieldSelector"],
                narrow["labelSelector"],
            )
            made = await ask(server, alice, "POST", MAPS, {"metadata": {"name": "m"}, "data": {"a": "b"}})
            assert made.status == 201 and made.json["data"] == {"a": "b"}
            refused = await ask(server, alice, "DELETE", MAPS + "/m", {"gracePeriodSeconds": 0})
            assert refused.status == 403 and refused.json["message"].endswith(": not here")
            review_of = {"spec": {"resourceAttributes": {"verb": "delete", "resource": "configmaps", "name": "m"}}}
            told = await ask(server, alice, "POST", REVIEWS, {"metadata": {"creationTimestamp": None}, **review_of})
            assert "creationTimestamp" not in told.json["metadata"]
            assert told.json["status"] == {"allowed": False, "denied": True, "reason": "not here"}
            # Rights that are checked amid a request: the webhook does not know the verb "escalate".
            rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
            role = {"metadata": {"name": "r"}, "rules": rules}
            path = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
            escalating = await ask(server, alice, "POST", path, role)
            assert escalating.status == 403 and "attempting to grant RBAC permissions" in escalating.json["message"]
            assert asked[-1]["spec"]["resourceAttributes"]["verb"] == "escalate"


async def test_a_webhook_that_fails_allows_nothing(pki: ClusterPKI, tmp_path: Path) -> None:
    alice = context_of(pki, tmp_path, pki.issue_client("alice"))
    asked = 0

    async def review(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.Response(status=500)

    async with peer(pki, tmp_path, {("POST", "/review"): review}) as url:
        hook = AuthorizationWebhook(WebhookConfig(url + "/review", trusting(pki.ca_pem.decode())))
        security = {"authorizers": (hook, "RBAC")}
        async with running(pki, tmp_path, security=security) as server:
            assert (await ask(server, alice, "GET", MAPS)).status == 403
            assert asked == 4
            # system:masters are not asked about.
            assert (await server.get(MAPS)).status == 200
            assert asked == 4


def hook_body(**change: Any) -> dict[str, Any]:
    webhook = {
        "timeout": "3s",
        "subjectAccessReviewVersion": "v1",
        "matchConditionSubjectAccessReviewVersion": "v1",
        "failurePolicy": "Deny",
        "connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": "/hook"},
        **change,
    }
    return {"type": "Webhook", "name": "hook", "webhook": webhook}


def configuration(*authorizers: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthorizationConfiguration",
        "authorizers": list(authorizers),
    }


async def test_conditions_and_the_failure_policy_of_a_file(pki: ClusterPKI, tmp_path: Path) -> None:
    alice = context_of(pki, tmp_path, pki.issue_client("alice"))
    asked: list[str] = []

    async def review(request: web.Request) -> web.Response:
        body = await request.json()
        asked.append(body["spec"]["resourceAttributes"]["namespace"])
        return web.json_response({**body, "status": {"allowed": True}})

    async with peer(pki, tmp_path, {("POST", "/review"): review}) as url:
        conditions = [
            {"expression": "has(request.resourceAttributes)"},
            {"expression": "request.resourceAttributes.namespace == 'kube-system'"},
        ]
        broken = [{"expression": "request.resourceAttributes.nothing == 'x'"}]
        body = configuration(
            hook_body(matchConditions=conditions),
            {"type": "RBAC", "name": "rbac"},
            {**hook_body(matchConditions=broken), "name": "broken"},
        )
        at = WebhookConfig(url + "/review", trusting(pki.ca_pem.decode()))
        security = {"authorizers": authorization_config.parse(body, lambda path: at)}
        async with running(pki, tmp_path, security=security) as server:
            assert (await ask(server, alice, "GET", MAPS.replace("default", "kube-system"))).status == 200
            assert (await ask(server, alice, "GET", MAPS)).status == 403
            assert asked == ["kube-system"]
            review_of = {"spec": {"resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "default"}}}
            told = await ask(server, alice, "POST", REVIEWS, {"metadata": {"creationTimestamp": None}, **review_of})
            assert "creationTimestamp" not in told.json["metadata"]
            assert told.json["status"] == {"allowed": False, "denied": True}


@pytest.mark.parametrize(
    ("authorizers", "fault"),
    [
        ([], "authorizers: Required value: at least one authorization mode must be defined"),
        (
            [{"type": "RBAC", "name": "a"}, {"type": "RBAC", "name": "b"}],
            'authorizers[1].type: Duplicate value: "RBAC"',
        ),
        ([{"type": "ABAC", "name": "a"}], 'authorizers[0].type: Unsupported value: "ABAC"'),
        ([{"type": "RBAC"}], "authorizers[0].name: Required value"),
        ([{"type": "Webhook", "name": "a"}], "authorizers[0].webhook: Required value: required when type=Webhook"),
        ([hook_body(timeout="1h")], 'authorizers[0].webhook.timeout: Invalid value: "1h": must be > 0s and <= 30s'),
        ([hook_body(failurePolicy="Ignore")], 'authorizers[0].webhook.failurePolicy: Unsupported value: "Ignore"'),
        ([hook_body(matchConditions=[{"expression": "request."}])], "matchConditions[0].expression: Invalid value"),
        ([hook_body(connectionInfo={"type": "InClusterConfig"})], "only KubeConfigFile is supported"),
    ],
)
def test_faults_of_the_file(authorizers: list[dict[str, Any]], fault: str) -> None:
    at = WebhookConfig("https://hook", trusting(None))
    with pytest.raises(AuthorizationConfigError) as refused:
        authorization_config.parse(configuration(*authorizers), lambda path: at)
    assert fault in str(refused.value)
