"""Generates the message classes from the .proto files beside this one: ``python -m pybernetes.kubelet.cri.generate``.

A developer's command, not part of the running kubelet; it needs the ``dev`` extra (grpcio-tools). The results are
committed, so that an installation needs no compiler, and a test shows that generating them again changes nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
PROTOS = ("runtime_v1", "containerd_v1")


def generate(out: Path) -> list[Path]:
    """Writes ``<name>_pb2.py`` and its ``.pyi`` below `out`, at the package's path; returns the files."""
    from grpc_tools import protoc  # type: ignore[import-untyped]  # only developers have it

    relative = HERE.relative_to(ROOT)
    sources = [str(relative / f"{name}.proto") for name in PROTOS]
    # The well-known types (Any, Timestamp) come with grpc_tools.
    well_known = Path(protoc.__file__).parent / "_proto"
    code = protoc.main(["protoc", f"-I{ROOT}", f"-I{well_known}", f"--python_out={out}", f"--pyi_out={out}", *sources])
    if code != 0:
        raise SystemExit(code)
    return sorted(p for name in PROTOS for p in (out / relative).glob(f"{name}_pb2.py*"))


if __name__ == "__main__":
    for path in generate(ROOT):
        sys.stdout.write(f"{path.relative_to(ROOT)}\n")
