"""A short campaign with a fixed seed. `make fuzz` runs long ones."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz.campaign import fuzz
from tests.fuzz.sources import SOURCES

REQUESTS = 1200
SEED = 2026


def test_nothing_that_is_sent_ends_in_a_fault_of_the_server(tmp_path: Path) -> None:
    report = fuzz(tmp_path, REQUESTS, SEED)
    faults = report.faults()
    assert not faults, "\n\n".join(faults)
    assert report.sent >= REQUESTS * 0.9 and report.sources.keys() == SOURCES.keys()
    # The requests are not all refused at the door: each kind of answer is among them.
    assert {200, 201, 400, 404, 409, 422} <= report.codes.keys()
