"""A bounded memory of results by the bytes they were made from, for pure work that comes again and again."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

V = TypeVar("V")


class Memo(Generic[V]):
    """Results by their key. The keys' bytes are bounded; the least recently used go first. Not thread-safe."""

    __slots__ = ("_bytes", "_bytes_max", "_results")

    def __init__(self, bytes_max: int) -> None:
        self._results: OrderedDict[bytes, V] = OrderedDict()
        self._bytes = 0
        self._bytes_max = bytes_max

    def __len__(self) -> int:
        return len(self._results)

    def get(self, key: bytes) -> V | None:
        found = self._results.get(key)
        if found is not None:
            self._results.move_to_end(key)
        return found

    def put(self, key: bytes, result: V) -> None:
        if key in self._results or len(key) > self._bytes_max // 16:
            return
        self._results[key] = result
        self._bytes += len(key)
        while self._bytes > self._bytes_max:
            self._bytes -= len(self._results.popitem(last=False)[0])
