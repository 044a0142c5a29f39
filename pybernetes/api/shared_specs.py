"""Equal specs are one object, in all objects that are kept, with their JSON text known.

A pod's spec takes most of its memory and of the work of a write, and most pods come from a few templates. A shared spec
is never changed, nor is anything in it: whoever wants another replaces it, so that "is it the same?" is answered by
identity. One bounded table, the least recently used go first; what left it is an ordinary object that nobody changes.
One thread at a time: the event loop's.
"""

from __future__ import annotations

from collections import OrderedDict

import orjson

from pybernetes.api.meta import Object

BYTES_MAX = 8 * 1024 * 1024
"""Of texts in all; a decoded spec is about four times as large as its text."""
_TEXT_BYTES_MAX = BYTES_MAX // 16

_by_text: OrderedDict[bytes, Object] = OrderedDict()
_texts: dict[int, tuple[Object, bytes]] = {}
"""The specs of `_by_text` by their identity, which their being kept here keeps theirs."""
_bytes = 0


def share(spec: Object) -> Object:
    """The one spec that is equal to this, with members in the same order. Nobody may change `spec` from now on."""
    if is_shared(spec):
        return spec
    return _keep(orjson.dumps(spec), spec)


def of_text(text: bytes) -> Object:
    """The shared spec with this text, in the spelling of orjson."""
    known = _by_text.get(text)
    if known is not None:
        _by_text.move_to_end(text)
        return known
    return _keep(text, orjson.loads(text))


def _keep(text: bytes, spec: Object) -> Object:
    global _bytes
    known = _by_text.get(text)
    if known is not None:
        _by_text.move_to_end(text)
        return known
    if len(text) > _TEXT_BYTES_MAX:
        return spec
    _by_text[text] = spec
    _texts[id(spec)] = (spec, text)
    _bytes += len(text)
    while _bytes > BYTES_MAX:
        gone, old = _by_text.popitem(last=False)
        del _texts[id(old)]
        _bytes -= len(gone)
    return spec


def is_shared(spec: Object) -> bool:
    return id(spec) in _texts and _texts[id(spec)][0] is spec


def text_of(spec: Object | None) -> bytes | None:
    """The JSON text of a shared spec, None of one that is not shared."""
    known = _texts.get(id(spec))
    return known[1] if known is not None and known[0] is spec else None


def text_made(spec: Object | None) -> bytes:
    """The JSON text of any spec."""
    return text_of(spec) or orjson.dumps(spec)


def changed() -> list[Object]:
    """The shared specs that somebody changed, against the rule: for tests."""
    return [spec for text, spec in _by_text.items() if orjson.dumps(spec) != text]
