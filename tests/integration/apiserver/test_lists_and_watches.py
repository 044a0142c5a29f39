"""Lists, pages, selectors, and watches with everything a client may ask of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from pybernetes.apiserver import watch_stream, watching
from pybernetes.apiserver.pki import client_context
from tests.integration.apiserver.conftest import Server
from tests.integration.apiserver.test_crud import MAPS, config_map
from tests.integration.apiserver.test_deletes import PODS_PATH, make_pod
from tests.support.waiting import until

ALL_MAPS = "/api/v1/configmaps"


async def make_maps(server: Server, count: int) -> None:
    for i in range(count):
        body = config_map(f"m{i:03}", i=str(i))
        body["metadata"]["labels"] = {"third": str(i % 3)}
        assert (await server.post(MAPS, body)).status == 201


def names(answer: Any) -> list[str]:
    return [o["metadata"]["name"] for o in answer["items"]]


# ---- lists


async def test_lists_are_sorted_and_scoped(server: Server) -> None:
    for namespace in ("a", "a-b", "b"):
        await server.post("/api/v1/namespaces", {"metadata": {"name": namespace}})
        for name in ("z", "y"):
            await server.post(f"/api/v1/namespaces/{namespace}/configmaps", config_map(name))
    everything = (await server.get(ALL_MAPS)).json
    keys = [f"{o['metadata']['namespace']}/{o['metadata']['name']}" for o in everything["items"]]
    assert [k for k in keys if not k.startswith("kube-")] == ["a-b/y", "a-b/z", "a/y", "a/z", "b/y", "b/z"]
    assert names((await server.get("/api/v1/namespaces/a/configmaps")).json) == ["y", "z"]
    assert (await server.get("/api/v1/namespaces/nowhere/configmaps")).json["items"] == []


async def test_selectors(server: Server) -> None:
    await make_maps(server, 9)
    assert len((await server.get(MAPS, labelSelector="third=1")).json["items"]) == 3
    assert len((await server.get(MAPS, labelSelector="third in (1,2),third!=2")).json["items"]) == 3
    assert names((await server.get(MAPS, fieldSelector="metadata.name=m004")).json) == ["m004"]
    assert names((await server.get(ALL_MAPS, fieldSelector="metadata.name=m004")).json) == ["m004"]
    assert len((await server.get(MAPS, fieldSelector="metadata.name!=m004")).json["items"]) == 8
    assert (await server.get(MAPS, labelSelector="a in (")).status == 400
    unknown = await server.get(MAPS, fieldSelector="data.x=1")
    assert unknown.status == 400
    assert unknown.json["message"] == (
        '"data.x" is not a known field selector: only "metadata.name", "metadata.namespace"'
    )
    unknown = await server.get(PODS_PATH, fieldSelector="spec.x=1")
    assert unknown.status == 400 and unknown.json["message"] == "field label not supported: spec.x"


async def test_pods_by_node(server: Server) -> None:
    await make_pod(server, "a", node="n1")
    await make_pod(server, "b", node="n2")
    await make_pod(server, "c")
    assert names((await server.get("/api/v1/pods", fieldSelector="spec.nodeName=n1")).json) == ["a"]
    assert names((await server.get(PODS_PATH, fieldSelector="spec.nodeName=n2")).json) == ["b"]
    assert names((await server.get(PODS_PATH, fieldSelector="spec.nodeName=")).json) == ["c"]
    assert names((await server.get(PODS_PATH, fieldSelector="spec.nodeName!=n1,status.phase=Pending")).json) == [
        "b",
        "c",
    ]


async def test_pages_are_of_one_moment(server: Server) -> None:
    await make_maps(server, 10)
    first = (await server.get(MAPS, limit=4)).json
    assert names(first) == ["m000", "m001", "m002", "m003"]
    assert first["metadata"]["remainingItemCount"] == 6
    version = first["metadata"]["resourceVersion"]
    # What happens between the pages does not show in them.
    await server.delete(f"{MAPS}/m005")
    await server.post(MAPS, config_map("m0055"))
    await server.patch(f"{MAPS}/m006", {"data": {"i": "changed"}})
    second = (await server.get(MAPS, limit=4, **{"continue": first["metadata"]["continue"]})).json
    assert names(second) == ["m004", "m005", "m006", "m007"]
    assert second["items"][2]["data"] == {"i": "6"}
    assert second["metadata"]["resourceVersion"] == version
    last = (await server.get(MAPS, limit=4, **{"continue": second["metadata"]["continue"]})).json
    assert names(last) == ["m008", "m009"]
    assert "continue" not in last["metadata"] and "remainingItemCount" not in last["metadata"]


async def test_pages_with_a_selector(server: Server) -> None:
    await make_maps(server, 20)
    found, token = [], ""
    while True:
        page = (await server.get(MAPS, limit=2, labelSelector="third=0", **{"continue": token})).json
        assert "remainingItemCount" not in page["metadata"]
        found += names(page)
        await server.patch(f"{MAPS}/m019", {"data": {"turn": str(len(found))}})
        token = page["metadata"].get("continue", "")
        if not token:
            break
    assert found == [f"m{i:03}" for i in range(0, 20, 3)]


async def test_an_expired_continue_token(server: Server) -> None:
    await make_maps(server, 6)
    token = (await server.get(MAPS, limit=2)).json["metadata"]["continue"]
    await server.delete(f"{MAPS}/m003")
    await server.store.compact(await server.store.revision())
    expired = await server.get(MAPS, limit=2, **{"continue": token})
    assert expired.status == 410 and expired.json["reason"] == "Expired"
    assert expired.json["message"].startswith("The provided continue parameter is too old to display a consistent")
    rest = await server.get(MAPS, **{"continue": expired.json["metadata"]["continue"]})
    assert names(rest.json) == ["m002", "m004", "m005"]
    assert (await server.get(MAPS, **{"continue": "nonsense"})).status == 400


async def test_resource_version_rules_of_lists(server: Server) -> None:
    await make_maps(server, 2)
    old = (await server.get(MAPS)).json["metadata"]["resourceVersion"]
    await server.post(MAPS, config_map("new"))
    exact = (await server.get(MAPS, resourceVersion=old, resourceVersionMatch="Exact")).json
    assert names(exact) == ["m000", "m001"] and exact["metadata"]["resourceVersion"] == old
    newer = (await server.get(MAPS, resourceVersion=old, resourceVersionMatch="NotOlderThan")).json
    assert "new" in names(newer)
    assert (await server.get(MAPS, resourceVersion="0")).status == 200
    assert (await server.get(MAPS, resourceVersionMatch="Exact")).status == 422
    assert (await server.get(MAPS, resourceVersion="0", resourceVersionMatch="Exact")).status == 422
    assert (await server.get(MAPS, resourceVersion="x")).status == 400
    await server.store.compact(await server.store.revision())
    gone = await server.get(MAPS, resourceVersion=old, resourceVersionMatch="Exact")
    assert gone.status == 410


async def test_a_version_of_the_future(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pybernetes.apiserver.cacher.FRESH_TIMEOUT_SECONDS", 0.05)
    answer = await server.get(MAPS, resourceVersion="999999")
    assert answer.status == 504 and "Too large resource version: 999999" in answer.json["message"]
    assert answer.json["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"
    assert answer.headers["Retry-After"] == "1"


# ---- watches


class Events:
    """The lines of one watch."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def next(self) -> dict[str, Any] | None:
        async with asyncio.timeout(10):
            line = await self.response.content.readline()
        return json.loads(line) if line else None

    async def take(self, count: int) -> list[tuple[str, str]]:
        found = []
        for _ in range(count):
            event = await self.next()
            assert event is not None, "the watch ended"
            found.append((event["type"], event["object"]["metadata"].get("name", "")))
        return found


