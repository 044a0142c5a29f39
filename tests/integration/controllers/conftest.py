"""A real API server with a memory store, all controllers, and in place of kubelets somebody who says that pods run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from pybernetes.api import resources as r
from pybernetes.api.meta import Object, is_deleting, labels_of, name_of, namespace_of, uid_of
from pybernetes.api.resources import BUILTIN, NODES, PODS, Resource
from pybernetes.api.time import format_micro_time, format_time
from pybernetes.api.user import AUTHENTICATED, SYSTEM_MASTERS, User
from pybernetes.apiserver.pki import ClusterPKI
from pybernetes.apiserver.server import APIServer
from pybernetes.controllers.manager import ControllerConfig, ControllerManager
from pybernetes.lib.clock import SystemClock
from pybernetes.lib.tasks import TaskSet
from tests.support.apiserver import api_server
from tests.support.waiting import until_changed

ADMIN = User("kubernetes-admin", "", (SYSTEM_MASTERS, AUTHENTICATED))
ROOT_CA = "-----BEGIN CERTIFICATE-----\nfor tests\n-----END CERTIFICATE-----\n"


class World:
    """The cluster as a test sees it: `admin` to act, `until` to wait, lists to look."""

    def __init__(self, api: APIServer, config: ControllerConfig) -> None:
        self.api = api
        self.admin = api.client_for(ADMIN)
        self.clock = SystemClock()
        self.manager = ControllerManager(api.client_for, config=config)
        self.tasks = TaskSet("world")
        self.pods_run = True
        """Whether pods become ready once they exist."""
        self.pods_leave = True
        """Whether pods that are being deleted end."""
        self._changed = asyncio.Event()
        self._known: set[str] = set()
        self._ips = iter(f"10.244.{i // 250}.{i % 250 + 1}" for i in range(60_000))
        for resource in BUILTIN:
            api.reader.subscribe(resource, self._on_change)
        api.reader.subscribe(PODS, self._on_pod)

    def _on_change(self, old: Object | None, new: Object | None) -> None:
        self._changed.set()

    async def until(self, holds: Callable[[], Any], seconds: float = 15.0) -> Any:
        """Waits until it holds, looking after every change of the cluster; what it returned."""
        return await until_changed(self._changed, holds, seconds, self.manager.statistics)

    async def settled(self, seconds: float = 15.0) -> None:
        """Waits until no controller has anything queued or under way."""
        deadline = asyncio.get_running_loop().time() + seconds
        quiet = 0
        while quiet < 25:
            busy = any(s.get("queued") or s.get("working") for s in self.manager.statistics().values())
            quiet = 0 if busy else quiet + 1
            assert asyncio.get_running_loop().time() < deadline, self.manager.statistics()
            await asyncio.sleep(0)

    # Pods that run.

    def _on_pod(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            return
        if is_deleting(new):
            if self.pods_leave and ("gone", uid_of(new)) not in self._known:
                self._known.add(("gone", uid_of(new)))  # type: ignore[arg-type]
                self.tasks.start(self.end_pod(new))
        elif self.pods_run and uid_of(new) not in self._known:
            self._known.add(uid_of(new))
            self.tasks.start(self.run_pod(new))

    async def run_pod(self, pod: Object, *, ready: bool = True, node: str = "node-a") -> None:
        name, namespace = name_of(pod), namespace_of(pod)
        if not pod["spec"].get("nodeName"):
            binding = {
                "apiVersion": "v1",
                "kind": "Binding",
                "metadata": {"name": name, "namespace": namespace},
                "target": {"apiVersion": "v1", "kind": "Node", "name": node},
            }
            await self.admin.create(PODS, binding, namespace, name=name, subresource="binding")
        ip, now = next(self._ips), format_time(self.clock.now())
        condition = {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": now}
        status = {
            "phase": "Running",
            "podIP": ip,
            "podIPs": [{"ip": ip}],
            "startTime": now,
            "conditions": [condition],
        }
        await self.admin.patch(PODS, name, {"status": status}, namespace, subresource="status")

    async def finish_pod(self, pod: Object, phase: str = "Succeeded") -> None:
        await self.admin.patch(
            PODS, name_of(pod), {"status": {"phase": phase}}, namespace_of(pod), subresource="status"
        )

    async def end_pod(self, pod: Object) -> None:
        await self.admin.delete(PODS, name_of(pod), namespace_of(pod), grace_period_seconds=0, uid=uid_of(pod))

    # Looking.

    def get(self, resource: Resource, name: str, namespace: str = "default") -> Object | None:
        return self.api.reader.get(resource, namespace if resource.namespaced else "", name)

    def status(self, resource: Resource, name: str, namespace: str = "default") -> Object:
        return (self.get(resource, name, namespace) or {}).get("status") or {}

    def meta(self, resource: Resource, name: str, namespace: str = "default") -> Object:
        return (self.get(resource, name, namespace) or {}).get("metadata") or {}

    def all(self, resource: Resource, namespace: str = "default", **labels: str) -> list[Object]:
        found = self.api.reader.list(resource, namespace if resource.namespaced else "")
        return [o for o in found if all(labels_of(o).get(k) == v for k, v in labels.items())]

    def events(self, reason: str, namespace: str = "default") -> list[str]:
        return [e.get("message", "") for e in self.all(r.EVENTS, namespace) if e.get("reason") == reason]

    # Acting.

    async def create(self, resource: Resource, name: str, namespace: str = "default", **fields: Any) -> Object:
        meta = {"name": name, **({"namespace": namespace} if resource.namespaced else {})} | fields.pop("meta", {})
        obj = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": meta, **fields}
        return await self.admin.create(resource, obj, namespace if resource.namespaced else "")

    async def patch(self, resource: Resource, name: str, patch: Object, namespace: str = "default") -> Object:
        return await self.admin.patch(resource, name, patch, namespace if resource.namespaced else "")

    async def add_node(self, name: str, **fields: Any) -> Object:
        node = await self.create(NODES, name, **fields)
        await self.heartbeat(name)
        return node

    async def heartbeat(self, name: str, ready: str = "True") -> None:
        now = format_time(self.clock.now())
        condition = {"type": "Ready", "status": ready, "lastHeartbeatTime": now, "lastTransitionTime": now}
        await self.admin.patch(NODES, name, {"status": {"conditions": [condition]}}, subresource="status")

    async def renew_lease(self, name: str) -> None:
        spec = {"holderIdentity": name, "renewTime": format_micro_time(self.clock.now())}
        if self.get(r.LEASES, name, "kube-node-lease") is None:
            await self.create(r.LEASES, name, "kube-node-lease", spec=spec)
        else:
            await self.patch(r.LEASES, name, {"spec": spec}, "kube-node-lease")


def template(image: str = "web:1", **labels: str) -> Object:
    return {
        "metadata": {"labels": labels or {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": image}]},
    }


@pytest.fixture
def config() -> ControllerConfig:
    return ControllerConfig(root_ca_pem=ROOT_CA)


@pytest.fixture
async def world(pki: ClusterPKI, tmp_path: Path, config: ControllerConfig) -> AsyncIterator[World]:
    async with api_server(pki) as api:
        made = World(api, config)
        try:
            made.tasks.start(made.manager.run(), name="manager")
            await made.manager.synced()
            await made.add_node("node-a")
            await made.until(lambda: made.get(r.SERVICEACCOUNTS, "default"))
            yield made
        finally:
            await made.tasks.cancel()
