"""Images for containers: names, pull policy, pulls in the background, back-off and pull secrets.

`ImageManager.ensure` never waits for a registry: it says `Ready`, `Pulling` or `Unavailable`, and a pull that ends
wakes the pod's worker. Pulls run a few at a time, one for each image and pod. Texts are upstream's
(``pkg/kubelet/images``).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import orjson
import structlog

from pybernetes.api.meta import Object, uid_of
from pybernetes.client.events import NORMAL, WARNING, EventRecorder
from pybernetes.kubelet.backoff import BackOff
from pybernetes.kubelet.config import KubeletConfig
from pybernetes.kubelet.identity import container_reference
from pybernetes.kubelet.runtime import ContainerRuntime, ImageStatus, RegistryAuth, RuntimeFailure, SandboxConfig
from pybernetes.lib.clock import Clock
from pybernetes.lib.tasks import TaskSet

log = structlog.get_logger(__name__)

_FAILURE_SHOWN_SECONDS = 5.0
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[a-fA-F0-9:]+\])"
_REFERENCE = re.compile(
    rf"^(?P<name>(?:{_HOST}(?::[0-9]+)?/)?{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>[\w][\w.-]{0,127}))?"
    r"(?:@(?P<digest>[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?$",
    re.ASCII,
)


class InvalidImageName(ValueError):
    """The image's name is no reference."""


def with_default_tag(image: str) -> str:
    """The reference with ``:latest`` where it has neither tag nor digest. Raises `InvalidImageName`."""
    match = _REFERENCE.match(image)
    if match is None:
        if _REFERENCE.match(image.lower()):
            raise InvalidImageName(
                f'couldn\'t parse image name "{image}": invalid reference format: repository name '
                f"({image.rpartition(':')[0] or image}) must be lowercase"
            )
        raise InvalidImageName(f'couldn\'t parse image name "{image}": invalid reference format')
    return image if match["tag"] or match["digest"] else f"{image}:latest"


def registry_of(image: str) -> str:
    """The registry a reference is pulled from, as keys of docker configurations name it."""
    first, slash, _ = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return first
    return "docker.io"


def credentials_for(image: str, secrets: Sequence[Object]) -> list[RegistryAuth]:
    """The credentials that pull secrets hold for an image, longest matching key first. Sources:
    ``kubernetes.io/dockerconfigjson`` and ``kubernetes.io/dockercfg``."""
    found: list[tuple[int, RegistryAuth]] = []
    registry = registry_of(image)
    repository = image if "/" in image and registry != "docker.io" else f"docker.io/{image}"
    for secret in secrets:
        for key, entry in _entries(secret):
            pattern = re.sub(r"^https?://", "", key).rstrip("/")
            pattern = re.sub(r"/(v1|v2)$", "", pattern)
            if pattern in ("index.docker.io", "registry-1.docker.io"):
                pattern = "docker.io"
            host, _, path = pattern.partition("/")
            if not _host_matches(host, registry):
                continue
            rest = repository.partition("/")[2]
            if path and not (rest == path or rest.startswith((path + "/", path + ":", path + "@"))):
                continue
            found.append((len(pattern), _auth(entry, registry)))
    found.sort(key=lambda item: -item[0])
    return [auth for _, auth in found]


def _entries(secret: Object) -> list[tuple[str, Object]]:
    data = secret.get("data") or {}
    kind = secret.get("type")
    try:
        if kind == "kubernetes.io/dockerconfigjson":
            document = orjson.loads(base64.b64decode(data.get(".dockerconfigjson") or ""))
            auths = document.get("auths")
        elif kind == "kubernetes.io/dockercfg":
            auths = orjson.loads(base64.b64decode(data.get(".dockercfg") or ""))
        else:
            return []
    except (ValueError, binascii.Error, AttributeError):
        log.warning("a pull secret cannot be read", secret=(secret.get("metadata") or {}).get("name"))
        return []
    return [(k, v) for k, v in auths.items() if isinstance(v, dict)] if isinstance(auths, dict) else []


