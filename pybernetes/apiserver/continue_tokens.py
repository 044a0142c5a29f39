"""Continue tokens: the revision of a list's first page and the key to go on from, opaque to clients. Pure.

What is wrong with a token is told in the words of upstream, whose texts are partly those of Go's decoders.
Source: upstream's ``apiserver/pkg/storage/continue.go``.
"""

from __future__ import annotations

import base64
import string
from typing import Any

import orjson

from pybernetes.api.errors import BadRequest
from pybernetes.api.schema import text

_VERSION = "meta.k8s.io/v1"
_LENGTH_MAX = 4096
_ALPHABET = frozenset(string.ascii_letters + string.digits + "-_")
_FIELDS = {"v": "string", "rv": "int64", "start": "string"}
_INT64_MAX = 2**63 - 1


class _Invalid(ValueError):
    """What follows ``continue key is not valid``."""


def encode(revision: int, start: str) -> str:
    token = orjson.dumps({"v": _VERSION, "rv": revision, "start": start})
    return base64.urlsafe_b64encode(token).decode().rstrip("=")


def decode(token: str) -> tuple[int, str]:
    """``(revision, start key)``; the revision is negative for "the newest". Raises `BadRequest`."""
    try:
        if len(token) > _LENGTH_MAX:
            raise _Invalid(": too long")
        value = _fields(_unbase64(token))
        if value["v"] != _VERSION:
            raise _Invalid(f": server does not recognize this encoded version {value['v']}")
        if not value["rv"]:
            raise _Invalid(f": incorrect encoded start resourceVersion (version {_VERSION})")
        start = value["start"]
        if not start:
            raise _Invalid(f": encoded start key empty (version {_VERSION})")
        parts = start.removeprefix("/").split("/")
        if start != "/" and any(part in ("", ".", "..") for part in parts):
            raise _Invalid(f": {start}")
    except _Invalid as e:
        raise refused(str(e)) from e
    return value["rv"], start


def refused(why: str) -> BadRequest:
    """`why` follows the common words."""
    return BadRequest(f"invalid continue token: continue key is not valid{why}")


def _unbase64(token: str) -> bytes:
    """As Go's RawURLEncoding: without padding, line breaks let pass, bits that are left over ignored."""
    digits = []
    at = 0
    for byte in token.encode("utf-8", "replace"):
        character = chr(byte)
        if character in _ALPHABET:
            digits.append(character)
        elif character not in "\r\n":
            raise _Invalid(f": illegal base64 data at input byte {at}")
        at += 1
    if len(digits) % 4 == 1:
        raise _Invalid(f": illegal base64 data at input byte {at - 1}")
    return base64.urlsafe_b64decode("".join(digits) + "=" * (-len(digits) % 4))


def _fields(data: bytes) -> dict[str, Any]:
    """As Go decodes JSON into a struct: names in any case, null is nothing, the first wrong type is told."""
    found: dict[str, Any] = {"v": "", "rv": 0, "start": ""}
    try:
        value = text.parse_json(data).value
    except text.TextError as e:
        raise _Invalid(f": {e}") from e
    if value is None:
        return found
    if not isinstance(value, dict):
        kind = text.GO_KINDS[type(value)]
        raise _Invalid(f": json: cannot unmarshal {kind} into Go value of type storage.continueToken")
    fault = ""
    for name, member in value.items():
        key = name if name in _FIELDS else name.lower()
        wanted = _FIELDS.get(key)
        if wanted is None or member is None:
            continue
        fits = type(member) is str if wanted == "string" else type(member) is int and abs(member) <= _INT64_MAX
        if fits:
            found[key] = member
        elif not fault:
            kind = text.GO_KINDS[type(member)]
            if kind == "number" and wanted == "int64":
                kind = f"number {orjson.dumps(member).decode()}"
            fault = f": json: cannot unmarshal {kind} into Go struct field continueToken.{key} of type {wanted}"
    if fault:
        raise _Invalid(fault)
    return found
