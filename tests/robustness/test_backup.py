"""Backup and restore of a `p8s server`: online, of one revision, all or nothing, and never back in time."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from pybernetes.lib import failpoints
from pybernetes.store import archive
from pybernetes.store.interface import KeyValue
from tests.robustness.processes import ServerProcess
from tests.support.etcd import Etcd
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(120)
MAPS = "/api/v1/namespaces/default/configmaps"
P8S = (sys.executable, "-P", "-m", "pybernetes.cli")


async def p8s(*arguments: str | Path, armed: str = "") -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(
        subprocess.run,
        [*P8S, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, failpoints.VARIABLE: armed},
    )


async def done(*arguments: str | Path) -> str:
    result = await p8s(*arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


@dataclass
class Served:
    """A running server and a session with it."""

    server: ServerProcess
    session: aiohttp.ClientSession

    async def call(self, method: str, path: str, body: Any = None, **params: str) -> tuple[int, dict[str, Any]]:
        async with self.session.request(method, path, json=body, params=params) as response:
            return response.status, await response.json(content_type=None)

    async def write(self, name: str, value: str) -> int:
        body = {"metadata": {"name": name}, "data": {"v": value}}
        status, answer = await self.call("POST", MAPS, body)
        if status == 409:
            status, answer = await self.call("PUT", f"{MAPS}/{name}", body)
        assert status < 300, answer
        return int(answer["metadata"]["resourceVersion"])

    async def maps(self) -> dict[str, str]:
        _, answer = await self.call("GET", MAPS)
        return {o["metadata"]["name"]: o["data"]["v"] for o in answer["items"] if "v" in o["data"]}


class Serving:
    """Starts servers for a test, each on its data directory, and ends them all."""

    def __init__(self) -> None:
        self._served: list[Served] = []

    async def __call__(self, directory: Path, *extra: str) -> Served:
        server = ServerProcess(directory, extra=extra)
        await server.start()
        connector = aiohttp.TCPConnector(ssl=server.context())
        served = Served(server, aiohttp.ClientSession(server.url, connector=connector))
        self._served.append(served)
        return served

    async def stop(self, served: Served) -> None:
        await served.session.close()
        await served.server.stop()

    async def close(self) -> None:
        for served in self._served:
            await self.stop(served)


@pytest.fixture
async def serving() -> AsyncIterator[Serving]:
    made = Serving()
    yield made
    await made.close()


async def test_a_backup_of_a_busy_server_is_one_moment_and_comes_back_elsewhere(
    serving: Serving, tmp_path: Path
) -> None:
    first = await serving(tmp_path / "first")
    stop = asyncio.Event()

    async def write_pairs() -> int:
        """b is always what a is, or was just before."""
        i = 0
        while not stop.is_set():
            i += 1
            await first.write("a", str(i))
            await first.write("b", str(i))
        return i

    writer = asyncio.create_task(write_pairs())
    await until(first.maps)
    file = tmp_path / "backup"
    for _ in range(3):
        assert "objects as of revision" in await done("backup", file, "--data-dir", first.server.data_dir)
        revision = archive.verify(file).head.revision
        keys = {r.key.rpartition("/")[2]: r for r in archive.read(file) if isinstance(r, KeyValue)}
        a, b = (int(keys[n].value.split(b'"v":"')[1].split(b'"')[0]) for n in ("a", "b"))
        assert a - b in (0, 1), "the backup shows two moments"
        assert max(kv.mod_revision for kv in keys.values()) == revision
    stop.set()
    await writer
    seen = await first.write("later", "1")
    _, account = await first.call("GET", "/api/v1/namespaces/default/serviceaccounts/default")
    await serving.stop(first)

    # On another machine, so to say: a new directory, and the same certificates.
    await done("restore", file, "--data-dir", tmp_path / "second" / "data")
    second = await serving(tmp_path / "second")
    assert await second.maps() == {"a": str(a), "b": str(b)}
    status, again = await second.call("GET", "/api/v1/namespaces/default/serviceaccounts/default")
    assert status == 200 and again["metadata"]["uid"] == account["metadata"]["uid"]

    # Never back in time: what a client saw last is too old, and what is written now is newer than all it saw.
    status, answer = await second.call("GET", MAPS, watch="true", resourceVersion=str(seen))
    assert answer["object"]["code"] == 410 and answer["type"] == "ERROR"
    status, answer = await second.call("GET", MAPS, resourceVersion=str(seen), resourceVersionMatch="Exact")
    assert status == 410
    _, listed = await second.call("GET", MAPS)
    assert all(int(o["metadata"]["resourceVersion"]) > seen for o in listed["items"])
    assert await second.write("new", "1") > int(listed["metadata"]["resourceVersion"]) > seen

    # Controllers carry on: a ReplicaSet of the restored cluster gets its pods.
    template = {"metadata": {"labels": {"app": "r"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    replica_set = {
        "metadata": {"name": "r"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "r"}}, "template": template},
    }
    assert (await second.call("POST", "/apis/apps/v1/namespaces/default/replicasets", replica_set))[0] == 201
    found: set[str] = set()
    params = {"watch": "true", "labelSelector": "app=r"}
    async with asyncio.timeout(20), second.session.get("/api/v1/namespaces/default/pods", params=params) as response:
        async for line in response.content:
            found.add(json.loads(line)["object"]["metadata"]["name"])
            if len(found) == 2:
                break


def files(directory: Path) -> dict[str, bytes]:
    """All there is, but for what SQLite makes beside a database while somebody reads it."""
    found = (p for p in directory.rglob("*") if p.is_file() and not p.name.endswith(("-shm", "-wal")))
    return {str(p.relative_to(directory)): p.read_bytes() for p in found}


async def test_what_a_restore_refuses(serving: Serving, tmp_path: Path) -> None:
    served = await serving(tmp_path)
    data = served.server.data_dir
    await served.write("a", "1")
    file, bad = tmp_path / "backup", tmp_path / "bad"
    await done("backup", file, "--data-dir", data)
    bad.write_bytes(file.read_bytes()[:-20])
    for arguments in ((), ("--force",)):
        in_use = await p8s("restore", file, "--data-dir", data, *arguments)
        assert in_use.returncode == 1 and "is open in another process; stop that one first" in in_use.stderr
    await serving.stop(served)
    before = files(data)
    not_empty = await p8s("restore", file, "--data-dir", data)
    assert not_empty.returncode == 4 and "is not empty" in not_empty.stderr and "--force" in not_empty.stderr
    damaged = await p8s("restore", bad, "--data-dir", data, "--force")
    assert damaged.returncode == 1 and "is damaged or cut off" in damaged.stderr
    assert "Traceback" not in in_use.stderr + not_empty.stderr + damaged.stderr
    assert files(data) == before
    memory = await p8s("backup", file, "--data-dir", data, "--datastore", "memory")
    assert memory.returncode == 2 and "is gone with it" in memory.stderr


async def test_a_damaged_store_is_brought_back(serving: Serving, tmp_path: Path) -> None:
    served = await serving(tmp_path)
    data = served.server.data_dir
    await served.write("a", "1")
    file = tmp_path / "backup"
    await done("backup", file, "--data-dir", data)
    await serving.stop(served)
    (data / "store" / "state.db").write_bytes(b"not a database any more")
    with pytest.raises(AssertionError, match="bring back a backup with p8s restore"):
        await serving(tmp_path)
    refused = await p8s("restore", file, "--data-dir", data)
    assert refused.returncode == 4 and "cannot be read" in refused.stderr and "--force" in refused.stderr
    assert "What was there before is in" in await done("restore", file, "--data-dir", data, "--force")
    (kept,) = data.glob("replaced-*")
    assert (kept / "store" / "state.db").read_bytes() == b"not a database any more"
    assert await (await serving(tmp_path)).maps() == {"a": "1"}


@pytest.mark.skipif(shutil.which("etcd") is None, reason="etcd is not installed")
async def test_from_sqlite_to_etcd_and_back(serving: Serving, tmp_path: Path) -> None:
    served = await serving(tmp_path / "first")
    data = served.server.data_dir
    await served.write("a", "1")
    seen = await served.write("b", "1")
    file, again = tmp_path / "backup", tmp_path / "again"
    await done("backup", file, "--data-dir", data)
    await serving.stop(served)
    with Etcd(tmp_path / "etcd") as etcd:
        url = f"etcd://{etcd.addresses}/moved"
        datastore = ("--datastore", url)
        other = tmp_path / "other" / "data"
        await done("restore", file, "--data-dir", other, *datastore, "--bump-revision", "2000")
        served = await serving(tmp_path / "other", *datastore)
        assert await served.maps() == {"a": "1", "b": "1"}
        assert await served.write("c", "1") > seen + 1000
        _, listed = await served.call("GET", MAPS)
        assert all(int(o["metadata"]["resourceVersion"]) > seen for o in listed["items"])
        live = await p8s("restore", file, "--data-dir", other, *datastore, "--force")
        assert live.returncode == 4 and "servers are at work on this datastore" in live.stderr
        await done("backup", again, "--data-dir", other, *datastore)
        await serving.stop(served)
        not_empty = await p8s("restore", file, "--data-dir", other, *datastore)
        assert not_empty.returncode == 4 and "not empty" in not_empty.stderr and "--force" in not_empty.stderr
        await done("restore", file, "--data-dir", other, *datastore, "--force", "--bump-revision", "1")
        served = await serving(tmp_path / "other", *datastore)
        assert await served.maps() == {"a": "1", "b": "1"}
        await serving.stop(served)
    await done("restore", again, "--data-dir", data, "--force")
    assert await (await serving(tmp_path / "first")).maps() == {"a": "1", "b": "1", "c": "1"}


async def test_a_restore_that_dies_leaves_the_old_state_or_the_new(serving: Serving, tmp_path: Path) -> None:
    served = await serving(tmp_path / "first")
    data = served.server.data_dir
    await served.write("a", "backup")
    file = tmp_path / "backup"
    await done("backup", file, "--data-dir", data)
    await served.write("a", "later")
    await serving.stop(served)
    (data / "pki" / "sa.key").write_bytes((data / "pki" / "apiserver.key").read_bytes())  # so the PKI is replaced too
    for place, content in (
        ("restore/before-ready=kill", "later"),
        ("restore/ready=kill", "backup"),
        ("restore/between=kill@2", "backup"),
    ):
        copy = tmp_path / place.replace("/", "-")
        shutil.copytree(data, copy / "data")
        died = await p8s("restore", file, "--data-dir", copy / "data", "--force", armed=place)
        assert died.returncode == -signal.SIGKILL, died.stderr
        if place.startswith("restore/between"):
            assert not (copy / "data" / "store").exists(), "the worst moment"
        again = await serving(copy)
        assert await again.maps() == {"a": content}, place
        await serving.stop(again)
        assert not list(copy.glob("data/restore.ready"))
