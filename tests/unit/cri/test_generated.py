"""The generated message classes are those of the .proto files."""

from __future__ import annotations

import re
from pathlib import Path

from pybernetes.kubelet.cri import generate

_COMPILERS_VERSION = re.compile(rb"# Protobuf Python Version: .*|Domain\.PUBLIC,\s+\d+,\s+\d+,\s+\d+,")


def test_generating_them_again_changes_nothing(tmp_path: Path) -> None:
    made = generate.generate(tmp_path)
    assert len(made) == 4
    for path in made:
        committed = generate.ROOT / path.relative_to(tmp_path)
        assert _COMPILERS_VERSION.sub(b"", path.read_bytes()) == _COMPILERS_VERSION.sub(b"", committed.read_bytes()), (
            f"{committed} is not what its .proto says: run python -m pybernetes.kubelet.cri.generate"
        )
