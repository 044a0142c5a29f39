"""How single values look in a table: ages, selectors, lists cut short.

Source of formats: ``k8s.io/apimachinery/pkg/util/duration`` and ``pkg/printers/internalversion``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pybernetes.api import selectors, time
from pybernetes.api.meta import Object, metadata

NONE = "<none>"
UNSET = "<unset>"
UNKNOWN = "<unknown>"
SHOWN = 3
"""Items of a list that are shown before ``+ N more...``."""


def human_duration(seconds: float) -> str:
    """``45s``, ``5m3s``, ``3h20m``, ``2d4h``, ``90d``, ``3y5d``: the fewest units that still tell something."""
    total = int(seconds)
    if total < -1:
        return "<invalid>"
    if total < 120:
        return f"{max(total, 0)}s"
    minutes = total // 60
    if minutes < 10:
        return _two(minutes, "m", total % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    hours = minutes // 60
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    days = hours // 24
    if hours < 24 * 8:
        return _two(days, "d", hours % 24, "h")
    if hours < 24 * 365 * 2:
        return f"{days}d"
    if hours < 24 * 365 * 8:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"


def since(timestamp: str | None, now: float) -> str:
    if not timestamp:
        return UNKNOWN
    try:
        return human_duration(now - time.parse_time(timestamp))
    except ValueError:
        return UNKNOWN


def age(obj: Object, now: float) -> str:
    return since(metadata(obj).get("creationTimestamp"), now)


def format_labels(values: Mapping[str, str] | None) -> str:
    return ",".join(f"{k}={v}" for k, v in sorted((values or {}).items())) or NONE


def format_selector(selector: Object | None) -> str:
    try:
        return str(selectors.from_label_selector(selector)) or NONE
    except selectors.SelectorError:
        return "<error>"


def containers_of(spec: Object | None) -> tuple[str, str]:
    """The names and the images of a pod spec's containers."""
    items = (spec or {}).get("containers") or ()
    return ",".join(c.get("name") or "" for c in items), ",".join(c.get("image") or "" for c in items)


def more(items: Sequence[str], total: int, empty: str) -> str:
    """The first three of a list, and how many more there are."""
    text = ",".join(items[:SHOWN])
    if total > SHOWN:
        return f"{text} + {total - SHOWN} more..."
    return text or empty


def boolean(value: Any) -> str:
    return UNSET if value is None else "True" if value else "False"


_MODES = (("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP"))


def access_modes(modes: Sequence[str] | None) -> str:
    return ",".join(short for mode, short in _MODES if mode in (modes or ()))
