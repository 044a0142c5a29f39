"""Updates begin from what the watch cache holds, which may lag behind the store where other servers write to it too:
nobody may be told anything that holds only for an older state."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from pybernetes.api.resources import CONFIGMAPS
from pybernetes.apiserver.cacher import storage_key
from pybernetes.apiserver.pki import ClusterPKI
from pybernetes.store.interface import Delete, Put, WatchBatch
from pybernetes.store.memory import MemoryStore
from tests.integration.apiserver.conftest import Server, running

MAPS = "/api/v1/namespaces/default/configmaps"


class LaggingStore(MemoryStore):
    """Its watches bring nothing from `lag` on until somebody asks how far the store is."""

    def __init__(self) -> None:
        super().__init__()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.asked = 0

    def lag(self) -> None:
        self._flowing.clear()
        self.asked = 0

    async def revision(self) -> int:
        self.asked += 1
        self._flowing.set()
        return await super().revision()

    async def watch(self, start: str, end: str = "", *, from_revision: int = 0) -> Any:
        return LaggingWatch(await super().watch(start, end, from_revision=from_revision), self._flowing)


class LaggingWatch:
    def __init__(self, watch: Any, flowing: asyncio.Event) -> None:
        self._watch = watch
        self._flowing = flowing

    def __aiter__(self) -> LaggingWatch:
        return self

    async def __anext__(self) -> WatchBatch:
        batch: WatchBatch = await anext(self._watch)
        await self._flowing.wait()
        return batch

    async def close(self) -> None:
        await self._watch.close()


@pytest.fixture
async def server(pki: ClusterPKI, tmp_path: Path) -> AsyncIterator[Server]:
    async with running(pki, tmp_path, LaggingStore()) as made:
        yield made
        await made.store.close()


async def made(server: Server) -> dict[str, Any]:
    answer = await server.post(MAPS, {"metadata": {"name": "m"}, "data": {"k": "first"}})
    assert answer.status == 201
    obj: dict[str, Any] = answer.json
    return obj


async def change_elsewhere(server: Server, obj: dict[str, Any]) -> str:
    """What another server writes, which this one has not heard of; its resourceVersion."""
    assert isinstance(server.store, LaggingStore)
    server.store.lag()
    other = {**obj, "metadata": {k: v for k, v in obj["metadata"].items() if k != "resourceVersion"}}
    ordered = {"kind": "ConfigMap", "apiVersion": "v1", **other, "data": {"k": "second"}}
    result = await server.store.txn([], [Put(storage_key(CONFIGMAPS, "default", "m"), orjson.dumps(ordered))])
    return str(result.revision)


async def test_what_changes_nothing_of_an_old_state_is_written_over_the_new(server: Server) -> None:
    obj = await made(server)
    version = await change_elsewhere(server, obj)
    del obj["metadata"]["resourceVersion"]
    answer = await server.put(f"{MAPS}/m", obj)
    assert answer.status == 200 and answer.json["data"] == {"k": "first"}
    assert int(answer.json["metadata"]["resourceVersion"]) > int(version)


async def test_a_version_newer_than_the_cache_is_no_conflict(server: Server) -> None:
    obj = await made(server)
    obj["metadata"]["resourceVersion"] = await change_elsewhere(server, obj)
    answer = await server.put(f"{MAPS}/m", {**obj, "data": {"k": "third"}})
    assert answer.status == 200 and answer.json["data"] == {"k": "third"}


async def test_a_version_older_than_the_store_is_a_conflict(server: Server) -> None:
    obj = await made(server)
    await change_elsewhere(server, obj)
    answer = await server.put(f"{MAPS}/m", {**obj, "data": {"k": "third"}})
    assert answer.status == 409 and answer.json["reason"] == "Conflict"


async def test_a_patch_is_refused_only_for_what_is_there_now(server: Server) -> None:
    obj = await made(server)
    await change_elsewhere(server, obj)
    tested = [{"op": "test", "path": "/data/k", "value": "second"}, {"op": "add", "path": "/data/l", "value": "new"}]
    answer = await server.patch(f"{MAPS}/m", tested, "json")
    assert answer.status == 200 and answer.json["data"] == {"k": "second", "l": "new"}


async def test_what_is_gone_elsewhere_is_not_found(server: Server) -> None:
    obj = await made(server)
    await change_elsewhere(server, obj)
    await server.store.txn([], [Delete(storage_key(CONFIGMAPS, "default", "m"))])
    assert (await server.patch(f"{MAPS}/m", {"data": {"k": "third"}})).status == 404


async def test_an_update_of_the_newest_asks_the_store_nothing(server: Server) -> None:
    obj = await made(server)
    assert isinstance(server.store, LaggingStore)
    server.store.asked = 0
    answer = await server.put(f"{MAPS}/m", {**obj, "data": {"k": "other"}})
    assert answer.status == 200 and server.store.asked == 0
