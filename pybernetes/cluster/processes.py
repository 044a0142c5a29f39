"""Background processes of a cluster: started, known again, awaited, stopped.

A process is known by its pid and its start time, so that a recycled pid is never taken for ours. It runs in a session
of its own, in its cgroup from before its first instruction, in the network namespace asked for, with its output
appended to a log file. Readiness is told over a Unix datagram socket in the terms of sd_notify(3) (``READY=1``), so
the same binaries report to systemd. Nothing here polls: ends are seen through pidfds. Synchronous.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pybernetes.cluster import cgroups, netns
from pybernetes.cluster.errors import NotReadyInTime, ProcessDied

# Joins the cgroups named before "--", then becomes the program after it, in the namespace if one is given. A shell and
# not code between fork and exec: the parent has threads, and Python must not run in their child.
_LAUNCHER = 'while [ "$1" != -- ]; do echo $$ >"$1" || exit 71; shift; done; shift; exec "$@"'

_TAIL_LINES = 15
_LOG_LIMIT_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process, for sure: pid and start time (clock ticks after boot, field 22 of /proc/PID/stat)."""

    pid: int
    start_ticks: int

    @staticmethod
    def of(pid: int) -> ProcessId | None:
        """None where there is no such process, or only its zombie."""
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else ProcessId(pid, int(fields[19]))

    @property
    def alive(self) -> bool:
        return ProcessId.of(self.pid) == self

    def open(self) -> int | None:
        """A pidfd of exactly this process, None where it has ended. The caller closes it."""
        try:
            fd = os.pidfd_open(self.pid)
        except OSError:
            return None
        # The check comes after the opening: from here on the descriptor cannot come to mean another process.
        if self.alive:
            return fd
        os.close(fd)
        return None


def write_pid_file(path: Path, process: ProcessId) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(f"{process.pid} {process.start_ticks}\n")
    temporary.replace(path)


def read_pid_file(path: Path) -> ProcessId | None:
    """The live process that the file names, None where there is none."""
    try:
        pid, start_ticks = path.read_text().split()
        process = ProcessId(int(pid), int(start_ticks))
    except (OSError, ValueError):
        return None
    return process if process.alive else None


def start(
    arguments: Sequence[str],
    *,
    log_file: Path,
    pid_file: Path,
    cgroup: str,
    namespace: str = "",
    environment: Mapping[str, str] | None = None,
) -> ProcessId:
    """Starts a program in the background. `environment` comes on top of the caller's own."""
    directories = cgroups.create(cgroup)
    log_file.parent.mkdir(parents=True, exist_ok=True)
    pid_file.parent.mkdir(parents=True, exist_ok=True)
    # Between starts a log grows as it must; one earlier log is kept.
    if log_file.exists() and log_file.stat().st_size > _LOG_LIMIT_BYTES:
        log_file.replace(log_file.with_suffix(".log.1"))
    program = list(arguments)
    if namespace:
        # Not `ip netns exec`: it mounts a fresh /sys, and the cgroups are gone from sight.
        program = ["nsenter", f"--net={netns.path_of(namespace)}", "--", *program]
    command = ["/bin/sh", "-c", _LAUNCHER, "p8s", *(str(d / "cgroup.procs") for d in directories), "--", *program]
    with log_file.open("ab") as log, open(os.devnull, "rb") as nothing:
        child = subprocess.Popen(
            command,
            stdin=nothing,
            stdout=log,
            stderr=log,
            start_new_session=True,
            close_fds=True,
            cwd="/",
            env={**os.environ, **(environment or {})},
        )
    # The child is left to live on its own; without this, Popen would warn that it does.
    child.returncode = 0
    process = ProcessId.of(child.pid)
    if process is None:
        raise ProcessDied(log_file.stem, str(log_file), tail(log_file))
    write_pid_file(pid_file, process)
    return process


def tail(log_file: Path, lines: int = _TAIL_LINES) -> str:
    """The end of a log for people: its last lines, from at most its last 64 KiB, without tracebacks; of a component's
    own lines, which are JSON, the errors where there are any."""
    try:
        with log_file.open("rb") as log:
            log.seek(max(0, log_file.stat().st_size - 65536))
            found = [_readable(line) for line in log.read().decode(errors="replace").splitlines()]
    except FileNotFoundError:
        return ""
    errors = [text for level, text in found if level == "error"]
    return "\n".join((errors or [text for _, text in found])[-lines:])


