"""The definitions behind the documents: those of the built-in kinds with their descriptions, and any that join."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from pybernetes.api.openapi.operations import VERSION_INFO, GroupVersionKind
from pybernetes.api.schema import source
from pybernetes.api.schema.source import REF, Definition


@dataclass(slots=True)
class Schemas:
    """Definitions in OpenAPI v2's form, by name, and which of them a kind has.

    `extra` are those of custom kinds: (definition name, definition with its descriptions) by kind.
    """

    extra: Mapping[GroupVersionKind, tuple[str, Definition]] = field(default_factory=dict)

    def name(self, kind: GroupVersionKind) -> str | None:
        if kind in self.extra:
            return self.extra[kind][0]
        if kind == VERSION_INFO:
            return "io.k8s.apimachinery.pkg.version.Info"
        return source.names_by_gvk().get(kind)

    def definition(self, name: str) -> Definition:
        """The definition with its descriptions put back. A new dictionary, sharing leaves."""
        structure = source.structure()
        if name not in structure:
            return next(definition for own, definition in self.extra.values() if own == name)
        texts = source.descriptions().get(name, {})
        out: Definition = {}
        if texts.get(""):
            out["description"] = texts[""]
        for key, value in structure[name].items():
            if key == "properties":
                out[key] = {
                    p: {"description": texts[p], **schema} if p in texts else schema for p, schema in value.items()
                }
            else:
                out[key] = value
        return out

    def all_names(self) -> list[str]:
        return sorted({*source.structure(), *(name for name, _ in self.extra.values())})

    def closure(self, kinds: Iterable[GroupVersionKind | None]) -> list[str]:
        """Names of all definitions that those kinds reach, sorted."""
        found: set[str] = set()
        waiting = [name for kind in kinds if kind is not None and (name := self.name(kind)) is not None]
        while waiting:
            name = waiting.pop()
            if name in found:
                continue
            found.add(name)
            raw = source.structure().get(name) or self.definition(name)
            waiting.extend(references(raw))
        return sorted(found)


def references(schema: Definition) -> Iterator[str]:
    """Names of the definitions that a schema refers to."""
    ref = schema.get("$ref")
    if isinstance(ref, str):
        yield ref.removeprefix(REF)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from references(schema[key])
    for prop in (schema.get("properties") or {}).values():
        yield from references(prop)
    for part in schema.get("allOf") or ():
        yield from references(part)
