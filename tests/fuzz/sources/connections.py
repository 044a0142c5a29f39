"""Bytes on connections of their own: pipelines, heads and chunks that are none, upgrades, clients that go away."""

from __future__ import annotations

import random
from collections.abc import Iterator

from hypothesis import strategies as st

from tests.fuzz.request import Case, Raw, Request, encoded
from tests.fuzz.sources.drawing import JSON, NAMES, NAMESPACE, STORED, drawn, dry, sample_of
from tests.fuzz.sources.wire import odd_headers

_POST = b"POST /api/v1/namespaces/fuzz/configmaps HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
_GET = b"GET /api/v1/namespaces/fuzz/configmaps HTTP/1.1\r\nHost: x\r\n"
_MAP = b'{"metadata":{"generateName":"f-"}}'
_HEADS = (
    b"\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n", b"GET  / HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET / HTTP/1.1\r\n: x\r\n\r\n",
    b"GET /api/v1/namespaces HTTP/1.1\n\n", b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET https://other/api HTTP/1.1\r\nHost: x\r\n\r\n", b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nX: a\r\n b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nX : y\r\n\r\n",
    _GET + b"X: " + b"y" * 70_000 + b"\r\n\r\n", b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    _GET + b"".join(b"X-%d: y\r\n" % i for i in range(3000)) + b"\r\n",
    _POST + b"Content-Length: -1\r\n\r\n", _POST + b"Content-Length: x\r\n\r\n", _POST + b"Content-Length: 1e3\r\n\r\n",
    _POST + b"Content-Length: 34\r\nContent-Length: 33\r\n\r\n" + _MAP, _POST + b"Content-Length: 99999999999\r\n\r\n{",
    _POST + b"Content-Length: 34\r\nTransfer-Encoding: chunked\r\n\r\n" + _MAP,
    _POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", _POST + b"Transfer-Encoding: x\r\n\r\n",
    _POST + b"Content-Length: 34\r\nExpect: 100-continue\r\n\r\n" + _MAP,
    _POST + b"Expect: x\r\nContent-Length: 0\r\n\r\n",
    _POST + b"Content-Length: 4000000\r\n\r\n" + b" " * 4_000_000, _POST + b"\r\n",
)  # fmt: skip
_CHUNKS = (
    b"0\r\n\r\n", b"22\r\n" + _MAP + b"\r\n0\r\n\r\n", b"22;a=b\r\n" + _MAP + b"\r\n0\r\nX: y\r\n\r\n", b"x\r\n",
    b"-1\r\n\r\n",
    b"22\r\n" + _MAP + b"0\r\n\r\n", b"ffffffffffffffffff\r\n", b"22 \r\n" + _MAP + b"\r\n0\r\n\r\n", b"\r\n",
    b"0\r\n\r\n0\r\n\r\n",
    b"00000000000000000000022\r\n" + _MAP + b"\r\n0\r\n\r\n", b"22\n" + _MAP + b"\n0\n\n",
    b"1\r\n{\r\n" + b"1\r\n \r\n" * 3000 + b"0\r\n\r\n", b"0\r\n" + b"X: y\r\n" * 2000 + b"\r\n",
)  # fmt: skip
_UPGRADES = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlI==\r\n",
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 99\r\nSec-WebSocket-Key: x\r\n"
    b"Sec-WebSocket-Protocol: v5.channel.k8s.io, x\r\n",
    b"Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n",
    b"Connection: Upgrade\r\nUpgrade: x\r\n", b"Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n",
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: v5.channel.k8s.io\r\n",
)  # fmt: skip
_CONNECTED = (
    "pods/f-1/exec?command=x", "pods/f-1/exec?command=x&stdin=true&tty=true&container=%ff", "pods/f-1/attach",
    "pods/f-1/portforward?ports=80", "pods/f-1/portforward?ports=x", "pods/f-1/portforward", "pods/f-1/log?follow=true",
    "pods/f-1/log?tailLines=-1", "pods/f-1/log?sinceTime=x", "pods/f-1/proxy/x", "services/f-1:80/proxy/",
    "pods?watch=1&timeoutSeconds=1", "configmaps", "pods/f-1/exec", "pods/https:f-1:x/proxy/..", "pods/f-1",
)  # fmt: skip
_FRAME = b"\x82\x85\x00\x00\x00\x00\x00\x01\x02\x03\x04"


def _request(r: random.Random) -> Request:
    resource = r.choice(STORED)
    path = resource.path(NAMESPACE)
    if r.random() < 0.5:
        query = dry(resource, [])
        return Request("connections", "POST", path, query, encoded(sample_of(r, resource)), [JSON], r.choice((0, 0, 3)))
    name = r.choice(("", *NAMES))
    return Request("connections", "GET", resource.path(NAMESPACE, name), (), None, odd_headers(r))


def _cut(r: random.Random, data: bytes, most: int = 4) -> list[bytes]:
    places = sorted(r.randrange(len(data) + 1) for _ in range(r.randrange(most)))
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True) if a < b]


def connections(of: int, count: int) -> Iterator[Case]:
    r = random.Random(of)
    for junk_bytes in drawn(st.binary(max_size=200), of, count):
        match r.randrange(8):
            case 0:  # several at once, answered in their order
                requests = [_request(r) for _ in range(r.choice((2, 3, 10)))]
                pieces = _cut(r, b"".join(q.data for q in requests))
                yield (Raw("connections", pieces, [q.method for q in requests]),)
            case 1:  # one that goes away in the middle, or before the answer
                data = _request(r).data
                yield (Raw("connections", _cut(r, data[: r.randrange(len(data) + 1)])),)
            case 2:
                yield (Raw("connections", _cut(r, r.choice(_HEADS)), ["POST"], 1.0),)
            case 3:
                data = _POST + b"Transfer-Encoding: chunked\r\n\r\n" + r.choice(_CHUNKS)
                yield (Raw("connections", _cut(r, data), ["POST"], 1.0),)
            case 4:
                yield (Raw("connections", _cut(r, junk_bytes or b"\0"), ["GET"], 0.3),)
            case 5:  # a head with some bytes changed
                changed = bytearray(_request(r).data)
                for _ in range(r.randrange(1, 4)):
                    changed[r.randrange(min(len(changed), 120))] = r.randrange(256)
                yield (Raw("connections", _cut(r, bytes(changed)), ["POST"], 0.5),)
            case 6:  # a watch that is left
                path = r.choice([x for x in STORED if "watch" in x.verbs]).path(NAMESPACE)
                query = r.choice(("watch=1", "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"))
                head = f"GET {path}?{query} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
                yield (Raw("connections", [head], ["GET"] if r.random() < 0.5 else [], 0.05),)
            case _:
                target = r.choice(_CONNECTED)
                plural = r.choice(("pods", "services"))
                pod = next(x for x in STORED if x.plural == plural)
                head = f"{r.choice(('GET', 'POST'))} /api/v1/namespaces/fuzz/{target} HTTP/1.1\r\nHost: x\r\n".encode()
                rest = r.choice((b"", _FRAME, junk_bytes))
                yield (
                    Request("connections", "POST", pod.path(NAMESPACE), (), encoded(sample_of(r, pod)), [JSON]),
                    Raw("connections", _cut(r, head + r.choice(_UPGRADES) + b"\r\n" + rest), ["GET"], 1.0),
                )
