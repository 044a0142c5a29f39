"""How many seats a request takes: one, and a list as many as it moves memory. Pure.

Source: upstream's ``pkg/util/flowcontrol/request`` with SizeBasedListCostEstimate: a seat for every 100 kB that a list
brings into memory, at most 10, and at most 15% of its level's seats.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

SEATS_MAX = 10
LEVEL_PART_MAX = 0.15
_SEAT_BYTES = 100_000
_CACHED_BYTES_MAX = 1_000_000
"""A list from the watch cache is streamed: it never holds more than this at once."""


def seats_max(nominal: int) -> int:
    """The widest request of a level with so many seats."""
    return max(1, min(SEATS_MAX, math.ceil(nominal * LEVEL_PART_MAX)))


def from_cache(query: Mapping[str, str]) -> bool:
    """Whether a list with these parameters is answered from the watch cache."""
    match, version = query.get("resourceVersionMatch", ""), query.get("resourceVersion", "")
    if match == "Exact" or query.get("continue"):
        return False
    return bool(match) or version in ("", "0") or query.get("limit", "0") == "0"


def list_width(query: Mapping[str, str], count: int, average_bytes: int, widest: int, *, one: bool = False) -> int:
    """The seats of a list of a kind with `count` objects of `average_bytes`; `one`: a field selector fixes its name."""
    asked = query.get("limit", "")
    limited = min(count, int(asked)) if asked.isascii() and asked.isdigit() and 0 < len(asked) < 10 else count
    cached = from_cache(query)
    if not limited or (cached and query.get("resourceVersion") == "0"):
        # Such a list is one page, whatever its limit.
        limited = count
    if one:
        loaded = 1
    elif not cached and (query.get("labelSelector") or query.get("fieldSelector")):
        loaded = max(limited, count // 2)
    else:
        loaded = limited
    moved = loaded * average_bytes
    if cached:
        moved = min(moved, _CACHED_BYTES_MAX)
    return max(1, min(widest, math.ceil(moved / _SEAT_BYTES)))