def _readable(line: str) -> tuple[str, str]:
    """(level, text) of a log line; the level is empty for one that no component wrote."""
    try:
        entry = json.loads(line)
        level, event = str(entry.pop("level")), str(entry.pop("event"))
    except (ValueError, KeyError, TypeError, AttributeError):
        return "", line
    for left_out in ("timestamp", "exception", "stack"):
        entry.pop(left_out, None)
    error = entry.pop("error", "")
    rest = " ".join(f"{key}={value}" for key, value in entry.items())
    return level, ": ".join(filter(None, (event, str(error)))) + (f" ({rest})" if rest else "")


class ReadySocket:
    """Waits for the READY=1 of one process. Use as a context manager around starting it and waiting for it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        path.chmod(0o600)

    @property
    def environment(self) -> dict[str, str]:
        return {"NOTIFY_SOCKET": str(self.path)}

    def wait(self, process: ProcessId, name: str, log_file: Path, *, timeout_seconds: float) -> None:
        """Raises `ProcessDied` as soon as the process ends, `NotReadyInTime` when the time is over."""
        deadline = time.monotonic() + timeout_seconds
        pidfd = process.open()
        try:
            while True:
                watched: list[socket.socket | int] = [self._socket]
                if pidfd is not None:
                    watched.append(pidfd)
                remaining = max(0.0, deadline - time.monotonic())
                readable, _, _ = select.select(watched, [], [], 0.0 if pidfd is None else remaining)
                if self._socket in readable:
                    if b"READY=1" in self._socket.recv(4096).split(b"\n"):
                        return
                elif readable or pidfd is None:
                    raise ProcessDied(name, str(log_file), tail(log_file))
                else:
                    raise NotReadyInTime(
                        f"{name} was not ready after {timeout_seconds:.0f} seconds", hint=f"look into {log_file}"
                    )
        finally:
            if pidfd is not None:
                os.close(pidfd)

    def close(self) -> None:
        self._socket.close()
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> ReadySocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def notify_ready() -> None:
    """Tells whoever started this process that it serves, as sd_notify(3) does. Without NOTIFY_SOCKET, nothing."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    # The waiter may have given up; that is no fault of this process.
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifier, contextlib.suppress(OSError):
        notifier.sendto(b"READY=1", "\0" + address[1:] if address[0] == "@" else address)


def stop(process: ProcessId, *, timeout_seconds: float) -> bool:
    """SIGTERM, then SIGKILL after the timeout; whether the first was enough. No error where it is gone already."""
    return stop_all([process], timeout_seconds=timeout_seconds)


def stop_all(processes: Iterable[ProcessId], *, timeout_seconds: float) -> bool:
    """`stop` for several at once, with one timeout for all."""
    with contextlib.ExitStack() as stack:
        waiting: dict[int, None] = {}
        poller = select.poll()
        for process in processes:
            if (fd := process.open()) is not None:
                stack.callback(os.close, fd)
                waiting[fd] = None
                poller.register(fd, select.POLLIN)
                _send(fd, signal.SIGTERM)
        gentle = True
        deadline = time.monotonic() + timeout_seconds
        while waiting:
            ended = poller.poll(max(0.0, deadline - time.monotonic()) * 1000)
            if not ended and gentle:
                gentle, deadline = False, time.monotonic() + 10.0
                for fd in waiting:
                    _send(fd, signal.SIGKILL)
            elif not ended:
                break  # Stuck in the kernel; the caller sees it by looking at the process.
            for fd, _ in ended:
                poller.unregister(fd)
                waiting.pop(fd)
        return gentle


def kill(process: ProcessId) -> None:
    """SIGKILL, without waiting for its effect. No error where it is gone already."""
    if (fd := process.open()) is not None:
        _send(fd, signal.SIGKILL)
        os.close(fd)


def _send(pidfd: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, number)
