"""The backup's file: what is written comes back, and whatever is wrong with it is noticed before it is used."""

from __future__ import annotations

import gzip
import os
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pybernetes.store.archive import MAGIC, BadArchive, File, Head, Record, read, verify, writing
from pybernetes.store.interface import KeyValue

HEAD = Head(42, "2030-01-01T00:00:00Z", "1.2.3", {"cluster": {"nodes": 2}})
FILES = [File("pki/ca.crt", 0o644, b"certificate"), File("pki/ca.key", 0o600, b"\0key\n")]
KEYS = [KeyValue(f"/registry/x/{i:03}", bytes([i]) * i, i + 1, i + 2, 2, i % 2) for i in range(200)]


def made(path: Path) -> Path:
    with writing(path) as writer:
        writer.head(HEAD)
        for file in FILES:
            writer.file(file)
        for kv in KEYS:
            writer.key(kv)
    return path


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    path = made(tmp_path / "b")
    assert list(read(path)) == [HEAD, *FILES, *KEYS]
    summary = verify(path)
    assert (summary.head, summary.keys, summary.files) == (HEAD, 200, 2)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["b"]


def test_a_backup_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "b"
    path.write_bytes(b"old")
    # A file with a mode that is no number cannot be written.
    with pytest.raises(TypeError), writing(path) as writer:
        writer.file(File("x", object(), b""))  # type: ignore[arg-type]
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["b"]


@given(cut=st.floats(0, 1, exclude_max=True))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_cut_is_noticed(tmp_path: Path, cut: float) -> None:
    path = made(tmp_path / "b")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * cut)])
    with pytest.raises(BadArchive):
        verify(path)


@given(where=st.floats(0, 1, exclude_max=True), mask=st.integers(1, 255))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_changed_byte_is_noticed_or_changes_nothing(tmp_path: Path, where: float, mask: int) -> None:
    path = made(tmp_path / "b")
    content = bytearray(path.read_bytes())
    content[int(len(content) * where)] ^= mask
    path.write_bytes(bytes(content))
    try:
        verify(path)
        # Some bits of gzip's own head say nothing.
        assert list(read(path)) == [HEAD, *FILES, *KEYS]
    except BadArchive:
        pass


def lines(path: Path) -> list[bytes]:
    return gzip.decompress(path.read_bytes()[len(MAGIC) :]).splitlines(keepends=True)


def packed(path: Path, content: list[bytes]) -> None:
    path.write_bytes(MAGIC + gzip.compress(b"".join(content)))


def test_a_changed_value_in_an_archive_packed_anew_is_noticed(tmp_path: Path) -> None:
    path = made(tmp_path / "b")
    packed(path, [line.replace(b"certificate", b"Certificate") for line in lines(path)])
    with pytest.raises(BadArchive, match="its checksum does not fit"):
        verify(path)


def test_something_after_the_end_is_noticed(tmp_path: Path) -> None:
    path = made(tmp_path / "b")
    packed(path, [*lines(path), b"more\n"])
    with pytest.raises(BadArchive, match="does not hold what its end says"):
        verify(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no backup"),
        (b"something else entirely", "is no backup"),
        (b"p8s-backup 2\nwhatever", "made by a later version of p8s"),
        (MAGIC, "damaged or cut off|has no end"),
    ],
)
def test_other_files(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "b").write_bytes(content)
    with pytest.raises(BadArchive, match=message):
        verify(tmp_path / "b")


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "pki/../../x", ""])
def test_a_file_that_would_lie_elsewhere(tmp_path: Path, path: str) -> None:
    with writing(tmp_path / "b") as writer:
        writer.head(HEAD)
        writer.file(File(path, 0o600, b""))
    with pytest.raises(BadArchive, match="is no path for a file"):
        verify(tmp_path / "b")


def test_keys_out_of_order(tmp_path: Path) -> None:
    with writing(tmp_path / "b") as writer:
        writer.head(HEAD)
        writer.key(KEYS[1])
        writer.key(KEYS[0])
    with pytest.raises(BadArchive, match="out of order"):
        verify(tmp_path / "b")


@pytest.mark.parametrize("records", [[], [FILES[0], HEAD], [HEAD, HEAD]])
def test_a_head_where_it_does_not_belong(tmp_path: Path, records: list[Record]) -> None:
    with writing(tmp_path / "b") as writer:
        for record in records:
            writer.head(record) if isinstance(record, Head) else writer.file(record)  # type: ignore[arg-type]
    with pytest.raises(BadArchive):
        verify(tmp_path / "b")
