"""Objects of all kinds, their subresources, and quantities where kinds have them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st

from pybernetes.api.schema import source as schema_source
from tests.fuzz.request import Case, Request, encoded
from tests.fuzz.sources.drawing import (
    CONNECTING,
    JSON,
    NAMES,
    NAMESPACE,
    STORED,
    bent,
    definitions,
    drawn,
    dry,
    sample_of,
)
from tests.fuzz.values import junk, mutated, typed


def objects(of: int, count: int) -> Iterator[Case]:
    """Creations, updates and deletions of objects of all kinds."""
    r = random.Random(of)
    kinds = list(definitions())
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
            yield (Request("objects", "POST", resource.path(NAMESPACE), query, encoded(bent(r, resource)), [JSON]),)
        elif dice < 0.8:
            subresources = [s.name for s in resource.subresources if "update" in s.verbs and s.name != "proxy"]
            subresource = r.choice(subresources) if subresources and r.random() < 0.4 else ""
            body = bent(r, resource)
            if isinstance(body, dict) and isinstance(body.get("metadata"), dict):
                name = body["metadata"].get("name") or name
            path = resource.path(NAMESPACE, quote(str(name), safe="", errors="replace"), subresource)
            yield (Request("objects", "PUT", path, query, encoded(body), [JSON]),)
        else:
            options = typed(r, "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions")
            yield (Request("objects", "DELETE", resource.path(NAMESPACE, name), query, encoded(options), [JSON]),)


def posts_to_subresources(of: int, count: int) -> Iterator[Case]:
    """Bindings, evictions, tokens, of objects that are there; scales; what is written to a status."""
    r = random.Random(of)
    names = schema_source.names_by_gvk()
    found = [
        (x, s)
        for x in STORED
        for s in x.subresources
        if s.name not in CONNECTING and {"create", "update"} & set(s.verbs)
    ]
    for _ in range(max(1, count // 3)):
        resource, s = r.choice(found)
        sample = sample_of(r, resource)
        query = dry(resource, [])
        case = [Request("subresources", "POST", resource.path(NAMESPACE), query, encoded(sample), [JSON])]
        kind = (s.group if s.version else resource.group, s.version or resource.version, s.kind or resource.kind)
        for _ in range(2):
            whole = {**sample, "status": junk(r)} if r.random() < 0.5 else mutated(r, sample)
            body = whole if kind[2] == resource.kind and r.random() < 0.5 else typed(r, names[kind], 0.6)
            if isinstance(body, dict) and r.random() < 0.6:
                meta = body.get("metadata")
                named = {"name": sample["metadata"]["name"], "namespace": NAMESPACE}
                body["metadata"] = {**(meta if isinstance(meta, dict) and r.random() < 0.5 else {}), **named}
                body |= {"kind": kind[2], "apiVersion": f"{kind[0]}/{kind[1]}".lstrip("/")}
            path = resource.path(NAMESPACE, quote(sample["metadata"]["name"], safe=""), s.name)
            method = "POST" if "create" in s.verbs else "PUT"
            more = [("dryRun", "All")] if r.random() < 0.1 else []
            case.append(Request("subresources", method, path, dry(resource, more), encoded(body), [JSON]))
        yield tuple(case)


_QUANTITIES = st.one_of(
    st.from_regex(r"[+-]?[0-9]{0,20}(\.[0-9]{0,20})?([eE][+-]?[0-9]{1,4}|[numkMGTPE]|[KMGTPE]i)?", fullmatch=True),
    st.text(alphabet="0123456789.eE+-numkMGTPKi_ ", max_size=12),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
)


def quantities(of: int, count: int) -> Iterator[Case]:
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
        yield (Request("quantities", "POST", path, [("dryRun", "All")], encoded({"metadata": name, **body}), [JSON]),)
