from __future__ import annotations

import json
from pathlib import Path

import pytest

from pybernetes.kubelet import cni


def test_a_node_has_its_own_leases_and_range(tmp_path: Path) -> None:
    document = cni.conflist(["10.244.3.0/24", "fd00:3::/64"], mtu=1450, data_dir=tmp_path / "n", port_mappings=True)
    ptp, portmap = document["plugins"]
    assert (ptp["type"], ptp["mtu"], ptp["ipam"]["dataDir"]) == ("ptp", 1450, str(tmp_path / "n"))
    assert ptp["ipam"]["ranges"] == [[{"subnet": "10.244.3.0/24"}], [{"subnet": "fd00:3::/64"}]]
    assert ptp["ipam"]["routes"] == [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
    assert portmap["capabilities"] == {"portMappings": True}


def test_it_is_written_whole_and_only_when_it_changes(tmp_path: Path) -> None:
    directory = tmp_path / "net.d"
    assert cni.configure(directory, ["10.244.3.0/24"], mtu=1500, data_dir=tmp_path)
    assert not cni.configure(directory, ["10.244.3.0/24"], mtu=1500, data_dir=tmp_path)
    assert cni.configure(directory, ["10.244.4.0/24"], mtu=1500, data_dir=tmp_path)
    (file,) = directory.iterdir()
    assert json.loads(file.read_text())["plugins"][0]["ipam"]["ranges"] == [[{"subnet": "10.244.4.0/24"}]]


@pytest.mark.parametrize("cidrs", [[], ["10.244.3.1/24"], ["x"]])
def test_a_bad_range_is_refused(cidrs: list[str], tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        cni.conflist(cidrs, mtu=1500, data_dir=tmp_path, port_mappings=False)


def test_missing_plugins_are_named(tmp_path: Path) -> None:
    with pytest.raises(cni.CNIError, match="containernetworking-plugins"):
        cni.find_plugins([tmp_path])
