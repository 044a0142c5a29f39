"""Overload over HTTP: seats and queues by FlowSchema, 429 in upstream's words, deadlines, sizes, and an orderly end."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pybernetes.api.resources import CONFIGMAPS, FLOWSCHEMAS, PRIORITYLEVELCONFIGURATIONS
from pybernetes.apiserver import registry as registry_module
from pybernetes.apiserver import replies, watch_stream
from pybernetes.apiserver import requests as requests_module
from pybernetes.apiserver.bootstrap import APISERVER_USER
from pybernetes.apiserver.flowcontrol.keeper import PolicyKeeper
from pybernetes.apiserver.pki import ClusterPKI, client_context
from pybernetes.client.https import HTTPSClient
from pybernetes.lib.clock import SystemClock
from tests.integration.apiserver.conftest import Answer, Server, running
from tests.integration.apiserver.peers import raw_client
from tests.integration.apiserver.test_crud import MAPS, config_map
from tests.integration.apiserver.test_security_http import context_of
from tests.support.waiting import until

FLOWS = "/apis/flowcontrol.apiserver.k8s.io/v1"
SOMEBODY = {"Impersonate-User": "somebody", "Impersonate-Group": "system:authenticated"}
FLOW_UID, LEVEL_UID = "X-Kubernetes-PF-FlowSchema-UID", "X-Kubernetes-PF-PriorityLevel-UID"


class Gate:
    """Creations stop here until they are let on."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.inside = 0
        self._open = asyncio.Event()
        original = registry_module.Registry.create

        async def slow(registry: Any, *arguments: Any) -> Any:
            self.inside += 1
            try:
                await self._open.wait()
            finally:
                self.inside -= 1
            return await original(registry, *arguments)

        patch.setattr(registry_module.Registry, "create", slow)

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as context:
        yield context


@asynccontextmanager
async def small(pki: ClusterPKI, directory: Path, seats: int) -> AsyncIterator[Server]:
    """A server with few seats, where everybody may do everything to config maps."""
    async with running(pki, directory, seats=seats) as server:
        rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"]}]
        rbac = "/apis/rbac.authorization.k8s.io/v1"
        await server.post(f"{rbac}/clusterroles", {"metadata": {"name": "maps"}, "rules": rules})
        subject = {"kind": "Group", "name": "system:authenticated", "apiGroup": "rbac.authorization.k8s.io"}
        reference = {"kind": "ClusterRole", "name": "maps", "apiGroup": "rbac.authorization.k8s.io"}
        binding = {"metadata": {"name": "maps"}, "subjects": [subject], "roleRef": reference}
        assert (await server.post(f"{rbac}/clusterrolebindings", binding)).status == 201
        yield server


async def as_somebody(server: Server, name: str, *, user: str = "somebody") -> Answer:
    return await server.request("POST", MAPS, config_map(name), headers={**SOMEBODY, "Impersonate-User": user})


async def make_level(server: Server, queuing: dict[str, int] | None, *, shares: int = 1) -> None:
    """A level of one seat or so that borrows nothing, for requests of users that are authenticated."""
    response = {"type": "Queue", "queuing": queuing} if queuing else {"type": "Reject"}
    limited = {"nominalConcurrencyShares": shares, "borrowingLimitPercent": 0, "limitResponse": response}
    level = {"metadata": {"name": "narrow"}, "spec": {"type": "Limited", "limited": limited}}
    assert (await server.post(f"{FLOWS}/prioritylevelconfigurations", level)).status == 201
    everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": True}
    rule = {
        "subjects": [{"kind": "Group", "group": {"name": "system:authenticated"}}],
        "resourceRules": [everything],
    }
    schema = {
        "metadata": {"name": "narrow"},
        "spec": {
            "matchingPrecedence": 1000,
            "priorityLevelConfiguration": {"name": "narrow"},
            "distinguisherMethod": {"type": "ByUser"},
            "rules": [rule],
        },
    }
    assert (await server.post(f"{FLOWS}/flowschemas", schema)).status == 201


