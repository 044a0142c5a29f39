"""The benchmarks' own machinery: the load counts what was answered, and says so when something else was."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from bench.load import LoadError, open_streams, rate, request
from bench.results import at_least, keep
from bench.servers import bare, cpu_seconds, memory_mb


async def test_the_load_counts_answers_and_the_floor_gives_them(tmp_path: Path) -> None:
    async with bare(tmp_path) as floor:
        (tmp_path / "answers" / "large").write_bytes(b"x" * 300_000)
        connections = await floor.target.connect(4)
        get = request("GET", "/answer/large")
        before = cpu_seconds(floor.pid)
        sent = itertools.count()
        source = (get for _ in iter(lambda: next(sent) < 200, False))
        assert await rate(connections, source, 60) > 0
        assert next(sent) > 200, "every request was sent"
        assert await connections[0].fetch(request("POST", "/answer/large", b"{}")) == b"x" * 300_000
        assert cpu_seconds(floor.pid) > before and memory_mb(floor.pid) > 1
        with pytest.raises(LoadError, match="answer 500"):
            await connections[1].fetch(request("GET", "/answer/missing"))
        for connection in connections:
            connection.close()


async def test_streams_count_lines(tmp_path: Path) -> None:
    async with bare(tmp_path) as floor:
        (tmp_path / "answers" / "line").write_bytes(b'{"a":{"b":1}}\n')
        streams = await open_streams(floor.target, request("GET", "/stream/line/50"), 3, 50)
        assert [s.lines for s in streams] == [0, 0, 0]
        await floor.target.fetch(request("POST", "/go/line", b"{}"))
        for stream in streams:
            await stream.done
            assert stream.lines == 50
            stream.close()


def test_results_of_one_figure_leave_the_others(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    keep([at_least("a", 1.0, 2.0, "1/s", 0.5, 0.4), at_least("b", 1.0, 4.0, "1/s", 0.25, 0.4)], path)
    keep([at_least("b", 2.0, 4.0, "1/s", 0.5, 0.4)], path)
    kept = {r["figure"]: r for r in json.loads(path.read_text())}
    assert kept["a"]["holds"] and kept["b"]["holds"] and kept["b"]["value"] == 2.0
    assert set(kept["a"]) == {"figure", "value", "unit", "floor", "ratio", "asked", "holds"}
