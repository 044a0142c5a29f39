"""The tables of the API concepts page: resourceVersion and resourceVersionMatch in every combination, continue tokens,
streaming lists, field selectors, and watches over WebSockets and under their old paths."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from pybernetes.apiserver.pki import ClusterPKI
from pybernetes.store.interface import Put
from tests.integration.apiserver.conftest import Answer, Server, running
from tests.integration.apiserver.test_crud import MAPS, config_map
from tests.integration.apiserver.test_deletes import PODS_PATH, make_pod
from tests.integration.apiserver.test_lists_and_watches import ALL_MAPS, make_maps, names, watching_
from tests.support.waiting import until

LIST_OPTIONS = 'ListOptions.meta.k8s.io "" is invalid: '
NEEDS_VERSION = "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"
NOT_WITH_CONTINUE = "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided"
NOT_EXACT_ZERO = 'resourceVersionMatch: Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
UNKNOWN_MATCH = 'resourceVersionMatch: Unsupported value: "x": supported values: "Exact", "NotOlderThan", ""'
NOT_FOR_LISTS = "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list"
NEEDS_INITIAL = (
    "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
)
NEEDS_NOT_OLDER = (
    "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
)


def message(answer: Answer) -> str:
    return str(answer.json["message"])


async def test_lists_at_every_version(server: Server) -> None:
    """What a list shows: the state before `new` was made ("old"), or with it ("new")."""
    await make_maps(server, 3)
    old = (await server.get(MAPS)).json["metadata"]["resourceVersion"]
    await server.post(MAPS, config_map("new"))
    for query, shows in (
        ({}, "new"),
        ({"resourceVersion": "0"}, "new"),
        ({"resourceVersion": "0", "resourceVersionMatch": "NotOlderThan"}, "new"),
        ({"resourceVersion": "0", "resourceVersionMatch": "NotOlderThan", "limit": "2"}, "new"),
        ({"resourceVersion": old}, "new"),
        ({"resourceVersion": old, "resourceVersionMatch": "NotOlderThan"}, "new"),
        ({"resourceVersion": old, "resourceVersionMatch": "NotOlderThan", "limit": "2"}, "new"),
        ({"resourceVersion": old, "limit": "2"}, "old"),
        ({"resourceVersion": old, "resourceVersionMatch": "Exact"}, "old"),
        ({"resourceVersion": old, "resourceVersionMatch": "Exact", "limit": "2"}, "old"),
    ):
        found, page = [], (await server.get(MAPS, **query)).json
        first = page["metadata"]["resourceVersion"]
        while True:
            assert page["metadata"]["resourceVersion"] == first, query
            found += names(page)
            token = page["metadata"].get("continue")
            if not token:
                break
            page = (await server.get(MAPS, **{"limit": 2, "continue": token})).json
        expected = ["m000", "m001", "m002"] + (["new"] if shows == "new" else [])
        assert found == expected, query
        assert (first == old) is (shows == "old"), query


async def test_a_list_of_any_version_is_one_page(server: Server) -> None:
    """Upstream's watch cache has no use for a limit there, so clients have none for a token."""
    await make_maps(server, 3)
    for query in ({}, {"resourceVersionMatch": "NotOlderThan"}, {"labelSelector": "a!=b"}):
        page = (await server.get(MAPS, limit=2, resourceVersion=0, **query)).json
        assert names(page) == ["m000", "m001", "m002"]
        assert page["metadata"].keys() == {"resourceVersion"}


