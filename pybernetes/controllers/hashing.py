"""Stable hashes of pod templates, spelled in upstream's safe alphabet (no vowels, nothing look-alike). Pure.

Upstream hashes a dump of its Go structures; the value is an implementation detail there and here, but it must never
change for the same template, so it is taken over canonical JSON.
"""

from __future__ import annotations

import json
from typing import Any

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def fnv1a_32(data: bytes, state: int = 0x811C9DC5) -> int:
    for byte in data:
        state = ((state ^ byte) * 0x01000193) & 0xFFFFFFFF
    return state


def safe_encode(text: str) -> str:
    """Each character as one of the safe alphabet, as ``rand.SafeEncodeString``."""
    return "".join(_ALPHABET[ord(c) % len(_ALPHABET)] for c in text)


def canonical(value: Any) -> bytes:
    """One spelling of decoded JSON: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def object_hash(value: Any, collision_count: int | None = None) -> str:
    """Up to ten safe characters for decoded JSON; `collision_count` tells same-hash values apart."""
    state = fnv1a_32(canonical(value))
    if collision_count is not None:
        state = fnv1a_32(collision_count.to_bytes(8, "little"), state)
    return safe_encode(str(state))
