"""What is no request, or not a whole one: broken bodies, chunks and upgrades, clients that go away."""

from __future__ import annotations

import asyncio
import gzip

import pytest
from structlog.testing import capture_logs

from pybernetes.apiserver.pki import ClusterPKI, client_context
from tests.integration.apiserver.conftest import Server
from tests.integration.apiserver.test_odd_headers import raw
from tests.support.waiting import until

_POST = b"POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nContent-Type: application/json\r\n"
_MAP = b'{"metadata":{"name":"m"}}'


async def exchanged(server: Server, pki: ClusterPKI, sent: bytes) -> bytes:
    """All that is answered to bytes that are sent as they are, until the server closes the connection."""
    host, port = server.url.removeprefix("https://").split(":")
    context = client_context(pki.ca_path, *pki.paths("admin"))
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
    try:
        writer.write(sent)
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate", b"br", b"x"])
async def test_a_body_is_taken_as_it_comes_whatever_its_content_encoding_says(
    server: Server, pki: ClusterPKI, encoding: bytes
) -> None:
    head = _POST.rstrip() + b"\r\nContent-Encoding: " + encoding
    for body in (gzip.compress(_MAP), gzip.compress(_MAP)[:-4], b"\xff" * 30):
        status, answer = await raw(server, pki, head, body)
        assert status == 400, answer
    status, answer = await raw(server, pki, head, _MAP.replace(b'"m"', b'"' + encoding + b'"'))
    assert status == 201, answer


@pytest.mark.parametrize("chunks", [b"x\r\n\r\n", b"-1\r\n", b"19\r\n" + _MAP + b"0\r\n\r\n", b"f" * 20 + b"\r\n"])
async def test_chunks_that_are_none(server: Server, pki: ClusterPKI, chunks: bytes) -> None:
    answer = await exchanged(server, pki, _POST + b"Host: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
    assert answer.split(maxsplit=2)[1] == b"400", answer


async def test_a_client_that_goes_away_in_the_middle_of_its_body_is_not_logged(
    server: Server, pki: ClusterPKI, caplog: pytest.LogCaptureFixture
) -> None:
    host, port = server.url.removeprefix("https://").split(":")
    context = client_context(pki.ca_path, *pki.paths("admin"))
    before = len(asyncio.all_tasks())
    with capture_logs() as logged:
        _, writer = await asyncio.open_connection(host, int(port), ssl=context)
        writer.write(_POST + b"Host: x\r\nContent-Length: 100\r\n\r\n" + _MAP)
        # Its handler has begun: it waits for the rest.
        await until(lambda: len(asyncio.all_tasks()) >= before + 2, 5)
        writer.transport.abort()
        await until(lambda: len(asyncio.all_tasks()) <= before, 5)
    assert [entry for entry in logged if entry["log_level"] == "error"] == []
    assert caplog.records == []


@pytest.mark.parametrize("target", ["configmaps?watch=1&timeoutSeconds=1", "pods/p/portforward"])
@pytest.mark.parametrize("headers", [{"Sec-WebSocket-Version": "99"}, {"Sec-WebSocket-Key": "x"}])
async def test_web_sockets_that_are_none(server: Server, target: str, headers: dict[str, str]) -> None:
    sent = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", **headers,
    }  # fmt: skip
    answer = await server.request("GET", f"/api/v1/namespaces/default/{target}", headers=sent)
    assert answer.status in (400, 404), answer.body
