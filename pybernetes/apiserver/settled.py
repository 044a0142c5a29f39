"""Specs that have been decoded and defaulted before, by the text they came as.

Most pods of a cluster are made from a few templates, and a patch seldom touches the spec: decoding and defaulting give
the same each time. For kinds whose strategy says that its defaults depend on nothing but the spec, the result is kept
as a shared spec. Bounded; one event loop owns it.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from pybernetes.api import shared_specs
from pybernetes.api.meta import Object
from pybernetes.api.resources import Resource
from pybernetes.lib.memo import Memo

_BYTES_MAX = 4 * 1024 * 1024
_SPEC_BYTES_MAX = 64 * 1024
_RECENT = 8


class SettledSpecs:
    def __init__(self) -> None:
        self._by_kind: dict[str, Memo[tuple[bytes, Object]]] = {}
        self._recent: dict[str, list[bytes]] = {}

    @staticmethod
    def key(body: Object) -> bytes:
        """The text of the body's spec; empty for one that is not worth to be kept."""
        spec = body.get("spec")
        if type(spec) is not dict or not spec:
            return b""
        key = shared_specs.text_of(spec)
        if key is not None:
            return key
        try:
            key = orjson.dumps(spec)
        except orjson.JSONEncodeError:
            return b""
        return key if len(key) <= _SPEC_BYTES_MAX else b""

    def get(self, resource: Resource, key: bytes) -> tuple[bytes, Object] | None:
        """The decoded, defaulted spec, with its text. It is everybody's: neither it nor anything in it may change."""
        memo = self._by_kind.get(resource.storage_id)
        known = memo.get(key) if memo is not None else None
        if known is not None:
            recent = self._recent.setdefault(resource.storage_id, [])
            if not recent or recent[0] is not key:
                if key in recent:
                    recent.remove(key)
                recent.insert(0, key)
                del recent[_RECENT:]
        return known

    def recent(self, resource: Resource) -> Sequence[bytes]:
        """The texts of specs that came last, of which the next body's may be one."""
        return self._recent.get(resource.storage_id, ())

    def put(self, resource: Resource, key: bytes, spec: Object) -> None:
        """Keeps what `key` came to, and that it comes to itself. The spec had no unknown fields and no duplicates."""
        memo = self._by_kind.setdefault(resource.storage_id, Memo(_BYTES_MAX))
        text = orjson.dumps(spec)
        settled = text, shared_specs.of_text(text)
        memo.put(key, settled)
        memo.put(text, settled)