@asynccontextmanager
async def watching_(server: Server, path: str, **query: Any) -> AsyncIterator[Events]:
    sent = {"watch": "1", **{k: str(v) for k, v in query.items()}}
    async with server.session.get(server.url + path, params=sent) as response:
        assert response.status == 200, await response.read()
        yield Events(response)


async def test_a_watch_tells_what_happens(server: Server) -> None:
    version = (await server.get(MAPS)).json["metadata"]["resourceVersion"]
    async with watching_(server, MAPS, resourceVersion=version) as events:
        made = (await server.post(MAPS, config_map("a"))).json
        assert await events.next() == {"type": "ADDED", "object": made}
        changed = (await server.patch(f"{MAPS}/a", {"data": {"x": "1"}})).json
        assert await events.next() == {"type": "MODIFIED", "object": changed}
        await server.delete(f"{MAPS}/a")
        gone = await events.next()
        assert gone is not None and gone["type"] == "DELETED" and gone["object"]["data"] == {"x": "1"}
        assert int(gone["object"]["metadata"]["resourceVersion"]) > int(changed["metadata"]["resourceVersion"])


async def test_a_watch_from_the_past_misses_nothing(server: Server) -> None:
    version = (await server.get(MAPS)).json["metadata"]["resourceVersion"]
    await make_maps(server, 3)
    await server.delete(f"{MAPS}/m001")
    async with watching_(server, MAPS, resourceVersion=version) as events:
        assert await events.take(4) == [
            ("ADDED", "m000"), ("ADDED", "m001"), ("ADDED", "m002"), ("DELETED", "m001"),
        ]  # fmt: skip
        await server.post(MAPS, config_map("x"))
        assert await events.take(1) == [("ADDED", "x")]


