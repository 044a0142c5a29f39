"""Manifests that nobody wrote for this project: the nginx Deployment and the guestbook of the Kubernetes
documentation, field for field. Their images carry the public names and are built here."""

from __future__ import annotations

from typing import Any

from tests.support.cluster import Cluster, pod
from tests.support.waiting import eventually


def deployment(
    name: str,
    replicas: int,
    pod_labels: dict[str, str],
    selector: dict[str, str],
    container: dict[str, Any],
    **meta: Any,
) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, **meta},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": selector},
            "template": {"metadata": {"labels": pod_labels}, "spec": {"containers": [container]}},
        },
    }


def service(name: str, labels: dict[str, str], port: dict[str, int]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": labels},
        "spec": {"ports": [port], "selector": labels},
    }


def container(name: str, image: str, port: int, **fields: Any) -> dict[str, Any]:
    return {"name": name, "image": image, **fields, "ports": [{"containerPort": port}]}


ASKED = {"resources": {"requests": {"cpu": "100m", "memory": "100Mi"}}}


def test_nginx_deployment(cluster: Cluster, ns: str) -> None:
    labels = {"app": "nginx"}
    manifest = deployment("nginx-deployment", 3, labels, labels, container("nginx", "nginx:1.14.2", 80), labels=labels)
    assert cluster.apply(manifest, namespace=ns) == "deployment.apps/nginx-deployment created\n"
    cluster.rollout(ns, "deployment/nginx-deployment")
    assert cluster.apply(manifest, namespace=ns) == "deployment.apps/nginx-deployment unchanged\n"
    cluster.kubectl("-n", ns, "expose", "deployment", "nginx-deployment", "--port=80")
    cluster.apply(pod("client"), namespace=ns)
    cluster.wait(ns, "pod/client", "Ready")
    eventually(lambda: "Welcome to nginx!" in cluster.exec(ns, "client", "wget", "-qO-", "http://nginx-deployment"))
    cluster.kubectl("-n", ns, "scale", "deployment", "nginx-deployment", "--replicas=1")
    cluster.wait(ns, "deployment/nginx-deployment", "jsonpath={.status.replicas}=1")


def test_guestbook(cluster: Cluster, ns: str) -> None:
    def redis(role: str) -> dict[str, str]:
        return {"app": "redis", "role": role, "tier": "backend"}

    front = {"app": "guestbook", "tier": "frontend"}
    follower_image = "us-docker.pkg.dev/google-samples/containers/gke/gb-redis-follower:v2"
    from_dns = {"env": [{"name": "GET_HOSTS_FROM", "value": "dns"}]}
    cluster.apply(
        deployment(
            "redis-leader", 1, redis("leader"), {"app": "redis"},
            container("leader", "docker.io/redis:6.0.5", 6379, **ASKED), labels=redis("leader"),
        ),
        service("redis-leader", redis("leader"), {"port": 6379, "targetPort": 6379}),
        deployment(
            "redis-follower", 2, redis("follower"), {"app": "redis"},
            container("follower", follower_image, 6379, **ASKED), labels=redis("follower"),
        ),
        service("redis-follower", redis("follower"), {"port": 6379}),
        deployment(
            "frontend", 3, front, front,
            container("php-redis", "docker.io/corelab/gb-frontend:v5", 80, **from_dns, **ASKED),
        ),
        service("frontend", front, {"port": 80}),
        pod("client"),
        namespace=ns,
    )  # fmt: skip
    for name in ("redis-leader", "redis-follower", "frontend"):
        cluster.rollout(ns, f"deployment/{name}")
    cluster.wait(ns, "pod/client", "Ready")
    selected = cluster.items("pods", ns, "app=guestbook,tier=frontend")
    assert len(selected) == 3 and len(cluster.items("pods", ns, "app=redis")) == 3
    guestbook = "http://frontend/cgi-bin/guestbook"

    def call(query: str) -> str:
        return cluster.exec(ns, "client", "wget", "-qO-", f"{guestbook}?{query}")

    eventually(lambda: "Updated" in call("cmd=set&key=guestbook&value=hello"))
    # Written to the leader, read from the followers.
    eventually(lambda: "hello" in call("cmd=get&key=guestbook"))
