"""Day 1, ReplicaSets and Deployments."""

from __future__ import annotations

from typing import Any

from tests.support.cluster import Cluster, hostname_server, is_ready, pod, service, sleeper, workload
from tests.support.waiting import eventually


def alive(pods: dict[str, Any]) -> dict[str, Any]:
    return {n: p for n, p in pods.items() if "deletionTimestamp" not in p["metadata"]}


def test_d24_a_replicaset_manages_pods_by_its_selector(cluster: Cluster, ns: str) -> None:
    """A ReplicaSet manages pods by its selector."""
    cluster.apply(workload("ReplicaSet", "rs", 2, [sleeper()]), namespace=ns)
    cluster.wait(ns, "rs/rs", "jsonpath={.status.readyReplicas}=2")
    first, second = cluster.items("pods", ns)
    # Kill one: another comes.
    cluster.kubectl("-n", ns, "delete", "pod", first["metadata"]["name"])
    cluster.wait(ns, "rs/rs", "jsonpath={.status.readyReplicas}=2")
    # Relabel one: it is released, lives on, and is replaced.
    name = second["metadata"]["name"]
    cluster.kubectl("-n", ns, "label", "pod", name, "app=free", "--overwrite")

    def replaced(pods: dict[str, Any]) -> bool:
        owned = [p for p in alive(pods).values() if p["metadata"]["labels"]["app"] == "rs"]
        return len(owned) == 2 and all(is_ready(p) for p in owned) and "ownerReferences" not in pods[name]["metadata"]

    cluster.watch_until(cluster.core.list_namespaced_pod, replaced, ns)
    assert cluster.get("pod", name, ns)["status"]["phase"] == "Running"
    # A bare pod with the labels is adopted; being one too many, some pod goes.
    cluster.apply(pod("stray", labels={"app": "rs"}), namespace=ns)

    def settled(pods: dict[str, Any]) -> bool:
        owned = [p for p in pods.values() if p["metadata"]["labels"]["app"] == "rs"]
        return len(owned) == 2 and all(p["metadata"].get("ownerReferences", [{}])[0].get("name") == "rs" for p in owned)

    cluster.watch_until(cluster.core.list_namespaced_pod, settled, ns)


def test_d25_a_replicaset_does_not_update_pods(cluster: Cluster, ns: str) -> None:
    """A ReplicaSet does not update pods."""
    cluster.apply(workload("ReplicaSet", "rs", 2, [sleeper()]), namespace=ns)
    cluster.wait(ns, "rs/rs", "jsonpath={.status.readyReplicas}=2")
    before = {p["metadata"]["uid"] for p in cluster.items("pods", ns)}
    cluster.kubectl("-n", ns, "set", "env", "rs/rs", "VERSION=2")
    generation = cluster.get("rs", "rs", ns)["metadata"]["generation"]
    cluster.wait(ns, "rs/rs", f"jsonpath={{.status.observedGeneration}}={generation}")
    assert {p["metadata"]["uid"] for p in cluster.items("pods", ns)} == before
    # Only a pod made from now on has the new template.
    victim = cluster.items("pods", ns)[0]["metadata"]["name"]
    cluster.kubectl("-n", ns, "delete", "pod", victim)
    cluster.wait(ns, "rs/rs", "jsonpath={.status.readyReplicas}=2")
    envs = sorted(str(p["spec"]["containers"][0].get("env")) for p in cluster.items("pods", ns))
    assert len(envs) == 2 and envs[0] != envs[1]


def test_d26_a_rolling_update_stays_within_its_strategy(cluster: Cluster, ns: str) -> None:
    """A Deployment rolls out through ReplicaSets, within its strategy."""
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}
    cluster.apply(workload("Deployment", "d", 4, [sleeper()], strategy=strategy), namespace=ns)
    cluster.rollout(ns, "deploy/d")
    seen: list[tuple[int, int]] = []

    def within(pods: dict[str, Any]) -> None:
        living = alive(pods)
        ready = sum(is_ready(p) for p in living.values())
        seen.append((len(living), ready))
        assert len(living) <= 5, f"more than maxSurge allows: {sorted(living)}"
        assert ready >= 3, f"fewer than maxUnavailable allows: {seen}"

    def done(pods: dict[str, Any]) -> bool:
        living = alive(pods)
        new = [p for p in living.values() if p["spec"]["containers"][0].get("env")]
        return len(new) == 4 == len(living) and all(is_ready(p) for p in new)

    cluster.kubectl("-n", ns, "set", "env", "deploy/d", "VERSION=2")
    cluster.watch_until(cluster.core.list_namespaced_pod, done, ns, each=within, timeout=90)
    sets = {r["metadata"]["name"]: r["spec"]["replicas"] for r in cluster.items("rs", ns)}
    assert sorted(sets.values()) == [0, 4]


