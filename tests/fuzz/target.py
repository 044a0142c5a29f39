"""The fuzzed process, from outside: start, what it logs, how much it holds."""

from __future__ import annotations

import queue
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from pybernetes.apiserver.pki import ClusterPKI, client_context
from tests.fuzz.client import Answer, Client
from tests.fuzz.request import Request

_FAULT_LENGTH = 1800


@dataclass(frozen=True, slots=True)
class Held:
    """What the process holds when it has nothing to do, garbage collected."""

    memory_bytes: int
    """Resident."""
    descriptors: int
    tasks: int
    threads: int

    def __str__(self) -> str:
        return f"{self.memory_bytes >> 20} MiB, {self.descriptors} fd, {self.tasks} tasks, {self.threads} threads"


@dataclass(slots=True)
class Target:
    process: subprocess.Popen[bytes]
    host: str
    port: int
    context: ssl.SSLContext
    log: Path
    _own: queue.LifoQueue[Client] = field(default_factory=queue.LifoQueue)
    """Idle clients, for what the campaign itself asks, between the rounds."""
    _logged_bytes: int = 0

    def client(self) -> Client:
        return Client(self.host, self.port, self.context)

    def ask(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Answer:
        """A request of the campaign's own, for tidying up. From any thread."""
        data = orjson.dumps(body) if body is not None else None
        headers = [("Content-Type", content_type)] if body is not None else []
        try:
            own = self._own.get_nowait()
        except queue.Empty:
            own = self.client()
        answer = own.send(Request("own", method, path, (), data, headers))
        self._own.put(own)
        return answer

    def hang_up(self) -> None:
        """Closes the connections of `ask`."""
        while not self._own.empty():
            self._own.get_nowait().close()

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def held(self) -> Held:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(b"held\n")
        self.process.stdin.flush()
        told = orjson.loads(self.process.stdout.readline())
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                memory_bytes = int(line.split()[1]) * 1024
        descriptors = len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))
        return Held(memory_bytes, descriptors, told["tasks"], told["threads"])

    def newly_logged(self) -> list[Logged]:
        """What the process logged since this was asked last. One thread at a time."""
        if self.log.stat().st_size == self._logged_bytes:
            return []
        with self.log.open("rb") as log:
            log.seek(self._logged_bytes)
            new = log.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._logged_bytes += len(whole)
        found: list[Logged] = []
        for line in whole.decode(errors="replace").splitlines():
            logged = _parsed(line)
            if logged.fault == line and found and not found[-1].is_record:
                found[-1] = Logged("", f"{found[-1].fault}\n{line}", False)  # what the standard library logs has lines
            else:
                found.append(logged)
        return found


@dataclass(frozen=True, slots=True)
class Logged:
    audit_id: str
    """Of the request that it is about, "" for none."""
    fault: str
    """The end of the exception, or all there is."""
    is_record: bool = True

    @property
    def where(self) -> str:
        """Where the exception was raised: of faults that end in the same place one is kept."""
        lines = self.fault.splitlines()
        places = [line for line in lines if line.lstrip().startswith("File ")]
        return places[-1] if places else self.fault[:120]


def _parsed(line: str) -> Logged:
    try:
        record = orjson.loads(line)
        fault = str(record.get("exception") or line)
        return Logged(str(record.get("id", "")), fault[-_FAULT_LENGTH:])
    except (orjson.JSONDecodeError, AttributeError):
        return Logged("", line, False)


@contextmanager
def fuzzed_server(directory: Path) -> Iterator[Target]:
    log = directory / "server.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.server", str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        try:
            assert process.stdout is not None
            url = process.stdout.readline().decode().strip()
            if not url:
                raise RuntimeError(f"the server did not start: {log.read_text()}")
            host, _, port = url.removeprefix("https://").partition(":")
            pki = ClusterPKI.ensure(directory / "pki", advertise_addresses=["127.0.0.1"])
            context = client_context(pki.ca_path, *pki.paths("admin"))
            yield Target(process, host, int(port), context, log)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
