"""Which resolv.conf a node uses."""

from __future__ import annotations

from pathlib import Path

import pytest

from pybernetes.cluster.resolver import node_resolv_conf

STUB = "# systemd-resolved\nnameserver 127.0.0.53\noptions edns0\n"
REAL = "search example.com\nnameserver 192.0.2.53\n"


@pytest.mark.parametrize(
    ("first", "second", "chosen"),
    [
        (REAL, REAL, 0),
        (STUB, REAL, 1),
        ("nameserver ::1\n", REAL, 1),
        ("nameserver nonsense\nnameserver\n", REAL, 1),
        (None, REAL, 1),
        (STUB, STUB, 0),
        (STUB, None, 0),
        (STUB + REAL, REAL, 0),
        ("nameserver fe80::1%eth0\n", REAL, 0),
    ],
)
def test_a_server_on_loopback_is_none(tmp_path: Path, first: str | None, second: str | None, chosen: int) -> None:
    candidates = [tmp_path / "first", tmp_path / "second"]
    for path, text in zip(candidates, (first, second), strict=True):
        if text is not None:
            path.write_text(text)
    assert node_resolv_conf(candidates) == candidates[chosen]
