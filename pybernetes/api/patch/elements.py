"""Path elements of the items of associative lists: ``k:{...}`` by the keys of a list map, ``v:...`` by the value of a
set. Pure, but for bounded memories of texts, since the same few names come again and again.

Source: ``sigs.k8s.io/structured-merge-diff`` (typed/helpers.go, fieldpath/serialize-pe.go).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import orjson

from pybernetes.api.patch.fields import FieldPath, show
from pybernetes.api.schema.nodes import ListNode, ObjectNode

_TEXTS_MAX = 8192


class TypedError(ValueError):
    """A value that server-side apply cannot take: a field its type does not have, an item without its key."""


@lru_cache(maxsize=_TEXTS_MAX, typed=True)
def _key_text(names: tuple[str, ...], *values: Any) -> str:
    return "k:" + orjson.dumps(dict(zip(names, values, strict=True))).decode()


@lru_cache(maxsize=_TEXTS_MAX, typed=True)
def _value_text(value: Any) -> str:
    return "v:" + orjson.dumps(value).decode()


class Elements:
    """The elements of one list type's items."""

    __slots__ = ("_defaults", "_is_set", "_keys", "_single")

    def __init__(self, node: ListNode) -> None:
        self._is_set = node.list_type == "set"
        self._keys = tuple(sorted(node.map_keys))
        self._single = self._keys[0] if len(self._keys) == 1 else ""
        fields = node.items.fields if isinstance(node.items, ObjectNode) else {}
        self._defaults = tuple(fields[k].default if k in fields else None for k in self._keys)

    def of(self, item: Any, index: int = 0, path: FieldPath = ()) -> str:
        """The element of an item. Raises `TypedError`."""
        if self._is_set:
            if type(item) in (dict, list) or item is None:
                self._refuse_value(item, index, path)
            return _value_text(item)
        if type(item) is not dict:
            raise _fault(path, index, "associative list with keys may not have non-map elements")
        if self._single:
            value = item.get(self._single)
            if type(value) is str:
                return _key_text(self._keys, value)
        values = []
        for key, default in zip(self._keys, self._defaults, strict=True):
            value = item.get(key)
            if value is None:
                value = default
            if value is None:
                raise _fault(
                    path,
                    index,
                    f'associative list with keys has an element that omits key field "{key}" '
                    "(and doesn't have default value)",
                )
            if type(value) in (dict, list):
                raise _fault(path, index, f'associative list with keys has a key field "{key}" that is no scalar')
            values.append(value)
        return _key_text(self._keys, *values)

    @staticmethod
    def _refuse_value(item: Any, index: int, path: FieldPath) -> None:
        if isinstance(item, dict):
            why = "associative list without keys has an element that's a map type"
        elif isinstance(item, list):
            why = "not supported: associative list with lists as elements"
        else:
            why = "associative list without keys has an element that's an explicit null"
        raise _fault(path, index, why)

    def of_items(self, items: Sequence[Any], path: FieldPath = ()) -> list[str]:
        return [self.of(item, i, path) for i, item in enumerate(items)]


def _fault(path: FieldPath, index: int, why: str) -> TypedError:
    return TypedError(f"{show(path)}: element {index}: {why}")


_elements: dict[ListNode, Elements] = {}


def elements_of(node: ListNode) -> Elements:
    found = _elements.get(node)
    if found is None:
        found = _elements[node] = Elements(node)
    return found
