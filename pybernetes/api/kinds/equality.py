"""Equality of objects as the API means it, and the text that shows a difference.

An absent list or map equals an empty one; numbers that are quantities are compared by value where their path says
so (they are canonical after defaulting, so text equality is enough there). Pure functions.
"""

from __future__ import annotations

import json
from typing import Any

from pybernetes.api.meta import Object

_EMPTY: tuple[Any, ...] = (None, {}, [])


def semantic_equal(a: Any, b: Any) -> bool:
    """Whether two decoded values say the same. Empty lists and maps equal absent ones."""
    if a == b:
        # 0 == False and 1 == True in Python; the decoder has checked types, so a mix cannot reach here. Where it has
        # not, since a field may hold any JSON, `json_equal` is what to ask.
        return True
    if isinstance(a, dict) and isinstance(b, dict):
        for key, value in a.items():
            if not semantic_equal(value, b.get(key)):
                return False
        return all(key in a or value in _EMPTY for key, value in b.items())
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(semantic_equal, a, b))
    return (a is None or a in _EMPTY) and (b is None or b in _EMPTY)


def json_equal(a: Any, b: Any) -> bool:
    """`semantic_equal` of values with fields of any JSON below: true, 1 and 1.0 differ."""
    if a is b:
        return True
    if isinstance(a, dict) and isinstance(b, dict):
        return all(json_equal(value, b.get(key)) for key, value in a.items()) and all(
            key in a or value in _EMPTY for key, value in b.items()
        )
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(json_equal, a, b))
    if a == b:
        return type(a) is type(b)
    return (a is None or a in _EMPTY) and (b is None or b in _EMPTY)


_MAX_LINES = 60


def difference(old: Any, new: Any, name: str = "") -> str:
    """What changed, one line a leaf: ``- path: old`` and ``+ path: new``. At most 60 lines.

    Upstream prints Go's ``cmp.Diff`` here, which is documented as unstable; nobody may parse it.
    """
    lines: list[str] = []
    _collect(old, new, name, lines)
    if len(lines) > _MAX_LINES:
        lines = [*lines[:_MAX_LINES], "  ..."]
    return "\n".join(lines)


def _collect(old: Any, new: Any, path: str, lines: list[str]) -> None:
    if semantic_equal(old, new) or len(lines) > _MAX_LINES:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            _collect(old.get(key), new.get(key), f"{path}.{key}" if path else key, lines)
        return
    if isinstance(old, list) and isinstance(new, list):
        for i in range(max(len(old), len(new))):
            _collect(old[i] if i < len(old) else None, new[i] if i < len(new) else None, f"{path}[{i}]", lines)
        return
    if old is not None:
        lines.append(f"- \t{path}: {_show(old)}")
    if new is not None:
        lines.append(f"+ \t{path}: {_show(new)}")


def _show(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def drop_zero(obj: Object, *names: str) -> None:
    """Removes the named fields where they hold their zero value (false, 0, "", empty).

    The API's own encoding leaves such fields out when they are plain values and not pointers, so an object that
    spells out ``hostNetwork: false`` is the same as one that does not.
    """
    for name in names:
        if name in obj and not obj[name]:
            del obj[name]
