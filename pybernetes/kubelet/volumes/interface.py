"""What a volume plugin is, and what it is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from pybernetes.api.meta import Object
from pybernetes.kubelet.downward import PodFacts
from pybernetes.kubelet.objects import SharedObjects


class VolumeError(Exception):
    """A volume cannot be set up; the text follows ``MountVolume.SetUp failed for volume "x" : ``."""


@dataclass(frozen=True, slots=True)
class VolumeRequest:
    """One volume of one pod. `directory` is the volume's own place below the pod's directory; it may not exist."""

    pod: Object
    volume: Object
    directory: Path
    facts: PodFacts

    @property
    def name(self) -> str:
        return str(self.volume["name"])

    @property
    def fs_group(self) -> int | None:
        value = ((self.pod.get("spec") or {}).get("securityContext") or {}).get("fsGroup")
        return int(value) if value is not None else None


@dataclass(frozen=True, slots=True)
class Mounted:
    """A volume that is there: its path on the node, and whether nobody may write to it."""

    path: Path
    read_only: bool = False


class VolumePlugin(Protocol):
    """One kind of volume. `set_up` is idempotent: for a `live` plugin it is called again whenever something that the
    volume shows may have changed."""

    name: ClassVar[str]
    """As it appears in paths: ``kubernetes.io~configmap``."""
    live: ClassVar[bool]

    async def set_up(self, request: VolumeRequest) -> Mounted:
        """Raises `VolumeError`, and API errors where the server cannot be asked."""
        ...

    async def tear_down(self, directory: Path) -> None:
        """Undoes what `set_up` did at the directory, and removes it. Raises `VolumeError`."""
        ...

    def renew_at(self, request: VolumeRequest) -> float | None:
        """When the content must be made anew whatever happens (tokens), in seconds since the epoch."""
        ...


@dataclass(frozen=True, slots=True)
class PluginContext:
    """What plugins share."""

    objects: SharedObjects
    tokens: TokenSource
    claims: ClaimSource
    now: Callable[[], float]


class TokenSource(Protocol):
    async def token(self, pod: Object, audience: str, expiration_seconds: int) -> str:
        """A service account token bound to the pod; cached until 80% of its life has passed."""
        ...

    def renew_at(self, pod: Object, audience: str, expiration_seconds: int) -> float | None: ...


class ClaimSource(Protocol):
    async def volume_of(self, namespace: str, claim: str) -> tuple[Object, Object]:
        """(claim, persistent volume) of a bound claim. Raises `VolumeError`."""
        ...
