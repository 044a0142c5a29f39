"""Volumes whose content the API gives: configMap, secret, downwardAPI and projected. All are written atomically and
follow their sources; those that may hold secrets live in memory."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from pybernetes.api import errors
from pybernetes.api.meta import Object, namespace_of
from pybernetes.api.resources import CONFIGMAPS, SECRETS, Resource
from pybernetes.kubelet.downward import FieldPathError, field_value, resource_value
from pybernetes.kubelet.volumes import atomic, mounts
from pybernetes.kubelet.volumes.interface import Mounted, PluginContext, VolumeError, VolumeRequest
from pybernetes.kubelet.volumes.local import remove_tree

_DEFAULT_MODE = 0o644


def _decode(found: Object, resource: Resource) -> dict[str, bytes]:
    """A config map's or secret's data, both text and binary."""
    data: dict[str, bytes] = {}
    if resource is SECRETS:
        for key, value in (found.get("data") or {}).items():
            data[key] = base64.b64decode(value)
    else:
        for key, value in (found.get("data") or {}).items():
            data[key] = str(value).encode()
        for key, value in (found.get("binaryData") or {}).items():
            data[key] = base64.b64decode(value)
    return data


async def _object_files(
    context: PluginContext, pod: Object, resource: Resource, name: str, source: Object, default_mode: int
) -> dict[str, atomic.File]:
    """The files of a config map or secret source: all keys, or its ``items``."""
    optional = bool(source.get("optional"))
    try:
        found: Object = await context.objects.get(resource, namespace_of(pod), name)
    except errors.NotFound:
        if not optional:
            raise VolumeError(f'{resource.singular} "{name}" not found') from None
        found = {}
    data = _decode(found, resource)
    items = source.get("items")
    if not items:
        return {key: atomic.File(value, default_mode) for key, value in data.items()}
    files: dict[str, atomic.File] = {}
    for item in items:
        if item["key"] not in data:
            if optional:
                continue
            what = "secret" if resource is SECRETS else "config"
            raise VolumeError(f"references non-existent {what} key: {item['key']}")
        mode = item.get("mode")
        files[item["path"]] = atomic.File(data[item["key"]], default_mode if mode is None else int(mode))
    return files


def _downward_files(request: VolumeRequest, items: list[Object], default_mode: int) -> dict[str, atomic.File]:
    files: dict[str, atomic.File] = {}
    for item in items:
        try:
            if item.get("fieldRef"):
                text = field_value(request.pod, item["fieldRef"]["fieldPath"], request.facts)
            else:
                text = resource_value(request.pod, item["resourceFieldRef"], None, request.facts)
        except FieldPathError as error:
            raise VolumeError(str(error)) from error
        mode = item.get("mode")
        files[item["path"]] = atomic.File(text.encode(), default_mode if mode is None else int(mode))
    return files


def _mode_of(source: Mapping[str, object]) -> int:
    value = source.get("defaultMode")
    return _DEFAULT_MODE if not isinstance(value, int) else value


class _Content:
    """What the plugins here share: a directory (in memory where the content may be secret), written atomically."""

    name: ClassVar[str]
    live: ClassVar[bool] = True
    in_memory: ClassVar[bool] = False

    def __init__(self, context: PluginContext) -> None:
        self._context = context

    async def files(self, request: VolumeRequest) -> dict[str, atomic.File]:
        raise NotImplementedError

    async def set_up(self, request: VolumeRequest) -> Mounted:
        files = await self.files(request)
        directory = request.directory
        try:
            directory.mkdir(parents=True, exist_ok=True)
            if self.in_memory and not mounts.is_mount_point(directory):
                mounts.mount_tmpfs(directory, mode=0o777)
            directory.chmod(0o777)
            atomic.write(directory, files, self._context.now(), request.fs_group)
        except (OSError, ValueError) as error:
            raise VolumeError(str(error)) from error
        return Mounted(directory, read_only=True)

    async def tear_down(self, directory: Path) -> None:
        remove_tree(directory)

    def renew_at(self, request: VolumeRequest) -> float | None:
        return None


class ConfigMap(_Content):
    name: ClassVar[str] = "kubernetes.io~configmap"

    async def files(self, request: VolumeRequest) -> dict[str, atomic.File]:
        source = request.volume["configMap"]
        return await _object_files(
            self._context, request.pod, CONFIGMAPS, source.get("name") or "", source, _mode_of(source)
        )


class Secret(_Content):
    name: ClassVar[str] = "kubernetes.io~secret"
    in_memory: ClassVar[bool] = True

    async def files(self, request: VolumeRequest) -> dict[str, atomic.File]:
        source = request.volume["secret"]
        return await _object_files(
            self._context, request.pod, SECRETS, source.get("secretName") or "", source, _mode_of(source)
        )


class DownwardAPI(_Content):
    name: ClassVar[str] = "kubernetes.io~downward-api"
    in_memory: ClassVar[bool] = True

    async def files(self, request: VolumeRequest) -> dict[str, atomic.File]:
        source = request.volume["downwardAPI"]
        return _downward_files(request, source.get("items") or [], _mode_of(source))


class Projected(_Content):
    """Several sources in one directory; service account tokens are renewed before they end."""

    name: ClassVar[str] = "kubernetes.io~projected"
    in_memory: ClassVar[bool] = True

    async def files(self, request: VolumeRequest) -> dict[str, atomic.File]:
        volume = request.volume["projected"]
        mode = _mode_of(volume)
        files: dict[str, atomic.File] = {}
        for source in volume.get("sources") or ():
            files.update(await self._source(request, source, mode))
        return files

    async def _source(self, request: VolumeRequest, source: Object, mode: int) -> dict[str, atomic.File]:
        if source.get("configMap"):
            part = source["configMap"]
            return await _object_files(self._context, request.pod, CONFIGMAPS, part.get("name") or "", part, mode)
        if source.get("secret"):
            part = source["secret"]
            return await _object_files(self._context, request.pod, SECRETS, part.get("name") or "", part, mode)
        if source.get("downwardAPI"):
            return _downward_files(request, source["downwardAPI"].get("items") or [], mode)
        if source.get("serviceAccountToken"):
            part = source["serviceAccountToken"]
            try:
                token = await self._context.tokens.token(request.pod, *_token_terms(part))
            except errors.ApiError as error:
                raise VolumeError(f"failed to fetch token: {error.message}") from error
            return {part["path"]: self._token_file(request, token, mode)}
        kind = next(iter(source), "nothing")
        raise VolumeError(f"projected source {kind} is not supported by this node")

    def _token_file(self, request: VolumeRequest, token: str, mode: int) -> atomic.File:
        """A token is readable by its pod's user alone: 0600 for the one user that all containers run as, 0640 with an
        fsGroup (KEP-1205)."""
        if request.fs_group is not None:
            return atomic.File(token.encode(), 0o640)
        users = _users(request.pod)
        if len(users) == 1 and (user := next(iter(users))) is not None:
            return atomic.File(token.encode(), 0o600, user)
        return atomic.File(token.encode(), mode)

    def renew_at(self, request: VolumeRequest) -> float | None:
        times = [
            self._context.tokens.renew_at(request.pod, *_token_terms(source["serviceAccountToken"]))
            for source in request.volume["projected"].get("sources") or ()
            if source.get("serviceAccountToken")
        ]
        return min((t for t in times if t is not None), default=None)


def _token_terms(source: Object) -> tuple[str, int]:
    """(audience, lifetime in seconds)."""
    return str(source.get("audience") or ""), int(source.get("expirationSeconds") or 3600)


def _users(pod: Object) -> set[int | None]:
    own = pod.get("spec") or {}
    default = (own.get("securityContext") or {}).get("runAsUser")
    users: set[int | None] = set()
    for field in ("initContainers", "containers"):
        for container in own.get(field) or ():
            value = (container.get("securityContext") or {}).get("runAsUser", default)
            users.add(int(value) if value is not None else None)
    return users
