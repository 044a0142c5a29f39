"""Container images as OCI archives (OCI image layout 1.0 in a tar), written from files of this machine.

The same input gives the same bytes: entries are sorted, owned by root unless told otherwise, and dated to the epoch.
Layers are plain tar, not compressed: an archive is made to be imported on this machine, and the runtime need not
unpack it twice. Synchronous; a file is complete when a function returns and absent when it raises.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import stat
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"

REF_NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"
"""The annotation from which containerd takes an image's whole name."""

_EPOCH = "1970-01-01T00:00:00Z"
_CHUNK_BYTES = 1 << 20
# An index or a manifest larger than this is not one of ours or of any known tool.
_JSON_LIMIT_BYTES = 4 << 20


class ArchiveError(Exception):
    """A file is not an image archive; the message says why."""


def normalize_name(name: str) -> str:
    """The whole name of an image as users shorten it: ``web:1`` is ``docker.io/library/web:1``, and a name without
    tag or digest means ``latest``. (The distribution project's reference grammar.)"""
    if not name or name != name.strip() or "//" in name:
        raise ValueError(f"invalid image name {name!r}")
    first, slash, rest = name.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        first, rest = "docker.io", name if slash else f"library/{name}"
    elif first == "docker.io" and "/" not in rest:
        rest = f"library/{rest}"
    if "@" not in rest and ":" not in rest.rpartition("/")[2]:
        rest += ":latest"
    return f"{first}/{rest}"


def architecture() -> str:
    """This machine's architecture in OCI's words (``amd64``)."""
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}.get(machine, machine)


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What a container of the image runs, where nothing else is said."""

    entrypoint: Sequence[str] = ()
    cmd: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    """``uid``, ``uid:gid`` or names that stand in the image's /etc/passwd; empty for root."""
    exposed_ports: Sequence[str] = ()
    """``8080/tcp``"""
    working_dir: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    stop_signal: str = ""

    def document(self, diff_ids: Sequence[str]) -> dict[str, Any]:
        config: dict[str, Any] = {
            "Entrypoint": list(self.entrypoint),
            "Cmd": list(self.cmd),
            "Env": [f"{key}={value}" for key, value in self.env.items()],
            "User": self.user,
            "ExposedPorts": {port: {} for port in sorted(self.exposed_ports)},
            "WorkingDir": self.working_dir,
            "Labels": dict(sorted(self.labels.items())),
            "StopSignal": self.stop_signal,
        }
        return {
            "created": _EPOCH,
            "architecture": architecture(),
            "os": "linux",
            "config": {key: value for key, value in config.items() if value},
            "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
            "history": [{"created": _EPOCH}] * len(diff_ids),
        }


@dataclass(frozen=True, slots=True)
class _Entry:
    kind: bytes
    mode: int
    uid: int = 0
    gid: int = 0
    source: Path | None = None
    data: bytes = b""
    link: str = ""


