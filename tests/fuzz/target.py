"""The fuzzed process, from outside: start, requests, what it logs, how much it holds."""

from __future__ import annotations

import http.client
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson

from pybernetes.apiserver.pki import ClusterPKI, client_context

ANSWER_SECONDS_MAX = 10.0
"""An answer that takes longer counts as a hang. Watches are asked to end after one second."""


_LOG_BYTES = 1 << 18
_FAULT_LENGTH = 1800


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it goes over the wire; `source` says who made it up."""

    source: str
    method: str
    path: str
    query: Sequence[tuple[str, str]] = ()
    body: bytes | None = None
    headers: Sequence[tuple[str, str]] = ()

    @property
    def target(self) -> str:
        return self.path + ("?" + urlencode(self.query, errors="surrogatepass") if self.query else "")

    def __str__(self) -> str:
        text = f"{self.method} {self.target}"
        for name, value in self.headers:
            text += f"\n    {name}: {value}"
        return text + (f"\n    {self.body[:2000]!r}" if self.body is not None else "")


@dataclass(slots=True)
class Answer:
    status: int
    body: bytes
    seconds: float

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


@dataclass(slots=True)
class Target:
    process: subprocess.Popen[bytes]
    host: str
    port: int
    context: ssl.SSLContext
    log: Path
    _connection: http.client.HTTPSConnection | None = field(default=None, repr=False)

    def send(self, request: Request) -> Answer:
        """Raises OSError and http.client.HTTPException where no answer comes."""
        started = time.monotonic()
        fresh = self._connection is None
        try:
            return self._send(request, started)
        except (ConnectionError, http.client.HTTPException):
            self._connection = None
            if fresh:
                raise
            # A kept connection may have been closed meanwhile; a new one is not.
            return self._send(request, started)

    def _send(self, request: Request, started: float) -> Answer:
        if self._connection is None:
            self._connection = http.client.HTTPSConnection(
                self.host, self.port, timeout=ANSWER_SECONDS_MAX, context=self.context
            )
        connection = self._connection
        try:
            connection.putrequest(request.method, request.target, skip_accept_encoding=True)
            for name, value in request.headers:
                connection.putheader(name, value.encode("utf-8", "surrogatepass"))
            if request.body is not None or request.method in ("POST", "PUT", "PATCH"):
                connection.putheader("Content-Length", str(len(request.body or b"")))
            connection.endheaders(request.body)
            response = connection.getresponse()
            body = response.read()
        except BaseException:
            connection.close()
            self._connection = None
            raise
        if response.will_close:
            connection.close()
            self._connection = None
        return Answer(response.status, body, time.monotonic() - started)

    def ask(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Answer:
        """A request of the campaign's own, for tidying up."""
        data = orjson.dumps(body) if body is not None else None
        headers = [("Content-Type", content_type)] if body is not None else []
        return self.send(Request("own", method, path, (), data, headers))

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def memory_bytes(self) -> int:
        """Resident memory."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise ProcessLookupError(self.process.pid)

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def last_fault(self) -> str:
        """The end of the exception that the process logged last, as text."""
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - _LOG_BYTES))
            lines = log.read().decode(errors="replace").splitlines()
        found = [line for line in lines if '"exception"' in line]
        if not found:
            return "\n".join(lines[-5:])
        try:
            logged = str(orjson.loads(found[-1])["exception"])
        except orjson.JSONDecodeError:  # only its end was read
            logged = found[-1].encode().decode("unicode_escape", "replace")
        return logged[-_FAULT_LENGTH:]


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
