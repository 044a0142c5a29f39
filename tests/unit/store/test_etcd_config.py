"""Where etcd is, as a URL and options say it; and that the generated message classes are those of the .proto file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pybernetes.store.etcd import generate as generator
from pybernetes.store.etcd.config import EtcdConfig, parse_url

_COMPILERS_VERSION = re.compile(rb"# Protobuf Python Version: .*|Domain\.PUBLIC,\s+\d+,\s+\d+,\s+\d+,")


@pytest.mark.parametrize(
    ("url", "config"),
    [
        ("etcd://a", EtcdConfig(("a:2379",))),
        ("etcd://a:1,b:2/", EtcdConfig(("a:1", "b:2"))),
        ("etcd://10.0.0.1:2379,[fd00::1]:2379,[fd00::2]/one/two/", EtcdConfig(
            ("10.0.0.1:2379", "[fd00::1]:2379", "[fd00::2]:2379"), "/one/two")),
        ("etcd://root:p%40ss@a:1/x", EtcdConfig(("a:1",), "/x", None, "root", "p@ss")),
    ],
)  # fmt: skip
def test_urls(url: str, config: EtcdConfig) -> None:
    assert parse_url(url) == config


def test_tls(tmp_path: Path) -> None:
    ca, certificate, key = (tmp_path / n for n in ("ca", "crt", "key"))
    for path in (ca, certificate, key):
        path.write_text(path.name)
    tls = parse_url("etcd://a", ca_file=ca, certificate_file=certificate, key_file=key).tls
    assert tls is not None and (tls.ca, tls.certificate, tls.key) == (b"ca", b"crt", b"key")
    assert "key" not in repr(tls).replace("key=", "")
    system = parse_url("etcds://a").tls
    assert system is not None and system.ca is None


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("http://a", {}, "must begin with etcd://"),
        ("etcd://", {}, "no etcd endpoint"),
        ("etcd://a:b", {}, "no etcd endpoint"),
        ("etcd://a:1,,b:2", {}, "no etcd endpoint"),
        ("etcd://fd00::1:2379", {}, "in brackets"),
        ("etcd://a/x?y=1", {}, "is too much"),
        ("etcd://a", {"certificate_file": Path("c")}, "given together"),
        ("etcd://a", {"user": "root"}, "given together"),
    ],
)
def test_faults(url: str, options: dict[str, Path], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_url(url, **options)  # type: ignore[arg-type]


def test_generating_the_messages_again_changes_nothing(tmp_path: Path) -> None:
    made = generator.generate(tmp_path)
    assert len(made) == 2
    for path in made:
        committed = generator.ROOT / path.relative_to(tmp_path)
        assert _COMPILERS_VERSION.sub(b"", path.read_bytes()) == _COMPILERS_VERSION.sub(b"", committed.read_bytes()), (
            f"{committed} is not what its .proto says: run python -m pybernetes.store.etcd.generate"
        )
