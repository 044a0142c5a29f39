"""Host ports, which the portmap plugin lays with iptables."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from pybernetes.kubelet import runtime as rt
from pybernetes.kubelet.cri import CRIRuntime
from tests.integration.runtime.conftest import Pods


@pytest.mark.skipif(shutil.which("iptables", path="/usr/sbin:/sbin") is None, reason="portmap needs iptables")
async def test_a_host_port_leads_into_the_pod(namespace: str, runtime: CRIRuntime, pods: Pods) -> None:
    enter = ["nsenter", f"--net={namespace}"]
    subprocess.run([*enter, "ip", "addr", "add", "192.0.2.1/32", "dev", "lo"], check=True)
    sandbox = await pods.sandbox(port_mappings=[rt.PortMapping("TCP", 8080, 18080)])
    server = await pods.container(sandbox, ["/sbin/init", "--", "nc", "-ll", "-p", "8080", "-e", "hostname"])
    await runtime.start_container(server)
    found = subprocess.run(
        [*enter, "sh", "-c", "until busybox nc -w 5 192.0.2.1 18080 </dev/null; do sleep 0.05; done"],
        capture_output=True, timeout=20,
    )  # fmt: skip
    assert found.stdout == b"pod\n"
    await runtime.stop_sandbox(sandbox)
    rules = subprocess.run([*enter, "nft", "list", "ruleset"], capture_output=True, text=True).stdout
    assert "18080" not in rules
