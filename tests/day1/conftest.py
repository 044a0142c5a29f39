"""Day 1's table: row, claim, result, printed at the end of a run (``make day1``)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

_ROW = re.compile(r"test_(d\d\d)_")
_results: dict[str, tuple[str, str]] = {}


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    outcome: Any = yield
    report = outcome.get_result()
    found = _ROW.match(item.name)
    if found is None or not (report.when == "call" or report.outcome != "passed"):
        return
    claim = (getattr(item, "function", None).__doc__ or "").strip().splitlines()[0].rstrip(".")
    row = found.group(1)
    before = _results.get(row)
    # A row may have several tests: it holds when all of them do.
    result = "holds" if report.passed else report.outcome.upper()
    _results[row] = (claim if before is None else before[0], result if before is None or report.failed else before[1])


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if not _results:
        return
    terminalreporter.section("Day 1")
    width = max(len(claim) for claim, _ in _results.values())
    for row, (claim, result) in sorted(_results.items()):
        terminalreporter.write_line(f"{row}  {claim:<{width}}  {result}")
    held = sum(1 for _, result in _results.values() if result == "holds")
    terminalreporter.write_line(f"{held} of {len(_results)} rows hold")
