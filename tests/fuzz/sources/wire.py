"""Bodies, types, paths and headers that are none, on requests that are HTTP."""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterator
from functools import lru_cache

from hypothesis import strategies as st

from pybernetes.api.resources import Resource
from tests.fuzz.request import Case, Request, encoded
from tests.fuzz.sources.drawing import NAMES, NAMESPACE, PATCHES, STORED, bent, definitions, drawn, dry, sample_of
from tests.fuzz.sources.lists import ACCEPTS
from tests.fuzz.values import number, text
from tests.support import protobuf

_YAML_BOMB = b"a: &a [1,1,1,1,1,1,1,1,1]\n" + b"\n".join(
    b"%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]" % ((c, c) + (c - 1,) * 9) for c in range(98, 108)
)
_BODIES = (
    b"", b"{", b"[]", b"null", b"1", b'"x"', b"{}{}", b'{"a":1,"a":2}', b"\xff\xfe", b"[" * 5000, b'{"a":' * 3000,
    b"\0", b"NaN",
    b'{"metadata":{"name":"f-1","name":"f-2"}}', b"a: b: c", b"- a\n- b", b"--- \n---\n",
    b"!!python/object:os.system x",
    _YAML_BOMB, b"k8s\0", b"k8s\0\x0a\x00", b"k8s\0" + b"\x0a\xff\xff\xff\xff\x0f", b"{\"spec\":1e999}",
    b'{"a":"\\ud800"}',
    b"? [a]\n: b", b"<<: *a", b"a: &a\n  b: *a", b"{'metadata': {'name': 2026-01-01}}", b"x" * 100_000,
)  # fmt: skip
_TYPES = (
    "application/json", "application/yaml", "application/vnd.kubernetes.protobuf", "text/plain", "",
    "application/json; charset=x",
    *PATCHES.values(), "application/cbor", "multipart/form-data", "application/JSON",
    "application/json; charset=utf-16",
    "application/yaml;charset=latin-1", "application/json;", "é", "x" * 5000, "application/json, application/yaml",
    "application/vnd.kubernetes.protobuf; type=x",
)  # fmt: skip
_PATHS = (
    "/", "/api", "/api/", "/api/v1", "/api/v2", "/apis", "/apis/", "/apis/apps", "/apis/apps/v1",
    "/apis/apps/v1beta1", "/version",
    "/openapi/v2", "/openapi/v3", "/openapi/v3/x", "/openapi", "/healthz/x", "/livez", "/readyz?exclude=x",
    "/metrics", "/logs/",
    "/logs/../x", "/%", "/%00", "/api/v1/%2e%2e", "//", "/api//v1", "/api/v1/namespaces/", "/api/v1/namespaces//pods",
    "/api/v1/namespaces/fuzz/pods/f-1/nothing", "/api/v1/namespaces/fuzz/pods/f-1/status/x", "/api/v1/watch/pods/x/y/z",
    "/api/v1/watch", "/api/v1/proxy/x", "/apis/x/y/z/a/b/c/d", "/api/v1/" + "a" * 3000,
    "/.well-known/openid-configuration",
    "/api/v1/namespaces/fuzz/services/f-1:x:y:z/proxy", "/api/v1/namespaces/%ff/pods",
)  # fmt: skip


_IMPERSONATION: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("User", ("a", "", "system:anonymous", "system:serviceaccount:a:b", "system:serviceaccount:", "system:node:x",
              "system:serviceaccount:a:b:c", "é", "x" * 5000, "system:apiserver", "kubernetes-admin")),
    ("Group", ("", "system:masters", "system:masters", "system:authenticated", "system:unauthenticated", "x" * 300)),
    ("Uid", ("", "1", "é")),
    ("Extra-", ("x",)), ("Extra-a%2fb", ("x", "")), ("Extra-%", ("%zz",)), ("Extra-scopes", ("user:info", "")),
    ("X", ("x",)),
)  # fmt: skip
_HEADERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("User-Agent", ("curl/8", "x" * 2000, "", "/", "kubectl/v1.33 (linux/amd64) x")),
    ("Authorization", ("Bearer x", "Bearer a.b.c", "Basic x", "Bearer", "x", "Bearer eyJhbGciOiJub25lIn0.e30.",
                       "Bearer abcdef.0123456789abcdef", "bearer  x  y")),
    ("Accept-Encoding", ("gzip", "gzip;q=0", "x", "*", "identity;q=0", "gzip, gzip, gzip")),
    ("If-None-Match", ("*", '"x"', "W/", "x", "")), ("If-Modified-Since", ("x", "Thu, 01 Jan 1970 00:00:00 GMT")),
    ("Range", ("bytes=0-1", "x")), ("Expect", ("x",)), ("Audit-Id", ("", "x" * 500, "é", "{}")),
    ("X-Forwarded-For", ("1.2.3.4, x", "")), ("X-Remote-User", ("admin",)), ("X-Remote-Group", ("system:masters",)),
    ("Cookie", ("a=b; c", "=")), ("Origin", ("x", "null")), ("Accept-Charset", ("utf-7",)), ("Date", ("x",)),
    ("Warning", ("x",)), ("traceparent", ("00-x-y-z", "")), ("X", ("y" * 60_000, "\t", "é" * 100)),
    ("Kubectl-Command", ("x",)), ("Sec-WebSocket-Key", ("x",)), ("Upgrade", ("h2c", "x")),
)  # fmt: skip


