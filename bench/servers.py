"""The servers that are measured, each a process of its own, gone with the context that started it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.load import LoadError, Target, request
from pybernetes.apiserver.pki import ClusterPKI

_ROOT = Path(__file__).resolve().parent.parent
_START_SECONDS_MAX = 120.0
_RETRY_SECONDS = 0.002


@dataclass(frozen=True)
class Served:
    """A server that answers."""

    target: Target
    pid: int
    start_seconds: float
    """From the process's start to its first good answer."""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def ensure_pki(directory: Path) -> ClusterPKI:
    """The cluster's keys as `p8s server` would make them, so that bare server and client have some of the same kind."""
    pki = ClusterPKI.ensure(
        directory / "pki", advertise_addresses=["127.0.0.1"], service_ip="10.96.0.1", cluster_domain="cluster.local"
    )
    return pki


def client_context(pki: ClusterPKI) -> ssl.SSLContext:
    certificate, key = pki.paths("admin")
    context = ssl.create_default_context(cafile=str(pki.ca_path))
    context.check_hostname = False
    context.load_cert_chain(certificate, key)
    return context


def _environment() -> dict[str, str]:
    """As a user's: compiled modules are kept, as an installation leaves them."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": str(_ROOT)}


@contextlib.contextmanager
def _process(arguments: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=_environment(),
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


async def _first_answer(process: subprocess.Popen[bytes], target: Target, message: bytes, log: Path) -> None:
    deadline = time.perf_counter() + _START_SECONDS_MAX
    while True:
        try:
            await target.fetch(message)
            return
        except (OSError, LoadError) as error:
            # A start is measured from outside, as a client sees it: there is nothing to wait on but the port.
            if process.poll() is not None:
                raise LoadError(f"the server ended with {process.returncode}: {log.read_text()[-2000:]}") from error
            if time.perf_counter() > deadline:
                raise LoadError(f"no good answer in {_START_SECONDS_MAX:.0f} s: {log.read_text()[-2000:]}") from error
            await asyncio.sleep(_RETRY_SECONDS)


@contextlib.asynccontextmanager
async def pybernetes(directory: Path) -> AsyncIterator[Served]:
    """`p8s server` on SQLite in `directory`, from its start to /readyz."""
    pki = ensure_pki(directory)
    target = Target(free_port(), client_context(pki))
    log = directory / "server.log"
    started = time.perf_counter()
    arguments = ["-m", "pybernetes.cli", "server", "--data-dir", str(directory), "--port", str(target.port)]
    with _process(arguments, log) as process:
        await _first_answer(process, target, request("GET", "/readyz"), log)
        yield Served(target, process.pid, time.perf_counter() - started)


@contextlib.asynccontextmanager
async def bare(directory: Path) -> AsyncIterator[Served]:
    """The bare handler over the files in `directory`/answers, from its start to its first answer."""
    pki = ensure_pki(directory)
    answers = directory / "answers"
    answers.mkdir(exist_ok=True)
    (answers / "ok").write_bytes(b"ok")
    target = Target(free_port(), client_context(pki))
    certificate, key = pki.paths("apiserver")
    log = directory / "bare.log"
    started = time.perf_counter()
    arguments = ["-m", "bench.bare", str(target.port), str(certificate), str(key), str(pki.ca_path), str(answers)]
    with _process(arguments, log) as process:
        await _first_answer(process, target, request("GET", "/answer/ok"), log)
        yield Served(target, process.pid, time.perf_counter() - started)


def cpu_seconds(pid: int) -> float:
    """Processor time of all threads of a process so far."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def memory_mb(pid: int) -> float:
    """Resident memory of a process, in MB (10^6 bytes)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise LoadError(f"process {pid} has no resident memory")
