"""A webhook that says who may do what, on a running server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiohttp import web

from pybernetes.apiserver.outbound import WebhookConfig, trusting
from pybernetes.apiserver.pki import ClusterPKI
from pybernetes.apiserver.security import AuthorizationWebhookConfig
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
        hook = AuthorizationWebhookConfig(WebhookConfig(url + "/review", trusting(pki.ca_pem.decode())), "v1")
        security = {"authorization_modes": ("Node", "RBAC", "Webhook"), "authorization_webhook": hook}
        async with running(pki, tmp_path, security=security) as server:
            # Whoever RBAC lets in, the webhook does not hear of.
            assert (await server.get(MAPS)).status == 200
            before = len(asked)
            for _ in range(3):
                assert (await ask(server, alice, "GET", MAPS)).status == 200
            assert len(asked) == before + 1
            assert asked[-1]["apiVersion"] == "authorization.k8s.io/v1"
            spec = asked[-1]["spec"]
            assert (spec["user"], spec["groups"]) == ("alice", ["devs", "system:authenticated"])
            assert spec["resourceAttributes"] == {
                "namespace": "default",
                "verb": "list",
                "version": "v1",
                "resource": "configmaps",
            }
            made = await ask(server, alice, "POST", MAPS, {"metadata": {"name": "m"}, "data": {"a": "b"}})
            assert made.status == 201 and made.json["data"] == {"a": "b"}
            refused = await ask(server, alice, "DELETE", MAPS + "/m", {"gracePeriodSeconds": 0})
            assert refused.status == 403 and refused.json["message"].endswith(": not here")
            review_of = {"spec": {"resourceAttributes": {"verb": "delete", "resource": "configmaps", "name": "m"}}}
            told = await ask(server, alice, "POST", REVIEWS, review_of)
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
        hook = AuthorizationWebhookConfig(WebhookConfig(url + "/review", trusting(pki.ca_pem.decode())))
        security = {"authorization_modes": ("Webhook", "RBAC"), "authorization_webhook": hook}
        async with running(pki, tmp_path, security=security) as server:
            assert (await ask(server, alice, "GET", MAPS)).status == 403
            assert asked == 4
            # system:masters are not asked about.
            assert (await server.get(MAPS)).status == 200
            assert asked == 4
