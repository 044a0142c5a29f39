"""The in-process client: the same rules as over HTTP, without copies."""

from __future__ import annotations

import asyncio
import gc
import weakref
from contextlib import aclosing
from typing import Any, cast

import pytest

from pybernetes.api import errors
from pybernetes.api.meta import Object, key_of
from pybernetes.api.resources import CONFIGMAPS, DEPLOYMENTS, PODS, SERVICEACCOUNTS
from pybernetes.api.user import AUTHENTICATED, User
from pybernetes.client.informer import Informers
from pybernetes.client.interface import JSON_PATCH, MERGE_PATCH, Followable
from pybernetes.controllers.endpointslice.selected import ServicePods
from tests.integration.apiserver.conftest import Server
from tests.integration.apiserver.test_updates import deployment
from tests.support.waiting import until


def config_map(name: str, **data: str) -> Object:
    return {"metadata": {"name": name, "namespace": "default"}, "data": data}


async def test_an_object_lives(server: Server) -> None:
    client = server.admin
    body = config_map("a", x="1")
    made = await client.create(CONFIGMAPS, body, "default")
    assert "uid" not in body["metadata"], "what a caller hands in stays the caller's"
    read = await client.get(CONFIGMAPS, "a", "default")
    assert read == made and await client.get(CONFIGMAPS, "a", "default") is read
    updated = await client.update(CONFIGMAPS, {**read, "data": {"x": "2"}})
    assert updated["data"] == {"x": "2"}
    with pytest.raises(errors.Conflict):
        await client.update(CONFIGMAPS, {**read, "data": {"x": "3"}})
    await client.patch(CONFIGMAPS, "a", {"data": {"y": "1"}}, "default", patch_type=MERGE_PATCH)
    operations = [{"op": "remove", "path": "/data/x"}]
    patched = await client.patch(CONFIGMAPS, "a", operations, "default", patch_type=JSON_PATCH)
    assert patched["data"] == {"y": "1"}
    listed = await client.list(CONFIGMAPS, "default", label_selector="!nothing")
    assert listed.items == [patched] and int(listed.resource_version) > 0
    await client.delete(CONFIGMAPS, "a", "default", uid=made["metadata"]["uid"])
    with pytest.raises(errors.NotFound):
        await client.get(CONFIGMAPS, "a", "default")


async def test_the_same_rules(server: Server) -> None:
    nobody = server.api.client_for(User("nobody", "", (AUTHENTICATED,)))
    with pytest.raises(errors.Forbidden):
        await nobody.get(CONFIGMAPS, "a", "default")
    with pytest.raises(errors.Forbidden):
        await nobody.create(CONFIGMAPS, config_map("a"), "default")
    client = server.admin
    with pytest.raises(errors.Invalid):
        await client.create(CONFIGMAPS, config_map("A_b"), "default")
    with pytest.raises(errors.BadRequest, match="unknown field"):
        await client.create(CONFIGMAPS, {**config_map("a"), "dada": {}}, "default")
    with pytest.raises(errors.NotFound):
        await client.create(CONFIGMAPS, {"metadata": {"name": "a"}}, "nowhere")


async def test_subresources(server: Server) -> None:
    client = server.admin
    await client.create(SERVICEACCOUNTS, {"metadata": {"name": "default"}}, "default")
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    await client.create(PODS, pod, "default")
    target = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}}
    await client.create(PODS, target, "default", name="p", subresource="binding")
    bound = await client.get(PODS, "p", "default")
    assert bound["spec"]["nodeName"] == "n"
    status = {**bound, "status": {**bound["status"], "phase": "Running"}}
    assert (await client.update(PODS, status, subresource="status"))["status"]["phase"] == "Running"
    await client.create(DEPLOYMENTS, deployment(), "default")
    scale = await client.get(DEPLOYMENTS, "web", "default", subresource="scale")
    assert scale["spec"]["replicas"] == 1


async def test_a_watch_shares_objects(server: Server) -> None:
    client = server.admin
    version = (await client.list(CONFIGMAPS)).resource_version
    stream = client.watch(CONFIGMAPS, "default", resource_version=version)
    async with aclosing(cast(Any, stream)) as events, asyncio.timeout(10):
        made = asyncio.create_task(client.create(CONFIGMAPS, config_map("a"), "default"))
        event = await anext(events)
        assert event.type == "ADDED"
        assert event.object is await client.get(CONFIGMAPS, "a", "default")
        await made
    cache = server.api.cacher.kind(CONFIGMAPS)
    assert not cache.watchers()


async def test_a_watch_ends_with_a_bookmark(server: Server) -> None:
    found = [e async for e in server.admin.watch(CONFIGMAPS, resource_version="", timeout_seconds=1)]
    assert found[-1].type == "BOOKMARK"
    assert int(found[-1].object["metadata"]["resourceVersion"]) == server.api.cacher.revision


