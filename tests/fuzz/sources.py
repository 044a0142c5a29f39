"""Where requests come from: Schemathesis on the served OpenAPI, hypothesis on what clients write by hand, and objects.

A source is a function from a seed and a number to requests; the same seed gives the same ones. Nothing here sends.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import orjson
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from pybernetes.api.openapi import OpenAPI
from pybernetes.api.resources import BUILTIN, Resource
from pybernetes.api.schema import source as schema_source
from tests.endpoints.objects import SAMPLES
from tests.fuzz.target import Request
from tests.fuzz.values import TEXTS, junk, mutated, number, text, typed

NAMESPACE = "fuzz"
NAMES = tuple(f"f-{i}" for i in range(8))
PATCHES = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
_JSON = ("Content-Type", "application/json")
_CONNECTING = ("attach", "exec", "portforward", "proxy", "log")
_DRY = frozenset(("admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io"))
"""Groups whose objects change how the server answers other requests: they are written with dryRun alone."""

_WATCHES = 0.1
"""How many of the watches that are made up are sent: each takes its second."""

Source = Callable[[int, int], Iterator[Request]]
STORED = [r for r in BUILTIN if "create" in r.verbs and "get" in r.verbs]


def drawn(strategy: st.SearchStrategy[Any], of: int, count: int) -> list[Any]:
    """That many examples of a hypothesis strategy."""
    found: list[Any] = []

    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @seed(of)
    @given(strategy)
    def collect(value: Any) -> None:
        found.append(value)

    collect()
    return found


def encoded(value: Any) -> bytes:
    """JSON, also of what has no UTF-8 form or no end."""
    return json.dumps(value).encode()


def dry(resource: Resource, query: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    kept = [(k, v) for k, v in query if k != "dryRun"]
    return [*kept, ("dryRun", "All")] if resource.group in _DRY else list(query)


# ---- Schemathesis


@lru_cache(maxsize=1)
def _operations() -> list[Any]:
    """Every operation of every document but those that connect, with the resource's group."""
    import schemathesis

    api = OpenAPI(BUILTIN)
    found: list[Any] = []
    for path in orjson.loads(api.v3_index.content)["paths"]:
        document = api.v3_at(path)
        assert document is not None
        for result in schemathesis.openapi.from_dict(orjson.loads(document.content)).get_all_operations():
            operation = result.ok()
            parts = operation.path.split("/")
            if not any(part in _CONNECTING for part in parts) and "/watch/" not in operation.path:
                found.append(operation)
    return found


