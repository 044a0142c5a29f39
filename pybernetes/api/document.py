"""A document that the server hands out as it is: its bytes and the ETag by which a client knows it again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Document:
    """Content ready for the wire. `etag` is bare; the header has it in quotes."""

    content: bytes
    etag: str

    @classmethod
    def of(cls, content: bytes) -> Document:
        return cls(content, hashlib.sha512(content).hexdigest().upper())

    @classmethod
    def of_json(cls, value: Mapping[str, Any]) -> Document:
        return cls.of(orjson.dumps(value))