async def test_a_watch_from_nowhere_begins_with_what_is_there(server: Server) -> None:
    await make_maps(server, 2)
    for version in ("", "0"):
        async with watching_(server, MAPS, resourceVersion=version) as events:
            assert await events.take(2) == [("ADDED", "m000"), ("ADDED", "m001")]


async def test_a_too_old_watch_is_told_in_its_stream(server: Server) -> None:
    cache = server.api.cacher.storage("core/configmaps")
    oldest, cache.horizon = cache.horizon, 100_000
    try:
        async with watching_(server, MAPS, resourceVersion=50) as events:
            event = await events.next()
            assert event == {
                "type": "ERROR",
                "object": {
                    "kind": "Status",
                    "apiVersion": "v1",
                    "metadata": {},
                    "status": "Failure",
                    "message": "too old resource version: 50 (100000)",
                    "reason": "Expired",
                    "code": 410,
                },
            }
            assert await events.next() is None
    finally:
        cache.horizon = oldest


async def test_selected_watches_see_objects_come_and_go(server: Server) -> None:
    version = (await server.get(MAPS)).json["metadata"]["resourceVersion"]
    async with watching_(server, MAPS, resourceVersion=version, labelSelector="on=1") as events:
        await server.post(MAPS, config_map("a"))
        await server.patch(f"{MAPS}/a", {"metadata": {"labels": {"on": "1"}}})
        await server.patch(f"{MAPS}/a", {"data": {"x": "1"}})
        left = (await server.patch(f"{MAPS}/a", {"metadata": {"labels": {"on": "0"}}})).json
        await server.delete(f"{MAPS}/a")
        await server.post(MAPS, {**config_map("b"), "metadata": {"name": "b", "labels": {"on": "1"}}})
        assert await events.take(2) == [("ADDED", "a"), ("MODIFIED", "a")]
        gone = await events.next()
        assert gone is not None and gone["type"] == "DELETED"
        # The last state that matched, at the version of the change.
        assert gone["object"]["metadata"]["labels"] == {"on": "1"}
        assert gone["object"]["metadata"]["resourceVersion"] == left["metadata"]["resourceVersion"]
        assert await events.take(1) == [("ADDED", "b")]


async def test_watches_of_one_object_and_of_one_node(server: Server) -> None:
    await make_maps(server, 2)
    async with (
        watching_(server, MAPS, fieldSelector="metadata.name=m001") as one,
        watching_(server, "/api/v1/pods", fieldSelector="spec.nodeName=n1") as node,
    ):
        assert await one.take(1) == [("ADDED", "m001")]
        await server.patch(f"{MAPS}/m000", {"data": {"x": "1"}})
        await server.patch(f"{MAPS}/m001", {"data": {"x": "1"}})
        assert await one.take(1) == [("MODIFIED", "m001")]
        await make_pod(server, "elsewhere", node="n2")
        await make_pod(server, "here", node="n1")
        assert await node.take(1) == [("ADDED", "here")]


