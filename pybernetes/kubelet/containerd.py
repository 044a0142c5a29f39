"""The node's private containerd: its configuration, its process, its images.

Lifecycle: `start` adopts the containerd that an earlier supervisor of the same directories left running, or starts
one, and returns when its CRI answers. `run` watches the process and starts it again whenever it ends, until
cancelled. Cancelling, or the end of the agent, leaves containerd running; `stop` ends it. Containers belong to their
shims and outlive all of this. One supervisor at a time may own a state directory; a lock sees to it. One event loop
owns a supervisor.

containerd runs in the network namespace and the cgroup of the process that starts it, unless told otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from pybernetes.kubelet.cri import CRIRuntime
from pybernetes.kubelet.runtime import RuntimeFailure
from pybernetes.lib import oci

PAUSE_IMAGE = "localhost/pybernetes/pause:1"
START_DEADLINE_SECONDS = 30.0
STOP_GRACE_SECONDS = 10.0

_RESTART_MIN_SECONDS = 0.1
_RESTART_MAX_SECONDS = 10.0
_STABLE_AFTER_SECONDS = 60.0
_IMPORT_DEADLINE_SECONDS = 300.0
_LOG_LIMIT_BYTES = 8 << 20
_TAIL_BYTES = 16 << 10
_TAIL_LINES = 12
# A Unix socket's address has 108 bytes with the zero at its end; the longest one made here ends in ".ttrpc".
_SOCKET_PATH_LIMIT_BYTES = 107
_PATH = f"{os.environ.get('PATH', '/usr/bin:/bin')}:/usr/local/sbin:/usr/sbin:/sbin"

log = structlog.get_logger(__name__)


class ContainerdError(Exception):
    """containerd cannot be started or used; the message carries the end of its log where that tells why."""


# --- what the machine allows


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What was found out about the machine by trying it."""

    overlayfs: bool
    negative_oom_score: bool


def probe(directory: Path) -> Capabilities:
    """Tries an overlay mount below `directory` and a negative oom_score_adj, each in a process that undoes it."""
    base = directory / ".probe"
    shutil.rmtree(base, ignore_errors=True)
    for name in ("lower", "upper", "work", "merged"):
        (base / name).mkdir(parents=True)
    try:
        # In a mount namespace of its own: nothing is left mounted, whatever happens.
        mount = (
            f"mount -t overlay overlay -o lowerdir={base}/lower,upperdir={base}/upper,workdir={base}/work {base}/merged"
        )
        overlay = subprocess.run(["unshare", "--mount", "sh", "-c", mount], capture_output=True, timeout=30)
    finally:
        shutil.rmtree(base, ignore_errors=True)
    oom = subprocess.run(["sh", "-c", "echo -998 > /proc/self/oom_score_adj"], capture_output=True, timeout=30)
    return Capabilities(overlayfs=overlay.returncode == 0, negative_oom_score=oom.returncode == 0)


# --- configuration