async def test_answers_say_how_they_were_classified(server: Server) -> None:
    schemas = {
        o["metadata"]["name"]: o["metadata"]["uid"] for o in (await server.get(f"{FLOWS}/flowschemas")).json["items"]
    }
    levels = (await server.get(f"{FLOWS}/prioritylevelconfigurations")).json["items"]
    uids = {o["metadata"]["name"]: o["metadata"]["uid"] for o in levels}
    for path, headers, schema, level in (
        (MAPS, {}, "exempt", "exempt"),
        (f"{MAPS}/missing", {}, "exempt", "exempt"),
        (MAPS, SOMEBODY, "global-default", "global-default"),
        ("/readyz", SOMEBODY, "probes", "exempt"),
        ("/version", SOMEBODY, "global-default", "global-default"),
    ):
        answer = await server.request("GET", path, headers=headers)
        assert (answer.headers[FLOW_UID], answer.headers[LEVEL_UID]) == (schemas[schema], uids[level]), path
    async with server.session.get(server.url + MAPS, params={"watch": "1"}) as watch:
        assert watch.headers[FLOW_UID] == schemas["exempt"]


async def test_a_full_level_sends_away_and_spares_the_others(
    pki: ClusterPKI, tmp_path: Path, patch: pytest.MonkeyPatch
) -> None:
    async with small(pki, tmp_path, 10) as server:
        await make_level(server, None)
        gate = Gate(patch)
        first = asyncio.create_task(as_somebody(server, "a"))
        await until(lambda: gate.inside == 1, 5)
        refused = await as_somebody(server, "b")
        assert refused.status == 429 and refused.body == b"Too many requests, please try again later.\n"
        assert refused.headers["Retry-After"] == "1"
        assert refused.headers["Content-Type"] == "text/plain; charset=utf-8" and refused.headers[FLOW_UID]
        assert (await server.get(MAPS)).status == 200, "an administrator's requests are exempt"
        gate.open()
        assert (await first).status == 201
        assert (await as_somebody(server, "c")).status == 201
        text = (await server.get("/metrics")).body.decode()
        assert (
            'apiserver_flowcontrol_rejected_requests_total{flow_schema="narrow",priority_level="narrow",'
            'reason="concurrency-limit"} 1.0' in text
        )
        assert 'apiserver_request_terminations_total{code="429"' in text


def rows(table: bytes) -> list[dict[str, str]]:
    lines = [[cell.strip() for cell in line.split(",")] for line in table.decode().splitlines()]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]


async def test_our_own_client_comes_back(pki: ClusterPKI, tmp_path: Path, patch: pytest.MonkeyPatch) -> None:
    """Agents that are sent away wait as long as they are told, and ask again."""
    async with small(pki, tmp_path, 10) as server:
        await make_level(server, None)
        gate = Gate(patch)
        first = asyncio.create_task(as_somebody(server, "a"))
        await until(lambda: gate.inside == 1, 5)
        context = context_of(pki, tmp_path, pki.issue_client("alice"))
        async with HTTPSClient(server.url, context) as client:
            second = asyncio.create_task(client.create(CONFIGMAPS, config_map("b"), "default"))
            control = server.api.flow_control
            await until(lambda: ("narrow", "narrow", "concurrency-limit") in control.rejected, 5)
            gate.open()
            assert (await first).status == 201
            assert (await second)["metadata"]["name"] == "b"


async def test_requests_wait_in_queues_of_limited_length(
    pki: ClusterPKI, tmp_path: Path, patch: pytest.MonkeyPatch
) -> None:
    async with small(pki, tmp_path, 10) as server:
        await make_level(server, {"queues": 2, "handSize": 1, "queueLengthLimit": 3})
        gate = Gate(patch)
        level = server.api.flow_control.pool.levels["narrow"]
        assert level.nominal == 1
        tasks = [asyncio.create_task(as_somebody(server, f"m{i}")) for i in range(4)]
        await until(lambda: gate.inside == 1 and level.waiting == 3, 5)
        refused = await as_somebody(server, "late")
        assert refused.status == 429
        text = (await server.get("/metrics")).body.decode()
        assert (
            'apiserver_flowcontrol_current_inqueue_requests{flow_schema="narrow",priority_level="narrow"} 3.0' in text
        )
        path = "/debug/api_priority_and_fairness/dump"
        levels = rows((await server.get(f"{path}_priority_levels")).body)
        narrow = next(r for r in levels if r["PriorityLevelName"] == "narrow")
        assert (narrow["WaitingRequests"], narrow["ExecutingRequests"], narrow["RejectedRequests"]) == ("3", "1", "1")
        assert narrow["IsIdle"] == "false" and narrow["IsQuiescing"] == "false"
        (queue,) = rows((await server.get(f"{path}_queues")).body)
        assert (queue["PendingRequests"], queue["InitialSeatsSum"]) == ("3", "3")
        listed = rows((await server.get(f"{path}_requests?includeRequestDetails=1")).body)
        mine = [r for r in listed if r["PriorityLevelName"] == "narrow"]
        assert sorted(r["RequestIndexInQueue"] for r in mine) == ["-1", "0", "1", "2"]
        assert {(r["FlowDistingsher"], r["UserName"], r["Verb"], r["Resource"]) for r in mine} == {
            ("somebody", "somebody", "create", "configmaps")
        }
        assert any(r["FlowSchemaName"] == "exempt" for r in listed), "the one that asks"
        gate.open()
        assert [a.status for a in await asyncio.gather(*tasks)] == [201] * 4
        assert level.idle()


