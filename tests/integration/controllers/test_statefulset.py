"""StatefulSets against the API server."""

from __future__ import annotations

from pybernetes.api import resources as r
from pybernetes.api.meta import name_of
from tests.integration.controllers.conftest import World, template

CLAIM = {
    "metadata": {"name": "data"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}
SPEC = {
    "replicas": 3,
    "serviceName": "db",
    "selector": {"matchLabels": {"app": "db"}},
    "template": template(app="db"),
    "volumeClaimTemplates": [CLAIM],
}


def rolled_out(world: World, replicas: int) -> bool:
    status = world.status(r.STATEFULSETS, "db")
    return (
        status.get("readyReplicas") == replicas == status.get("updatedReplicas")
        and status.get("currentRevision") == status.get("updateRevision")
        and status.get("observedGeneration") == world.meta(r.STATEFULSETS, "db")["generation"]
    )


async def test_named_pods_in_order_with_claims(world: World) -> None:
    order: list[str] = []
    world.api.reader.subscribe(r.PODS, lambda old, new: order.append(name_of(new)) if old is None and new else None)
    await world.create(r.STATEFULSETS, "db", spec=SPEC)
    await world.until(lambda: rolled_out(world, 3))
    assert order == ["db-0", "db-1", "db-2"]
    assert sorted(name_of(c) for c in world.all(r.PERSISTENTVOLUMECLAIMS)) == ["data-db-0", "data-db-1", "data-db-2"]
    await world.until(lambda: len(world.events("SuccessfulCreate")) == 6)
    assert "create Pod db-0 in StatefulSet db successful" in world.events("SuccessfulCreate")
    assert "create Claim data-db-0 Pod db-0 in StatefulSet db success" in world.events("SuccessfulCreate")

    order.clear()
    image = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "web:2"}]}}}}
    await world.patch(r.STATEFULSETS, "db", image)
    await world.until(lambda: len(order) == 3 and rolled_out(world, 3))
    assert order == ["db-2", "db-1", "db-0"]
    assert {p["spec"]["containers"][0]["image"] for p in world.all(r.PODS)} == {"web:2"}

    await world.patch(r.STATEFULSETS, "db", {"spec": {"replicas": 1}})
    await world.until(lambda: [name_of(p) for p in world.all(r.PODS)] == ["db-0"])
    assert len(world.all(r.PERSISTENTVOLUMECLAIMS)) == 3, "claims stay"
    await world.until(lambda: rolled_out(world, 1))
    await world.settled()
