from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybernetes.lib import oci


def read(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        return {m.name: tar.extractfile(m).read() for m in tar if m.isreg()}  # type: ignore[union-attr]


def blob(files: dict[str, bytes], descriptor: dict[str, Any]) -> bytes:
    """The blob of a descriptor, whose size and digest are true."""
    data = files[f"blobs/{descriptor['digest'].replace(':', '/')}"]
    assert len(data) == descriptor["size"]
    assert hashlib.sha256(data).hexdigest() == descriptor["digest"].removeprefix("sha256:")
    return data


def example_layer(tmp_path: Path) -> oci.Layer:
    source = tmp_path / "tool"
    source.write_bytes(b"#!/bin/sh\n")
    source.chmod(0o700)
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub" / "page").write_text("hi")
    (tree / "link").symlink_to("sub/page")
    layer = oci.Layer()
    layer.add_file("/usr/bin/tool", source)
    layer.add_bytes("/etc/motd", b"hello", uid=5, gid=6)
    layer.add_symlink("/bin/t", "../usr/bin/tool")
    layer.add_directory("/tmp", mode=0o1777)
    layer.add_tree("/srv", tree)
    return layer


def test_an_archive_is_a_valid_image(tmp_path: Path) -> None:
    config = oci.ImageConfig(
        entrypoint=["/usr/bin/tool"], cmd=["-x"], env={"A": "b=c"}, user="1:2", exposed_ports=["80/tcp", "53/udp"],
        working_dir="/srv", labels={"k": "v"}, stop_signal="SIGINT",
    )  # fmt: skip
    path = tmp_path / "out" / "image.tar"
    digest = oci.write_archive(path, ["web:1", "localhost/other"], config, [example_layer(tmp_path), oci.Layer()])
    files = read(path)
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads(files["index.json"])
    names = ["docker.io/library/web:1", "localhost/other:latest"]
    assert [m["annotations"][oci.REF_NAME] for m in index["manifests"]] == names
    assert [m["annotations"][oci.CONTAINERD_NAME] for m in index["manifests"]] == names
    assert {m["digest"] for m in index["manifests"]} == {digest}
    manifest = json.loads(blob(files, index["manifests"][0]))
    image = json.loads(blob(files, manifest["config"]))
    assert image["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]]
    assert image["config"] == {
        "Entrypoint": ["/usr/bin/tool"], "Cmd": ["-x"], "Env": ["A=b=c"], "User": "1:2",
        "ExposedPorts": {"53/udp": {}, "80/tcp": {}}, "WorkingDir": "/srv", "Labels": {"k": "v"},
        "StopSignal": "SIGINT",
    }  # fmt: skip
    (tmp_path / "layer").write_bytes(blob(files, manifest["layers"][0]))
    with tarfile.open(tmp_path / "layer") as tar:
        entries = {m.name: m for m in tar}
    assert list(entries) == sorted(entries)
    assert entries["usr/bin/tool"].mode == 0o700
    assert (entries["etc/motd"].uid, entries["etc/motd"].gid, entries["etc/motd"].mode) == (5, 6, 0o644)
    assert entries["bin/t"].linkname == "../usr/bin/tool"
    assert entries["srv/link"].linkname == "sub/page"
    assert entries["srv/sub/page"].isreg()
    assert entries["tmp"].mode == 0o1777
    assert entries["usr"].isdir()
    assert {m.mtime for m in entries.values()} == {0}


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        oci.write_archive(tmp_path / f"{name}.tar", ["x"], oci.ImageConfig(), [example_layer(tmp_path / name)])
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    layer = oci.Layer()
    source = tmp_path / "gone"
    source.write_text("x")
    layer.add_file("/x", source)
    source.unlink()
    with pytest.raises(FileNotFoundError):
        oci.write_archive(tmp_path / "image.tar", ["x"], oci.ImageConfig(), [layer])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", ["relative", "/up/../out", ""])
def test_paths_stay_in_the_image(target: str) -> None:
    with pytest.raises(ValueError, match="not an absolute path"):
        oci.Layer().add_bytes(target, b"")


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("web", "docker.io/library/web:latest"),
        ("web:1", "docker.io/library/web:1"),
        ("team/web", "docker.io/team/web:latest"),
        ("docker.io/web", "docker.io/library/web:latest"),
        ("localhost/web:2", "localhost/web:2"),
        ("registry.example:5000/web", "registry.example:5000/web:latest"),
        ("host:5000/a/b@sha256:0123", "host:5000/a/b@sha256:0123"),
    ],
)
def test_normalize_name(name: str, full: str) -> None:
    assert oci.normalize_name(name) == full


@given(st.from_regex(r"([a-z0-9]+(\.[a-z]+)?(:[0-9]+)?/)?[a-z]+(/[a-z]+)?(:[a-z0-9]+)?", fullmatch=True))
def test_a_whole_name_stays_as_it_is(name: str) -> None:
    full = oci.normalize_name(name)
    assert oci.normalize_name(full) == full


def test_names_of_archives(tmp_path: Path) -> None:
    path = tmp_path / "image.tar"
    oci.write_archive(path, ["web:1"], oci.ImageConfig(), [oci.Layer()])
    assert oci.archive_names(path) == oci.ArchiveNames(["docker.io/library/web:1"], True)
    oci.rename_archive(path, tmp_path / "other.tar", ["a:1", "b:2"])
    assert oci.archive_names(tmp_path / "other.tar").names == ["docker.io/library/a:1", "docker.io/library/b:2"]
    assert {k: v for k, v in read(path).items() if k != "index.json"} == {
        k: v for k, v in read(tmp_path / "other.tar").items() if k != "index.json"
    }
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps([{"Config": "c.json", "RepoTags": ["web:2"], "Layers": []}]))
    with tarfile.open(tmp_path / "docker.tar", "w") as tar:
        tar.add(manifest, "./manifest.json")
    assert oci.archive_names(tmp_path / "docker.tar").names == ["docker.io/library/web:2"]


@pytest.mark.parametrize("content", [b"", b"hello", b"\0" * 10240])
def test_what_is_no_archive(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(content)
    with pytest.raises(oci.ArchiveError, match="not an image archive"):
        oci.archive_names(path)
