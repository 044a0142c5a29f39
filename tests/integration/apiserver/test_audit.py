"""The audit log of a running server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from pybernetes.api.resources import CONFIGMAPS
from pybernetes.api.user import controller_user
from pybernetes.apiserver.audit.log import AuditLog, RotatedFile, Rotation
from pybernetes.apiserver.audit.policy import parse
from pybernetes.apiserver.audit.trail import AuditTrail
from pybernetes.apiserver.audit.webhook import AuditWebhook
from pybernetes.apiserver.outbound import WebhookConfig, trusting
from pybernetes.apiserver.pki import ClusterPKI
from pybernetes.lib.clock import SystemClock
from tests.integration.apiserver.conftest import Server, running
from tests.integration.apiserver.peers import Head, kubelet, make_pod, raw_client
from tests.integration.apiserver.peers import ask as ask_raw
from tests.integration.apiserver.test_authenticators import peer
from tests.integration.apiserver.test_odd_headers import raw
from tests.integration.apiserver.test_security_http import ask, context_of
from tests.support.waiting import until

MAPS = "/api/v1/namespaces/default/configmaps"
Events = Callable[[], list[dict[str, Any]]]


@asynccontextmanager
async def audited(pki: ClusterPKI, directory: Path, *rules: dict[str, Any]) -> AsyncIterator[tuple[Server, Events]]:
    """A server with a policy; its events can be read when it has stopped."""
    clock, path = SystemClock(), directory / "audit.log"
    log = AuditLog(RotatedFile(path, Rotation(), clock), clock)
    policy = parse({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": list(rules)})
    async with running(pki, directory, audit=AuditTrail(policy, log, clock)) as server:
        yield server, lambda: [json.loads(line) for line in path.read_text().splitlines()]
    log.close()


async def test_a_request_from_its_head_to_its_answer(pki: ClusterPKI, tmp_path: Path) -> None:
    rule = {"level": "RequestResponse", "resources": [{"resources": ["configmaps"]}], "users": ["kubernetes-admin"]}
    async with audited(pki, tmp_path, rule) as (server, events):
        made = await server.request(
            "POST", MAPS, {"metadata": {"name": "m"}, "data": {"k": "v"}}, headers={"User-Agent": "me/1"}
        )
        await server.get("/api/v1/namespaces/default/pods")
    received, complete = events()
    assert received["stage"] == "RequestReceived"
    assert "responseStatus" not in received and "requestObject" not in received
    assert received["auditID"] == complete["auditID"] == made.headers["Audit-Id"]
    assert complete["stage"] == "ResponseComplete"
    assert (complete["kind"], complete["apiVersion"], complete["level"]) == (
        "Event",
        "audit.k8s.io/v1",
        "RequestResponse",
    )
    assert complete["verb"] == "create" and complete["requestURI"] == MAPS
    assert complete["user"]["username"] == "kubernetes-admin"
    assert complete["sourceIPs"] == ["127.0.0.1"] and complete["userAgent"] == "me/1"
    assert complete["objectRef"] == {
        "resource": "configmaps",
        "namespace": "default",
        "name": "m",
        "apiVersion": "v1",
    }
    assert complete["responseStatus"] == {"metadata": {}, "code": 201}
    assert complete["requestObject"]["data"] == {"k": "v"}
    assert complete["responseObject"]["metadata"]["uid"]
    assert complete["annotations"] == {"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": ""}
    assert complete["stageTimestamp"] > complete["requestReceivedTimestamp"]


async def test_metadata_tells_no_bodies_but_why_a_request_failed(pki: ClusterPKI, tmp_path: Path) -> None:
    rule = {"level": "Metadata", "resources": [{"resources": ["configmaps"]}], "omitStages": ["RequestReceived"]}
    alice = context_of(pki, tmp_path, pki.issue_client("alice"))
    async with audited(pki, tmp_path, rule) as (server, events):
        await server.get(MAPS + "/none")
        await ask(server, alice, "GET", MAPS)
    missing, forbidden = events()
    assert missing["responseStatus"] == {
        "metadata": {},
        "status": "Failure",
        "message": 'configmaps "none" not found',
        "reason": "NotFound",
        "details": {"name": "none", "kind": "configmaps"},
        "code": 404,
    }
    assert "responseObject" not in missing
    assert forbidden["user"]["username"] == "alice"
    assert forbidden["responseStatus"]["code"] == 403
    assert forbidden["annotations"]["authorization.k8s.io/decision"] == "forbid"


async def test_who_acts_as_whom(pki: ClusterPKI, tmp_path: Path) -> None:
    rule = {"level": "Metadata", "nonResourceURLs": ["/version"], "omitStages": ["RequestReceived"]}
    async with audited(pki, tmp_path, rule) as (server, events):
        await server.request("GET", "/version", headers={"Impersonate-User": "bob", "Impersonate-Group": "devs"})
    (event,) = events()
    assert event["user"]["username"] == "kubernetes-admin"
    assert event["impersonatedUser"] == {"username": "bob", "groups": ["devs", "system:authenticated"]}
    assert "objectRef" not in event


async def test_a_watch_is_told_when_it_starts_and_when_it_ends(pki: ClusterPKI, tmp_path: Path) -> None:
    rule = {"level": "RequestResponse", "resources": [{"resources": ["configmaps"]}], "users": ["kubernetes-admin"]}
    async with audited(pki, tmp_path, rule) as (server, events):
        await server.get(MAPS, watch=1, timeoutSeconds=1, resourceVersion=0)
        await server.get(MAPS, watch=1, resourceVersion="x")
    assert [(e["verb"], e["stage"], e.get("responseStatus", {}).get("code")) for e in events()] == [
        ("watch", "RequestReceived", None),
        ("watch", "ResponseStarted", 200),
        ("watch", "ResponseComplete", 200),
        ("watch", "RequestReceived", None),
        ("watch", "ResponseComplete", 400),
    ]


async def test_a_connection_is_told_when_it_is_taken_over(pki: ClusterPKI, tmp_path: Path) -> None:
    async def hang_up(head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\nbye")
        await writer.drain()

    rule = {"level": "RequestResponse", "resources": [{"resources": ["pods/exec", "pods/log"]}]}
    async with audited(pki, tmp_path, rule) as (server, events), kubelet(pki, tmp_path, hang_up) as made:
        await make_pod(server, made.port)
        path = "/api/v1/namespaces/default/pods/web/exec?command=x"
        async with raw_client(server, pki) as (reader, writer):
            answer = await ask_raw((reader, writer), "POST", path, Connection="Upgrade", Upgrade="SPDY/3.1")
            assert answer.status == 101
            assert await reader.read(-1) == b"bye"
        await until(lambda: made.open == 0, 5)
    told = events()
    assert [(e["stage"], e.get("responseStatus", {}).get("code")) for e in told] == [
        ("RequestReceived", None),
        ("ResponseStarted", 101),
        ("ResponseComplete", 101),
    ]
    assert told[0]["verb"] == "create" and told[0]["objectRef"]["subresource"] == "exec"


async def test_credentials_that_do_not_hold(pki: ClusterPKI, tmp_path: Path) -> None:
    nobody = context_of(pki, tmp_path, None)
    async with audited(pki, tmp_path, {"level": "Metadata", "nonResourceURLs": ["/version"]}) as (server, events):
        await ask(server, nobody, "GET", "/version", Authorization="Bearer nonsense")
    (event,) = events()
    assert event["stage"] == "ResponseStarted" and event["user"] == {}
    assert event["responseStatus"]["code"] == 401
    assert event["responseStatus"]["message"] == "Authentication failed, attempted: bearer"


async def test_components_in_the_server_are_told_too(pki: ClusterPKI, tmp_path: Path) -> None:
    user = controller_user("deployment-controller")
    rule = {"level": "Request", "users": [user.name], "omitStages": ["RequestReceived"]}
    async with audited(pki, tmp_path, rule) as (server, events):
        client = server.api.client_for(user)
        with pytest.raises(Exception, match="cannot create"):
            await client.create(CONFIGMAPS, {"metadata": {"name": "x"}}, "default")
    (event,) = events()
    assert event["objectRef"]["name"] == "x" and event["responseStatus"]["reason"] == "Forbidden"
    assert event["requestURI"] == MAPS


async def test_odd_bytes_hide_nobody(pki: ClusterPKI, tmp_path: Path) -> None:
    async with audited(pki, tmp_path, {"level": "Metadata", "nonResourceURLs": ["/version"]}) as (server, events):
        status, _ = await raw(server, pki, b"GET /version HTTP/1.1\r\nUser-Agent: \xff\xfe")
        assert status == 200
    assert [e["stage"] for e in events()] == ["RequestReceived", "ResponseComplete"]


async def test_events_are_sent_to_a_webhook(pki: ClusterPKI, tmp_path: Path) -> None:
    got: list[dict[str, Any]] = []
    calls = 0

    async def take(request: web.Request) -> web.Response:
        nonlocal calls
        calls += 1
        if calls == 1:
            return web.Response(status=503)
        body = await request.json()
        assert (body["kind"], body["apiVersion"]) == ("EventList", "audit.k8s.io/v1")
        got.extend(body["items"])
        return web.Response()

    clock = SystemClock()
    rules = [{"level": "Metadata", "nonResourceURLs": ["/version"], "omitStages": ["RequestReceived"]}]
    policy = parse({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": rules})
    async with peer(pki, tmp_path, {("POST", "/audit"): take}) as url:
        at = WebhookConfig(url + "/audit", trusting(pki.ca_pem.decode()))
        hook = AuditWebhook(at, clock, batch_max=3, max_wait_seconds=60, initial_backoff_seconds=0.01)
        hook.start()
        async with running(pki, tmp_path, audit=AuditTrail(policy, hook, clock)) as server:
            for _ in range(7):
                await server.get("/version")
            await until(lambda: len(got) == 6, 5)
        # The seventh waits for others, which the end does not.
        await hook.close()
    assert len(got) == 7 == hook.sent and hook.dropped == 0
    assert {e["requestURI"] for e in got} == {"/version"}


async def test_a_webhook_that_is_not_there_stops_nobody(pki: ClusterPKI, tmp_path: Path) -> None:
    clock = SystemClock()
    policy = parse({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "Metadata"}]})
    at = WebhookConfig("https://127.0.0.1:1/audit", trusting(pki.ca_pem.decode()))
    hook = AuditWebhook(at, clock, batch_max=1, initial_backoff_seconds=0.001)
    hook.start()
    async with running(pki, tmp_path, audit=AuditTrail(policy, hook, clock)) as server:
        assert (await server.get("/version")).status == 200
        await until(lambda: hook.dropped > 0, 5)
    await hook.close()
    assert hook.sent == 0 and hook.statistics()["waiting"] == 0


async def test_managed_fields_are_left_out_where_asked(pki: ClusterPKI, tmp_path: Path) -> None:
    rule = {
        "level": "RequestResponse",
        "resources": [{"resources": ["configmaps"]}],
        "verbs": ["patch", "list"],
        "omitManagedFields": True,
        "omitStages": ["RequestReceived"],
    }
    async with audited(pki, tmp_path, rule) as (server, events):
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"a": "b"}}
        applied = await server.patch(MAPS + "/m", body, "apply", fieldManager="me")
        assert applied.json["metadata"]["managedFields"]
        await server.get(MAPS)
    patched, listed = events()
    assert patched["requestObject"]["data"] == {"a": "b"}
    assert "managedFields" not in patched["responseObject"]["metadata"]
    assert all("managedFields" not in i["metadata"] for i in listed["responseObject"]["items"])