async def test_who_goes_away_gives_up_its_place(pki: ClusterPKI, tmp_path: Path, patch: pytest.MonkeyPatch) -> None:
    async with small(pki, tmp_path, 10) as server:
        await make_level(server, {"queues": 1, "handSize": 1, "queueLengthLimit": 5})
        gate = Gate(patch)
        level = server.api.flow_control.pool.levels["narrow"]
        first = asyncio.create_task(as_somebody(server, "a"))
        await until(lambda: gate.inside == 1, 5)
        async with raw_client(server, pki) as (_, writer):
            lines = [f"GET {MAPS} HTTP/1.1", "Host: x", *(f"{k}: {v}" for k, v in SOMEBODY.items())]
            writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
            await until(lambda: level.waiting == 1, 5)
        await until(lambda: level.waiting == 0, 5)
        gate.open()
        assert (await first).status == 201


async def test_a_wait_is_a_quarter_of_the_requests_time(
    pki: ClusterPKI, tmp_path: Path, patch: pytest.MonkeyPatch
) -> None:
    async with small(pki, tmp_path, 10) as server:
        await make_level(server, {"queues": 1, "handSize": 1, "queueLengthLimit": 5})
        gate = Gate(patch)
        first = asyncio.create_task(as_somebody(server, "a"))
        await until(lambda: gate.inside == 1, 5)
        started = time.monotonic()
        refused = await server.request("GET", MAPS, headers=SOMEBODY, timeout="4s")
        assert refused.status == 429 and 0.9 < time.monotonic() - started < 4
        gate.open()
        await first


async def test_a_watch_takes_its_seat_only_while_it_begins(pki: ClusterPKI, tmp_path: Path) -> None:
    async with small(pki, tmp_path, 10) as server:
        await make_level(server, None)
        watches = [
            await server.session.get(server.url + MAPS, params={"watch": "1"}, headers=SOMEBODY) for _ in range(5)
        ]
        assert [w.status for w in watches] == [200] * 5
        assert server.api.flow_control.pool.levels["narrow"].idle()
        for watch in watches:
            watch.close()


async def test_a_storm_leaves_no_seat_taken(pki: ClusterPKI, tmp_path: Path) -> None:
    """Many users, few seats, and clients that give up at any moment."""
    pick = random.Random(3)
    async with small(pki, tmp_path, 8) as server:
        answers: dict[int, int] = {}

        async def one(number: int) -> None:
            user = {**SOMEBODY, "Impersonate-User": f"user-{number % 5}"}
            method, path, body = pick.choice(
                [("GET", MAPS, None), ("POST", MAPS, config_map(f"m{number}")), ("GET", f"{MAPS}/m1", None)]
            )
            query = {"timeout": "20ms"} if number % 10 == 0 else {}
            answer = await server.request(method, path, body, headers=user, **query)
            answers[answer.status] = answers.get(answer.status, 0) + 1

        tasks = [asyncio.create_task(one(i)) for i in range(120)]
        for task in tasks:
            if pick.random() < 0.2:
                for _ in range(pick.randrange(50)):
                    await asyncio.sleep(0)
                task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert result is None or isinstance(result, asyncio.CancelledError), result
        assert set(answers) <= {200, 201, 404, 429, 504} and answers[201], answers
        pool = server.api.flow_control.pool
        await until(lambda: all(level.idle() for level in pool.levels.values()), 5)
        assert not pool.taken and not pool.waiting


