"""Makes the compact schema file: the OpenAPI definitions of the served kinds, out of those that the PyPI package
``kubernetes-validate`` carries for Kubernetes 1.37.

Runs when a wheel (or an editable install) is built, and at first start from a bare source checkout. Imports nothing
but the standard library, since a build environment has nothing else. Pure, but for `read_package` and `write`.

The file is two gzip members after one another: the definitions without their descriptions, which every server start
reads, and the descriptions, which only ``kubectl explain`` and the OpenAPI documents need. Both are JSON.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

PACKAGE = "kubernetes_validate"
RELEASE = "v1.37.0"
_IN_PACKAGE = f"kubernetes-json-schema/{RELEASE}-local/_definitions.json"

_OLD_REF = "#/$defs/"
REF = "#/definitions/"
META = "io.k8s.apimachinery.pkg.apis.meta.v1."

_EXTRA_ROOTS = (
    "io.k8s.apimachinery.pkg.version.Info",
    *(
        META + name
        for name in (
            "APIGroup", "APIGroupList", "APIResourceList", "APIVersions", "DeleteOptions", "Patch", "Status",
            "WatchEvent",
        )
    ),
)  # fmt: skip

_REPLACED: dict[str, dict[str, Any]] = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": "string"},
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": "string", "format": "int-or-string"},
}
"""Types that the package turned from OpenAPI's form into unions; here they get their form back."""

_REPLACED_DESCRIPTIONS = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": (
        "Quantity is an amount of a resource: a number with a decimal suffix (n, u, m, k, M, G, T, P, E), a binary one "
        "(Ki, Mi, Gi, Ti, Pi, Ei) or a decimal exponent, such as 500m, 1.5Gi or 1e3."
    ),
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": (
        "IntOrString is a number or a string, in many places a percentage such as 25%."
    ),
}

Definition = dict[str, Any]


class ServedResource(Protocol):
    """What of `pybernetes.api.resources.Resource` counts here."""

    @property
    def group(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def subresources(self) -> Iterable[Any]: ...


def read_package() -> dict[str, Definition]:
    """The definitions as the package has them. Raises `FileNotFoundError` where it is not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"the Python package {PACKAGE} is not installed")
    path = Path(spec.origin).parent / _IN_PACKAGE
    found: dict[str, Definition] = json.loads(path.read_bytes())["$defs"]
    return found


def normalize(schema: Any) -> Any:
    """A schema in OpenAPI's form again: no ``null`` among the types, no enum of the own kind, references renamed."""
    out: Definition = {}
    for key, value in schema.items():
        if key == "$ref":
            out[key] = REF + value.removeprefix(_OLD_REF)
        elif key == "type" and isinstance(value, list):
            out[key] = next(t for t in value if t != "null")
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            out[key] = normalize(value)
        elif key == "properties":
            out[key] = {name: normalize(prop) for name, prop in value.items()}
        elif key == "enum" and len(value) == 1:
            continue  # apiVersion and kind: the package nails them down, upstream does not
        elif key not in ("description", "oneOf", "x-kubernetes-unions"):
            out[key] = value
    return out


def _references(schema: Definition) -> Iterator[str]:
    """Names of the definitions that a normalized schema refers to."""
    if "$ref" in schema:
        yield schema["$ref"].removeprefix(REF)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from _references(schema[key])
    for prop in (schema.get("properties") or {}).values():
        yield from _references(prop)


def select(
    package: dict[str, Definition], resources: Iterable[ServedResource]
) -> tuple[dict[str, Definition], dict[str, dict[str, str]]]:
    """(definitions without descriptions, descriptions) of everything that the resources' kinds reach.

    Descriptions are by definition and property; a definition's own stands at the empty string.
    Raises `LookupError` for a resource whose kind the package does not know.
    """
    by_gvk = {
        (gvk["group"], gvk["version"], gvk["kind"]): name
        for name, definition in package.items()
        for gvk in definition.get("x-kubernetes-group-version-kind", ())
    }
    resources = list(resources)
    served = {(r.group, r.version) for r in resources}
    roots = list(_EXTRA_ROOTS)
    for r in resources:
        own = by_gvk.get((r.group, r.version, r.kind))
        if own is None:
            raise LookupError(f"{PACKAGE} has no definition of {r.group}/{r.version} {r.kind}")
        roots.append(own)
        if (r.group, r.version, r.kind + "List") in by_gvk:
            roots.append(by_gvk[r.group, r.version, r.kind + "List"])
        for s in r.subresources:
            # What connects (exec, proxy, ...) has options in the query and no definition.
            gvk = (s.group or r.group, s.version or r.version, s.kind)
            if gvk in by_gvk:
                roots.append(by_gvk[gvk])

    structure: dict[str, Definition] = {}
    descriptions: dict[str, dict[str, str]] = {}
    waiting = list(dict.fromkeys(roots))
    while waiting:
        name = waiting.pop()
        if name in structure:
            continue
        raw = package[name]
        definition = normalize(raw) | _REPLACED.get(name, {})
        gvks = definition.get("x-kubernetes-group-version-kind")
        if gvks and len(gvks) > 1:
            # DeleteOptions and WatchEvent name every group and version there ever was.
            definition["x-kubernetes-group-version-kind"] = [g for g in gvks if (g["group"], g["version"]) in served]
        structure[name] = definition
        texts = {k: v["description"] for k, v in (raw.get("properties") or {}).items() if v.get("description")}
        own_text = _REPLACED_DESCRIPTIONS.get(name) or raw.get("description")
        if own_text:
            texts[""] = own_text
        descriptions[name] = texts
        waiting.extend(_references(definition))
    return dict(sorted(structure.items())), dict(sorted(descriptions.items()))


def encode(structure: dict[str, Definition], descriptions: dict[str, dict[str, str]]) -> bytes:
    """The file's content; the same input gives the same bytes."""
    members = (
        json.dumps(part, separators=(",", ":"), ensure_ascii=False).encode() for part in (structure, descriptions)
    )
    return b"".join(gzip.compress(m, 9, mtime=0) for m in members)


def write(path: Path, content: bytes) -> None:
    """Puts the file in place in one step: a reader sees the old one, the new one or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name + ".")
    try:
        with os.fdopen(handle, "wb") as f:
            f.write(content)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


FILE_NAME = f"definitions-{RELEASE}.json.gz"


def build(path: Path, resources: Iterable[ServedResource]) -> None:
    """Makes the file at `path` from the installed package."""
    write(path, encode(*select(read_package(), resources)))
