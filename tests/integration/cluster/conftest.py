"""Clusters of these tests: names and directories of their own, removed whatever happens."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pybernetes.cluster.layout import Layout, Roots
from pybernetes.cluster.local import LocalCluster


class Silent:
    def step(self, text: str) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


@pytest.fixture
def layout(monkeypatch: pytest.MonkeyPatch) -> Iterator[Layout]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    # Not pytest's own directory: the path of a socket has 107 characters at most.
    root = Path(tempfile.mkdtemp(prefix="p8s-"))
    monkeypatch.setenv("P8S_ROOT", str(root))
    monkeypatch.setenv("KUBECONFIG", str(root / "kubeconfig"))
    made = Layout.of(f"t{os.getpid()}", Roots.from_environment())
    try:
        yield made
    finally:
        LocalCluster(made).down(Silent())
        shutil.rmtree(root)
