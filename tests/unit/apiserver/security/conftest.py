from __future__ import annotations

import pytest

from pybernetes.lib.clock import ManualClock
from tests.unit.apiserver.security.memory_reader import MemoryReader


@pytest.fixture
def reader() -> MemoryReader:
    return MemoryReader()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()
