"""Everything that can go wrong with a cluster on this machine, each with what to do about it.

The command line prints `str(error)` and `hint`, and exits with `exit_code`; nobody sees a traceback for one of these.
Exit codes: 1 something failed, 2 wrong use, 3 the machine lacks something, 4 the cluster is in the wrong state,
5 a wait ended without success.
"""

from __future__ import annotations


class ClusterError(Exception):
    """The root of the tree: a message for people, and a hint that says what to do next."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class BadArgument(ClusterError):
    exit_code = 2


class NotRoot(ClusterError):
    exit_code = 3

    def __init__(self) -> None:
        super().__init__(
            "p8s needs root: it makes network namespaces, cgroups and mounts",
            hint="run it with sudo, as in: sudo p8s up",
        )


class ProgramMissing(ClusterError):
    """Programs that are not on the PATH; `packages` are the Debian packages that bring them."""

    exit_code = 3

    def __init__(self, programs: list[str], packages: list[str]) -> None:
        super().__init__(f"missing on this machine: {', '.join(programs)}")
        self.hint = f"install the packages: apt-get install {' '.join(packages)}"


class KernelFeatureMissing(ClusterError):
    exit_code = 3

    def __init__(self, feature: str, *, module: str = "", detail: str = "") -> None:
        super().__init__(f"the kernel does not offer {feature}" + (f" ({detail})" if detail else ""))
        self.hint = (
            f"load the module: modprobe {module}; where that fails, this kernel was built without it"
            if module
            else "a kernel with this feature is needed"
        )


class PortTaken(ClusterError):
    exit_code = 3

    def __init__(self, address: str, port: int, *, option: str = "--port") -> None:
        super().__init__(f"port {port} on {address} is taken")
        self.port = port
        self.hint = f"choose another with {option}, or leave {option} out and the next free one is used"


class UnknownCluster(ClusterError):
    exit_code = 4

    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(f'there is no cluster "{name}"')
        self.hint = (
            f"clusters here: {', '.join(known)}; choose one with --name"
            if known
            else "start one with: p8s up" + ("" if name == "default" else f" --name {name}")
        )


class UnknownNode(ClusterError):
    exit_code = 4

    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(f'the cluster has no node "{name}"')
        self.hint = f"there are: {', '.join(known)}"


class ClusterBusy(ClusterError):
    """Another `up` or `down` of the same cluster is at work."""

    exit_code = 4

    def __init__(self, name: str) -> None:
        super().__init__(f'another p8s command is changing the cluster "{name}"')
        self.hint = "wait until it has ended, then try again"


class ClusterDiffers(ClusterError):
    """`up` asks for another cluster than the one that exists under this name."""

    exit_code = 4


class ProcessDied(ClusterError):
    """A component ended while its readiness was awaited; the message carries the end of its log."""

    def __init__(self, name: str, log_file: str, tail: str) -> None:
        super().__init__(f"{name} ended while it was starting" + (f"; the end of its log:\n{tail}" if tail else ""))
        self.hint = f"the whole log: {log_file}"


class NotReadyInTime(ClusterError):
    exit_code = 5


class CommandFailed(ClusterError):
    """A program that was called for an effect failed; the message carries what it said."""