async def test_initial_events_end_with_a_bookmark(server: Server) -> None:
    await make_maps(server, 2)
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    async with watching_(server, MAPS, **query) as events:
        assert await events.take(2) == [("ADDED", "m000"), ("ADDED", "m001")]
        end = await events.next()
        assert end is not None and end["type"] == "BOOKMARK"
        assert end["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        assert int(end["object"]["metadata"]["resourceVersion"]) > 0
        await server.post(MAPS, config_map("x"))
        assert await events.take(1) == [("ADDED", "x")]
    assert (await server.get(MAPS, watch=1, sendInitialEvents="true")).status == 422
    assert (await server.get(MAPS, sendInitialEvents="true")).status == 422


async def test_initial_events_of_nothing_end_at_once(server: Server) -> None:
    """Client libraries hold an informer back until this bookmark comes."""
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    async with watching_(server, MAPS, labelSelector="no=such", **query) as events:
        end = await events.next()
        assert end is not None and end["type"] == "BOOKMARK"
        assert end["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        await server.post(MAPS, {"metadata": {"name": "x", "labels": {"no": "such"}}})
        assert await events.take(1) == [("ADDED", "x")]


async def test_bookmarks_and_timeouts(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_stream, "BOOKMARK_SECONDS", 0.05)
    async with watching_(server, MAPS, allowWatchBookmarks="true", timeoutSeconds=1, resourceVersion="") as events:
        bookmarks = 0
        while (event := await events.next()) is not None:
            assert event["type"] == "BOOKMARK" and "creationTimestamp" not in event["object"]["metadata"]
            assert event["object"]["kind"] == "ConfigMap" and event["object"]["metadata"]["resourceVersion"]
            bookmarks += 1
        assert bookmarks >= 3


async def test_a_watch_ends_when_its_client_goes(server: Server) -> None:
    cache = server.api.cacher.storage("core/configmaps")
    before = len(cache.watchers())
    context = client_context(server.pki.ca_path, *server.pki.paths("admin"))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        response = await session.get(server.url + MAPS, params={"watch": "1"})
        assert response.status == 200 and len(cache.watchers()) == before + 1
        response.close()
        await until(lambda: len(cache.watchers()) <= before, 5)


async def test_a_slow_watcher_is_cut_off_and_hurts_nobody(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "QUEUE_FRAMES_MAX", 50)
    port = int(server.url.rsplit(":", 1)[1])
    context = client_context(server.pki.ca_path, *server.pki.paths("admin"))
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, limit=1024)
    writer.write(f"GET {MAPS}?watch=1 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    reader._transport.pause_reading()  # type: ignore[attr-defined]
    async with watching_(server, MAPS) as healthy:
        body = config_map("big", x="y" * 100_000)
        await server.post(MAPS, body)
        await healthy.take(1)
        cache = server.api.cacher.storage("core/configmaps")
        async with asyncio.timeout(30):
            turn = 0
            while len(cache.watchers()) > 1:
                turn += 1
                await server.patch(f"{MAPS}/big", {"data": {"turn": str(turn)}})
                await healthy.take(1)
    writer.close()
    exposed = (await server.get("/metrics")).body.decode()
    assert 'apiserver_terminated_watchers_total{group="",resource="configmaps"} 1.0' in exposed


async def test_stopping_ends_watches_in_order(server: Server) -> None:
    async with watching_(server, MAPS) as events:
        await server.post(MAPS, config_map("a"))
        assert await events.take(1) == [("ADDED", "a")]
        stopping = asyncio.create_task(server.api.stop())
        assert await events.next() is None
        await stopping


async def test_tables_of_watches_name_their_columns_once(server: Server) -> None:
    headers = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
    await make_maps(server, 2)
    async with server.session.get(server.url + MAPS, params={"watch": "1"}, headers=headers) as response:
        events = Events(response)
        first, second = await events.next(), await events.next()
    assert first is not None and second is not None
    assert first["object"]["kind"] == "Table" and first["object"]["columnDefinitions"]
    assert first["object"]["rows"][0]["cells"][0] == "m000"
    assert not second["object"]["columnDefinitions"] and second["object"]["rows"][0]["cells"][0] == "m001"
