"""Making sockets in another network namespace: a socket stays where it was made, whoever uses it."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def run_inside(namespace: str, make: Callable[[], T]) -> T:
    """Calls `make` in the network namespace at the path `namespace`, in a thread that ends with it; in the calling
    thread where the path is empty. Blocks meanwhile; raises what `make` raises, or `OSError`."""
    if not namespace:
        return make()
    outcome: list[T] = []
    failure: list[BaseException] = []

    def work() -> None:
        try:
            descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
                    code = ctypes.get_errno()
                    raise OSError(code, f"setns {namespace}: {os.strerror(code)}")
            finally:
                os.close(descriptor)
            outcome.append(make())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            failure.append(error)

    thread = threading.Thread(target=work, name="setns")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]
