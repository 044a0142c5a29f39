"""Bytes in headers and paths that are no UTF-8: answered as anything else is, never with a 5xx."""

from __future__ import annotations

import asyncio
import json

import pytest

from pybernetes.apiserver.pki import ClusterPKI, client_context
from tests.integration.apiserver.conftest import Server


async def raw(server: Server, pki: ClusterPKI, head: bytes, body: bytes = b"") -> tuple[int, bytes]:
    """(status, body) of a request written by hand, as an administrator."""
    host, port = server.url.removeprefix("https://").split(":")
    context = client_context(pki.ca_path, *pki.paths("admin"))
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
    try:
        lines = [b"Host: x", b"Connection: close", b"Content-Length: %d" % len(body)]
        writer.write(head + b"\r\n" + b"\r\n".join(lines) + b"\r\n\r\n" + body)
        answer = await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()
    first, _, rest = answer.partition(b"\r\n\r\n")
    return int(first.split()[1]), rest


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /api/v1/nodes HTTP/1.1\r\nImpersonate-User: \xff\xfe", 403),
        (b"GET /api/v1/nodes HTTP/1.1\r\nImpersonate-User: a\r\nImpersonate-Group: \xff", 403),
        (b"GET /api/v1/nodes HTTP/1.1\r\nImpersonate-User: a\r\nImpersonate-Extra-\xff: b", 400),
        (b"GET /api/v1/nodes HTTP/1.1\r\nImpersonate-User: a\r\nImpersonate-Extra-x%ff: \xff", 403),
        (b"GET /api/v1/nodes/n HTTP/1.1\r\nUser-Agent: \xff/1", 404),
        (b"GET /api/v1/nodes HTTP/1.1\r\nAuthorization: Bearer \xff", 200),
        (b"GET /api/v1/nodes HTTP/1.1\r\nAudit-Id: \xff", 200),
        (b"GET /api/v1/nodes HTTP/1.1\r\nImpersonate-Uid: x", 500),
    ],
)
async def test_headers(server: Server, pki: ClusterPKI, head: bytes, status: int) -> None:
    got, body = await raw(server, pki, head)
    assert got == status, body


async def test_a_user_agent_is_written_down(server: Server, pki: ClusterPKI) -> None:
    path = b"/api/v1/namespaces/default/configmaps"
    body = json.dumps({"metadata": {"name": "m"}}).encode()
    head = b"POST %b HTTP/1.1\r\nContent-Type: application/json\r\nUser-Agent: \xff/1" % path
    status, _ = await raw(server, pki, head, body)
    assert status == 201
    applied = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"x": "y"}}
    assert (await server.patch(path.decode() + "/m", applied, "apply", fieldManager="x")).status == 200
    put = b"PUT %b/m HTTP/1.1\r\nContent-Type: application/json\r\nUser-Agent: \xff\xfe/1" % path
    status, answer = await raw(server, pki, put, json.dumps({"metadata": {"name": "m"}, "data": {"a": "b"}}).encode())
    assert status == 200, answer
    assert json.loads(answer)["metadata"]["managedFields"]


async def test_a_client_that_waits_to_be_asked_for_its_body_is_asked(server: Server, pki: ClusterPKI) -> None:
    host, port = server.url.removeprefix("https://").split(":")
    context = client_context(pki.ca_path, *pki.paths("admin"))
    body = json.dumps({"metadata": {"name": "asked"}}).encode()
    head = (
        b"POST /api/v1/namespaces/%b/configmaps HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Connection: close\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
    try:
        writer.write(head % (b"default", len(body)))
        assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10) == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert (await asyncio.wait_for(reader.read(), 10)).startswith(b"HTTP/1.1 201 ")
    finally:
        writer.close()
    # Who is refused for the head alone is not asked.
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
    try:
        writer.write((head % (b"default", len(body))).replace(b"application/json", b"text/plain"))
        assert (await asyncio.wait_for(reader.readuntil(b"\r\n"), 10)).startswith(b"HTTP/1.1 415 ")
    finally:
        writer.close()