def schemathesis_cases(of: int, count: int) -> Iterator[Request]:
    r = random.Random(of)
    per_operation = 10
    for _ in range(max(1, count // per_operation)):
        operation = r.choice(_operations())
        for case in drawn(operation.as_strategy(), r.randrange(1 << 30), per_operation):
            yield _of_case(r, operation, case)


def _of_case(r: random.Random, operation: Any, case: Any) -> Request:
    path = operation.path
    for name, value in (case.path_parameters or {}).items():
        known = {"namespace": NAMESPACE, "name": r.choice(NAMES)}.get(name)
        chosen = known if known is not None and r.random() < 0.85 else str(value)
        path = path.replace("{" + name + "}", quote(chosen, safe="", errors="replace"))
    query: list[tuple[str, str]] = []
    for name, value in (case.query or {}).items():
        values = value if isinstance(value, list) else [value]
        query += [(name, v if isinstance(v, str) else json.dumps(v)) for v in values]
    method = case.method.upper()
    if any(k == "watch" for k, _ in query):
        query = [(k, v) for k, v in query if k != "timeoutSeconds"] + [("timeoutSeconds", "1")]
        if r.random() > _WATCHES:
            query = [(k, v) for k, v in query if k != "watch"]
    group = path.split("/")[2] if path.startswith("/apis/") else ""
    if group in _DRY or (method == "DELETE" and "/namespaces/" not in path):
        query = [(k, v) for k, v in query if k != "dryRun"] + [("dryRun", "All")]
    body, headers = None, []
    if method in ("POST", "PUT", "PATCH", "DELETE") and type(case.body).__name__ != "NotSet":
        content = case.body
        if isinstance(content, dict) and isinstance(content.get("metadata"), dict) and r.random() < 0.8:
            content["metadata"] = {**content["metadata"], "name": r.choice(NAMES), "namespace": NAMESPACE}
            content["metadata"].pop("resourceVersion", None)
        body = content if isinstance(content, bytes) else encoded(content)
        media = case.media_type if method == "PATCH" and case.media_type in PATCHES.values() else "application/json"
        headers = [("Content-Type", media)]
    return Request("schemathesis", method, path, query, body, headers)


# ---- objects


@lru_cache(maxsize=1)
def _definitions() -> dict[Resource, str]:
    names = schema_source.names_by_gvk()
    return {r: names[r.group, r.version, r.kind] for r in BUILTIN if "create" in r.verbs}


def _sample(r: random.Random, resource: Resource) -> dict[str, Any]:
    sample = SAMPLES[resource.group, resource.version, resource.plural]
    name = sample.name(r.choice(NAMES))
    body = {**sample.body_for(name), "metadata": {"name": name, "labels": {"f": "1"}}}
    for reference in ("involvedObject", "regarding"):
        if reference in body:
            body[reference] = {**body[reference], "namespace": NAMESPACE, "name": "x"}
    return {"apiVersion": resource.api_version, "kind": resource.kind, **body}


def _body(r: random.Random, resource: Resource) -> Any:
    """A valid object that was bent, or one of the right types alone."""
    if resource in STORED and r.random() < 0.5:
        body: Any = _sample(r, resource)
        for _ in range(r.choice((0, 1, 1, 2, 4))):
            body = mutated(r, body)
        return body
    body = typed(r, _definitions()[resource], r.choice((0.15, 0.35, 0.7)))
    if isinstance(body, dict):
        meta = body.get("metadata") if isinstance(body.get("metadata"), dict) and r.random() < 0.3 else {}
        body |= {"apiVersion": resource.api_version, "kind": resource.kind}
        body["metadata"] = {**meta, "name": r.choice(NAMES)}
        body["metadata"].pop("resourceVersion", None)
        if r.random() < 0.9:
            body["metadata"].pop("namespace", None)
            body["metadata"].pop("deletionTimestamp", None)
    return body


def objects(of: int, count: int) -> Iterator[Request]:
    """Creations, updates and deletions of objects of all kinds."""
    r = random.Random(of)
    kinds = list(_definitions())
    for _ in range(count):
        resource = r.choice(kinds)
        query: list[tuple[str, str]] = []
        if r.random() < 0.2:
            query.append(("dryRun", "All"))
        if r.random() < 0.2:
            query.append(("fieldValidation", r.choice(("Strict", "Warn", "Ignore", "x"))))
        query = dry(resource, query)
        name = r.choice(NAMES)
        dice = r.random()
        if resource not in STORED or dice < 0.5:
            yield Request("objects", "POST", resource.path(NAMESPACE), query, encoded(_body(r, resource)), [_JSON])
        elif dice < 0.8:
            subresources = [s.name for s in resource.subresources if "update" in s.verbs and s.name != "proxy"]
            subresource = r.choice(subresources) if subresources and r.random() < 0.4 else ""
            body = _body(r, resource)
            if isinstance(body, dict) and isinstance(body.get("metadata"), dict):
                name = body["metadata"].get("name") or name
            path = resource.path(NAMESPACE, quote(str(name), safe="", errors="replace"), subresource)
            yield Request("objects", "PUT", path, query, encoded(body), [_JSON])
        else:
            options = typed(r, "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions")
            yield Request("objects", "DELETE", resource.path(NAMESPACE, name), query, encoded(options), [_JSON])


def posts_to_subresources(of: int, count: int) -> Iterator[Request]:
    """Bindings, evictions, tokens, scales."""
    r = random.Random(of)
    names = schema_source.names_by_gvk()
    found = [(x, s) for x in BUILTIN for s in x.subresources if s.name not in _CONNECTING and "create" in s.verbs]
    for _ in range(count):
        resource, s = r.choice(found)
        kind = (s.group if s.version else resource.group, s.version or resource.version, s.kind)
        body = typed(r, names[kind], 0.6)
        path = resource.path(NAMESPACE, r.choice(NAMES), s.name)
        yield Request("subresources", "POST", path, (), encoded(body), [_JSON])


# ---- patches


_POINTERS = st.lists(
    st.sampled_from(("metadata", "spec", "status", "labels", "annotations", "containers", "template", "0", "-", "1",
    "name",
                     "finalizers", "data", "ports", "a~1b", "~0", "~", "", "01", "99999999999", "é", "replicas")),
    max_size=5,
).map(lambda parts: "".join("/" + p for p in parts))  # fmt: skip
_SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(TEXTS), st.text(max_size=8),
)  # fmt: skip
_KEYS = st.sampled_from(
    ("metadata", "spec", "status", "labels", "annotations", "finalizers", "ownerReferences", "containers", "ports",
    "env",
     "data", "template", "selector", "name", "$patch", "$retainKeys", "$deleteFromPrimitiveList/finalizers",
     "$setElementOrder/containers", "$setElementOrder/ports", "$setElementOrder/finalizers", "resourceVersion", "uid",
     "managedFields", "kind", "apiVersion", "$patch ", "conditions", "replicas", "volumes", "é", ""),
)  # fmt: skip
_JSON_VALUES = st.recursive(
    st.one_of(_SCALARS, st.sampled_from(("delete", "replace", "merge", "retainKeys"))),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=12,
)
_OPERATION = st.fixed_dictionaries(
    {
        "op": st.sampled_from(("add", "remove", "replace", "move", "copy", "test", "x", "")),
        "path": _POINTERS,
    },
    optional={"value": _JSON_VALUES, "from": _POINTERS},
)
_PATCH = st.one_of(
    st.tuples(st.just("json"), st.lists(st.one_of(_OPERATION, _JSON_VALUES), max_size=4)),
    st.tuples(
        st.sampled_from(("merge", "strategic", "apply", "json")), st.dictionaries(_KEYS, _JSON_VALUES, max_size=4)
    ),
    st.tuples(st.sampled_from(tuple(PATCHES)), _JSON_VALUES),
)


def patches(of: int, count: int) -> Iterator[Request]:
    """All four forms, against objects that exist: a creation goes ahead of each."""
    r = random.Random(of)
    for form, body in drawn(_PATCH, of, max(1, count // 2)):
        resource = r.choice(STORED)
        sample = _sample(r, resource)
        name = sample["metadata"]["name"]
        query = dry(resource, [])
        yield Request("patches", "POST", resource.path(NAMESPACE), query, encoded(sample), [_JSON])
        if form in ("merge", "strategic", "apply") and r.random() < 0.6:
            # What the kind has, bent, meets more of the code than what is made up.
            body = mutated(r, sample)
            if isinstance(body, dict) and r.random() < 0.5:
                body[r.choice(list(body) or ["x"])] = junk(r)
        if form == "apply":
            if isinstance(body, dict) and r.random() < 0.8:
                meta = body.get("metadata")
                body |= {"apiVersion": resource.api_version, "kind": resource.kind}
                body["metadata"] = {**(meta if isinstance(meta, dict) else {}), "name": name}
            query = [*query, ("fieldManager", r.choice(("one", "two", "x" * 200)))]
            if r.random() < 0.5:
                query.append(("force", "true"))
        subresources = [s.name for s in resource.subresources if "patch" in s.verbs and s.name != "proxy"]
        subresource = r.choice(subresources) if subresources and r.random() < 0.3 else ""
        path = resource.path(NAMESPACE, name, subresource)
        yield Request("patches", "PATCH", path, query, encoded(body), [("Content-Type", PATCHES[form])])


# ---- selectors, tokens, versions


_LABEL_SELECTORS = st.one_of(
    st.text(alphabet="ab=!,()innot exists<>&|/. \t\n1-", max_size=30),
    st.lists(
        st.sampled_from(("f=1", "f==1", "f!=1", "f in (1,2)", "f notin (1)", "!f", "f", "f>0", "f<9", "a/b=c",
        "f in ()", ",", "f=",
                         "é=1", "f in (", "f>x", "a" * 400 + "=b", "f,f,f,f")),
        max_size=4,
    ).map(",".join),
)  # fmt: skip
_FIELD_SELECTORS = st.one_of(
    st.text(alphabet="metadata.nspec=!,\\ status", max_size=40),
    st.lists(
        st.sampled_from(("metadata.name=f-1", "metadata.name!=f-1", "metadata.namespace=fuzz", "spec.nodeName=",
        "status.phase=x",
                         "metadata.name==a\\,b", "metadata.name=\\", "x=y", "=", "metadata.name",
                         "involvedObject.uid=1", "type=a")),
        max_size=3,
    ).map(",".join),
)  # fmt: skip
_VERSIONS = st.sampled_from(("", "0", "1", "5", "50", "-1", "x", "99999999999999999999999", "01", "1.0", " 1", "1e3"))
_TOKENS = st.one_of(
    st.text(max_size=20),
    st.binary(max_size=24).map(lambda b: b.hex()),
    st.fixed_dictionaries(
        {},
        optional={
            "v": st.sampled_from(("meta.k8s.io/v1", "v2", "", 1, None)),
            "rv": st.one_of(st.integers(-5, 500), st.sampled_from((2**70, -(2**70), "1", None, 1.5, True))),
            "start": st.one_of(st.text(max_size=12), st.sampled_from(("fuzz/f-1\0", "../x", "", None, 1, "/", "\0"))),
        },
    ).map(lambda d: __import__("base64").urlsafe_b64encode(json.dumps(d).encode()).decode().rstrip("=")),
)
_LIST_QUERY = st.fixed_dictionaries(
    {},
    optional={
        "labelSelector": _LABEL_SELECTORS,
        "fieldSelector": _FIELD_SELECTORS,
        "resourceVersion": _VERSIONS,
        "resourceVersionMatch": st.sampled_from(("", "Exact", "NotOlderThan", "x")),
        "continue": _TOKENS,
        "limit": st.sampled_from(("0", "1", "2", "500", "-1", "x", str(2**70), "1.5", "")),
        "watch": st.sampled_from(("1", "true", "0", "x", "")),
        "sendInitialEvents": st.sampled_from(("true", "false", "x")),
        "allowWatchBookmarks": st.sampled_from(("true", "1", "x")),
        "includeObject": st.sampled_from(("None", "Object", "Metadata", "x")),
        "pretty": st.sampled_from(("true", "0", "x")),
        "shardSelector": st.just("x"),
    },
)
_ACCEPTS = (
    "application/json", "application/yaml", "*/*", "", "application/vnd.kubernetes.protobuf,application/json", "x",
    ";;;", "a/b;q=x",
    "application/json;as=Table;g=meta.k8s.io;v=v1",
    "application/json;as=Table;g=meta.k8s.io;v=v1beta1,application/json",
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1", "application/cbor", "application/json;q=0",
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", "application/json;stream=watch",
)  # fmt: skip


def lists(of: int, count: int) -> Iterator[Request]:
    """Lists, watches and deletions of collections, with selectors, continue tokens and versions."""
    r = random.Random(of)
    kinds = [x for x in BUILTIN if "list" in x.verbs]
    for query in drawn(_LIST_QUERY, of, count):
        resource = r.choice(kinds)
        pairs = list(query.items())
        method = "GET"
        if "deletecollection" in resource.verbs and resource.namespaced and r.random() < 0.15:
            method = "DELETE"
        if "watch" in query:
            pairs.append(("timeoutSeconds", "1"))
            if r.random() > _WATCHES:
                pairs = [(k, v) for k, v in pairs if k != "watch"]
        path = resource.path(NAMESPACE if method == "DELETE" or r.random() < 0.6 else "")
        yield Request("lists", method, path, pairs, None, [("Accept", r.choice(_ACCEPTS))])


# ---- quantities and times


_QUANTITIES = st.one_of(
    st.from_regex(r"[+-]?[0-9]{0,20}(\.[0-9]{0,20})?([eE][+-]?[0-9]{1,4}|[numkMGTPE]|[KMGTPE]i)?", fullmatch=True),
    st.text(alphabet="0123456789.eE+-numkMGTPKi_ ", max_size=12),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
)


def quantities(of: int, count: int) -> Iterator[Request]:
    """Quantities where kinds have them."""
    r = random.Random(of)
    for a, b in drawn(st.tuples(_QUANTITIES, _QUANTITIES), of, count):
        name = {"name": r.choice(NAMES)}
        key = r.choice(("cpu", "memory", "ephemeral-storage", "example.com/x", "hugepages-2Mi", "storage", "pods"))
        amounts = {"requests": {key: a}, "limits": {key: b}}
        volume = {"name": "v", "emptyDir": {"sizeLimit": a}}
        claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": a}}}
        bodies: list[tuple[str, Any]] = [
            (
                "pods",
                {"spec": {"containers": [{"name": "c", "image": "i", "resources": amounts}], "volumes": [volume]}},
            ),
            ("persistentvolumeclaims", {"spec": claim}),
            ("resourcequotas", {"spec": {"hard": {key: a}}, "status": {"used": {key: b}}}),
            ("limitranges", {"spec": {"limits": [{"type": "Container", "max": {key: a}, "default": {key: b}}]}}),
        ]
        plural, body = r.choice(bodies)
        path = f"/api/v1/namespaces/{NAMESPACE}/{plural}"
        yield Request("quantities", "POST", path, [("dryRun", "All")], encoded({"metadata": name, **body}), [_JSON])


# ---- bytes


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


def wire(of: int, count: int) -> Iterator[Request]:
    """Bodies, types, paths and headers that are none."""
    r = random.Random(of)
    for junk_bytes in drawn(st.binary(max_size=64), of, count):
        headers: list[tuple[str, str]] = [("Accept", r.choice(_ACCEPTS))]
        if r.random() < 0.2:
            headers.append(("User-Agent", r.choice(("curl/8", "x" * 2000, "", "/"))))
        if r.random() < 0.05:
            headers.append(("Impersonate-User", r.choice(("a", "", "system:anonymous", "system:serviceaccount:a:b"))))
        if r.random() < 0.05:
            headers.append(("Authorization", r.choice(("Bearer x", "Bearer a.b.c", "Basic x", "Bearer", "x"))))
        if r.random() < 0.1:
            headers.append(("Accept-Encoding", r.choice(("gzip", "gzip;q=0", "x", "*"))))
        if r.random() < 0.4:
            method = r.choice(("GET", "GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "X"))
            path = r.choice(_PATHS)
            body = r.choice(_BODIES[:8]) if method in ("POST", "PUT", "PATCH", "DELETE") else None
            yield Request("wire", method, path, (), body, headers)
            continue
        resource = r.choice(list(_definitions()))
        body = r.choice((*_BODIES, junk_bytes, b"k8s\0" + junk_bytes))
        if r.random() < 0.3:
            whole = bytearray(encoded(_body(r, resource)))
            for _ in range(r.randrange(1, 4)):
                whole[r.randrange(len(whole))] = r.randrange(256)
            body = bytes(whole)
        headers.append(("Content-Type", r.choice(_TYPES)))
        method = r.choice(("POST", "PUT", "PATCH", "DELETE")) if resource in STORED else "POST"
        name = "" if method == "POST" else r.choice(NAMES)
        query = dry(resource, [(r.choice(("dryRun", "fieldManager", "fieldValidation", "force", "x")), text(r))])
        if number(r) == 0:
            query = []
        yield Request("wire", method, resource.path(NAMESPACE, name), query, body, headers)


SOURCES: dict[str, tuple[Source, float]] = {
    "schemathesis": (schemathesis_cases, 0.2),
    "objects": (objects, 0.3),
    "subresources": (posts_to_subresources, 0.05),
    "patches": (patches, 0.2),
    "lists": (lists, 0.1),
    "quantities": (quantities, 0.05),
    "wire": (wire, 0.1),
}
"""Each with its share of a campaign's requests."""
