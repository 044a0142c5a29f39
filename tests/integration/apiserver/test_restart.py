"""A server on SQLite, stopped and started again: everything acknowledged is there, versions go on."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from pybernetes.apiserver.pki import ClusterPKI
from pybernetes.store.sqlite import SQLiteStore
from tests.integration.apiserver.conftest import running
from tests.integration.apiserver.test_crud import MAPS, config_map
from tests.support.waiting import until


async def test_everything_acknowledged_is_there_again(pki: ClusterPKI, tmp_path: Path) -> None:
    store = await SQLiteStore.open(tmp_path / "store")
    try:
        async with running(pki, tmp_path, store) as first:
            answers = await asyncio.gather(*(first.post(MAPS, config_map(f"m{i:03}")) for i in range(200)))
            assert {a.status for a in answers} == {201}
            gone = [first.delete(f"{MAPS}/m{i:03}") for i in range(0, 200, 2)]
            assert {a.status for a in await asyncio.gather(*gone)} == {200}
            before = (await first.get(MAPS)).json
    finally:
        await store.close()

    store = await SQLiteStore.open(tmp_path / "store")
    try:
        async with running(pki, tmp_path, store) as second:
            after = (await second.get(MAPS)).json
            assert after["items"] == before["items"] and len(after["items"]) == 100
            assert int(after["metadata"]["resourceVersion"]) >= int(before["metadata"]["resourceVersion"])
            # What the new server did not see happen, it does not pretend to know.
            old = int(after["items"][0]["metadata"]["resourceVersion"])
            expired = await second.get(MAPS, watch=1, resourceVersion=old)
            assert expired.status == 200 and expired.json["type"] == "ERROR"
            assert expired.json["object"]["code"] == 410 and expired.json["object"]["reason"] == "Expired"
            version = after["metadata"]["resourceVersion"]
            query = {"watch": "1", "resourceVersion": version}
            async with second.session.get(second.url + MAPS, params=query) as response, asyncio.timeout(10):
                assert (await second.put(f"{MAPS}/m001", {**after["items"][0], "data": {"x": "1"}})).status == 200
                event = json.loads(await response.content.readline())
            assert event["type"] == "MODIFIED" and event["object"]["data"] == {"x": "1"}
    finally:
        await store.close()


async def test_history_is_compacted(pki: ClusterPKI, tmp_path: Path) -> None:
    async with running(pki, tmp_path, compaction_seconds=0.02) as server:
        await server.post(MAPS, config_map("a"))
        await until(lambda: server.store.compacted())
        assert (await server.get(f"{MAPS}/a")).status == 200
