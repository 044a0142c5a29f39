"""The figures: what is measured, against which floor, and what is asked of it.

Rates and times are measured in rounds that alternate between floor and product, so that what else the machine does
meets both alike; the ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from bench import pods
from bench.load import Connection, Target, open_streams, rate, request
from bench.pods import encoded
from bench.results import Result, at_least, at_most, below
from bench.servers import Served, bare, cpu_seconds, memory_mb, pybernetes

_ROUNDS = 5
_ROUND_SECONDS = 2.0
_PODS = f"/api/v1/namespaces/{pods.NAMESPACE}/pods"
_MANY = 10_000
_STRATEGIC = "application/strategic-merge-patch+json"
_APPLY = "application/apply-patch+yaml"
_IDLE_SECONDS = 60.0


@dataclass(frozen=True)
class Pair:
    """The two servers of a figure, over one directory."""

    product: Served
    floor: Served
    directory: Path

    def answer(self, name: str, content: bytes) -> None:
        """Gives the bare server an answer."""
        (self.directory / "answers" / name).write_bytes(content)


@contextlib.asynccontextmanager
async def _pair() -> AsyncIterator[Pair]:
    with tempfile.TemporaryDirectory(prefix="p8s-bench-") as name:
        directory = Path(name)
        async with pybernetes(directory) as product, bare(directory) as floor:
            await _prepare(product.target)
            yield Pair(product, floor, directory)


async def _prepare(target: Target) -> None:
    """The namespace of the benchmark's pods, with its service account."""
    namespace = encoded({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": pods.NAMESPACE}})
    await target.fetch(request("POST", "/api/v1/namespaces", namespace), 201)
    # Answers once the controller has made the account.
    path = f"/api/v1/namespaces/{pods.NAMESPACE}/serviceaccounts?watch=1&fieldSelector=metadata.name=default"
    stream = (await open_streams(target, request("GET", path), 1, 1))[0]
    async with asyncio.timeout(30):
        await stream.done
    stream.close()


async def _create_pods(target: Target, count: int) -> None:
    messages = (request("POST", _PODS, encoded(pods.pod(f"pod-{i:05}"))) for i in range(count))
    connections = await target.connect(64)
    try:
        await rate(connections, messages, 600, 201)
    finally:
        _close(connections)


def _close(connections: list[Connection]) -> None:
    for connection in connections:
        connection.close()


async def _rounds(
    product: Callable[[], Awaitable[float]], floor: Callable[[], Awaitable[float]], rounds: int = _ROUNDS
) -> tuple[float, float, float]:
    """(product, floor, ratio): medians of alternating rounds, after one of each that does not count."""
    await floor()
    await product()
    values: list[tuple[float, float]] = []
    for _ in range(rounds):
        below_, above = await floor(), await product()
        values.append((above, below_))
    ratio = statistics.median(v / f for v, f in values)
    return statistics.median(v for v, _ in values), statistics.median(f for _, f in values), ratio


async def _rates(
    pair: Pair, connections: int, product: Iterator[bytes], floor: Iterator[bytes], expected: int = 200
) -> tuple[float, float, float]:
    ours, theirs = await pair.product.target.connect(connections), await pair.floor.target.connect(connections)
    used = {"product": 0.0, "floor": 0.0, "products": 0.0, "floors": 0.0}

    async def measured(which: str, served: Served, over: list[Connection], source: Iterator[bytes], code: int) -> float:
        cpu, started = cpu_seconds(served.pid), time.perf_counter()
        per_second = await rate(over, source, _ROUND_SECONDS, code)
        used[which] += cpu_seconds(served.pid) - cpu
        used[which + "s"] += per_second * (time.perf_counter() - started)
        return per_second

    try:
        result = await _rounds(
            lambda: measured("product", pair.product, ours, product, expected),
            lambda: measured("floor", pair.floor, theirs, floor, 200),
        )
    finally:
        _close(ours + theirs)
    print(
        f"    server's processor time a request: {used['product'] / used['products'] * 1e6:.0f} us,"
        f" the floor's {used['floor'] / used['floors'] * 1e6:.0f} us"
    )
    return result


async def get_pod() -> list[Result]:
    async with _pair() as pair:
        await _create_pods(pair.product.target, 1)
        get = request("GET", f"{_PODS}/pod-00000")
        pair.answer("pod", await pair.product.target.fetch(get))
        value, floor, ratio = await _rates(
            pair, 16, itertools.repeat(get), itertools.repeat(request("GET", "/answer/pod"))
        )
    return [at_least("get", value, floor, "1/s", ratio, 0.5)]


async def create_pods() -> list[Result]:
    async with _pair() as pair:
        await _create_pods(pair.product.target, 1)
        pair.answer("pod", await pair.product.target.fetch(request("GET", f"{_PODS}/pod-00000")))
        numbers = itertools.count()
        ours = (request("POST", _PODS, encoded(pods.pod(f"create-{i:06}"))) for i in numbers)
        theirs = (request("POST", "/answer/pod", encoded(pods.pod(f"create-{i:06}"))) for i in numbers)
        value, floor, ratio = await _rates(pair, 64, ours, theirs, 201)
    return [at_least("create", value, floor, "1/s", ratio, 0.15)]


async def _writes(
    figure: str, asked: float, method: str, suffix: str, content_type: str, body: Callable[[int], bytes]
) -> list[Result]:
    """Writes to 64 pods in turn, 64 in flight."""
    async with _pair() as pair:
        await _create_pods(pair.product.target, 64)
        first = request(method, f"{_PODS}/pod-00000{suffix}", body(1), content_type)
        pair.answer("pod", await pair.product.target.fetch(first, 200))
        numbers = itertools.count(2)
        ours = (request(method, f"{_PODS}/pod-{i % 64:05}{suffix}", body(i // 64), content_type) for i in numbers)
        theirs = (request(method, "/answer/pod", body(i // 64), content_type) for i in numbers)
        value, floor, ratio = await _rates(pair, 64, ours, theirs)
    return [at_least(figure, value, floor, "1/s", ratio, asked)]


async def patch_status() -> list[Result]:
    return await _writes("patch-status", 0.12, "PATCH", "/status", _STRATEGIC, lambda i: encoded(pods.status(i)))


async def patch_strategic() -> list[Result]:
    def body(i: int) -> bytes:
        return encoded({"metadata": {"annotations": {"example.com/revision": str(i)}, "labels": {"step": f"s{i % 7}"}}})

    return await _writes("patch-strategic", 0.1, "PATCH", "", _STRATEGIC, body)


async def patch_apply() -> list[Result]:
    def body(i: int) -> bytes:
        return encoded(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"annotations": {"example.com/step": str(i)}, "labels": {"managed": "yes"}},
            }
        )

    return await _writes("patch-apply", 0.05, "PATCH", "?fieldManager=bench&force=true", _APPLY, body)


async def update_pod() -> list[Result]:
    """Whole pods, put back with another annotation and no resourceVersion."""
    async with _pair() as pair:
        await _create_pods(pair.product.target, 64)
        paths = [f"{_PODS}/pod-{i:05}" for i in range(64)]
        objects = [orjson.loads(await pair.product.target.fetch(request("GET", p))) for p in paths]
        pair.answer("pod", encoded(objects[0]))

        def bodies() -> Iterator[tuple[str, bytes]]:
            for i in itertools.count(1):
                for path, obj in zip(paths, objects, strict=True):
                    meta = {k: v for k, v in obj["metadata"].items() if k != "resourceVersion"}
                    meta["annotations"] = {**meta["annotations"], "example.com/revision": str(i)}
                    yield path, encoded({**obj, "metadata": meta})

        ours = (request("PUT", path, body) for path, body in bodies())
        theirs = (request("PUT", "/answer/pod", body) for _, body in bodies())
        value, floor, ratio = await _rates(pair, 64, ours, theirs)
    return [at_least("update", value, floor, "1/s", ratio, 0.12)]


async def list_pods() -> list[Result]:
    async with _pair() as pair:
        await _create_pods(pair.product.target, _MANY)
        message = request("GET", _PODS)
        pair.answer("list", await pair.product.target.fetch(message))
        ours, theirs = await pair.product.target.connect(1), await pair.floor.target.connect(1)

        async def seconds(connection: Connection, sent: bytes) -> float:
            started = time.perf_counter()
            await connection.run(iter([sent]), 0.0)
            return time.perf_counter() - started

        try:
            value, floor, ratio = await _rounds(
                lambda: seconds(ours[0], message), lambda: seconds(theirs[0], request("GET", "/answer/list")), 9
            )
        finally:
            _close(ours + theirs)
    return [at_most("list-10000", value * 1000, floor * 1000, "ms", ratio, 1.5)]


async def watch_pods() -> list[Result]:
    watchers, events = 100, 2000
    async with _pair() as pair:
        await _create_pods(pair.product.target, 64)
        target = pair.product.target
        revision = orjson.loads(await target.fetch(request("GET", f"{_PODS}?limit=1")))["metadata"]["resourceVersion"]
        round_ = itertools.count()

        async def product() -> float:
            nonlocal revision
            watch = request("GET", f"{_PODS}?watch=1&resourceVersion={revision}")
            streams = await open_streams(target, watch, watchers, events)
            number = next(round_)
            writers = await target.connect(64)
            messages = (
                request(
                    "PATCH", f"{_PODS}/pod-{i % 64:05}/status", encoded(pods.status(number * events + i)), _STRATEGIC
                )
                for i in range(64 * 2 * number + 1000, 64 * 2 * number + 1000 + events)
            )
            try:
                started = time.perf_counter()
                await rate(writers, messages, 600)
                await asyncio.gather(*(s.done for s in streams))
                taken = time.perf_counter() - started
            finally:
                _close(writers)
                for stream in streams:
                    stream.close()
            listed = orjson.loads(await target.fetch(request("GET", f"{_PODS}?limit=1")))
            revision = listed["metadata"]["resourceVersion"]
            return events / taken

        pod = await target.fetch(request("GET", f"{_PODS}/pod-00000"))
        pair.answer("event", b'{"type":"MODIFIED","object":' + pod.rstrip() + b"}\n")

        async def floor() -> float:
            name = "event"
            stream = request("GET", f"/stream/{name}/{events}")
            # A server of its own each round: its go is given once.
            async with bare(pair.directory) as served:
                streams = await open_streams(served.target, stream, watchers, events)
                started = time.perf_counter()
                await served.target.fetch(request("POST", f"/go/{name}", b"{}"))
                await asyncio.gather(*(s.done for s in streams))
                taken = time.perf_counter() - started
                for one in streams:
                    one.close()
            return events / taken

        value, floor_rate, ratio = await _rounds(product, floor, 3)
    return [at_least("watch-100x2000", value, floor_rate, "events/s", ratio, 0.5)]


async def memory() -> list[Result]:
    async with _pair() as pair:
        await _create_pods(pair.product.target, _MANY)
        listed = orjson.loads(await pair.product.target.fetch(request("GET", _PODS)))
        size = len(encoded(listed["items"][0]))
        made = memory_mb(pair.product.pid)
        floor = memory_mb(pair.floor.pid)
        directory = pair.directory
        del listed
        print(f"    a pod is {size} bytes as served; right after 10,000 creations")
    del directory
    return [below("memory-10000", made, floor, "MB", 250)]


async def _start_seconds(served: Callable[[Path], contextlib.AbstractAsyncContextManager[Served]], at: Path) -> float:
    async with served(at) as server:
        return server.start_seconds


async def start_empty() -> list[Result]:
    """Each start of the product is one on an empty store; its keys are there already, as the bare server's are."""
    with tempfile.TemporaryDirectory(prefix="p8s-bench-") as name:
        numbers = itertools.count()

        async def product() -> float:
            directory = Path(name) / str(next(numbers))
            directory.mkdir()
            return await _start_seconds(pybernetes, directory)

        async def floor() -> float:
            directory = Path(name) / "bare"
            directory.mkdir(exist_ok=True)
            return await _start_seconds(bare, directory)

        value, floor_seconds, ratio = await _rounds(product, floor)
    return [at_most("start-empty", value * 1000, floor_seconds * 1000, "ms", ratio, 3)]


async def start_full() -> list[Result]:
    with tempfile.TemporaryDirectory(prefix="p8s-bench-") as name:
        directory = Path(name)
        async with pybernetes(directory) as product:
            await _prepare(product.target)
            await _create_pods(product.target, _MANY)
        value, floor, ratio = await _rounds(
            lambda: _start_seconds(pybernetes, directory), lambda: _start_seconds(bare, directory)
        )
    return [at_most("start-10000", value * 1000, floor * 1000, "ms", ratio, 8)]


async def idle() -> list[Result]:
    async with _pair() as pair:
        # What the start set going is over when nothing has been asked of the processor for two seconds.
        while True:
            before = cpu_seconds(pair.product.pid)
            await asyncio.sleep(2)
            if cpu_seconds(pair.product.pid) - before < 0.01:
                break
        ours, theirs = cpu_seconds(pair.product.pid), cpu_seconds(pair.floor.pid)
        await asyncio.sleep(_IDLE_SECONDS)
        ours, theirs = cpu_seconds(pair.product.pid) - ours, cpu_seconds(pair.floor.pid) - theirs
    share = ours / _IDLE_SECONDS * 100
    return [Result("idle", share, "% core", theirs / _IDLE_SECONDS * 100, None, "under 0.1 % core", share < 0.1)]


FIGURES: dict[str, Callable[[], Awaitable[list[Result]]]] = {
    "get": get_pod,
    "create": create_pods,
    "update": update_pod,
    "patch-status": patch_status,
    "patch-strategic": patch_strategic,
    "patch-apply": patch_apply,
    "list-10000": list_pods,
    "watch-100x2000": watch_pods,
    "memory-10000": memory,
    "start-empty": start_empty,
    "start-10000": start_full,
    "idle": idle,
}
