"""Warnings of files in a volume whose paths get in each other's way: the same path, or one inside the other.

Source of rules and texts: ``pkg/api/pod/warnings.go``. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from pybernetes.api.meta import Object

Placed = tuple[str, str, object]
"""(path, what puts a file there; empty where that is plain, what that is called; None for nothing)"""


def overlapping_paths(volumes: list[Object]) -> Iterator[str]:
    """One warning a pair of paths."""
    for volume in volumes:
        for kind, label, field in _FILES:
            source = volume.get(kind)
            if source and source.get("items"):
                called = source.get(field) or "" if field else None
                yield from _warn(volume, label, called, [(i.get("path") or "", "", None) for i in source["items"]])
        projected = volume.get("projected")
        if projected and projected.get("sources"):
            placed = [p for source in projected["sources"] for p in _projected(source)]
            if len(placed) > 1:
                yield from _warn(volume, "Projected", None, placed)


_FILES = (("configMap", "ConfigMap", "name"), ("secret", "Secret", "secretName"), ("downwardAPI", "DownwardAPI", ""))


def _projected(source: Object) -> Iterator[Placed]:
    for kind, label, _ in _FILES:
        part = source.get(kind)
        if part:
            called = None if kind == "downwardAPI" else part.get("name") or ""
            for item in part.get("items") or ():
                yield item.get("path") or "", label, called
            return
    if source.get("serviceAccountToken"):
        yield source["serviceAccountToken"].get("path") or "", "ServiceAccountToken", None
    elif source.get("clusterTrustBundle"):
        bundle = source["clusterTrustBundle"]
        named = bundle.get("name") if bundle.get("name") is not None else bundle.get("signerName") or ""
        yield bundle.get("path") or "", "ClusterTrustBundle", named
    elif source.get("podCertificate"):
        for field in ("credentialBundlePath", "keyPath", "certificateChainPath"):
            if source["podCertificate"].get(field):
                yield source["podCertificate"][field], "PodCertificate", None


def _warn(volume: Object, label: str, called: object, placed: list[Placed]) -> Iterator[str]:
    if len({path.partition("/")[0] for path, _, _ in placed}) == len(placed):
        # No two begin alike, as nearly always.
        return
    before: list[Placed] = []
    for path, source, name in placed:
        path = path.rstrip("/")
        for other in before:
            if _overlap(path, other[0]):
                yield (
                    f"volume {json.dumps(volume.get('name') or '')} ({_called(label, called)}): overlapping paths: "
                    f"{_shown((path, source, name))} with {_shown(other)}"
                )
        before.append((path, source, name))


def _overlap(a: str, b: str) -> bool:
    return a == b or f"{a}/".startswith(f"{b}/") or f"{b}/".startswith(f"{a}/")


def _called(label: str, name: object) -> str:
    return label if name is None else f"{label} {json.dumps(name)}"


def _shown(placed: Placed) -> str:
    path, source, name = placed
    return f"{json.dumps(path)} ({_called(source, name)})" if source else json.dumps(path)