class Layer:
    """Files of one layer, by their absolute path in the image. Directories above an entry come by themselves
    (0755); what is added twice is what was added last."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}

    @staticmethod
    def _key(target: str) -> str:
        path = PurePosixPath(target)
        if not path.is_absolute() or ".." in path.parts:
            raise ValueError(f"not an absolute path in the image: {target!r}")
        return str(path.relative_to("/"))

    def add_file(self, target: str, source: Path, *, mode: int | None = None, uid: int = 0, gid: int = 0) -> None:
        """A regular file of this machine, with its own permissions unless told otherwise."""
        permissions = stat.S_IMODE(source.stat().st_mode) if mode is None else mode
        self._entries[self._key(target)] = _Entry(tarfile.REGTYPE, permissions, uid, gid, source=source)

    def add_bytes(self, target: str, data: bytes, *, mode: int = 0o644, uid: int = 0, gid: int = 0) -> None:
        self._entries[self._key(target)] = _Entry(tarfile.REGTYPE, mode, uid, gid, data=data)

    def add_directory(self, target: str, *, mode: int = 0o755, uid: int = 0, gid: int = 0) -> None:
        self._entries[self._key(target)] = _Entry(tarfile.DIRTYPE, mode, uid, gid)

    def add_symlink(self, target: str, link: str) -> None:
        """`link` is the text of the link."""
        self._entries[self._key(target)] = _Entry(tarfile.SYMTYPE, 0o777, link=link)

    def add_tree(self, target: str, source: Path) -> None:
        """A directory of this machine with all below it: files, symbolic links and directories."""
        for directory, _, files in os.walk(source):
            relative = Path(directory).relative_to(source)
            self.add_directory(str(PurePosixPath(target) / relative), mode=stat.S_IMODE(os.stat(directory).st_mode))
            for name in [*files, *(n for n in os.listdir(directory) if (Path(directory) / n).is_symlink())]:
                path = Path(directory) / name
                inside = str(PurePosixPath(target) / relative / name)
                if path.is_symlink():
                    self.add_symlink(inside, os.readlink(path))
                elif path.is_file():
                    self.add_file(inside, path)

    def _complete(self) -> dict[str, _Entry]:
        entries = dict(self._entries)
        for key in self._entries:
            for parent in PurePosixPath(key).parents:
                if str(parent) != ".":
                    entries.setdefault(str(parent), _Entry(tarfile.DIRTYPE, 0o755))
        entries.pop(".", None)
        return entries

    def write(self, out: IO[bytes]) -> tuple[str, int]:
        """Writes the layer's tar; returns its digest and size in bytes."""
        hashing = _HashingWriter(out)
        with tarfile.open(fileobj=hashing, mode="w|", format=tarfile.PAX_FORMAT) as tar:
            for key, entry in sorted(self._complete().items()):
                info = tarfile.TarInfo(key)
                info.type, info.mode = entry.kind, entry.mode
                info.uid, info.gid = entry.uid, entry.gid
                info.linkname = entry.link
                if entry.source is not None:
                    with entry.source.open("rb") as content:
                        info.size = os.fstat(content.fileno()).st_size
                        tar.addfile(info, content)
                else:
                    info.size = len(entry.data)
                    tar.addfile(info, io.BytesIO(entry.data))
        return hashing.digest, hashing.size


class _HashingWriter(io.RawIOBase):
    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
        self._sha = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self._out.write(data)
        self._sha.update(data)
        self.size += len(data)
        return len(data)

    @property
    def digest(self) -> str:
        return f"sha256:{self._sha.hexdigest()}"


def write_archive(path: Path, names: Sequence[str], config: ImageConfig, layers: Sequence[Layer]) -> str:
    """Writes an archive of one image under one or more names (shortened ones are completed, see `normalize_name`);
    replaces the file at once when it is whole. Returns the manifest's digest."""
    full_names = [normalize_name(name) for name in names]
    if not full_names:
        raise ValueError("an image needs a name")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("wb") as out, tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
            layer_descriptors: list[dict[str, Any]] = []
            for layer in layers:
                with tempfile.TemporaryFile(dir=path.parent) as blob:
                    digest, size = layer.write(blob)
                    blob.seek(0)
                    _add(tar, _blob_path(digest), blob, size)
                layer_descriptors.append({"mediaType": LAYER_TYPE, "digest": digest, "size": size})
            config_descriptor = _add_json(
                tar, CONFIG_TYPE, config.document([descriptor["digest"] for descriptor in layer_descriptors])
            )
            manifest = {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "config": config_descriptor,
                "layers": layer_descriptors,
            }
            manifest_descriptor = _add_json(tar, MANIFEST_TYPE, manifest)
            manifest_descriptor["platform"] = {"architecture": architecture(), "os": "linux"}
            index = {
                "schemaVersion": 2,
                "mediaType": INDEX_TYPE,
                "manifests": [
                    {**manifest_descriptor, "annotations": {CONTAINERD_NAME: name, REF_NAME: name}}
                    for name in full_names
                ],
            }
            _add(tar, "index.json", *_encoded(index))
            _add(tar, "oci-layout", *_encoded({"imageLayoutVersion": "1.0.0"}))
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return str(manifest_descriptor["digest"])


