"""Debian's etcd for tests: clusters of members on loopback ports, with data in a temporary directory.

A member is a process of the test's own, ended by its pid. Timings are those of a quick local network, so that a lost
leader is replaced within a second.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.ports import free_ports
from tests.support.waiting import eventually

HEARTBEAT_MS = 50
ELECTION_MS = 300


@dataclass
class Member:
    name: str
    client_port: int
    peer_port: int
    metrics_port: int
    command: list[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.client_port}"

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self.process is None:
            return
        self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(number)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def healthy(self) -> bool:
        """Whether the member answers and knows a leader."""
        assert self.process is not None and self.process.poll() is None, self.log.read_text()[-2000:]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/health", timeout=5) as answer:
                return b'"true"' in answer.read()
        except (urllib.error.URLError, OSError):
            return False


@dataclass
class Etcd:
    """A cluster; use it as a context."""

    directory: Path
    size: int = 1
    client_options: Sequence[str] = ()
    """More options of every member, such as those of TLS."""
    scheme: str = "http"
    members: list[Member] = field(default_factory=list)

    def __enter__(self) -> Etcd:
        program = shutil.which("etcd")
        if program is None:
            pytest.skip("etcd is not installed")
        self.directory.mkdir(parents=True, exist_ok=True)
        ports = free_ports(self.size * 3)
        names = [f"m{i}" for i in range(self.size)]
        peers = ",".join(f"{n}=http://127.0.0.1:{ports[3 * i + 1]}" for i, n in enumerate(names))
        for i, name in enumerate(names):
            client, peer, metrics = ports[3 * i : 3 * i + 3]
            command = [
                program,
                f"--name={name}",
                f"--data-dir={self.directory / name}",
                f"--listen-client-urls={self.scheme}://127.0.0.1:{client}",
                f"--advertise-client-urls={self.scheme}://127.0.0.1:{client}",
                f"--listen-peer-urls=http://127.0.0.1:{peer}",
                f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
                f"--listen-metrics-urls=http://127.0.0.1:{metrics}",
                f"--initial-cluster={peers}",
                f"--initial-cluster-token={self.directory.name}",
                f"--heartbeat-interval={HEARTBEAT_MS}",
                f"--election-timeout={ELECTION_MS}",
                *self.client_options,
            ]
            self.members.append(Member(name, client, peer, metrics, command, self.directory / f"{name}.log"))
        try:
            for member in self.members:
                member.start()
            self.wait_healthy()
        except BaseException:
            self.__exit__()
            raise
        return self

    def wait_healthy(self) -> None:
        for member in self.members:
            if member.process is not None:
                eventually(member.healthy, timeout=30, message=f"etcd member {member.name} is healthy")

    @property
    def addresses(self) -> str:
        return ",".join(m.address for m in self.members)

    def __exit__(self, *_: object) -> None:
        for member in self.members:
            member.stop(signal.SIGKILL)