@dataclass(frozen=True, slots=True)
class ContainerdConfig:
    """Where containerd keeps things and what it uses. `state_dir` is for what a reboot ends."""

    root_dir: Path
    state_dir: Path
    cni_bin_dir: Path
    cni_conf_dir: Path
    registry_dir: Path
    """Registries' hosts (``HOST/hosts.toml`` files, as `write_registry_host` makes them)."""
    sandbox_image: str = PAUSE_IMAGE
    log_level: str = "warn"

    @property
    def socket_path(self) -> Path:
        return self.state_dir / "containerd.sock"

    def render(self, capabilities: Capabilities) -> str:
        """The configuration file's text, in version 2, which containerd reads from 1.3 to 2.x."""
        cri = '"io.containerd.grpc.v1.cri"'
        quote = json.dumps  # TOML's basic strings are JSON's
        disabled = [
            # Restarts containers of its own accord and wakes up for it; the kubelet does that.
            "io.containerd.internal.v1.restart",
            "io.containerd.tracing.processor.v1.otlp",
            *(f"io.containerd.snapshotter.v1.{name}" for name in ("aufs", "btrfs", "devmapper", "zfs")),
        ]
        lines = [
            "version = 2",
            f"root = {quote(str(self.root_dir))}",
            f"state = {quote(str(self.state_dir / 'state'))}",
            f"disabled_plugins = {quote(disabled)}",
            "",
            "[debug]",
            f"  level = {quote(self.log_level)}",
            "",
            "[grpc]",
            f"  address = {quote(str(self.socket_path))}",
            "",
            f"[plugins.{cri}]",
            f"  sandbox_image = {quote(self.sandbox_image)}",
            '  stream_server_address = "127.0.0.1"',
            '  stream_server_port = "0"',
            "  netns_mounts_under_state_dir = true",
            f"  restrict_oom_score_adj = {quote(not capabilities.negative_oom_score)}",
            "  tolerate_missing_hugetlb_controller = true",
            "  enable_unprivileged_ports = true",
            "  enable_unprivileged_icmp = true",
            # Sizes of writable layers; each round walks every layer.
            "  stats_collect_period = 30",
            "",
            f"[plugins.{cri}.cni]",
            f"  bin_dir = {quote(str(self.cni_bin_dir))}",
            f"  conf_dir = {quote(str(self.cni_conf_dir))}",
            "  max_conf_num = 1",
            "",
            f"[plugins.{cri}.containerd]",
            f"  snapshotter = {quote(snapshotter(capabilities))}",
            '  default_runtime_name = "runc"',
            "  discard_unpacked_layers = false",
            "",
            f"[plugins.{cri}.containerd.runtimes.runc]",
            '  runtime_type = "io.containerd.runc.v2"',
            "",
            f"[plugins.{cri}.containerd.runtimes.runc.options]",
            "  SystemdCgroup = false",
            f"  Root = {quote(str(self.state_dir / 'runc'))}",
            "",
            f"[plugins.{cri}.registry]",
            f"  config_path = {quote(str(self.registry_dir))}",
        ]
        return "\n".join(lines) + "\n"


def snapshotter(capabilities: Capabilities) -> str:
    return "overlayfs" if capabilities.overlayfs else "native"


def write_registry_host(
    registry_dir: Path, host: str, *, endpoints: Sequence[str], server: str = "", skip_verify: bool = False
) -> None:
    """Says where images of registry `host` (``docker.io``, ``10.0.0.1:5000``) are pulled from: `endpoints` are URLs
    tried in turn, ``http://`` ones without TLS; `server` is the URL after them, by default the registry itself."""
    directory = registry_dir / host
    directory.mkdir(parents=True, exist_ok=True)
    lines = [f"server = {json.dumps(server)}"] if server else []
    for endpoint in endpoints:
        lines += [f"[host.{json.dumps(endpoint)}]", '  capabilities = ["pull", "resolve"]']
        if skip_verify:
            lines.append("  skip_verify = true")
    _write(directory / "hosts.toml", "\n".join(lines) + "\n")


