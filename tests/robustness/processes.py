"""The processes under test: real `p8s server` processes on loopback, to be killed, paused and started again.

Everything of a `ServerProcess` lies below one directory. `start` returns once the server says READY=1, as it does to
systemd. Whoever makes one ends it: `stop` is for good, safe to call at any time.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import ssl
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pybernetes.apiserver.pki import ClusterPKI, client_context
from tests.support.ports import free_port

READY_SECONDS = 60.0
SHARED_KEYS = ("ca.crt", "ca.key", "sa.key", "sa.pub")
"""What all servers of a cluster have in common; the rest of a PKI is each one's own."""


class ProcessEnded(AssertionError):
    """A process under test ended where it should have gone on; the message carries the end of its log."""


class Process:
    """A program with its output in a file."""

    def __init__(self, name: str, arguments: Sequence[str], log_file: Path) -> None:
        self.name = name
        self.arguments = list(arguments)
        self.log_file = log_file
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} was never started"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def returncode(self) -> int | None:
        return self._process.returncode if self._process is not None else None

    async def start(self, environment: dict[str, str] | None = None) -> None:
        assert not self.running, f"{self.name} runs already"
        with self.log_file.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(environment or {})},
            )

    async def ended(self, timeout: float = 30.0) -> int:
        """Waits for the process to end by itself; its return code."""
        assert self._process is not None
        async with asyncio.timeout(timeout):
            return await self._process.wait()

    async def kill(self) -> None:
        if self.running:
            self.signal(signal.SIGKILL)
            await self.ended()

    def pause(self) -> None:
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        if self.running:
            self._process.send_signal(number)

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL if that does not do in time."""
        if not self.running:
            return
        self.resume()
        self.signal(signal.SIGTERM)
        try:
            await self.ended(20.0)
        except TimeoutError:
            await self.kill()

    def log_tail(self, lines: int = 15) -> str:
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])


class ServerProcess(Process):
    """One `p8s server` with its data directory."""

    def __init__(
        self,
        directory: Path,
        *,
        name: str = "server",
        datastore: str = "",
        extra: Sequence[str] = (),
        keys_of: ServerProcess | None = None,
    ) -> None:
        """With `keys_of`, the server belongs to that one's cluster: they share its keys."""
        directory.mkdir(parents=True, exist_ok=True)
        self.data_dir = directory / "data"
        self.port = free_port()
        arguments = [sys.executable, "-P", "-m", "pybernetes.cli", "server", f"--data-dir={self.data_dir}"]
        arguments += [f"--port={self.port}", "--log-level=info", *([f"--datastore={datastore}"] if datastore else [])]
        super().__init__(name, [*arguments, *extra], directory / f"{name}.log")
        if keys_of is not None:
            (self.data_dir / "pki").mkdir(mode=0o700, parents=True)
            for key in SHARED_KEYS:
                shutil.copy2(keys_of.data_dir / "pki" / key, self.data_dir / "pki" / key)
        self._pki = ClusterPKI.ensure(self.data_dir / "pki", advertise_addresses=["127.0.0.1"])

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def context(self) -> ssl.SSLContext:
        """An administrator's way in."""
        return client_context(self._pki.ca_path, *self._pki.paths("admin"))

    async def start(self, environment: dict[str, str] | None = None, *, ready: bool = True) -> None:
        """With `ready`, returns when the server serves, and raises `ProcessEnded` where it does not come to that."""
        loop = asyncio.get_running_loop()
        with (
            tempfile.TemporaryDirectory(prefix="p8s-") as directory,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready_socket,
        ):
            ready_socket.bind(f"{directory}/ready")
            ready_socket.setblocking(False)
            await super().start({**(environment or {}), "NOTIFY_SOCKET": f"{directory}/ready"})
            if not ready:
                return
            told = asyncio.ensure_future(loop.sock_recv(ready_socket, 4096))
            assert self._process is not None
            ending = asyncio.ensure_future(self._process.wait())
            try:
                await asyncio.wait({told, ending}, timeout=READY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if not told.done():
                    raise ProcessEnded(f"{self.name} did not come up ({self.returncode}):\n{self.log_tail()}")
            finally:
                told.cancel()
                ending.cancel()
                await asyncio.gather(told, ending, return_exceptions=True)
