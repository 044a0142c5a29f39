"""Warnings of files in a volume whose paths get in each other's way: the same path, or one inside the other.

Source of rules and texts: ``pkg/api/pod/warnings.go``. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from pybernetes.api.meta import Object

Placed = tuple[str, str]
"""(path, what puts a file there; empty where that is plain)"""


def overlapping_paths(volumes: list[Object]) -> Iterator[str]:
    """One warning a pair of paths."""
    for volume in volumes:
        name = volume.get("name") or ""
        for kind, label, field in (
            ("configMap", "ConfigMap", "name"), ("secret", "Secret", "secretName"), ("downwardAPI", "DownwardAPI", ""),
        ):  # fmt: skip
            source = volume.get(kind)
            if source and source.get("items"):
                what = f"{label} {json.dumps(source.get(field) or '')}" if field else label
                yield from _warn(name, what, [(item.get("path") or "", "") for item in source["items"]])
        projected = volume.get("projected")
        if projected and len(projected.get("sources") or ()) > 0:
            placed = [p for source in projected["sources"] for p in _projected(source)]
            if len(placed) > 1:
                yield from _warn(name, "Projected", placed)


def _projected(source: Object) -> Iterator[Placed]:
    for kind, label in (("configMap", "ConfigMap"), ("secret", "Secret")):
        part = source.get(kind)
        if part:
            for item in part.get("items") or ():
                yield item.get("path") or "", f"{label} {json.dumps(part.get('name') or '')}"
            return
    if source.get("downwardAPI"):
        for item in source["downwardAPI"].get("items") or ():
            yield item.get("path") or "", "DownwardAPI"
    elif source.get("serviceAccountToken"):
        yield source["serviceAccountToken"].get("path") or "", "ServiceAccountToken"
    elif source.get("clusterTrustBundle"):
        bundle = source["clusterTrustBundle"]
        named = bundle.get("name") if bundle.get("name") is not None else bundle.get("signerName") or ""
        yield bundle.get("path") or "", f"ClusterTrustBundle {json.dumps(named)}"
    elif source.get("podCertificate"):
        for field in ("credentialBundlePath", "keyPath", "certificateChainPath"):
            if source["podCertificate"].get(field):
                yield source["podCertificate"][field], "PodCertificate"


def _warn(volume: str, what: str, placed: list[Placed]) -> Iterator[str]:
    before: list[Placed] = []
    for path, source in placed:
        path = path.rstrip("/")
        for other, other_source in before:
            if _overlap(path, other):
                yield (
                    f"volume {json.dumps(volume)} ({what}): overlapping paths: {_shown(path, source)} with "
                    f"{_shown(other, other_source)}"
                )
        before.append((path, source))


def _overlap(a: str, b: str) -> bool:
    return a == b or f"{a}/".startswith(f"{b}/") or f"{b}/".startswith(f"{a}/")


def _shown(path: str, source: str) -> str:
    return f"{json.dumps(path)} ({source})" if source else json.dumps(path)