async def test_informers_run_on_it(server: Server) -> None:
    informers = Informers(server.admin)
    informer = informers.for_(CONFIGMAPS, "default")
    seen: asyncio.Queue[tuple[Object | None, Object | None]] = asyncio.Queue()
    informer.add_handler(lambda old, new: seen.put_nowait((old, new)))
    informers.start()
    try:
        async with asyncio.timeout(10):
            await informers.synced()
            await server.admin.create(CONFIGMAPS, config_map("a"), "default")
            old, new = await seen.get()
            assert old is None and new is not None
            await server.admin.delete(CONFIGMAPS, "a", "default")
            old, new = await seen.get()
            assert old is not None and new is None
    finally:
        await informers.stop()


async def test_an_informer_without_a_selector_shows_what_the_watch_cache_shows(server: Server) -> None:
    await server.admin.create(CONFIGMAPS, config_map("before"), "default")
    informers = Informers(server.admin)
    informer = informers.for_(CONFIGMAPS)
    seen: list[tuple[str, str]] = []

    def told(old: Object | None, new: Object | None) -> None:
        obj = new or old
        assert obj is not None
        if obj["metadata"]["namespace"] == "default":
            kind = "added" if old is None else "deleted" if new is None else "changed"
            seen.append((kind, obj["metadata"]["name"]))

    informer.add_handler(told)
    informers.start()
    try:
        await asyncio.wait_for(informers.synced(), 10)
        assert ("added", "before") in seen and int(informer.resource_version) == server.api.cacher.revision
        seen.clear()
        made = await server.admin.create(CONFIGMAPS, config_map("a"), "default")
        await server.api.cacher.fresh()
        assert seen == [("added", "a")] and informer.cache.get("default/a") is made
        changed = await server.admin.update(CONFIGMAPS, {**made, "data": {"k": "other"}})
        await server.api.cacher.fresh()
        assert seen[1:] == [("changed", "a")] and informer.cache.get("default/a") is changed
        await server.admin.delete(CONFIGMAPS, "a", "default")
        await server.api.cacher.fresh()
        assert seen[2:] == [("deleted", "a")] and informer.cache.get("default/a") is None
        assert int(informer.resource_version) > int(changed["metadata"]["resourceVersion"])
    finally:
        await informers.stop()
    await server.admin.create(CONFIGMAPS, config_map("after"), "default")
    await server.api.cacher.fresh()
    assert len(seen) == 3, "who has stopped hears nothing any more"


async def test_informers_that_are_started_again_hear_of_what_has_gone(server: Server) -> None:
    await server.admin.create(CONFIGMAPS, config_map("stays"), "default")
    await server.admin.create(CONFIGMAPS, config_map("goes"), "default")
    informers = Informers(server.admin)
    informer = informers.for_(CONFIGMAPS)
    informers.start()
    await asyncio.wait_for(informers.synced(), 10)
    await informers.stop()
    await server.admin.delete(CONFIGMAPS, "goes", "default")
    gone: list[str] = []
    informer.add_handler(lambda old, new: gone.append(key_of(old)) if old is not None and new is None else None)
    informers.start()
    try:
        await until(lambda: gone)
        assert gone == ["default/goes"] and "default/stays" in informer.cache
    finally:
        await informers.stop()


async def test_what_components_share_of_informers_goes_with_them(server: Server) -> None:
    informers = Informers(server.admin)
    made = informers.shared(ServicePods)
    assert informers.shared(ServicePods) is made and Informers(server.admin).shared(ServicePods) is not made
    dead = weakref.ref(made)
    del made, informers
    gc.collect()
    assert dead() is None


async def test_an_informer_of_who_may_not_watch_gets_nothing(server: Server) -> None:
    client = server.api.client_for(User("nobody", groups=(AUTHENTICATED,)))
    assert isinstance(client, Followable)
    with pytest.raises(errors.Forbidden):
        client.follow(CONFIGMAPS, lambda kind, obj: None)


async def test_delete_collection(server: Server) -> None:
    client = server.admin
    for name in "abc":
        await client.create(CONFIGMAPS, config_map(name), "default")
    await client.delete_collection(CONFIGMAPS, "default", field_selector="metadata.name!=b")
    assert [o["metadata"]["name"] for o in (await client.list(CONFIGMAPS, "default")).items] == ["b"]


async def test_a_stopped_server_says_so(server: Server) -> None:
    await server.api.stop()
    with pytest.raises(errors.ServiceUnavailable):
        await server.admin.get(CONFIGMAPS, "a", "default")
    with pytest.raises(errors.ServiceUnavailable):
        await anext(server.admin.watch(CONFIGMAPS))
