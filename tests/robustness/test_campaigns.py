"""Short campaigns against a real server, one a kind of fault. `make robustness` runs longer ones."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

import pytest

from tests.robustness import campaign, report
from tests.robustness.campaign import Plan
from tests.robustness.report import Report

pytestmark = pytest.mark.timeout(120)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")


async def held(plan: Plan) -> Report:
    """A run that broke no rule and did something."""
    found = await campaign.run(plan, report.new_directory("-".join([plan.store, *plan.faults])))
    counts = found.counts()
    for op in ("create", "update", "patch", "delete", "get", "list", "watch"):
        assert counts[op, "ok"], f"nothing to judge: {counts}"
    assert len(found.faults()) >= len(plan.faults)
    found.settle()
    return found


async def test_killed_and_paused_servers_keep_their_word() -> None:
    found = await held(Plan(3, faults=("kill", "pause"), seed=11))
    assert found.counts()["get", "unknown"], "nobody noticed that the server was killed"


async def test_compaction_under_kills_breaks_no_promise() -> None:
    await held(Plan(4, faults=("kill",), seed=12, compaction_seconds=0.5))


@needs_root
async def test_a_full_disk_loses_nothing_and_is_recovered_from() -> None:
    found = await held(replace(Plan(2, seed=13), faults=("disk", "disk-kill")))
    refused = [r for r in found.history.records if r.status == 500]
    assert refused, "no write met the full disk"
    for record in refused:
        assert record.reason.startswith(
            "InternalError: Internal error occurred: the disk of the server's store is full"
        )
    reads = [r for r in found.history.records if r.op == "get" and r.status >= 500]
    assert not reads, "reads do not need room on the disk"


@pytest.mark.skipif(shutil.which("etcd") is None, reason="etcd is not installed")
async def test_two_servers_on_etcd_keep_their_word_when_servers_and_members_fail() -> None:
    await held(Plan(2, store="etcd", faults=("kill", "pause", "member-kill", "quorum"), seed=14))