def _write(path: Path, content: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(content)
    os.replace(partial, path)


# --- the process


@dataclass(frozen=True, slots=True)
class _Record:
    """What is written down of a containerd, for a later supervisor to know it by."""

    pid: int
    start_ticks: int
    """With the pid, this tells the process from a later one with the same number."""
    network_namespace: int
    """The inode."""

    @classmethod
    def read(cls, path: Path) -> _Record | None:
        try:
            return cls(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, path: Path) -> None:
        _write(path, json.dumps({name: getattr(self, name) for name in self.__slots__}))

    @property
    def is_running(self) -> bool:
        return _start_ticks(self.pid) == self.start_ticks

    @property
    def is_in_its_namespace(self) -> bool:
        try:
            return os.stat(f"/proc/{self.pid}/ns/net").st_ino == self.network_namespace
        except OSError:
            return False


def _start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since the machine did; None where it is not (or no longer) there."""
    try:
        # The second field, the program's name in parentheses, may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in ("Z", "X") else int(fields[19])
    except (OSError, IndexError):
        return None


class _Process:
    """A containerd, our child or adopted, watched through a pidfd."""

    def __init__(self, pid: int, child: subprocess.Popen[bytes] | None) -> None:
        self.pid = pid
        self._child = child
        self._pidfd = os.pidfd_open(pid)
        self._ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._pidfd, self._on_end)

    def _on_end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        if self._child is not None:
            self._child.wait()
        self._ended.set()

    @property
    def has_ended(self) -> bool:
        return self._ended.is_set()

    @property
    def outcome(self) -> str:
        code = None if self._child is None else self._child.returncode
        if code is None:
            return "ended"
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"

    async def ended(self) -> None:
        await self._ended.wait()

    def signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    async def terminate(self, grace_seconds: float) -> None:
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace_seconds):
                await self.ended()
        except TimeoutError:
            log.warning("containerd does not stop, killing it", pid=self.pid, after_s=grace_seconds)
            self.signal(signal.SIGKILL)
            await self.ended()

    def release(self) -> None:
        """Stops watching; the process goes on."""
        if not self._ended.is_set():
            asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        if self._child is not None and self._child.returncode is None:
            # It outlives us by design: Popen must not complain.
            self._child.returncode = 0


class _ReadyNotice:
    """containerd tells its service manager that it serves; here we are that manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(str(path))
        self.ready = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._socket, self._on_message)

    def _on_message(self) -> None:
        with contextlib.suppress(BlockingIOError):
            if b"READY=1" in self._socket.recv(4096).split(b"\n"):
                self.ready.set()

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        self.path.unlink(missing_ok=True)


