"""Generates the message classes from ``rpc.proto``: ``python -m pybernetes.store.etcd.generate``.

A developer's command, not part of the running server; it needs the ``dev`` extra (grpcio-tools). The results are
committed, so that an installation needs no compiler, and a test shows that generating them again changes nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]


def generate(out: Path) -> list[Path]:
    """Writes ``rpc_pb2.py`` and its ``.pyi`` below `out`, at the package's path; returns the files."""
    from grpc_tools import protoc  # type: ignore[import-untyped]  # only developers have it

    relative = HERE.relative_to(ROOT)
    code = protoc.main(["protoc", f"-I{ROOT}", f"--python_out={out}", f"--pyi_out={out}", str(relative / "rpc.proto")])
    if code != 0:
        raise SystemExit(code)
    return sorted((out / relative).glob("rpc_pb2.py*"))


if __name__ == "__main__":
    for path in generate(ROOT):
        sys.stdout.write(f"{path.relative_to(ROOT)}\n")
