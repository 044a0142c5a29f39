"""Content negotiation: which form of an answer the client takes. Pure; results are kept per header value.

Forms: JSON, YAML, and for objects and lists the Table and PartialObjectMetadata transformations of meta.k8s.io.
Protobuf and CBOR are not served: a client that lists JSON too gets JSON, one that does not gets 406.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from pybernetes.api.errors import NotAcceptable

JSON = "application/json"
YAML = "application/yaml"

_TRANSFORMS = {
    "Table": ("v1", "v1beta1"),
    "PartialObjectMetadata": ("v1", "v1beta1"),
    "PartialObjectMetadataList": ("v1", "v1beta1"),
}


@dataclass(frozen=True, slots=True)
class Media:
    """What is sent: `transform` is empty for the object as it is, else a kind of meta.k8s.io in `version`."""

    type: str = JSON
    transform: str = ""
    version: str = "v1"
    pretty: bool = False


PLAIN = Media()


def not_acceptable() -> NotAcceptable:
    return NotAcceptable("only the following media types are accepted: application/json, application/yaml")


def clauses(accept: str) -> list[tuple[str, dict[str, str]]]:
    """The clauses of an Accept header, the preferred ones first."""
    found: list[tuple[float, int, str, dict[str, str]]] = []
    for i, clause in enumerate(accept.split(",")):
        parts = clause.split(";")
        media = parts[0].strip().lower()
        if not media:
            continue
        parameters = {}
        for part in parts[1:]:
            key, _, value = part.partition("=")
            parameters[key.strip().lower()] = value.strip().strip('"')
        try:
            quality = float(parameters.pop("q", "1"))
        except ValueError:
            quality = 1.0
        if quality > 0:
            found.append((-quality, i, media, parameters))
    found.sort(key=lambda c: c[:2])
    return [(media, parameters) for _, _, media, parameters in found]


@lru_cache(maxsize=512)
def negotiate(accept: str, *, transforms: bool = True, tables: bool = True) -> Media:
    """The best form for an Accept header; without `tables`, a Table is none of them. Raises `NotAcceptable`."""
    if not accept:
        return PLAIN
    for media, parameters in clauses(accept):
        if media in (JSON, "*/*", "application/*"):
            as_kind = parameters.get("as", "")
            if as_kind:
                version = parameters.get("v", "")
                served = transforms and parameters.get("g") == "meta.k8s.io"
                if not served or version not in _TRANSFORMS.get(as_kind, ()):
                    continue
                if as_kind == "Table" and not tables:
                    continue
                return Media(JSON, as_kind, version)
            return Media(pretty=parameters.get("pretty") == "1") if "pretty" in parameters else PLAIN
        if media == YAML and "as" not in parameters:
            return Media(YAML)
    raise not_acceptable()


@lru_cache(maxsize=256)
def accepts_gzip(accept_encoding: str) -> bool:
    for clause in accept_encoding.split(","):
        coding, _, parameters = clause.strip().lower().partition(";")
        if coding.strip() == "gzip":
            return parameters.replace(" ", "") not in ("q=0", "q=0.0")
    return False
