"""Every stable endpoint of Kubernetes 1.37 holds. ``make endpoints`` prints the same."""

from __future__ import annotations

import os
from pathlib import Path

import orjson
import pytest

from pybernetes.api.openapi import OpenAPI
from pybernetes.api.resources import BUILTIN
from tests.endpoints.objects import SAMPLES
from tests.endpoints.rows import place, rows
from tests.endpoints.walk import walk

ENDPOINTS = 664


def test_the_list_is_whole_and_every_stored_kind_has_a_sample() -> None:
    found = rows()
    assert len(found) == len({r.operation for r in found}) == ENDPOINTS
    made = {where.key for r in found if r.action == "deletecollection" and (where := place(r.path)) is not None}
    assert made | {("", "v1", "namespaces")} == set(SAMPLES)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a network namespace")
async def test_every_endpoint_holds(tmp_path: Path) -> None:
    results = await walk(tmp_path)
    assert len(results) == ENDPOINTS
    failed = [str(r) for r in results if r.fault]
    assert not failed, "\n".join(failed)


def test_openapi_describes_every_endpoint_as_upstream() -> None:
    document = orjson.loads(OpenAPI(BUILTIN).v2_json.content)
    described = {
        operation["operationId"]: (operation.get("x-kubernetes-action", "-"), method.upper(), path)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method != "parameters"
    }
    off = {f"get{group}APIGroup" for group in ("InternalApiserver", "Storagemigration")}
    for row in rows():
        if row.operation not in off:
            assert described[row.operation] == (row.action, row.method, row.path)
    more = {name for name in described if not name.startswith("watch")} - {r.operation for r in rows()}
    assert more == {"getServiceAccountIssuerOpenIDConfiguration", "getServiceAccountIssuerOpenIDKeyset"}
