"""What people are shown of a component's log."""

from __future__ import annotations

import json
from pathlib import Path

from pybernetes.cluster.processes import tail


def entry(level: str, event: str, **more: object) -> str:
    return json.dumps({**more, "event": event, "level": level, "timestamp": "2026-01-01T00:00:00Z"})


def test_errors_come_first_and_without_tracebacks(tmp_path: Path) -> None:
    log = tmp_path / "log"
    lines = [
        entry("info", "started"),
        entry("error", "ended by an error", error="no such disk", exception="Traceback ...", component="agent"),
        entry("info", "stopping"),
        "something of another program",
    ]
    log.write_text("\n".join(lines) + "\n")
    assert tail(log) == "ended by an error: no such disk (component=agent)"


def test_without_errors_the_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("\n".join(["null", "[1]", *(f"line {i}" for i in range(50)), entry("info", "working", load=3)]))
    assert tail(log, 3) == "line 48\nline 49\nworking (load=3)"
    assert tail(tmp_path / "none") == ""
    log.write_bytes(b"\xff\xfe" + b"x" * 200_000)
    assert len(tail(log)) <= 65536