async def test_the_default_configuration_is_kept(server: Server) -> None:
    keeper = asyncio.create_task(
        PolicyKeeper(server.api.client_for(APISERVER_USER), server.api.reader, SystemClock()).run()
    )
    try:
        assert (await server.delete(f"{FLOWS}/flowschemas/catch-all")).status == 200
        assert (await server.delete(f"{FLOWS}/prioritylevelconfigurations/workload-low")).status == 200
        reader = server.api.reader
        await until(lambda: reader.get(FLOWSCHEMAS, "", "catch-all") is not None, 5)
        await until(lambda: reader.get(PRIORITYLEVELCONFIGURATIONS, "", "workload-low") is not None, 5)

        def condition(name: str) -> str:
            schema = reader.get(FLOWSCHEMAS, "", name) or {}
            conditions = (schema.get("status") or {}).get("conditions") or [{}]
            return str(conditions[0].get("status"))

        await until(lambda: condition("service-accounts") == "False", 5)
        path = f"{FLOWS}/flowschemas/probes"
        await server.patch(path, {"spec": {"matchingPrecedence": 77}}, "merge")
        await until(lambda: (reader.get(FLOWSCHEMAS, "", "probes") or {})["spec"]["matchingPrecedence"] == 2, 5)
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)


# ---- deadlines and sizes


async def test_a_request_that_takes_too_long(server: Server, patch: pytest.MonkeyPatch) -> None:
    gate = Gate(patch)
    late = await server.post(MAPS, config_map("a"), timeout="50ms")
    assert late.status == 504 and late.json["reason"] == "Timeout" and late.json["code"] == 504
    assert late.json["message"] == (
        "Timeout: request did not complete within requested timeout - context deadline exceeded"
    )
    await until(lambda: gate.inside == 0, 5)
    bad = await server.get(MAPS, timeout="soon")
    assert bad.status == 400 and bad.json["message"] == (
        'invalid timeout specified in the request URL - time: invalid duration "soon"'
    )
    for fine in ("0", "1h", "30s"):
        assert (await server.get(MAPS, timeout=fine)).status == 200


async def test_the_servers_own_limit(pki: ClusterPKI, tmp_path: Path, patch: pytest.MonkeyPatch) -> None:
    async with running(pki, tmp_path, request_seconds=0.2) as server:
        Gate(patch)
        assert (await server.post(MAPS, config_map("b"))).status == 504
        async with server.session.get(server.url + MAPS, params={"watch": "1", "timeoutSeconds": "1"}) as watch:
            assert watch.status == 200 and await watch.read() == b"", "a watch has its own time"
        async with raw_client(server, pki) as (reader, writer):
            head = f"POST {MAPS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
            writer.write(head.encode() + b"{")
            async with asyncio.timeout(10):
                answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 504") and b"\r\nConnection: close\r\n" in answer, "a body that drips"


async def test_a_body_is_at_most_three_mebibytes(server: Server) -> None:
    allowed = config_map("a", x="y" * 1000)
    assert (await server.post(MAPS, allowed)).status == 201
    for body in (b"x" * (3 * 1024 * 1024 + 1), b" " * (4 * 1024 * 1024)):
        answer = await server.request("POST", MAPS, body, headers={"Content-Type": "application/json"})
        assert answer.status == 413 and answer.json["reason"] == "RequestEntityTooLarge"
        assert answer.json["message"] == "Request entity too large: limit is 3145728"


async def test_a_connection_that_asks_nothing_is_closed(
    server: Server, pki: ClusterPKI, patch: pytest.MonkeyPatch
) -> None:
    patch.setattr(requests_module, "HEAD_SECONDS_MAX", 0.1)
    context = client_context(pki.ca_path, *pki.paths("admin"))
    port = int(server.url.rsplit(":", 1)[1])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    writer.write(b"GET /version HTTP/1.1\r\nHost: x\r\nX-Slow: ")
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()


def ask_and_do_not_read(server: Server, pki: ClusterPKI, first: str) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1])))
    client = client_context(pki.ca_path, *pki.paths("admin")).wrap_socket(plain, server_hostname="127.0.0.1")
    client.sendall(f"{first}\r\nHost: x\r\n\r\n".encode())
    return client


