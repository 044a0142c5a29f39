"""Several `p8s server` processes on one datastore, without nodes: each on its own loopback port, ended by its pid."""

from __future__ import annotations

import os
import shutil
import signal
import ssl
import subprocess
import sys
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from pybernetes.apiserver.pki import ClusterPKI
from pybernetes.client.https import HTTPSClient
from tests.support.ports import free_port
from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
QUICK = ("--leader-elect-lease-duration=3s", "--leader-elect-renew-deadline=2s", "--leader-elect-retry-period=300ms")
"""Leadership that moves within a test's patience."""
SHARED_FILES = ("ca.crt", "ca.key", "sa.key", "sa.pub")


@dataclass
class ServerProcess:
    number: int
    directory: Path
    arguments: list[str]
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def advertised(self) -> str:
        return f"10.200.0.{self.number + 1}"

    @property
    def log(self) -> Path:
        return self.directory.parent / f"{self.directory.name}.log"

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "pybernetes.cli", *self.arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                start_new_session=True,
            )

    def ssl_context(self) -> ssl.SSLContext:
        pki = self.directory / "pki"
        context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
        return context

    def ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the server ended: {self.log.read_text()[-3000:]}"
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", context=self.ssl_context(), timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def wait_ready(self) -> None:
        eventually(self.ready, timeout=60, message=f"server {self.number} is ready; {self.log}")

    def client(self) -> HTTPSClient:
        return HTTPSClient(self.url, self.ssl_context(), user_agent="test")

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ends the process; its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


@dataclass
class Servers:
    """Processes that share a datastore and the cluster's keys; use it as a context."""

    directory: Path
    datastore: str
    options: tuple[str, ...] = QUICK
    servers: list[ServerProcess] = field(default_factory=list)

    def __enter__(self) -> Servers:
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers:
            if server.process is not None and server.process.poll() is None:
                server.process.send_signal(signal.SIGCONT)
                server.process.kill()
                server.process.wait()

    def add(self) -> ServerProcess:
        """One more, not started yet, with the keys of the first."""
        number = len(self.servers)
        directory = self.directory / f"server{number}"
        pki = directory / "pki"
        if number == 0:
            ClusterPKI.ensure(pki)
        else:
            pki.mkdir(parents=True, mode=0o700)
            for name in SHARED_FILES:
                shutil.copy(self.servers[0].directory / "pki" / name, pki / name)
            ClusterPKI.ensure(pki)
        port = free_port()
        server = ServerProcess(number, directory, [], port)
        server.arguments = [
            "server",
            f"--data-dir={directory}",
            f"--datastore={self.datastore}",
            f"--port={port}",
            f"--advertise-address={server.advertised}",
            "--advertise-port=6443",
            *self.options,
        ]
        self.servers.append(server)
        return server

    def start(self, count: int) -> list[ServerProcess]:
        """Makes and starts this many at once, and waits until all are ready."""
        added = [self.add() for _ in range(count)]
        for server in added:
            server.start()
        for server in added:
            server.wait_ready()
        return added
