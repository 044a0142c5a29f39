"""What a cluster leaves on a machine: looked for from outside, without the product's help."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.support.cluster import Cluster


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def traces_of(cluster: Cluster) -> list[str]:
    """Processes, mounts, namespaces, interfaces, routes, nftables tables, cgroups, files and kubeconfig entries that
    bear the cluster's name or root directory; empty when it is wholly gone."""
    left: list[str] = []
    root, tag = str(cluster.root), f"p8s-{cluster.name}"
    for path in Path("/proc").glob("[0-9]*"):
        try:
            text = (path / "cmdline").read_bytes() + (path / "cgroup").read_bytes()
            state = (path / "stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            continue
        if state != "Z" and (root.encode() in text or f"/p8s/{cluster.name}/".encode() in text):
            left.append(f"process {path.name}: {text[:200]!r}")
    left += [f"mount: {line}" for line in Path("/proc/mounts").read_text().splitlines() if root in line or tag in line]
    left += [f"netns: {p}" for p in Path("/run/netns").glob(f"{tag}*")] if Path("/run/netns").exists() else []
    left += [f"interface: {line}" for line in _output("ip", "-o", "link").splitlines() if tag in line]
    left += [f"route: {line}" for line in _output("ip", "route").splitlines() if "10.244." in line or "10.96." in line]
    left += [f"nft: {line}" for line in _output("nft", "list", "tables").splitlines() if cluster.name in line]
    cgroups = Path("/sys/fs/cgroup")
    left += [f"cgroup: {p}" for p in [*cgroups.glob(f"p8s/{cluster.name}"), *cgroups.glob(f"*/p8s/{cluster.name}")]]
    for directory in ("lib", "run"):
        below = cluster.root / directory / cluster.name
        if below.exists():
            left.append(f"directory: {below}")
    if cluster.kubeconfig.exists():
        document: dict[str, Any] = yaml.safe_load(cluster.kubeconfig.read_text()) or {}
        for kind in ("clusters", "contexts", "users"):
            left += [f"kubeconfig {kind}: {e['name']}" for e in document.get(kind) or () if cluster.name in e["name"]]
    return left
