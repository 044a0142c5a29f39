"""ResourceQuotas against the API server, with everything that they count coming, changing and going."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from pybernetes.api import errors
from pybernetes.api import resources as r
from pybernetes.api.meta import Object
from pybernetes.api.resources import Resource
from tests.integration.controllers.conftest import World, template

CONTAINER = {"name": "c", "image": "web:1"}


async def quota(world: World, hard: dict[str, str], name: str = "q", **spec: Any) -> Callable[[], dict[str, str]]:
    """Makes a quota and waits until it counts; what it says is used."""
    await world.create(r.RESOURCEQUOTAS, name, spec={"hard": hard, **spec})

    def used() -> dict[str, str]:
        return world.status(r.RESOURCEQUOTAS, name).get("used") or {}

    await world.until(lambda: used().keys() == hard.keys())
    return used


async def create(world: World, resource: Resource, name: str, **fields: Any) -> Object:
    return await world.create(resource, name, **fields)


@pytest.mark.parametrize(
    ("resource", "hard", "fields"),
    [
        (r.SECRETS, {"secrets": "99", "count/secrets": "99"}, {}),
        (r.CONFIGMAPS, {"configmaps": "99"}, {}),
        (
            r.SERVICES,
            {"services": "99", "services.nodeports": "99", "services.loadbalancers": "99"},
            {"spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}},
        ),
        (
            r.REPLICASETS,
            {"count/replicasets.apps": "99"},
            {"spec": {"replicas": 0, "selector": {"matchLabels": {"app": "web"}}, "template": template()}},
        ),
        (
            r.REPLICATIONCONTROLLERS,
            {"replicationcontrollers": "99"},
            {"spec": {"replicas": 0, "selector": {"app": "web"}, "template": template()}},
        ),
        (
            r.PERSISTENTVOLUMECLAIMS,
            {
                "persistentvolumeclaims": "99",
                "requests.storage": "99Gi",
                "gold.storageclass.storage.k8s.io/persistentvolumeclaims": "99",
                "gold.storageclass.storage.k8s.io/requests.storage": "99Gi",
            },
            {
                "spec": {
                    "storageClassName": "gold",
                    "accessModes": ["ReadWriteOnce"],
                    "resources": {"requests": {"storage": "1Gi"}},
                }
            },
        ),
    ],
    ids=lambda value: getattr(value, "plural", ""),
)
async def test_the_life_of_an_object(world: World, resource: Resource, hard: Any, fields: Any) -> None:
    used = await quota(world, hard)
    before = dict(used())
    await world.create(resource, "one", **fields)
    # In the same transaction: nobody waits for it.
    during = used()
    assert all(during[name] != before[name] for name in hard), (before, during)
    await world.admin.delete(resource, "one", "default")
    await world.until(lambda: used() == before)


async def test_the_life_of_a_pod(world: World) -> None:
    used = await quota(world, {"pods": "5", "cpu": "1", "memory": "500Mi", "requests.example.com/gpu": "2"})

    def pod(cpu: str, memory: str, gpu: str = "1") -> Object:
        resources = {
            "requests": {"cpu": cpu, "memory": memory, "example.com/gpu": gpu},
            "limits": {"example.com/gpu": gpu},
        }
        return {"containers": [{**CONTAINER, "resources": resources}]}

    await world.create(r.PODS, "a", spec=pod("500m", "252Mi"))
    assert used() == {"pods": "1", "cpu": "500m", "memory": "252Mi", "requests.example.com/gpu": "1"}
    with pytest.raises(errors.Forbidden) as refused:
        await world.create(r.PODS, "b", spec=pod("600m", "100Mi"))
    assert refused.value.message == (
        'pods "b" is forbidden: exceeded quota: q, requested: cpu=600m, used: cpu=500m, limited: cpu=1'
    )
    with pytest.raises(errors.Forbidden, match=r"requested: requests\.example\.com/gpu=2"):
        await world.create(r.PODS, "b", spec=pod("1m", "1Mi", "2"))
    await world.patch(r.PODS, "a", {"metadata": {"labels": {"x": "y"}}})
    assert used()["pods"] == "1"
    ran = await world.until(lambda: world.get(r.PODS, "a"))
    await world.finish_pod(ran)
    await world.until(lambda: used() == {"pods": "0", "cpu": "0", "memory": "0", "requests.example.com/gpu": "0"})


async def test_scopes(world: World) -> None:
    scopes = ("Terminating", "NotTerminating", "BestEffort", "NotBestEffort")
    used = {s: await quota(world, {"pods": "5"}, s.lower(), scopes=[s]) for s in scopes}
    critical = {"scopeName": "PriorityClass", "operator": "In", "values": ["gold"]}
    gold = await quota(world, {"pods": "5"}, "gold", scopeSelector={"matchExpressions": [critical]})
    await world.create(r.PRIORITYCLASSES, "gold", value=7)
    resources = {"requests": {"cpu": "1m"}}
    await world.create(r.PODS, "a", spec={"containers": [CONTAINER], "priorityClassName": "gold"})
    await world.create(
        r.PODS, "b", spec={"containers": [{**CONTAINER, "resources": resources}], "activeDeadlineSeconds": 3600}
    )

    def seen() -> dict[str, str]:
        return {s: of()["pods"] for s, of in used.items()}

    assert seen() == dict.fromkeys(scopes, "1") and gold()["pods"] == "1"
    await world.admin.delete(r.PODS, "a", "default")
    await world.until(
        lambda: seen() == {"Terminating": "1", "NotTerminating": "0", "BestEffort": "0", "NotBestEffort": "1"}
    )
    await world.until(lambda: gold()["pods"] == "0")


async def test_the_status_follows_the_spec(world: World) -> None:
    used = await quota(world, {"cpu": "500m", "memory": "500Mi"})
    seen: list[Object] = []
    world.api.reader.subscribe(
        r.RESOURCEQUOTAS, lambda old, new: seen.append((new or {}).get("status", {}).get("hard", {}))
    )
    tampered = {"status": {"hard": {"cpu": "750m", "memory": "750Mi"}}}
    await world.admin.patch(r.RESOURCEQUOTAS, "q", tampered, "default", subresource="status")
    await world.until(lambda: {"cpu": "750m", "memory": "750Mi"} in seen)
    await world.until(lambda: world.status(r.RESOURCEQUOTAS, "q")["hard"] == {"cpu": "500m", "memory": "500Mi"})
    await world.patch(r.RESOURCEQUOTAS, "q", {"spec": {"hard": {"cpu": "1", "memory": "1Gi", "pods": "3"}}})
    await world.until(lambda: used() == {"cpu": "0", "memory": "0", "pods": "0"})


async def test_no_overshoot_while_things_come_and_go(world: World) -> None:
    """Creations and deletions race with the controller's counting: never more than the quota, and the end is exact."""
    maps = len(world.all(r.CONFIGMAPS))
    limit = maps + 5
    most = 0

    def look(old: Object | None, new: Object | None) -> None:
        nonlocal most
        most = max(most, len(world.all(r.CONFIGMAPS)))

    used = await quota(world, {"configmaps": str(limit)})
    world.api.reader.subscribe(r.CONFIGMAPS, look)
    made = 0
    refusals: set[str] = set()

    async def churn(n: int) -> None:
        nonlocal made
        mine: list[str] = []
        for i in range(20):
            try:
                await world.create(r.CONFIGMAPS, f"m{n}-{i}")
                mine.append(f"m{n}-{i}")
                made += 1
            except errors.Forbidden as refusal:
                refusals.add(refusal.message.partition(":")[2].partition(",")[0])
                if mine:
                    await world.admin.delete(r.CONFIGMAPS, mine.pop(), "default")
                await asyncio.sleep(0)
        for name in mine:
            await world.admin.delete(r.CONFIGMAPS, name, "default")

    await asyncio.gather(*(churn(n) for n in range(12)))
    assert most == limit and made >= 5 and refusals == {" exceeded quota: q"}
    await world.until(lambda: used()["configmaps"] == str(maps))
