"""Network namespaces: making, entering and removing named ones, and sockets that live in them.

A socket stays in the namespace it was made in, so one process can listen in several. Entering a namespace concerns
the calling thread only, and only for the duration of a `with entered(...)` block, in which nothing may be awaited.
Netlink work inside a namespace goes through `NamespaceThread`, a thread that stays there for good.

Names are entries of /run/netns, the same that ``ip netns`` shows.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from pybernetes.cluster.errors import KernelFeatureMissing

DIRECTORY = Path("/run/netns")

_CLONE_NEWNET = 0x40000000
_MS_BIND = 0x1000
_MS_REC = 0x4000
_MS_SHARED = 0x100000
_MNT_DETACH = 2

P = ParamSpec("P")
T = TypeVar("T")

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def path_of(name: str) -> Path:
    return DIRECTORY / name


def exists(name: str) -> bool:
    """Whether the name stands for a live namespace (a plain file that a crash left behind does not)."""
    try:
        return os.stat(path_of(name)).st_dev == os.stat("/proc/self/ns/net").st_dev
    except FileNotFoundError:
        return False


def create(name: str) -> None:
    """Makes a named namespace with its loopback interface still down; one that exists already is left as it is."""
    target = path_of(name)

    def make() -> None:
        _check(_libc.unshare(_CLONE_NEWNET), "unshare")
        _check(_libc.mount(b"/proc/thread-self/ns/net", os.fsencode(target), b"none", _MS_BIND, None), "mount")

    with _directory_locked():
        if exists(name):
            return
        DIRECTORY.mkdir(parents=True, exist_ok=True)
        _share_directory()
        target.unlink(missing_ok=True)
        target.touch(mode=0o444)
        try:
            _in_fresh_thread(make)
        except OSError as error:
            target.unlink(missing_ok=True)
            _unshare_directory()
            if error.errno in (errno.EINVAL, errno.ENOSYS):
                raise KernelFeatureMissing("network namespaces", detail=str(error)) from error
            raise


def remove(name: str) -> None:
    """Takes the name away; the kernel ends the namespace when the last process and socket in it are gone."""
    target = path_of(name)
    encoded = os.fsencode(target)
    with _directory_locked():
        # A crash between two commands can have mounted it twice; umount fails with EINVAL when nothing is mounted.
        while _libc.umount2(encoded, _MNT_DETACH) == 0:
            pass
        target.unlink(missing_ok=True)
        _unshare_directory()


@contextlib.contextmanager
def _directory_locked() -> Iterator[None]:
    """One p8s at a time changes what is mounted there."""
    lock = os.open(DIRECTORY.parent, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _share_directory() -> None:
    """Mounts the directory on itself, shared, as ``ip netns add`` does. Were it to do that after us, it would cover our
    names with copies, and nobody could take them away any more."""
    directory = os.fsencode(DIRECTORY)
    if _libc.mount(b"", directory, b"none", _MS_SHARED | _MS_REC, None) == 0:
        return
    _check(_libc.mount(directory, directory, b"none", _MS_BIND | _MS_REC, None), f"mount {DIRECTORY}")
    _check(_libc.mount(b"", directory, b"none", _MS_SHARED | _MS_REC, None), f"mount {DIRECTORY}")


def _unshare_directory() -> None:
    """Takes that mount away with the last name in it. Where somebody is about to add one, it stays."""
    if DIRECTORY.exists() and not any(DIRECTORY.iterdir()):
        _libc.umount2(os.fsencode(DIRECTORY), 0)


def names() -> list[str]:
    try:
        return sorted(entry.name for entry in DIRECTORY.iterdir())
    except FileNotFoundError:
        return []


def _in_fresh_thread(function: Callable[[], T]) -> T:
    """Runs a function in a thread of its own, which ends with it: whatever namespace it entered stays there."""
    outcome: list[T] = []
    failure: list[BaseException] = []

    def body() -> None:
        try:
            outcome.append(function())
        except BaseException as error:  # noqa: BLE001 - handed to the caller below
            failure.append(error)

    thread = threading.Thread(target=body, name="netns")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]


class Namespace:
    """An open network namespace. Usable from any thread; close it when nothing will enter it any more."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._fd = os.open(path_of(name), os.O_RDONLY | os.O_CLOEXEC)
        # The namespace that the process itself lives in, to come back to.
        self._home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        for fd in (self._fd, self._home):
            with contextlib.suppress(OSError):
                os.close(fd)

    def fileno(self) -> int:
        return self._fd

    def enter(self) -> None:
        """Moves the calling thread here, for good."""
        _check(_libc.setns(self._fd, _CLONE_NEWNET), f"setns {self.name}")

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """The calling thread is here inside the block. Never await in it: other tasks would be here too."""
        self.enter()
        try:
            yield
        finally:
            if _libc.setns(self._home, _CLONE_NEWNET) != 0:
                # A thread that cannot go home would make all its later sockets in the wrong network.
                os.abort()

    def new_socket(
        self,
        family: socket.AddressFamily | int = socket.AF_INET,
        kind: socket.SocketKind | int = socket.SOCK_STREAM,
        proto: int = 0,
    ) -> socket.socket:
        """An unbound, unconnected socket of this namespace (about 15 µs)."""
        with self.entered():
            return socket.socket(family, kind, proto)

    def socket_factory(self, address_info: tuple[Any, ...]) -> socket.socket:
        """`new_socket` in the form that aiohttp's TCPConnector takes as its `socket_factory`; non-blocking."""
        family, kind, proto = address_info[0], address_info[1], address_info[2]
        made = self.new_socket(family, kind, proto)
        made.setblocking(False)
        return made

    def listen(self, host: str, port: int, *, backlog: int = 1024) -> socket.socket:
        """A listening TCP socket of this namespace."""
        made = self.new_socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((host, port))
            made.listen(backlog)
        except BaseException:
            made.close()
            raise
        return made


class NamespaceThread:
    """One thread that lives in a namespace and runs what it is given, in order. `namespace` None is the process's
    own. For synchronous netlink calls next to an event loop. Calls queue without bound: await each one's result."""

    def __init__(self, namespace: Namespace | None) -> None:
        self._pool = ThreadPoolExecutor(
            max_workers=1,
            thread_name_prefix=f"netns-{namespace.name if namespace else 'host'}",
            initializer=namespace.enter if namespace else None,
        )

    def submit(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        return self._pool.submit(function, *args, **kwargs)

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return self.submit(function, *args, **kwargs).result()

    def close(self) -> None:
        """Waits for what is running."""
        self._pool.shutdown(wait=True)

    def __enter__(self) -> NamespaceThread:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
