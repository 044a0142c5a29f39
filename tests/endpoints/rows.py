"""The list of endpoints, and how a path of it is taken apart. Facts only: what must hold is in the checks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

LIST = Path(__file__).with_name("endpoints.tsv")
"""Operation, action, method and path of each endpoint that Kubernetes 1.37 calls stable, as its OpenAPI names them."""


@dataclass(frozen=True, slots=True)
class Row:
    operation: str
    action: str
    method: str
    path: str

    def __str__(self) -> str:
        return f"{self.operation:<55} {self.method:<7} {self.path}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row belongs: a resource and perhaps one of its subresources."""

    group: str
    version: str
    plural: str
    subresource: str
    namespaced: bool
    """Whether the path names a namespace."""
    tail: bool
    """Whether a path of the caller's own follows, as behind a proxy."""

    @property
    def key(self) -> tuple[str, str, str]:
        return self.group, self.version, self.plural


def rows() -> list[Row]:
    lines = LIST.read_text().splitlines()
    assert lines[0].split("\t") == ["operation", "action", "method", "path"]
    return [Row(*line.split("\t")) for line in lines[1:]]


def place(path: str) -> Place | None:
    """The resource that a path names, None for discovery and other documents."""
    parts = path.strip("/").split("/")
    if parts[0] == "api" and len(parts) > 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespaced = rest[:2] == ["namespaces", "{namespace}"]
    if namespaced:
        rest = rest[2:]
    return Place(group, version, rest[0], rest[2] if len(rest) > 2 else "", namespaced, len(rest) > 3)