def test_d26_recreate_never_mixes(cluster: Cluster, ns: str) -> None:
    """A Deployment rolls out through ReplicaSets, within its strategy."""
    cluster.apply(workload("Deployment", "d", 2, [sleeper()], strategy={"type": "Recreate"}), namespace=ns)
    cluster.rollout(ns, "deploy/d")

    def unmixed(pods: dict[str, Any]) -> None:
        assert len({p["metadata"]["labels"]["pod-template-hash"] for p in pods.values()}) <= 1

    def done(pods: dict[str, Any]) -> bool:
        new = [p for p in pods.values() if p["spec"]["containers"][0].get("env")]
        return len(new) == 2 and all(is_ready(p) for p in new)

    cluster.kubectl("-n", ns, "set", "env", "deploy/d", "VERSION=2")
    cluster.watch_until(cluster.core.list_namespaced_pod, done, ns, each=unmixed, timeout=90)


def test_d27_old_and_new_versions_run_side_by_side(cluster: Cluster, ns: str) -> None:
    """Old and new versions run side by side during a rollout."""
    # A new pod that must be ready for an hour before it counts holds the rollout half-way.
    cluster.apply(
        workload("Deployment", "web", 2, [hostname_server()]), service("web", 8080), pod("client"), namespace=ns
    )
    cluster.rollout(ns, "deploy/web")
    cluster.wait(ns, "pod/client", "Ready")
    (old,) = {p["metadata"]["labels"]["pod-template-hash"] for p in cluster.items("pods", ns, "app=web")}
    patch = (
        '{"spec":{"minReadySeconds":3600,"progressDeadlineSeconds":7200,'
        '"strategy":{"rollingUpdate":{"maxSurge":1,"maxUnavailable":0}},'
        '"template":{"metadata":{"annotations":{"version":"2"}}}}}'
    )
    cluster.kubectl("-n", ns, "patch", "deploy", "web", "-p", patch)

    def both_answer() -> bool:
        script = "for i in 1 2 3 4 5 6; do nc -w 5 web 8080 </dev/null; done"
        names = cluster.exec(ns, "client", "sh", "-c", script).split()
        hashes = {name.split("-")[1] for name in names}
        return old in hashes and len(hashes) == 2

    eventually(both_answer)


def test_d28_names_carry_the_hash_of_the_template(cluster: Cluster, ns: str) -> None:
    """Names carry the hash of the template."""
    cluster.apply(workload("Deployment", "d", 1, [sleeper()]), namespace=ns)
    cluster.rollout(ns, "deploy/d")
    (first,) = cluster.items("rs", ns)
    digest = first["metadata"]["labels"]["pod-template-hash"]
    assert first["metadata"]["name"] == f"d-{digest}"
    (one,) = cluster.items("pods", ns)
    assert one["metadata"]["name"].startswith(f"d-{digest}-")
    assert one["metadata"]["labels"]["pod-template-hash"] == digest
    cluster.kubectl("-n", ns, "set", "env", "deploy/d", "VERSION=2")
    cluster.rollout(ns, "deploy/d")
    assert len(cluster.items("rs", ns)) == 2
    cluster.kubectl("-n", ns, "rollout", "undo", "deploy/d")
    cluster.rollout(ns, "deploy/d")
    sets = {r["metadata"]["name"]: r for r in cluster.items("rs", ns)}
    assert len(sets) == 2 and sets[f"d-{digest}"]["metadata"]["uid"] == first["metadata"]["uid"]
    eventually(lambda: cluster.get("rs", f"d-{digest}", ns)["status"].get("readyReplicas") == 1)