def _host_matches(pattern: str, registry: str) -> bool:
    host_p, _, port_p = pattern.partition(":")
    host_r, _, port_r = registry.partition(":")
    if port_p != port_r:
        return False
    parts_p, parts_r = host_p.split("."), host_r.split(".")
    return len(parts_p) == len(parts_r) and all(
        re.fullmatch(re.escape(p).replace(r"\*", ".*"), r) for p, r in zip(parts_p, parts_r, strict=True)
    )


def _auth(entry: Object, registry: str) -> RegistryAuth:
    username, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if not username and entry.get("auth"):
        try:
            username, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
        except (ValueError, binascii.Error):
            log.warning("a pull secret's auth cannot be read", registry=registry)
    return RegistryAuth(
        username=username,
        password=password,
        server_address=registry,
        identity_token=str(entry.get("identitytoken") or ""),
        registry_token=str(entry.get("registrytoken") or ""),
    )


@dataclass(frozen=True, slots=True)
class Ready:
    """The image is on the node; `ref` is its id."""

    ref: str
    status: ImageStatus


@dataclass(frozen=True, slots=True)
class Pulling:
    """A pull is under way; the worker will be woken."""


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The container must wait: with this reason and message, until the time where one is known."""

    reason: str
    message: str
    until: float | None


@dataclass(slots=True)
class _Pull:
    task: asyncio.Task[None]
    failed: tuple[str, str] | None = None
    done: bool = False


class ImageManager:
    """Every pod's images. One event loop owns it."""

    def __init__(self, runtime: ContainerRuntime, config: KubeletConfig, recorder: EventRecorder, clock: Clock) -> None:
        self._runtime = runtime
        self._recorder = recorder
        self._clock = clock
        self._backoff: BackOff[tuple[str, str]] = BackOff(
            config.image_backoff_initial_seconds, config.image_backoff_max_seconds
        )
        self._pulls: dict[tuple[str, str, str], _Pull] = {}
        self._failed_at: dict[tuple[str, str], tuple[float, str]] = {}
        # Pulled for a container that has not started since: not to be pulled again for it (policy Always).
        self._fresh: set[tuple[str, str, str]] = set()
        self._slots = asyncio.Semaphore(config.image_pulls_at_once)
        self._tasks = TaskSet("images")

    async def close(self) -> None:
        await self._tasks.cancel()

    def forget(self, uid: str) -> None:
        """Drops what is remembered of a pod; a pull of its goes on, for the next pod that wants the image."""
        for failed in [k for k in self._failed_at if k[0] == uid]:
            del self._failed_at[failed]
        for pulled in [k for k in self._pulls if k[0] == uid]:
            del self._pulls[pulled]
        self._fresh = {k for k in self._fresh if k[0] != uid}
        self._backoff.forget_where(uid)

    async def ensure(
        self,
        pod: Object,
        container: Object,
        sandbox: SandboxConfig,
        secrets: Callable[[], Awaitable[Sequence[Object]]],
        wake: Callable[[], None],
    ) -> Ready | Pulling | Unavailable:
        """The state of the container's image; starts a pull where the policy asks for one. `secrets` reads the
        pod's pull secrets."""
        uid, name, asked = uid_of(pod), container["name"], container.get("image") or ""
        about = container_reference(pod, name)
        try:
            image = with_default_tag(asked)
        except InvalidImageName as error:
            message = f'Failed to apply default image tag "{asked}": {error}'
            self._recorder.event(about, WARNING, "InspectFailed", message)
            return Unavailable("InvalidImageName", message, self._retry_at(uid, asked))
        key = (uid, name, image)
        pull = self._pulls.get(key)
        if pull is not None:
            if not pull.done:
                return Pulling()
            del self._pulls[key]
            if pull.failed is not None:
                reason, message = pull.failed
                # The failure shows for a while before the back-off does.
                shown = min(self._backoff.delay((uid, image)) / 4, _FAILURE_SHOWN_SECONDS)
                return Unavailable(reason, message, self._clock.now() + shown)
            self._fresh.add(key)

        try:
            status = await self._runtime.image_status(image)
        except RuntimeFailure as failure:
            message = f'Failed to inspect image "{asked}": {failure}'
            self._recorder.event(about, WARNING, "InspectFailed", message)
            return Unavailable("ImageInspectError", message, self._retry_at(uid, image))
        policy = container.get("imagePullPolicy") or "IfNotPresent"
        if status is not None and (policy != "Always" or key in self._fresh):
            if key not in self._fresh:
                self._recorder.event(
                    about,
                    NORMAL,
                    "Pulled",
                    f'Container image "{asked}" already present on machine and can be accessed by the pod',
                )
            self._fresh.discard(key)
            return Ready(status.id, status)
        if policy == "Never":
            message = f'Container image "{asked}" is not present with pull policy of Never'
            self._recorder.event(about, WARNING, "ErrImageNeverPull", message)
            return Unavailable("ErrImageNeverPull", message, self._retry_at(uid, image))
        until = self._backoff_end(uid, image)
        if until is not None and until > self._clock.now():
            message = f'Back-off pulling image "{asked}"'
            self._recorder.event(about, NORMAL, "BackOff", message)
            self._recorder.event(about, WARNING, "Failed", "Error: ImagePullBackOff")
            _, why = self._failed_at[(uid, image)]
            return Unavailable("ImagePullBackOff", f"{message}: ErrImagePull: {why}" if why else message, until)
        self._pulls[key] = _Pull(
            self._tasks.start(self._pull(pod, container, image, key, sandbox, secrets, wake), name=image)
        )
        return Pulling()

    def _backoff_end(self, uid: str, image: str) -> float | None:
        failed = self._failed_at.get((uid, image))
        return None if failed is None else self._backoff.until((uid, image), failed[0])

    def _retry_at(self, uid: str, image: str) -> float:
        """For failures that no pull is part of: try again after a growing while."""
        now = self._clock.now()
        self._backoff.next((uid, image), now, now)
        return self._backoff.until((uid, image), now)

    async def _pull(
        self,
        pod: Object,
        container: Object,
        image: str,
        key: tuple[str, str, str],
        sandbox: SandboxConfig,
        secrets: Callable[[], Awaitable[Sequence[Object]]],
        wake: Callable[[], None],
    ) -> None:
        uid, asked = uid_of(pod), container["image"]
        about = container_reference(pod, container["name"])
        failed: tuple[str, str] | None = None
        try:
            waited_from = self._clock.monotonic()
            self._recorder.event(about, NORMAL, "Pulling", f'Pulling image "{asked}"')
            async with self._slots:
                began = self._clock.monotonic()
                error = await self._try_pull(image, credentials_for(image, await secrets()), sandbox)
            now = self._clock.now()
            if error is None:
                ended = self._clock.monotonic()
                status = await self._runtime.image_status(image)
                size = status.size_bytes if status else 0
                self._recorder.event(
                    about,
                    NORMAL,
                    "Pulled",
                    f'Successfully pulled image "{asked}" in {_duration(ended - began)} '
                    f"({_duration(ended - waited_from)} including waiting). Image size: {size} bytes.",
                )
                self._failed_at.pop((uid, image), None)
                self._backoff.forget((uid, image))
            else:
                self._recorder.event(about, WARNING, "Failed", f'Failed to pull image "{asked}": {error}')
                self._recorder.event(about, WARNING, "Failed", "Error: ErrImagePull")
                failed = ("ErrImagePull", f'failed to pull image "{asked}": {error}')
                self._backoff.next((uid, image), now, now)
                self._failed_at[(uid, image)] = (now, failed[1])
        except RuntimeFailure as failure:
            failed = ("ErrImagePull", str(failure))
        finally:
            pull = self._pulls.get(key)
            if pull is not None:
                pull.failed = failed
                pull.done = True
            wake()

    async def _try_pull(
        self, image: str, credentials: Sequence[RegistryAuth], sandbox: SandboxConfig
    ) -> RuntimeFailure | None:
        """Pulls with each credential in turn, without one where there is none. The last failure, or None."""
        last: RuntimeFailure | None = None
        for auth in credentials or (None,):
            try:
                await self._runtime.pull_image(image, auth, sandbox)
            except RuntimeFailure as failure:
                last = failure
            else:
                return None
        return last


def _duration(seconds: float) -> str:
    """A duration as Go rounds and prints it: ``393ms``, ``1.204s``, ``2m3.5s``."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    if seconds < 60:
        return f"{round(seconds, 3):g}s"
    return f"{int(seconds // 60)}m{round(seconds % 60, 3):g}s"
