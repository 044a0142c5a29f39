"""The audit log's file: rotation, what is kept, what happens when the disk refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pybernetes.api.user import User
from pybernetes.apiserver.audit.log import QUEUE_MAX, AuditLog, RotatedFile, Rotation
from pybernetes.apiserver.audit.policy import Level, Verdict
from pybernetes.apiserver.audit.trail import Asked, Body, Moment
from pybernetes.lib.clock import ManualClock, SystemClock

ASKED = Asked("id", "get", "/version", "/version", User("a"), (), "", 0.0)


def moment(stage: str = "RequestReceived") -> Moment:
    return Moment(ASKED, Verdict(Level.METADATA), stage, 0.0)


def test_rotation_keeps_every_line_and_few_files(tmp_path: Path) -> None:
    clock = ManualClock()
    file = RotatedFile(tmp_path / "audit.log", Rotation(max_size_bytes=100, max_backups=2), clock)
    for i in range(50):
        clock.advance(0.01)
        file.write([b"%049d\n" % i])
    file.close()
    names = sorted(p.name for p in tmp_path.iterdir())
    assert len(names) == 3 and names[-1] == "audit.log"
    assert [int(line) for name in names for line in (tmp_path / name).read_text().split()] == list(range(44, 50))
    assert (tmp_path / "audit.log").stat().st_mode & 0o777 == 0o600


def test_old_files_go(tmp_path: Path) -> None:
    clock = ManualClock()
    file = RotatedFile(tmp_path / "a.log", Rotation(max_size_bytes=10, max_age_days=1), clock)
    file.write([b"old enough\n", b"next\n"])
    assert len(list(tmp_path.iterdir())) == 2
    clock.advance(2 * 86400)
    file.write([b"and another\n"])
    file.close()
    kept = [p.read_text() for p in tmp_path.iterdir()]
    assert "old enough\n" not in kept and "and another\n" in kept


def test_all_is_written_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = AuditLog(RotatedFile(path, Rotation(), SystemClock()), SystemClock())
    for _ in range(1000):
        log.put(moment())
    log.close()
    lines = path.read_text().splitlines()
    assert len(lines) == 1000 == log.written
    assert json.loads(lines[0])["stage"] == "RequestReceived"


def test_a_full_queue_drops_and_counts(tmp_path: Path) -> None:
    class Stuck(RotatedFile):
        def write(self, lines: object) -> None:
            raise OSError("disk full")

    log = AuditLog(Stuck(tmp_path / "a", Rotation(), SystemClock()), SystemClock())
    log.put(moment())
    log.close()
    assert (log.written, log.dropped) == (0, 1)
    # The thread is gone, so nothing takes from the queue any more.
    for _ in range(QUEUE_MAX + 5):
        log.put(moment())
    assert log.dropped == 6


BOMB = b"a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + b"\n".join(
    b"a%d: &a%d [%b]" % (i, i, b",".join([b"*a%d" % (i - 1)] * 9)) for i in range(1, 10)
)


@pytest.mark.parametrize("body", [BOMB, b"a: &a\n  b: *a", b"{"], ids=["aliases", "itself", "none"])
def test_a_body_in_yaml_that_grows_without_end_is_left_out(tmp_path: Path, body: bytes) -> None:
    """The request was refused: the log tells that it came, not what would have become of it."""
    path = tmp_path / "audit.log"
    log = AuditLog(RotatedFile(path, Rotation(), SystemClock()), SystemClock())
    asked = replace(ASKED, verb="create", resource="configmaps", version="v1")
    request = Body(body, "application/yaml")
    log.put(Moment(asked, Verdict(Level.REQUEST), "ResponseComplete", 0.0, 400, request=request))
    log.close()
    assert log.dropped == 0
    event = json.loads(path.read_text())
    assert event["responseStatus"]["code"] == 400 and "requestObject" not in event
