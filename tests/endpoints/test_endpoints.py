"""Every stable endpoint of Kubernetes 1.37 holds. ``make endpoints`` prints the same."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

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
