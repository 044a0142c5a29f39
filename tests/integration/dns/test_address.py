"""The virtual IP of the cluster DNS on a loopback of its own."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator

import pytest

from pybernetes.dns import address
from pybernetes.proxy.namespace import run_inside


@pytest.fixture
def namespace() -> Iterator[str]:
    name = f"p8s-dns-{uuid.uuid4().hex[:8]}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    yield f"/run/netns/{name}"
    subprocess.run(["ip", "netns", "delete", name], check=True)


@pytest.mark.parametrize("ip", ["10.96.0.10", "fd96::a"])
def test_claiming_and_releasing(namespace: str, ip: str) -> None:
    def listed() -> str:
        show = ["nsenter", f"--net={namespace}", "ip", "-brief", "addr", "show", "dev", "lo"]
        return subprocess.run(show, capture_output=True, text=True, check=True).stdout

    assert run_inside(namespace, lambda: address.claim(ip))
    assert not run_inside(namespace, lambda: address.claim(ip))
    assert f"{ip}/" in listed()
    assert run_inside(namespace, lambda: address.release(ip))
    assert not run_inside(namespace, lambda: address.release(ip))
    assert ip not in listed()
