"""EndpointSlices and Endpoints against the API server."""

from __future__ import annotations

from pybernetes.api import resources as r
from pybernetes.api.meta import Object, labels_of
from tests.integration.controllers.conftest import World, template

SERVICE = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}


def slices(world: World, service: str = "web") -> list[Object]:
    return world.all(r.ENDPOINTSLICES, **{"kubernetes.io/service-name": service})


def ready(world: World, service: str = "web") -> list[str]:
    return sorted(
        e["addresses"][0]
        for s in slices(world, service)
        for e in (s.get("endpoints") or ())
        if e["conditions"]["ready"]
    )


async def web(world: World, replicas: int) -> None:
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template()}
    await world.create(r.REPLICASETS, "web", spec=spec)


def pod_ips(world: World) -> list[str]:
    return sorted(p["status"]["podIP"] for p in world.all(r.PODS, app="web") if p.get("status", {}).get("podIP"))


async def test_slices_and_endpoints_follow_pods(world: World) -> None:
    await world.create(r.SERVICES, "web", spec=SERVICE)
    await world.until(lambda: slices(world))
    assert not slices(world)[0].get("endpoints")
    await web(world, 4)
    await world.until(lambda: len(ready(world)) == 4)
    assert ready(world) == pod_ips(world)
    (slice_,) = slices(world)
    assert slice_["ports"] == [{"name": "", "port": 8080, "protocol": "TCP"}]
    assert slice_["addressType"] == "IPv4"

    def legacy() -> list[str]:
        subsets = (world.get(r.ENDPOINTS, "web") or {}).get("subsets") or []
        return [a["ip"] for s in subsets for a in s.get("addresses") or ()]

    await world.until(lambda: legacy() == pod_ips(world))
    world.pods_leave = False
    await world.patch(r.REPLICASETS, "web", {"spec": {"replicas": 1}})
    await world.until(lambda: len(ready(world)) == 1)
    conditions = [e["conditions"] for s in slices(world) for e in (s.get("endpoints") or ())]
    assert conditions.count({"ready": False, "serving": True, "terminating": True}) == 3
    await world.until(lambda: len(legacy()) == 1)
    for pod in world.all(r.PODS):
        if pod["metadata"].get("deletionTimestamp"):
            await world.end_pod(pod)
    await world.until(lambda: [len(s.get("endpoints") or ()) for s in slices(world)] == [1])
    await world.admin.delete(r.SERVICES, "web", "default")
    await world.until(lambda: not slices(world) and world.get(r.ENDPOINTS, "web") is None)


async def test_more_than_a_hundred_endpoints(world: World) -> None:
    await world.create(r.SERVICES, "web", spec=SERVICE)
    await web(world, 130)
    await world.until(lambda: len(ready(world)) == 130, seconds=40)
    await world.settled()
    assert ready(world) == pod_ips(world)
    sizes = sorted(len(s.get("endpoints") or ()) for s in slices(world))
    assert sum(sizes) == 130 and len(sizes) <= 3 and max(sizes) <= 100


async def test_a_service_without_selector_is_mirrored(world: World) -> None:
    await world.create(r.SERVICES, "db", spec={"ports": [{"port": 5432}]})
    subsets = [{"addresses": [{"ip": "192.0.2.9"}], "ports": [{"port": 5432}]}]
    await world.create(r.ENDPOINTS, "db", subsets=subsets)
    await world.until(lambda: ready(world, "db") == ["192.0.2.9"])
    (slice_,) = slices(world, "db")
    assert labels_of(slice_)["endpointslice.kubernetes.io/managed-by"] == "endpointslicemirroring-controller.k8s.io"
    await world.admin.delete(r.SERVICES, "db", "default")
    await world.until(lambda: not slices(world, "db") and world.get(r.ENDPOINTS, "db") is None)
