"""Names, paths and specifications of clusters, and what becomes of one that is asked for again."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybernetes.cluster.errors import BadArgument, ClusterDiffers, ClusterError, UnknownCluster, UnknownNode
from pybernetes.cluster.layout import ClusterSpec, Layout, Roots, check_name, clusters
from pybernetes.cluster.local import Wanted, plan_spec
from pybernetes.cluster.network import Addresses


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout("one", Roots(tmp_path / "lib", tmp_path / "run"))


@pytest.mark.parametrize("name", ["a", "default", "a-b", "0", "node", "node1", "x" * 30])
def test_good_names(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "A", "a_b", "-a", "a-", "a.b", "a/b", "..", "x" * 31, "a-node1", "a\n"])
def test_bad_names(name: str) -> None:
    with pytest.raises(BadArgument) as raised:
        check_name(name)
    assert raised.value.hint and raised.value.exit_code == 2


def test_no_two_clusters_share_a_namespace(tmp_path: Path) -> None:
    roots = Roots(tmp_path, tmp_path)
    names = ["a", "a-b", "node1", "a-node", "b"]
    seen: set[str] = set()
    for name in names:
        layout = Layout.of(name, roots)
        mine = {layout.cluster_namespace, *(layout.node_namespace(n) for n in ClusterSpec(name, nodes=12).node_names)}
        assert not mine & seen
        seen |= mine


def test_the_root_is_the_environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("P8S_ROOT", str(tmp_path))
    assert Roots.from_environment() == Roots(tmp_path / "lib", tmp_path / "run")
    monkeypatch.delenv("P8S_ROOT")
    assert Roots.from_environment() == Roots(Path("/var/lib/p8s"), Path("/run/p8s"))


def test_a_specification_comes_back(layout: Layout) -> None:
    assert list(clusters(layout.roots)) == []
    spec = ClusterSpec("one", nodes=3, isolated=True, api_port=7000, log_level="debug")
    layout.write_spec(spec)
    assert layout.read_spec() == spec
    assert [c.name for c in clusters(layout.roots)] == ["one"]
    assert layout.check_node("node3") == "node3"
    with pytest.raises(UnknownNode, match="node4"):
        layout.check_node("node4")


def test_an_unknown_cluster_is_told_with_those_there_are(layout: Layout) -> None:
    layout.write_spec(ClusterSpec("one"))
    with pytest.raises(UnknownCluster) as raised:
        Layout("two", layout.roots).read_spec()
    assert "one" in raised.value.hint


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null"])
def test_a_damaged_specification_is_a_plain_error(layout: Layout, text: str) -> None:
    layout.state.mkdir(parents=True)
    layout.spec_file.write_text(text)
    with pytest.raises(ClusterError) as raised:
        layout.read_spec()
    assert "p8s down --name one" in raised.value.hint


def test_addresses_of_nodes() -> None:
    addresses = Addresses.of(ClusterSpec("one"))
    assert addresses.gateway == "172.30.0.1"
    assert [addresses.node(f"node{i}") for i in (1, 2, 200)] == ["172.30.0.2", "172.30.0.3", "172.30.0.201"]


_WANTED = st.builds(
    Wanted,
    nodes=st.none() | st.integers(1, 5),
    isolated=st.none() | st.booleans(),
    api_port=st.none(),
    publish_node_ports=st.none() | st.booleans(),
    log_level=st.none() | st.sampled_from(["debug", "info"]),
    server_options=st.none() | st.sampled_from([("anonymous-auth=false",), ("audit-log-path=-", "oidc-client-id=x")]),
)


@given(first=_WANTED, second=_WANTED)
def test_asking_again_keeps_or_grows_or_refuses(first: Wanted, second: Wanted) -> None:
    spec = plan_spec("one", None, first)
    assert plan_spec("one", spec, first) == spec
    assert plan_spec("one", spec, Wanted()) == spec
    try:
        again = plan_spec("one", spec, second)
    except ClusterDiffers:
        return
    assert again.nodes == (second.nodes or spec.nodes) >= spec.nodes
    assert again.server_options == (spec.server_options if second.server_options is None else second.server_options)
    assert (again.isolated, again.publish_node_ports, again.api_port) == (
        spec.isolated, spec.publish_node_ports, spec.api_port,
    )  # fmt: skip
    assert second.isolated in (None, again.isolated)
    assert second.publish_node_ports in (None, again.publish_node_ports)
