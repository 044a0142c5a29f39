"""Encoded forms of objects, lists and watch events, so that nothing is serialised twice.

Stored bytes are the object's JSON with kind, apiVersion and metadata first and no resourceVersion (the store's
revision is the version). Served bytes are the same with the resourceVersion spliced in at the start of the metadata:
a copy of memory, not another encoding. Pure functions; no state.
"""

from __future__ import annotations

from typing import Any

import orjson

from pybernetes.api import shared_specs
from pybernetes.api.errors import BadRequest
from pybernetes.api.meta import Object
from pybernetes.api.resources import Resource

DEPTH_MAX = 200
"""How deep a stored object may be nested. Tables and lists wrap it, and managed fields mirror it."""
_ENCODED_DEPTH_MAX = 254
"""orjson's own bound."""

_METADATA = b'"metadata":{'
_VERSION = b'"resourceVersion":"'


def encode(value: Any) -> bytes:
    return orjson.dumps(value)


def encode_pretty(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def encode_stored(api_version: str, kind: str, obj: Object) -> bytes:
    """The bytes that go to the store. The metadata must not be empty; its resourceVersion is left out."""
    meta = obj["metadata"]
    if "resourceVersion" in meta:
        meta = {k: v for k, v in meta.items() if k != "resourceVersion"}
    assert meta, "an object without metadata cannot be stored"
    ordered: Object = {"kind": kind, "apiVersion": api_version, "metadata": meta}
    for key, value in obj.items():
        if key not in ordered:
            ordered[key] = value
    text = shared_specs.text_of(obj.get("spec"))
    if text is not None:
        ordered["spec"] = orjson.Fragment(text)
    return orjson.dumps(ordered)


def too_deep(obj: Object, stored: bytes) -> bool:
    """Whether an object is nested deeper than `DEPTH_MAX`, so that what wraps it could no longer be encoded."""
    if stored.count(b"{") + stored.count(b"[") <= DEPTH_MAX:
        return False
    wrapped: Any = obj
    for _ in range(_ENCODED_DEPTH_MAX - DEPTH_MAX):
        wrapped = [wrapped]
    try:
        orjson.dumps(wrapped)
    except TypeError:
        return True
    return False


def exceeds_depth(failure: Exception) -> bool:
    """Whether what failed is that a request's value is nested deeper than Python or orjson can go."""
    return isinstance(failure, RecursionError) or (
        isinstance(failure, TypeError) and str(failure) == "Recursion limit reached"
    )


def depth_exceeded() -> BadRequest:
    return BadRequest("exceeded max depth")


def with_version(stored: bytes, revision: int) -> bytes:
    """Served bytes of stored ones."""
    at = stored.find(_METADATA)
    assert at > 0, "stored bytes without metadata"
    at += len(_METADATA)
    return b'%b"resourceVersion":"%d",%b' % (stored[:at], revision, stored[at:])


def replace_version(served: bytes, revision: int) -> bytes:
    """Served bytes with another resourceVersion, as the last state of a deleted object has it."""
    at = served.find(_METADATA) + len(_METADATA)
    assert served.startswith(_VERSION, at), "served bytes start their metadata with the resourceVersion"
    at += len(_VERSION)
    return b"%b%d%b" % (served[:at], revision, served[served.index(b'"', at) :])


def list_head(
    api_version: str, kind: str, revision: str, continue_token: str = "", remaining: int | None = None
) -> bytes:
    """The start of a list's bytes, up to and including the opening bracket of its items."""
    meta: Object = {"resourceVersion": revision}
    if continue_token:
        meta["continue"] = continue_token
    if remaining:
        meta["remainingItemCount"] = remaining
    head = orjson.dumps({"kind": kind, "apiVersion": api_version, "metadata": meta})
    return head[:-1] + b',"items":['


def typed_prefix(resource: Resource) -> bytes:
    """How the served bytes of every object of a resource begin: with its type, which items of a list do not have."""
    return b'{"kind":"%b","apiVersion":"%b",' % (resource.kind.encode(), resource.api_version.encode())


def untyped(raw: bytes, prefix: bytes) -> bytes | memoryview:
    """What follows the opening brace in an object's bytes, without its type: a view where they begin with `prefix`,
    as all do that this program has stored."""
    if raw.startswith(prefix):
        return memoryview(raw)[len(prefix) :]
    obj = orjson.loads(raw)
    return orjson.dumps({key: value for key, value in obj.items() if key not in ("kind", "apiVersion")})[1:]


def join_list(head: bytes, items: list[bytes | memoryview]) -> bytes:
    """A list's bytes of its head and of its items, each as `untyped` has it; takes over the list. All is copied once,
    which is most of what a large list costs."""
    if not items:
        return head + b"]}\n"
    items[0] = head + b"{" + items[0]
    items[-1] = bytes(items[-1]) + b"]}\n"
    return b",{".join(items)


def watch_frame(type_: str, raw: bytes) -> bytes:
    """One line of a watch's answer."""
    return b'{"type":"%b","object":%b}\n' % (type_.encode(), raw)


def bookmark_object(resource: Resource, revision: int, *, initial_events_end: bool = False) -> Object:
    meta: Object = {"resourceVersion": str(revision)}
    if initial_events_end:
        meta["annotations"] = {"k8s.io/initial-events-end": "true"}
    return {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": meta}
