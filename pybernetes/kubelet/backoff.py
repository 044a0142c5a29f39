"""Exponential back-off by key, as upstream's ``flowcontrol.Backoff``: the delay doubles from the initial to the
maximal one, and is forgotten when nothing happened for twice the maximum. Times come from the caller."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")

_KEYS_LIMIT = 20_000


class BackOff(Generic[K]):
    """Bounded: the entry touched longest ago is dropped when there are too many."""

    def __init__(self, initial_seconds: float, max_seconds: float) -> None:
        self._initial = initial_seconds
        self._max = max_seconds
        self._entries: OrderedDict[K, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def delay(self, key: K) -> float:
        """The delay now in force for the key, 0 where it has none."""
        entry = self._entries.get(key)
        return entry[0] if entry else 0.0

    def until(self, key: K, event_at: float) -> float:
        """When the key may be tried again after what happened at `event_at`; in the past where there is nothing to
        wait for."""
        entry = self._entries.get(key)
        if entry is None or event_at - entry[1] > 2 * self._max:
            return event_at
        return event_at + entry[0]

    def next(self, key: K, event_at: float, now: float) -> None:
        """Notes a try made now because of what happened at `event_at`: the next one waits twice as long."""
        entry = self._entries.get(key)
        delay = self._initial
        if entry is not None and event_at - entry[1] <= 2 * self._max:
            delay = min(entry[0] * 2, self._max)
        self._entries[key] = (delay, now)
        self._entries.move_to_end(key)
        while len(self._entries) > _KEYS_LIMIT:
            self._entries.popitem(last=False)

    def forget(self, key: K) -> None:
        self._entries.pop(key, None)

    def forget_where(self, prefix: str) -> None:
        """Drops every key that is a tuple beginning with `prefix` (a pod's uid)."""
        for key in [k for k in self._entries if isinstance(k, tuple) and k and k[0] == prefix]:
            del self._entries[key]