def _encoded(document: Any) -> tuple[io.BytesIO, int]:
    data = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    return io.BytesIO(data), len(data)


def _blob_path(digest: str) -> str:
    algorithm, _, value = digest.partition(":")
    return f"blobs/{algorithm}/{value}"


def _add(tar: tarfile.TarFile, name: str, content: IO[bytes], size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = 0o644
    if info.name not in tar.getnames():
        tar.addfile(info, content)


def _add_json(tar: tarfile.TarFile, media_type: str, document: Any) -> dict[str, Any]:
    content, size = _encoded(document)
    digest = f"sha256:{hashlib.sha256(content.getvalue()).hexdigest()}"
    _add(tar, _blob_path(digest), content, size)
    return {"mediaType": media_type, "digest": digest, "size": size}


@dataclass(frozen=True, slots=True)
class ArchiveNames:
    names: list[str]
    """Whole names of the images in an archive."""
    complete: bool
    """Whether the archive itself says each of them in full, where containerd looks for it."""


def archive_names(path: Path) -> ArchiveNames:
    """What an archive of OCI's or of Docker's kind calls its images. Raises `ArchiveError` where the file is no image
    archive."""
    with _reading(path) as tar:
        for member in tar:
            name = _plain(member)
            if name in _INDEXES:
                found = _INDEXES[name](_load(tar, member))
                if found:
                    return ArchiveNames(
                        [normalize_name(n) for n, _ in found],
                        all(annotated for _, annotated in found),
                    )
                if name == "index.json":
                    return ArchiveNames([], False)
    return ArchiveNames([], False)


def rename_archive(path: Path, target: Path, names: Sequence[str]) -> None:
    """Copies an archive of one image under other names. Raises `ArchiveError`."""
    full_names = [normalize_name(name) for name in names]
    with _reading(path) as tar, tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as out:
        for member in tar:
            name = _plain(member)
            if name in _INDEXES:
                document = _load(tar, member)
                entries = document if name == "manifest.json" else document.get("manifests") or []
                if len({entry.get("digest") or entry.get("Config") for entry in entries}) != 1:
                    raise ArchiveError(f"{path}: cannot name it {names[0]}: it does not hold exactly one image")
                if name == "manifest.json":
                    document = [{**entries[0], "RepoTags": full_names}]
                else:
                    document["manifests"] = [
                        {**entries[0], "annotations": {CONTAINERD_NAME: n, REF_NAME: n}} for n in full_names
                    ]
                content, member.size = _encoded(document)
                out.addfile(member, content)
            else:
                out.addfile(member, tar.extractfile(member) if member.isreg() else None)


@contextmanager
def _reading(path: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(path) as tar:
            if not any(_plain(member) in _INDEXES for member in tar):
                raise ArchiveError(f"{path}: not an image archive: it has neither an index.json nor a manifest.json")
            yield tar
    except (tarfile.TarError, ValueError, AttributeError, TypeError, OSError) as error:
        raise ArchiveError(f"{path}: not an image archive: {error}") from error


def _plain(member: tarfile.TarInfo) -> str:
    return member.name.removeprefix("./")


def _load(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Any:
    content = tar.extractfile(member)
    if content is None or member.size > _JSON_LIMIT_BYTES:
        raise ArchiveError(f"{member.name} is not a plain file of reasonable size")
    return json.load(content)


def _docker_names(manifests: Any) -> list[tuple[str, bool]]:
    return [(tag, True) for manifest in manifests for tag in manifest.get("RepoTags") or ()]


def _oci_names(index: Any) -> list[tuple[str, bool]]:
    names = []
    for manifest in index.get("manifests") or ():
        annotations = manifest.get("annotations") or {}
        name = annotations.get(CONTAINERD_NAME) or annotations.get(REF_NAME) or ""
        # A bare ref name is a tag ("latest"), which names nothing by itself.
        if "/" in name or ":" in name:
            names.append((name, annotations.get(CONTAINERD_NAME) == normalize_name(name)))
    return names


_INDEXES = {"index.json": _oci_names, "manifest.json": _docker_names}