class ContainerdSupervisor:
    """Keeps one containerd running. See the module for its lifecycle.

    `network_namespace` is a namespace's path to start containerd in instead of our own; `cgroup_directories` are
    cgroup directories (one a hierarchy) to put it into instead of our own.
    """

    def __init__(
        self,
        config: ContainerdConfig,
        *,
        network_namespace: str = "",
        cgroup_directories: Sequence[Path] = (),
        program: str = "containerd",
    ) -> None:
        self.config = config
        self.restarts = 0
        self._network_namespace = network_namespace
        self._cgroup_directories = tuple(cgroup_directories)
        self._program = program
        self._process: _Process | None = None
        self._lock: int | None = None
        self._capabilities: Capabilities | None = None
        self._running_since = 0.0

    @property
    def socket_path(self) -> Path:
        return self.config.socket_path

    @property
    def log_path(self) -> Path:
        return self.config.state_dir / "containerd.log"

    @property
    def pid(self) -> int:
        """containerd's process, 0 where it does not run."""
        return 0 if self._process is None or self._process.has_ended else self._process.pid

    @property
    def snapshotter(self) -> str:
        assert self._capabilities is not None, "not started"
        return snapshotter(self._capabilities)

    # --- start and stop

    async def start(self, deadline_seconds: float = START_DEADLINE_SECONDS) -> None:
        """Returns when containerd's CRI answers and the sandbox image is there. Raises `ContainerdError`; then
        nothing of this supervisor's making is left running."""
        if len(f"{self.socket_path}.ttrpc") > _SOCKET_PATH_LIMIT_BYTES:
            raise ContainerdError(f"the path is too long for a socket: {self.socket_path}")
        for directory in (
            self.config.root_dir,
            self.config.state_dir,
            self.config.cni_conf_dir,
            self.config.registry_dir,
        ):
            directory.mkdir(parents=True, exist_ok=True)
        self._take_lock()
        try:
            self._capabilities = await asyncio.to_thread(probe, self.config.root_dir)
            changed = self._write_config()
            async with asyncio.timeout(deadline_seconds):
                if not await self._adopt(config_changed=changed):
                    await self._spawn()
            await self._ensure_sandbox_image()
        except TimeoutError:
            await self._give_up()
            raise ContainerdError(f"containerd was not ready within {deadline_seconds:g} s{self._tail()}") from None
        except BaseException:
            await self._give_up()
            raise

    async def run(self) -> None:
        """Starts containerd again whenever it ends, with back-off, until cancelled; containerd then goes on."""
        pause = _RESTART_MIN_SECONDS
        while True:
            if self._process is not None:
                await self._process.ended()
                lived = time.monotonic() - self._running_since
                log.error("containerd ended", outcome=self._process.outcome, tail=self._tail().strip())
                self._process.release()
                self._process = None
                if lived >= _STABLE_AFTER_SECONDS:
                    pause = _RESTART_MIN_SECONDS
            await asyncio.sleep(pause)
            pause = min(pause * 2, _RESTART_MAX_SECONDS)
            self.restarts += 1
            try:
                async with asyncio.timeout(START_DEADLINE_SECONDS):
                    await self._spawn()
                log.info("containerd is back", pid=self.pid, restarts=self.restarts)
            except (TimeoutError, ContainerdError, OSError) as error:
                log.error("containerd does not start", error=str(error) or "time-out", retry_s=pause)
                await self._end_process()

    async def stop(self, grace_seconds: float = STOP_GRACE_SECONDS) -> None:
        """Ends containerd; containers go on. Cancel `run` first."""
        if self._process is not None:
            await self._process.terminate(grace_seconds)
            self._process.release()
            self._process = None
        self._pid_path.unlink(missing_ok=True)
        self.socket_path.unlink(missing_ok=True)
        self._drop_lock()

    def detach(self) -> None:
        """Lets go of containerd, which goes on for a later supervisor to adopt. Cancel `run` first."""
        if self._process is not None:
            self._process.release()
            self._process = None
        self._drop_lock()

    async def _give_up(self) -> None:
        await self._end_process()
        self._drop_lock()

    async def _end_process(self) -> None:
        if self._process is not None:
            await self._process.terminate(STOP_GRACE_SECONDS)
            self._process.release()
            self._process = None

    # --- its parts

    @property
    def _pid_path(self) -> Path:
        return self.config.state_dir / "containerd.pid"

    def _take_lock(self) -> None:
        descriptor = os.open(self.config.state_dir / "supervisor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise ContainerdError(f"another supervisor owns {self.config.state_dir}") from None
        self._lock = descriptor

    def _drop_lock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _write_config(self) -> bool:
        assert self._capabilities is not None
        path = self.config.state_dir / "config.toml"
        content = self.config.render(self._capabilities)
        if path.exists() and path.read_text() == content:
            return False
        _write(path, content)
        return True

    async def _adopt(self, *, config_changed: bool) -> bool:
        """Takes over a containerd of our directories that still runs as we would start it; ends one that does not."""
        recorded = _Record.read(self._pid_path)
        if recorded is None or not recorded.is_running:
            return False
        self._process = _Process(recorded.pid, None)
        self._running_since = time.monotonic()
        if (
            not config_changed
            and recorded.network_namespace == self._wanted_namespace()
            and recorded.is_in_its_namespace
        ):
            try:
                await self._wait_for_cri()
                log.info("adopted containerd", pid=recorded.pid)
                return True
            except ContainerdError as error:
                log.warning("the running containerd is of no use", pid=recorded.pid, error=str(error))
        await self._end_process()
        return False

    def _wanted_namespace(self) -> int:
        return os.stat(self._network_namespace or "/proc/self/ns/net").st_ino

    async def _spawn(self) -> None:
        """Starts containerd and waits until its CRI answers."""
        program = shutil.which(self._program, path=_PATH)
        if program is None:
            raise ContainerdError(f"{self._program} is not installed: install the package containerd")
        self.socket_path.unlink(missing_ok=True)
        if self.log_path.exists() and self.log_path.stat().st_size > _LOG_LIMIT_BYTES:
            os.replace(self.log_path, self.log_path.with_suffix(".log.1"))
        command = [program, "--config", str(self.config.state_dir / "config.toml")]
        if self._network_namespace:
            command = ["nsenter", f"--net={self._network_namespace}", "--", *command]
        notice = _ReadyNotice(self.config.state_dir / "notify.sock")
        try:
            child = self._launch(command, {"NOTIFY_SOCKET": str(notice.path)})
            self._process = _Process(child.pid, child)
            self._running_since = time.monotonic()
            # Before anything can interrupt this: from here on a later supervisor must find it.
            _Record(child.pid, _start_ticks(child.pid) or 0, self._wanted_namespace()).write(self._pid_path)
            for directory in self._cgroup_directories:
                (directory / "cgroup.procs").write_text(str(child.pid))
            await self._unless_it_ends(notice.ready.wait())
        finally:
            notice.close()
        await self._wait_for_cri()

    def _launch(self, command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Forks in the calling thread, whose network namespace the child gets."""
        with self.log_path.open("ab") as output:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env={**os.environ, "PATH": _PATH, **environment},
            )

    async def _unless_it_ends(self, waiting: Coroutine[Any, Any, Any]) -> None:
        assert self._process is not None
        task = asyncio.ensure_future(waiting)
        end = asyncio.ensure_future(self._process.ended())
        try:
            await asyncio.wait({task, end}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise ContainerdError(f"containerd {self._process.outcome} at start{self._tail()}")
            task.result()
        finally:
            task.cancel()
            end.cancel()

    async def _wait_for_cri(self) -> None:
        await self._unless_it_ends(self._ask_cri())

    async def _ask_cri(self) -> None:
        """CRI refuses calls until it has looked at its containers, which follows containerd's own readiness at
        once; there is no event for it, so ask a few times. Ends with the caller's deadline."""
        runtime = CRIRuntime(str(self.socket_path))
        pause = 0.005
        try:
            while True:
                try:
                    await runtime.conditions()
                    return
                except RuntimeFailure as error:
                    log.debug("CRI is not ready", error=str(error))
                await asyncio.sleep(pause)
                pause = min(pause * 2, 0.5)
        finally:
            await runtime.close()

    def _tail(self) -> str:
        """The end of containerd's log, errors before other lines; with a colon before it, or empty."""
        try:
            with self.log_path.open("rb") as file:
                file.seek(max(0, self.log_path.stat().st_size - _TAIL_BYTES))
                lines = file.read().decode(errors="replace").splitlines()
        except OSError:
            return ""
        telling = [line for line in lines if "level=error" in line or "level=fatal" in line] or lines
        return ":\n" + "\n".join(telling[-_TAIL_LINES:]) if telling else ""

    # --- images

    async def _ensure_sandbox_image(self) -> None:
        runtime = CRIRuntime(str(self.socket_path))
        try:
            if self.config.sandbox_image != PAUSE_IMAGE or await runtime.image_status(PAUSE_IMAGE) is not None:
                return
        except RuntimeFailure as error:
            raise ContainerdError(f"looking for the sandbox image: {error}") from error
        finally:
            await runtime.close()
        archive = self.config.root_dir / "pause.tar"
        await asyncio.to_thread(build_pause_image, archive)
        await self.import_image(archive)

    async def import_image(self, archive: Path, names: Sequence[str] = ()) -> list[str]:
        """See the function of the same name."""
        return await import_image(self.socket_path, archive, names=names, snapshotter=self.snapshotter)


def build_pause_image(path: Path, *, program: Path = Path("/usr/bin/catatonit")) -> None:
    """The image of every pod's first container, from Debian's catatonit, whose pause mode reaps orphans and ends at
    once when asked to. Raises `ContainerdError` where that is not installed."""
    if not program.exists():
        raise ContainerdError(f"{program} does not exist: install the package catatonit")
    layer = oci.Layer()
    layer.add_file("/pause", program, mode=0o755)
    oci.write_archive(path, [PAUSE_IMAGE], oci.ImageConfig(entrypoint=["/pause", "-P"], user="65535:65535"), [layer])


async def import_image(
    socket_path: Path,
    archive: Path,
    *,
    names: Sequence[str] = (),
    snapshotter: str = "overlayfs",
    deadline_seconds: float = _IMPORT_DEADLINE_SECONDS,
) -> list[str]:
    """Imports an image archive (OCI's or Docker's kind) and unpacks it, so that pods may name it; returns the images'
    whole names when CRI knows them. `names` are further names for an archive of one image, and the only ones for an
    archive that names none. Raises `ContainerdError`. Cancelled, it may have imported."""
    try:
        stated = await asyncio.to_thread(oci.archive_names, archive)
        wanted = [oci.normalize_name(name) for name in names]
    except (oci.ArchiveError, ValueError) as error:
        raise ContainerdError(str(error)) from error
    everything = list(dict.fromkeys([*stated.names, *wanted]))
    if not everything:
        raise ContainerdError(f"{archive} names no image: say which name it is to have")
    try:
        async with asyncio.timeout(deadline_seconds):
            if stated.complete and not wanted:
                await _import(socket_path, archive, snapshotter)
            else:
                # ctr would make up names, and CRI would remember them after they are gone.
                with tempfile.TemporaryDirectory(prefix="import-", dir=socket_path.parent) as directory:
                    renamed = Path(directory) / "image.tar"
                    await asyncio.to_thread(oci.rename_archive, archive, renamed, everything)
                    await _import(socket_path, renamed, snapshotter)
            await _until_known(socket_path, everything)
            return everything
    except oci.ArchiveError as error:
        raise ContainerdError(str(error)) from error
    except TimeoutError:
        raise ContainerdError(f"importing {archive} took longer than {deadline_seconds:g} s") from None


async def _import(socket_path: Path, archive: Path, snapshotter: str) -> None:
    await _ctr(socket_path, "images", "import", "--snapshotter", snapshotter, str(archive))


async def _ctr(socket_path: Path, *arguments: str) -> str:
    program = shutil.which("ctr", path=_PATH)
    if program is None:
        raise ContainerdError("ctr is not installed: it comes with the package containerd")
    process = await asyncio.create_subprocess_exec(
        program, "--address", str(socket_path), "--namespace", "k8s.io", *arguments,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        output, errors = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode != 0:
        message = errors.decode(errors="replace").strip().removeprefix("ctr: ")
        raise ContainerdError(f"ctr {' '.join(arguments[:2])}: {message}")
    return output.decode(errors="replace")


async def _until_known(socket_path: Path, names: Sequence[str]) -> None:
    """CRI learns of an image from containerd's event, a moment after the import; no event tells that it has."""
    runtime = CRIRuntime(str(socket_path))
    try:
        for name in names:
            pause = 0.002
            while await runtime.image_status(name) is None:
                await asyncio.sleep(pause)
                pause = min(pause * 2, 0.5)
    except RuntimeFailure as error:
        raise ContainerdError(f"looking for an imported image: {error}") from error
    finally:
        await runtime.close()


async def remove_all_sandboxes(runtime: CRIRuntime) -> None:
    """Ends and removes every pod of a runtime, all at once: a node that is taken down. Raises `RuntimeFailure`."""

    async def remove(sandbox_id: str) -> None:
        await runtime.stop_sandbox(sandbox_id)
        await runtime.remove_sandbox(sandbox_id)

    async with asyncio.TaskGroup() as group:
        for sandbox in await runtime.list_sandboxes():
            group.create_task(remove(sandbox.id))
