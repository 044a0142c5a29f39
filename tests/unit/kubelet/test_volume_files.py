"""Atomic content, sub-paths and host path checks on a real file system."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pybernetes.kubelet.env import ContainerConfigError
from pybernetes.kubelet.volumes import atomic, subpath
from pybernetes.kubelet.volumes.interface import Mounted, VolumeError
from pybernetes.kubelet.volumes.local import check_host_path
from tests.unit.kubelet.builders import NOW

NAMES = st.text("abc", min_size=1, max_size=2)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
PAYLOADS = st.dictionaries(PATHS, st.tuples(st.binary(max_size=5), st.sampled_from([0o644, 0o400])), max_size=5)


def _possible(payload: dict[str, tuple[bytes, int]]) -> bool:
    """No path is a directory of another."""
    return not any(b.startswith(a + "/") for a in payload for b in payload)


def seen(directory: Path) -> dict[str, tuple[bytes, int]]:
    found = {}
    for parent, _, files in os.walk(directory, followlinks=True):
        for name in files:
            path = Path(parent, name)
            relative = path.relative_to(directory)
            if not relative.parts[0].startswith(".."):
                found[str(relative)] = (path.read_bytes(), path.stat().st_mode & 0o777)
    return found


@settings(suppress_health_check=[HealthCheck.filter_too_much])
@given(st.lists(PAYLOADS.filter(_possible), min_size=1, max_size=4))
def test_what_is_written_is_seen_and_nothing_else(payloads: list[dict[str, tuple[bytes, int]]]) -> None:
    with tempfile.TemporaryDirectory() as base:
        directory = Path(base, "volume")
        for payload in payloads:
            files = {path: atomic.File(content, mode) for path, (content, mode) in payload.items()}
            atomic.write(directory, files, NOW)
            assert seen(directory) == payload
            assert atomic.write(directory, files, NOW) is False
            # Only one generation is kept.
            assert len([p for p in directory.iterdir() if p.name.startswith("..2")]) == 1


def test_the_layout_is_upstreams(tmp_path: Path) -> None:
    assert atomic.write(tmp_path, {"key": atomic.File(b"value", 0o644)}, NOW)
    assert os.readlink(tmp_path / "key") == "..data/key"
    generation = os.readlink(tmp_path / "..data")
    assert generation.startswith("..2023_11_14_22_13_20.")
    # A reader that holds the old directory open reads on.
    held = os.open(tmp_path / "..data" / "key", os.O_RDONLY)
    atomic.write(tmp_path, {"key": atomic.File(b"other", 0o644)}, NOW + 1)
    assert os.read(held, 10) == b"value" and (tmp_path / "key").read_bytes() == b"other"
    os.close(held)


@pytest.mark.parametrize("path", ["../up", "/abs", "a/../../b", "..data", ""])
def test_paths_that_lead_out_are_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(ValueError, match="invalid path"):
        atomic.write(tmp_path, {path: atomic.File(b"", 0o644)}, NOW)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_owners(tmp_path: Path) -> None:
    atomic.write(tmp_path, {"token": atomic.File(b"x", 0o600, 1234)}, NOW)
    stat = (tmp_path / "token").stat()
    assert (stat.st_uid, stat.st_mode & 0o777) == (1234, 0o600)
    atomic.write(tmp_path, {"key": atomic.File(b"x", 0o400)}, NOW, group=99)
    stat = (tmp_path / "key").stat()
    assert (stat.st_gid, stat.st_mode & 0o777) == (99, 0o440)


# Sub-paths.


def test_a_sub_path_is_made(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    found = subpath.prepare(Mounted(tmp_path), "a/b")
    assert found == tmp_path / "a" / "b" and found.is_dir() and found.stat().st_mode & 0o777 == 0o750


def test_links_inside_are_followed_and_links_out_are_refused(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    (volume / "..gen").mkdir(parents=True)
    (volume / "..gen" / "key").write_text("x")
    (volume / "..data").symlink_to("..gen")
    (volume / "key").symlink_to("..data/key")
    assert subpath.prepare(Mounted(volume), "key") == volume / "..gen" / "key"
    (volume / "abs").symlink_to("/etc")
    (volume / "up").symlink_to("../..")
    (volume / "loop").symlink_to("loop")
    for bad in ("abs", "abs/passwd", "up", "up/x", "loop"):
        with pytest.raises(ContainerConfigError, match="leads out of the volume"):
            subpath.prepare(Mounted(volume), bad)
    with pytest.raises(ContainerConfigError, match="must not be an absolute path"):
        subpath.prepare(Mounted(volume), "/etc")
    with pytest.raises(ContainerConfigError):
        subpath.prepare(Mounted(volume), "a/../../b")
    with pytest.raises(ContainerConfigError, match="does not exist"):
        subpath.prepare(Mounted(volume, read_only=True), "missing")


# Host paths.


def test_host_path_types(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "socket"))
    server.close()
    check_host_path(tmp_path / "nothing", "")
    for path, kind in (("file", "File"), (".", "Directory"), ("socket", "Socket"), ("file", "FileOrCreate")):
        check_host_path(tmp_path / path, kind)
    check_host_path(Path("/dev/null"), "CharDevice")
    check_host_path(tmp_path / "new" / "deep", "DirectoryOrCreate")
    check_host_path(tmp_path / "new" / "file", "FileOrCreate")
    assert (tmp_path / "new" / "deep").is_dir() and (tmp_path / "new" / "file").is_file()
    for path, kind, what in (
        ("file", "Directory", "a directory"),
        (".", "File", "a file"),
        ("missing", "Directory", "a directory"),
        ("file", "Socket", "a socket file"),
        ("file", "BlockDevice", "a block device"),
        ("file", "DirectoryOrCreate", "a directory"),
    ):
        with pytest.raises(VolumeError, match=f"hostPath type check failed: .* is not {what}"):
            check_host_path(tmp_path / path, kind)
