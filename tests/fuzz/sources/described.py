"""Schemathesis on the served OpenAPI: what the documents allow, and some of what they do not."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import orjson

from pybernetes.api.openapi import OpenAPI
from pybernetes.api.resources import BUILTIN
from tests.fuzz.request import Case, Request, encoded
from tests.fuzz.sources.drawing import CONNECTING, DRY, NAMES, NAMESPACE, PATCHES, WATCHES, drawn


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
            operation: Any = result.ok()  # type: ignore[union-attr]
            parts = operation.path.split("/")
            if not any(part in CONNECTING for part in parts) and "/watch/" not in operation.path:
                found.append(operation)
    return found


_EXAMPLES = 25
"""Of an operation, one after the other."""


def schemathesis_cases(of: int, count: int) -> Iterator[Case]:
    r = random.Random(of)
    operations = _operations()
    # The first examples of an operation are the dearest by far.
    turns = -(-count // _EXAMPLES)
    for turn in range(turns):
        # Successive seeds take successive operations: a long campaign meets them all.
        operation = operations[(of * turns + turn) % len(operations)]
        for case in drawn(operation.as_strategy(), r.randrange(1 << 30), min(_EXAMPLES, count)):
            yield (_of_case(r, operation, case),)


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
        if r.random() > WATCHES:
            query = [(k, v) for k, v in query if k != "watch"]
    group = path.split("/")[2] if path.startswith("/apis/") else ""
    if group in DRY or (method == "DELETE" and "/namespaces/" not in path):
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