async def test_who_does_not_read_is_cut_off(server: Server, pki: ClusterPKI, patch: pytest.MonkeyPatch) -> None:
    for i in range(60):
        assert (await server.post(MAPS, config_map(f"m{i}", x="y" * 500_000))).status == 201
    patch.setattr(replies, "WRITE_SECONDS_MAX", 0.2)
    patch.setattr(watch_stream, "ENDING_SECONDS_MAX", 0.2)
    web = server.api._web
    assert web is not None
    connections = len(web.connections)
    for query in ("", "?watch=1&timeoutSeconds=1"):
        client = await asyncio.to_thread(ask_and_do_not_read, server, pki, f"GET {MAPS}{query} HTTP/1.1")
        try:
            await until(lambda: len(web.connections) > connections, 5)
            await until(lambda: len(web.connections) == connections, 5)
        finally:
            client.close()
    patch.undo()
    assert (await server.get(MAPS, limit=1)).status == 200, "and nobody else is hurt"


async def test_what_is_no_request(
    server: Server, pki: ClusterPKI, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Answered as Go answers it; and nobody can fill the log with it."""
    head = b"GET /version HTTP/1.1\r\nHost: x\r\n"
    for sent, status in (
        (b"nonsense\r\n\r\n", b"400 Bad Request"),
        (b"GET /version HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n", b"400 Bad Request"),
        (head + b"X: " + b"a" * 70_000 + b"\r\n\r\n", b"431 Request Header Fields Too Large"),
        (b"GET /version?" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"431 Request Header Fields Too Large"),
        (head + b"".join(b"X%d: a\r\n" % i for i in range(500)) + b"\r\n", b"431 Request Header Fields Too Large"),
    ):
        async with raw_client(server, pki) as (reader, writer):
            writer.write(sent)
            async with asyncio.timeout(5):
                answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 " + status + b"\r\n") and answer.endswith(b"\r\n\r\n" + status)
        assert b"\r\nConnection: close\r\n" in answer
    assert "Traceback" not in caplog.text + capsys.readouterr().out


# ---- the end


async def test_readiness_fails_first_and_requests_go_on(
    pki: ClusterPKI, tmp_path: Path, patch: pytest.MonkeyPatch
) -> None:
    class Delay(SystemClock):
        """Its sleep lasts until the test says so."""

        def __init__(self) -> None:
            self.over = asyncio.Event()

        async def sleep(self, seconds: float) -> None:
            if seconds == 1234.5:
                await self.over.wait()
            else:
                await super().sleep(seconds)

    clock = Delay()
    async with running(pki, tmp_path, shutdown_delay_seconds=1234.5, clock=clock) as server:
        watch = await server.session.get(server.url + MAPS, params={"watch": "1"})
        stopping = asyncio.create_task(server.api.stop())
        await asyncio.sleep(0)
        ready = await server.get("/readyz")
        assert ready.status == 500 and b"[-]shutdown failed: reason withheld\n" in ready.body
        assert (await server.get("/livez")).status == 200
        assert (await server.post(MAPS, config_map("still"))).status == 201
        assert b'"name":"still"' in await watch.content.readline()
        # Then: what runs is finished, what comes now is sent elsewhere, and watches end in order.
        gate = Gate(patch)
        async with raw_client(server, pki) as (reader, writer):
            body = b'{"metadata":{"name":"last"}}'
            head = f"POST {MAPS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
            writer.write(head.encode() + b"\r\n\r\n" + body)
            await until(lambda: gate.inside == 1, 5)
            clock.over.set()
            async with asyncio.timeout(5):
                assert await watch.content.read() == b"" and watch.content.at_eof()
            gate.open()
            async with asyncio.timeout(5):
                answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 201") and b"\r\nConnection: close\r\n" in answer
        await stopping


async def test_a_request_at_the_last_moment_is_sent_elsewhere(server: Server) -> None:
    handler = server.api._handler
    assert handler is not None
    handler.refuse()
    answer = await server.get(MAPS)
    assert answer.status == 429 and answer.body == b"The apiserver is shutting down, please try again later.\n"
    assert answer.headers["Retry-After"] == "5" and answer.headers["Connection"] == "close"
    assert (await server.get("/livez")).status == 200
