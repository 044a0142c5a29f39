"""Lists: ``sum``, ``min``, ``max``, ``isSorted``, ``indexOf``, ``lastIndexOf``.

The last two exist for texts already, in the runtime's own library, which cannot be extended: `source` gives them other
names, and both forms are here.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from pybernetes.api.cel.libraries import Declarer
from pybernetes.api.cel.messages import Types
from pybernetes.api.cel.source import INDEX, LAST_INDEX


def declare(d: Declarer, types: Types) -> None:
    t = d.type
    # The runtime dispatches lists by their being lists alone; the element's type only tells the checker the result's.
    anything = t.List(t.DYN)
    d.add("isSorted", [anything], t.BOOL, lambda items: all(a <= b for a, b in pairwise(items)))
    d.add("sum", [anything], t.DYN, _sum)
    d.add("min", [anything], t.DYN, lambda items: _extreme("min", min, items))
    d.add("max", [anything], t.DYN, lambda items: _extreme("max", max, items))
    for element in (t.STRING, t.INT, t.UINT, t.DOUBLE, t.BOOL, t.BYTES, t.DURATION, t.TIMESTAMP):
        d.add(INDEX, [anything, element], t.INT, lambda items, wanted: items.index(wanted) if wanted in items else -1)
        d.add(LAST_INDEX, [anything, element], t.INT, _last_index)
    d.add(INDEX, [t.STRING, t.STRING], t.INT, str.find)
    d.add(INDEX, [t.STRING, t.STRING, t.INT], t.INT, _index_from)
    d.add(LAST_INDEX, [t.STRING, t.STRING], t.INT, str.rfind)
    d.add(LAST_INDEX, [t.STRING, t.STRING, t.INT], t.INT, _last_index_from)


def _sum(items: list[Any]) -> Any:
    if items and isinstance(items[0], datetime.timedelta):
        return sum(items, datetime.timedelta())
    return sum(items)


def _extreme(name: str, pick: Callable[[list[Any]], Any], items: list[Any]) -> Any:
    if not items:
        raise ValueError(f"{name} called on empty list")
    return pick(items)


def _last_index(items: list[Any], wanted: Any) -> int:
    for at in range(len(items) - 1, -1, -1):
        if items[at] == wanted:
            return at
    return -1


def _within(text: str, offset: int) -> int:
    if not 0 <= offset <= len(text):
        raise ValueError(f"index out of range: {offset}")
    return offset


def _index_from(text: str, wanted: str, offset: int) -> int:
    return text.find(wanted, _within(text, offset))


def _last_index_from(text: str, wanted: str, offset: int) -> int:
    return text.rfind(wanted, 0, _within(text, offset) + len(wanted))
