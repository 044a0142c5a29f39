"""Reads the compact schema file that `pybernetes.api.schema.definitions` makes. Loaded once a process, then shared
and read-only."""

from __future__ import annotations

import os
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson

from pybernetes.api.resources import BUILTIN
from pybernetes.api.schema import definitions

Definition = dict[str, Any]
REF = definitions.REF


class SchemaMissing(RuntimeError):
    """The schema file is not there and cannot be made."""


def _cache_path() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "pybernetes" / definitions.FILE_NAME


def _locate() -> Path:
    """The file of the installed package, or one made from kubernetes-validate in the user's cache."""
    installed = Path(__file__).parent / "data" / definitions.FILE_NAME
    if installed.is_file():
        return installed
    cached = _cache_path()
    # A checkout moves on while its cache stays: a file older than what it is made by is made again.
    sources = (Path(definitions.__file__), Path(definitions.__file__).parent.parent / "resources.py")
    if cached.is_file() and cached.stat().st_mtime >= max(s.stat().st_mtime for s in sources):
        return cached
    try:
        definitions.build(cached, BUILTIN)
    except (OSError, LookupError) as e:
        raise SchemaMissing(
            f"the API schema {installed} is missing and could not be made: {e}. "
            "Install Pybernetes with pip, or install kubernetes-validate==1.37.0."
        ) from e
    return cached


@lru_cache(maxsize=1)
def _members() -> tuple[bytes, bytes]:
    """The file's two gzip members, the second still compressed."""
    content = _locate().read_bytes()
    first = zlib.decompressobj(wbits=31)
    structure = first.decompress(content)
    assert first.eof and first.unused_data, "the schema file has two members"
    return structure, first.unused_data


@lru_cache(maxsize=1)
def structure() -> dict[str, Definition]:
    """Every definition in OpenAPI v2's form, by name, without descriptions."""
    found: dict[str, Definition] = orjson.loads(_members()[0])
    return found


@lru_cache(maxsize=1)
def descriptions() -> dict[str, dict[str, str]]:
    """Descriptions by definition and property; a definition's own stands at the empty string."""
    found: dict[str, dict[str, str]] = orjson.loads(zlib.decompress(_members()[1], wbits=31))
    return found


@lru_cache(maxsize=1)
def names_by_gvk() -> dict[tuple[str, str, str], str]:
    """The definition of each (group, version, kind)."""
    return {
        (gvk["group"], gvk["version"], gvk["kind"]): name
        for name, definition in structure().items()
        for gvk in definition.get("x-kubernetes-group-version-kind", ())
    }
