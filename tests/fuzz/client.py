"""One client: a TLS connection that is kept, one exchange at a time, each within a deadline.

Written by hand above `http.client`'s parser of answers, since what is sent is often nothing that a library would send.
A client belongs to one thread.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from dataclasses import dataclass, field
from typing import Any

import orjson

from tests.fuzz.request import Raw, Request

ANSWER_SECONDS_MAX = 10.0
"""An answer that takes longer counts as a hang. Watches are asked to end after one second."""
_READ_BYTES = 1 << 16
_PIECE_SECONDS = 0.005
"""Between pieces: they come in packets of their own."""


class Hang(Exception):
    """No answer, or not all of it, within `ANSWER_SECONDS_MAX`."""


@dataclass(slots=True)
class Answer:
    status: int
    body: bytes
    seconds: float
    audit_id: str = ""
    retry_after: str = ""
    left: bool = False
    """The client went away before its end, as it meant to."""

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def found(self) -> Any:
        """The JSON value, or None where it is none."""
        try:
            return self.json
        except orjson.JSONDecodeError:
            return None


class _Kept(io.BufferedReader):
    """A connection's bytes: an answer that was read to its end closes them for itself alone."""

    def close(self) -> None:
        pass


@dataclass(slots=True)
class Client:
    host: str
    port: int
    context: ssl.SSLContext
    _socket: ssl.SSLSocket | None = field(default=None, repr=False)
    _file: _Kept | None = field(default=None, repr=False)

    def send(self, request: Request) -> Answer:
        """Raises OSError and http.client.HTTPException where the connection fails, and `Hang`."""
        kept = self._socket is not None
        data = request.data
        try:
            return self._exchange(request, data)
        except (ConnectionError, http.client.HTTPException):
            if not kept:
                raise
            # A kept connection may have been closed meanwhile; a new one is not.
            return self._exchange(request, data)

    def send_raw(self, raw: Raw) -> list[Answer]:
        """The answers until the server closed the connection, or all."""
        self.close()
        answers: list[Answer] = []
        started = time.monotonic()
        try:
            self._open()
            assert self._socket is not None
            for i, piece in enumerate(raw.pieces):
                if i:
                    time.sleep(_PIECE_SECONDS)
                self._socket.sendall(piece)
            for method in raw.methods:
                answer, stays = self._read(method, started, raw.patience_seconds)
                answers.append(answer)
                if not stays:
                    break
        except (ConnectionError, http.client.HTTPException, ssl.SSLError):
            pass  # what is no request may be answered by closing the connection
        finally:
            self.close()
        return answers

    def _exchange(self, request: Request, data: bytes) -> Answer:
        started = time.monotonic()
        stays = False
        try:
            if self._socket is None:
                self._open()
            assert self._socket is not None
            self._socket.settimeout(ANSWER_SECONDS_MAX)
            try:
                self._socket.sendall(data)
            except TimeoutError as e:
                raise Hang(f"the request was not read within {ANSWER_SECONDS_MAX} s") from e
            answer, stays = self._read(request.method, started, request.patience_seconds)
        finally:
            if not stays:
                self.close()
        return answer

    def _read(self, method: str, started: float, patience_seconds: float) -> tuple[Answer, bool]:
        """(the answer, whether the connection stays)."""
        assert self._socket is not None and self._file is not None
        limit = patience_seconds or ANSWER_SECONDS_MAX
        status, body, response = 0, bytearray(), None
        try:
            self._socket.settimeout(max(0.01, started + limit - time.monotonic()))
            response = http.client.HTTPResponse(_Handing(self._file), method=method)  # type: ignore[arg-type]
            response.begin()
            status = response.status
            while True:
                left = started + limit - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                self._socket.settimeout(left)
                part = response.read1(_READ_BYTES)
                if not part:
                    break
                body += part
        except TimeoutError as e:
            if not patience_seconds:
                raise Hang(f"no end of the answer within {limit} s; {status=}, {bytes(body[:300])!r}") from e
            audit_id = response.getheader("Audit-Id", "") if response is not None and status else ""
            return Answer(status, bytes(body), time.monotonic() - started, audit_id, left=True), False
        found = Answer(
            status, bytes(body), time.monotonic() - started, response.getheader("Audit-Id", ""),
            response.getheader("Retry-After", ""),
        )  # fmt: skip
        return found, not response.will_close and status != 101

    def _open(self) -> None:
        plain = socket.create_connection((self.host, self.port), ANSWER_SECONDS_MAX)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = self.context.wrap_socket(plain, server_hostname=self.host)
        self._file = _Kept(socket.SocketIO(self._socket, "r"), _READ_BYTES)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = self._file = None


@dataclass(slots=True)
class _Handing:
    """What `HTTPResponse` asks of a socket."""

    file: _Kept

    def makefile(self, mode: str) -> _Kept:
        return self.file