def odd_headers(r: random.Random) -> list[tuple[str, str]]:
    headers = [("Accept", r.choice(ACCEPTS))]
    for name, values in _HEADERS:
        if r.random() < 0.04:
            headers += [(name, r.choice(values))] * r.choice((1, 1, 1, 2))
    if r.random() < 0.15:
        for name, values in _IMPERSONATION:
            if name == "User" or r.random() < 0.25:
                headers.append(("Impersonate-" + name, r.choice(values)))
    elif r.random() < 0.02:
        headers.append(("Impersonate-Group", "x"))
    return headers


def _protobuf(r: random.Random, resource: Resource) -> bytes:
    """A valid message, or one with some bytes changed, taken out or doubled."""
    whole = bytearray(_message(resource))
    for _ in range(r.choice((0, 1, 1, 2, 8)) if whole else 0):
        at = r.randrange(len(whole))
        match r.randrange(4):
            case 0:
                whole[at] = r.randrange(256)
            case 1:
                whole[at] ^= 1 << r.randrange(8)
            case 2:
                del whole[at + 1 : at + r.randrange(2, 9)]
            case _:
                whole[at:at] = whole[at : at + r.randrange(1, 40)]
    return bytes(whole)


@lru_cache(maxsize=256)
def _message(resource: Resource) -> bytes:
    try:
        return protobuf.encode(sample_of(random.Random(0), resource))
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError):
        return b"k8s\0\x0a\x04\x0a\x02v1"  # samples hold some that the encoder has no way to write


def wire(of: int, count: int) -> Iterator[Case]:
    """Bodies, types, paths and headers that are none."""
    r = random.Random(of)
    for junk_bytes in drawn(st.binary(max_size=64), of, count):
        headers = odd_headers(r)
        if r.random() < 0.4:
            method = r.choice(("GET", "GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "X"))
            path = r.choice(_PATHS)
            body = r.choice(_BODIES[:8]) if method in ("POST", "PUT", "PATCH", "DELETE") else None
            yield (Request("wire", method, path, (), body, headers),)
            continue
        resource = r.choice(list(definitions()))
        body = r.choice((*_BODIES, junk_bytes, b"k8s\0" + junk_bytes))
        if r.random() < 0.3:
            whole = bytearray(encoded(bent(r, resource)))
            for _ in range(r.randrange(1, 4)):
                whole[r.randrange(len(whole))] = r.randrange(256)
            body = bytes(whole)
        elif r.random() < 0.3:
            body = _protobuf(r, resource)
            headers.append(("Content-Type", "application/vnd.kubernetes.protobuf"))
        if r.random() < 0.2:
            body = gzip.compress(body, 1, mtime=0)[: r.choice((None, None, -4, 7))]
            headers.append(("Content-Encoding", r.choice(("gzip", "gzip", "deflate", "br", "identity", "x", ""))))
        headers.append(("Content-Type", r.choice(_TYPES)))
        method = r.choice(("POST", "PUT", "PATCH", "DELETE")) if resource in STORED else "POST"
        name = "" if method == "POST" else r.choice(NAMES)
        query = dry(resource, [(r.choice(("dryRun", "fieldManager", "fieldValidation", "force", "x")), text(r))])
        if number(r) == 0:
            query = []
        yield (Request("wire", method, resource.path(NAMESPACE, name), query, body, headers, r.choice((0, 0, 1, 7))),)
