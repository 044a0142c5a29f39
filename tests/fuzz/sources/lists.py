"""Lists, watches and deletions of collections: selectors, continue tokens, versions."""

from __future__ import annotations

import random
from collections.abc import Iterator

from hypothesis import strategies as st

from pybernetes.api.resources import BUILTIN
from tests.fuzz.request import Case, Prior, Request, encoded, token
from tests.fuzz.sources.drawing import JSON, NAMESPACE, STORED, WATCHES, drawn, dry, sample_of

_PATIENCE_SECONDS = 1.0
"""Then the client of a watch goes away."""


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
    ).map(token),
)
_LIST_QUERY = st.fixed_dictionaries(
    {},
    optional={
        "labelSelector": _LABEL_SELECTORS,
        "fieldSelector": _FIELD_SELECTORS,
        "resourceVersion": _VERSIONS,
        "resourceVersionMatch": st.sampled_from(("", "Exact", "NotOlderThan", "x")),
        "timeoutSeconds": st.sampled_from(("0", "1", "-1", "x", str(2**70), "")),
        "timeout": st.sampled_from(("1s", "0", "-1s", "x", "1ns", "999h")),
        "orphanDependents": st.sampled_from(("true", "x")),
        "propagationPolicy": st.sampled_from(("Orphan", "x")),
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
ACCEPTS = (
    "application/json", "application/yaml", "*/*", "", "application/vnd.kubernetes.protobuf,application/json", "x",
    ";;;", "a/b;q=x",
    "application/json;as=Table;g=meta.k8s.io;v=v1",
    "application/json;as=Table;g=meta.k8s.io;v=v1beta1,application/json",
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1", "application/cbor", "application/json;q=0",
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", "application/json;stream=watch",
)  # fmt: skip


def lists(of: int, count: int) -> Iterator[Case]:
    """Lists, watches and deletions of collections, with selectors, continue tokens and versions."""
    r = random.Random(of)
    kinds = [x for x in BUILTIN if "list" in x.verbs]
    for query in drawn(_LIST_QUERY, of, count):
        resource = r.choice(kinds)
        pairs = list(query.items())
        method = "GET"
        if "deletecollection" in resource.verbs and resource.namespaced and r.random() < 0.15:
            method = "DELETE"
        if "watch" in query and r.random() > WATCHES:
            pairs = [(k, v) for k, v in pairs if k != "watch"]
        patience = _PATIENCE_SECONDS if any(k == "watch" for k, _ in pairs) else 0.0
        path = resource.path(NAMESPACE if method == "DELETE" or r.random() < 0.6 else "")
        if r.random() < 0.05:
            path = path.replace("/v1/", "/v1/watch/", 1)
            patience = _PATIENCE_SECONDS
        yield (Request("lists", method, path, pairs, None, [("Accept", r.choice(ACCEPTS))], patience_seconds=patience),)


_REPLACED = st.lists(
    st.tuples(st.integers(0, 1000), st.sampled_from(("", "A", "_", "=", "9", "%", "é", "ZZZZ", ".", "e"))), max_size=3
)
_VERSION_QUERY = st.fixed_dictionaries(
    {"resourceVersion": st.tuples(st.just("prior"), _REPLACED)},
    optional={
        "resourceVersionMatch": st.sampled_from(("Exact", "NotOlderThan", "x")),
        "limit": st.sampled_from(("1", "0", "500")),
        "labelSelector": st.sampled_from(("f=1", "f!=1", "!f")),
        "watch": st.sampled_from(("1", "0")),
        "sendInitialEvents": st.sampled_from(("true", "false")),
        "allowWatchBookmarks": st.sampled_from(("true", "false")),
        "continue": st.tuples(st.just("prior"), _REPLACED),
    },
)


def continued(of: int, count: int) -> Iterator[Case]:
    """Lists go on where one ended, or nearly there; watches and lists start at versions that once were."""
    r = random.Random(of)
    kinds = [x for x in STORED if "list" in x.verbs and x.namespaced]
    for query in drawn(_VERSION_QUERY, of, max(1, count // 5)):
        resource = r.choice(kinds)
        path = resource.path(NAMESPACE)
        made = [
            Request("continued", "POST", path, dry(resource, []), encoded(sample_of(r, resource)), [JSON])
            for _ in range(2)
        ]
        page = Request("continued", "GET", path, [("limit", "1")])
        next_page = Request("continued", "GET", path, [("limit", "1"), ("continue", Prior(("metadata", "continue")))])
        pairs: list[tuple[str, str | Prior]] = []
        for key, value in query.items():
            if isinstance(value, tuple):
                # No token in half of the requests: it allows none of the others.
                if key != "continue" or r.random() < 0.5:
                    pairs.append((key, Prior(("metadata", key), value[1])))
            elif key != "watch" or r.random() < 3 * WATCHES:
                pairs.append((key, value))
        patience = _PATIENCE_SECONDS if ("watch", "1") in pairs else 0.0
        last = Request(
            "continued", "GET", path, pairs, None, [("Accept", r.choice(ACCEPTS))], patience_seconds=patience
        )
        yield (*made, page, *((next_page,) if r.random() < 0.3 else ()), last)
