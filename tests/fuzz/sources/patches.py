"""All four forms of patches, against objects that exist."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from pybernetes.api.meta import Object
from pybernetes.api.resources import Resource
from tests.fuzz.request import Case, Request, encoded
from tests.fuzz.sources.drawing import JSON, NAMESPACE, PATCHES, STORED, drawn, dry, sample_of
from tests.fuzz.values import TEXTS, junk, mutated

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


_FIELDS: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from(({}, {"f:a": {}}, {".": {}}, [], 1, None, "x", {"x": {}}, {"v:1": {}}, {"k:{": {}}, {"i:-1": {}})),
    lambda inner: st.dictionaries(
        st.sampled_from(("f:metadata", "f:labels", "f:f", "f:spec", "f:data", "f:containers", "f:template", "f:ports",
        'k:{"name":"c"}', 'k:{"name":1}', 'k:{"port":80,"protocol":"TCP"}', 'v:"a"', "i:0", "i:99999999999", ".",
        "f:status", "f:conditions", 'k:{"type":"Ready"}', "f:", "k:[]", "v:{", "f:é", "")),
        inner,
        max_size=3,
    ),
    max_leaves=6,
)  # fmt: skip
_ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "manager": st.sampled_from(("one", "two", "", "x" * 200, "before-first-apply", "kubectl-client-side-apply", 1)),
        "operation": st.sampled_from(("Apply", "Update", "", "x", None)),
        "apiVersion": st.sampled_from(("v1", "apps/v1", "autoscaling/v2", "x/y/z", "", None)),
        "fieldsType": st.sampled_from(("FieldsV1", "FieldsV2", "")),
        "fieldsV1": _FIELDS,
        "subresource": st.sampled_from(("", "status", "scale", "x")),
        "time": st.sampled_from(("2026-01-02T03:04:05Z", "x", None)),
    },
)
_EDITS = st.lists(
    st.tuples(
        st.sampled_from(("add", "remove", "replace", "move", "copy", "test")),
        st.integers(0, 10_000), st.integers(0, 10_000), _JSON_VALUES,
        st.sampled_from(("", "", "", "/-", "/0", "/1", "/x", "/~", "/" + "9" * 30, "/a" * 300)),
    ),
    min_size=1, max_size=6,
)  # fmt: skip


def _made(source: str, r: random.Random) -> tuple[Resource, Object, Request]:
    resource = r.choice(STORED)
    sample = sample_of(r, resource)
    return resource, sample, Request(
        source, "POST", resource.path(NAMESPACE), dry(resource, []), encoded(sample), [JSON]
    )  # fmt: skip


def _patch(
    source: str, r: random.Random, resource: Resource, name: str, form: str, body: Any, *, whole: bool = False
) -> Request:
    query = dry(resource, [])
    if form == "apply":
        query.append(("fieldManager", r.choice(("one", "two", "x" * 200))))
        if r.random() < 0.5:
            query.append(("force", "true"))
    subresources = [s.name for s in resource.subresources if "patch" in s.verbs and s.name != "proxy"]
    subresource = r.choice(subresources) if subresources and not whole and r.random() < 0.3 else ""
    path = resource.path(NAMESPACE, name, subresource)
    return Request(source, "PATCH", path, query, encoded(body), [("Content-Type", PATCHES[form])])


def patches(of: int, count: int) -> Iterator[Case]:
    """A creation goes ahead of each."""
    r = random.Random(of)
    for form, body in drawn(_PATCH, of, max(1, count // 2)):
        resource, sample, creation = _made("patches", r)
        name = sample["metadata"]["name"]
        if form in ("merge", "strategic", "apply") and r.random() < 0.6:
            # What the kind has, bent, meets more of the code than what is made up.
            body = mutated(r, sample)
            if isinstance(body, dict) and r.random() < 0.5:
                body[r.choice(list(body) or ["x"])] = junk(r)
        if form == "apply" and isinstance(body, dict) and r.random() < 0.8:
            meta = body.get("metadata")
            body |= {"apiVersion": resource.api_version, "kind": resource.kind}
            body["metadata"] = {**(meta if isinstance(meta, dict) else {}), "name": name}
        yield creation, _patch("patches", r, resource, name, form, body)


def pointer_patches(of: int, count: int) -> Iterator[Case]:
    """JSON patches whose pointers lead to what is there, or just beside it."""
    r = random.Random(of)
    for edits in drawn(_EDITS, of, max(1, count // 2)):
        resource, sample, creation = _made("pointer patches", r)
        pointers = list(_pointers(sample, ""))
        body = []
        for op, a, b, value, suffix in edits:
            one: dict[str, Any] = {"op": op, "path": pointers[a % len(pointers)] + suffix}
            if op in ("move", "copy"):
                one["from"] = pointers[b % len(pointers)]
            elif op != "remove":
                one["value"] = value
            body.append(one)
        yield creation, _patch("pointer patches", r, resource, sample["metadata"]["name"], "json", body)


def _pointers(value: Any, at: str) -> Iterator[str]:
    yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in inner:
        yield from _pointers(below, f"{at}/{str(key).replace('~', '~0').replace('/', '~1')}")


def managed(of: int, count: int) -> Iterator[Case]:
    """Applied configurations over managed fields that somebody wrote by hand, then by a second manager."""
    r = random.Random(of)
    for entries in drawn(st.lists(_ENTRY, max_size=3), of, max(1, count // 4)):
        resource, sample, creation = _made("managed fields", r)
        name = sample["metadata"]["name"]
        form = r.choice(("merge", "strategic", "apply"))
        configuration = mutated(r, sample) if r.random() < 0.5 else sample
        yield (
            creation,
            _patch("managed fields", r, resource, name, form, {"metadata": {"managedFields": entries}}, whole=True),
            _patch("managed fields", r, resource, name, "apply", configuration),
            _patch(
                "managed fields",
                r,
                resource,
                name,
                "apply",
                {**sample, "spec": junk(r)} if r.random() < 0.3 else sample,
            ),
        )
