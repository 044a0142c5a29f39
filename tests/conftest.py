"""The cluster that tests share: two nodes, isolated, made once a session and gone without a trace afterwards."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from pybernetes.apiserver.pki import ClusterPKI
from tests.support.cluster import Cluster, new_cluster
from tests.support.image_set import build_test_images
from tests.support.traces import traces_of

# How long one example takes says more about what else the machine does than about the code; pytest-timeout bounds a
# test as a whole.
hypothesis.settings.register_profile("pybernetes", deadline=None)
hypothesis.settings.load_profile("pybernetes")


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Archives of the images that tests run, built from Debian packages on this machine."""
    return build_test_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> ClusterPKI:
    """The keys of a cluster whose server listens on loopback."""
    return ClusterPKI.ensure(tmp_path_factory.mktemp("pki"), advertise_addresses=["127.0.0.1"])


@pytest.fixture(scope="session")
def cluster(images: list[Path]) -> Iterator[Cluster]:
    """The shared cluster, up, with the test images on every node."""
    if os.geteuid() != 0:
        pytest.skip("a cluster needs root")
    made = new_cluster(nodes=2)
    try:
        made.up()
        made.load(*images)
        yield made
    finally:
        made.down()
        left = traces_of(made)
        shutil.rmtree(made.root, ignore_errors=True)
    assert not left, f"p8s down left behind: {left}"


@pytest.fixture
def ns(cluster: Cluster) -> Iterator[str]:
    """A namespace of the test's own."""
    with cluster.namespace() as name:
        yield name