async def test_combinations_that_are_refused(server: Server) -> None:
    token = base64.urlsafe_b64encode(b'{"v":"meta.k8s.io/v1","rv":5,"start":"a\\u0000"}').decode().rstrip("=")
    for query, faults in (
        ({"resourceVersionMatch": "Exact"}, [NEEDS_VERSION]),
        ({"resourceVersionMatch": "NotOlderThan"}, [NEEDS_VERSION]),
        ({"resourceVersion": "0", "resourceVersionMatch": "Exact"}, [NOT_EXACT_ZERO]),
        ({"resourceVersion": "1", "resourceVersionMatch": "x"}, [UNKNOWN_MATCH]),
        ({"resourceVersionMatch": "x"}, [NEEDS_VERSION, UNKNOWN_MATCH]),
        ({"continue": token, "resourceVersion": "1", "resourceVersionMatch": "Exact"}, [NOT_WITH_CONTINUE]),
        ({"sendInitialEvents": "true"}, [NOT_FOR_LISTS]),
        ({"sendInitialEvents": "false"}, [NOT_FOR_LISTS]),
        ({"watch": "1", "resourceVersionMatch": "NotOlderThan"}, [NEEDS_INITIAL]),
        ({"watch": "1", "sendInitialEvents": "true"}, [NEEDS_NOT_OLDER]),
        ({"watch": "1", "sendInitialEvents": "false"}, [NEEDS_NOT_OLDER]),
        (
            {"watch": "1", "sendInitialEvents": "true", "resourceVersionMatch": "Exact"},
            [NEEDS_NOT_OLDER, 'resourceVersionMatch: Unsupported value: "Exact": supported values: "NotOlderThan"'],
        ),
        (
            {"watch": "1", "sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "continue": token},
            [NOT_WITH_CONTINUE],
        ),
    ):
        answer = await server.get(MAPS, **query)
        assert answer.status == 422, query
        text = faults[0] if len(faults) == 1 else f"[{', '.join(faults)}]"
        assert message(answer) == LIST_OPTIONS + text
        assert answer.json["reason"] == "Invalid" and len(answer.json["details"]["causes"]) == len(faults)
    both = await server.get(MAPS, **{"continue": token, "resourceVersion": "1"})
    assert both.status == 400 and message(both) == "specifying resource version is not allowed when using continue"


async def test_numbers_that_are_none(server: Server) -> None:
    for version, why in (("x", "invalid syntax"), ("-1", "invalid syntax"), ("9" * 30, "value out of range")):
        text = f'resourceVersion: Invalid value: "{version}": strconv.ParseUint: parsing "{version}": {why}'
        for query in ({}, {"watch": "1"}, {"resourceVersionMatch": "Exact"}):
            answer = await server.get(MAPS, resourceVersion=version, **query)
            assert answer.status == 400 and message(answer) == f"invalid resource version: {text}", query
    assert (await server.get(f"{MAPS}/x", resourceVersion="y")).status == 400
    for name in ("limit", "timeoutSeconds"):
        answer = await server.get(MAPS, **{name: "ten"})
        assert answer.status == 400 and message(answer) == 'strconv.ParseInt: parsing "ten": invalid syntax'
        answer = await server.get(MAPS, **{name: "9" * 5000})
        assert answer.status == 400 and message(answer).endswith("value out of range")
    assert (await server.get(MAPS, limit="-1")).status == 200


async def test_versions_of_the_future(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pybernetes.apiserver.cacher.FRESH_TIMEOUT_SECONDS", 0.02)
    await make_maps(server, 1)
    current = (await server.get(MAPS)).json["metadata"]["resourceVersion"]
    text = f"Timeout: Too large resource version: 999999, current: {current}"
    for path, query in (
        (MAPS, {}),
        (MAPS, {"limit": 1}),
        (MAPS, {"resourceVersionMatch": "NotOlderThan"}),
        (MAPS, {"resourceVersionMatch": "Exact"}),
        (f"{MAPS}/m000", {}),
    ):
        answer = await server.get(path, resourceVersion="999999", **query)
        assert answer.status == 504 and answer.json["reason"] == "Timeout" and message(answer) == text
        causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
        assert answer.json["details"] == {"causes": causes, "retryAfterSeconds": 1}
        assert answer.headers["Retry-After"] == "1"
    streaming = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "resourceVersion": "999999"}
    async with watching_(server, MAPS, **streaming) as events:
        event = await events.next()
        assert event is not None and event["type"] == "ERROR" and event["object"]["message"] == text
        assert await events.next() is None


async def test_a_watch_of_the_future_waits_for_it(server: Server) -> None:
    current = int((await server.get(MAPS)).json["metadata"]["resourceVersion"])
    async with watching_(server, MAPS, resourceVersion=current + 1) as events:
        await server.post(MAPS, config_map("not-yet"))
        await server.post(MAPS, config_map("now"))
        assert await events.take(1) == [("ADDED", "now")]


async def test_what_a_bad_token_is_told(server: Server) -> None:
    def token(**value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    version = "meta.k8s.io/v1"
    unfit = "json: cannot unmarshal {} into Go struct field continueToken.{} of type {}"
    for bad, why in (
        (token(v="x", rv=1, start="a"), "server does not recognize this encoded version x"),
        (token(v=version, rv=0, start="a"), f"incorrect encoded start resourceVersion (version {version})"),
        (token(v=version, rv="1", start="a"), unfit.format("string", "rv", "int64")),
        (token(v=version, rv=1.5, start="a"), unfit.format("number 1.5", "rv", "int64")),
        (token(v=version, rv=2**63, start="a"), unfit.format("number 9223372036854775808", "rv", "int64")),
        (token(v=version, rv=1, start=[]), unfit.format("array", "start", "string")),
        (token(v=1, rv={}), unfit.format("number", "v", "string")),
        (token(v=version, rv=1, start=""), f"encoded start key empty (version {version})"),
        (token(v=version, rv=1, start="kube-system/a"), "kube-system/a"),
        (token(v=version, rv=1, start="default/../a"), "default/../a"),
        (token(V=version, RV=1), f"encoded start key empty (version {version})"),
        (token(a=[]), "server does not recognize this encoded version "),
        ("bnVsbA", "server does not recognize this encoded version "),
        ("W10", "json: cannot unmarshal array into Go value of type storage.continueToken"),
        ("!", "illegal base64 data at input byte 0"),
        ("eyJ2Ij\u00e9", "illegal base64 data at input byte 6"),
        ("eyJ2Ig==", "illegal base64 data at input byte 6"),
        ("eyJ2I", "illegal base64 data at input byte 4"),
        ("eyJ2Ig", "unexpected end of JSON input"),
        ("fQ", "invalid character '}' looking for beginning of value"),
        ("9" * 10_000, "too long"),
    ):
        answer = await server.get(MAPS, **{"continue": bad})
        assert answer.status == 400 and answer.json["reason"] == "BadRequest"
        assert message(answer) == f"invalid continue token: continue key is not valid: {why}"


async def test_a_token_expires_with_its_revision_though_nothing_changed(server: Server) -> None:
    """Clients tell by the status that pages are no longer of one moment; they cannot know what we still remember."""
    await make_maps(server, 4)
    first = (await server.get(MAPS, limit=2)).json["metadata"]
    for turn in range(2):
        await server.post("/api/v1/namespaces", {"metadata": {"name": f"elsewhere-{turn}"}})
    await server.store.compact(await server.store.revision())
    expired = await server.get(MAPS, limit=1, **{"continue": first["continue"]})
    assert expired.status == 410 and expired.json["reason"] == "Expired" and expired.json["code"] == 410
    page = (await server.get(MAPS, limit=1, **{"continue": expired.json["metadata"]["continue"]})).json
    assert names(page) == ["m002"] and page["metadata"]["remainingItemCount"] == 1
    assert page["metadata"]["resourceVersion"] != first["resourceVersion"]
    last = (await server.get(MAPS, limit=1, **{"continue": page["metadata"]["continue"]})).json
    assert names(last) == ["m003"] and last["metadata"]["resourceVersion"] == page["metadata"]["resourceVersion"]
    gone = await server.get(MAPS, resourceVersion=first["resourceVersion"], resourceVersionMatch="Exact")
    assert gone.status == 410 and message(gone) == "The resourceVersion for the provided list is too old."


async def test_pages_across_a_compaction_that_comes_by_itself(pki: ClusterPKI, tmp_path: Path) -> None:
    """As the conformance suite pages through templates: until the token expires, and then with the one it is given."""
    async with running(pki, tmp_path, compaction_seconds=0.05) as server:
        await make_maps(server, 8)
        token = (await server.get(MAPS, limit=3)).json["metadata"]["continue"]
        async with asyncio.timeout(20):
            while (answer := await server.get(MAPS, limit=3, **{"continue": token})).status == 200:
                # Something happens all the time in a cluster, or there would be nothing to compact.
                await server.post("/api/v1/namespaces", {"metadata": {"generateName": "n-"}})
        assert answer.status == 410 and answer.json["reason"] == "Expired"
        found, token, versions = [], answer.json["metadata"]["continue"], set()
        while token:
            page = (await server.get(MAPS, limit=3, **{"continue": token})).json
            found += names(page)
            versions.add(page["metadata"]["resourceVersion"])
            token = page["metadata"].get("continue", "")
        assert found == [f"m{i:03}" for i in range(3, 8)] and len(versions) == 1


async def test_only_lists_of_everything_count_what_is_left(server: Server) -> None:
    await make_maps(server, 6)
    version = (await server.get(MAPS)).json["metadata"]["resourceVersion"]
    for query, counts in (
        ({"limit": 2}, True),
        ({"limit": 2, "resourceVersion": version, "resourceVersionMatch": "Exact"}, True),
        ({"limit": 2, "labelSelector": "third"}, False),
        ({"limit": 2, "fieldSelector": "metadata.name!=x"}, False),
        ({"limit": 2, "labelSelector": "third", "resourceVersion": version}, False),
        ({"limit": 6}, False),
    ):
        meta = (await server.get(MAPS, **query)).json["metadata"]
        assert ("remainingItemCount" in meta) is counts, query


async def test_a_watch_from_nowhere_marks_the_end_of_what_was_there(server: Server) -> None:
    await make_maps(server, 1)
    async with watching_(server, MAPS, allowWatchBookmarks="true") as events:
        assert await events.take(1) == [("ADDED", "m000")]
        end = await events.next()
        assert end is not None and end["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    # Without bookmarks, none is sent; and initial events can be declined.
    quiet = {"sendInitialEvents": "false", "resourceVersionMatch": "NotOlderThan"}
    for query, first in (({"resourceVersion": "0"}, "m000"), (quiet, "m001")):
        async with watching_(server, MAPS, **query) as events:
            if first == "m001":
                await server.post(MAPS, config_map("m001"))
            assert await events.take(1) == [("ADDED", first)]


async def test_fields_that_kinds_can_be_selected_by(server: Server) -> None:
    await make_pod(server, "a", node="n1")
    assert names((await server.get(PODS_PATH, fieldSelector="spec.host=n1")).json) == ["a"]
    assert names((await server.get(PODS_PATH, fieldSelector="status.podIPs=1")).json) == []
    only = 'is not a known field selector: only "metadata.name", "metadata.namespace"'
    for path, field, text in (
        ("/apis/apps/v1/replicasets", "status.replicas", f'"status.replicas" {only}'),
        ("/api/v1/persistentvolumes", "name", f'"name" {only}'),
        ("/api/v1/namespaces", "name", "field label not supported: name"),
        ("/apis/apps/v1/statefulsets", "x", "field label not supported for appsv1.StatefulSet: x"),
        ("/apis/batch/v1/jobs", "x", 'field label "x" not supported for batchv1.Job'),
        ("/api/v1/secrets", "x", "field label not supported: x"),
        ("/apis/apps/v1/deployments", "spec.replicas", f'"spec.replicas" {only}'),
    ):
        for watch in ("0", "1"):
            answer = await server.get(path, fieldSelector=f"{field}=1", watch=watch)
            assert answer.status == 400 and message(answer) == text


async def test_old_paths_of_watches(server: Server) -> None:
    await make_maps(server, 2)
    for path, expected in (
        ("/api/v1/watch/configmaps", ["m000", "m001"]),
        ("/api/v1/watch/namespaces/default/configmaps", ["m000", "m001"]),
        ("/api/v1/watch/namespaces/default/configmaps/m001", ["m001"]),
    ):
        query = {"labelSelector": "third"} if not path.endswith("m001") else {}
        async with server.session.get(server.url + path, params=query) as response:
            assert response.status == 200
            found = [json.loads(await response.content.readline())["object"]["metadata"]["name"] for _ in expected]
            assert found == expected


async def test_a_watch_over_a_websocket(server: Server) -> None:
    await make_maps(server, 1)
    cache = server.api.cacher.storage("core/configmaps")
    before = len(cache.watchers())
    async with server.session.ws_connect(server.url + MAPS, params={"watch": "1"}) as socket:
        event = await socket.receive_json(timeout=10)
        assert event["type"] == "ADDED" and event["object"]["metadata"]["name"] == "m000"
        await server.post(MAPS, config_map("x"))
        await server.post(MAPS, config_map("y"))
        assert [(await socket.receive_json(timeout=10))["object"]["metadata"]["name"] for _ in "xy"] == ["x", "y"]
    await until(lambda: len(cache.watchers()) <= before, 5)
    offered = ["base64url.bearer.authorization.k8s.io.eA", "base64.binary.k8s.io"]
    # A token is a protocol too, but not one to agree to.
    for some in (offered, offered[1:]):
        async with server.session.ws_connect(server.url + MAPS, params={"watch": "1"}, protocols=some) as socket:
            assert socket.protocol == offered[1]
    # It ends in order, and a fault after authorization is an event here too.
    async with server.session.ws_connect(server.url + MAPS, params={"watch": "1", "timeoutSeconds": "1"}) as socket:
        kinds = [message.type async for message in socket]
        assert kinds == [aiohttp.WSMsgType.TEXT] * 3 and socket.close_code == 1000
    cache.horizon = 100_000
    async with server.session.ws_connect(server.url + MAPS, params={"watch": "1", "resourceVersion": "5"}) as socket:
        event = await socket.receive_json(timeout=10)
        assert event["type"] == "ERROR" and event["object"]["code"] == 410
        assert (await socket.receive(timeout=10)).type is aiohttp.WSMsgType.CLOSE


async def test_ten_thousand_objects_in_pages(server: Server) -> None:
    """Pages cost what they hold, not what is there; and all together are what one list shows."""
    keys = [f"o{i:05}" for i in range(10_000)]
    for at in range(0, len(keys), 500):
        puts = []
        for name in keys[at : at + 500]:
            meta = {"name": name, "namespace": "many", "uid": name, "creationTimestamp": "2026-01-01T00:00:00Z"}
            value = json.dumps({"kind": "ConfigMap", "apiVersion": "v1", "metadata": meta}).replace(": {", ":{")
            puts.append(Put(f"/registry/core/configmaps/many/{name}", value.encode()))
        await server.store.txn([], puts)
    path = "/api/v1/namespaces/many/configmaps"
    found, token, slowest = [], "", 0.0
    while True:
        started = time.perf_counter()
        page = (await server.get(path, limit=500, **({"continue": token} if token else {}))).json
        slowest = max(slowest, time.perf_counter() - started)
        found += names(page)
        meta = page["metadata"]
        assert meta.get("remainingItemCount", 0) == len(keys) - len(found)
        token = meta.get("continue", "")
        if not token:
            break
    assert found == keys and slowest < 5.0
    assert names((await server.get(ALL_MAPS, fieldSelector="metadata.namespace=many")).json) == keys
