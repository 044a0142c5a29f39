"""DaemonSets against the API server."""

from __future__ import annotations

from pybernetes.api import resources as r
from pybernetes.api.meta import labels_of, name_of
from pybernetes.controllers.daemonset.placement import target_node
from tests.integration.controllers.conftest import World, template

SPEC = {"selector": {"matchLabels": {"app": "d"}}, "template": template(app="d")}


def nodes_of(world: World) -> list[str]:
    return sorted(target_node(p) for p in world.all(r.PODS, app="d"))


async def test_one_pod_a_node_and_a_rolling_update(world: World) -> None:
    world.pods_run = False
    await world.create(r.DAEMONSETS, "d", spec=SPEC)
    await world.until(lambda: nodes_of(world) == ["node-a"])
    await world.add_node("node-b")
    await world.until(lambda: nodes_of(world) == ["node-a", "node-b"])

    async def run() -> None:
        for pod in world.all(r.PODS, app="d"):
            if not pod["spec"].get("nodeName"):
                await world.run_pod(pod, node=target_node(pod))

    await run()
    await world.until(lambda: world.status(r.DAEMONSETS, "d").get("numberAvailable") == 2)
    (revision,) = world.all(r.CONTROLLERREVISIONS)
    digest = labels_of(revision)["controller-revision-hash"]
    assert name_of(revision) == f"d-{digest}" and revision["revision"] == 1
    assert {labels_of(p)["controller-revision-hash"] for p in world.all(r.PODS, app="d")} == {digest}

    image = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "web:2"}]}}}}
    await world.patch(r.DAEMONSETS, "d", image)
    for n in (1, 2):
        await world.until(lambda n=n: world.status(r.DAEMONSETS, "d").get("updatedNumberScheduled") == n)  # type: ignore[misc]
        await run()
    await world.until(lambda: world.status(r.DAEMONSETS, "d").get("numberAvailable") == 2)
    await world.settled()
    assert {p["spec"]["containers"][0]["image"] for p in world.all(r.PODS, app="d")} == {"web:2"}
    assert sorted(c["revision"] for c in world.all(r.CONTROLLERREVISIONS)) == [1, 2]

    # Back to the first: its revision becomes the newest.
    await world.patch(r.DAEMONSETS, "d", {"spec": revision["data"]["spec"]})
    await world.until(lambda: sorted(c["revision"] for c in world.all(r.CONTROLLERREVISIONS)) == [2, 3])
    await world.admin.delete(r.NODES, "node-b")
    await world.patch(r.DAEMONSETS, "d", {"spec": {"template": {"spec": {"nodeSelector": {"no": "where"}}}}})
    await world.until(lambda: "node-a" not in nodes_of(world))
